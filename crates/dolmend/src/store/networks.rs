//! Addresses and the networks that contain them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

/// The prefix of an IPv6 address that one customer of a provider has.
const CUSTOMER_PREFIX: u8 = 64;

/// The IPv4 address of one that was mapped (`::ffff:0:0/96`) or translated (`64:ff9b::/96`) into IPv6; others unchanged.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address,
    }
}

/// What counts as one source of connections: an IPv4 address, or an IPv6 /64, which a single customer has.
pub fn source(address: IpAddr) -> IpNet {
    match canonical(address) {
        IpAddr::V6(six) => {
            let bits = u128::from(six) & (u128::MAX << (128 - u32::from(CUSTOMER_PREFIX)));
            Ipv6Net::new_assert(Ipv6Addr::from(bits), CUSTOMER_PREFIX).into()
        }
        four => four.into(),
    }
}

/// A network in the form in which it is compared: IPv4 in IPv6 as IPv4, and no bits beyond the prefix.
pub(super) fn canonical_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    match (canonical(network.addr()), network.prefix_len()) {
        (IpAddr::V4(four), length @ 96..) if network.addr().is_ipv6() => {
            IpNet::new_assert(four.into(), length - 96)
        }
        _ => network,
    }
}

/// A map from networks to values, in which the networks that contain an address are found by one look for each prefix
/// length in use, however many networks there are.
#[derive(Debug, Clone)]
pub(super) struct NetworkMap<V> {
    networks: HashMap<IpNet, V>,
    /// How many networks there are of each prefix length, of IPv4 and of IPv6.
    lengths: [[u32; 129]; 2],
}

impl<V> Default for NetworkMap<V> {
    fn default() -> NetworkMap<V> {
        NetworkMap { networks: HashMap::new(), lengths: [[0; 129]; 2] }
    }
}

impl<V> NetworkMap<V> {
    /// Adds a network, or replaces its value.
    pub(super) fn insert(&mut self, network: IpNet, value: V) {
        if self.networks.insert(network, value).is_none() {
            *self.count(network) += 1;
        }
    }

    pub(super) fn remove(&mut self, network: IpNet) -> Option<V> {
        let value = self.networks.remove(&network)?;
        *self.count(network) -= 1;
        Some(value)
    }

    pub(super) fn get(&self, network: IpNet) -> Option<&V> {
        self.networks.get(&network)
    }

    pub(super) fn len(&self) -> usize {
        self.networks.len()
    }

    /// The values of the networks that contain a canonical address, from the smallest network.
    pub(super) fn containing(&self, address: IpAddr) -> impl Iterator<Item = &V> {
        let host = IpNet::from(address);
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        let in_use = (0..=host.prefix_len()).rev().filter(|&length| lengths[usize::from(length)] > 0);
        in_use.filter_map(move |length| {
            // The length is at most the address's own.
            let network = IpNet::new(address, length).ok()?.trunc();
            self.networks.get(&network)
        })
    }

    fn count(&mut self, network: IpNet) -> &mut u32 {
        &mut self.lengths[usize::from(network.addr().is_ipv6())][usize::from(network.prefix_len())]
    }
}
