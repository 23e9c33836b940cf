//! The result of a wait: [`Events`], and each [`Event`] in it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use crate::console::{ConsoleInput, Input};
use crate::kernel::buffer::Buffer;
use crate::kernel::buffer_pool::BufferPool;
use crate::kernel::readiness::Readiness;
use crate::removed::Removed;
use crate::token::{ConnId, ListenerId, PollId, TimerId, Token, WatchId};

/// The events of one [`wait`](crate::Reactor::wait), with their bytes.
///
/// Make one and pass it to every wait. The bytes of its events stay where they are, unshared, until it is cleared,
/// dropped or passed to the next wait; the borrow checker enforces that. It borrows nothing from the reactor: while
/// going through the events, send, close, add and remove as you like.
///
/// ```compile_fail,E0499
/// # let mut reactor = dolmen::Reactor::new()?;
/// # let mut events = dolmen::Events::with_capacity(128);
/// let event = events.drain().next();
/// reactor.wait(&mut events, None)?; // The event's bytes would be overwritten.
/// println!("{event:?}");
/// # Ok::<(), dolmen::Error>(())
/// ```
pub struct Events<S = TcpStream> {
    records: Vec<Record<S>>,
    /// How many records have been handed out.
    handed_out: usize,
    capacity: usize,
    origin: Option<Origin>,
}

/// The reactor that these events come from: where its buffers are returned to, and what it has removed since.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) pool: Rc<RefCell<BufferPool>>,
    pub(crate) removed: Rc<Removed>,
}

/// One thing that has happened. `S` is the type of accepted streams.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, S = TcpStream> {
    /// A peer has connected to a listener. The stream is not registered yet: pass it to
    /// [`Reactor::add`](crate::Reactor::add), or drop it to hang up. A stream that is not taken out of the events is
    /// closed.
    Accepted {
        /// The listener.
        listener: ListenerId,
        /// The listener's token.
        token: Token,
        /// The connection.
        stream: S,
        /// The peer's address.
        peer: SocketAddr,
    },
    /// A listener cannot accept for now, usually because the process is out of file descriptors. Reported once, not for
    /// each attempt: the reactor tries again, with growing pauses, and accepts the waiting peers when it succeeds.
    AcceptFailed {
        /// The listener.
        listener: ListenerId,
        /// The listener's token.
        token: Token,
        /// The system's reason.
        error: io::Error,
    },
    /// Bytes have arrived: at least one, at most [`Builder::buffer_size`](crate::Builder::buffer_size). One wait
    /// delivers at most one such event for each connection.
    Received {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
        /// The bytes.
        data: &'a [u8],
    },
    /// The peer will send nothing more. It may still read: send the remaining output, then
    /// [`close`](crate::Reactor::close). Delivered once, after all bytes. The connection stays open until the caller
    /// closes it.
    EndOfStream {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
    },
    /// The send queue has room again after it refused a `send` with [`QueueFull`](crate::ErrorKind::QueueFull).
    /// Delivered once for each refusal or run of refusals.
    Drained {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
    },
    /// The connection is gone, and its id with it. Delivered exactly once, as the last event, for each connection that
    /// was not [`remove`](crate::Reactor::remove)d.
    Closed {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
        /// How it ended.
        reason: CloseReason,
    },
    /// A watched handle is signalled, or a readiness listener has connections waiting. Each wait reports it again until
    /// that is no longer so.
    Ready {
        /// The watch.
        watch: WatchId,
        /// The watch's token.
        token: Token,
    },
    /// A timer is due; a one-shot timer ends with this.
    Timer {
        /// The timer.
        timer: TimerId,
        /// The timer's token.
        token: Token,
        /// How many further ticks of a periodic timer became due before this event was collected.
        missed: u64,
    },
    /// A post by a [`Poster`](crate::Poster).
    Posted {
        /// As posted.
        token: Token,
        /// As posted.
        value: u64,
    },
    /// A [`Waker`](crate::Waker) was used, once or more often.
    Woken,
    /// A borrowed socket is ready.
    #[doc(hidden)]
    Polled { poll: PollId, token: Token, ready: Readiness },
    /// The system has taken all bytes of one posted send.
    #[doc(hidden)]
    Written { conn: ConnId, token: Token, bytes: usize },
    /// The operator has typed something, or a user or the system asks the program to end. See
    /// [`Reactor::console`](crate::Reactor::console) and [`Reactor::signals`](crate::Reactor::signals).
    Console {
        /// The token of the registration.
        token: Token,
        /// The input or the request.
        input: ConsoleInput<'a>,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`close`](crate::Reactor::close) ran to its end: the system has taken everything that was queued, FIN was sent
    /// after it, and the peer has closed its side as well or had the linger time to do so.
    Finished,
    /// [`close`](crate::Reactor::close) took longer than the linger time; the connection was reset with this many bytes
    /// still in the send queue (what the system had taken may be lost as well).
    LingerExpired {
        /// Bytes that were still queued.
        unsent: usize,
    },
    /// [`abort`](crate::Reactor::abort).
    Aborted,
    /// The peer, or something on the network path, reset the connection.
    Reset,
    /// The operating system ended it with this error code; see [`CloseReason::to_io`].
    Failed {
        /// `errno` or a Windows error code.
        code: i32,
    },
}

impl CloseReason {
    /// The reason as an [`io::Error`]; `None` for an orderly end.
    pub fn to_io(&self) -> Option<io::Error> {
        Some(match self {
            CloseReason::Finished => return None,
            CloseReason::LingerExpired { .. } => io::ErrorKind::TimedOut.into(),
            CloseReason::Aborted => io::ErrorKind::ConnectionAborted.into(),
            CloseReason::Reset => io::ErrorKind::ConnectionReset.into(),
            CloseReason::Failed { code } => io::Error::from_raw_os_error(*code),
        })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Finished => f.write_str("closed"),
            CloseReason::LingerExpired { unsent } => {
                write!(f, "closed by force after the linger time, {unsent} bytes unsent")
            }
            CloseReason::Aborted => f.write_str("aborted"),
            CloseReason::Reset => f.write_str("connection reset"),
            CloseReason::Failed { code } => write!(f, "failed: {}", io::Error::from_raw_os_error(*code)),
        }
    }
}

/// A stored event, which owns its contents. `registration` is the console's; 0 for signals.
pub(crate) enum Record<S> {
    Accepted { listener: ListenerId, token: Token, stream: Option<S>, peer: SocketAddr },
    AcceptFailed { listener: ListenerId, token: Token, code: i32 },
    Received { conn: ConnId, token: Token, buffer: Buffer },
    EndOfStream { conn: ConnId, token: Token },
    Drained { conn: ConnId, token: Token },
    Closed { conn: ConnId, token: Token, reason: CloseReason },
    Ready { watch: WatchId, token: Token },
    Timer { timer: TimerId, token: Token, missed: u64, last: bool },
    Posted { token: Token, value: u64 },
    Woken,
    Polled { poll: PollId, token: Token, ready: Readiness },
    Written { conn: ConnId, token: Token, bytes: usize },
    Console { token: Token, registration: u32, input: Input },
}

impl<S> Record<S> {
    /// Whether this event is stale: its registration has been removed in the meantime.
    pub(crate) fn is_stale(&self, removed: &Removed) -> bool {
        match self {
            Record::Accepted { listener, .. } | Record::AcceptFailed { listener, .. } => {
                removed.listener(*listener)
            }
            Record::Received { conn, .. }
            | Record::EndOfStream { conn, .. }
            | Record::Drained { conn, .. }
            | Record::Closed { conn, .. }
            | Record::Written { conn, .. } => removed.conn(*conn),
            Record::Polled { poll, .. } => removed.poll(*poll),
            Record::Ready { watch, .. } => removed.watch(*watch),
            Record::Timer { timer, .. } => removed.timer(*timer),
            Record::Console { registration, .. } => removed.console(*registration),
            Record::Posted { .. } | Record::Woken => false,
        }
    }

    fn hand_out(&mut self) -> Option<Event<'_, S>> {
        Some(match self {
            Record::Accepted { listener, token, stream, peer } => {
                Event::Accepted { listener: *listener, token: *token, stream: stream.take()?, peer: *peer }
            }
            Record::AcceptFailed { listener, token, code } => {
                let error = io::Error::from_raw_os_error(*code);
                Event::AcceptFailed { listener: *listener, token: *token, error }
            }
            Record::Received { conn, token, buffer } => {
                Event::Received { conn: *conn, token: *token, data: buffer.as_slice() }
            }
            Record::EndOfStream { conn, token } => Event::EndOfStream { conn: *conn, token: *token },
            Record::Drained { conn, token } => Event::Drained { conn: *conn, token: *token },
            Record::Closed { conn, token, reason } => {
                Event::Closed { conn: *conn, token: *token, reason: *reason }
            }
            Record::Ready { watch, token } => Event::Ready { watch: *watch, token: *token },
            Record::Timer { timer, token, missed, .. } => {
                Event::Timer { timer: *timer, token: *token, missed: *missed }
            }
            Record::Posted { token, value } => Event::Posted { token: *token, value: *value },
            Record::Woken => Event::Woken,
            Record::Polled { poll, token, ready } => {
                Event::Polled { poll: *poll, token: *token, ready: *ready }
            }
            Record::Written { conn, token, bytes } => {
                Event::Written { conn: *conn, token: *token, bytes: *bytes }
            }
            Record::Console { token, input, .. } => {
                Event::Console { token: *token, input: input.as_event()? }
            }
        })
    }
}

impl<S> Events<S> {
    /// Room for up to `capacity` events for each wait (at least one, at most 65 536).
    ///
    /// A wait never returns more; what did not fit comes first in the next one.
    pub fn with_capacity(capacity: usize) -> Events<S> {
        let capacity = capacity.clamp(1, 65_536);
        Events { records: Vec::with_capacity(capacity), handed_out: 0, capacity, origin: None }
    }

    /// Changes how many events the next waits may return.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    /// How many events one wait may return.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many events the last wait has returned.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the last wait has returned none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hands out each event, once and in order.
    ///
    /// Events of a registration that was removed after the wait are left out. Stopping half-way is fine: a later
    /// `drain` continues where this one ended. The bytes stay valid until the events are cleared, dropped or passed to
    /// the next wait.
    pub fn drain(&mut self) -> Drain<'_, S> {
        Drain {
            records: self.records[self.handed_out..].iter_mut(),
            handed_out: &mut self.handed_out,
            removed: self.origin.as_ref().map(|origin| &*origin.removed),
        }
    }

    /// Discards the events and returns their buffers to the reactor. Closes the streams that were not taken.
    pub fn clear(&mut self) {
        self.handed_out = 0;
        let Some(origin) = &self.origin else { return };
        if self.records.is_empty() {
            return;
        }
        // A buffer can be used again only from here on, when no event of this batch can be borrowed any more [p05].
        let mut pool = origin.pool.borrow_mut();
        for record in self.records.drain(..) {
            if let Record::Received { buffer, .. } = record {
                pool.give_back(buffer);
            }
        }
    }

    /// Empties the events and makes them belong to `origin` from now on.
    pub(crate) fn reset(&mut self, origin: &Origin) {
        self.clear();
        if !self.origin.as_ref().is_some_and(|own| Rc::ptr_eq(&own.pool, &origin.pool)) {
            self.origin = Some(origin.clone());
        }
    }

    pub(crate) fn push(&mut self, record: Record<S>) {
        debug_assert!(self.records.len() < self.capacity);
        self.records.push(record);
    }
}

impl<S> Drop for Events<S> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<S> fmt::Debug for Events<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Hands out events; see [`Events::drain`].
pub struct Drain<'a, S = TcpStream> {
    records: std::slice::IterMut<'a, Record<S>>,
    handed_out: &'a mut usize,
    removed: Option<&'a Removed>,
}

impl<'a, S> Iterator for Drain<'a, S> {
    type Item = Event<'a, S>;

    fn next(&mut self) -> Option<Event<'a, S>> {
        loop {
            let record = self.records.next()?;
            *self.handed_out += 1;
            // The handler of an earlier event of this batch has removed its registration [hc09, p07].
            if self.removed.is_some_and(|removed| record.is_stale(removed)) {
                continue;
            }
            if let Some(event) = record.hand_out() {
                return Some(event);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.records.len()))
    }
}

impl<S> fmt::Debug for Drain<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("left", &self.records.len()).finish_non_exhaustive()
    }
}
