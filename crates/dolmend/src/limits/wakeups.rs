//! One timer for many users.

use std::collections::BTreeSet;
use std::time::Instant;

/// The times at which something may be due for a user. The caller keeps each user's own time, a `slot`, next to its
/// other data about the user, and sets one timer to [`next`](Wakeups::next).
///
/// A time is a promise to look again, and not an event: a deadline that has moved to a later time is left where it is,
/// and set again when the earlier time comes. So a command costs nothing here.
#[derive(Debug)]
pub struct Wakeups<K> {
    times: BTreeSet<(Instant, K)>,
}

impl<K> Default for Wakeups<K> {
    fn default() -> Wakeups<K> {
        Wakeups { times: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Wakeups<K> {
    /// Looks at a user at this time, unless an earlier one is set already.
    pub fn schedule(&mut self, key: K, slot: &mut Option<Instant>, at: Instant) {
        if slot.is_some_and(|earlier| earlier <= at) {
            return;
        }
        self.cancel(key, slot);
        self.times.insert((at, key));
        *slot = Some(at);
    }

    /// Forgets the time of a user, who has departed.
    pub fn cancel(&mut self, key: K, slot: &mut Option<Instant>) {
        if let Some(at) = slot.take() {
            self.times.remove(&(at, key));
        }
    }

    /// The earliest time.
    pub fn next(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Takes all users whose time has come, in the order of their times, and appends them to `due`. The caller clears
    /// their slots. They are taken before any of them is looked at: one who is due again immediately must not keep the
    /// caller from the others.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<K>) {
        while self.next().is_some_and(|at| at <= now) {
            due.extend(self.times.pop_first().map(|(_, key)| key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Each user is looked at no later than asked for, and has at most one time.
        #[test]
        fn no_user_is_forgotten(steps in proptest::collection::vec((0usize..5, 0u64..100, any::<bool>()), 0..200)) {
            let (mut wakeups, start) = (Wakeups::default(), Instant::now());
            let (mut slots, mut wanted) = ([None; 5], [None; 5]);
            let mut now = start;
            for (key, millis, departs) in steps {
                if departs {
                    wakeups.cancel(key, &mut slots[key]);
                    wanted[key] = None;
                } else {
                    let at = now + Duration::from_millis(millis);
                    wakeups.schedule(key, &mut slots[key], at);
                    wanted[key] = wanted[key].map_or(Some(at), |earlier: Instant| Some(earlier.min(at)));
                }
                prop_assert_eq!(slots, wanted);
                prop_assert_eq!(wakeups.next(), wanted.iter().flatten().min().copied());
                prop_assert_eq!(wakeups.times.len(), wanted.iter().flatten().count());
                now += Duration::from_millis(10);
                let mut due = Vec::new();
                wakeups.take_due(now, &mut due);
                for key in due {
                    prop_assert!(wanted[key].is_some_and(|at| at <= now));
                    (slots[key], wanted[key]) = (None, None);
                }
                prop_assert!(wanted.iter().flatten().all(|at| *at > now));
            }
        }
    }
}
