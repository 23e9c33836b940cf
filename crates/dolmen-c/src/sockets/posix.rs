//! POSIX: the reactor tells when a socket is ready, and the caller does the rest.

use std::ffi::{c_int, c_void};

use dolmen::raw::{BorrowedSocket, PollId, Readiness};
use dolmen::{Event, Reactor, Token};

use super::{events, interest};
use crate::boundary::Failure;
use crate::reactor::{Inner, Own, Sink};
use crate::types::*;

pub(crate) struct Socket {
    poll: PollId,
    interest: Readiness,
}

impl Socket {
    pub(crate) fn is_valid(fd: socket_fd_t) -> bool {
        fd >= 0
    }

    pub(crate) fn register(
        reactor: &mut Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
        _known: bool,
    ) -> Result<Socket, Failure> {
        let interest = interest(events);
        // SAFETY: the header asks the caller to remove a socket before closing it.
        let socket = unsafe { BorrowedSocket::from_raw(fd) };
        let poll = reactor.raw().add_poll(socket, interest, false, token)?;
        Ok(Socket { poll, interest })
    }

    /// Whether the system does not know it at the moment.
    pub(crate) fn is_dormant(&self) -> bool {
        self.interest.is_empty()
    }

    pub(crate) fn modify(
        &mut self,
        reactor: &mut Reactor,
        _fd: socket_fd_t,
        events: c_int,
        _token: Token,
    ) -> Result<c_int, Failure> {
        self.interest = interest(events);
        reactor.raw().set_interest(self.poll, self.interest)?;
        Ok(0)
    }

    pub(crate) fn modify_unknown(fd: socket_fd_t) -> Result<c_int, Failure> {
        Err(Failure::new(format!("socket {fd} is not registered")))
    }

    pub(crate) fn deregister(self, reactor: &mut Reactor) {
        reactor.raw().remove_poll(self.poll);
    }

    pub(crate) fn post_read(
        _inner: &mut Inner,
        _slot: Option<usize>,
        _buffer: (*mut c_void, usize),
    ) -> Result<c_int, Failure> {
        Ok(0)
    }

    pub(crate) fn post_write(
        _inner: &mut Inner,
        _slot: Option<usize>,
        _bytes: &[u8],
    ) -> Result<c_int, Failure> {
        Ok(0)
    }

    pub(crate) fn deliver(inner: &mut Inner, event: Event<'_>, sink: &mut Sink<'_>) {
        if let Event::Polled { token, ready, .. } = event {
            if let Some(registration) = inner.socket_at(token.0) {
                sink.push(io_event_t::plain(registration.context, events(ready)));
            }
        }
    }

    pub(crate) fn deliver_own(_inner: &mut Inner, _own: Own, _sink: &mut Sink<'_>) {
        unreachable!("there is nothing left over where the caller reads")
    }
}
