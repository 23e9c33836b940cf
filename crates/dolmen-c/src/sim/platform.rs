//! The two kinds of systems, over a simulated machine.

use std::cell::Cell;
use std::ffi::c_int;

use dolmen::sim::{Machine, Object, SimReactor};

use super::stdin::{PolledStdin, SharedInput, WatchedStdin};
use crate::accepting::Accepted;
use crate::boundary::Failure;
use crate::platform::{File, Platform};
use crate::sockets::{completion, readiness};
use crate::types::{console_type_t, socket_fd_t};

/// A system of one of the two kinds.
pub(super) trait System: Platform<Reactor = SimReactor> {
    /// The reactor receives and sends, as on Windows. Otherwise the caller does, as on POSIX.
    const COMPLETION: bool;

    fn new(machine: Machine, input: SharedInput) -> Self;

    fn attempts(&self) -> &Attempts;
}

/// The library's attempts to accept a connection that have brought none.
#[derive(Default)]
pub(super) struct Attempts {
    /// All of them.
    pub(super) fruitless: Cell<u64>,
    /// Those that have failed.
    pub(super) failed: Cell<u64>,
}

impl Attempts {
    fn note(&self, accepted: std::io::Result<Accepted>) -> std::io::Result<Accepted> {
        let (fruitless, failed) = (!matches!(accepted, Ok(Accepted::Connection(_))), accepted.is_err());
        self.fruitless.set(self.fruitless.get() + u64::from(fruitless));
        self.failed.set(self.failed.get() + u64::from(failed));
        accepted
    }
}

/// POSIX.
pub(super) struct Posix {
    machine: Machine,
    input: SharedInput,
    attempts: Attempts,
}

/// Windows.
pub(super) struct Windows {
    machine: Machine,
    input: SharedInput,
    attempts: Attempts,
}

impl System for Posix {
    const COMPLETION: bool = false;

    fn new(machine: Machine, input: SharedInput) -> Posix {
        Posix { machine, input, attempts: Attempts::default() }
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }
}

impl System for Windows {
    const COMPLETION: bool = true;

    fn new(machine: Machine, input: SharedInput) -> Windows {
        Windows { machine, input, attempts: Attempts::default() }
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }
}

impl Platform for Posix {
    type Reactor = SimReactor;
    type Socket = readiness::Socket;
    type Stdin = PolledStdin;

    fn file(&self, fd: socket_fd_t) -> std::io::Result<File> {
        match u32::try_from(fd).ok().and_then(|fd| self.machine.object(fd)) {
            Some(Object::Link(link)) => Ok(File(1, link as u64)),
            Some(Object::Listener(listener)) => Ok(File(2, listener as u64)),
            None => Err(std::io::Error::from_raw_os_error(BAD_DESCRIPTOR)),
        }
    }

    /// Not simulated here: the reactor's own connects are.
    fn begin_connect(&self, _fd: socket_fd_t, _address: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn is_connected_to_itself(&self, _fd: socket_fd_t) -> bool {
        false
    }

    fn has_bytes(&self, _fd: socket_fd_t) -> bool {
        false
    }

    fn is_listening(&self, fd: socket_fd_t) -> bool {
        is_listening(&self.machine, fd)
    }

    fn set_nonblocking(&self, _fd: socket_fd_t) -> std::io::Result<()> {
        Ok(())
    }

    fn accept(&self, fd: socket_fd_t) -> std::io::Result<Accepted> {
        self.attempts.note(accept(&self.machine, fd))
    }

    fn stdin_kind(&self) -> console_type_t {
        self.input.borrow().kind.described_type(Self::COMPLETION)
    }

    fn open_stdin(&mut self, reactor: &mut SimReactor, _buffered: bool) -> Result<PolledStdin, Failure> {
        PolledStdin::open(&self.machine, &self.input, reactor)
    }
}

impl Platform for Windows {
    type Reactor = SimReactor;
    type Socket = completion::Socket;
    type Stdin = WatchedStdin;

    fn file(&self, _fd: socket_fd_t) -> std::io::Result<File> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn begin_connect(&self, _fd: socket_fd_t, _address: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn is_connected_to_itself(&self, _fd: socket_fd_t) -> bool {
        false
    }

    fn has_bytes(&self, _fd: socket_fd_t) -> bool {
        false
    }

    fn is_listening(&self, fd: socket_fd_t) -> bool {
        is_listening(&self.machine, fd)
    }

    fn set_nonblocking(&self, _fd: socket_fd_t) -> std::io::Result<()> {
        Ok(())
    }

    fn accept(&self, fd: socket_fd_t) -> std::io::Result<Accepted> {
        self.attempts.note(accept(&self.machine, fd))
    }

    fn stdin_kind(&self) -> console_type_t {
        self.input.borrow().kind.described_type(Self::COMPLETION)
    }

    fn open_stdin(&mut self, reactor: &mut SimReactor, buffered: bool) -> Result<WatchedStdin, Failure> {
        WatchedStdin::open(&self.machine, &self.input, reactor, buffered)
    }
}

fn is_listening(machine: &Machine, fd: socket_fd_t) -> bool {
    let object = u32::try_from(fd).ok().and_then(|fd| machine.object(fd));
    matches!(object, Some(Object::Listener(_)))
}

/// A machine that lacks memory does so for a while.
fn accept(machine: &Machine, fd: socket_fd_t) -> std::io::Result<Accepted> {
    if machine.lacks_memory() && (machine.now_ns() / SHORTAGE_NS) % 2 == 1 {
        return Err(std::io::ErrorKind::OutOfMemory.into());
    }
    match u32::try_from(fd).ok().and_then(|fd| machine.object(fd)) {
        Some(Object::Listener(listener)) => {
            let accepted = machine.accept(listener).map(|fd| Accepted::Connection(fd as socket_fd_t));
            Ok(accepted.unwrap_or(Accepted::Nothing))
        }
        _ => Err(std::io::Error::from_raw_os_error(BAD_DESCRIPTOR)),
    }
}

/// How long a machine that lacks memory refuses connections, and then accepts them.
const SHORTAGE_NS: u64 = 20_000_000;

/// EBADF
const BAD_DESCRIPTOR: c_int = 9;
