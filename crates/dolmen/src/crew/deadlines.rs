//! [`Deadlines`]: which connections of a member are looked at next, and when.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::engine::Engine;
use crate::kernel::Kernel;
use crate::token::{TimerId, Token};

/// The times of the connections, by their slots, and one timer of the engine for all of them.
#[derive(Default)]
pub(super) struct Deadlines {
    times: BTreeSet<(Instant, u32)>,
    timer: Option<(TimerId, Instant)>,
}

impl Deadlines {
    /// Sees to it that a connection is looked at when its deadline has come. `armed` is the time under which it is listed. A
    /// later deadline than that is left for then: it is cheaper than to follow each change.
    pub(super) fn arm(&mut self, slot: u32, armed: &mut Option<Instant>, deadline: Option<Instant>) {
        let Some(deadline) = deadline.filter(|&deadline| armed.is_none_or(|armed| deadline < armed)) else {
            return;
        };
        self.disarm(slot, armed);
        self.times.insert((deadline, slot));
        *armed = Some(deadline);
    }

    pub(super) fn disarm(&mut self, slot: u32, armed: &mut Option<Instant>) {
        if let Some(armed) = armed.take() {
            self.times.remove(&(armed, slot));
        }
    }

    /// The slot of a connection whose time has come. It is listed no longer.
    pub(super) fn pop(&mut self, now: Instant) -> Option<u32> {
        let &(at, slot) = self.times.first().filter(|&&(at, _)| at <= now)?;
        self.times.remove(&(at, slot));
        Some(slot)
    }

    /// Sets the timer to the first of them. A timer that goes off too early costs one turn.
    pub(super) fn set_timer<K: Kernel>(&mut self, engine: &mut Engine<K>, now: Instant, token: Token) {
        let Some(&(next, _)) = self.times.first() else { return };
        match self.timer {
            Some((_, at)) if at <= next && at > now => {}
            Some((timer, _)) if engine.set_timer(timer, next - now) => self.timer = Some((timer, next)),
            _ => self.timer = Some((engine.add_timer(next - now, token), next)),
        }
    }

    pub(super) fn remove_timer<K: Kernel>(&mut self, engine: &mut Engine<K>) {
        if let Some((timer, _)) = self.timer.take() {
            engine.remove_timer(timer);
        }
    }
}
