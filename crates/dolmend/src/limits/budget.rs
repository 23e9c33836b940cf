//! Commands and bytes of one user, and of all users of one address.

use std::time::Instant;

use super::{Bucket, Rate};

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Commands.
    pub commands: Rate,
    /// Bytes.
    pub bytes: Rate,
}

/// What may still be sent: commands, and bytes. The server does not read from a user whose budget is spent, so TCP slows
/// a flood down at its origin, and no other user notices it. All users of one address have a second budget together:
/// fifty connections that each keep to their own would be a flood too.
///
/// Bytes are counted when they have been received, and so may be more than the budget: the next ones have to wait for
/// that debt. A command waits until there is a token for it.
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
    pub fn receive(&mut self, rates: Rates, now: Instant, bytes: usize) {
        self.bytes.spend(rates.bytes, now, bytes.try_into().unwrap_or(u32::MAX));
    }

    /// The rates are others from now on.
    pub fn change_rates(&mut self, rates: Rates, now: Instant) {
        self.commands.change_rate(rates.commands, now);
        self.bytes.change_rate(rates.bytes, now);
    }

    /// Takes one command, if the user may send one now.
    pub fn take_command(&mut self, rates: Rates, now: Instant) -> bool {
        self.commands.take(rates.commands, now, 1)
    }

    /// Whether everything that was sent is paid for.
    pub fn is_full(&self, now: Instant) -> bool {
        self.commands.is_full(now) && self.bytes.is_full(now)
    }

    /// Whether the user may send a command now.
    pub fn may_take(&self, rates: Rates, now: Instant) -> bool {
        self.commands.has_token(rates.commands, now)
    }

    /// Whether the server may read from the user now.
    pub fn may_read(&self, rates: Rates, now: Instant) -> bool {
        self.may_take(rates, now) && self.bytes.has_token(rates.bytes, now)
    }

    /// The time from which on [`may_take`](Budget::may_take) is true.
    pub fn next_command(&self, rates: Rates, now: Instant) -> Instant {
        self.commands.next_time(rates.commands, now)
    }

    /// The time from which on [`may_read`](Budget::may_read) is true, if nothing more arrives.
    pub fn next_time(&self, rates: Rates, now: Instant) -> Instant {
        self.next_command(rates, now).max(self.bytes.next_time(rates.bytes, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn commands_and_bytes_have_a_budget_each() {
        let (rates, now) = (Limits::default().user_rates(), Instant::now());
        let mut budget = Budget::new(now);
        assert_eq!((0..100).filter(|_| budget.take_command(rates, now)).count(), 20);
        assert!(!budget.may_take(rates, now) && !budget.may_read(rates, now));
        assert_eq!(budget.next_time(rates, now), now + Duration::from_millis(100));

        let mut budget = Budget::new(now);
        budget.receive(rates, now, 16 * 1024 - 1);
        assert!(budget.may_read(rates, now));
        budget.receive(rates, now, 4096);
        assert!(!budget.may_read(rates, now) && budget.may_take(rates, now));
        let wait = budget.next_time(rates, now) - now;
        assert!(wait > Duration::from_millis(249) && wait < Duration::from_millis(251), "{wait:?}");
    }

    proptest! {
        /// A flooder gets its burst and its rate, and neither less nor more.
        #[test]
        fn a_flood_is_slowed_down_to_the_rate(pieces in 1usize..200, size in 1usize..4096, rate in 100u32..100_000) {
            let rates = Rates { bytes: Rate::new(rate, rate), ..Limits::default().user_rates() };
            let start = Instant::now();
            let (mut budget, mut now) = (Budget::new(start), start);
            for _ in 0..pieces {
                prop_assert!(budget.may_read(rates, now));
                budget.receive(rates, now, size);
                now = budget.next_time(rates, now);
            }
            let received = (pieces * size) as f64;
            let possible = f64::from(rate) * (1.0 + (now - start).as_secs_f64());
            prop_assert!(received <= possible + 1.0 && (now == start || received >= possible * 0.99 - 1.0));
        }
    }
}
