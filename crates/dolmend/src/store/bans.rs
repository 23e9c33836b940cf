//! Bans: who may not come in, or not speak.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::networks::NetworkMap;
use crate::address::{Source, canonical, canonical_network};
use crate::duration::in_words;
use crate::names::{self, Name, Registry};

/// How many bans there may be, without those of the list.
const MAX_BANS: usize = 10_000;

/// The longest reason, in characters.
pub(super) const MAX_REASON_CHARS: usize = 200;

/// The widest networks that can be banned: an operator who bans more has mistyped, or wants to close the ports.
const WIDEST_IPV4: u8 = 8;
const WIDEST_IPV6: u8 = 16;

/// Whom a ban is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// All addresses of a network. In a file an address stands for itself.
    #[serde(deserialize_with = "network")]
    Network(IpNet),
    /// A name, and all names that look like it.
    Name(String),
}

fn network<'de, D: serde::Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(from)?;
    let address = |_| text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(address).map_err(|_| {
        serde::de::Error::custom(format!(
            "'{text}' is neither a network, such as 192.0.2.0/24, nor an address"
        ))
    })
}

impl Target {
    /// What an operator typed: an address, a network, or a name. An IPv6 address means its network with this many bits,
    /// as a customer has all addresses in it.
    ///
    /// # Errors
    ///
    /// The reason why it is none of these.
    pub fn parse(typed: &str, ipv6_prefix: u8) -> Result<Target, BadBan> {
        if let Ok(address) = typed.parse::<IpAddr>() {
            return Ok(Target::Network(Source::of(address, ipv6_prefix).network()));
        }
        if typed.contains('/') {
            let network = typed.parse::<IpNet>().map_err(|_| BadBan::NotNetwork)?;
            let network = canonical_network(network);
            return if is_too_wide(network) { Err(BadBan::TooWide) } else { Ok(Target::Network(network)) };
        }
        match Name::check_kept(typed) {
            Ok(name) => Ok(Target::Name(name.shown().to_string())),
            Err(_) => Err(BadBan::NotName),
        }
    }
}

fn is_too_wide(network: IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { WIDEST_IPV4 } else { WIDEST_IPV6 }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Target::Network(network) => network.fmt(f),
            Target::Name(name) => f.write_str(name),
        }
    }
}

/// Why there cannot be such a ban. Its text is for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadBan {
    /// It has a slash, and is not a network.
    NotNetwork,
    /// It is most of the internet.
    TooWide,
    /// It is neither an address nor an allowed name.
    NotName,
    /// The table is full.
    TooMany,
}

impl fmt::Display for BadBan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadBan::NotNetwork => {
                f.write_str("This is not a network; write ADDRESS/BITS, such as 192.0.2.0/24.")
            }
            BadBan::TooWide => {
                write!(
                    f,
                    "That is too much of the internet: at least /{WIDEST_IPV4}, or /{WIDEST_IPV6} of IPv6."
                )
            }
            BadBan::NotName => {
                f.write_str("This is no address, no network and no name that a player can have.")
            }
            BadBan::TooMany => write!(f, "There are {MAX_BANS} already; a 'ban list' file may have more."),
        }
    }
}

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Whom it is about.
    pub target: Target,
    /// Why, for the operator and for the player who is turned away. It may be empty.
    #[serde(default)]
    pub reason: String,
    /// When it was made.
    #[serde(default)]
    pub since: UnixSeconds,
    /// When it ends, if it does.
    #[serde(default)]
    pub until: Option<UnixSeconds>,
}

impl Ban {
    /// Whether it is over.
    pub fn has_expired(&self, now: UnixSeconds) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The rest of a sentence about it, for the operator and for the player who is turned away: when it ends, and why.
    ///
    /// ```
    /// # use dolmend::store::{Ban, Target};
    /// let target = Target::parse("192.0.2.1", 64).expect("an address");
    /// let ban = Ban { target, reason: "flooding".into(), since: 1_000, until: Some(4_600) };
    /// assert_eq!(format!("You are banned {}.", ban.details(1_000)), "You are banned for another 1 hour: flooding.");
    /// ```
    pub fn details(&self, now: UnixSeconds) -> String {
        let length = match self.until {
            Some(until) => format!("for another {}", in_words(until.saturating_sub(now))),
            None => "until further notice".to_string(),
        };
        if self.reason.is_empty() { length } else { format!("{length}: {}", self.reason) }
    }
}

/// Bans, found by address and by name.
#[derive(Debug, Clone, Default)]
pub struct Bans {
    /// In the order of entry.
    entries: BTreeMap<u64, Arc<Ban>>,
    next: u64,
    by_network: NetworkMap<u64>,
    by_name: Registry<u64>,
    list: NetworkList,
}

impl Bans {
    /// Adds a ban. One with the same target is replaced, and the new one is the last of the list.
    ///
    /// # Errors
    ///
    /// The reason why there cannot be such a ban. The bans are as before.
    pub fn add(&mut self, mut ban: Ban, now: UnixSeconds) -> Result<(), BadBan> {
        let name = match &mut ban.target {
            Target::Network(network) => {
                *network = canonical_network(*network);
                if is_too_wide(*network) {
                    return Err(BadBan::TooWide);
                }
                None
            }
            Target::Name(name) => Some(Name::check_kept(name).map_err(|_| BadBan::NotName)?),
        };
        // Whatever is refused from here on, there was no such ban: it would have made room.
        self.remove(&ban.target);
        if self.entries.len() >= MAX_BANS {
            self.remove_expired(now);
        }
        if self.entries.len() >= MAX_BANS {
            return Err(BadBan::TooMany);
        }
        if ban.reason.contains(char::is_control) || ban.reason.chars().count() > MAX_REASON_CHARS {
            ban.reason = ban
                .reason
                .chars()
                .filter(|character| !character.is_control())
                .take(MAX_REASON_CHARS)
                .collect();
        }
        if let Target::Network(network) = ban.target {
            self.by_network.insert(network, self.next);
        }
        if let Some(name) = name {
            self.by_name.insert(name, self.next);
        }
        self.entries.insert(self.next, Arc::new(ban));
        self.next += 1;
        Ok(())
    }

    /// Removes the ban with this target.
    pub fn remove(&mut self, target: &Target) -> Option<Ban> {
        self.remove_number(self.number_of(target)?)
    }

    /// Whether there is this very ban.
    pub(super) fn contains(&self, ban: &Ban) -> bool {
        let number = self.number_of(&ban.target);
        number.and_then(|number| self.entries.get(&number)).is_some_and(|own| **own == *ban)
    }

    fn number_of(&self, target: &Target) -> Option<u64> {
        match target {
            Target::Network(network) => self.by_network.get(canonical_network(*network)).copied(),
            Target::Name(name) => self.by_name.get(&names::key(name)).copied(),
        }
    }

    fn remove_number(&mut self, number: u64) -> Option<Ban> {
        let ban = self.entries.remove(&number)?;
        match &ban.target {
            Target::Network(network) => drop(self.by_network.remove(*network)),
            Target::Name(name) => drop(self.by_name.remove(&names::key(name))),
        }
        Some(Arc::unwrap_or_clone(ban))
    }

    /// Removes what is over, and returns how many there were.
    pub fn remove_expired(&mut self, now: UnixSeconds) -> usize {
        let expired: Vec<u64> =
            self.entries.iter().filter(|(_, ban)| ban.has_expired(now)).map(|(&number, _)| number).collect();
        expired.iter().for_each(|&number| drop(self.remove_number(number)));
        expired.len()
    }

    /// The ban that concerns this address, of the smallest network first, and those of the list last.
    pub fn check_address(&self, address: IpAddr, now: UnixSeconds) -> Option<&Ban> {
        let address = canonical(address);
        let own = self
            .by_network
            .containing(address)
            .filter_map(|number| self.entries.get(number))
            .map(Arc::as_ref);
        own.chain(self.list.networks.containing(address)).find(|ban| !ban.has_expired(now))
    }

    /// The ban that concerns this name, or a name that looks like it.
    pub fn check_name(&self, name: &Name, now: UnixSeconds) -> Option<&Ban> {
        let mut bans = self
            .by_name
            .all_similar(name)
            .filter_map(|(_, number)| self.entries.get(number))
            .map(Arc::as_ref);
        bans.find(|ban| !ban.has_expired(now))
    }

    /// The bans, in the order of entry, without those of the list.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.entries.values().map(Arc::as_ref)
    }

    /// The bans as they are now, for a write.
    pub(super) fn rows(&self) -> Vec<Arc<Ban>> {
        self.entries.values().cloned().collect()
    }

    /// How many bans there are, without those of the list.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none, without those of the list.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets the networks of a `ban list`, in place of earlier ones.
    pub fn set_list(&mut self, list: NetworkList) {
        self.list = list;
    }

    pub(super) fn list_mut(&mut self) -> &mut NetworkList {
        &mut self.list
    }

    /// The networks of the `ban list`.
    pub fn list(&self) -> &NetworkList {
        &self.list
    }
}

/// A list of networks from a file of the operator's, for Tor exits, VPNs and clouds: a network or address in each line,
/// and a text for those who are turned away. A copy costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkList {
    networks: Arc<NetworkMap<Ban>>,
}

/// A line of a list that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadListLine {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub correction: String,
}

impl BadListLine {
    fn new(line: usize, problem: impl Into<String>, correction: impl Into<String>) -> BadListLine {
        BadListLine { line, problem: problem.into(), correction: correction.into() }
    }
}

/// How many bad lines of a list are reported.
const MAX_REPORTED: usize = 20;

/// How many networks a list may have. The game waits while a reload reads it: 100,000 lines take less than a tenth of a
/// second.
const MAX_LIST: usize = 200_000;

impl NetworkList {
    /// Reads the text of a list. `#` begins a comment, at the start of a line. An IPv6 address means its network with
    /// this many bits; with `/128` behind it, it means itself.
    ///
    /// ```
    /// use dolmend::store::NetworkList;
    ///
    /// let list = NetworkList::parse("# Tor exits\n192.0.2.0/24 no Tor, please\n2001:db8::1\n", 64).expect("two networks");
    /// assert_eq!(list.len(), 2);
    /// assert_eq!(NetworkList::parse("192.0.2.0/33\n", 64).expect_err("no network")[0].line, 1);
    /// ```
    ///
    /// # Errors
    ///
    /// The bad lines, at most the first twenty; or the line with which there are too many networks.
    pub fn parse(text: &str, ipv6_prefix: u8) -> Result<NetworkList, Vec<BadListLine>> {
        let mut networks = NetworkMap::default();
        let mut problems = Vec::new();
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (network, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let address = |_| network.parse().map(|address| Source::of(address, ipv6_prefix).network());
            let network = network.parse::<IpNet>().or_else(address);
            let network = match network.map(canonical_network) {
                Ok(network) if is_too_wide(network) => Err(BadListLine::new(
                    number,
                    format!("{network} is too much of the internet"),
                    format!("a network has at least /{WIDEST_IPV4}, or /{WIDEST_IPV6} of IPv6"),
                )),
                Ok(network) => Ok(network),
                Err(_) => Err(BadListLine::new(
                    number,
                    "this is not a network",
                    "a line has ADDRESS or ADDRESS/BITS, and a text",
                )),
            };
            let Ok(network) = network.map_err(|problem| problems.push(problem)) else {
                if problems.len() == MAX_REPORTED {
                    break;
                }
                continue;
            };
            let reason = reason.trim().chars().filter(|character| !character.is_control());
            let reason = reason.take(MAX_REASON_CHARS).collect();
            let target = Target::Network(network);
            networks.insert(network, Ban { target, reason, since: 0, until: None });
            if networks.len() > MAX_LIST {
                problems.push(BadListLine::new(
                    number,
                    format!("there are more than {MAX_LIST} networks"),
                    "join those that are neighbours",
                ));
                break;
            }
        }
        if problems.is_empty() { Ok(NetworkList { networks: Arc::new(networks) }) } else { Err(problems) }
    }

    /// How many networks it has.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
