//! The rounds of a game, at its end of the crew: what a [`Dispatcher`] takes from the members after each wait, the events that
//! it makes of that, and the end, which lets codecs flush.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::codec::Codec;
use super::dispatcher::{Dispatcher, GameLink, Place};
use super::event::CrewEvent;
use super::happening::Happening;
use super::notice::{LeaveReason, Notice};
use crate::engine::Engine;
use crate::kernel::Kernel;
use crate::token::LinkId;

impl<S: Send + 'static, C: Codec> Dispatcher<S, C> {
    /// The game handles what a wait has brought: a round begins, unless one has begun. It reads the clock, also in a round that
    /// goes on after another wait.
    pub(crate) fn open_round<K: Kernel>(&mut self, engine: &Engine<K>) {
        let is_open = std::mem::replace(&mut self.round_is_open, true);
        if !is_open || self.clock_read_at != engine.waits() {
            self.clock_read_at = engine.waits();
            self.local.begin_turn(engine);
        }
    }

    /// Something has happened to a connection on this thread.
    pub(crate) fn handle<K: Kernel>(&mut self, engine: &mut Engine<K>, happening: Happening<'_>) {
        self.open_round(engine);
        let handled = catch_unwind(AssertUnwindSafe(|| self.local.handle(engine, happening)));
        handled.unwrap_or_else(|panic| self.fail(panic));
    }

    /// The codecs on this thread may have delivered something, and wait to be flushed. Outside a round, the next wait returns
    /// for that, however long it was to be.
    pub(super) fn ask_for_round(&mut self) {
        if !self.round_is_open {
            self.announcement.make();
        }
    }

    /// A codec on this thread has panicked. The game may catch that, and leave the round open as it is: the next wait returns
    /// for the end of the connection all the same.
    pub(super) fn fail(&mut self, panic: Box<dyn Any + Send>) -> ! {
        self.announcement.make_anew();
        resume_unwind(panic)
    }

    /// The next event of this round. `None` ends the round.
    pub(crate) fn next_event<K: Kernel>(&mut self, engine: &mut Engine<K>) -> Option<CrewEvent<C>> {
        let event = self.take_event(engine);
        if event.is_none() {
            self.end_round(engine);
        }
        event
    }

    /// The next event of this round, which stays open.
    pub(crate) fn take_event<K: Kernel>(&mut self, engine: &mut Engine<K>) -> Option<CrewEvent<C>> {
        if self.collected_at != Some(engine.waits()) {
            self.open_round(engine);
            self.collect(engine);
        }
        loop {
            if let Some((link, token)) = self.orphans.pop_front() {
                return Some(CrewEvent::Left { link, token, reason: LeaveReason::MemberFailed });
            }
            let Some(left) = self.in_round.checked_sub(1) else { break };
            self.in_round = left;
            let notice = self.inbox.pop_front()?;
            if let Some(event) = self.event_of(notice) {
                return Some(event);
            }
        }
        None
    }

    /// Takes what the members have for this round: once after each wait, whatever that has reported and the game has passed on.
    fn collect<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        self.collected_at = Some(engine.waits());
        self.announcement.answer();
        // A game that leaves events for later rounds gets no more of them [p19].
        self.has_skipped = self.inbox.len() >= self.limits.notices;
        if !self.has_skipped {
            self.members.take_notices(&mut self.inbox);
        }
        self.take_local(engine);
        self.in_round = self.inbox.len();
    }

    /// Takes what the codecs on this thread have delivered, as far as there is room.
    fn take_local<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        let room = self.room();
        self.local.post(engine, |notices| take(notices, &mut self.inbox, room));
    }

    /// How many notices of this thread may wait besides those that do.
    fn room(&self) -> usize {
        self.limits.notices.saturating_sub(self.inbox.len())
    }

    /// Ends a round: what was sent in it goes to the members, the codecs on this thread flush, and what they deliver is for
    /// the next one.
    pub(crate) fn end_round<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        self.members.end_round();
        self.local.begin_turn(engine);
        let room = self.room();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.local.end_turn(engine, |notices| take(notices, &mut self.inbox, room));
        }));
        ended.unwrap_or_else(|panic| self.fail(panic));
        // Reports that nothing was taken for are not repeated.
        let mut is_left = !self.inbox.is_empty() || !self.orphans.is_empty();
        if self.collected_at != Some(engine.waits()) || self.has_skipped {
            self.announcement.answer();
            is_left |= self.members.have_notices();
        }
        (self.round_is_open, self.collected_at) = (false, None);
        if is_left {
            self.ask_for_round();
        }
    }

    fn event_of(&mut self, notice: Notice<C>) -> Option<CrewEvent<C>> {
        match notice {
            Notice::Message(link, message) => {
                let open = self.links.get(link.0).filter(|link| !link.is_closing)?;
                Some(CrewEvent::Message { link, token: open.token, message })
            }
            Notice::Drained(link) => {
                let open = self.links.get(link.0).filter(|link| !link.is_closing)?;
                Some(CrewEvent::Drained { link, token: open.token })
            }
            Notice::Left(link, reason) => {
                let GameLink { token, place, .. } = self.links.remove(link.0)?;
                match place {
                    Place::Local => self.local_links -= 1,
                    Place::Member(index) => self.members.left(index),
                }
                Some(CrewEvent::Left { link, token, reason })
            }
            Notice::Failed(serial, cause) => {
                let (member, was_retiring) = self.members.fail(serial)?;
                self.has_failed |= !was_retiring;
                self.remove_failed(member);
                Some(CrewEvent::MemberFailed { member, cause })
            }
        }
    }

    /// The connections of a member that has failed are gone [p20].
    fn remove_failed(&mut self, member: usize) {
        let place = Place::Member(member);
        let of_member =
            |key| self.links.get(key).filter(|link| link.place == place).map(|link| (link.number, key));
        let mut keys: Vec<_> = self.links.keys().into_iter().filter_map(of_member).collect();
        keys.sort_unstable();
        for (_, key) in keys {
            let link = self.links.remove(key);
            self.orphans.extend(link.map(|link| (LinkId(key), link.token)));
        }
    }
}

/// Takes notices out of a member's queue, as far as there is room.
fn take<C: Codec>(notices: &mut VecDeque<Notice<C>>, into: &mut VecDeque<Notice<C>>, room: usize) {
    let taken = room.min(notices.len());
    into.extend(notices.drain(..taken));
}
