//! Lists of networks, and their form in a configuration file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::error::BadValue;
use crate::address::{canonical, canonical_network};

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

/// One network, or one address, in the form in which addresses are compared.
fn network(word: &str) -> Result<IpNet, BadValue> {
    if word.eq_ignore_ascii_case("none") {
        return Err(BadValue::new("'none' is given with networks", "it stands alone"));
    }
    let network = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = network else {
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
    let canonical = canonical_network(network);
    // The operator means some of these addresses: with all of them every client could claim any address.
    if canonical != network && canonical.prefix_len() == 0 {
        return Err(BadValue::new(
            format!("'{word}' stands for all addresses of IPv4"),
            "write 0.0.0.0/0 if you mean all of them",
        ));
    }
    if (1..96).contains(&network.prefix_len()) && STAND_FOR_IPV4.iter().any(|four| network.contains(four)) {
        return Err(BadValue::new(
            format!("'{word}' has addresses that stand for addresses of IPv4, and count as those"),
            "write these as networks of IPv4, such as 10.0.0.0/8",
        ));
    }
    Ok(canonical)
}

/// An address of each of the networks whose addresses [`canonical`] takes for addresses of IPv4.
const STAND_FOR_IPV4: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)),
    IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)),
];

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
        Networks { networks: networks.into_iter().map(canonical_network).collect(), lines: 1 }
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
    fn a_network_that_stands_for_one_of_ipv4_is_that_one() {
        for (written, shown, inside) in [
            ("::ffff:127.0.0.1", "127.0.0.1/32", "127.0.0.1"),
            ("::ffff:127.0.0.0/104", "127.0.0.0/8", "127.1.2.3"),
            ("64:ff9b::192.0.2.0/120", "192.0.2.0/24", "64:ff9b::192.0.2.7"),
            ("64:ff9b::192.0.2.7", "192.0.2.7/32", "::ffff:192.0.2.7"),
            ("::/0", "::/0", "2001:db8::1"),
            ("64:ff9b:1::/48", "64:ff9b:1::/48", "64:ff9b:1::1"),
        ] {
            let mut list = Networks::default();
            add_networks(&mut list, written).expect(written);
            assert_eq!(show_networks(&list), [shown]);
            assert!(list.contains(inside.parse().expect("an address")), "{written}");
            let made = Networks::from(vec![list.as_slice()[0]]);
            assert_eq!(made, list);
        }
        let mapped = Networks::from(vec!["::ffff:10.0.0.0/104".parse().expect("a network")]);
        assert!(mapped.contains("10.1.2.3".parse().expect("an address")));
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
            ("::ffff:0:0/96", "'::ffff:0:0/96' stands for all addresses of IPv4"),
            ("64:ff9b::/96", "'64:ff9b::/96' stands for all addresses of IPv4"),
            ("64:ff9b::/64", "stand for addresses of IPv4, and count as those"),
            ("::/80", "stand for addresses of IPv4, and count as those"),
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
