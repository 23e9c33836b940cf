//! The reports due to callers that own a connection's socket, and want to know when each of their sends is complete.
//!
//! Stored by the slot of the connection and outside it, up to the last slot that has needed one, so that other
//! connections pay nothing for them.

use std::collections::VecDeque;

use crate::marks::{Mark, mark};

#[derive(Default)]
pub(super) struct SendReports {
    by_slot: Vec<Sends>,
}

#[derive(Default)]
struct Sends {
    /// All bytes that were ever queued.
    queued_total: u64,
    /// All bytes that the system has ever taken.
    sent_total: u64,
    /// For each send that is not complete: `queued_total` after it, and its length.
    incomplete: VecDeque<(u64, usize)>,
}

impl SendReports {
    /// A new connection has this slot.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn begin(&mut self, slot: u32) {
        let slot = slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize_with(slot + 1, Sends::default);
        }
        self.by_slot[slot] = Sends::default();
    }

    /// A send of `bytes` bytes has been queued.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn queued(&mut self, slot: u32, bytes: usize) {
        let sends = &mut self.by_slot[slot as usize];
        sends.queued_total += bytes as u64;
        sends.incomplete.push_back((sends.queued_total, bytes));
    }

    /// The system has taken `bytes` more bytes. Calls `report` with the length of each send that is complete now.
    pub(super) fn sent(&mut self, slot: u32, bytes: usize, mut report: impl FnMut(usize)) {
        let sends = &mut self.by_slot[slot as usize];
        sends.sent_total += bytes as u64;
        let mut reported = 0;
        while let Some(&(end, bytes)) = sends.incomplete.front().filter(|send| send.0 <= sends.sent_total) {
            debug_assert!(end <= sends.queued_total);
            sends.incomplete.pop_front();
            reported += 1;
            report(bytes);
        }
        if reported > 1 {
            mark(Mark::WrittenTogether);
        }
    }
}

#[cfg(all(test, any(feature = "c-api", dolmen_sim)))]
mod tests {
    use super::*;

    #[test]
    fn each_send_is_reported_once_its_last_byte_is_taken() {
        let mut reports = SendReports::default();
        reports.begin(3);
        reports.queued(3, 10);
        reports.queued(3, 5);
        reports.queued(3, 1);
        let mut sent = |bytes| {
            let mut complete = Vec::new();
            reports.sent(3, bytes, |bytes| complete.push(bytes));
            complete
        };
        assert_eq!(sent(9), [0; 0]);
        assert_eq!(sent(1), [10]);
        assert_eq!(sent(6), [5, 1], "one system call may complete several");
    }

    #[test]
    fn a_slot_that_is_reused_begins_anew() {
        let mut reports = SendReports::default();
        reports.begin(0);
        reports.queued(0, 10);
        reports.begin(0);
        reports.queued(0, 4);
        let mut complete = Vec::new();
        reports.sent(0, 4, |bytes| complete.push(bytes));
        assert_eq!(complete, [4]);
    }
}
