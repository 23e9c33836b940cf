//! The result of a wait: [`Events`], and each [`Event`] in it.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::{SocketAddr, TcpStream};

use crate::address::Address;
use crate::close_reason::CloseReason;
use crate::console::ConsoleInput;
use crate::record::{Batch, Record, Records};
use crate::token::{ConnId, FileOpId, ListenerId, LookupId, TimerId, Token, UdpId, WatchId};

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
pub struct Events {
    batch: Batch<TcpStream>,
}

/// One thing that has happened.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// # reactor.waker().wake();
/// reactor.wait(&mut events, None)?;
/// for event in &mut events {
///     match event {
///         Event::Accepted { stream, peer, .. } => {
///             println!("{peer} has connected");
///             reactor.add(stream, Token(1))?;
///         }
///         Event::Received { conn, data, .. } => reactor.send(conn, data)?,
///         Event::EndOfStream { conn, .. } => reactor.close(conn)?,
///         Event::Closed { conn, reason, .. } => println!("{conn} is gone: {reason}"),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A peer has connected to a listener. The stream is not registered yet: pass it to
    /// [`Reactor::add`](crate::Reactor::add), or drop it to hang up. A stream that is not taken out of the events is
    /// closed.
    #[non_exhaustive]
    Accepted {
        /// The listener.
        listener: ListenerId,
        /// The listener's token.
        token: Token,
        /// The connection.
        stream: TcpStream,
        /// The peer's address.
        peer: SocketAddr,
    },
    /// A connection that was requested by [`Reactor::connect`](crate::Reactor::connect) stands. What was sent before is
    /// going out. Delivered once, as the connection's first event; if it cannot be made, `Closed` is delivered instead.
    #[non_exhaustive]
    Connected {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
        /// Its own address.
        local: Address,
        /// The peer's address.
        peer: Address,
    },
    /// A listener cannot accept for now, usually because the process is out of file descriptors. Reported once, not for
    /// each attempt: the reactor tries again, with growing pauses, and accepts the waiting peers when it succeeds.
    #[non_exhaustive]
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
    #[non_exhaustive]
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
    #[non_exhaustive]
    EndOfStream {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
    },
    /// The send queue has room again after it refused a `send` with [`QueueFull`](crate::ErrorKind::QueueFull).
    /// Delivered once for each refusal or run of refusals: what was refused before the wait that returns it would fit now.
    /// Not delivered after the caller has closed the sending side ([`shutdown_write`](crate::Reactor::shutdown_write),
    /// [`release`](crate::Reactor::release), [`close`](crate::Reactor::close)).
    #[non_exhaustive]
    Drained {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
    },
    /// The connection is gone, or could not be made, and its id with it. Delivered exactly once, as the last event, for each connection that
    /// was not [`remove`](crate::Reactor::remove)d and did not end with [`Released`](crate::Event::Released).
    #[non_exhaustive]
    Closed {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
        /// How it ended.
        reason: CloseReason,
    },
    /// The connection has left the reactor, and its stream is the caller's again. Delivered as the last event, instead
    /// of [`Closed`](Event::Closed), after [`release`](crate::Reactor::release). A stream that is not taken out of the
    /// events is closed.
    #[non_exhaustive]
    Released {
        /// The connection.
        conn: ConnId,
        /// The connection's token.
        token: Token,
        /// The stream, as it was added.
        stream: TcpStream,
    },
    /// A watched handle is signalled, or a readiness listener has connections waiting. Each wait reports it again until
    /// that is no longer so.
    #[non_exhaustive]
    Ready {
        /// The watch.
        watch: WatchId,
        /// The watch's token.
        token: Token,
    },
    /// A datagram has arrived. One wait delivers at most 16 of each socket. A datagram without bytes is a datagram like
    /// others.
    #[non_exhaustive]
    Datagram {
        /// The datagram socket.
        udp: UdpId,
        /// The socket's token.
        token: Token,
        /// Where it came from, to [answer](crate::Reactor::send_to).
        from: SocketAddr,
        /// The bytes, at most [`Builder::buffer_size`](crate::Builder::buffer_size).
        data: &'a [u8],
        /// The datagram was longer than that, and the rest of it is lost.
        truncated: bool,
    },
    /// A send or a receive of a datagram socket has failed. The socket continues: this needs no reaction. Until this is
    /// delivered, further failures of the socket are only logged. See [`Reactor::udp`](crate::Reactor::udp).
    #[non_exhaustive]
    UdpFailed {
        /// The datagram socket.
        udp: UdpId,
        /// The socket's token.
        token: Token,
        /// The system's reason.
        error: io::Error,
    },
    /// A timer is due; a one-shot timer ends with this.
    #[non_exhaustive]
    Timer {
        /// The timer.
        timer: TimerId,
        /// The timer's token.
        token: Token,
        /// How many further ticks of a periodic timer became due before this event was collected.
        missed: u64,
    },
    /// A post by a [`Poster`](crate::Poster).
    #[non_exhaustive]
    Posted {
        /// As posted.
        token: Token,
        /// As posted.
        value: u64,
    },
    /// Values wait in an [`Inbox`](crate::Inbox), or its last [`Sender`](crate::Sender) is gone. Delivered once for all
    /// values that wait, and not again before the caller has [drained](crate::Inbox::drain) the inbox. The end is an event
    /// of its own, delivered once: it comes when no value waits, so it follows the values.
    #[non_exhaustive]
    Inbox {
        /// The channel's token.
        token: Token,
    },
    /// The addresses of a host, or why they could not be found out: see [`Reactor::resolve`](crate::Reactor::resolve).
    /// The look-up ends with this.
    #[non_exhaustive]
    Resolved {
        /// The look-up.
        lookup: LookupId,
        /// The look-up's token.
        token: Token,
        /// At least one address, each with the port that was passed, in the system's order of preference.
        result: io::Result<Vec<SocketAddr>>,
    },
    /// The name of an address, or why it could not be found out: see
    /// [`Reactor::lookup_name`](crate::Reactor::lookup_name). The look-up ends with this.
    #[non_exhaustive]
    Named {
        /// The look-up.
        lookup: LookupId,
        /// The look-up's token.
        token: Token,
        /// The name, one of whose addresses is the one that was passed.
        result: io::Result<String>,
    },
    /// A read of a file has ended: see [`Reactor::read_file`](crate::Reactor::read_file).
    #[non_exhaustive]
    FileRead {
        /// The operation, which ends with this.
        op: FileOpId,
        /// The operation's token.
        token: Token,
        /// How many bytes were read, 0 at the end of the file; or the system's reason why none could be.
        result: io::Result<usize>,
        /// The caller's buffer, with the bytes that were read and no others.
        buffer: Vec<u8>,
    },
    /// A write to a file has ended: see [`Reactor::write_file`](crate::Reactor::write_file).
    #[non_exhaustive]
    FileWritten {
        /// The operation, which ends with this.
        op: FileOpId,
        /// The operation's token.
        token: Token,
        /// How many bytes were written: all of them, or as many as came before the failure.
        written: usize,
        /// The system's reason why not all could be written.
        result: io::Result<()>,
        /// The caller's buffer, unchanged.
        buffer: Vec<u8>,
    },
    /// A file has been sent: see [`Reactor::send_file`](crate::Reactor::send_file).
    #[non_exhaustive]
    FileSent {
        /// The operation, which ends with this.
        op: FileOpId,
        /// The connection.
        conn: ConnId,
        /// The operation's token.
        token: Token,
        /// How many bytes of the file the system has taken: fewer than the range has if the file ends earlier. If it could not
        /// be read, Windows may have taken some more.
        sent: u64,
        /// The system's reason why the file could not be read further. The connection then ends with
        /// [`Closed`](Event::Closed), because what was sent behind the file would follow a hole.
        result: io::Result<()>,
    },
    /// A [`Waker`](crate::Waker) was used, once or more often.
    Woken,
    /// The operator has typed something, or a user or the system asks the program to end. See
    /// [`Reactor::add_console`](crate::Reactor::add_console) and [`Reactor::add_signals`](crate::Reactor::add_signals).
    #[non_exhaustive]
    Console {
        /// The token of the registration.
        token: Token,
        /// The input or the request.
        input: ConsoleInput<'a>,
    },
}

impl<'a> Event<'a> {
    /// The token of the registration that the event belongs to, or of the post; `None` for a wake.
    ///
    /// ```
    /// # use dolmen::{Event, Token};
    /// # let mut reactor = dolmen::Reactor::new()?;
    /// # let mut events = dolmen::Events::with_capacity(16);
    /// reactor.poster().post(1, Token(8))?;
    /// reactor.wait(&mut events, None)?;
    /// assert_eq!(events.drain().next().and_then(|event| event.token()), Some(Token(8)));
    /// assert_eq!(Event::Woken.token(), None);
    /// # Ok::<(), dolmen::Error>(())
    /// ```
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Event::Accepted { token, .. }
            | Event::AcceptFailed { token, .. }
            | Event::Connected { token, .. }
            | Event::Received { token, .. }
            | Event::EndOfStream { token, .. }
            | Event::Drained { token, .. }
            | Event::Closed { token, .. }
            | Event::Released { token, .. }
            | Event::Ready { token, .. }
            | Event::Datagram { token, .. }
            | Event::UdpFailed { token, .. }
            | Event::Timer { token, .. }
            | Event::Posted { token, .. }
            | Event::Inbox { token, .. }
            | Event::Resolved { token, .. }
            | Event::Named { token, .. }
            | Event::FileRead { token, .. }
            | Event::FileSent { token, .. }
            | Event::FileWritten { token, .. }
            | Event::Console { token, .. } => Some(*token),
            Event::Woken => None,
        }
    }

    /// The caller's view of a record. `None` for a stream that was taken, and for records that only the C library gets.
    fn of(record: &'a mut Record<TcpStream>) -> Option<Event<'a>> {
        Some(match *record {
            Record::Accepted { listener, token, ref mut stream, peer } => {
                Event::Accepted { listener, token, stream: stream.take()?, peer }
            }
            Record::AcceptFailed { listener, token, code } => {
                Event::AcceptFailed { listener, token, error: io::Error::from_raw_os_error(code) }
            }
            Record::Received { conn, token, ref buffer } => {
                Event::Received { conn, token, data: buffer.as_slice() }
            }
            Record::Connected { conn, token, ref ends } => {
                let (local, peer) = (**ends).clone();
                Event::Connected { conn, token, local, peer }
            }
            Record::EndOfStream { conn, token } => Event::EndOfStream { conn, token },
            Record::Drained { conn, token } => Event::Drained { conn, token },
            Record::Closed { conn, token, reason } => Event::Closed { conn, token, reason },
            Record::Released { conn, token, ref mut stream } => {
                Event::Released { conn, token, stream: stream.take()? }
            }
            Record::Ready { watch, token } => Event::Ready { watch, token },
            Record::Datagram { udp, token, from, ref buffer, truncated } => {
                Event::Datagram { udp, token, from, data: buffer.as_slice(), truncated }
            }
            Record::UdpFailed { udp, token, code } => {
                Event::UdpFailed { udp, token, error: io::Error::from_raw_os_error(code) }
            }
            Record::Timer { timer, token, missed, .. } => Event::Timer { timer, token, missed },
            Record::Posted { token, value } => Event::Posted { token, value },
            Record::Inbox { token, .. } => Event::Inbox { token },
            Record::Resolved { lookup, token, ref mut result } => {
                Event::Resolved { lookup, token, result: result.take()? }
            }
            Record::Named { lookup, token, ref mut result } => {
                Event::Named { lookup, token, result: result.take()? }
            }
            Record::FileRead { op, token, ref mut error, ref mut buffer } => {
                let buffer = buffer.take()?;
                let result = error.take().map_or(Ok(buffer.len()), Err);
                Event::FileRead { op, token, result, buffer }
            }
            Record::FileWritten { op, token, ref mut failed, ref mut buffer } => {
                let buffer = buffer.take()?;
                let (written, result) = match failed.take() {
                    Some(failed) => (failed.written, Err(failed.error)),
                    None => (buffer.len(), Ok(())),
                };
                Event::FileWritten { op, token, written, result, buffer }
            }
            Record::FileSent { op, conn, token, sent, ref mut error, .. } => {
                Event::FileSent { op, conn, token, sent, result: error.take().map_or(Ok(()), Err) }
            }
            Record::Woken => Event::Woken,
            Record::Console { token, ref input, .. } => Event::Console { token, input: input.as_event()? },
            Record::Polled { .. } | Record::Written { .. } => return None,
        })
    }
}

impl Events {
    /// Room for up to `capacity` events for each wait (at least one, at most 65 536).
    ///
    /// A wait never returns more; what did not fit comes first in the next one.
    ///
    /// ```
    /// # use dolmen::Events;
    /// let events = Events::with_capacity(128);
    /// assert_eq!((events.capacity(), events.len()), (128, 0));
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        Events { batch: Batch::with_capacity(capacity) }
    }

    /// How many events one wait may return.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.batch.capacity()
    }

    /// How many events the last wait has returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether the last wait has returned none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Hands out each event, once and in order. `for event in &mut events` does the same.
    ///
    /// Events of a registration that was removed after the wait are left out. Stopping half-way is fine: a later
    /// `drain` continues where this one ended. The bytes stay valid until the events are cleared, dropped or passed to
    /// the next wait.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// reactor.waker().wake();
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Woken)));
    /// assert!(events.drain().next().is_none(), "each event is handed out once");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { records: self.batch.drain() }
    }

    /// Discards the events and returns their buffers to the reactor. Closes the streams that were not taken.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// reactor.waker().wake();
    /// reactor.wait(&mut events, None)?;
    /// events.clear();
    /// assert!(events.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&mut self) {
        self.batch.clear();
    }

    /// What the engine fills.
    pub(crate) fn batch(&mut self) -> &mut Batch<TcpStream> {
        &mut self.batch
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a mut Events {
    type Item = Event<'a>;
    type IntoIter = Drain<'a>;

    fn into_iter(self) -> Drain<'a> {
        self.drain()
    }
}

/// Hands out events; see [`Events::drain`].
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// reactor.wait(&mut events, Some(std::time::Duration::ZERO))?;
/// let received = events.drain().filter(|event| matches!(event, Event::Received { .. })).count();
/// assert_eq!(received, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "an event is handed out when the iterator reaches it"]
pub struct Drain<'a> {
    records: Records<'a, TcpStream>,
}

impl<'a> Iterator for Drain<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        // Most events, without the copy that a call would return.
        match self.records.next()? {
            Record::Received { conn, token, buffer } => {
                Some(Event::Received { conn: *conn, token: *token, data: buffer.as_slice() })
            }
            other => Event::of(other).or_else(|| self.records.find_map(Event::of)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl FusedIterator for Drain<'_> {}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::console::Input;
    use crate::kernel::buffer_pool::BufferPool;
    use crate::kernel::readiness::Readiness;
    use crate::removed::Removed;
    use crate::token::{Key, PollId};

    const TOKEN: Token = Token(7);
    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4242);

    /// Each record, what the caller sees of it, and how its registration is removed. A post, a wake and a signal belong
    /// to no registration.
    #[test]
    fn each_record_becomes_its_event_until_its_registration_is_removed() {
        let key = Key { slot: 3, generation: NonZeroU32::MIN };
        let (conn, listener, watch) = (ConnId(key), ListenerId(key), WatchId(key));
        let (timer, poll, udp, token) = (TimerId(key), PollId(key), UdpId(key), TOKEN);
        let lookup = LookupId(key);
        let [buffer, datagram] = [(); 2].map(|()| {
            let mut buffer = BufferPool::new(1, 64).take();
            buffer.extend(b"hello");
            buffer
        });
        let code = 5;
        let error = io::Error::from_raw_os_error(code);
        let reason = CloseReason::Reset;
        let line = || Input::Line("look".into());
        type Remove<'a> = Option<&'a dyn Fn(&Removed)>;
        let of_conn: Remove<'_> = Some(&|removed| removed.mark_conn(conn));
        let of_lookup: Remove<'_> = Some(&|removed| removed.mark_lookup(lookup));
        let of_listener: Remove<'_> = Some(&|removed| removed.mark_listener(listener));
        let ends = (Address::from(PEER), Address::from(PEER));
        let of_udp: Remove<'_> = Some(&|removed| removed.mark_udp(udp));
        let table: [(Record<TcpStream>, String, Remove<'_>); 19] = [
            (
                Record::AcceptFailed { listener, token, code },
                format!("{:?}", Event::AcceptFailed { listener, token, error }),
                of_listener,
            ),
            (
                Record::Received { conn, token, buffer },
                format!("{:?}", Event::Received { conn, token, data: b"hello" }),
                of_conn,
            ),
            (
                Record::Connected { conn, token, ends: Box::new(ends.clone()) },
                format!("{:?}", Event::Connected { conn, token, local: ends.0, peer: ends.1 }),
                of_conn,
            ),
            (
                Record::EndOfStream { conn, token },
                format!("{:?}", Event::EndOfStream { conn, token }),
                of_conn,
            ),
            (Record::Drained { conn, token }, format!("{:?}", Event::Drained { conn, token }), of_conn),
            (
                Record::Closed { conn, token, reason },
                format!("{:?}", Event::Closed { conn, token, reason }),
                of_conn,
            ),
            (
                Record::Ready { watch, token },
                format!("{:?}", Event::Ready { watch, token }),
                Some(&|removed| removed.mark_watch(watch)),
            ),
            (
                Record::Timer { timer, token, missed: 2, last: true },
                format!("{:?}", Event::Timer { timer, token, missed: 2 }),
                Some(&|removed| removed.mark_timer(timer)),
            ),
            (
                Record::Datagram { udp, token, from: PEER, buffer: datagram, truncated: true },
                format!("{:?}", Event::Datagram { udp, token, from: PEER, data: b"hello", truncated: true }),
                of_udp,
            ),
            (
                Record::UdpFailed { udp, token, code },
                format!("{:?}", Event::UdpFailed { udp, token, error: io::Error::from_raw_os_error(code) }),
                of_udp,
            ),
            (Record::Posted { token, value: 9 }, format!("{:?}", Event::Posted { token, value: 9 }), None),
            (
                Record::Resolved { lookup, token, result: Some(Ok(vec![PEER])) },
                format!("{:?}", Event::Resolved { lookup, token, result: Ok(vec![PEER]) }),
                of_lookup,
            ),
            (
                Record::Named { lookup, token, result: Some(Ok("mud.example".into())) },
                format!("{:?}", Event::Named { lookup, token, result: Ok("mud.example".into()) }),
                of_lookup,
            ),
            (Record::Woken, format!("{:?}", Event::Woken), None),
            (
                Record::Console { token, registration: 1, input: line() },
                format!("{:?}", Event::Console { token, input: ConsoleInput::Line("look") }),
                Some(&|removed| removed.mark_console(1)),
            ),
            (
                Record::Console { token, registration: 0, input: Input::Interrupt },
                format!("{:?}", Event::Console { token, input: ConsoleInput::Interrupt }),
                None,
            ),
            // These have no event.
            (Record::Console { token, registration: 1, input: Input::WindowChanged }, String::new(), None),
            (Record::Polled { poll, token, ready: Readiness::READABLE }, String::new(), None),
            (Record::Written { conn, token, bytes: 5 }, String::new(), None),
        ];
        for (mut record, expected, remove) in table {
            let removed = Removed::default();
            assert!(!record.is_stale(&removed), "{expected}");
            if let Some(remove) = remove {
                remove(&removed);
                assert!(record.is_stale(&removed), "{expected}");
            } else if !expected.is_empty() {
                removed.mark_console(u32::MAX);
                assert!(!record.is_stale(&removed), "{expected}");
            }
            let wakes = matches!(record, Record::Woken);
            let event = Event::of(&mut record);
            assert_eq!(event.as_ref().map(|event| format!("{event:?}")).unwrap_or_default(), expected);
            if let Some(event) = event {
                assert_eq!(event.token(), (!wakes).then_some(TOKEN), "{expected}");
            }
        }
    }

    #[test]
    fn a_stream_is_handed_out_once() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let stream = TcpStream::connect(server.local_addr().expect("an address")).expect("connect");
        let listener = ListenerId(Key { slot: 0, generation: NonZeroU32::MIN });
        let mut record = Record::Accepted { listener, token: TOKEN, stream: Some(stream), peer: PEER };
        let event = Event::of(&mut record).expect("the first time");
        assert_eq!(event.token(), Some(TOKEN));
        assert!(matches!(event, Event::Accepted { listener: of, peer: PEER, .. } if of == listener));
        assert!(Event::of(&mut record).is_none());
        let removed = Removed::default();
        removed.mark_listener(listener);
        assert!(record.is_stale(&removed));

        let stream = TcpStream::connect(server.local_addr().expect("an address")).expect("connect");
        let conn = ConnId(listener.0);
        let mut record = Record::Released { conn, token: TOKEN, stream: Some(stream) };
        let event = Event::of(&mut record).expect("the first time");
        assert_eq!(event.token(), Some(TOKEN));
        assert!(matches!(event, Event::Released { conn: of, .. } if of == conn));
        assert!(Event::of(&mut record).is_none());
        removed.mark_conn(conn);
        assert!(record.is_stale(&removed));
    }
}
