//! How often failures that are retried are logged.

/// After this time without a failure, the next one counts as the first again.
const QUIET_NS: u64 = 60_000_000_000;

/// Counts failures of one kind. The first is logged as a warning, and each that doubles their number.
#[derive(Default)]
pub(super) struct Failures {
    count: u64,
    last_ns: u64,
}

impl Failures {
    /// Notes another failure. Returns their number if a warning is due.
    pub(super) fn note(&mut self, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.last_ns) > QUIET_NS {
            self.count = 0;
        }
        self.last_ns = now_ns;
        self.count += 1;
        self.count.is_power_of_two().then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_due_at_the_first_failure_and_when_their_number_has_doubled() {
        let mut failures = Failures::default();
        let second = 1_000_000_000;
        let due: Vec<u64> = (0..100).filter_map(|at| failures.note(at * second)).collect();
        assert_eq!(due, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(failures.note(99 * second + QUIET_NS), None);
        assert_eq!(failures.note(99 * second + 2 * QUIET_NS + 1), Some(1), "after a quiet minute");
    }
}
