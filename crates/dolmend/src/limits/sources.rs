//! Users and arrivals of each source, and what its users send.

use std::collections::HashMap;
use std::time::Instant;

use super::{Bucket, Budget, Rate, Rates, Source};

/// Entries that are kept without a sweep.
const FEW_ENTRIES: usize = 1024;

/// The users who are present and the recent arrivals, for each source.
///
/// An entry without users is needed only until its buckets are full again, a few seconds. The table drops such entries
/// when it has twice as many as after the last sweep, so an arrival costs a constant amount of work on average. An
/// attacker with very many addresses could still fill it within these seconds: beyond `most` entries the table forgets
/// the recent arrivals of all sources without users. That is generous to the attacker's sources, and the newcomer from
/// another one gets in.
#[derive(Debug)]
pub struct Sources {
    entries: HashMap<Source, Entry>,
    /// The number of entries at which the table is swept.
    sweep_at: usize,
    /// The most entries, apart from those of users.
    most: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    users: usize,
    arrivals: Bucket,
    /// What all its users send.
    sent: Budget,
}

/// What a source has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// As many users as a source may have are present.
    Users,
    /// It connects too often.
    Arrivals,
}

impl Sources {
    /// An empty table, which keeps the recent arrivals of at most `most` sources without users.
    pub fn new(most: usize) -> Sources {
        Sources { entries: HashMap::new(), sweep_at: FEW_ENTRIES.min(most.max(1)), most: most.max(1) }
    }

    /// Counts an arrival, and a user if there are fewer than `most_users` and the rate allows it. An arrival that is
    /// refused because of the rate takes nothing from the bucket, so a flood does not keep its source out for longer.
    ///
    /// # Errors
    ///
    /// What the source has too much of. Then no user is counted.
    pub fn arrive(
        &mut self,
        source: Source,
        now: Instant,
        rate: Rate,
        most_users: usize,
    ) -> Result<(), TooMany> {
        if self.entries.len() >= self.sweep_at && !self.entries.contains_key(&source) {
            self.sweep(now);
        }
        let entry = self.entries.entry(source).or_insert(Entry {
            users: 0,
            arrivals: Bucket::full(now),
            sent: Budget::new(now),
        });
        if !entry.arrivals.take(rate, now, 1) {
            return Err(TooMany::Arrivals);
        }
        if entry.users >= most_users {
            return Err(TooMany::Users);
        }
        entry.users += 1;
        Ok(())
    }

    /// A user who was counted has departed.
    pub fn depart(&mut self, source: Source) {
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.users = entry.users.saturating_sub(1);
        }
    }

    /// How many users of a source are present.
    pub fn users(&self, source: Source) -> usize {
        self.entries.get(&source).map_or(0, |entry| entry.users)
    }

    /// The budget of all users of a source that has users.
    pub fn budget_mut(&mut self, source: Source) -> Option<&mut Budget> {
        Some(&mut self.entries.get_mut(&source)?.sent)
    }

    /// The rates are others from now on: that of arrivals, and those of all users of a source.
    pub fn change_rates(&mut self, arrivals: Rate, sent: Rates, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.arrivals.change_rate(arrivals, now);
            entry.sent.change_rates(sent, now);
        }
    }

    /// How many sources are in the table.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no source is in the table.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn sweep(&mut self, now: Instant) {
        self.entries
            .retain(|_, entry| entry.users > 0 || !entry.arrivals.is_full(now) || !entry.sent.is_full(now));
        let with_users =
            |entries: &HashMap<Source, Entry>| entries.values().filter(|entry| entry.users > 0).count();
        if self.entries.len() - with_users(&self.entries) >= self.most {
            self.entries.retain(|_, entry| entry.users > 0);
        }
        self.entries.shrink_to(FEW_ENTRIES);
        // At least half of the next sweep's entries are new, and at most `most` are without users.
        let kept = self.entries.len();
        self.sweep_at = kept + kept.clamp(FEW_ENTRIES.min(self.most), self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    fn source(number: u32) -> Source {
        Source::of(IpAddr::V4(Ipv4Addr::from_bits(number)), 64)
    }

    const RATE: Rate = Rate::new(50, 200);

    #[test]
    fn a_source_has_its_share_of_users_and_gets_it_back() {
        let (mut sources, now) = (Sources::new(100), Instant::now());
        assert!(sources.is_empty());
        for _ in 0..3 {
            assert_eq!(sources.arrive(source(1), now, RATE, 3), Ok(()));
        }
        assert_eq!(sources.arrive(source(1), now, RATE, 3), Err(TooMany::Users));
        assert_eq!(sources.arrive(source(2), now, RATE, 3), Ok(()));
        assert_eq!((sources.users(source(1)), sources.users(source(2)), sources.len()), (3, 1, 2));
        sources.depart(source(1));
        assert_eq!(sources.arrive(source(1), now, RATE, 3), Ok(()));
        // One who was never counted changes nothing.
        sources.depart(source(9));
        assert_eq!(sources.users(source(9)), 0);
    }

    #[test]
    fn a_flood_from_one_source_is_refused_and_another_ones_newcomer_is_not() {
        let (mut sources, now) = (Sources::new(100), Instant::now());
        let admitted = (0..10_000).filter(|_| sources.arrive(source(1), now, RATE, 100_000).is_ok()).count();
        assert_eq!(admitted, 200);
        assert_eq!(sources.arrive(source(1), now, RATE, 100_000), Err(TooMany::Arrivals));
        assert_eq!(sources.arrive(source(2), now, RATE, 100_000), Ok(()));
        // The flood has not made the wait any longer.
        let soon = now + Duration::from_millis(20);
        assert_eq!(sources.arrive(source(1), soon, RATE, 100_000), Ok(()));
    }

    #[test]
    fn a_source_that_has_come_too_often_waits_by_the_rate_in_force() {
        let (mut sources, now, slow) = (Sources::new(100), Instant::now(), Rate::new(1, 1000));
        let arrivals = |rate, now, sources: &mut Sources| {
            (0..2000).filter(|_| sources.arrive(source(1), now, rate, 100_000).is_ok()).count()
        };
        assert_eq!(arrivals(slow, now, &mut sources), 1000);
        let rates = Rates { commands: RATE, bytes: RATE };
        let sent = sources.budget_mut(source(1)).expect("it has users");
        while sent.take_command(Rates { commands: slow, ..rates }, now) {}
        sources.change_rates(RATE, rates, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(arrivals(RATE, later, &mut sources), 50);
        assert!(sources.budget_mut(source(1)).expect("it has users").take_command(rates, later));
    }

    #[test]
    fn entries_that_say_nothing_any_more_are_dropped() {
        let (mut sources, mut now) = (Sources::new(1_000_000), Instant::now());
        for number in 0..100_000 {
            sources.arrive(source(number), now, RATE, 5).expect("a new source");
            sources.depart(source(number));
            now += Duration::from_millis(1);
        }
        assert!(sources.len() <= FEW_ENTRIES + 100, "{}", sources.len());
    }

    #[test]
    fn a_million_addresses_at_one_moment_fill_nothing_and_lose_no_user() {
        let (mut sources, now) = (Sources::new(5_000), Instant::now());
        for number in 0..50 {
            sources.arrive(source(number), now, RATE, 5).expect("a new source");
        }
        for number in 50..1_000_000 {
            assert_eq!(sources.arrive(source(number), now, RATE, 5), Ok(()));
            sources.depart(source(number));
            assert!(sources.len() <= 2 * 5_000 + 50 + FEW_ENTRIES, "{}", sources.len());
        }
        assert!((0..50).all(|number| sources.users(source(number)) == 1));
    }

    proptest! {
        /// Against a table that forgets nothing: the counts of users are always the same.
        #[test]
        fn no_sweep_changes_a_count(
            steps in proptest::collection::vec((0u32..40, any::<bool>(), 0u64..50), 1..400),
            most in 1usize..20,
        ) {
            let (mut sources, mut now) = (Sources::new(most), Instant::now());
            let mut model = HashMap::<u32, usize>::new();
            for (number, arrives, millis) in steps {
                now += Duration::from_millis(millis);
                let users = model.entry(number).or_default();
                if arrives {
                    match sources.arrive(source(number), now, Rate::new(1000, 1000), 3) {
                        Ok(()) => *users += 1,
                        Err(TooMany::Users) => prop_assert_eq!(*users, 3),
                        Err(TooMany::Arrivals) => prop_assert!(false, "the rate was not reached"),
                    }
                } else if *users > 0 {
                    *users -= 1;
                    sources.depart(source(number));
                }
                prop_assert!(model.iter().all(|(&number, &users)| sources.users(source(number)) == users));
            }
        }
    }
}
