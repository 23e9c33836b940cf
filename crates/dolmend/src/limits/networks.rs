//! Lists of networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::source::canonical;

/// A list of networks, such as the exempt ones.
///
/// ```
/// use dolmend::limits::Networks;
///
/// let networks: Networks = ["10.0.0.0/8".parse()?, "192.0.2.7/32".parse()?].into_iter().collect();
/// assert!(networks.contains("10.1.2.3".parse()?));
/// assert!(networks.contains("::ffff:192.0.2.7".parse()?));
/// assert!(!networks.contains("192.0.2.8".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// The addresses of this machine itself.
    pub fn loopback() -> Networks {
        let four = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
        Networks(vec![four.into(), IpNet::from(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))])
    }

    /// Whether an address is in one of them. An IPv6 address that stands for an IPv4 address is that one.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether the list has no network.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Networks {
        Networks(networks.into_iter().map(|network| network.trunc()).collect())
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
}
