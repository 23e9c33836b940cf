//! The time of day for bans, notes and waiting times.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::store::{UnixSeconds, unix_now};

/// The time of day, which goes on as long as the server runs, and never goes back.
///
/// It is the system's clock, with the time that the machine was suspended, and with corrections after the start. Where
/// that is set back, the seconds since then count instead until it has caught up: neither a ban nor the wait after a wrong
/// password becomes longer than it was.
#[derive(Debug)]
pub(super) struct Clock {
    /// The latest time that was read, and the instant at which that second was first seen.
    latest: Cell<(UnixSeconds, Instant)>,
    /// In tests, time passes when they say so.
    read: fn() -> Option<(UnixSeconds, Instant)>,
}

impl Clock {
    /// The system's clock.
    pub fn new() -> Clock {
        Clock { latest: Cell::new((0, Instant::now())), read: || Some((unix_now(), Instant::now())) }
    }

    pub fn now(&self) -> UnixSeconds {
        let (latest, since) = self.latest.get();
        let Some((system, instant)) = (self.read)() else { return latest };
        // In whole seconds, so that the parts of one add up however often the time is read.
        let passed = instant.saturating_duration_since(since).as_secs();
        let expected = latest + passed;
        if system > expected {
            self.latest.set((system, instant));
        } else {
            self.latest.set((expected, since + Duration::from_secs(passed)));
        }
        self.latest.get().0
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that stands still except where [`advance`](Clock::advance) is called.
    pub fn manual(now: UnixSeconds) -> Clock {
        Clock { latest: Cell::new((now, Instant::now())), read: || None }
    }

    pub fn advance(&self, seconds: u64) {
        let (latest, since) = self.latest.get();
        self.latest.set((latest + seconds, since));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// What the system's clock shows, and the milliseconds since the start.
    static SYSTEM: AtomicU64 = AtomicU64::new(0);
    static PASSED: AtomicU64 = AtomicU64::new(0);

    fn read() -> Option<(UnixSeconds, Instant)> {
        static START: OnceLock<Instant> = OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        Some((SYSTEM.load(Ordering::Relaxed), start + Duration::from_millis(PASSED.load(Ordering::Relaxed))))
    }

    #[test]
    fn the_time_follows_the_systems_clock_and_goes_on_where_that_is_set_back() {
        let clock = Clock { latest: Cell::new((0, read().expect("a time").1)), read };
        for (passed, system, shown) in [
            (0, 1_000, 1_000),
            (1_000, 90_000, 90_000), // Set forward, or the machine was suspended.
            (1_600, 500, 90_000),    // Set back.
            (2_100, 500, 90_001),    // The parts of a second add up.
            (2_600, 501, 90_001),
            (3_000, 501, 90_002),
            (11_999, 510, 90_010),
            (12_000, 90_011, 90_011),
            (12_400, 90_020, 90_020),
        ] {
            PASSED.store(passed, Ordering::Relaxed);
            SYSTEM.store(system, Ordering::Relaxed);
            assert_eq!(clock.now(), shown, "after {passed} ms");
        }
    }
}
