//! Datagram sockets of the simulated machine, and a network that loses, doubles and reorders what it carries.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::{BROKEN, Descriptor, NOT_SENT, PORT_CLOSED, Rng, SharedWorld, SimUdp, World};
use crate::kernel::Fault;
use crate::kernel::options::DatagramOptions;
use crate::marks::{Mark, mark};

/// How often the network does each of these, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetworkFaults {
    pub(crate) lost: u8,
    pub(crate) doubled: u8,
    pub(crate) reordered: u8,
    /// A datagram that is sent causes a failure, which a later receive or send reports.
    pub(crate) unreachable: u8,
    /// A datagram to that address cannot be sent, however often it is tried.
    pub(crate) refused: u8,
}

impl NetworkFaults {
    pub(crate) fn random(rng: &mut Rng) -> NetworkFaults {
        let mut rate = || [0, 5, 40][rng.below(3) as usize];
        let (lost, doubled, reordered, unreachable) = (rate(), rate(), rate(), rate());
        NetworkFaults { lost, doubled, reordered, unreachable, refused: rate() }
    }

    fn refuses(self, to: SocketAddr) -> bool {
        let SocketAddr::V4(to) = to else { return false };
        u16::from(to.ip().octets()[3]) * 37 % 100 < u16::from(self.refused)
    }
}

/// The reactor's side of a datagram socket.
#[derive(Default)]
pub(crate) struct DatagramPort {
    /// Waits to be received.
    pub(crate) inbound: VecDeque<(SocketAddr, Vec<u8>)>,
    /// What the system has taken for sending, in that order.
    pub(crate) outbound: Vec<(SocketAddr, Vec<u8>)>,
    /// Failures of earlier datagrams that no call has collected yet.
    pub(crate) unreachable: u32,
    /// How many failures have been returned, and how many of them by sends.
    pub(crate) failures: u64,
    pub(crate) failed_sends: u64,
    /// There is no room for further datagrams to send.
    pub(crate) full: bool,
    /// Each receive fails.
    pub(crate) broken: bool,
}

impl DatagramPort {
    pub(crate) fn readable(&self) -> bool {
        self.unreachable > 0 || self.broken || !self.inbound.is_empty()
    }

    pub(crate) fn writable(&self) -> bool {
        !self.full
    }

    /// What the next receive finds.
    pub(crate) fn receive(&mut self) -> Option<Result<(SocketAddr, Vec<u8>), Fault>> {
        if self.unreachable > 0 {
            mark(Mark::UnreachableReceive);
            self.unreachable -= 1;
            self.failures += 1;
            return Some(Err(PORT_CLOSED));
        }
        if self.broken {
            self.failures += 1;
            return Some(Err(BROKEN));
        }
        self.inbound.pop_front().map(Ok)
    }
}

impl World {
    pub(crate) fn port_of(&mut self, object: Descriptor) -> &mut DatagramPort {
        let Descriptor::Udp(port) = object else { panic!("{object:?} is not a datagram socket") };
        &mut self.ports[port]
    }

    /// The network carries a datagram to the reactor. Returns how many copies of it arrive.
    pub(crate) fn carry(&mut self, port: usize, from: SocketAddr, data: &[u8]) -> u32 {
        let network = self.faults.network;
        if self.network_rng.percent(network.lost) {
            mark(Mark::DatagramLost);
            return 0;
        }
        let copies = if self.network_rng.percent(network.doubled) { 2 } else { 1 };
        if copies == 2 {
            mark(Mark::DatagramDoubled);
        }
        for _ in 0..copies {
            let inbound = &mut self.ports[port].inbound;
            let mut at = inbound.len();
            if at > 0 && self.network_rng.percent(network.reordered) {
                mark(Mark::DatagramReordered);
                at = self.network_rng.below(at as u64) as usize;
            }
            inbound.insert(at, (from, data.to_vec()));
        }
        copies
    }

    /// Takes a datagram for sending. `None`: there is no room.
    pub(crate) fn send_datagram(
        &mut self,
        object: Descriptor,
        to: SocketAddr,
        data: &[u8],
    ) -> Option<Result<(), Fault>> {
        let unreachable = self.faults.network.unreachable;
        let refused = self.faults.network.refuses(to);
        let causes_failure = self.network_rng.percent(unreachable);
        let port = self.port_of(object);
        if port.full {
            return None;
        }
        // As on Linux: the failure of an earlier datagram is reported instead of sending this one.
        if port.unreachable > 0 {
            mark(Mark::UnreachableSend);
            port.unreachable -= 1;
            port.failed_sends += 1;
            port.failures += 1;
            return Some(Err(PORT_CLOSED));
        }
        if refused {
            port.failed_sends += 1;
            port.failures += 1;
            return Some(Err(NOT_SENT));
        }
        port.unreachable += u32::from(causes_failure);
        port.outbound.push((to, data.to_vec()));
        Some(Ok(()))
    }
}

impl SimUdp {
    pub(crate) fn open(world: &SharedWorld) -> (SimUdp, usize) {
        let mut inner = world.borrow_mut();
        inner.ports.push(DatagramPort::default());
        let port = inner.ports.len() - 1;
        let fd = inner.open(Descriptor::Udp(port));
        (SimUdp { fd, world: Rc::clone(world) }, port)
    }
}

impl DatagramOptions for SimUdp {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.world.borrow().object(self.fd) {
            Descriptor::Udp(port) => Ok(SocketAddr::from(([127, 0, 0, 3], port as u16))),
            other => panic!("{other:?} is not a datagram socket"),
        }
    }
}

impl Drop for SimUdp {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let Descriptor::Udp(_) = world.close(self.fd) else { panic!("a datagram socket was closed twice") };
    }
}
