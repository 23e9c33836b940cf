//! The networks that contain an address.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// A map from networks to values, in which the networks that contain an address are found by one look for each prefix
/// length in use, however many networks there are.
#[derive(Debug, Clone, PartialEq, Eq)]
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
