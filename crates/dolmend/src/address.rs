//! Addresses, and what counts as one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

/// What counts as one address: an IPv4 address, or an IPv6 network, because a subscriber gets a whole network and may
/// choose any address in it.
///
/// ```
/// use dolmend::address::Source;
///
/// let source = |text: &str| Source::of(text.parse().expect("an address"), 64);
/// assert_eq!(source("2001:db8::1"), source("2001:db8::2:3"));
/// assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpNet);

impl Source {
    /// The source of an address, with this many bits for an IPv6 network.
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Source {
        let host = IpNet::from(canonical(address));
        let network = match host {
            IpNet::V4(_) => Ok(host),
            IpNet::V6(six) => IpNet::new(six.addr().into(), ipv6_prefix.min(128)),
        };
        // A prefix of at most 128 bits is one.
        Source(network.map_or(host, |network| network.trunc()))
    }

    /// The network, or the address as a network of one.
    pub fn network(self) -> IpNet {
        self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// The IPv4 address in an IPv6 address that stands for one: mapped (RFC 4291), or translated by NAT64 with the
/// well-known prefix 64:ff9b::/96 (RFC 6052). Any other address is returned unchanged.
pub fn canonical(address: IpAddr) -> IpAddr {
    const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
    let IpAddr::V6(six) = address else { return address };
    match six.to_ipv4_mapped() {
        Some(mapped) => IpAddr::V4(mapped),
        None if six.segments()[..6] == NAT64 => IpAddr::V4(Ipv4Addr::from_bits(six.to_bits() as u32)),
        None => address,
    }
}

/// An address of a player with the port, in the form in which addresses are compared and shown.
pub(crate) fn canonical_peer(peer: SocketAddr) -> SocketAddr {
    match canonical(peer.ip()) {
        // With its scope.
        same if same == peer.ip() => peer,
        four => SocketAddr::new(four, peer.port()),
    }
}

/// A network in the form in which it is compared: IPv4 in IPv6 as IPv4, and no bits beyond the prefix.
pub(crate) fn canonical_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    match (canonical(network.addr()), network.prefix_len()) {
        (IpAddr::V4(four), length @ 96..) if network.addr().is_ipv6() => {
            IpNet::new_assert(four.into(), length - 96)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str, prefix: u8) -> Source {
        Source::of(text.parse().expect("an address"), prefix)
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_its_size_can_be_set() {
        assert_eq!(source("2001:db8::1", 64), source("2001:db8::ffff:0:0:2", 64));
        assert_ne!(source("2001:db8::1", 64), source("2001:db8:0:1::1", 64));
        assert_eq!(source("2001:db8::1", 56), source("2001:db8:0:ff::1", 56));
        assert_ne!(source("2001:db8::1", 128), source("2001:db8::2", 128));
        assert_eq!(source("2001:db8::1", 0), source("fe80::2", 0));
        assert_eq!(source("2001:db8::1", 255), source("2001:db8::1", 128));
    }

    #[test]
    fn players_are_shown_with_the_address_for_which_theirs_stands() {
        for (peer, shown) in [
            ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
            ("[64:ff9b::192.0.2.1]:7", "192.0.2.1:7"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            assert_eq!(canonical_peer(peer.parse().expect("an address")).to_string(), shown);
        }
    }

    #[test]
    fn addresses_that_stand_for_ipv4_count_as_ipv4() {
        assert_ne!(source("192.0.2.1", 64), source("192.0.2.2", 64));
        assert_eq!(source("::ffff:192.0.2.1", 64), source("192.0.2.1", 64));
        assert_eq!(source("64:ff9b::192.0.2.1", 64), source("192.0.2.1", 64));
        assert_ne!(source("64:ff9b::192.0.2.1", 64), source("64:ff9b::192.0.2.2", 64));
        // The prefix for local use is a network like any other.
        assert_eq!(source("64:ff9b:1::1", 64), source("64:ff9b:1::2", 64));
        // The loopback address is none of them.
        assert_ne!(source("::1", 128), source("0.0.0.1", 128));
    }

    proptest! {
        #[test]
        fn two_addresses_are_one_source_exactly_if_their_networks_are(
            one: u128, flipped in 0u32..128, prefix in 1u8..=128,
        ) {
            // Global addresses: none of them stands for an IPv4 address.
            let one = one >> 3 | 1 << 125;
            prop_assume!(flipped < 125);
            let other = one ^ (1 << flipped);
            let of = |bits: u128| Source::of(IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)), prefix);
            prop_assert_eq!(of(one) == of(other), flipped < 128 - u32::from(prefix));
        }
    }
}
