//! The end of a [`Member`]'s turn: deadlines, flushes, and the notices for the game.

use std::collections::VecDeque;
use std::time::Duration;

use super::codec::{Codec, Wish};
use super::entry::{Entry, pause, set_pause};
use super::member::Member;
use super::notice::Notice;
use crate::engine::Engine;
use crate::kernel::Kernel;

/// How soon a deadline that stays over is looked at again. That is a fault of the codec, and must cost the others nothing.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);

impl<C: Codec> Member<C> {
    /// Reads no more from a connection until the game has taken the notices that wait [p19].
    pub(super) fn pause_full<K: Kernel>(&mut self, engine: &mut Engine<K>, entry: &mut Entry<C>) {
        if entry.pauses & pause::FULL == 0 {
            set_pause(engine, entry, pause::FULL, true);
            self.full.push(entry.link.0.slot);
        }
    }

    /// Ends a turn: deadlines, flushes, and then `post` takes as many notices as the game has room for.
    pub(crate) fn end_turn<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        post: impl FnOnce(&mut VecDeque<Notice<C>>),
    ) {
        self.expire(engine);
        self.flush(engine);
        self.post(engine, post);
        self.deadlines.set_timer(engine, self.now, self.token);
        self.counters.turned();
    }

    /// A part of a round of the game has come: codecs flush when all of it has.
    pub(crate) fn begin_round(&mut self) {
        self.flushes.begin_round();
    }

    /// The game's round is over: the codecs that have got something in it flush with the end of this turn.
    pub(crate) fn end_round(&mut self) {
        self.flushes.end_round();
    }

    fn flush<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        let round = self.flushes.open_round();
        // Each is taken out before its call: one that panics must not leave the others in a list that is lost.
        while let Some(slot) = self.flushes.next() {
            let entry = self.entries[slot as usize].as_deref_mut().filter(|entry| entry.is_touched);
            let Some(entry) = entry else { continue };
            // The rest of what the game has for it in this round is still on its way.
            if round.is_some() && entry.round == round {
                self.flushes.defer(slot);
                continue;
            }
            entry.is_touched = false;
            self.visit(engine, slot, Codec::flush);
        }
    }

    /// Lets `post` take as many notices as the game has room for.
    pub(super) fn post<K: Kernel>(
        &mut self,
        engine: &mut Engine<K>,
        post: impl FnOnce(&mut VecDeque<Notice<C>>),
    ) {
        if self.outgoing.notices.is_empty() {
            return;
        }
        post(&mut self.outgoing.notices);
        let was_full = std::mem::replace(&mut self.outgoing.is_full, !self.outgoing.notices.is_empty());
        if self.outgoing.is_full && !was_full {
            // Those whose messages are left. Others are paused when they deliver one.
            for at in 0..self.outgoing.notices.len() {
                let Some(link) = self.outgoing.notices[at].message_of() else { continue };
                let Some(mut entry) = self.entries[link.0.slot as usize].take() else { continue };
                if entry.link == link {
                    self.pause_full(engine, &mut entry);
                }
                self.entries[link.0.slot as usize] = Some(entry);
            }
        } else if was_full && !self.outgoing.is_full {
            for slot in self.full.drain(..) {
                if let Some(entry) = self.entries[slot as usize].as_deref_mut() {
                    set_pause(engine, entry, pause::FULL, false);
                }
            }
        }
    }

    fn expire<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        while let Some(slot) = self.deadlines.pop(self.now) {
            let Some(entry) = self.entries[slot as usize].as_deref_mut() else { continue };
            entry.armed = None;
            if entry.close_by.is_some_and(|by| by <= self.now) {
                let unsent = entry.unsent.len() + engine.queued_bytes(entry.conn).unwrap_or(0);
                if entry.is_closing && unsent == 0 {
                    // Everything has been sent: the engine gives the peer its time to close, and then does without a reset,
                    // which would take from the peer what it has not read.
                    entry.close_by = None;
                    continue;
                }
                entry.forced = Some(unsent);
                let link = entry.link;
                self.act(engine, link, |entry| entry.wish = Wish::Abort);
                continue;
            }
            if entry.takes_calls() && entry.deadline.is_some_and(|deadline| deadline <= self.now) {
                self.call(engine, slot, Codec::expired);
            }
            let Some(mut entry) = self.entries[slot as usize].take() else { continue };
            if entry.next_look().is_some_and(|at| at <= self.now) {
                entry.rests_until = Some(self.now + SHORTEST_DEADLINE);
                self.deadlines.disarm(slot, &mut entry.armed);
            }
            self.arm(&mut entry);
            self.entries[slot as usize] = Some(entry);
        }
    }
}
