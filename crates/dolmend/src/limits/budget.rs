//! Commands and bytes of one user.

use std::time::Instant;

use super::{Bucket, Limits};

/// What one user may still send: commands, and bytes. The server does not read from a user whose budget is spent, so
/// TCP slows a flood down at its origin, and no other user notices it.
///
/// Bytes are counted when they have been received, and so may be more than the budget: the next ones have to wait for
/// that debt. A command waits until there is a token for it.
///
/// In character mode each key is a segment, and would be a command each; there the caller counts line ends as commands.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    commands: Bucket,
    bytes: Bucket,
}

impl Budget {
    /// The budget of a user who has just connected.
    pub fn new(now: Instant) -> Budget {
        Budget { commands: Bucket::full(now), bytes: Bucket::full(now) }
    }

    /// Counts bytes that were received.
    pub fn receive(&mut self, limits: &Limits, now: Instant, bytes: usize) {
        self.bytes.spend(limits.byte_rate, now, bytes.try_into().unwrap_or(u32::MAX));
    }

    /// Counts commands that were carried out without asking, such as line ends that were passed on.
    pub fn spend_commands(&mut self, limits: &Limits, now: Instant, commands: usize) {
        self.commands.spend(limits.command_rate, now, commands.try_into().unwrap_or(u32::MAX));
    }

    /// Takes one command, if the user may send one now.
    pub fn take_command(&mut self, limits: &Limits, now: Instant) -> bool {
        self.commands.take(limits.command_rate, now, 1)
    }

    /// Whether the user may send a command now.
    pub fn may_take(&self, limits: &Limits, now: Instant) -> bool {
        self.commands.has_token(limits.command_rate, now)
    }

    /// Whether the server may read from the user now.
    pub fn may_read(&self, limits: &Limits, now: Instant) -> bool {
        self.may_take(limits, now) && self.bytes.has_token(limits.byte_rate, now)
    }

    /// The time from which on [`may_take`](Budget::may_take) is true.
    pub fn next_command(&self, limits: &Limits, now: Instant) -> Instant {
        self.commands.next_time(limits.command_rate, now)
    }

    /// The time from which on [`may_read`](Budget::may_read) is true, if nothing more arrives.
    pub fn next_time(&self, limits: &Limits, now: Instant) -> Instant {
        self.next_command(limits, now).max(self.bytes.next_time(limits.byte_rate, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn commands_and_bytes_have_a_budget_each() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut budget = Budget::new(now);
        assert_eq!((0..100).filter(|_| budget.take_command(&limits, now)).count(), 20);
        assert!(!budget.may_take(&limits, now) && !budget.may_read(&limits, now));
        assert_eq!(budget.next_time(&limits, now), now + Duration::from_millis(100));

        let mut budget = Budget::new(now);
        budget.receive(&limits, now, 16 * 1024 - 1);
        assert!(budget.may_read(&limits, now));
        budget.receive(&limits, now, 4096);
        assert!(!budget.may_read(&limits, now) && budget.may_take(&limits, now));
        let wait = budget.next_time(&limits, now) - now;
        assert!(wait > Duration::from_millis(249) && wait < Duration::from_millis(251), "{wait:?}");
    }

    #[test]
    fn line_ends_that_were_passed_on_are_paid_for_later() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut budget = Budget::new(now);
        budget.spend_commands(&limits, now, 120);
        assert_eq!(budget.next_command(&limits, now), now + Duration::from_millis(10_100));
    }

    proptest! {
        /// A flooder gets its burst and its rate, and neither less nor more.
        #[test]
        fn a_flood_is_slowed_down_to_the_rate(pieces in 1usize..200, size in 1usize..4096, rate in 100u32..100_000) {
            let limits = Limits { byte_rate: Rate::new(rate, rate), ..Limits::default() };
            let start = Instant::now();
            let (mut budget, mut now) = (Budget::new(start), start);
            for _ in 0..pieces {
                prop_assert!(budget.may_read(&limits, now));
                budget.receive(&limits, now, size);
                now = budget.next_time(&limits, now);
            }
            let received = (pieces * size) as f64;
            let possible = f64::from(rate) * (1.0 + (now - start).as_secs_f64());
            prop_assert!(received <= possible + 1.0 && (now == start || received >= possible * 0.99 - 1.0));
        }
    }
}
