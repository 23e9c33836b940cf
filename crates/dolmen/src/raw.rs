//! The basis of the C library: sockets that the reactor polls and does not own. Not a public interface.

use std::mem::size_of;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::Error;
use crate::reactor::Reactor;
use crate::stats::Stats;
use crate::token::{ConnId, Key, TimerId, Token};
use crate::waker::{Poster, Waker};

pub use crate::console::byte_reader::{ByteSink, ReaderThread, read_to_sink};
pub use crate::kernel::readiness::{BorrowedSocket, Readiness};
pub use crate::record::{Batch, Record, Records};
pub use crate::token::PollId;

/// The text of an error without its advice, which names methods of the Rust library.
#[must_use]
pub fn cause_of(error: &Error) -> String {
    let mut text = String::new();
    error.write_cause(&mut text).expect("writing to a string does not fail");
    text
}

/// The descriptor of a reactor to which a writer of eight bytes ends the wait in progress, or else the next one, as a
/// [`Record::Foreign`] after [`ReactorApi::report_foreign`]. It never changes, and is closed with the reactor.
///
/// # Errors
///
/// The system has no descriptor left.
#[cfg(unix)]
pub fn open_bell(reactor: &mut Reactor) -> Result<std::os::fd::RawFd, Error> {
    let bell = reactor.engine.kernel().open_bell();
    bell.map_err(|fault| Error::from_fault(fault, "open a descriptor that ends waits", None))
}

/// A reactor as the C library uses it: over the system's kernel, or over a simulated one.
pub trait ReactorApi {
    /// An accepted connection.
    type Stream;

    /// As [`Reactor::wait`].
    fn wait(&mut self, events: &mut Batch<Self::Stream>, timeout: Option<Duration>) -> Result<usize, Error>;

    /// As [`Reactor::wait`], but blocks once: if that one system call ends without an event (because of a signal
    /// handler, a wake by the engine itself, or without a reason), the wait returns with no events.
    fn wait_once(
        &mut self,
        events: &mut Batch<Self::Stream>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error>;

    /// The clock of timers and timeouts, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Whether `socket` is a connected stream of bytes, as opposed to a listening socket or a datagram socket.
    ///
    /// # Errors
    ///
    /// What the system reports for a number that is not a socket.
    fn is_stream(&self, socket: BorrowedSocket) -> std::io::Result<bool>;

    /// Reports by `Polled` events when a socket is ready. With `once`, each event ends the interest.
    fn add_poll(
        &mut self,
        socket: BorrowedSocket,
        interest: Readiness,
        once: bool,
        token: Token,
    ) -> Result<PollId, Error>;

    /// Changes the interest of a poll, immediately.
    fn set_interest(&mut self, poll: PollId, interest: Readiness) -> Result<(), Error>;

    /// Whether the number of a polled socket still stands for that socket. `None`: the system does not provide this.
    fn is_same_socket(&self, poll: PollId) -> Option<bool>;

    /// Ends a poll. When this returns, the caller may close the socket.
    fn remove_poll(&mut self, poll: PollId) -> bool;

    /// Registers a connected socket that the reactor never closes; see `engine/connection/adopted.rs`.
    fn adopt(
        &mut self,
        socket: BorrowedSocket,
        again: bool,
        receive: bool,
        token: Token,
    ) -> Result<ConnId, Error>;

    /// Connects a socket that the reactor never closes. A `Connected` or a `Closed` event follows; after the first, the
    /// connection is as one that was adopted.
    fn connect_adopted(
        &mut self,
        socket: BorrowedSocket,
        address: std::net::SocketAddr,
        again: bool,
        token: Token,
    ) -> Result<ConnId, Error>;

    /// Requests the next bytes of an adopted connection.
    fn post_receive(&mut self, conn: ConnId) -> Result<(), Error>;

    /// Sends on an adopted connection; a `Written` event follows.
    fn post_send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error>;

    /// Ends an adoption. When this returns, the caller may close the socket.
    fn remove_adopted(&mut self, conn: ConnId) -> bool;

    /// From now on `Foreign` events report the packets that others send to the completion port.
    fn report_foreign(&mut self);

    /// As [`Reactor::resolve`].
    fn resolve(&mut self, host: &str, port: u16, token: Token) -> Result<crate::LookupId, Error>;

    /// As [`Reactor::add_timer`].
    fn add_timer(&mut self, after: Duration, token: Token) -> TimerId;

    /// As [`Reactor::add_interval`], with a separate first delay.
    fn add_interval_after(&mut self, delay: Duration, period: Duration, token: Token) -> TimerId;

    /// As [`Reactor::remove_timer`].
    fn remove_timer(&mut self, timer: TimerId) -> bool;

    /// Whether a timer is set: it has neither gone off for the last time nor been removed.
    fn is_timer_set(&self, timer: TimerId) -> bool;

    /// How many of the timers of [`add_timer`](Self::add_timer) and [`add_interval_after`](Self::add_interval_after) are
    /// set.
    fn timers_set(&self) -> usize;

    /// As [`Reactor::next_timeout`].
    fn next_timeout(&self) -> Option<Duration>;

    /// As [`Reactor::waker`].
    fn waker(&self) -> Waker;

    /// As [`Reactor::poster`].
    fn poster(&self) -> Poster;

    /// As [`Reactor::stats`].
    fn stats(&self) -> Stats;
}

/// The methods are the engine's, over either kernel.
macro_rules! impl_reactor_api {
    ($reactor:ty, $stream:ty) => {
        impl ReactorApi for $reactor {
            type Stream = $stream;

            fn wait(
                &mut self,
                events: &mut Batch<$stream>,
                timeout: Option<Duration>,
            ) -> Result<usize, Error> {
                self.engine.wait(events, timeout)
            }

            fn wait_once(
                &mut self,
                events: &mut Batch<$stream>,
                timeout: Option<Duration>,
            ) -> Result<usize, Error> {
                self.engine.wait_once(events, timeout)
            }

            fn now_ns(&self) -> u64 {
                self.engine.now_ns()
            }

            fn is_stream(&self, socket: BorrowedSocket) -> std::io::Result<bool> {
                self.engine.is_stream(socket)
            }

            fn add_poll(
                &mut self,
                socket: BorrowedSocket,
                interest: Readiness,
                once: bool,
                token: Token,
            ) -> Result<PollId, Error> {
                self.engine.add_poll(socket, interest, once, token)
            }

            fn set_interest(&mut self, poll: PollId, interest: Readiness) -> Result<(), Error> {
                self.engine.set_interest(poll, interest)
            }

            fn is_same_socket(&self, poll: PollId) -> Option<bool> {
                self.engine.is_same_socket(poll)
            }

            fn remove_poll(&mut self, poll: PollId) -> bool {
                self.engine.remove_poll(poll)
            }

            fn adopt(
                &mut self,
                socket: BorrowedSocket,
                again: bool,
                receive: bool,
                token: Token,
            ) -> Result<ConnId, Error> {
                self.engine.adopt(socket, again, receive, token)
            }

            fn connect_adopted(
                &mut self,
                socket: BorrowedSocket,
                address: std::net::SocketAddr,
                again: bool,
                token: Token,
            ) -> Result<ConnId, Error> {
                self.engine.connect_adopted(socket, address.into(), again, token)
            }

            fn post_receive(&mut self, conn: ConnId) -> Result<(), Error> {
                self.engine.post_receive(conn)
            }

            fn post_send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
                self.engine.post_send(conn, bytes)
            }

            fn remove_adopted(&mut self, conn: ConnId) -> bool {
                self.engine.remove_adopted(conn)
            }

            fn report_foreign(&mut self) {
                self.engine.report_foreign();
            }

            fn resolve(&mut self, host: &str, port: u16, token: Token) -> Result<crate::LookupId, Error> {
                self.engine.resolve(host, port, token)
            }

            fn add_timer(&mut self, after: Duration, token: Token) -> TimerId {
                self.engine.add_timer(after, token)
            }

            fn add_interval_after(&mut self, delay: Duration, period: Duration, token: Token) -> TimerId {
                self.engine.add_interval_after(delay, period, token)
            }

            fn remove_timer(&mut self, timer: TimerId) -> bool {
                self.engine.remove_timer(timer)
            }

            fn is_timer_set(&self, timer: TimerId) -> bool {
                self.engine.is_timer_set(timer)
            }

            fn timers_set(&self) -> usize {
                self.engine.timers_set()
            }

            fn next_timeout(&self) -> Option<Duration> {
                self.engine.next_timeout_ns().map(Duration::from_nanos)
            }

            fn waker(&self) -> Waker {
                Waker::new(self.engine.mailbox())
            }

            fn poster(&self) -> Poster {
                Poster::new(self.engine.mailbox())
            }

            fn stats(&self) -> Stats {
                self.engine.stats()
            }
        }
    };
}

impl_reactor_api!(Reactor, std::net::TcpStream);
#[cfg(dolmen_sim)]
impl_reactor_api!(crate::sim::SimReactor, crate::kernel::sim::world::SimStream);

impl TimerId {
    /// The id as a number, which is never 0.
    pub fn to_bits(self) -> u64 {
        u64::from(self.0.generation.get()) << u32::BITS | u64::from(self.0.slot)
    }

    /// The id that a number stands for.
    pub fn from_bits(bits: u64) -> Option<TimerId> {
        const { assert!(size_of::<Key>() == size_of::<u64>()) };
        let generation = NonZeroU32::new((bits >> u32::BITS) as u32)?;
        Some(TimerId(Key { slot: bits as u32, generation }))
    }
}
