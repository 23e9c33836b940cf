//! POSIX: the reactor tells when a socket is ready, and the caller does the rest.

use std::ffi::{c_int, c_void};

use dolmen::raw::{BorrowedSocket, PollId};
use dolmen::{Event, Reactor, Token};

use super::{events, interest};
use crate::boundary::Failure;
use crate::reactor::{Inner, Own, Sink};
use crate::types::*;

pub(crate) struct Socket {
    poll: PollId,
    file: File,
}

/// Which file a descriptor stood for: device and inode. A socket's inode is not given out again for some billions of
/// sockets; a device that is opened again is the same file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct File(libc::dev_t, libc::ino_t);

impl File {
    fn of(fd: socket_fd_t) -> std::io::Result<File> {
        // SAFETY: all-zero bytes are a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is writable.
        match unsafe { libc::fstat(fd, &mut stat) } {
            0 => Ok(File(stat.st_dev, stat.st_ino)),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
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
        let file = File::of(fd)?;
        // SAFETY: the header asks the caller to remove a socket before closing it.
        let socket = unsafe { BorrowedSocket::from_raw(fd) };
        let poll = reactor.raw().add_poll(socket, interest(events), false, token)?;
        Ok(Socket { poll, file })
    }

    /// Whether the number still stands for this socket. If not, this one was closed without being removed. Epoll must
    /// not be left to answer that: to have it forget the old one would make it forget the new one of the same number.
    pub(crate) fn is_same(&self, fd: socket_fd_t) -> Option<bool> {
        File::of(fd).ok().map(|file| file == self.file)
    }

    pub(crate) fn modify(
        &mut self,
        reactor: &mut Reactor,
        _fd: socket_fd_t,
        events: c_int,
        _token: Token,
    ) -> Result<c_int, Failure> {
        reactor.raw().set_interest(self.poll, interest(events))?;
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
