//! [`Event`]: one thing that a wait has found, as the caller sees it.

use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::address::Address;
use crate::close_reason::CloseReason;
use crate::console::ConsoleInput;
use crate::token::{ConnId, FileOpId, ListenerId, LookupId, TimerId, Token, UdpId, WatchId};

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
        /// The peer's address. That of an IPv4 peer of a listener on IPv6, which on Linux takes both unless
        /// `IPV6_V6ONLY` is set, has the form of IPv6 (`::ffff:192.0.2.7`): see
        /// [`IpAddr::to_canonical`](std::net::IpAddr::to_canonical).
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
        /// At least one address, each with the port that was passed, in the system's order of preference, with its
        /// duplicates if it lists any.
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
}
