//! When to set the timer that makes coarse waits exact.
//!
//! On Windows the time-out of a wait follows the clock's tick: the wait ends at the first tick after its time-out, up
//! to 15.6 ms late. A high-resolution timer is exact, but setting it costs a call. So the kernel sets one in addition
//! to the wait, only when the end of the wait is near, and only when the timer is not set for that moment or an earlier
//! one anyway: messages that arrive while an interval runs cost nothing more.
//!
//! A timer that goes off wakes the wait and does nothing else. If its moment is no longer needed, it ends one wait
//! without need.

/// A wait for longer than this is not made exact. An interval of that length is late by less than two percent.
const NEAR_NS: u64 = 1_000_000_000;

/// How much too early a timer may go off, because its clock differs from ours.
const EARLY_NS: u64 = 1_000_000;

/// What the timer is set for.
#[derive(Default)]
pub(crate) struct Alarm {
    set_for_ns: Option<u64>,
}

impl Alarm {
    /// Before a wait that is to end at `deadline_ns`: returns after what time the timer must go off, if it must be set
    /// [hc21].
    pub(crate) fn before_wait(&mut self, now_ns: u64, deadline_ns: u64) -> Option<u64> {
        let left_ns = deadline_ns.saturating_sub(now_ns);
        let is_set = |set_for_ns| (now_ns..=deadline_ns).contains(&set_for_ns);
        if left_ns == 0 || left_ns > NEAR_NS || self.set_for_ns.is_some_and(is_set) {
            return None;
        }
        self.set_for_ns = Some(deadline_ns);
        Some(left_ns)
    }

    /// The timer has gone off. One that has since been set for a later moment continues.
    pub(crate) fn fired(&mut self, now_ns: u64) {
        if self.set_for_ns.is_some_and(|set_for_ns| set_for_ns <= now_ns.saturating_add(EARLY_NS)) {
            self.set_for_ns = None;
        }
    }

    /// The timer could not be set.
    pub(crate) fn failed(&mut self) {
        self.set_for_ns = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_timer_is_set_once_for_each_deadline_that_is_near() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.before_wait(0, 2_000 * MS), None, "far away");
        assert_eq!(alarm.before_wait(0, 0), None, "no time at all");
        assert_eq!(alarm.before_wait(0, 10 * MS), Some(10 * MS));
        for now_ms in 1..10 {
            assert_eq!(alarm.before_wait(now_ms * MS, 10 * MS), None, "it is set");
            assert_eq!(alarm.before_wait(now_ms * MS, 12 * MS), None, "it fires before that");
        }
        alarm.fired(10 * MS);
        assert_eq!(alarm.before_wait(10 * MS, 20 * MS), Some(10 * MS));
        assert_eq!(alarm.before_wait(10 * MS, 13 * MS), Some(3 * MS), "an earlier one");
        // Gone off a little early by our clock: set again for the rest.
        alarm.fired(13 * MS - 5);
        assert_eq!(alarm.before_wait(13 * MS - 5, 13 * MS), Some(5));
    }

    #[test]
    fn a_firing_that_is_lost_or_late_stops_nothing() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.before_wait(0, 10 * MS), Some(10 * MS));
        // No packet has come from it, and the next deadline is set all the same.
        assert_eq!(alarm.before_wait(11 * MS, 20 * MS), Some(9 * MS));
        // Now its packet comes.
        alarm.fired(12 * MS);
        assert_eq!(alarm.before_wait(12 * MS, 20 * MS), None, "set for later, and still so");
        alarm.failed();
        assert_eq!(alarm.before_wait(12 * MS, 20 * MS), Some(8 * MS));
    }
}
