//! [`RemoteMembers`]: the members that have threads of their own, as the game sees them: how many connections each has, who gets
//! newcomers, and what is on the way to each.

use std::collections::VecDeque;
use std::sync::Arc;

use super::codec::Codec;
use super::counters::{Counters, MemberStats};
use super::notice::{Notice, Order, Serial};
use crate::drop_each::drop_each;
use crate::kernel::mailbox::{Channel, Mailbox, Taken};

/// How many orders of one round cross together, with one lock and one signal. The member works on them meanwhile.
const BATCH: usize = if cfg!(dolmen_sim) { 3 } else { 64 };

/// A member on a thread of its own.
pub(crate) struct MemberHandle<S, C: Codec> {
    pub(crate) orders: Arc<Channel<Order<S, C>>>,
    pub(crate) notices: Arc<Channel<Notice<C>>>,
    /// Of the member's engine, to notify it that there is room for notices.
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) counters: Arc<Counters>,
}

struct RemoteMember<S, C: Codec> {
    handle: MemberHandle<S, C>,
    serial: Serial,
    /// Orders of this round that have not crossed: fewer than a batch, and none between rounds.
    held: VecDeque<Order<S, C>>,
    /// Orders of this round have crossed.
    has_begun: bool,
    links: usize,
    is_retiring: bool,
    /// It has ended, or is about to: it takes no more orders.
    has_ended: bool,
}

/// The replies in it may panic when they are dropped.
impl<S, C: Codec> Drop for RemoteMember<S, C> {
    fn drop(&mut self) {
        drop_each(self.held.drain(..));
    }
}

impl<S: Send + 'static, C: Codec> RemoteMember<S, C> {
    fn is_active(&self) -> bool {
        !self.is_retiring && !self.has_ended
    }

    /// Passes an order on. In a round it waits for a batch, or for the end of the round.
    fn order(&mut self, order: Order<S, C>, in_round: bool) {
        self.held.push_back(order);
        if !in_round {
            self.end_round();
        } else if self.held.len() >= BATCH {
            self.has_begun = true;
            self.handle.orders.put(&mut self.held, true);
        }
    }

    /// The codecs that have got something in this round flush.
    fn end_round(&mut self) {
        if std::mem::take(&mut self.has_begun) || !self.held.is_empty() {
            self.held.push_back(Order::EndRound);
            self.handle.orders.put(&mut self.held, true);
        }
    }
}

/// A member's number is its place here. A place is used again when its member has ended.
pub(super) struct RemoteMembers<S, C: Codec> {
    members: Vec<Option<RemoteMember<S, C>>>,
    /// Members that have ended and whose threads are to be joined.
    ended: Vec<usize>,
    next_serial: Serial,
    taken: Taken<Notice<C>>,
}

impl<S, C: Codec> Default for RemoteMembers<S, C> {
    fn default() -> RemoteMembers<S, C> {
        RemoteMembers { members: Vec::new(), ended: Vec::new(), next_serial: 0, taken: Taken::default() }
    }
}

/// Who is there.
impl<S: Send + 'static, C: Codec> RemoteMembers<S, C> {
    /// One more than the highest number in use.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The number of the member that is added next.
    pub(super) fn next(&self) -> usize {
        self.members.iter().position(Option::is_none).unwrap_or(self.members.len())
    }

    pub(super) fn add(&mut self, handle: MemberHandle<S, C>) {
        let number = self.next();
        let serial = self.next_serial;
        self.next_serial += 1;
        let member = Some(RemoteMember {
            handle,
            serial,
            held: VecDeque::new(),
            has_begun: false,
            links: 0,
            is_retiring: false,
            has_ended: false,
        });
        match self.members.get_mut(number) {
            Some(free) => *free = member,
            None => self.members.push(member),
        }
    }

    /// How many members get newcomers.
    pub(super) fn active(&self) -> usize {
        self.members.iter().flatten().filter(|member| member.is_active()).count()
    }

    /// Gives newcomers to so many members at most: surplus ones end with their last connection. Those with the fewest
    /// connections go [p21]. Returns how many are missing.
    pub(super) fn set_active(&mut self, count: usize) -> usize {
        // One that was to end may stay.
        let mut active = self.active();
        for member in self.members.iter_mut().flatten() {
            if active < count && member.is_retiring && !member.has_ended {
                member.is_retiring = false;
                active += 1;
            }
        }
        for _ in count..active {
            let fewest = self.fewest();
            if let Some(member) = fewest.and_then(|number| self.members[number].as_mut()) {
                member.is_retiring = true;
            }
        }
        self.stop_retired();
        count.saturating_sub(active)
    }

    /// The active member with the fewest connections.
    pub(super) fn fewest(&self) -> Option<usize> {
        let active = self.members.iter().enumerate().filter_map(|(number, member)| {
            let member = member.as_ref().filter(|member| member.is_active())?;
            Some((member.links, number))
        });
        active.min().map(|(_, number)| number)
    }

    /// A connection of a member has left.
    pub(super) fn left(&mut self, number: usize) {
        if let Some(member) = &mut self.members[number] {
            member.links -= 1;
        }
        self.stop_retired();
    }

    fn stop_retired(&mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            let Some(member) = member else { continue };
            if member.is_retiring && member.links == 0 && !member.has_ended {
                member.has_ended = true;
                member.handle.orders.put(&mut VecDeque::from([Order::Stop]), true);
                self.ended.push(number);
            }
        }
    }

    /// A member has failed. Returns its number, and whether it was to end anyway; `None` for one that had been stopped already,
    /// as its last connection had left.
    pub(super) fn fail(&mut self, serial: Option<Serial>) -> Option<(usize, bool)> {
        let serial = serial?;
        let is_it = |member: &Option<RemoteMember<S, C>>| {
            member.as_ref().is_some_and(|member| member.serial == serial)
        };
        let number = self.members.iter().position(is_it)?;
        let member = self.members[number].as_mut()?;
        member.links = 0;
        if !std::mem::replace(&mut member.has_ended, true) {
            self.ended.push(number);
        }
        Some((number, member.is_retiring))
    }

    /// Takes the number of a member that has ended, so that its thread can be joined.
    pub(super) fn take_ended(&mut self) -> Option<usize> {
        let number = self.ended.pop()?;
        self.members[number] = None;
        Some(number)
    }

    /// Stops all members, and takes nothing from them any more. For the end of the crew. Orders that have not reached their
    /// members are dropped, so that no member works through them first [p21].
    pub(super) fn stop_all(&mut self) {
        let mut left = Vec::new();
        for member in self.members.iter_mut().flatten() {
            member.has_ended = true;
            left.push((member.handle.notices.abandon(), member.handle.orders.abandon()));
            member.handle.mailbox.wake();
        }
        // Then, as the destructors of messages, replies and codecs may do anything.
        for (mut notices, mut orders) in left {
            drop_each(notices.drain());
            drop_each(orders.drain());
        }
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = MemberStats> {
        self.members.iter().enumerate().filter_map(|(number, member)| {
            let RemoteMember { handle, links, is_retiring, .. } = member.as_ref()?;
            // These include the connections that have not reached the member yet.
            let (member, links, retiring) = (Some(number), *links, *is_retiring);
            Some(MemberStats { member, links, retiring, ..handle.counters.read() })
        })
    }
}

/// What crosses.
impl<S: Send + 'static, C: Codec> RemoteMembers<S, C> {
    /// Passes an order on, unless the member has ended. A newcomer counts from here on.
    pub(super) fn order(&mut self, number: usize, order: Order<S, C>, in_round: bool) {
        let Some(member) = self.members[number].as_mut().filter(|member| !member.has_ended) else { return };
        member.links += usize::from(matches!(order, Order::Add(_)));
        member.order(order, in_round);
    }

    pub(super) fn end_round(&mut self) {
        self.members.iter_mut().flatten().for_each(RemoteMember::end_round);
    }

    /// Takes all notices of all members out, and notifies those that wait for room.
    pub(super) fn take_notices(&mut self, into: &mut VecDeque<Notice<C>>) {
        for member in self.members.iter().flatten() {
            if member.handle.notices.take(&mut self.taken) {
                member.handle.mailbox.wake();
            }
            into.extend(self.taken.drain().map(|notice| match notice {
                Notice::Failed(_, text) => Notice::Failed(Some(member.serial), text),
                notice => notice,
            }));
        }
    }

    /// Whether notices wait.
    pub(super) fn have_notices(&self) -> bool {
        self.members.iter().flatten().any(|member| member.handle.notices.len() > 0)
    }
}
