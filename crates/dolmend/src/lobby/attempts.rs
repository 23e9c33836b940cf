//! Wrong passwords: each makes the next try wait longer, for its address and for its name, and many of them ban the
//! address for a while.
//!
//! A try that comes too early is not verified and not counted. At most one try of an address and one for a name is
//! being verified at a time; otherwise many connections would try many passwords before the first is found wrong.

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::IpNet;

use crate::store::UnixSeconds;

/// The wrong password of an address that bans it.
const BANNED_AT: u32 = 6;

/// How many wrong ones an address has after its ban: it is banned again sooner.
const LEFT_AFTER_BAN: u32 = 3;

/// How long the ban is.
pub(super) const BAN_SECONDS: u64 = 15 * 60;

/// The longest wait of an address, and for a name. For a name it is short, and there is no ban: others must not be able
/// to lock its owner out.
const MAX_WAIT_ADDRESS: u64 = 60;
const MAX_WAIT_NAME: u64 = 10;

/// After how long without a wrong one they are forgotten.
const FORGOTTEN_SECONDS: u64 = 3_600;

/// How many addresses and names are remembered, each.
const MAX_REMEMBERED: usize = 10_000;

/// How many names one address may keep in a day.
const MAX_KEPT_A_DAY: u32 = 5;
const DAY_SECONDS: u64 = 86_400;

/// The tries of an address, or for a name.
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
pub(super) enum Wrong {
    /// The next try has to wait for so many seconds.
    Wait(u64),
    /// The address is to be banned.
    Ban,
}

/// The tries that are remembered.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    addresses: HashMap<IpNet, Tries>,
    /// By the key of the name.
    names: HashMap<String, Tries>,
    /// How many names an address has kept, and since when.
    kept: HashMap<IpNet, (u32, UnixSeconds)>,
}

impl Attempts {
    /// Takes a try, whose result [`right`](Attempts::right), [`wrong`](Attempts::wrong) or
    /// [`cancel`](Attempts::cancel) must report.
    pub fn begin(&mut self, address: IpNet, name: &str, now: UnixSeconds) -> Result<(), Wait> {
        for tries in [self.addresses.get(&address), self.names.get(name)].into_iter().flatten() {
            if tries.next > now {
                return Err(Wait::Seconds(tries.next - now));
            }
            if tries.in_progress {
                return Err(Wait::Another);
            }
        }
        entry(&mut self.addresses, address, now).in_progress = true;
        entry(&mut self.names, name.to_string(), now).in_progress = true;
        Ok(())
    }

    /// The try was not verified.
    pub fn cancel(&mut self, address: IpNet, name: &str) {
        self.end(address, name);
    }

    /// The password was right. The address keeps its wrong ones: whoever guesses may have a name of their own.
    pub fn right(&mut self, address: IpNet, name: &str) {
        self.end(address, name);
        self.names.remove(name);
    }

    /// The password was wrong.
    pub fn wrong(&mut self, address: IpNet, name: &str, now: UnixSeconds) -> Wrong {
        self.end(address, name);
        let for_name = wrong(entry(&mut self.names, name.to_string(), now), MAX_WAIT_NAME, now);
        let tries = entry(&mut self.addresses, address, now);
        let for_address = wrong(tries, MAX_WAIT_ADDRESS, now);
        if tries.wrong >= BANNED_AT {
            *tries = Tries { wrong: LEFT_AFTER_BAN, next: now, ..*tries };
            return Wrong::Ban;
        }
        Wrong::Wait(for_name.max(for_address))
    }

    fn end(&mut self, address: IpNet, name: &str) {
        let tries = [self.addresses.get_mut(&address), self.names.get_mut(name)];
        tries.into_iter().flatten().for_each(|tries| tries.in_progress = false);
    }

    /// Whether an address may keep another name; it is counted if so.
    pub fn may_keep(&mut self, address: IpNet, now: UnixSeconds) -> bool {
        self.kept.retain(|_, (_, since)| *since + DAY_SECONDS > now);
        if self.kept.len() >= MAX_REMEMBERED {
            return false;
        }
        let (count, _) = self.kept.entry(address).or_insert((0, now));
        *count += 1;
        *count <= MAX_KEPT_A_DAY
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
        let oldest = map.iter().filter(|(_, tries)| !tries.in_progress).min_by_key(|(_, tries)| tries.last);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()).filter(|_| map.len() >= MAX_REMEMBERED) {
            map.remove(&oldest);
        }
    }
    map.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpNet {
        std::net::IpAddr::from([192, 0, 2, last]).into()
    }

    /// A wrong password as soon as one is taken; how long that took.
    fn guess(attempts: &mut Attempts, from: u8, name: &str, now: &mut u64) -> (u64, Wrong) {
        let before = *now;
        while let Err(wait) = attempts.begin(address(from), name, *now) {
            let Wait::Seconds(seconds) = wait else { panic!("nothing is in progress") };
            *now += seconds;
        }
        (*now - before, attempts.wrong(address(from), name, *now))
    }

    #[test]
    fn each_wrong_password_makes_the_address_wait_longer_until_it_is_banned() {
        let mut attempts = Attempts::default();
        let mut now = 10_000;
        let names = ["ann", "bob", "cid", "dan", "eve", "fay", "gil", "hal", "ida"];
        let mut guesses = names.iter().map(|name| guess(&mut attempts, 1, name, &mut now));
        let waited: Vec<(u64, Wrong)> = guesses.by_ref().take(6).collect();
        let wait = Wrong::Wait;
        assert_eq!(
            waited,
            [(0, wait(1)), (1, wait(2)), (2, wait(4)), (4, wait(8)), (8, wait(16)), (16, Wrong::Ban)]
        );
        assert_eq!(guesses.map(|(_, wrong)| wrong).collect::<Vec<_>>(), [wait(8), wait(16), Wrong::Ban]);
    }

    #[test]
    fn a_name_waits_too_and_its_owner_is_never_locked_out_for_long() {
        let mut attempts = Attempts::default();
        let mut now = 10_000;
        for from in 1..=100 {
            let (waited, _) = guess(&mut attempts, from, "ann", &mut now);
            assert!(waited <= MAX_WAIT_NAME, "{waited}");
        }
        assert_eq!(attempts.begin(address(200), "ann", now), Err(Wait::Seconds(MAX_WAIT_NAME)));
        assert_eq!(attempts.begin(address(200), "ann", now + MAX_WAIT_NAME), Ok(()));
        attempts.right(address(200), "ann");
        let (_, wrong) = guess(&mut attempts, 201, "ann", &mut now);
        assert_eq!(wrong, Wrong::Wait(1), "the right one has cleared the name");
    }

    #[test]
    fn one_try_is_verified_at_a_time() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.begin(address(1), "ann", 0), Ok(()));
        assert_eq!(attempts.begin(address(1), "bob", 0), Err(Wait::Another));
        assert_eq!(attempts.begin(address(2), "ann", 0), Err(Wait::Another));
        attempts.cancel(address(1), "ann");
        assert_eq!(attempts.begin(address(2), "ann", 0), Ok(()));
    }

    #[test]
    fn wrong_ones_are_forgotten_and_memory_is_bounded() {
        let mut attempts = Attempts::default();
        let mut now = 10_000;
        for _ in 0..4 {
            guess(&mut attempts, 1, "ann", &mut now);
        }
        now += FORGOTTEN_SECONDS;
        assert_eq!(guess(&mut attempts, 1, "ann", &mut now), (0, Wrong::Wait(1)));
        for number in 0..2 * MAX_REMEMBERED {
            attempts.begin(address(7), &number.to_string(), now + number as u64).expect("it has waited");
            attempts.cancel(address(7), &number.to_string());
        }
        assert!(attempts.names.len() <= MAX_REMEMBERED);
    }

    #[test]
    fn an_address_keeps_a_few_names_a_day() {
        let mut attempts = Attempts::default();
        let kept = (0..7).filter(|_| attempts.may_keep(address(1), 5)).count();
        assert_eq!(kept, 5);
        assert!(attempts.may_keep(address(2), 5));
        assert!(attempts.may_keep(address(1), 5 + DAY_SECONDS));
    }
}
