//! [`Member`]: the connections of one member and their codecs, over any engine. It has no thread and no queue to the game:
//! orders come in, and notices wait in [`Outgoing`] until its turn ends.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::codec::{Codec, Link, Wish};
use super::counters::Counters;
use super::deadlines::Deadlines;
use super::entry::{EngineWire, Entry, Waiting, pause, push_unsent, set_pause};
use super::flushes::Flushes;
use super::happening::Happening;
use super::notice::{LeaveReason, Newcomer, Notice, Outgoing, Request};
use crate::close_reason::CloseReason;
use crate::drop_each::drop_each;
use crate::engine::Engine;
use crate::kernel::Kernel;
use crate::token::{ConnId, LinkId, Token};

/// Limits that all members have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many notices may wait for the game.
    pub(crate) notices: usize,
    /// How much may be on its way to one connection.
    pub(crate) replies: u64,
    /// How long the end of a connection may take.
    pub(crate) linger: Duration,
}

/// The clock of the codecs, which is the engine's.
struct Clock {
    start: Instant,
    start_ns: u64,
}

pub(crate) struct Member<C: Codec> {
    /// By the slot of the link, which is unique in the crew.
    pub(super) entries: Vec<Option<Box<Entry<C>>>>,
    /// The slot of the link, by that of the connection. Meaningless for one that has ended.
    by_conn: Vec<u32>,
    pub(super) outgoing: Outgoing<C>,
    shared: C::Shared,
    /// The token of its connections and its timer.
    pub(super) token: Token,
    pub(super) limits: Limits,
    clock: Option<Clock>,
    pub(super) now: Instant,
    /// It is on the game's thread, which goes on after a panic that the game catches.
    pub(super) is_local: bool,
    pub(super) flushes: Flushes,
    /// Those that are not read because the game does not take their messages.
    pub(super) full: Vec<u32>,
    pub(super) deadlines: Deadlines,
    pub(super) counters: Arc<Counters>,
}

impl<C: Codec> Member<C> {
    pub(crate) fn new(token: Token, limits: Limits, counters: Arc<Counters>) -> Member<C> {
        Member {
            entries: Vec::new(),
            by_conn: Vec::new(),
            outgoing: Outgoing::default(),
            shared: C::Shared::default(),
            token,
            limits,
            clock: None,
            now: Instant::now(),
            is_local: false,
            flushes: Flushes::default(),
            full: Vec::new(),
            deadlines: Deadlines::default(),
            counters,
        }
    }

    /// One on the game's own thread.
    pub(super) fn of_game(token: Token, limits: Limits, counters: Arc<Counters>) -> Member<C> {
        let mut member = Member::new(token, limits, counters);
        member.is_local = true;
        member
    }

    /// Reads the clock, at the begin of a turn.
    pub(crate) fn begin_turn<K: Kernel>(&mut self, engine: &Engine<K>) {
        let now_ns = engine.now_ns();
        let clock = self.clock.get_or_insert_with(|| Clock { start: Instant::now(), start_ns: now_ns });
        self.now = clock.start + Duration::from_nanos(now_ns.saturating_sub(clock.start_ns));
    }

    /// Does what the game wants of a connection. One that has ended does nothing.
    pub(crate) fn request<K: Kernel>(&mut self, engine: &mut Engine<K>, request: Request<C>) {
        match request {
            Request::Reply(link, reply, weight) => self.reply(engine, link, reply, weight),
            Request::Broadcast(links, reply, weight) => {
                for &link in &links {
                    if self.find(link).is_some() {
                        self.reply(engine, link, reply.copy(), weight);
                    }
                }
            }
            Request::Pause(link) => self.pause_for_game(engine, link, true),
            Request::Resume(link) => self.pause_for_game(engine, link, false),
            Request::Close(link) => self.close(engine, link),
            Request::Abort(link) => self.act(engine, link, |entry| entry.wish = Wish::Abort),
        }
    }

    /// Takes a connection.
    pub(crate) fn add<K: Kernel>(&mut self, engine: &mut Engine<K>, newcomer: Newcomer<K::Stream, C>) {
        let Newcomer { link, stream, codec, ledger } = newcomer;
        let conn = match engine.add(stream, self.token) {
            Ok(conn) => conn,
            Err(refused) => {
                return self.outgoing.push(Notice::Left(link, LeaveReason::Refused(refused.error)));
            }
        };
        let (slot, conn_slot) = (link.0.slot, conn.0.slot as usize);
        if self.by_conn.len() <= conn_slot {
            self.by_conn.resize(conn_slot + 1, 0);
        }
        self.by_conn[conn_slot] = slot;
        if self.entries.len() <= slot as usize {
            self.entries.resize_with(slot as usize + 1, || None);
        }
        let entry = Entry::new(link, conn, codec, ledger);
        self.entries[slot as usize] = Some(Box::new(entry));
        self.call(engine, slot, Codec::opened);
    }

    fn find(&mut self, link: LinkId) -> Option<&mut Entry<C>> {
        let entry = self.entries.get_mut(link.0.slot as usize)?.as_deref_mut()?;
        (entry.link == link).then_some(entry)
    }

    /// The slot of a connection that is here.
    fn slot_of(&self, conn: ConnId) -> Option<u32> {
        let slot = *self.by_conn.get(conn.0.slot as usize)?;
        let entry = self.entries.get(slot as usize)?.as_ref()?;
        (entry.conn == conn).then_some(slot)
    }

    fn reply<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId, reply: C::Reply, weight: u64) {
        let round = self.flushes.open_round();
        let Some(entry) = self.find(link) else { return };
        entry.round = round.or(entry.round);
        if !entry.unsent.is_empty() || !entry.waiting.is_empty() {
            entry.waiting.push_back(Waiting::Reply(reply, weight));
            return;
        }
        self.pass(engine, link.0.slot, reply, weight);
    }

    /// Hands a reply to its codec.
    fn pass<K: Kernel>(&mut self, engine: &mut Engine<K>, slot: u32, reply: C::Reply, weight: u64) {
        let Some(entry) = self.entries[slot as usize].as_deref_mut() else { return };
        if entry.ledger.release(weight, self.limits.replies) {
            self.outgoing.push(Notice::Drained(entry.link));
        }
        self.counters.replied();
        self.call(engine, slot, |codec, link| codec.send(reply, link));
    }

    /// Closes a connection, after the replies that were sent before.
    fn close<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId) {
        // The peer has to read what is queued, and what waits, in this time.
        let by = self.close_by();
        let Some(entry) = self.find(link) else { return };
        entry.is_closed_by_game = true;
        if !entry.waiting.is_empty() {
            entry.waiting.push_back(Waiting::Close);
            return self.act(engine, link, |entry| entry.close_by = entry.close_by.or(by));
        }
        self.close_now(engine, link);
    }

    /// When a close that begins now is cut short. A time that the clock cannot express never comes.
    fn close_by(&self) -> Option<Instant> {
        self.now.checked_add(self.limits.linger)
    }

    /// Closes a connection as its codec does.
    fn close_now<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId) {
        // One that takes no calls any more is closing already. The codec is not called, except for what it holds back.
        self.visit(engine, link.0.slot, |_, link| link.close());
    }

    /// Changes an entry, and lets the engine follow.
    pub(super) fn act<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        link: LinkId,
        change: impl FnOnce(&mut Entry<C>),
    ) {
        if self.find(link).is_none() {
            return;
        }
        let slot = link.0.slot;
        let Some(mut entry) = self.entries[slot as usize].take() else { return };
        change(&mut entry);
        self.settle(engine, &mut entry);
        self.entries[slot as usize] = Some(entry);
    }

    /// Handles what the engine has found.
    pub(crate) fn handle<K: Kernel>(&mut self, engine: &mut Engine<K>, happening: Happening<'_>) {
        match happening {
            Happening::Received(conn, data) => {
                if let Some(slot) = self.slot_of(conn) {
                    self.counters.received(data.len());
                    self.call(engine, slot, |codec, link| codec.received(data, link));
                }
            }
            Happening::EndOfStream(conn) => {
                if let Some(slot) = self.slot_of(conn) {
                    self.call(engine, slot, Codec::end_of_stream);
                }
            }
            Happening::Drained(conn) => {
                if let Some(slot) = self.slot_of(conn) {
                    self.drained(engine, slot);
                }
            }
            Happening::Closed(conn, reason) => {
                if let Some(slot) = self.slot_of(conn) {
                    if !self.entries[slot as usize].as_ref().is_some_and(|entry| entry.is_closed_by_game) {
                        self.call(engine, slot, Codec::closed);
                    }
                    self.closed(slot, reason);
                }
            }
            // The end of the turn looks at the deadlines.
            Happening::Timer => {}
        }
    }

    fn closed(&mut self, slot: u32, reason: CloseReason) {
        let Some(mut entry) = self.entries[slot as usize].take() else { return };
        self.deadlines.disarm(slot, &mut entry.armed);
        let reason = match entry.forced {
            Some(unsent) => CloseReason::LingerExpired { unsent },
            None => reason,
        };
        // Behind all messages of this connection [p18].
        self.outgoing.push(Notice::Left(entry.link, LeaveReason::Closed(reason)));
    }

    /// Calls a codec, unless its connection is closing, and lets the engine follow. A flush is due then.
    pub(super) fn call<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        slot: u32,
        call: impl FnOnce(&mut C, &mut Link<'_, C>),
    ) {
        let Some(entry) = self.entries[slot as usize].as_deref_mut().filter(|entry| entry.takes_calls())
        else {
            return;
        };
        // Before the call, which may hold something back and close.
        if !std::mem::replace(&mut entry.is_touched, true) {
            self.flushes.add(slot);
        }
        self.visit(engine, slot, call);
    }

    /// The same without a new flush.
    pub(super) fn visit<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        slot: u32,
        call: impl FnOnce(&mut C, &mut Link<'_, C>),
    ) {
        // A pointer moves, so that the codec and the rest of the member can be borrowed.
        let Some(mut entry) = self.entries[slot as usize].take() else { return };
        if entry.takes_calls() {
            let before = self.outgoing.notices.len();
            let flush_is_due = entry.is_touched;
            let called = self.enter(engine, &mut entry, |codec, link| {
                call(codec, link);
                // What the codec holds back goes out before a close.
                if *link.wish == Wish::Close && flush_is_due {
                    codec.flush(link);
                }
            });
            if let Err(panic) = called {
                // Not while the panic is under way: its destructor may panic as well.
                drop_each(std::iter::once(entry));
                resume_unwind(panic);
            }
            let delivered = self.outgoing.notices.len() - before;
            if delivered > 0 {
                self.counters.delivered(delivered);
                // A game that ends no round takes nothing either.
                self.outgoing.is_full |= self.is_local && self.outgoing.notices.len() >= self.limits.notices;
                if self.outgoing.is_full {
                    self.pause_full(engine, &mut entry);
                }
            }
            self.settle(engine, &mut entry);
        }
        self.entries[slot as usize] = Some(entry);
    }

    /// Calls a codec. If it panics on the game's thread, which may catch that, its connection is gone; on a thread of its own
    /// the whole member is.
    fn enter<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        entry: &mut Box<Entry<C>>,
        call: impl FnOnce(&mut C, &mut Link<'_, C>),
    ) -> thread::Result<()> {
        let mut reads = entry.pauses & pause::CODEC == 0;
        let mut wire = EngineWire { engine: &mut *engine, conn: entry.conn };
        let mut link = Link {
            id: entry.link,
            now: self.now,
            wire: &mut wire,
            unsent: &mut entry.unsent,
            outgoing: &mut self.outgoing,
            shared: &mut self.shared,
            wish: &mut entry.wish,
            reads: &mut reads,
        };
        let called = catch_unwind(AssertUnwindSafe(|| {
            call(&mut entry.codec, &mut link);
            // It may panic as well.
            entry.codec.deadline()
        }));
        match called {
            Ok(deadline) => {
                entry.deadline = deadline;
                set_pause(engine, entry, pause::CODEC, !reads);
                Ok(())
            }
            Err(panic) => {
                if self.is_local {
                    engine.remove(entry.conn);
                    self.deadlines.disarm(entry.link.0.slot, &mut entry.armed);
                    self.outgoing.push(Notice::Left(entry.link, LeaveReason::MemberFailed));
                }
                Err(panic)
            }
        }
    }

    /// Lets the engine and the deadlines follow what has become of an entry.
    fn settle<K: Kernel>(&mut self, engine: &mut Engine<K>, entry: &mut Entry<C>) {
        if entry.wish != Wish::Abort {
            push_unsent(engine, entry);
        }
        let is_blocked = !entry.unsent.is_empty();
        entry.owes_drained |= is_blocked;
        match entry.wish {
            Wish::Stay => set_pause(engine, entry, pause::UNSENT, is_blocked),
            Wish::Close if !entry.is_closing => {
                entry.close_by = entry.close_by.or(self.close_by());
                if !is_blocked {
                    entry.is_closing = true;
                    // What is left of the time, also on the game's thread, whose reactor has a linger time of its own.
                    let left = entry.close_by.map_or(Duration::MAX, |by| by - self.now);
                    // It fails only for one that has ended, whose end is reported.
                    let _ = engine.close_within(entry.conn, left);
                }
            }
            Wish::Abort => {
                (entry.is_closing, entry.close_by) = (true, None);
                let _ = engine.abort(entry.conn);
            }
            Wish::Close => {}
        }
        self.arm(entry);
    }

    pub(super) fn arm(&mut self, entry: &mut Entry<C>) {
        let next = entry.next_look();
        self.deadlines.arm(entry.link.0.slot, &mut entry.armed, next);
    }

    /// There is room in the reactor's queue for what waits.
    fn drained<K: Kernel>(&mut self, engine: &mut Engine<K>, slot: u32) {
        loop {
            let Some(mut entry) = self.entries[slot as usize].take() else { return };
            self.settle(engine, &mut entry);
            let has_room = entry.unsent.is_empty();
            let next = if has_room { entry.waiting.pop_front() } else { None };
            let is_over = has_room && next.is_none() && std::mem::take(&mut entry.owes_drained);
            let link = entry.link;
            self.entries[slot as usize] = Some(entry);
            if is_over {
                return self.call(engine, slot, Codec::drained);
            }
            match next {
                Some(Waiting::Reply(reply, weight)) => self.pass(engine, slot, reply, weight),
                Some(Waiting::Close) => self.close_now(engine, link),
                None => return,
            }
        }
    }

    fn pause_for_game<K: Kernel>(&mut self, engine: &mut Engine<K>, link: LinkId, on: bool) {
        if let Some(entry) = self.find(link) {
            set_pause(engine, entry, pause::GAME, on);
        }
    }

    /// How many messages wait for room in the game's queue.
    #[cfg(dolmen_sim)]
    pub(crate) fn waiting_messages(&self) -> usize {
        self.outgoing.notices.iter().filter(|notice| notice.message_of().is_some()).count()
    }

    /// Forgets all connections and the timer.
    pub(super) fn remove_all<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        for entry in self.entries.iter().flatten() {
            engine.remove(entry.conn);
        }
        self.drop_codecs();
        self.deadlines.remove_timer(engine);
    }

    /// Drops all codecs.
    pub(super) fn drop_codecs(&mut self) {
        drop_each(self.entries.drain(..).flatten());
    }

    /// All that is left for the game, when the member ends.
    pub(super) fn take_notices(&mut self) -> VecDeque<Notice<C>> {
        std::mem::take(&mut self.outgoing.notices)
    }
}

/// A destructor that panics must not take another one's with it: two panics at a time end the process [p21].
impl<C: Codec> Drop for Member<C> {
    fn drop(&mut self) {
        self.drop_codecs();
        drop_each(self.outgoing.notices.drain(..));
    }
}
