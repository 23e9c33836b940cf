//! Windows: the reactor receives and sends, and reports completion. Listeners and datagram sockets are reported when
//! connections or datagrams wait.

use std::ffi::{c_int, c_void};
use std::net::{SocketAddr, SocketAddrV6};

use dolmen::raw::Record;
use dolmen::raw::{PollId, ReactorApi, Readiness};
use dolmen::{CloseReason, ConnId, Token};

use super::{Attempt, StreamOf, borrow, events, interest};
use crate::boundary::Failure;
use crate::marks::{Mark, mark};
use crate::platform::Platform;
use crate::reactor::{Inner, Synthetic};
use crate::room::Origin;
use crate::sink::Sink;
use crate::types::*;

pub(crate) enum Socket {
    /// A listener, or a datagram socket: a datagram is useless without the address that only the caller's own call
    /// returns.
    Arrivals(PollId),
    Connected(Box<Connected>),
}

pub(crate) struct Connected {
    conn: ConnId,
    /// Polls for room to write; made by the first request, and dormant in between.
    room: Option<PollId>,
    /// Where the caller wants the next bytes, and how many at most.
    target: Option<(*mut c_void, usize)>,
    /// Received and not delivered: the caller's buffer was too small.
    leftover: Vec<u8>,
    /// The end was reported.
    ended: bool,
    attempt: Attempt,
}

/// The interest of a request for room to write.
const ROOM: Readiness = Readiness::WRITABLE;

impl<P: Platform<Socket = Self>> super::Socket<P> for Socket {
    const BLOCKS_ONCE: bool = false;
    const COMPLETES: bool = true;

    fn is_valid(fd: socket_fd_t) -> bool {
        // INVALID_SOCKET
        fd != !0
    }

    fn register(
        _platform: &P,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
        known: bool,
    ) -> Result<Socket, Failure> {
        let socket = borrow(fd);
        if !reactor.is_stream(socket)? {
            if known {
                return Err(Failure::registered(fd));
            }
            return Ok(Socket::Arrivals(reactor.add_poll(socket, Readiness::READABLE, false, token)?));
        }
        // The system refuses a socket that it has associated already. That may be an earlier registration of this
        // socket, which is fine, unless the socket is still registered.
        let receive = interest(events).contains(Readiness::READABLE);
        let conn = reactor.adopt(socket, !known, receive, token)?;
        // No send has met a full socket yet, so room to write is not reported: the reference does not report it either.
        Ok(Socket::Connected(Box::new(Connected::new(conn, Attempt::Over))))
    }

    fn connect(
        _platform: &P,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        address: &[u8],
        token: Token,
        known: bool,
    ) -> Result<Socket, Failure> {
        let address =
            socket_address(address).ok_or_else(|| Failure::new("neither an IPv4 nor an IPv6 address"))?;
        let conn = reactor.connect_adopted(borrow(fd), address, !known, token)?;
        Ok(Socket::Connected(Box::new(Connected::new(conn, Attempt::Begun))))
    }

    fn add_connected(
        &mut self,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
    ) -> Result<bool, Failure> {
        let Socket::Connected(connected) = self else { return Ok(false) };
        // The number may belong to another socket by now.
        if connected.attempt != Attempt::Connected || !reactor.is_stream(borrow(fd))? {
            return Ok(false);
        }
        if interest(events).contains(Readiness::READABLE) {
            reactor.post_receive(connected.conn)?;
        }
        connected.attempt = Attempt::Over;
        Ok(true)
    }

    /// A socket of another kind is another socket. Of two connected ones the system does not provide this, but refuses to
    /// register a socket twice.
    fn is_same(&self, _platform: &P, reactor: &P::Reactor, fd: socket_fd_t) -> Option<bool> {
        let is_stream = reactor.is_stream(borrow(fd)).ok()?;
        match self {
            Socket::Arrivals(poll) if !is_stream => reactor.is_same_socket(*poll),
            Socket::Connected(_) if is_stream => None,
            _ => Some(false),
        }
    }

    fn modify(
        &mut self,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
    ) -> Result<(), Failure> {
        let Socket::Connected(connected) = self else { return Ok(()) };
        // A request for room would be a second event of the attempt.
        if connected.attempt.check().is_err() {
            return Ok(());
        }
        let asked = if interest(events).contains(ROOM) {
            connected.ask_for_room(reactor, fd, token)
        } else {
            connected.room.map_or(Ok(()), |room| Ok(reactor.set_interest(room, Readiness::NONE)?))
        };
        // This call always returns 0, as the reference does.
        if let Err(failure) = asked {
            tracing::warn!(target: "io_reactor", fd, %failure, "cannot wait for room to write");
        }
        Ok(())
    }

    fn modify_unknown(_fd: socket_fd_t) -> Result<(), Failure> {
        Ok(())
    }

    fn remove_unknown(fd: socket_fd_t) -> Result<(), Failure> {
        if <Socket as super::Socket<P>>::is_valid(fd) { Ok(()) } else { Err(Failure::new("not a socket")) }
    }

    fn deregister(self, reactor: &mut P::Reactor) {
        match self {
            Socket::Arrivals(poll) => {
                reactor.remove_poll(poll);
            }
            Socket::Connected(connected) => {
                reactor.remove_adopted(connected.conn);
                connected.room.map(|room| reactor.remove_poll(room));
            }
        }
    }

    fn post_read(
        inner: &mut Inner<P>,
        slot: Option<usize>,
        (buffer, len): (*mut c_void, usize),
    ) -> Result<(), Failure> {
        let slot = slot.ok_or_else(not_registered)?;
        let connected = connected(inner, slot).ok_or_else(not_connected)?;
        connected.attempt.check()?;
        let target = (!buffer.is_null() && len > 0).then_some((buffer, len));
        let conn = connected.conn;
        if connected.ended {
            return Err(Failure::new("the connection has ended"));
        }
        if !connected.leftover.is_empty() {
            connected.target = target;
            let leftover = Synthetic::Leftover(slot);
            if !inner.synthetic.contains(&leftover) {
                inner.synthetic.push_back(leftover);
            }
            return Ok(());
        }
        // A receive in flight remains the only one, but its bytes are copied to the caller's latest buffer [hc33].
        if target.is_some() {
            connected.target = target;
        }
        inner.reactor.post_receive(conn)?;
        Ok(())
    }

    fn post_write(inner: &mut Inner<P>, slot: Option<usize>, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Err(Failure::new("nothing to send"));
        }
        let connected = connected(inner, slot.ok_or_else(not_registered)?).ok_or_else(not_connected)?;
        connected.attempt.check()?;
        let conn = connected.conn;
        inner.reactor.post_send(conn, bytes)?;
        Ok(())
    }

    fn deliver(inner: &mut Inner<P>, record: &Record<StreamOf<P>>, sink: &mut Sink<'_>) {
        match *record {
            Record::Polled { token, ready, .. } => {
                let Some(registration) = inner.socket_at(token.0) else { return };
                let event = match registration.socket {
                    // A poll for room finds the end as well, but the receive reports that. With or without room, a send
                    // does not block.
                    Socket::Connected(_) => EVENT_WRITE,
                    _ => events(ready),
                };
                sink.event(inner.origin(token.0), event);
            }
            Record::Received { token, ref buffer, .. } => received(inner, token.0, buffer.as_slice(), sink),
            Record::Written { token, bytes, .. } if inner.socket_at(token.0).is_some() => {
                sink.counted(inner.origin(token.0), EVENT_WRITE, bytes as u64);
            }
            Record::Connected { token, .. } => {
                let origin = inner.origin(token.0);
                let Some(connected) = connected(inner, token.0) else { return };
                connected.attempt = Attempt::Connected;
                sink.event(origin, EVENT_WRITE);
            }
            Record::EndOfStream { token, .. } => end(inner, token.0, EVENT_CLOSE, sink),
            Record::Closed { token, ref reason, .. } => {
                let connecting = connected(inner, token.0).is_some_and(Connected::fail_attempt);
                match reason {
                    &CloseReason::Failed { code } if connecting => {
                        sink.counted(inner.origin(token.0), EVENT_ERROR, u64::from(code.unsigned_abs()));
                    }
                    _ if connecting => sink.event(inner.origin(token.0), EVENT_ERROR),
                    _ => end(inner, token.0, close_event(reason), sink),
                }
            }
            _ => {}
        }
    }

    /// As far as they fit into the caller's buffer.
    fn deliver_leftover(inner: &mut Inner<P>, slot: usize, sink: &mut Sink<'_>) {
        let origin = inner.origin(slot);
        let Some(connected) = connected(inner, slot) else { return };
        let bytes = std::mem::take(&mut connected.leftover);
        mark(Mark::LeftoverDelivered);
        match connected.target.take() {
            Some(target) => connected.fill(target, &bytes, origin, sink),
            None => sink.lend(origin, bytes),
        }
    }

    /// Not for the caller to say here.
    fn wants_connections(&self) -> bool {
        true
    }

    fn mute(&mut self, reactor: &mut P::Reactor, muted: bool) -> Result<(), Failure> {
        let interest = if muted { Readiness::NONE } else { Readiness::READABLE };
        match self {
            Socket::Arrivals(poll) => Ok(reactor.set_interest(*poll, interest)?),
            Socket::Connected(_) => Ok(()),
        }
    }
}

impl Connected {
    fn new(conn: ConnId, attempt: Attempt) -> Connected {
        let (room, target, leftover) = (None, None, Vec::new());
        Connected { conn, room, target, leftover, ended: false, attempt }
    }

    /// The connection has ended. True if it was an attempt, which has failed.
    fn fail_attempt(&mut self) -> bool {
        let connecting = self.attempt == Attempt::Begun;
        if connecting {
            self.attempt = Attempt::Failed;
        }
        connecting
    }

    fn ask_for_room(
        &mut self,
        reactor: &mut impl ReactorApi,
        fd: socket_fd_t,
        token: Token,
    ) -> Result<(), Failure> {
        match self.room {
            Some(room) => reactor.set_interest(room, ROOM)?,
            None => self.room = Some(reactor.add_poll(borrow(fd), ROOM, true, token)?),
        }
        Ok(())
    }
}

fn connected<P: Platform<Socket = Socket>>(inner: &mut Inner<P>, slot: usize) -> Option<&mut Connected> {
    match &mut inner.socket_at_mut(slot)?.socket {
        Socket::Connected(connected) => Some(connected),
        Socket::Arrivals(_) => None,
    }
}

fn received<P: Platform<Socket = Socket>>(
    inner: &mut Inner<P>,
    slot: usize,
    data: &[u8],
    sink: &mut Sink<'_>,
) {
    let origin = inner.origin(slot);
    let Some(connected) = connected(inner, slot) else { return };
    // The engine receives only on request, and there is no request while bytes are left over.
    assert!(connected.leftover.is_empty(), "received behind bytes that are left over");
    match connected.target.take() {
        Some(target) => connected.fill(target, data, origin, sink),
        None => sink.in_engine(origin, data),
    }
}

impl Connected {
    /// Copies bytes into the caller's buffer, and keeps those that do not fit [hc34].
    fn fill(
        &mut self,
        (target, len): (*mut c_void, usize),
        bytes: &[u8],
        origin: Origin,
        sink: &mut Sink<'_>,
    ) {
        let count = len.min(bytes.len());
        // SAFETY: the caller of io_reactor_post_read guarantees `len` writable bytes until this event, which rules out
        // the buffer of an earlier event: that one ends with the wait that brings this.
        unsafe { target.cast::<u8>().copy_from(bytes.as_ptr(), count) };
        self.leftover = bytes[count..].to_vec();
        if !self.leftover.is_empty() {
            mark(Mark::LeftoverKept);
        }
        sink.in_callers(origin, target, count);
    }
}

/// Reports the end, once, and behind all received bytes.
fn end<P: Platform<Socket = Socket>>(inner: &mut Inner<P>, slot: usize, event: c_int, sink: &mut Sink<'_>) {
    let origin = inner.origin(slot);
    let Some(connected) = connected(inner, slot) else { return };
    if std::mem::replace(&mut connected.ended, true) {
        return;
    }
    if connected.leftover.is_empty() {
        return sink.event(origin, event);
    }
    mark(Mark::EndBehindLeftover);
    connected.target = None;
    inner.synthetic.retain(|synthetic| *synthetic != Synthetic::Leftover(slot));
    inner.synthetic.push_back(Synthetic::Leftover(slot));
    inner.synthetic.push_back(Synthetic::End(slot, event));
}

fn close_event(reason: &CloseReason) -> c_int {
    // ERROR_OPERATION_ABORTED: the result of a receive that another CancelIoEx has cancelled.
    const OPERATION_ABORTED: i32 = 995;
    match reason {
        CloseReason::Failed { code: OPERATION_ABORTED } => EVENT_CLOSE,
        CloseReason::Failed { .. } => EVENT_ERROR,
        _ => EVENT_CLOSE,
    }
}

/// Reads a `sockaddr_in` or a `sockaddr_in6`, as Winsock has them.
fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 23;
    let two = |at: usize| <[u8; 2]>::try_from(bytes.get(at..at + 2)?).ok();
    let four = |at: usize| <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok();
    let port = u16::from_be_bytes(two(2)?);
    match u16::from_ne_bytes(two(0)?) {
        AF_INET if bytes.len() >= 16 => Some(SocketAddr::from((four(4)?, port))),
        AF_INET6 => {
            let ip = <[u8; 16]>::try_from(bytes.get(8..24)?).ok()?;
            let (flow, scope) = (u32::from_ne_bytes(four(4)?), u32::from_ne_bytes(four(24)?));
            Some(SocketAddrV6::new(ip.into(), port, flow, scope).into())
        }
        _ => None,
    }
}

fn not_registered() -> Failure {
    Failure::new("the socket is not registered")
}

fn not_connected() -> Failure {
    Failure::new("a listening socket has no bytes, and datagrams are received and sent by the caller")
}
