//! Datagram sockets: one call for each datagram, which never waits.
//!
//! Each arrival makes an edge, and so does a failure; a socket is read until EAGAIN, within the receives that are posted.
//! `MSG_TRUNC` makes the call return the length of the datagram, whatever the room. A short read proves nothing here: the
//! next datagram is behind it.
//!
//! A failure that the network reports (ICMP) is stored in the socket, and the next call, a receive or a send, returns it
//! instead of doing anything. It ends nothing. An unconnected socket gets none, unless the caller has set `IP_RECVERR`.
//!
//! Manual pages: udp(7), ip(7), recv(2), send(2), socket(7).

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use super::super::operation::{OpPtr, bytes_to_send};
use super::super::{Fault, FaultKind, Outcome, Packet, Submission};
use super::fault::{fault, io_fault};
use super::socket::Edges;
use super::{BufferPool, Epoll};

pub(super) struct UdpEntry {
    pub(super) fd: UdpSocket,
    pub(super) receives: VecDeque<OpPtr<Epoll>>,
    /// The send that waits for room, and its destination.
    send: Option<(OpPtr<Epoll>, SocketAddr)>,
}

/// Refuses what is not a bound datagram socket of the internet: a receive from it would fail again and again [p16].
pub(super) fn check(socket: &UdpSocket, calls: &mut u64) -> Result<(), Fault> {
    let invalid = |errno: Errno| Fault { kind: FaultKind::Invalid, code: errno.raw_os_error() };
    *calls += 2;
    if rustix::net::sockopt::socket_type(socket).map_err(fault)? != SocketType::DGRAM {
        return Err(invalid(Errno::PROTOTYPE));
    }
    match socket.local_addr() {
        Ok(address) if address.port() == 0 => Err(invalid(Errno::INVAL)),
        Ok(_) => Ok(()),
        Err(error) => Err(Fault { kind: FaultKind::Invalid, ..io_fault(&error) }),
    }
}

impl UdpEntry {
    pub(super) fn new(fd: UdpSocket) -> UdpEntry {
        UdpEntry { fd, receives: VecDeque::with_capacity(<Epoll as super::Kernel>::DATAGRAMS), send: None }
    }

    pub(super) fn is_ready(&self, edges: &Edges) -> bool {
        (edges.readable && !self.receives.is_empty()) || (edges.writable && self.send.is_some())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.receives.is_empty() && self.send.is_none()
    }

    pub(super) fn take_back(&mut self, op: OpPtr<Epoll>) -> bool {
        if self.send.take_if(|send| send.0 == op).is_some() {
            return true;
        }
        let at = self.receives.iter().position(|&waiting| waiting == op);
        at.and_then(|at| self.receives.remove(at)).is_some()
    }

    /// Sends a datagram, or keeps it until there is room.
    ///
    /// # Safety
    ///
    /// The operation has just been submitted.
    pub(super) unsafe fn send(
        &mut self,
        op: OpPtr<Epoll>,
        to: SocketAddr,
        edges: &mut Edges,
        calls: &mut u64,
    ) -> Submission<Epoll> {
        assert!(self.send.is_none(), "two sends on one datagram socket");
        if edges.writable {
            // SAFETY: passed on.
            match unsafe { send_now(&self.fd, op, to, edges, calls) } {
                Some(Ok(outcome)) => return Submission::Done(outcome),
                Some(Err(fault)) => return Submission::Failed(fault),
                None => {}
            }
        }
        self.send = Some((op, to));
        Submission::Pending
    }

    /// Gives the socket its turn.
    ///
    /// # Safety
    ///
    /// The operations that it holds are pending.
    pub(super) unsafe fn serve(
        &mut self,
        edges: &mut Edges,
        packets: &mut Vec<Packet<Epoll>>,
        max: usize,
        pool: &BufferPool,
        calls: &mut u64,
    ) {
        while let Some(&op) = self.receives.front().filter(|_| edges.readable && packets.len() < max) {
            let Some(result) = receive_now(&self.fd, edges, pool, calls) else { break };
            self.receives.pop_front();
            packets.push(Packet { op, result });
        }
        let Some((op, to)) = self.send.filter(|_| edges.writable) else { return };
        // SAFETY: the send is pending, so the cell is ours.
        if let Some(result) = unsafe { send_now(&self.fd, op, to, edges, calls) } {
            self.send = None;
            packets.push(Packet { op, result });
        }
    }
}

/// Receives a datagram into a buffer from the pool; returns `None` when there is none.
fn receive_now(
    fd: &UdpSocket,
    edges: &mut Edges,
    pool: &BufferPool,
    calls: &mut u64,
) -> Option<Result<Outcome<Epoll>, Fault>> {
    let mut buffer = pool.take();
    let (target, room) = buffer.as_target();
    let received = loop {
        *calls += 1;
        // SAFETY: the buffer is ours alone until it moves into the packet, and has `room` bytes at `target`. They may be
        // uninitialised, which is why the slice is one of `MaybeUninit`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(target.cast::<MaybeUninit<u8>>(), room) };
        match rustix::net::recvfrom(fd, bytes, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Err(Errno::INTR) => {}
            Ok((_, length, from)) => break Ok((length, from)),
            Err(errno) => break Err(errno),
        }
    };
    let (length, from) = match received {
        Ok(received) => received,
        Err(Errno::AGAIN) => {
            edges.emptied();
            return None;
        }
        Err(errno) => return Some(Err(datagram_fault(errno))),
    };
    // SAFETY: recvfrom has written that many bytes at `target`.
    unsafe { buffer.set_filled(length.min(room)) };
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Some(match from {
        Some(from) => Ok(Outcome::Datagram { buffer, from, truncated: length > room }),
        // `check` has refused sockets of other families.
        None => Err(datagram_fault(Errno::AFNOSUPPORT)),
    })
}

/// Tries to send an operation's datagram; returns `None` when the socket takes nothing now.
///
/// # Safety
///
/// The kernel owns the operation.
unsafe fn send_now(
    fd: &UdpSocket,
    op: OpPtr<Epoll>,
    to: SocketAddr,
    edges: &mut Edges,
    calls: &mut u64,
) -> Option<Result<Outcome<Epoll>, Fault>> {
    // SAFETY: the cell is ours until its packet, and no other code changes the buffer meanwhile.
    let bytes = unsafe { &*bytes_to_send(op) };
    loop {
        *calls += 1;
        match rustix::net::sendto(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &to) {
            Ok(sent) => return Some(Ok(Outcome::Sent(sent))),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                edges.writable = false;
                return None;
            }
            Err(errno) => return Some(Err(datagram_fault(errno))),
        }
    }
}

/// The errors that the network reports for an earlier datagram are over when they have been returned [hc62].
fn datagram_fault(errno: Errno) -> Fault {
    let fault = fault(errno);
    match errno {
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::MSGSIZE | Errno::ACCESS => {
            Fault { kind: FaultKind::Transient, ..fault }
        }
        _ => fault,
    }
}
