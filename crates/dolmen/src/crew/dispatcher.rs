//! [`Dispatcher`]: the game's end of a crew. It knows all connections and which member has each, and passes orders on. Its rounds,
//! with the game's events, are in `rounds.rs`. It knows no thread: the members are in [`RemoteMembers`].

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::announcement::Announcement;
use super::codec::Codec;
use super::counters::{Counters, MemberStats};
use super::ledger::{Ledger, MAX_WEIGHT};
use super::member::{Limits, Member};
use super::notice::{Copies, LeaveReason, Newcomer, Notice, Order, Original, Request};
use super::remote_members::{MemberHandle, RemoteMembers};
use crate::channel::SendError;
use crate::drop_each::drop_each;
use crate::engine::{Engine, Table};
use crate::error::{Error, ErrorKind};
use crate::kernel::Kernel;
use crate::kernel::mailbox::Mailbox;
use crate::token::{LinkId, Token};

const FULL_ADVICE: &str = "send it again after `CrewEvent::Drained`, or raise `CrewBuilder::reply_limit`";
const CLOSED_ADVICE: &str = "wait for `CrewEvent::Left`, or forget the id if that has come";
const LEFT_ADVICE: &str = "forget the id: `CrewEvent::Left` has come";

/// Who has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The game's own thread.
    Local,
    Member(usize),
}

/// One connection, as the game sees it.
pub(super) struct GameLink {
    pub(super) token: Token,
    pub(super) place: Place,
    ledger: Arc<Ledger>,
    /// The place in the order of arrival.
    pub(super) number: u64,
    /// The game has ended it: nothing comes but its end.
    pub(super) is_closing: bool,
}

pub(crate) struct Dispatcher<S: Send + 'static, C: Codec> {
    pub(super) links: Table<GameLink>,
    /// The member on the game's thread.
    pub(super) local: Member<C>,
    local_counters: Arc<Counters>,
    pub(super) local_links: usize,
    pub(super) members: RemoteMembers<S, C>,
    pub(super) limits: Limits,
    /// Notices that were taken out and are not handed out yet.
    pub(super) inbox: VecDeque<Notice<C>>,
    /// How many of them this round hands out.
    pub(super) in_round: usize,
    /// A round has begun.
    pub(super) round_is_open: bool,
    /// How many waits there had been when the clock was read for it.
    pub(super) clock_read_at: u64,
    /// And when what the members have for it was taken.
    pub(super) collected_at: Option<u64>,
    /// That was left where it is, as the game has left enough of earlier rounds.
    pub(super) has_skipped: bool,
    /// What a failed member leaves: its connections, in the order of their arrival.
    pub(super) orphans: VecDeque<(LinkId, Token)>,
    pub(super) announcement: Announcement,
    next_number: u64,
    /// A member that was to stay has failed, and the game has not replaced it.
    pub(super) has_failed: bool,
}

impl<S: Send + 'static, C: Codec> Dispatcher<S, C> {
    /// The notices of all members wait at the engine with this mailbox, and are reported with this token.
    pub(crate) fn new(mailbox: Arc<Mailbox>, token: Token, limits: Limits) -> Dispatcher<S, C> {
        let local_counters = Arc::new(Counters::default());
        Dispatcher {
            links: Table::new(),
            local: Member::of_game(token, limits, Arc::clone(&local_counters)),
            local_counters,
            local_links: 0,
            members: RemoteMembers::default(),
            limits,
            inbox: VecDeque::new(),
            in_round: 0,
            round_is_open: false,
            collected_at: None,
            clock_read_at: 0,
            has_skipped: false,
            orphans: VecDeque::new(),
            announcement: Announcement::new(mailbox, token),
            next_number: 0,
            has_failed: false,
        }
    }

    /// The number of the member that is added next.
    pub(crate) fn next_member(&self) -> usize {
        self.members.next()
    }

    pub(crate) fn add_member(&mut self, handle: MemberHandle<S, C>) {
        self.has_failed = false;
        self.members.add(handle);
    }

    /// How many members get newcomers.
    pub(crate) fn active(&self) -> usize {
        self.members.active()
    }

    /// Gives newcomers to so many members at most. Returns how many are missing.
    pub(crate) fn set_active(&mut self, count: usize) -> usize {
        // If the missing ones cannot be started either, newcomers still must not reach the game's thread.
        self.has_failed &= count > 0;
        self.members.set_active(count)
    }

    /// Takes the number of a member that has ended, so that its thread can be joined.
    pub(crate) fn take_ended(&mut self) -> Option<usize> {
        self.members.take_ended()
    }

    /// Stops all members. For the end of the crew.
    pub(crate) fn stop_all(&mut self) {
        self.announcement.close();
        self.members.stop_all();
    }

    /// Removes the connections of this thread.
    pub(crate) fn remove_local<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        self.local.remove_all(engine);
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = MemberStats> {
        let local = (self.local_links > 0 || self.active() == 0).then(|| MemberStats {
            links: self.local_links,
            retiring: self.active() > 0,
            ..self.local_counters.read()
        });
        local.into_iter().chain(self.members.stats())
    }

    /// How many notices have been taken out, and how many messages of this thread's codecs wait for room there.
    #[cfg(dolmen_sim)]
    pub(crate) fn waiting_notices(&self) -> (usize, usize) {
        (self.inbox.len(), self.local.waiting_messages())
    }

    /// The number of the member that has a connection; `None` for the game's own thread.
    #[cfg(dolmen_sim)]
    pub(crate) fn member_of(&self, link: LinkId) -> Option<usize> {
        match self.links.get(link.0)?.place {
            Place::Member(index) => Some(index),
            Place::Local => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Takes a connection, and gives it to a member. `hand_over` makes of a stream what crosses to a member's thread.
    pub(crate) fn add<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        stream: K::Stream,
        codec: C,
        token: Token,
        hand_over: impl FnOnce(K::Stream) -> S,
    ) -> LinkId {
        let place = self.members.fewest().map_or(Place::Local, Place::Member);
        let ledger = Arc::new(Ledger::default());
        let number = self.next_number;
        self.next_number += 1;
        let link = GameLink { token, place, ledger: Arc::clone(&ledger), number, is_closing: false };
        let link = LinkId(self.links.insert(link));
        match place {
            // What has ended a member must not reach the game: no newcomer is served before the game replaces it [p20].
            Place::Local if self.has_failed => {
                self.local_links += 1;
                self.inbox.push_back(Notice::Left(link, LeaveReason::MemberFailed));
                self.ask_for_round();
            }
            Place::Local => {
                self.local_links += 1;
                let newcomer = Newcomer { link, stream, codec, ledger };
                if !self.round_is_open {
                    self.local.begin_turn(engine);
                }
                let added = catch_unwind(AssertUnwindSafe(|| self.local.add(engine, newcomer)));
                if let Err(panic) = added {
                    // The game gets no name for it, and no event.
                    self.local_links -= 1;
                    self.links.remove(link.0);
                    self.fail(panic);
                }
                self.ask_for_round();
            }
            Place::Member(index) => {
                let newcomer = Newcomer { link, stream: hand_over(stream), codec, ledger };
                self.members.order(index, Order::Add(Box::new(newcomer)), self.round_is_open);
            }
        }
        link
    }

    /// A connection that the game has not ended.
    fn open(&mut self, link: LinkId, action: &'static str) -> Result<&mut GameLink, Error> {
        let found = self.links.get_mut(link.0).filter(|link| !link.is_closing);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, action, link).advised(CLOSED_ADVICE))
    }

    pub(crate) fn send<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        link: LinkId,
        reply: C::Reply,
    ) -> Result<(), SendError<C::Reply>> {
        const ACTION: &str = "send to link";
        let (weight, limit) = (weight_of::<C>(&reply), self.limits.replies);
        let place = match self.open(link, ACTION) {
            Ok(open) if open.ledger.admit(weight, limit) => open.place,
            Ok(_) => return Err(SendError { error: queue_full(ACTION, link, limit), value: reply }),
            Err(error) => return Err(SendError { error, value: reply }),
        };
        self.pass(engine, place, Request::Reply(link, reply, weight));
        Ok(())
    }

    /// Returns the links that have refused it.
    pub(crate) fn broadcast<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        links: impl IntoIterator<Item = LinkId>,
        reply: &C::Reply,
    ) -> Vec<(LinkId, ErrorKind)>
    where
        C::Reply: Clone,
    {
        let (weight, limit) = (weight_of::<C>(reply), self.limits.replies);
        let (mut refused, mut local) = (Vec::new(), Vec::new());
        let mut groups: Vec<Vec<LinkId>> = (0..self.members.len()).map(|_| Vec::new()).collect();
        for link in links {
            match self.links.get(link.0).filter(|link| !link.is_closing).map(|open| open.place) {
                Some(Place::Member(index)) => groups[index].push(link),
                Some(Place::Local) => local.push(link),
                None => refused.push((link, ErrorKind::NotFound)),
            }
        }
        // The caller's code, which may panic, runs while nothing is admitted that has not been passed on.
        for (index, mut group) in groups.into_iter().enumerate().filter(|(_, group)| !group.is_empty()) {
            let original: Box<dyn Copies<C>> = Box::new(Original(reply.clone()));
            group.retain(|&link| self.admit(link, weight, limit, &mut refused));
            if group.is_empty() {
                continue;
            }
            self.pass(engine, Place::Member(index), Request::Broadcast(group.into(), original, weight));
        }
        for link in local {
            let copy = reply.clone();
            if self.admit(link, weight, limit, &mut refused) {
                self.pass(engine, Place::Local, Request::Reply(link, copy, weight));
            }
        }
        refused
    }

    /// Makes a place for a part of a broadcast, or notes the refusal.
    fn admit(&self, link: LinkId, weight: u64, limit: u64, refused: &mut Vec<(LinkId, ErrorKind)>) -> bool {
        let admitted = self.links.get(link.0).is_some_and(|open| open.ledger.admit(weight, limit));
        if !admitted {
            refused.push((link, ErrorKind::QueueFull));
        }
        admitted
    }

    pub(crate) fn pause<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId) -> Result<(), Error> {
        let place = self.open(link, "pause link")?.place;
        self.pass(engine, place, Request::Pause(link));
        Ok(())
    }

    pub(crate) fn resume<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId) -> Result<(), Error> {
        let place = self.open(link, "resume link")?.place;
        self.pass(engine, place, Request::Resume(link));
        Ok(())
    }

    pub(crate) fn close<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId) -> Result<(), Error> {
        let open = self.open(link, "close link")?;
        open.is_closing = true;
        let place = open.place;
        self.pass(engine, place, Request::Close(link));
        Ok(())
    }

    pub(crate) fn abort<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId) -> Result<(), Error> {
        // Also one that is closing: that cuts a slow end short.
        let found = self.links.get_mut(link.0);
        let found =
            found.ok_or_else(|| Error::new(ErrorKind::NotFound, "abort link", link).advised(LEFT_ADVICE))?;
        found.is_closing = true;
        let place = found.place;
        self.pass(engine, place, Request::Abort(link));
        Ok(())
    }

    /// The weight of the replies that have not reached the codec.
    pub(crate) fn waiting(&self, link: LinkId) -> Result<u64, Error> {
        let found = self.links.get(link.0);
        let found = found
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "look up link", link).advised(LEFT_ADVICE))?;
        Ok(found.ledger.weight())
    }

    fn pass<K: Kernel>(&mut self, engine: &mut Engine<K>, place: Place, request: Request<C>) {
        match place {
            Place::Local => {
                // The round has read the clock at its begin.
                if !self.round_is_open {
                    self.local.begin_turn(engine);
                }
                let done = catch_unwind(AssertUnwindSafe(|| self.local.request(engine, request)));
                done.unwrap_or_else(|panic| self.fail(panic));
                self.ask_for_round();
            }
            Place::Member(index) => {
                self.members.order(index, Order::To(request), self.round_is_open);
            }
        }
    }
}

/// Messages may panic when they are dropped.
impl<S: Send + 'static, C: Codec> Drop for Dispatcher<S, C> {
    fn drop(&mut self) {
        drop_each(self.inbox.drain(..));
    }
}

/// What a reply counts. One that counted nothing would have no limit.
fn weight_of<C: Codec>(reply: &C::Reply) -> u64 {
    (C::weight(reply) as u64).clamp(1, MAX_WEIGHT)
}

fn queue_full(action: &'static str, link: LinkId, limit: u64) -> Error {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Error::new(ErrorKind::QueueFull, action, link).limited(limit).advised(FULL_ADVICE)
}
