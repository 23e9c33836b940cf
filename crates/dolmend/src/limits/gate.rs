//! Whether a newcomer may come in.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use super::{Budget, Limits, Source, Sources, TooMany};

/// The recent arrivals that are kept for sources without users.
const MOST_SOURCES: usize = 65_536;

/// Why a newcomer may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The address is banned; with the text for the newcomer.
    Banned(String),
    /// As many users as the server may have are present.
    Full,
    /// As many users as one address may have are present.
    AddressFull,
    /// The address connects too often.
    TooOften,
}

impl Refusal {
    /// The text for the newcomer.
    pub fn text(&self) -> &str {
        match self {
            Refusal::Banned(text) => text,
            Refusal::Full => "The place is full. Please try again later.\n",
            Refusal::AddressFull => "Too many players are here from your address. Please try again later.\n",
            Refusal::TooOften => "Your address connects too often. Please try again in a moment.\n",
        }
    }
}

/// The words for the log.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Banned(_) => "banned",
            Refusal::Full => "max users reached",
            Refusal::AddressFull => "max users per address reached",
            Refusal::TooOften => "accept rate exceeded",
        })
    }
}

/// The place of a user who was let in. It is given back with [`Gate::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the place has to be given back"]
pub struct Pass {
    /// `None` if the address is exempt.
    source: Option<Source>,
}

/// Lets newcomers in: bans first, then the places of the server, then what the source may have.
#[derive(Debug)]
pub struct Gate {
    sources: Sources,
    users: usize,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { sources: Sources::new(MOST_SOURCES), users: 0 }
    }
}

impl Gate {
    /// Whether this peer is a proxy whose header has to name the player first. The proxy's own address is not counted.
    pub fn is_proxy(limits: &Limits, peer: IpAddr) -> bool {
        !limits.trusted_proxies.is_empty() && limits.trusted_proxies.contains(peer)
    }

    /// A newcomer, or the player whom a trusted proxy has named, with the text for one who is banned. A proxy that speaks
    /// for itself is exempt.
    ///
    /// # Errors
    ///
    /// Why the newcomer may not come in. Then nothing has to be given back.
    pub fn admit(
        &mut self,
        limits: &Limits,
        ban: Option<String>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Pass, Refusal> {
        if let Some(text) = ban {
            return Err(Refusal::Banned(text));
        }
        if self.users >= limits.max_users {
            return Err(Refusal::Full);
        }
        let is_exempt = limits.no_limits.contains(address) || Gate::is_proxy(limits, address);
        let source = (!is_exempt).then(|| Source::of(address, limits.ipv6_prefix));
        if let Some(source) = source {
            let most = limits.max_users_per_address;
            self.sources.arrive(source, now, limits.accept_rate, most).map_err(
                |too_many| match too_many {
                    TooMany::Users => Refusal::AddressFull,
                    TooMany::Arrivals => Refusal::TooOften,
                },
            )?;
        }
        self.users += 1;
        Ok(Pass { source })
    }

    /// A user who is present turns out to be from another address: as [`admit`](Gate::admit), for the same place.
    ///
    /// # Errors
    ///
    /// Why the user may not stay. The place is still to be given back.
    pub fn readmit(
        &mut self,
        pass: Pass,
        limits: &Limits,
        ban: Option<String>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Pass, Refusal> {
        self.users = self.users.saturating_sub(1);
        let admitted = self.admit(limits, ban, address, now);
        match admitted {
            Ok(_) => pass.source.into_iter().for_each(|source| self.sources.depart(source)),
            Err(_) => self.users += 1,
        }
        admitted
    }

    /// A user has departed.
    pub fn leave(&mut self, pass: Pass) {
        self.users = self.users.saturating_sub(1);
        if let Some(source) = pass.source {
            self.sources.depart(source);
        }
    }

    /// The budget of all users of the address of this one. `None` if the address is exempt.
    pub fn budget_mut(&mut self, pass: Pass) -> Option<&mut Budget> {
        self.sources.budget_mut(pass.source?)
    }

    /// The rates are others from now on.
    pub fn change_rates(&mut self, limits: &Limits, now: Instant) {
        self.sources.change_rates(limits.accept_rate, limits.source_rates(), now);
    }

    /// How many users are present.
    pub fn users(&self) -> usize {
        self.users
    }

    /// The users and arrivals of each source.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;
    use ipnet::IpNet;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn limits() -> Limits {
        Limits {
            max_users: 5,
            max_users_per_address: 2,
            accept_rate: Rate::new(1, 4),
            trusted_proxies: vec![IpNet::from(address("10.0.0.1"))].into(),
            ..Limits::default()
        }
    }

    #[test]
    fn each_limit_refuses_with_its_own_text() {
        let (mut gate, limits, now) = (Gate::default(), limits(), Instant::now());
        let mut admit = |text: &str| gate.admit(&limits, None, address(text), now);
        let first = admit("192.0.2.1").expect("the first");
        let _second = admit("192.0.2.1").expect("the second");
        assert_eq!(admit("192.0.2.1"), Err(Refusal::AddressFull));
        assert_eq!(admit("::ffff:192.0.2.1"), Err(Refusal::AddressFull));
        assert_eq!(admit("192.0.2.1"), Err(Refusal::TooOften));
        for number in 1..=3 {
            let _another = admit(&format!("127.0.0.{number}")).expect("an exempt address");
        }
        assert_eq!(admit("192.0.2.2"), Err(Refusal::Full));
        assert_eq!(admit("127.0.0.1"), Err(Refusal::Full));
        gate.leave(first);
        assert_eq!(gate.users(), 4);
        let _next = gate.admit(&limits, None, address("192.0.2.2"), now).expect("a place is free");
        assert_eq!(gate.sources().len(), 2);
        for refusal in [Refusal::Full, Refusal::AddressFull, Refusal::TooOften] {
            assert!(refusal.text().ends_with(".\n") && !refusal.to_string().is_empty());
        }
    }

    #[test]
    fn no_limits_means_no_limits_of_one_address_only() {
        let (mut gate, limits, now) = (Gate::default(), limits(), Instant::now());
        let admitted = (0..100).filter(|_| gate.admit(&limits, None, address("127.0.0.1"), now).is_ok());
        assert_eq!(admitted.count(), 5);
        assert!(gate.sources().is_empty());
    }

    #[test]
    fn a_trusted_proxy_is_exempt_and_the_players_whom_it_names_are_not() {
        let (mut gate, limits, now) = (Gate::default(), limits(), Instant::now());
        for _ in 0..3 {
            let _check = gate.admit(&limits, None, address("10.0.0.1"), now).expect("it is exempt");
        }
        for _ in 0..2 {
            let _player = gate.admit(&limits, None, address("10.0.0.2"), now).expect("a place");
        }
        assert_eq!(gate.sources().users(Source::of(address("10.0.0.2"), 64)), 2);
    }

    #[test]
    fn a_user_who_turns_out_to_be_from_elsewhere_keeps_the_place_if_that_address_has_one() {
        let (mut gate, limits, now) = (Gate::default(), limits(), Instant::now());
        let proxy = gate.admit(&limits, None, address("127.0.0.1"), now).expect("a place");
        let player = gate.readmit(proxy, &limits, None, address("192.0.2.1"), now).expect("it has a place");
        assert_eq!((gate.users(), gate.sources().len()), (1, 1));
        let ban = Some("Go away.\n".to_string());
        assert!(gate.readmit(player, &limits, ban, address("192.0.2.2"), now).is_err());
        assert_eq!((gate.users(), gate.sources().len()), (1, 1));
        gate.leave(player);
        assert_eq!(gate.users(), 0);
    }

    #[test]
    fn a_ban_comes_first_and_counts_nothing() {
        let (mut gate, limits, now) = (Gate::default(), limits(), Instant::now());
        let ban = Some("Go away.\n".to_string());
        let refusal = gate.admit(&limits, ban, address("192.0.2.1"), now).expect_err("it is banned");
        assert_eq!((refusal.text(), refusal.to_string().as_str()), ("Go away.\n", "banned"));
        assert_eq!((gate.users(), gate.sources().len()), (0, 0));
        let _pass = gate.admit(&limits, None, address("192.0.2.2"), now).expect("it is not");
    }

    #[test]
    fn only_listed_peers_are_proxies() {
        assert!(Gate::is_proxy(&limits(), address("10.0.0.1")));
        assert!(Gate::is_proxy(&limits(), address("::ffff:10.0.0.1")));
        assert!(!Gate::is_proxy(&limits(), address("10.0.0.2")));
        assert!(!Gate::is_proxy(&Limits::default(), address("127.0.0.1")));
    }
}
