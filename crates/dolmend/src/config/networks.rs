//! Lists of networks, and their form in a configuration file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::error::BadValue;
use crate::address::canonical;

/// The networks of one line, separated by spaces or commas; `none` is no network, and stands alone.
pub(super) fn networks(value: &str) -> Result<Vec<IpNet>, BadValue> {
    let words = value.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    match words[..] {
        [] => Err(BadValue::new("no network is given", "write networks such as 10.0.0.0/8, or none")),
        [word] if word.eq_ignore_ascii_case("none") => Ok(Vec::new()),
        _ => words.into_iter().map(network).collect(),
    }
}

/// One network, or one address.
fn network(word: &str) -> Result<IpNet, BadValue> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(address.into());
    }
    if word.eq_ignore_ascii_case("none") {
        return Err(BadValue::new("'none' is given with networks", "it stands alone"));
    }
    let Ok(network) = word.parse::<IpNet>() else {
        return Err(BadValue::new(
            format!("'{word}' is not a network"),
            "a network is an address and the length of its prefix, such as 10.0.0.0/8 or 2001:db8::/32",
        ));
    };
    if network.trunc() != network {
        return Err(BadValue::new(
            format!("{network} names one address in a network"),
            format!("the network is {}, and the address alone has no prefix", network.trunc()),
        ));
    }
    Ok(network)
}

/// Adds the networks of one more line to the list. `none` stands alone: on another line it would be without effect, or
/// worse, with one.
pub(super) fn add_networks(list: &mut Networks, value: &str) -> Result<(), BadValue> {
    let networks = networks(value)?;
    if list.lines > 0 && (networks.is_empty() || list.networks.is_empty()) {
        return Err(BadValue::new("'none' is given with networks", "it stands alone"));
    }
    list.lines += 1;
    list.networks.extend(networks);
    Ok(())
}

/// The lines that [`add_networks`] reads.
pub(super) fn show_networks(list: &Networks) -> Vec<String> {
    match list.networks[..] {
        [] => vec!["none".into()],
        _ => list.networks.iter().map(ToString::to_string).collect(),
    }
}

/// A list of networks, such as the exempt ones.
///
/// ```
/// use dolmend::config::Networks;
///
/// let networks = Networks::from(vec!["10.0.0.0/8".parse()?, "192.0.2.7/32".parse()?]);
/// assert!(networks.contains("10.1.2.3".parse()?));
/// assert!(networks.contains("::ffff:192.0.2.7".parse()?));
/// assert!(!networks.contains("192.0.2.8".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Networks {
    networks: Vec<IpNet>,
    /// The lines of the file that set it.
    lines: usize,
}

/// The lines of the file do not matter.
impl PartialEq for Networks {
    fn eq(&self, other: &Networks) -> bool {
        self.networks == other.networks
    }
}

impl Eq for Networks {}

impl Networks {
    /// The addresses of this machine itself.
    pub fn loopback() -> Networks {
        let four = IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
        vec![four, IpAddr::V6(Ipv6Addr::LOCALHOST).into()].into()
    }

    /// Whether the list has no network.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether one of the networks has the address. An IPv6 address that stands for an IPv4 address is that one.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The networks, in the order of the file.
    pub fn as_slice(&self) -> &[IpNet] {
        &self.networks
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(networks: Vec<IpNet>) -> Networks {
        Networks { networks, lines: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_any_network_is_in_the_list() {
        let networks = Networks::loopback();
        for inside in ["127.0.0.1", "127.255.1.2", "::1", "::ffff:127.0.0.1"] {
            assert!(networks.contains(inside.parse().expect("an address")), "{inside}");
        }
        for outside in ["128.0.0.1", "::2", "::ffff:10.0.0.1", "0.0.0.1"] {
            assert!(!networks.contains(outside.parse().expect("an address")), "{outside}");
        }
        assert!(Networks::default().is_empty() && !networks.is_empty());
    }

    #[test]
    fn networks_are_lists_or_none() {
        let mut list = Networks::default();
        add_networks(&mut list, "10.0.0.0/8, 192.0.2.7 2001:db8::/32").expect("good networks");
        assert_eq!(show_networks(&list), ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
        for (address, is_in) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::5", true),
            ("::1", false),
        ] {
            assert_eq!(list.contains(address.parse().expect("an address")), is_in, "{address}");
        }
        for (value, wrong) in [
            ("", "no network"),
            ("10.0.0.0/33", "not a network"),
            ("ten", "not a network"),
            ("10.1.2.3/8", "10.1.2.3/8 names one address"),
            ("10.0.0.0/8 none", "'none' is given with networks"),
            ("none", "'none' is given with networks"),
        ] {
            let error = add_networks(&mut list, value).expect_err(value);
            assert!(error.problem.contains(wrong), "{value}: {error}");
        }
        let mut empty = Networks::default();
        add_networks(&mut empty, "None").expect("no networks");
        assert_eq!(show_networks(&empty), ["none"]);
        assert!(add_networks(&mut empty, "10.0.0.0/8").is_err());
    }
}
