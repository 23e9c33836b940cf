//! Wrong passwords: each makes the next try wait longer, for its source and for its name. Many of them close the login
//! with a password for the source, for a while; those who are in, and those who need no password, notice nothing.
//!
//! A try that comes too early is not verified and not counted. At most one try of a source and one for a name is
//! being verified at a time; otherwise many connections would try many passwords before the first is found wrong. The
//! others [wait](super::logins) for it.
//!
//! A source that is exempt from limits (`no limits`, a proxy) may be any number of players: it has no delay of its own,
//! and only that of the name is left.
//!
//! **The owner comes in.** The delay of a name is for those who guess. It does not hold for the source from which the
//! password was last right, nor for a source whose neighbourhood (an IPv4 /24, an IPv6 /48) has guessed nothing in the
//! last hour. So one who attacks a name from ever new addresses gets one guess of each neighbourhood in an hour, and
//! cannot keep the owner waiting by that.

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::IpNet;

use crate::store::UnixSeconds;

/// The wrong password of a source that closes the login for it.
const CLOSED_AT: u32 = 6;

/// How many wrong ones a source has after that: it is closed again sooner.
const LEFT_AFTER_CLOSING: u32 = 3;

/// How long it is closed.
pub(super) const CLOSED_SECONDS: u64 = 15 * 60;

/// The longest wait of a source, and for a name.
const MAX_WAIT_SOURCE: u64 = 60;
const MAX_WAIT_NAME: u64 = 10;

/// After how long without a wrong one they are forgotten.
const FORGOTTEN_SECONDS: u64 = 3_600;

/// How many sources, neighbourhoods and names are remembered, each.
const MAX_REMEMBERED: usize = 10_000;

/// How many names may be kept in a day, and how many notes posted: from a source, and from a neighbourhood or a source
/// that is exempt from limits.
const MAX_KEPT_A_DAY: [u32; 2] = [5, 50];
const MAX_POSTED_A_DAY: [u32; 2] = [20, 200];
const DAY_SECONDS: u64 = 86_400;

/// Where a try comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct From {
    /// The address, or the network that counts as one.
    pub source: IpNet,
    /// It is exempt from limits.
    pub is_exempt: bool,
}

impl From {
    /// Networks of this size have one owner, as a rule, and one who has many addresses has them here.
    pub fn neighbourhood(self) -> IpNet {
        let most = if self.source.addr().is_ipv4() { 24 } else { 48 };
        let bits = self.source.prefix_len().min(most);
        IpNet::new(self.source.addr(), bits).map_or(self.source, |network| network.trunc())
    }
}

/// The tries of a source, or for a name.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    wrong: u32,
    /// When the last wrong one came.
    last: UnixSeconds,
    /// Before this moment no other is taken.
    next: UnixSeconds,
    in_progress: bool,
}

/// Why a try has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For so many seconds.
    Seconds(u64),
    /// Until another one has been verified.
    Another,
}

/// What a wrong password leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The next try has to wait for so many seconds.
    pub wait: u64,
    /// The login was closed for the source.
    pub is_closed: bool,
}

/// The tries that are remembered.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    sources: HashMap<IpNet, Tries>,
    /// By the key of the name.
    names: HashMap<String, Tries>,
    /// When a neighbourhood last had a wrong password.
    neighbourhoods: HashMap<IpNet, UnixSeconds>,
    kept: Daily,
    posted: Daily,
}

impl Attempts {
    /// Takes a try, whose result [`right`](Attempts::right), [`wrong`](Attempts::wrong) or
    /// [`cancel`](Attempts::cancel) must report. `is_known` is one from the source that last had the right password.
    pub fn begin(&mut self, from: From, name: &str, is_known: bool, now: UnixSeconds) -> Result<(), Wait> {
        let source = (!from.is_exempt).then_some(from.source);
        let for_source = source.and_then(|source| self.sources.get(&source));
        let for_name = self.names.get(name).copied().unwrap_or_default();
        let is_delayed = !is_known && !self.is_innocent(from, now);
        let name_next = if is_delayed { for_name.next } else { 0 };
        let next = for_source.map_or(0, |tries| tries.next).max(name_next);
        if next > now {
            return Err(Wait::Seconds(next - now));
        }
        if for_source.is_some_and(|tries| tries.in_progress) || for_name.in_progress && !is_known {
            return Err(Wait::Another);
        }
        if let Some(source) = source {
            entry(&mut self.sources, source, now).in_progress = true;
        }
        entry(&mut self.names, name.to_string(), now).in_progress = true;
        Ok(())
    }

    /// Whether no one near has guessed in the last hour. Behind an exempt source anyone may be.
    fn is_innocent(&self, from: From, now: UnixSeconds) -> bool {
        let last = self.neighbourhoods.get(&from.neighbourhood());
        !from.is_exempt && last.is_none_or(|last| last + FORGOTTEN_SECONDS <= now)
    }

    /// The try was not verified.
    pub fn cancel(&mut self, from: From, name: &str) {
        self.end(from, name);
    }

    /// The password was right. The source keeps its wrong ones: whoever guesses may have a name of their own.
    pub fn right(&mut self, from: From, name: &str) {
        self.end(from, name);
        self.names.remove(name);
    }

    /// The password was wrong.
    pub fn wrong(&mut self, from: From, name: &str, now: UnixSeconds) -> Wrong {
        self.end(from, name);
        let for_name = wrong(entry(&mut self.names, name.to_string(), now), MAX_WAIT_NAME, now);
        if from.is_exempt {
            return Wrong { wait: for_name, is_closed: false };
        }
        make_room(&mut self.neighbourhoods, &from.neighbourhood(), |last| *last);
        self.neighbourhoods.insert(from.neighbourhood(), now);
        let tries = entry(&mut self.sources, from.source, now);
        let wait = wrong(tries, MAX_WAIT_SOURCE, now).max(for_name);
        if tries.wrong < CLOSED_AT {
            return Wrong { wait, is_closed: false };
        }
        *tries = Tries { wrong: LEFT_AFTER_CLOSING, next: now + CLOSED_SECONDS, ..*tries };
        Wrong { wait: CLOSED_SECONDS, is_closed: true }
    }

    fn end(&mut self, from: From, name: &str) {
        let tries = [self.sources.get_mut(&from.source), self.names.get_mut(name)];
        tries.into_iter().flatten().for_each(|tries| tries.in_progress = false);
    }

    /// Whether another name may be kept from there; it is counted if so.
    pub fn may_keep(&mut self, from: From, now: UnixSeconds) -> bool {
        self.kept.take(from, MAX_KEPT_A_DAY, now)
    }

    /// Whether another note may be posted from there; it is counted if so.
    pub fn may_post(&mut self, from: From, now: UnixSeconds) -> bool {
        self.posted.take(from, MAX_POSTED_A_DAY, now)
    }
}

/// How often a source, and a neighbourhood, did something in a day.
#[derive(Debug, Default)]
struct Daily(HashMap<IpNet, Day>);

#[derive(Debug, Clone, Copy)]
struct Day {
    count: u32,
    since: UnixSeconds,
}

impl Daily {
    fn take(&mut self, from: From, [of_source, of_neighbourhood]: [u32; 2], now: UnixSeconds) -> bool {
        let single = [(from.source, of_neighbourhood)];
        let both = [(from.source, of_source), (from.neighbourhood(), of_neighbourhood)];
        let counted = if from.is_exempt { &single[..] } else { &both[..] };
        let is_free = |&(network, most): &(IpNet, u32)| {
            let day = self.0.get(&network);
            day.is_none_or(|day| day.count < most || day.since + DAY_SECONDS <= now)
        };
        if !counted.iter().all(is_free) {
            return false;
        }
        for (network, _) in counted {
            make_room(&mut self.0, network, |day| day.since);
            let day = self.0.entry(*network).or_insert(Day { count: 0, since: now });
            if day.since + DAY_SECONDS <= now {
                *day = Day { count: 0, since: now };
            }
            day.count += 1;
        }
        true
    }
}

fn wrong(tries: &mut Tries, most: u64, now: UnixSeconds) -> u64 {
    if tries.last + FORGOTTEN_SECONDS <= now {
        tries.wrong = 0;
    }
    let wait = (1 << tries.wrong.min(30)).min(most);
    *tries = Tries { wrong: tries.wrong + 1, last: now, next: now + wait, ..*tries };
    wait
}

/// The entry of a key; an old one makes room for it.
fn entry<K: Hash + Eq + Clone>(map: &mut HashMap<K, Tries>, key: K, now: UnixSeconds) -> &mut Tries {
    if map.len() >= MAX_REMEMBERED && !map.contains_key(&key) {
        map.retain(|_, tries| tries.in_progress || tries.last + FORGOTTEN_SECONDS > now);
        // What is in progress has to stay: there is not much of it.
        make_room(map, &key, |tries| if tries.in_progress { UnixSeconds::MAX } else { tries.last });
    }
    map.entry(key).or_default()
}

/// Removes the oldest entry if another key would be one too many.
fn make_room<K: Hash + Eq + Clone, V>(map: &mut HashMap<K, V>, key: &K, time: impl Fn(&V) -> UnixSeconds) {
    if map.len() >= MAX_REMEMBERED && !map.contains_key(key) {
        let oldest = map.iter().min_by_key(|(_, value)| time(value)).map(|(key, _)| key.clone());
        oldest.map(|oldest| map.remove(&oldest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address with no neighbours.
    fn from(number: u16) -> From {
        let [a, b] = number.to_be_bytes();
        From { source: std::net::IpAddr::from([10, a, b, 1]).into(), is_exempt: false }
    }

    /// A wrong password as soon as one is taken; how long that took.
    fn guess(attempts: &mut Attempts, from: From, name: &str, now: &mut u64) -> (u64, Wrong) {
        let before = *now;
        while let Err(wait) = attempts.begin(from, name, false, *now) {
            let Wait::Seconds(seconds) = wait else { panic!("nothing is in progress") };
            *now += seconds;
        }
        (*now - before, attempts.wrong(from, name, *now))
    }

    fn wait(wait: u64) -> Wrong {
        Wrong { wait, is_closed: false }
    }

    const CLOSED: Wrong = Wrong { wait: CLOSED_SECONDS, is_closed: true };

    #[test]
    fn each_wrong_password_makes_the_source_wait_longer_until_the_login_is_closed_for_it() {
        let mut attempts = Attempts::default();
        let mut now = 10_000;
        let names = ["ann", "bob", "cid", "dan", "eve", "fay", "gil", "hal", "ida"];
        let mut guesses = names.iter().map(|name| guess(&mut attempts, from(1), name, &mut now));
        let waited: Vec<(u64, Wrong)> = guesses.by_ref().take(6).collect();
        assert_eq!(
            waited,
            [(0, wait(1)), (1, wait(2)), (2, wait(4)), (4, wait(8)), (8, wait(16)), (16, CLOSED)]
        );
        assert_eq!(guesses.collect::<Vec<_>>(), [(CLOSED_SECONDS, wait(8)), (8, wait(16)), (16, CLOSED)]);
        assert_eq!(attempts.begin(from(1), "joe", false, now + 60), Err(Wait::Seconds(CLOSED_SECONDS - 60)));
        assert_eq!(attempts.begin(from(2), "joe", false, now + 60), Ok(()), "only that source");
    }

    #[test]
    fn an_exempt_source_is_never_closed_and_the_name_still_waits() {
        let mut attempts = Attempts::default();
        let mut now = 10_000;
        let loopback = From { is_exempt: true, ..from(1) };
        for number in 0..20 {
            let (_, wrong) = guess(&mut attempts, loopback, "ann", &mut now);
            assert_eq!(wrong, wait((1 << number.min(30)).min(MAX_WAIT_NAME)));
        }
        assert_eq!(attempts.begin(loopback, "bob", false, now), Ok(()), "another player");
    }

    #[test]
    fn guesses_from_everywhere_do_not_keep_the_owner_waiting() {
        let mut attempts = Attempts::default();
        let now = 10_000;
        for number in 1..=100 {
            assert_eq!(attempts.begin(from(number), "ann", false, now), Ok(()), "its first");
            attempts.wrong(from(number), "ann", now);
        }
        for number in 5..=100 {
            let again = attempts.begin(from(number), "ann", false, now + MAX_WAIT_NAME - 1);
            assert_eq!(again, Err(Wait::Seconds(1)), "its second");
        }
        // From a new place.
        assert_eq!(attempts.begin(from(200), "ann", false, now), Ok(()));
        attempts.cancel(from(200), "ann");
        // From the usual one, although a neighbour guesses.
        let near = From { source: std::net::IpAddr::from([10, 0, 7, 99]).into(), is_exempt: false };
        assert_eq!(attempts.begin(near, "ann", false, now), Err(Wait::Seconds(MAX_WAIT_NAME)));
        assert_eq!(attempts.begin(near, "ann", true, now), Ok(()));
        attempts.right(near, "ann");
        assert_eq!(attempts.begin(near, "ann", false, now), Ok(()), "the right one has cleared the name");
    }

    #[test]
    fn neighbours_share_their_first_guess() {
        let mut attempts = Attempts::default();
        let network = |text: &str| From { source: text.parse().expect("a network"), is_exempt: false };
        for (one, other) in [("192.0.2.1/32", "192.0.2.200/32"), ("2001:db8:5:1::/64", "2001:db8:5:2::/64")] {
            attempts.begin(network(one), "ann", false, 5).expect("the first");
            let wait = attempts.wrong(network(one), "ann", 5).wait;
            assert_eq!(attempts.begin(network(other), "ann", false, 5), Err(Wait::Seconds(wait)));
        }
        assert_eq!(attempts.begin(network("2001:db8:6:1::/64"), "ann", false, 5), Ok(()));
    }

    #[test]
    fn one_try_is_verified_at_a_time() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.begin(from(1), "ann", false, 0), Ok(()));
        assert_eq!(attempts.begin(from(1), "bob", false, 0), Err(Wait::Another));
        assert_eq!(attempts.begin(from(2), "ann", false, 0), Err(Wait::Another));
        attempts.cancel(from(1), "ann");
        assert_eq!(attempts.begin(from(2), "ann", false, 0), Ok(()));
    }

    #[test]
    fn wrong_ones_are_forgotten_and_memory_is_bounded() {
        let mut attempts = Attempts::default();
        let mut now = 10_000;
        for _ in 0..4 {
            guess(&mut attempts, from(1), "ann", &mut now);
        }
        now += FORGOTTEN_SECONDS;
        assert_eq!(guess(&mut attempts, from(1), "ann", &mut now), (0, wait(1)));
        for number in 0..MAX_REMEMBERED as u16 + 500 {
            let name = number.to_string();
            attempts.begin(from(number + 2), &name, false, now).expect("its first");
            attempts.wrong(from(number + 2), &name, now);
            assert!(attempts.may_keep(from(number + 2), now), "others have not used up its names");
        }
        assert_eq!(
            [
                attempts.names.len(),
                attempts.sources.len(),
                attempts.neighbourhoods.len(),
                attempts.kept.0.len()
            ],
            [MAX_REMEMBERED; 4]
        );
    }

    #[test]
    fn a_source_keeps_a_few_names_a_day_and_its_neighbourhood_some_more() {
        let mut attempts = Attempts::default();
        let kept = (0..7).filter(|_| attempts.may_keep(from(1), 5)).count();
        assert_eq!(kept, 5);
        assert!(attempts.may_keep(from(2), 5));
        assert!(attempts.may_keep(from(1), 5 + DAY_SECONDS));
        let of_48 = (0..200).filter(|number| {
            let source = format!("2001:db8:1:{number:x}::/64").parse().expect("a network");
            attempts.may_keep(From { source, is_exempt: false }, 5)
        });
        assert_eq!(of_48.count(), 50);
        let exempt = From { is_exempt: true, ..from(3) };
        assert_eq!((0..200).filter(|_| attempts.may_keep(exempt, 5)).count(), 50);
    }
}
