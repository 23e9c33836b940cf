//! How many arrivals are shown to the others.
//!
//! One who connects, types a name and leaves, again and again, would fill the screens of all others with two lines each
//! time, and neither `ignore` nor a mute helps against it. So each source, and each neighbourhood, has a bucket: a few
//! arrivals in a row are shown, then one in a while. Whose arrival was not shown, their departure is not, either.

use std::collections::HashMap;

use ipnet::IpNet;

use super::attempts::From;
use crate::store::UnixSeconds;

/// How many arrivals in a row are shown, of a source and of a neighbourhood.
const BURST: [u64; 2] = [5, 25];

/// After how many seconds another one is shown, of a source and of a neighbourhood.
const SECONDS_EACH: [u64; 2] = [20, 4];

/// How many sources and neighbourhoods are remembered. The oldest makes room: a bucket that is full again is forgotten
/// anyway.
const MAX_REMEMBERED: usize = 10_000;

/// The buckets, by the moment at which each is full again.
#[derive(Debug, Default)]
pub(super) struct Arrivals(HashMap<IpNet, UnixSeconds>);

impl Arrivals {
    /// Whether another arrival from there is shown; it is counted if so. A source that is exempt from limits has none.
    pub fn show(&mut self, from: From, now: UnixSeconds) -> bool {
        if from.is_exempt {
            return true;
        }
        let mut networks = vec![from.source, from.neighbourhood()];
        networks.dedup();
        let of_each: Vec<(IpNet, u64, u64)> = networks
            .iter()
            .zip(BURST.into_iter().zip(SECONDS_EACH))
            .map(|(&it, (b, s))| (it, b, s))
            .collect();
        let full_at =
            |all: &HashMap<IpNet, UnixSeconds>, it: &IpNet| all.get(it).copied().unwrap_or(now).max(now);
        let has_room =
            |&(it, burst, each): &(IpNet, u64, u64)| full_at(&self.0, &it) + each <= now + burst * each;
        if !of_each.iter().all(has_room) {
            return false;
        }
        for (it, _, each) in of_each {
            let next = full_at(&self.0, &it) + each;
            self.make_room(&it, now);
            self.0.insert(it, next);
        }
        true
    }

    fn make_room(&mut self, network: &IpNet, now: UnixSeconds) {
        if self.0.len() < MAX_REMEMBERED || self.0.contains_key(network) {
            return;
        }
        self.0.retain(|_, full| *full > now);
        if self.0.len() >= MAX_REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, full)| **full).map(|(network, _)| *network);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: [u8; 4]) -> From {
        From { source: std::net::IpAddr::from(address).into(), is_exempt: false }
    }

    #[test]
    fn a_few_arrivals_of_a_source_are_shown_and_then_one_in_a_while() {
        let mut arrivals = Arrivals::default();
        let shown =
            |arrivals: &mut Arrivals, from, now| (0..100).filter(|_| arrivals.show(from, now)).count();
        assert_eq!(shown(&mut arrivals, from([192, 0, 2, 1]), 1_000), 5);
        assert_eq!(shown(&mut arrivals, from([192, 0, 2, 1]), 1_019), 0);
        assert_eq!(shown(&mut arrivals, from([192, 0, 2, 1]), 1_020), 1);
        assert_eq!(shown(&mut arrivals, from([192, 0, 2, 1]), 2_000), 5);
        assert_eq!(shown(&mut arrivals, from([198, 51, 100, 1]), 2_000), 5, "another source");
        let neighbours = (1..100).filter(|&last| arrivals.show(from([203, 0, 113, last]), 2_000));
        assert_eq!(neighbours.count(), 25);
        let exempt = From { is_exempt: true, ..from([192, 0, 2, 1]) };
        assert_eq!(shown(&mut arrivals, exempt, 2_000), 100);
    }

    #[test]
    fn memory_is_bounded() {
        let mut arrivals = Arrivals::default();
        for number in 0..20_000u32 {
            let [_, b, c, d] = number.to_be_bytes();
            arrivals.show(from([10 + b, c, d, 1]), 1_000);
        }
        assert!(arrivals.0.len() <= MAX_REMEMBERED);
    }
}
