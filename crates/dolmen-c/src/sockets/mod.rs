//! Registered sockets: the one place where C programs see a difference between the systems.

pub(crate) mod completion;
pub(crate) mod readiness;

use std::ffi::{c_int, c_void};

use dolmen::Token;
use dolmen::raw::Record;
use dolmen::raw::{BorrowedSocket, ReactorApi, Readiness};

use crate::boundary::Failure;
use crate::platform::Platform;
use crate::reactor::Inner;
use crate::sink::Sink;
use crate::types::{EVENT_CLOSE, EVENT_ERROR, EVENT_READ, EVENT_WRITE, socket_fd_t};

pub(crate) type StreamOf<P> = <<P as Platform>::Reactor as ReactorApi>::Stream;

/// The contract of sockets on one kind of system.
pub(crate) trait Socket<P: Platform>: Sized {
    /// A wait blocks once: if that one call ends without an event, for example by a signal handler, the wait ends.
    const BLOCKS_ONCE: bool;

    /// An event says that an operation has completed, as on Windows, and not that a socket is ready.
    const COMPLETES: bool;

    fn is_valid(fd: socket_fd_t) -> bool;

    /// `known`: a socket of that number is registered.
    fn register(
        platform: &P,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
        known: bool,
    ) -> Result<Self, Failure>;

    /// Begins to connect a socket to an address, in the system's own form.
    fn connect(
        platform: &P,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        address: &[u8],
        token: Token,
        known: bool,
    ) -> Result<Self, Failure>;

    /// Gives a socket that io_reactor_connect() has connected, and that was not added since, the events of
    /// io_reactor_add(). False: it is no such socket.
    fn add_connected(
        &mut self,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
    ) -> Result<bool, Failure>;

    /// Whether the number still stands for this socket. `None`: the system does not provide this.
    fn is_same(&self, platform: &P, reactor: &P::Reactor, fd: socket_fd_t) -> Option<bool>;

    fn modify(
        &mut self,
        reactor: &mut P::Reactor,
        fd: socket_fd_t,
        events: c_int,
        token: Token,
    ) -> Result<(), Failure>;

    fn modify_unknown(fd: socket_fd_t) -> Result<(), Failure>;

    fn remove_unknown(fd: socket_fd_t) -> Result<(), Failure>;

    fn deregister(self, reactor: &mut P::Reactor);

    fn post_read(
        inner: &mut Inner<P>,
        slot: Option<usize>,
        buffer: (*mut c_void, usize),
    ) -> Result<(), Failure>;

    fn post_write(inner: &mut Inner<P>, slot: Option<usize>, bytes: &[u8]) -> Result<(), Failure>;

    /// Translates an event of the engine, for which there is room in the sink.
    fn deliver(inner: &mut Inner<P>, record: &Record<StreamOf<P>>, sink: &mut Sink<'_>);

    /// Delivers received bytes that were left over. There is room in the sink.
    fn deliver_leftover(inner: &mut Inner<P>, slot: usize, sink: &mut Sink<'_>);

    /// Whether the caller wants to know that connections wait at this listener.
    fn wants_connections(&self) -> bool;

    /// Mutes a listener, or ends that. It does not change what the caller asks for, only whether that is reported.
    fn mute(&mut self, reactor: &mut P::Reactor, muted: bool) -> Result<(), Failure>;
}

/// The state of a registered socket between io_reactor_connect() and io_reactor_add().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// The attempt was not reported yet.
    Begun,
    /// Reported as failed.
    Failed,
    /// Reported as connected.
    Connected,
    /// There was no attempt, or the socket was added since.
    Over,
}

impl Attempt {
    /// Refuses what needs a connected socket.
    fn check(self) -> Result<(), Failure> {
        match self {
            Attempt::Begun => Err(Failure::new("the socket is being connected")),
            Attempt::Failed => Err(Failure::new("the socket could not be connected")),
            Attempt::Connected | Attempt::Over => Ok(()),
        }
    }
}

const PAIRS: [(c_int, Readiness); 4] = [
    (EVENT_READ, Readiness::READABLE),
    (EVENT_WRITE, Readiness::WRITABLE),
    (EVENT_ERROR, Readiness::ERROR),
    (EVENT_CLOSE, Readiness::HANGUP),
];

/// The part of `events` that a caller can ask for. Ends are reported in any case, and other flags mean nothing, as in
/// the reference.
fn interest(events: c_int) -> Readiness {
    let asked = PAIRS[..2].iter().filter(|(event, _)| events & event != 0);
    asked.fold(Readiness::NONE, |all, (_, readiness)| all | *readiness)
}

pub(crate) fn events(ready: Readiness) -> c_int {
    PAIRS.iter().filter(|(_, readiness)| ready.contains(*readiness)).fold(0, |all, (event, _)| all | event)
}

fn borrow(fd: socket_fd_t) -> BorrowedSocket {
    // SAFETY: the header asks the caller to remove a socket before closing it.
    unsafe { BorrowedSocket::from_raw(fd as _) }
}
