//! [`Published`]: figures of an engine for another thread. They are exact when the engine is at rest, as it stores them before
//! each wait that may block.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stats::Stats;

/// Written by the engine's thread alone.
#[derive(Default)]
pub(crate) struct Published {
    queued_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    sends_refused: AtomicU64,
    kernel_calls: AtomicU64,
}

impl Published {
    pub(super) fn store(&self, stats: &Stats, kernel_calls: u64) {
        self.queued_bytes.store(stats.queued_bytes as u64, Ordering::Relaxed);
        self.sent_bytes.store(stats.bytes_sent, Ordering::Relaxed);
        self.sends_refused.store(stats.sends_refused, Ordering::Relaxed);
        self.kernel_calls.store(kernel_calls, Ordering::Relaxed);
    }

    /// The figures, and default values for the others.
    pub(crate) fn read(&self) -> Stats {
        Stats {
            queued_bytes: usize::try_from(self.queued_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
            bytes_sent: self.sent_bytes.load(Ordering::Relaxed),
            sends_refused: self.sends_refused.load(Ordering::Relaxed),
            kernel_calls: self.kernel_calls.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}
