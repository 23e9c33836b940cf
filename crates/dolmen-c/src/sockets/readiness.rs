//! POSIX: the reactor reports when a socket is ready, and the caller reads, writes and accepts.

use std::ffi::{c_int, c_void};

use dolmen::Token;
use dolmen::raw::Record;
use dolmen::raw::{PollId, ReactorApi, Readiness};

use super::{StreamOf, borrow, events, interest};
use crate::boundary::Failure;
use crate::platform::{File, Platform};
use crate::reactor::{Inner, Synthetic};
use crate::sink::Sink;
use crate::types::*;

pub(crate) struct Socket {
    poll: PollId,
    file: File,
    /// It was not reported yet as connected, or as failed.
    connecting: bool,
}

impl<P: Platform<Socket = Self>> super::Socket<P> for Socket {
    const BLOCKS_ONCE: bool = true;

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
        let poll = reactor.add_poll(borrow(fd), interest(events), false, token)?;
        Ok(Socket { poll, file, connecting: false })
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
        let poll = reactor.add_poll(borrow(fd), Readiness::WRITABLE, true, token)?;
        Ok(Socket { poll, file, connecting: true })
    }

    /// If it is not the same, this socket was closed without being removed. Epoll cannot be asked: removing the old
    /// socket from it would remove the new socket of the same number.
    fn is_same(&self, platform: &P, fd: socket_fd_t) -> Option<bool> {
        platform.file(fd).ok().map(|file| file == self.file)
    }

    fn modify(
        &mut self,
        reactor: &mut P::Reactor,
        _fd: socket_fd_t,
        events: c_int,
        _token: Token,
    ) -> Result<(), Failure> {
        if self.connecting {
            return Err(Failure::new("the socket is being connected"));
        }
        Ok(reactor.set_interest(self.poll, interest(events))?)
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
            let Some(registration) = inner.socket_at_mut(token.0) else { return };
            let event = match std::mem::take(&mut registration.socket.connecting) {
                false => events(ready),
                // The system reports both at once for an attempt that has failed.
                true if ready.contains(Readiness::ERROR) || ready.contains(Readiness::HANGUP) => EVENT_ERROR,
                true => EVENT_WRITE,
            };
            sink.event(inner.context(token.0), event);
        }
    }

    fn deliver_synthetic(_inner: &mut Inner<P>, _synthetic: Synthetic, _sink: &mut Sink<'_>) {
        unreachable!("there is nothing left over where the caller reads")
    }
}
