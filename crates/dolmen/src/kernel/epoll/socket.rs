//! The socket calls: each is made once, or again after an interruption, and never waits.
//!
//! # When a short receive means that the socket is empty
//!
//! A receive that fills less than its buffer saves the call that would return EAGAIN, if two things hold: it ended
//! because nothing was left, and whatever arrives after the wait has looked at the socket makes another edge. The
//! second is epoll's own: each arrival puts the socket on the list that the next wait goes through, even one that
//! arrives while the wait goes through that list. So only the state at that look matters, and the look reports
//! everything that could end a receive early:
//!
//! * TCP, urgent data: a receive stops in front of the mark, with `SO_OOBINLINE` too. A mark whose byte has arrived is
//!   reported as EPOLLPRI, and one whose byte has not arrived stops nothing. After EPOLLPRI every receive is followed
//!   by another until EAGAIN (`urgent`). (The system forgets to report a mark whose byte another owner of the socket
//!   receives with `MSG_OOB`: no other owner may do that while the reactor uses the socket.)
//! * TCP, the end: a receive stops at FIN, for which no further edge will come. The system reports it as EPOLLRDHUP,
//!   and a reset as EPOLLHUP and EPOLLERR (`hangup`).
//! * TCP, everything else: segments, spliced pages and the backlog do not end a receive, it continues through the
//!   queue; segments in the backlog arrive, with an edge, when the receive releases the socket. `SO_RCVLOWAT` is a
//!   condition of the edge, not of the receive. Memory pressure drops segments before they are in the queue. A socket
//!   in repair mode receives nothing. Records of kernel TLS each make an edge when they are complete.
//! * Unix streams end a receive after passed descriptors, where the writer's credentials change (`SO_PASSCRED`) and at
//!   an urgent byte; SCTP at a message; other protocols have their own rules. For those a short receive proves nothing
//!   (`plain`): they are read until EAGAIN.
//!
//! A short send means that the socket is full whatever the protocol: nothing else ends one without an error.
//!
//! Manual pages: recv(2), send(2), accept4(2), tcp(7), unix(7), sockatmark(3).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::super::{Fault, FaultKind, Outcome};
use super::{Epoll, fault};
use crate::kernel::buffer_pool::BufferPool;

/// Refuses a socket that is not a stream socket, and one that is listening if `listening` is false or the other way
/// round: epoll would accept it, and the failure would come later, as a different one [p16].
pub(super) fn check(fd: BorrowedFd<'_>, listening: bool, calls: &mut u64) -> Result<(), Fault> {
    let invalid = |errno: Errno| Fault { kind: FaultKind::Invalid, code: errno.raw_os_error() };
    *calls += 1;
    // The protocol is not enough: raw sockets have that of TCP as well.
    if rustix::net::sockopt::socket_type(fd).map_err(fault)? != SocketType::STREAM {
        return Err(invalid(Errno::PROTOTYPE));
    }
    *calls += 1;
    let listens = rustix::net::sockopt::socket_acceptconn(fd).map_err(fault)?;
    if listens != listening {
        return Err(invalid(Errno::INVAL));
    }
    // The peers of a listener are reported by their IP addresses.
    if listening {
        *calls += 1;
        let family = rustix::net::sockopt::socket_domain(fd).map_err(fault)?;
        if !matches!(family, AddressFamily::INET | AddressFamily::INET6) {
            return Err(invalid(Errno::AFNOSUPPORT));
        }
    }
    Ok(())
}

/// The time is rounded up to seconds, up to the longest that the system takes: tcp(7), `TCP_KEEPIDLE`.
pub(crate) fn set_keepalive(stream: &TcpStream, after: Option<Duration>) -> io::Result<()> {
    if let Some(after) = after {
        let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        rustix::net::sockopt::set_tcp_keepidle(stream, Duration::from_secs(seconds.clamp(1, 32_767)))?;
    }
    Ok(rustix::net::sockopt::set_socket_keepalive(stream, after.is_some())?)
}

/// Whether a stream uses TCP.
pub(super) fn is_tcp(fd: BorrowedFd<'_>, calls: &mut u64) -> bool {
    *calls += 1;
    rustix::net::sockopt::socket_protocol(fd) == Ok(Some(ipproto::TCP))
}

/// What the edges of a source have reported, as far as it is not handled yet.
pub(super) struct Edges {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The end of the stream, or an error, is known to follow the bytes.
    hangup: bool,
    /// Urgent data may end a receive early.
    urgent: bool,
    /// Only the end and urgent data end a receive early: TCP.
    pub(super) plain: bool,
}

impl Edges {
    pub(super) const NONE: Edges =
        Edges { readable: false, writable: false, hangup: false, urgent: false, plain: false };

    pub(super) fn add(&mut self, flags: EventFlags) {
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.hangup |= ended;
        self.urgent |= flags.contains(EventFlags::PRI);
        self.readable |= ended || flags.contains(EventFlags::IN);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
    }

    /// Whether a receive that did not fill its buffer has emptied the socket, and not stopped in front of urgent data
    /// or the end [hc39]; see the [module documentation](self).
    fn short_is_empty(&self) -> bool {
        self.plain && !self.hangup && !self.urgent
    }

    /// A receive has found nothing.
    pub(super) fn emptied(&mut self) {
        (self.readable, self.hangup, self.urgent) = (false, false, false);
    }
}

/// Tries to receive into a buffer from the pool; returns `None` when there was nothing after all.
pub(super) fn receive_now(
    fd: &TcpStream,
    edges: &mut Edges,
    pool: &BufferPool,
    calls: &mut u64,
) -> Option<Result<Outcome<Epoll>, Fault>> {
    let mut buffer = pool.take();
    let (target, room) = buffer.as_target();
    let received = loop {
        *calls += 1;
        // SAFETY: the buffer is ours alone until it moves into the packet, and has `room` bytes at `target`. They may be uninitialised, which is why the slice is one of `MaybeUninit`.
        let room =
            unsafe { std::slice::from_raw_parts_mut(target.cast::<std::mem::MaybeUninit<u8>>(), room) };
        match rustix::net::recv(fd, room, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            Ok((_, received)) => break Ok(received),
            Err(errno) => break Err(errno),
        }
    };
    match received {
        Ok(0) => Some(Ok(Outcome::EndOfStream)),
        Ok(bytes) => {
            if bytes < room && edges.short_is_empty() {
                edges.readable = false;
            }
            // SAFETY: recv has written that many bytes at `target`.
            unsafe { buffer.set_filled(bytes) };
            Some(Ok(Outcome::Received(buffer)))
        }
        Err(Errno::AGAIN) => {
            edges.emptied();
            None
        }
        Err(errno) => Some(Err(fault(errno))),
    }
}

/// Tries to send; returns `None` when the socket takes nothing now.
pub(super) fn send_now(
    fd: &TcpStream,
    bytes: &[u8],
    edges: &mut Edges,
    calls: &mut u64,
) -> Option<Result<usize, Fault>> {
    loop {
        *calls += 1;
        match rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => {
                // Less than all: the socket is full, and an edge will report when it is not [hc18].
                edges.writable = sent == bytes.len();
                return Some(Ok(sent));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                edges.writable = false;
                return None;
            }
            Err(errno) => return Some(Err(fault(errno))),
        }
    }
}

pub(super) fn accept_one(listener: &TcpListener, calls: &mut u64) -> Result<(TcpStream, SocketAddr), Errno> {
    loop {
        *calls += 1;
        // Without NONBLOCK it blocks: an accepted socket inherits no flags from its listener on Linux [hc08].
        match rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC) {
            Ok((fd, Some(address))) => {
                // Only TCP listeners come here, so the family is one of two.
                let peer = SocketAddr::try_from(address).map_err(|_| Errno::AFNOSUPPORT)?;
                return Ok((TcpStream::from(fd), peer));
            }
            Ok((_, None)) => return Err(Errno::CONNABORTED),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
