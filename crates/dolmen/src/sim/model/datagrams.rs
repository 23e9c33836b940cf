//! Datagram sockets: every datagram that is delivered was sent by a peer, whole unless it says otherwise, and as often as
//! the network has carried it; every datagram that was queued is sent whole and in order, or a failure was reported.

use std::net::SocketAddr;

use super::*;
use crate::kernel::sim::world::{Faults, SimUdp};
use crate::token::UdpId;

/// The most that one wait delivers of a socket.
const MOST_IN_A_WAIT: usize = 16;

/// What a datagram takes of its queue besides its bytes.
const ADDRESS_BYTES: usize = size_of::<SocketAddr>();

pub(super) struct Udp {
    id: UdpId,
    port: usize,
    open: bool,
    /// The datagrams for it, by number.
    inbound: Vec<Inbound>,
    delivered: u64,
    /// The lengths of the datagrams that `send_to` has taken, by number.
    accepted: Vec<usize>,
    /// How many of these the system has taken, or passed over.
    past: usize,
    /// How many of these it has passed over.
    lost: u64,
    /// How much of the world's record of what it has taken is checked.
    checked: usize,
    /// Events of the wait that is being handled.
    in_this_wait: usize,
    failed_in_this_wait: usize,
    failures: u64,
}

struct Inbound {
    len: usize,
    /// How many copies of it have arrived and were not delivered.
    copies: u32,
}

fn token(port: usize) -> Token {
    Token(6000 + port)
}

fn address(number: usize) -> SocketAddr {
    let [_, high, middle, low] = (number as u32).to_be_bytes();
    SocketAddr::from(([10, high, middle, low], 4404))
}

fn number(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { return usize::MAX };
    let [_, high, middle, low] = address.ip().octets();
    u32::from_be_bytes([0, high, middle, low]) as usize
}

/// The contents of a datagram.
fn contents(port: usize, outbound: bool, number: usize, len: usize) -> Vec<u8> {
    bytes((1 << 20) + port, outbound, 1_000 * number as u64, len)
}

impl Run<'_> {
    pub(super) fn add_udp(&mut self) {
        if self.udps.iter().filter(|udp| udp.open).count() >= 3 {
            return;
        }
        let (socket, port) = SimUdp::open(&self.world);
        let id = self.engine.udp(socket, token(port)).expect("it must succeed");
        self.udps.push(Udp {
            id,
            port,
            open: true,
            inbound: Vec::new(),
            delivered: 0,
            accepted: Vec::new(),
            past: 0,
            lost: 0,
            checked: 0,
            in_this_wait: 0,
            failed_in_this_wait: 0,
            failures: 0,
        });
    }

    fn open_udp(&self, who: u32) -> Option<usize> {
        let open: Vec<usize> = (0..self.udps.len()).filter(|&at| self.udps[at].open).collect();
        (!open.is_empty()).then(|| open[who as usize % open.len()])
    }

    pub(super) fn remove_udp(&mut self, who: u32) -> Check {
        let count = self.udps.len();
        let Some(udp) = self.udps.get_mut(who as usize % count.max(1)) else { return Ok(()) };
        let open = std::mem::replace(&mut udp.open, false);
        let id = udp.id;
        let known = self.engine.remove_udp(id);
        self.check(Oracle::Stale, known == open, || "a datagram socket was removed twice".into())?;
        let sent = self.engine.send_to(id, b"x", address(0)).map_err(|error| error.kind());
        self.check(Oracle::Stale, sent == Err(ErrorKind::NotFound), || {
            format!("a send on a datagram socket that is gone returned {sent:?}")
        })
    }

    /// A peer sends a datagram.
    pub(super) fn peer_datagram(&mut self, who: u32, len: usize) {
        let Some(at) = self.open_udp(who) else { return };
        let udp = &mut self.udps[at];
        let number = udp.inbound.len();
        let data = contents(udp.port, false, number, len);
        let copies = self.world.borrow_mut().carry(udp.port, address(number), &data);
        udp.inbound.push(Inbound { len, copies });
    }

    /// The network takes no datagrams for a while, or takes them again.
    pub(super) fn set_full(&mut self, who: u32, full: bool) {
        if let Some(at) = self.open_udp(who) {
            self.world.borrow_mut().ports[self.udps[at].port].full = full;
        }
    }

    pub(super) fn send_datagram(&mut self, who: u32, len: usize) -> Check {
        let Some(at) = self.open_udp(who) else { return Ok(()) };
        // A flush may have sent some.
        self.check_datagrams_sent()?;
        let udp = &mut self.udps[at];
        let number = udp.accepted.len();
        let data = contents(udp.port, true, number, len);
        let result = self.engine.send_to(udp.id, &data, address(number)).map_err(|error| error.kind());
        let taken = |lens: &[usize]| lens.iter().map(|len| len + ADDRESS_BYTES).sum::<usize>();
        let (waiting, more) = (taken(&udp.accepted[udp.past..]), len + ADDRESS_BYTES);
        // The engine may not know yet that the last one has been taken.
        let most = taken(&udp.accepted[udp.past.saturating_sub(1)..]);
        let failed = self.world.borrow().ports[udp.port].failed_sends > 0;
        if result.is_ok() {
            udp.accepted.push(len);
        }
        let high = self.config.high_water_bytes;
        let right = match result {
            Ok(()) => waiting + more <= high || failed,
            Err(ErrorKind::TooLarge) => more > high,
            Err(ErrorKind::QueueFull) => most + more > high && more <= high,
            Err(_) => false,
        };
        self.check(Oracle::Bounds, right, || {
            format!("a datagram of {len} bytes beside {waiting} to {most} queued ones: {result:?}")
        })
    }

    pub(super) fn datagram(
        &mut self,
        id: UdpId,
        of: Token,
        from: SocketAddr,
        data: &[u8],
        truncated: bool,
    ) -> Check {
        let Some(udp) = self.udps.iter_mut().find(|udp| udp.id == id && udp.open) else {
            return self.fail(Oracle::Stale, || "a datagram of a socket that is gone".into());
        };
        (udp.in_this_wait, udp.delivered) = (udp.in_this_wait + 1, udp.delivered + 1);
        let (port, number, in_this_wait) = (udp.port, number(from), udp.in_this_wait);
        self.check(Oracle::Bounds, in_this_wait <= MOST_IN_A_WAIT, || {
            format!("{in_this_wait} datagrams of a socket in one wait")
        })?;
        let udp = self.udps.iter_mut().find(|udp| udp.id == id).expect("it was just found");
        let Some(known) = udp.inbound.get_mut(number) else {
            return self.fail(Oracle::Stream, || format!("a datagram from {from}, who has sent none"));
        };
        let (len, arrived) = (known.len, known.copies > 0);
        known.copies = known.copies.saturating_sub(1);
        self.check(Oracle::Stream, arrived && of == token(port), || {
            format!("datagram {number} was delivered more often than it has arrived")
        })?;
        let room = self.config.buffer_bytes;
        let right = if truncated { data.len() < len && data.len() >= room } else { data.len() == len };
        let right = right && data == &contents(port, false, number, len)[..data.len()];
        self.check(Oracle::Stream, right, || {
            format!("{} of the {len} bytes of datagram {number}, truncated: {truncated}", data.len())
        })?;
        if !self.calm && self.rng.percent(30) {
            let at = self.udps.iter().position(|udp| udp.id == id).unwrap_or_default();
            // By its rank among the open ones.
            let who = self.udps[..at].iter().filter(|udp| udp.open).count();
            self.send_datagram(who as u32, len)?;
        }
        Ok(())
    }

    pub(super) fn udp_failed(&mut self, id: UdpId) -> Check {
        let Some(udp) = self.udps.iter_mut().find(|udp| udp.id == id && udp.open) else {
            return self.fail(Oracle::Stale, || "a failure of a datagram socket that is gone".into());
        };
        (udp.failed_in_this_wait, udp.failures) = (udp.failed_in_this_wait + 1, udp.failures + 1);
        let (in_this_wait, failures) = (udp.failed_in_this_wait, udp.failures);
        let caused = self.world.borrow().ports[udp.port].failures;
        self.check(Oracle::Order, in_this_wait == 1 && failures <= caused, || {
            format!("{failures} failures of {caused} reported, {in_this_wait} of them in one wait")
        })
    }

    pub(super) fn prepare_udp_wait(&mut self) {
        for udp in &mut self.udps {
            (udp.in_this_wait, udp.failed_in_this_wait) = (0, 0);
        }
    }

    /// What the system has taken since the last wait is what was queued, in order. A datagram that is missing has failed
    /// twice.
    pub(super) fn check_datagrams_sent(&mut self) -> Check {
        let buffers = self.engine.stats().buffers_out;
        // Of each connection one that is lent and one that waits.
        let most = MOST_IN_A_WAIT * self.udps.len() + 2 * self.conns.len() + self.capacity;
        self.check(Oracle::Bounds, self.udps.is_empty() || buffers <= most, || {
            format!("{buffers} buffers are out, and not {most}")
        })?;
        for at in 0..self.udps.len() {
            let udp = &mut self.udps[at];
            let world = self.world.borrow();
            let port = &world.ports[udp.port];
            let mut wrong = None;
            for (to, data) in &port.outbound[udp.checked..] {
                let number = number(*to);
                let known = udp.accepted.get(number).filter(|_| number >= udp.past);
                if known.is_none_or(|&len| *data != contents(udp.port, true, number, len)) {
                    wrong = Some(number);
                    break;
                }
                udp.lost += (number - udp.past) as u64;
                udp.past = number + 1;
            }
            udp.checked = port.outbound.len();
            let (lost, failed) = (udp.lost, port.failed_sends);
            drop(world);
            self.check(Oracle::Stream, wrong.is_none(), || {
                format!("datagram {wrong:?} was sent twice, late or with other bytes")
            })?;
            self.check(Oracle::Stream, 2 * lost <= failed, || {
                format!("{lost} datagrams were dropped after {failed} failed sends")
            })?;
        }
        Ok(())
    }

    /// The sockets for which datagrams wait, and how many each has delivered.
    pub(super) fn waiting_udps(&self, faults: Faults) -> Vec<(usize, u64)> {
        let world = self.world.borrow();
        let waits = |udp: &Udp| udp.open && !world.ports[udp.port].inbound.is_empty();
        // None that pauses.
        let any = faults.no_memory == 0 && faults.network.unreachable == 0;
        let udps = self.udps.iter().enumerate().filter(|(_, udp)| any && waits(udp));
        udps.map(|(at, udp)| (at, udp.delivered)).collect()
    }

    pub(super) fn flood_udps(&mut self) {
        for who in 0..3 {
            let Some(at) = self.open_udp(who) else { return };
            let waiting = self.world.borrow().ports[self.udps[at].port].inbound.len();
            for len in waiting..MOST_IN_A_WAIT {
                self.peer_datagram(who, len);
            }
        }
    }

    pub(super) fn check_udps_served(&self, waiting: &[(usize, u64)], turns: usize) -> Check {
        for &(at, delivered) in waiting {
            let udp = &self.udps[at];
            self.check(Oracle::Fairness, udp.delivered > delivered || !udp.open, || {
                format!("{:?} had datagrams waiting and was not served within {turns} waits", udp.id)
            })?;
        }
        Ok(())
    }

    pub(super) fn heal_network(&mut self) {
        self.world.borrow_mut().ports.iter_mut().for_each(|port| port.full = false);
    }

    pub(super) fn check_datagrams_delivered(&self) -> Check {
        for udp in self.udps.iter().filter(|udp| udp.open) {
            let id = udp.id;
            let left: u32 = udp.inbound.iter().map(|datagram| datagram.copies).sum();
            self.check(Oracle::Liveness, left == 0, || {
                format!("{left} datagrams of {id:?} were not delivered")
            })?;
            let world = self.world.borrow();
            let port = &world.ports[udp.port];
            let lost = udp.lost + (udp.accepted.len() - udp.past) as u64;
            self.check(Oracle::Liveness, 2 * lost <= port.failed_sends, || {
                format!("{lost} datagrams of {id:?} were not sent")
            })?;
            self.check(Oracle::Liveness, port.failures == 0 || udp.failures > 0, || {
                format!("no failure of {id:?} was reported")
            })?;
        }
        Ok(())
    }

    pub(super) fn remove_udps(&mut self) -> Check {
        (0..self.udps.len() as u32).try_for_each(|at| self.remove_udp(at))
    }
}
