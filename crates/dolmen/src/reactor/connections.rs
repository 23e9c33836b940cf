//! The verbs for connections, but for those that make and end one.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Reactor;
use crate::error::{AddError, Error, ErrorKind};
use crate::shared_bytes::SharedBytes;
use crate::token::{ConnId, Token};

/// Connections.
impl Reactor {
    /// Registers a connected stream, which the reactor owns from now on. Its events carry `token`.
    ///
    /// A stream whose own linger time is set (`SO_LINGER` with more than zero seconds) blocks the thread that closes
    /// it, and with it the reactor, for up to that time. Leave that option alone: [`close`](Reactor::close) does what
    /// it is for.
    ///
    /// The reactor does not check that the stream is connected: one that is not ends with
    /// [`Closed`](crate::Event::Closed).
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// let (stream, _) = listener.accept()?;
    /// let conn = reactor.add(stream, Token(5))?;
    /// peer.write_all(b"look\n")?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     let Event::Received { conn: of, token, data, .. } = event else { panic!("{event:?}") };
    ///     assert_eq!((of, token, data), (conn, Token(5), &b"look\n"[..]));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The stream is returned with [`ErrorKind::TableFull`](crate::ErrorKind::TableFull),
    /// [`AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered), [`InvalidHandle`](crate::ErrorKind::InvalidHandle)
    /// (also for a socket that is not a stream socket, or is a listening one) or
    /// [`Exhausted`](crate::ErrorKind::Exhausted).
    pub fn add(&mut self, stream: TcpStream, token: Token) -> Result<ConnId, AddError<TcpStream>> {
        self.engine.add(stream, token)
    }

    /// Queues a copy of `bytes` to be sent, all of them or none. An empty slice is not a special case.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.send(conn, b"You are in ")?;
    /// reactor.send(conn, b"a maze.\n")?;
    /// reactor.close(conn)?;
    /// # drop(peer.try_clone()?.shutdown(std::net::Shutdown::Write));
    /// while reactor.wait(&mut events, None)? > 0 {
    ///     if let Some(Event::Closed { .. }) = events.drain().last() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(std::io::read_to_string(peer)?, "You are in a maze.\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) when the queue would grow beyond [`Builder::high_water_mark`](crate::Builder::high_water_mark);
    /// then nothing is taken, and a [`Drained`](crate::Event::Drained) event reports when the same bytes would fit.
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) when they never would.
    /// [`ErrorKind::SendClosed`](crate::ErrorKind::SendClosed) after [`shutdown_write`](Reactor::shutdown_write),
    /// [`release`](Reactor::release) or a failure, [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) after `close`, `abort`, `remove` or the end.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        self.engine.send(conn, bytes)
    }

    /// As [`send`](Reactor::send), without a copy: the bytes are stored once, however many connections send them.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// # let players = [conn];
    /// let greeting = dolmen::SharedBytes::from("Welcome.\r\n");
    /// for conn in players {
    ///     reactor.send_shared(conn, &greeting)?;
    /// }
    /// # reactor.flush();
    /// # assert_eq!(peer.read(&mut [0; 64])?, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Reactor::send).
    pub fn send_shared(&mut self, conn: ConnId, bytes: &SharedBytes) -> Result<(), Error> {
        self.engine.send_shared(conn, bytes)
    }

    /// Sends the same bytes on many connections: [`send_shared`](Reactor::send_shared) for each. Returns those that have
    /// refused them, with the kind of error that `send` would have returned. So for each connection the order and the
    /// limits are those of [`send`](Reactor::send).
    ///
    /// A connection that has nothing else to send is sent to directly from the shared bytes; small pieces that are
    /// queued behind each other are copied, and sent together.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// # let gone = conn;
    /// # let players = [conn];
    /// for (conn, kind) in reactor.broadcast(players, "It starts to rain.\r\n") {
    ///     println!("{conn} misses the rain: {kind}");
    /// }
    /// # reactor.flush();
    /// # assert_eq!(peer.read(&mut [0; 64])?, 20);
    /// # reactor.remove(gone);
    /// # assert_eq!(reactor.broadcast([gone], "?"), [(gone, dolmen::ErrorKind::NotFound)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn broadcast(
        &mut self,
        conns: impl IntoIterator<Item = ConnId>,
        bytes: impl Into<SharedBytes>,
    ) -> Vec<(ConnId, ErrorKind)> {
        self.engine.broadcast(conns, &bytes.into())
    }

    /// Returns the number of queued bytes that the system has not taken yet.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.send(conn, b"hello")?;
    /// assert_eq!(reactor.queued_bytes(conn)?, 5);
    /// reactor.flush();
    /// assert_eq!(reactor.queued_bytes(conn)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn queued_bytes(&self, conn: ConnId) -> Result<usize, Error> {
        self.engine.queued_bytes(conn)
    }

    /// Returns how many bytes [`send`](Reactor::send) would take now: the room in the queue, and 0 when the sending side
    /// is closed. A proxy that reads no more than this from one side needs no queue of its own for the other.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// let room = reactor.capacity(conn)?;
    /// reactor.send(conn, b"hello")?;
    /// assert_eq!(reactor.capacity(conn)?, room - 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn capacity(&self, conn: ConnId) -> Result<usize, Error> {
        self.engine.capacity(conn)
    }

    /// Returns the peer's address, of a TCP connection.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// assert_eq!(reactor.peer_addr(conn)?, peer.local_addr()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) once the connection was aborted or removed, or has failed. One
    ///   that is [closing](Reactor::close) is found until its socket is closed.
    /// * [`NotConnected`](crate::ErrorKind::NotConnected) until [`Connected`](crate::Event::Connected), of a connection that
    ///   the reactor makes.
    /// * [`Os`](crate::ErrorKind::Os) with what the system reports. After a reset there is no peer, and a reset may come at
    ///   any moment: where the address is needed, take it from [`Accepted`](crate::Event::Accepted) or
    ///   [`Connected`](crate::Event::Connected), or treat the error as the end of that connection. A Unix socket has no
    ///   address of this type: the error is `EINVAL`, and `Connected` has its addresses.
    pub fn peer_addr(&mut self, conn: ConnId) -> Result<SocketAddr, Error> {
        self.engine.peer_addr(conn)
    }

    /// Returns the address of this end of the connection.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// assert_eq!(reactor.local_addr(conn)?, peer.peer_addr()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`peer_addr`](Reactor::peer_addr).
    pub fn local_addr(&mut self, conn: ConnId) -> Result<SocketAddr, Error> {
        self.engine.local_addr(conn)
    }

    /// Sets `TCP_NODELAY`: whether the system sends small pieces immediately instead of collecting them for a moment.
    /// The reactor itself joins what is queued in one turn, so this costs few packets.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.set_nodelay(conn, true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`peer_addr`](Reactor::peer_addr). A Unix socket has no such option (`EOPNOTSUPP`).
    pub fn set_nodelay(&mut self, conn: ConnId, nodelay: bool) -> Result<(), Error> {
        self.engine.set_nodelay(conn, nodelay)
    }

    /// Has the system probe the peer whenever nothing has arrived for `after`, so that the connection of a peer that is
    /// gone without a word ends; `None`: never, which is how sockets begin. On Linux the time is rounded up to seconds, up to
    /// 32,767. How often it probes before it gives up is the system's setting.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// # use std::time::Duration;
    /// reactor.set_keepalive(conn, Some(Duration::from_secs(120)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`peer_addr`](Reactor::peer_addr). A Unix socket has no such time (`EOPNOTSUPP`).
    pub fn set_keepalive(&mut self, conn: ConnId, after: Option<Duration>) -> Result<(), Error> {
        self.engine.set_keepalive(conn, after)
    }

    /// Returns the connection's socket, for options that the reactor has no call for. It stays the reactor's: to read, write,
    /// shut down or make blocking what it owns disturbs it, and so does a linger time (see [`add`](Reactor::add)). A socket
    /// of another kind that was made a `TcpStream` comes back as one.
    ///
    /// ```
    /// # use dolmen::{Reactor, Token};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.stream(conn)?.set_ttl(64)?;
    /// assert_eq!(reactor.stream(conn)?.ttl()?, 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`peer_addr`](Reactor::peer_addr), except that no call of the system can fail.
    pub fn stream(&mut self, conn: ConnId) -> Result<&TcpStream, Error> {
        self.engine.stream(conn)
    }

    /// Stops reading from the connection and delivering received bytes: TCP slows the peer down. Nothing is lost. The
    /// reactor finds the end of the stream and a reset by reading, so both come after [`resume`](Reactor::resume). On
    /// Windows they may also come before, when a receive that was in progress has found them.
    ///
    /// A send that fails ends the connection even while it is paused, after the [`linger`](crate::Builder::linger) time. Bytes
    /// that were received before that and not delivered are then lost, unless [`resume`](Reactor::resume) comes in
    /// time.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// # use std::time::Duration;
    /// reactor.pause(conn)?;
    /// peer.write_all(b"north\n")?;
    /// assert_eq!(reactor.wait(&mut events, Some(Duration::from_millis(10)))?, 0);
    /// reactor.resume(conn)?;
    /// assert_eq!(reactor.wait(&mut events, None)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn pause(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.pause(conn)
    }

    /// Continues after [`pause`](Reactor::pause).
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.pause(conn)?;
    /// // When the player's last command has been carried out:
    /// reactor.resume(conn)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn resume(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.resume(conn)
    }
}
