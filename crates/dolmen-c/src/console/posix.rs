//! POSIX: a terminal is told of, for the caller to read; a pipe is read when it is readable, a file at each wait.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;

use dolmen::raw::{BorrowedSocket, PollId, Readiness};
use dolmen::{Event, Reactor};

use super::CHUNK_BYTES;
use crate::boundary::Failure;
use crate::reactor::{CONSOLE, Sink};
use crate::sockets::events;
use crate::types::*;

const STDIN: RawFd = libc::STDIN_FILENO;

pub(crate) struct Console {
    pub(crate) context: *mut c_void,
    kind: console_type_t,
    /// `None`: a file, or at the end.
    poll: Option<PollId>,
    /// A file that has not been read to its end.
    readable: bool,
    /// What the last event points to.
    chunk: Vec<u8>,
}

impl Console {
    pub(crate) fn open(reactor: &mut Reactor, context: *mut c_void) -> Result<Console, Failure> {
        let kind = kind()?;
        let readable = kind == console_type_t::CONSOLE_TYPE_FILE;
        let poll = if readable {
            None
        } else {
            // SAFETY: standard input is the program's to close, and then it can do without its number.
            let stdin = unsafe { BorrowedSocket::from_raw(STDIN) };
            Some(reactor.raw().add_poll(stdin, Readiness::READABLE, false, CONSOLE)?)
        };
        Ok(Console { context, kind, poll, readable, chunk: Vec::new() })
    }

    pub(crate) fn kind(&self) -> console_type_t {
        self.kind
    }

    /// Whether there is something to deliver without asking the system.
    pub(crate) fn has_input(&self) -> bool {
        self.readable
    }

    pub(crate) fn deliver(&mut self, sink: &mut Sink<'_>) {
        if self.readable {
            self.readable = self.read(sink);
        }
    }

    /// Lets go of it.
    pub(crate) fn close(mut self, reactor: &mut Reactor) {
        self.poll.take().map(|poll| reactor.raw().remove_poll(poll));
    }

    /// The reactor has told of it.
    pub(crate) fn ready(&mut self, reactor: &mut Reactor, event: &Event<'_>, sink: &mut Sink<'_>) {
        let Event::Polled { ready, .. } = event else { return };
        let goes_on = if self.kind == console_type_t::CONSOLE_TYPE_REAL {
            sink.push(io_event_t::plain(self.context, events(*ready)));
            // A terminal that was hung up stays that way, and would be told of for ever. It is told of when all that was
            // typed before has been read.
            !ready.contains(Readiness::HANGUP) && !ready.contains(Readiness::ERROR)
        } else {
            self.read(sink)
        };
        if !goes_on {
            self.poll.take().map(|poll| reactor.raw().remove_poll(poll));
        }
    }

    /// Reads once and tells what came of it. False at the end.
    fn read(&mut self, sink: &mut Sink<'_>) -> bool {
        // One byte more than is read, which stays zero.
        self.chunk.clear();
        self.chunk.resize(CHUNK_BYTES + 1, 0);
        // SAFETY: there is room for that many bytes.
        let count = unsafe { libc::read(STDIN, self.chunk.as_mut_ptr().cast(), CHUNK_BYTES) };
        if count > 0 {
            let buffer = self.chunk.as_mut_ptr().cast();
            let bytes_transferred = count as c_int;
            sink.push(io_event_t {
                context: self.context,
                event_type: EVENT_READ,
                bytes_transferred,
                buffer,
            });
            return true;
        }
        let again = [std::io::ErrorKind::Interrupted, std::io::ErrorKind::WouldBlock];
        if count < 0 && again.contains(&std::io::Error::last_os_error().kind()) {
            return true;
        }
        sink.push(io_event_t::plain(self.context, EVENT_CLOSE));
        false
    }
}

fn kind() -> Result<console_type_t, Failure> {
    // SAFETY: all-zero bytes are a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    if unsafe { libc::fstat(STDIN, &mut stat) } != 0 {
        return Err(Failure::new("there is no standard input"));
    }
    // SAFETY: only asks.
    if unsafe { libc::isatty(STDIN) } == 1 {
        return Ok(console_type_t::CONSOLE_TYPE_REAL);
    }
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => Ok(console_type_t::CONSOLE_TYPE_PIPE),
        libc::S_IFREG | libc::S_IFCHR | libc::S_IFBLK => Ok(console_type_t::CONSOLE_TYPE_FILE),
        _ => Err(Failure::new("standard input can not be read")),
    }
}
