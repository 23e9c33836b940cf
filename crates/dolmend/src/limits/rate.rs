//! A token bucket.

use std::fmt;
use std::time::{Duration, Instant};

/// How much may happen in a second, and how much of it at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How much may happen in a second. 0 counts as 1.
    pub per_second: u32,
    /// How much may happen at a time. 0 counts as 1.
    pub burst: u32,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} burst {}", self.per_second, self.burst)
    }
}

impl Rate {
    /// So much a second, and at most `burst` at a time.
    pub const fn new(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    /// So many times this rate.
    pub const fn times(self, number: u32) -> Rate {
        Rate::new(self.per_second.saturating_mul(number), self.burst.saturating_mul(number))
    }

    /// The time in which a bucket gets this many tokens. That of one token is rounded up to a nanosecond: a rate is
    /// never exceeded.
    fn time_for(self, tokens: u32) -> Duration {
        Duration::from_nanos(1_000_000_000_u64.div_ceil(self.per_second.max(1).into())) * tokens
    }
}

/// A token bucket: it holds `burst` tokens, gets `per_second` of them a second, and each thing that happens takes some.
///
/// Its state is one point in time, the one at which it is full again (the "virtual scheduling" form of the algorithm in
/// ITU-T I.371). So nothing has to be done while time passes, and a full bucket needs no memory at all.
///
/// ```
/// use std::time::{Duration, Instant};
/// use dolmend::limits::{Bucket, Rate};
///
/// let (now, rate) = (Instant::now(), Rate::new(10, 2));
/// let mut bucket = Bucket::full(now);
/// assert!(bucket.take(rate, now, 1) && bucket.take(rate, now, 1) && !bucket.take(rate, now, 1));
/// assert_eq!(bucket.next_time(rate, now), now + Duration::from_millis(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn full(now: Instant) -> Bucket {
        Bucket { full_at: now }
    }

    /// Whether the bucket is full, and so no different from a new one.
    pub fn is_full(self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Whether a token is in the bucket.
    pub fn has_token(self, rate: Rate, now: Instant) -> bool {
        self.next_time(rate, now) <= now
    }

    /// Takes tokens if there are enough of them, and returns whether there were.
    pub fn take(&mut self, rate: Rate, now: Instant, tokens: u32) -> bool {
        let full_at = self.full_at.max(now) + rate.time_for(tokens);
        let fits = full_at.saturating_duration_since(now) <= rate.time_for(rate.burst.max(1));
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    /// Takes tokens for what has happened already. If there are not enough of them, the bucket is in debt. A debt of
    /// more than an hour is forgiven down to that.
    pub fn spend(&mut self, rate: Rate, now: Instant, tokens: u32) {
        const LONGEST_DEBT: Duration = Duration::from_secs(3600);
        let latest = now + rate.time_for(rate.burst) + LONGEST_DEBT;
        self.full_at = (self.full_at.max(now) + rate.time_for(tokens)).min(latest);
    }

    /// The rate is another one from now on: an empty bucket is filled by that, whatever the rate was by which it was
    /// emptied.
    pub fn change_rate(&mut self, rate: Rate, now: Instant) {
        self.full_at = self.full_at.min(now + rate.time_for(rate.burst.max(1)));
    }

    /// The time at which the bucket has a token; `now` if it has one.
    pub fn next_time(self, rate: Rate, now: Instant) -> Instant {
        match self.full_at.checked_sub(rate.time_for(rate.burst.saturating_sub(1))) {
            Some(time) => time.max(now),
            // The clock of a system that has just started.
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let (start, rate) = (Instant::now(), Rate::new(10, 20));
        let mut bucket = Bucket::full(start);
        let taken = (0..100).filter(|_| bucket.take(rate, start, 1)).count();
        assert_eq!(taken, 20);
        assert!(!bucket.has_token(rate, start));
        let mut now = start;
        for number in 1..=50 {
            let next = bucket.next_time(rate, now);
            assert_eq!(next, start + Duration::from_millis(100 * number));
            now = next;
            assert!(bucket.has_token(rate, now) && bucket.take(rate, now, 1) && !bucket.take(rate, now, 1));
        }
        // After a rest it has its burst again, and no more.
        now += Duration::from_secs(3600);
        assert!(bucket.is_full(now));
        assert_eq!((0..100).filter(|_| bucket.take(rate, now, 1)).count(), 20);
    }

    #[test]
    fn a_debt_is_paid_off_at_the_rate_and_is_bounded() {
        let (now, rate) = (Instant::now(), Rate::new(1000, 1000));
        let mut bucket = Bucket::full(now);
        bucket.spend(rate, now, 5_000);
        assert_eq!(bucket.next_time(rate, now), now + Duration::from_millis(4001));
        for _ in 0..1_000 {
            bucket.spend(rate, now, u32::MAX);
        }
        assert!(bucket.next_time(rate, now) <= now + Duration::from_secs(3602));
    }

    #[test]
    fn an_emptied_bucket_is_filled_by_another_rate() {
        let (now, slow, fast) = (Instant::now(), Rate::new(1, 1000), Rate::new(10, 20));
        let mut bucket = Bucket::full(now);
        assert!(bucket.take(slow, now, 1000));
        bucket.change_rate(fast, now);
        assert_eq!(bucket.next_time(fast, now), now + Duration::from_millis(100));
        assert!(bucket.is_full(now + Duration::from_secs(2)));
        // One that has tokens keeps what it has.
        let mut bucket = Bucket::full(now);
        assert!(bucket.take(fast, now, 1));
        let before = bucket;
        bucket.change_rate(slow, now);
        assert_eq!(bucket, before);
    }

    #[test]
    fn more_than_the_burst_never_fits() {
        let (now, rate) = (Instant::now(), Rate::new(10, 3));
        let mut bucket = Bucket::full(now);
        assert!(!bucket.take(rate, now, 4) && bucket.is_full(now) && bucket.take(rate, now, 3));
        let none = Rate::new(0, 0);
        assert!(bucket.is_full(now + Duration::from_secs(1)));
        let mut bucket = Bucket::full(now);
        assert!(bucket.take(none, now, 1) && !bucket.take(none, now, 1));
        assert_eq!(bucket.next_time(none, now), now + Duration::from_secs(1));
    }

    proptest! {
        /// The definition: in no interval are there more than the burst and the rate's share of that time.
        #[test]
        fn no_interval_has_more_than_its_share(
            per_second in 1u32..2_000,
            burst in 1u32..300,
            steps in proptest::collection::vec((0u64..200_000_000, 1u32..20), 1..150),
        ) {
            let (start, rate) = (Instant::now(), Rate::new(per_second, burst));
            let (mut bucket, mut now, mut taken) = (Bucket::full(start), start, Vec::new());
            for (nanos, tokens) in steps {
                now += Duration::from_nanos(nanos);
                if bucket.take(rate, now, tokens) {
                    taken.push((now, tokens));
                }
            }
            for first in 0..taken.len() {
                let mut sum = 0.0;
                for &(time, tokens) in &taken[first..] {
                    sum += f64::from(tokens);
                    let share = (time - taken[first].0).as_secs_f64() * f64::from(per_second);
                    prop_assert!(sum <= f64::from(burst) + share + 1e-3, "{sum} in {share}");
                }
            }
        }

        /// Waiting as long as was asked for is enough, and one nanosecond less is not.
        #[test]
        fn the_next_time_is_exact(per_second in 1u32..100_000, burst in 1u32..1_000, spent in 0u32..5_000) {
            let (start, rate) = (Instant::now(), Rate::new(per_second, burst));
            let mut bucket = Bucket::full(start);
            bucket.spend(rate, start, spent);
            let next = bucket.next_time(rate, start);
            let mut then = bucket;
            prop_assert!(then.take(rate, next, 1));
            if next > start {
                prop_assert!(!bucket.take(rate, next - Duration::from_nanos(1), 1));
            }
        }
    }
}
