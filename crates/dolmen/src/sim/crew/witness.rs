//! [`Witness`]: what a codec of the simulated crew has seen and done, for the model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::codec::End;
use crate::sim::Oracle;

/// What a codec has seen and done.
#[derive(Default)]
pub(super) struct Witness {
    pub(super) opened: bool,
    pub(super) received_bytes: u64,
    pub(super) messages: u64,
    pub(super) replies: u64,
    /// The weight of these.
    pub(super) weight: u64,
    /// Bytes for the peer.
    pub(super) sent_bytes: u64,
    /// It has closed or reset the connection, or panicked.
    pub(super) ended: Option<End>,
    pub(super) end_of_stream: bool,
    /// Its connection has ended by itself.
    pub(super) closed: u64,
    /// It was called, and not flushed since.
    pub(super) awaits_flush: bool,
    /// The game has closed it or reset it.
    pub(super) is_ended_by_game: bool,
    /// The rounds in which the game has sent to it, and how many replies there were by the end of each.
    sent_in: Vec<(u64, u64)>,
    pub(super) deadline_ns: Option<u64>,
    pub(super) dropped: bool,
    /// Its link was blocked, and no room has been reported since.
    pub(super) is_blocked: bool,
    /// The promise that was broken.
    pub(super) fault: Option<(Oracle, String)>,
}

impl Witness {
    /// The game has sent a reply in this round, and so many in all.
    pub(super) fn note_sent(&mut self, round: u64, replies: u64) {
        match self.sent_in.last_mut().filter(|last| last.0 == round) {
            Some(last) => last.1 = replies,
            None => self.sent_in.push((round, replies)),
        }
    }

    /// The last round in which the game has sent to it.
    pub(super) fn last_round(&self) -> Option<u64> {
        self.sent_in.last().map(|last| last.0)
    }

    /// How many replies the game had sent by the end of a round.
    pub(super) fn sent_by(&self, round: u64) -> u64 {
        let at = self.sent_in.partition_point(|sent| sent.0 <= round);
        at.checked_sub(1).map_or(0, |at| self.sent_in[at].1)
    }

    pub(super) fn fail(&mut self, oracle: Oracle, message: impl FnOnce() -> String) {
        if self.fault.is_none() {
            self.fault = Some((oracle, message()));
        }
    }
}

pub(super) type SharedWitness = Arc<Mutex<Witness>>;

/// A codec may have panicked with it.
pub(super) fn look(witness: &SharedWitness) -> MutexGuard<'_, Witness> {
    witness.lock().unwrap_or_else(PoisonError::into_inner)
}
