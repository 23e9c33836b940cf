//! POSIX: the reactor reports when a socket is ready, and the caller reads, writes and accepts.

use std::ffi::{c_int, c_void};

use dolmen::Token;
use dolmen::raw::Record;
use dolmen::raw::{PollId, ReactorApi, Readiness};

use super::{Attempt, StreamOf, borrow, events, interest};
use crate::boundary::Failure;
use crate::platform::{File, Platform};
use crate::reactor::Inner;
use crate::sink::Sink;
use crate::types::*;

pub(crate) struct Socket {
    poll: PollId,
    file: File,
    attempt: Attempt,
    fd: socket_fd_t,
    /// What the caller asks for.
    interest: Readiness,
    /// A listener that pauses: the poll has no interest meanwhile.
    muted: bool,
}

impl<P: Platform<Socket = Self>> super::Socket<P> for Socket {
    const BLOCKS_ONCE: bool = true;
    const COMPLETES: bool = false;

    fn is_valid(fd: socket_fd_t) -> bool {
        // Compared as a signed number, also where the system's type is unsigned.
        fd as isize >= 0
    }

    fn register(
        platform: &P,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
        _known: bool,
    ) -> Result<Socket, Failure> {
        let file = platform.file(fd)?;
        let interest = interest(events);
        let poll = reactor.add_poll(borrow(fd), interest, false, token)?;
        Ok(Socket { poll, file, attempt: Attempt::Over, fd, interest, muted: false })
    }

    /// The connect comes first: before it, the system would report a hang-up [hc59].
    fn connect(
        platform: &P,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        address: &[u8],
        token: Token,
        _known: bool,
    ) -> Result<Socket, Failure> {
        let file = platform.file(fd)?;
        platform.begin_connect(fd, address)?;
        // Level-triggered, for what follows; the report of the attempt ends this interest.
        let interest = Readiness::WRITABLE;
        let poll = reactor.add_poll(borrow(fd), interest, false, token)?;
        Ok(Socket { poll, file, attempt: Attempt::Begun, fd, interest, muted: false })
    }

    fn add_connected(
        &mut self,
        reactor: &mut P::Reactor,
        _fd: socket_fd_t,
        events: c_int,
    ) -> Result<bool, Failure> {
        if self.attempt != Attempt::Connected {
            return Ok(false);
        }
        self.ask_for(reactor, interest(events))?;
        self.attempt = Attempt::Over;
        Ok(true)
    }

    /// If it is not the same, this socket was closed without being removed. Epoll cannot be asked: removing the old
    /// socket from it would remove the new socket of the same number.
    fn is_same(&self, platform: &P, _reactor: &P::Reactor, fd: socket_fd_t) -> Option<bool> {
        platform.file(fd).ok().map(|file| file == self.file)
    }

    fn modify(
        &mut self,
        reactor: &mut P::Reactor,
        _fd: socket_fd_t,
        events: c_int,
        _token: Token,
    ) -> Result<(), Failure> {
        self.attempt.check()?;
        self.ask_for(reactor, interest(events))
    }

    fn modify_unknown(fd: socket_fd_t) -> Result<(), Failure> {
        Err(Failure::new(format!("socket {fd} is not registered")))
    }

    fn remove_unknown(_fd: socket_fd_t) -> Result<(), Failure> {
        Ok(())
    }

    fn deregister(self, reactor: &mut P::Reactor) {
        reactor.remove_poll(self.poll);
    }

    fn post_read(
        _inner: &mut Inner<P>,
        _slot: Option<usize>,
        _buffer: (*mut c_void, usize),
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn post_write(_inner: &mut Inner<P>, _slot: Option<usize>, _bytes: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn deliver(inner: &mut Inner<P>, record: &Record<StreamOf<P>>, sink: &mut Sink<'_>) {
        if let Record::Polled { token, ready, .. } = *record {
            let Some(registration) = inner.socket_at(token.0) else { return };
            let event = match registration.socket.attempt {
                Attempt::Begun => end_attempt(inner, token.0, ready),
                _ => events(ready),
            };
            sink.event(inner.origin(token.0), event);
        }
    }

    fn deliver_leftover(_inner: &mut Inner<P>, _slot: usize, _sink: &mut Sink<'_>) {
        unreachable!("there is nothing left over where the caller reads")
    }

    fn wants_connections(&self) -> bool {
        self.interest.contains(Readiness::READABLE)
    }

    fn mute(&mut self, reactor: &mut P::Reactor, muted: bool) -> Result<(), Failure> {
        self.muted = muted;
        self.ask_for(reactor, self.interest)
    }
}

impl Socket {
    fn ask_for(&mut self, reactor: &mut impl ReactorApi, interest: Readiness) -> Result<(), Failure> {
        self.interest = interest;
        reactor.set_interest(self.poll, if self.muted { Readiness::NONE } else { interest })?;
        Ok(())
    }
}

/// Ends the attempt to connect a socket, and the interest with it. Returns the event.
fn end_attempt<P: Platform<Socket = Socket>>(inner: &mut Inner<P>, slot: usize, ready: Readiness) -> c_int {
    // The system reports both at once for an attempt that has failed.
    let ended = ready.contains(Readiness::ERROR) || ready.contains(Readiness::HANGUP);
    let Some(registration) = inner.socket_at(slot) else { return EVENT_ERROR };
    let fd = registration.socket.fd;
    // A peer may have accepted, said why it hangs up, and reset the connection: its bytes come first [p06]. Or it is a port
    // without a listener, from which the system has chosen this very port [hc59].
    let failed = (ended && !inner.platform.has_bytes(fd)) || inner.platform.is_connected_to_itself(fd);
    let (attempt, event) =
        if failed { (Attempt::Failed, EVENT_ERROR) } else { (Attempt::Connected, EVENT_WRITE) };
    let registration = inner.socket_at_mut(slot).expect("it has just been looked up");
    registration.socket.attempt = attempt;
    let (socket, reactor) = inner.socket_and_reactor(slot).expect("as above");
    if let Err(error) = socket.ask_for(reactor, Readiness::NONE) {
        tracing::warn!(target: "io_reactor", slot, %error, "cannot end the interest in a connect");
    }
    event
}
