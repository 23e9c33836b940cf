//! [`Ledger`]: how much of what the game has sent on one connection its codec has not got yet.

use crate::sync::{AtomicU64, Ordering};

/// The game has been refused, and room is to be reported to it.
const REFUSED: u64 = 1;
const UNIT: u64 = 2;

/// The greatest weight and limit: there is room for the sum of two.
pub(super) const MAX_WEIGHT: u64 = u64::MAX / 8;

/// One word, so that a refusal and the room that is made meanwhile cannot miss each other: the weight of the replies on
/// their way, and whether the game waits for room.
#[derive(Default)]
pub(super) struct Ledger {
    word: AtomicU64,
}

impl Ledger {
    /// Makes a place for a reply. If it is refused, [`release`](Ledger::release) reports when there is room [p19]. A reply that
    /// is heavier than the limit has a place when there is nothing else.
    pub(super) fn admit(&self, weight: u64, limit: u64) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let before = word / UNIT;
            let fits = before == 0 || before + weight <= limit;
            let after = if fits { word + weight * UNIT } else { word | REFUSED };
            // The queue orders what matters: the reply follows its weight, and precedes its release.
            match self.word.compare_exchange_weak(word, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return fits,
                Err(now) => word = now,
            }
        }
    }

    /// A reply has reached its codec. Returns whether room is to be reported to the game.
    pub(super) fn release(&self, weight: u64, limit: u64) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let left = (word / UNIT).saturating_sub(weight);
            let reports = word & REFUSED != 0 && left <= limit / 2;
            let after = left * UNIT + if reports { 0 } else { word & REFUSED };
            match self.word.compare_exchange_weak(word, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return reports,
                Err(now) => word = now,
            }
        }
    }

    /// The weight of the replies on their way.
    pub(super) fn weight(&self) -> u64 {
        self.word.load(Ordering::Relaxed) / UNIT
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_answered_once_when_half_of_the_limit_is_free() {
        let ledger = Ledger::default();
        assert!(ledger.admit(6, 10) && ledger.admit(4, 10));
        assert!(!ledger.admit(1, 10) && !ledger.admit(1, 10));
        assert_eq!((ledger.weight(), ledger.release(4, 10)), (10, false));
        assert!(ledger.release(1, 10), "five are left");
        assert!(!ledger.release(5, 10), "it was reported before");
        assert_eq!(ledger.weight(), 0);
    }

    #[test]
    fn what_is_heavier_than_the_limit_passes_alone() {
        let ledger = Ledger::default();
        assert!(ledger.admit(100, 10));
        assert!(!ledger.admit(1, 10));
        assert!(ledger.release(100, 10));
        assert!(ledger.admit(1, 10) && !ledger.admit(100, 10));
    }
}
