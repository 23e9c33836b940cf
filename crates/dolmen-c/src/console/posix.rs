//! POSIX: standard input that can be polled is polled, and checked when the reactor reports it. Each wait checks a
//! file.
//!
//! The end of a pipe is a hang-up without a byte left (FIONREAD). MSG_PEEK detects the end of a socket, and the size
//! that of a file.

use std::ffi::c_int;
use std::os::fd::RawFd;

use dolmen::Reactor;
use dolmen::raw::{BorrowedSocket, PollId, ReactorApi, Readiness};

use super::{Read, State};
use crate::boundary::Failure;
use crate::platform::Native;
use crate::reactor::CONSOLE;
use crate::sink::CHUNK_BYTES;
use crate::sockets::events;
use crate::types::*;

const STDIN: RawFd = libc::STDIN_FILENO;

pub(crate) struct Stdin {
    what: What,
    /// `None`: it cannot be polled, or is at the end.
    poll: Option<PollId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Terminal,
    Pipe,
    Socket,
    /// A regular file.
    File,
    /// A device of an unknown kind, such as /dev/zero: the system does not report whether a read of it waits.
    Device,
    /// The null device.
    Null,
}

impl Stdin {
    /// Who reads it makes no difference.
    pub(crate) fn open(reactor: &mut Reactor, _buffered: bool) -> Result<Stdin, Failure> {
        let what = What::find()?;
        let poll = match what {
            What::Terminal | What::Pipe | What::Socket => {
                // SAFETY: only the program closes standard input. If it does so while this is registered, no memory is
                // affected: the poll then waits for the file that gets the number.
                let stdin = unsafe { BorrowedSocket::from_raw(STDIN) };
                Some(reactor.add_poll(stdin, Readiness::READABLE, false, CONSOLE)?)
            }
            _ => None,
        };
        Ok(Stdin { what, poll })
    }

    /// The kind for a caller that reads it by itself, without opening anything. The reference's driver starts a thread
    /// that reads standard input of any kind but none, and takes its end for the operator's: /dev/null must be none.
    pub(crate) fn find_kind() -> console_type_t {
        match What::find() {
            Ok(what @ (What::Terminal | What::Pipe | What::File)) => what.kind(),
            Ok(What::Socket | What::Device | What::Null) | Err(_) => console_type_t::CONSOLE_TYPE_NONE,
        }
    }
}

impl super::Stdin<Native> for Stdin {
    fn kind(&self) -> console_type_t {
        self.what.kind()
    }

    fn is_due(&self) -> bool {
        self.poll.is_none()
    }

    fn check(&mut self, reported: Option<Readiness>) -> State {
        match self.what {
            What::Terminal => {
                // A hung-up terminal stays hung up, and each wait would report it. The poll reports the hang-up when
                // all input typed before has been read.
                let ends = Readiness::HANGUP | Readiness::ERROR;
                match reported {
                    Some(ready) if !(ready & ends).is_empty() => State::HungUp(events(ready)),
                    _ => State::Input,
                }
            }
            What::Pipe => match (waiting_bytes(), reported) {
                (Some(0), Some(ready)) if ready.contains(Readiness::HANGUP) => State::End,
                // Another process that reads the same pipe has taken the bytes.
                (Some(0), _) => State::Nothing,
                _ => State::Input,
            },
            What::Socket => peek(),
            What::File if is_at_end() => State::End,
            What::File | What::Device => State::Input,
            What::Null => State::End,
        }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Read {
        // Another process that reads the same pipe may have taken the bytes: a read would wait.
        if self.poll.is_some() && !is_readable() {
            return Read::Nothing;
        }
        buffer.resize(CHUNK_BYTES, 0);
        // SAFETY: there is room for that many bytes.
        let count = unsafe { libc::read(STDIN, buffer.as_mut_ptr().cast(), CHUNK_BYTES) };
        buffer.truncate(usize::try_from(count).unwrap_or(0));
        if count > 0 {
            return Read::Bytes;
        }
        let again = [std::io::ErrorKind::Interrupted, std::io::ErrorKind::WouldBlock];
        if count < 0 && again.contains(&std::io::Error::last_os_error().kind()) {
            return Read::Nothing;
        }
        Read::End
    }

    fn arm(&mut self, _reactor: &mut Reactor) -> Result<(), Failure> {
        // The poll is level-triggered, and an unpolled standard input always has input.
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor) {
        self.poll.take().map(|poll| reactor.remove_poll(poll));
    }

    fn close(mut self, reactor: &mut Reactor) {
        super::Stdin::stop(&mut self, reactor);
    }
}

impl What {
    fn kind(self) -> console_type_t {
        match self {
            What::Terminal => console_type_t::CONSOLE_TYPE_REAL,
            What::Pipe | What::Socket => console_type_t::CONSOLE_TYPE_PIPE,
            What::File | What::Device | What::Null => console_type_t::CONSOLE_TYPE_FILE,
        }
    }

    fn find() -> Result<What, Failure> {
        // SAFETY: all-zero bytes are a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is writable.
        if unsafe { libc::fstat(STDIN, &mut stat) } != 0 {
            return Err(Failure::new("there is no standard input"));
        }
        // SAFETY: only asks.
        if unsafe { libc::fcntl(STDIN, libc::F_GETFL) } & libc::O_ACCMODE == libc::O_WRONLY {
            return Err(Failure::new("standard input is open for writing only"));
        }
        // SAFETY: only asks.
        if unsafe { libc::isatty(STDIN) } == 1 {
            return Ok(What::Terminal);
        }
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFIFO => Ok(What::Pipe),
            libc::S_IFSOCK => Ok(What::Socket),
            libc::S_IFREG => Ok(What::File),
            libc::S_IFCHR if is_null_device(&stat) => Ok(What::Null),
            libc::S_IFCHR | libc::S_IFBLK => Ok(What::Device),
            _ => Err(Failure::new("standard input can not be read")),
        }
    }
}

/// Whether it is the same device as /dev/null, under whatever name.
fn is_null_device(stat: &libc::stat) -> bool {
    // SAFETY: all-zero bytes are a valid `stat`.
    let mut null: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a string, and `null` is writable.
    let found = unsafe { libc::stat(c"/dev/null".as_ptr(), &mut null) } == 0;
    found && null.st_rdev == stat.st_rdev
}

/// How many bytes wait in a pipe. `None`: the system does not report it.
fn waiting_bytes() -> Option<c_int> {
    let mut count: c_int = 0;
    // SAFETY: `count` is writable, and an int is what the request writes.
    (unsafe { libc::ioctl(STDIN, libc::FIONREAD, &mut count) } == 0).then_some(count)
}

fn is_readable() -> bool {
    let mut entry = libc::pollfd { fd: STDIN, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, writable, and no waiting.
    unsafe { libc::poll(&mut entry, 1, 0) != 0 }
}

fn peek() -> State {
    let mut byte = 0_u8;
    // SAFETY: there is room for one byte.
    let found = unsafe { libc::recv(STDIN, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    match found {
        1.. => State::Input,
        0 => State::End,
        _ if std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock => State::Nothing,
        _ if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => State::Nothing,
        // The caller's own read returns the error.
        _ => State::End,
    }
}

/// Whether a file has been read to its end.
fn is_at_end() -> bool {
    // SAFETY: all-zero bytes are a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: moves nothing, and `stat` is writable.
    let (place, found) = unsafe { (libc::lseek(STDIN, 0, libc::SEEK_CUR), libc::fstat(STDIN, &mut stat)) };
    // A file that cannot be queried counts as at its end: its reads fail, or it is closed.
    place < 0 || found != 0 || place >= stat.st_size
}
