//! Windows: the reactor receives and sends, and tells when that is done. Listeners and sockets of datagrams are told of
//! when something waits.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use dolmen::raw::{BorrowedSocket, PollId, Readiness};
use dolmen::{CloseReason, ConnId, Event, Reactor, Token};

use super::{events, interest};
use crate::boundary::Failure;
use crate::reactor::{Inner, Own, Sink};
use crate::types::*;

pub(crate) enum Socket {
    /// A listener, or a socket of datagrams, which are nothing without the address that only the caller's own call gets.
    Arrivals(PollId),
    Connected(Box<Connected>),
}

pub(crate) struct Connected {
    conn: ConnId,
    /// Asks for room to write; made by the first such wish, and dormant in between.
    room: Option<PollId>,
    /// Where the caller wants the next bytes, and how many at most.
    target: Option<(*mut c_void, usize)>,
    /// Received and not handed out: the caller's buffer was too small.
    leftover: Vec<u8>,
    /// The end was told of.
    ended: bool,
}

/// The interest of a request for room to write.
const ROOM: Readiness = Readiness::WRITABLE;

impl Socket {
    pub(crate) fn is_valid(fd: socket_fd_t) -> bool {
        // INVALID_SOCKET
        fd != socket_fd_t::MAX
    }

    /// `known`: a socket of that number is registered.
    pub(crate) fn register(
        reactor: &mut Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
        known: bool,
    ) -> Result<Socket, Failure> {
        let socket = borrow(fd);
        if !socket.is_stream()? {
            if known {
                return Err(Failure::new(format!("socket {fd} is registered already")));
            }
            return Ok(Socket::Arrivals(reactor.raw().add_poll(
                socket,
                Readiness::READABLE,
                false,
                token,
            )?));
        }
        // The system refuses a socket that it has associated already. That may be one that was here before; but not if
        // it still is.
        let receive = interest(events).contains(Readiness::READABLE);
        let conn = reactor.raw().adopt(socket, !known, receive, token)?;
        // Nobody has met a full socket yet, so room to write is no news: the reference tells of none either.
        let connected = Connected { conn, room: None, target: None, leftover: Vec::new(), ended: false };
        Ok(Socket::Connected(Box::new(connected)))
    }

    /// Whether the number still stands for this socket: the system does not say, but refuses to register one twice.
    pub(crate) fn is_same(&self, _fd: socket_fd_t) -> Option<bool> {
        None
    }

    pub(crate) fn modify(
        &mut self,
        reactor: &mut Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
    ) -> Result<c_int, Failure> {
        let Socket::Connected(connected) = self else { return Ok(0) };
        let asked = if interest(events).contains(ROOM) {
            connected.ask_for_room(reactor, fd, token)
        } else {
            connected.room.map_or(Ok(()), |room| Ok(reactor.raw().set_interest(room, Readiness::NONE)?))
        };
        // This call always answers 0, as the reference does.
        if let Err(failure) = asked {
            tracing::warn!(target: "io_reactor", fd, %failure, "cannot wait for room to write");
        }
        Ok(0)
    }

    pub(crate) fn modify_unknown(_fd: socket_fd_t) -> Result<c_int, Failure> {
        Ok(0)
    }

    pub(crate) fn deregister(self, reactor: &mut Reactor) {
        match self {
            Socket::Arrivals(poll) => {
                reactor.raw().remove_poll(poll);
            }
            Socket::Connected(connected) => {
                reactor.raw().release(connected.conn);
                connected.room.map(|room| reactor.raw().remove_poll(room));
            }
        }
    }

    pub(crate) fn post_read(
        inner: &mut Inner,
        slot: Option<usize>,
        (buffer, len): (*mut c_void, usize),
    ) -> Result<c_int, Failure> {
        let slot = slot.ok_or_else(not_registered)?;
        let connected = connected(inner, slot).ok_or_else(not_connected)?;
        let target = (!buffer.is_null() && len > 0).then_some((buffer, len));
        let conn = connected.conn;
        if connected.ended {
            return Err(Failure::new("the connection has ended"));
        }
        if !connected.leftover.is_empty() {
            connected.target = target;
            let own = Own::Leftover(slot);
            if !inner.own.contains(&own) {
                inner.own.push_back(own);
            }
            return Ok(0);
        }
        // A receive that is in flight stays the one and only, but its bytes go where the caller wants them by now.
        if target.is_some() {
            connected.target = target;
        }
        inner.reactor.raw().post_receive(conn)?;
        Ok(0)
    }

    pub(crate) fn post_write(inner: &mut Inner, slot: Option<usize>, bytes: &[u8]) -> Result<c_int, Failure> {
        if bytes.is_empty() {
            return Err(Failure::new("nothing to send"));
        }
        let connected = connected(inner, slot.ok_or_else(not_registered)?).ok_or_else(not_connected)?;
        let conn = connected.conn;
        inner.reactor.raw().post_send(conn, bytes)?;
        Ok(0)
    }

    pub(crate) fn deliver(inner: &mut Inner, event: Event<'_>, sink: &mut Sink<'_>) {
        match event {
            Event::Polled { token, ready, .. } => {
                if let Some(registration) = inner.socket_at(token.0) {
                    sink.push(io_event_t::plain(registration.context, events(ready)));
                }
            }
            Event::Received { token, data, .. } => received(inner, token.0, data, sink),
            Event::Written { token, bytes, .. } => {
                if let Some(registration) = inner.socket_at(token.0) {
                    let mut event = io_event_t::plain(registration.context, EVENT_WRITE);
                    event.bytes_transferred = c_int::try_from(bytes).unwrap_or(c_int::MAX);
                    sink.push(event);
                }
            }
            Event::EndOfStream { token, .. } => end(inner, token.0, EVENT_CLOSE, sink),
            Event::Closed { token, reason, .. } => end(inner, token.0, close_event(reason), sink),
            _ => {}
        }
    }

    pub(crate) fn deliver_own(inner: &mut Inner, own: Own, sink: &mut Sink<'_>) {
        match own {
            Own::Leftover(slot) => {
                let Some(connected) = connected(inner, slot) else { return };
                let bytes = std::mem::take(&mut connected.leftover);
                hand_out(inner, slot, &bytes, None, sink);
            }
            Own::End(slot, event) => {
                if let Some(registration) = inner.socket_at(slot) {
                    sink.push(io_event_t::plain(registration.context, event));
                }
            }
        }
    }
}

impl Connected {
    fn ask_for_room(&mut self, reactor: &mut Reactor, fd: socket_fd_t, token: Token) -> Result<(), Failure> {
        match self.room {
            Some(room) => reactor.raw().set_interest(room, ROOM)?,
            None => self.room = Some(reactor.raw().add_poll(borrow(fd), ROOM, true, token)?),
        }
        Ok(())
    }
}

fn borrow(fd: socket_fd_t) -> BorrowedSocket {
    // SAFETY: the header asks the caller to remove a socket before closing it.
    unsafe { BorrowedSocket::from_raw(fd as u64) }
}

fn connected(inner: &mut Inner, slot: usize) -> Option<&mut Connected> {
    match &mut inner.socket_at_mut(slot)?.socket {
        Socket::Connected(connected) => Some(connected),
        Socket::Arrivals(_) => None,
    }
}

fn received(inner: &mut Inner, slot: usize, data: &[u8], sink: &mut Sink<'_>) {
    let Some(connected) = connected(inner, slot) else { return };
    if connected.leftover.is_empty() {
        // The engine keeps these bytes where they are, with a zero behind them, until the next wait.
        hand_out(inner, slot, data, Some(data.as_ptr().cast_mut().cast()), sink);
    } else {
        // Behind what is left over. It was received without being asked for, as the end is near.
        connected.leftover.extend_from_slice(data);
    }
}

/// Hands out bytes as far as they fit where the caller wants them, and keeps the rest. `place`: where the bytes stay.
fn hand_out(inner: &mut Inner, slot: usize, bytes: &[u8], place: Option<*mut c_void>, sink: &mut Sink<'_>) {
    let Some(connected) = connected(inner, slot) else { return };
    let (buffer, count) = match connected.target.take() {
        Some((target, len)) => {
            let count = len.min(bytes.len());
            // SAFETY: the caller of io_reactor_post_read vouches for `len` writable bytes until this event.
            unsafe { target.cast::<u8>().copy_from(bytes.as_ptr(), count) };
            connected.leftover = bytes[count..].to_vec();
            (target, count)
        }
        None => {
            let place = place.unwrap_or_else(|| inner.lend([bytes, &[0]].concat()));
            (place, bytes.len())
        }
    };
    let context = inner.socket_at(slot).map_or(null_mut(), |registration| registration.context);
    let bytes_transferred = c_int::try_from(count).expect("no larger than a receive buffer");
    sink.push(io_event_t { context, event_type: EVENT_READ, bytes_transferred, buffer });
}

/// Tells of the end, once, and behind everything that was received.
fn end(inner: &mut Inner, slot: usize, event: c_int, sink: &mut Sink<'_>) {
    let Some(connected) = connected(inner, slot) else { return };
    if std::mem::replace(&mut connected.ended, true) {
        return;
    }
    if connected.leftover.is_empty() {
        let context = inner.socket_at(slot).map_or(null_mut(), |registration| registration.context);
        return sink.push(io_event_t::plain(context, event));
    }
    connected.target = None;
    inner.own.retain(|own| *own != Own::Leftover(slot));
    inner.own.extend([Own::Leftover(slot), Own::End(slot, event)]);
}

fn close_event(reason: CloseReason) -> c_int {
    // What a receive answers that was cancelled by somebody else's CancelIoEx.
    const OPERATION_ABORTED: i32 = windows_sys::Win32::Foundation::ERROR_OPERATION_ABORTED as i32;
    match reason {
        CloseReason::Failed { code: OPERATION_ABORTED } => EVENT_CLOSE,
        CloseReason::Failed { .. } => EVENT_ERROR,
        _ => EVENT_CLOSE,
    }
}

fn not_registered() -> Failure {
    Failure::new("the socket is not registered")
}

fn not_connected() -> Failure {
    Failure::new("a listening socket has no bytes, and datagrams are received and sent by the caller")
}
