//! The signal by which other threads wake the simulated kernel.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::faults::NO_MEMORY;
use crate::kernel::{Fault, Signal};

/// Wakes the simulated kernel.
#[derive(Default)]
pub(crate) struct SimSignal {
    raised: AtomicBool,
    /// Which of the next signals fails; 0: none.
    fail_in: AtomicU32,
    failed: AtomicU64,
}

impl SimSignal {
    /// The `nth` signal from now on fails.
    pub(crate) fn fail_in(&self, nth: u32) {
        self.fail_in.store(nth, Ordering::Relaxed);
    }

    /// How many have failed in total.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the next wait returns.
    pub(in crate::kernel::sim) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Whether the wait is to return.
    pub(in crate::kernel::sim) fn take(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }
}

impl Signal for SimSignal {
    fn notify(&self) -> Result<(), Fault> {
        let left = self.fail_in.load(Ordering::Relaxed);
        self.fail_in.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(NO_MEMORY);
        }
        self.raised.store(true, Ordering::Release);
        Ok(())
    }
}
