//! The verbs for connections.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Reactor;
use crate::address::Target;
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

    /// Connects to a peer. The system is asked to do so by the next [`wait`](Reactor::wait) or
    /// [`flush`](Reactor::flush), and a [`Connected`](crate::Event::Connected) event reports that the connection stands.
    /// If it cannot be made, [`Closed`](crate::Event::Closed) is the only event, with the system's error as its
    /// [reason](crate::CloseReason::Failed): refused, unreachable, or timed out
    /// ([`Builder::connect_timeout`](crate::Builder::connect_timeout), [`Target::timeout`](crate::Target::timeout)).
    ///
    /// The id is good immediately. Sends, files, [`pause`](Reactor::pause),
    /// [`shutdown_write`](Reactor::shutdown_write) and [`release`](Reactor::release) are kept and take effect when the
    /// connection stands, and [`close`](Reactor::close) sends what is queued first, within the linger time.
    /// [`remove`](Reactor::remove) and [`abort`](Reactor::abort) cancel the attempt. The socket's addresses and options
    /// are out of reach until then ([`NotConnected`](crate::ErrorKind::NotConnected)).
    ///
    /// An IPv4 address in the form of IPv6 (`::ffff:192.0.2.7`) is connected to over an IPv6 socket. On Linux that works,
    /// and [`Connected`](crate::Event::Connected) reports such addresses. On Windows it fails, because IPv6 sockets carry
    /// no IPv4 unless `IPV6_V6ONLY` is cleared. [`IpAddr::to_canonical`](std::net::IpAddr::to_canonical) makes an IPv4
    /// address of it for both.
    ///
    /// A connection on which the system has connected a socket to itself counts as refused. That happens on Linux when
    /// a program keeps connecting to a port on its own machine from the range for outgoing connections, without a
    /// listener.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let conn = reactor.connect(address, Token(3))?;
    /// reactor.send(conn, b"hello\n")?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     match event {
    ///         Event::Connected { conn: of, peer, .. } if of == conn => {
    ///             assert_eq!(peer.ip(), Some(address));
    ///         }
    ///         Event::Closed { conn: of, reason, .. } if of == conn => println!("not connected: {reason}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TableFull`](crate::ErrorKind::TableFull), [`Exhausted`](crate::ErrorKind::Exhausted) without a
    /// descriptor, and for a [prepared socket](crate::Target::socket)
    /// [`AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered) or [`InvalidHandle`](crate::ErrorKind::InvalidHandle),
    /// such as for one of another address family. That socket is then closed. Everything that concerns the peer or the
    /// network comes as `Closed`.
    ///
    /// # References
    ///
    /// connect(2); Microsoft Learn: "ConnectEx".
    pub fn connect(&mut self, target: impl Into<Target>, token: Token) -> Result<ConnId, Error> {
        let Target { address, socket, timeout } = target.into();
        self.engine.connect(address, socket, timeout, token)
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

    /// Half-closes the connection: sends what is queued, then FIN, and continues to receive.
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
    /// reactor.send(conn, b"that is all")?;
    /// reactor.shutdown_write(conn)?;
    /// reactor.flush();
    /// assert_eq!(std::io::read_to_string(&peer)?, "that is all");
    /// peer.write_all(b"thanks")?;     // The other direction is still open.
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Received { data: b"thanks", .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn shutdown_write(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.shutdown_write(conn)
    }

    /// Ends a connection in good order: sends what is queued, then FIN, discards the bytes that still arrive (closing a
    /// socket with unread bytes would destroy the last output in transit), and closes the socket when the peer has
    /// closed its side, or after [`Builder::linger`](crate::Builder::linger). Then [`Closed`](crate::Event::Closed) is delivered, and no other
    /// event of the connection before it, except those that the last wait has already put into [`Events`](crate::Events):
    /// a handler of one of these finds that a [`send`](Reactor::send) to the connection fails.
    /// [`remove`](Reactor::remove) drops them as well.
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
    /// reactor.send(conn, b"Good-bye!\n")?;
    /// reactor.close(conn)?;
    /// reactor.flush();
    /// assert_eq!(std::io::read_to_string(&peer)?, "Good-bye!\n");
    /// drop(peer);
    /// reactor.wait(&mut events, None)?;
    /// let event = events.drain().next();
    /// assert!(matches!(event, Some(Event::Closed { reason: dolmen::CloseReason::Finished, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn close(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.close(conn)
    }

    /// Asks for the stream of a connection: for a TLS library that takes over, another thread, or another process.
    ///
    /// This is a request. The queued bytes are sent first, and everything that the reactor has received is delivered.
    /// Then a [`Released`](crate::Event::Released) event with the stream ends the connection, instead of
    /// [`Closed`](crate::Event::Closed). Bytes that the reactor has not received are in the stream. If the connection
    /// fails before that, such as by a reset while bytes are queued, it ends with `Closed` as always.
    ///
    /// [`Received`](crate::Event::Received) events may come after this call, until `Released`: pass their bytes on before
    /// those of the stream. [`flush`](Reactor::flush) may end the release as well as a wait; from then on the id is not
    /// found.
    /// Until then sends are refused; a connection that is [paused](Reactor::pause) with received bytes waits for
    /// `resume`, and one whose peer does not read waits for the peer (on Windows also where a provider cannot cancel a
    /// receive, until the peer sends or closes), unless [`close`](Reactor::close),
    /// [`abort`](Reactor::abort) or [`remove`](Reactor::remove) comes first.
    ///
    /// The stream is in the state in which it was added, except for options that were set, and its sending side is closed
    /// after [`shutdown_write`](Reactor::shutdown_write). On Windows a socket belongs
    /// to one completion port for life: it can be used with the blocking calls of the standard library, and cannot be
    /// added to another reactor, nor to this one again.
    ///
    /// A connection to a Unix socket (`Target::unix`) is released in the same type, which is then only the owner of
    /// its descriptor. The standard library converts it:
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use dolmen::{Event, Events, Reactor, Target, Token};
    /// use std::os::fd::OwnedFd;
    /// use std::os::unix::net::UnixStream;
    /// # use std::os::unix::net::UnixListener;
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let path = std::env::temp_dir().join(format!("dolmen-release-{}", std::process::id()));
    /// # let listener = UnixListener::bind(&path)?;
    /// let conn = reactor.connect(Target::unix(&path)?, Token(0))?;
    /// reactor.release(conn)?;
    /// let mut released = None;
    /// while released.is_none() {
    ///     reactor.wait(&mut events, None)?;
    ///     for event in &mut events {
    ///         if let Event::Released { stream, .. } = event {
    ///             released = Some(UnixStream::from(OwnedFd::from(stream)));
    ///         }
    /// #       else if let Event::Closed { reason, .. } = event { panic!("{reason}") }
    ///     }
    /// }
    /// # assert_eq!(released.unwrap().peer_addr()?.as_pathname(), Some(path.as_path()));
    /// # drop(listener);
    /// # std::fs::remove_file(&path)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// reactor.send(conn, b"ready for TLS\n")?;
    /// reactor.release(conn)?;
    /// reactor.wait(&mut events, None)?;
    /// let Some(Event::Released { mut stream, .. }) = events.drain().next() else { panic!() };
    /// stream.write_all(b"...")?;      // From here on without the reactor.
    /// drop(stream);
    /// assert_eq!(std::io::read_to_string(&peer)?, "ready for TLS\n...");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn release(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.release(conn)
    }

    /// Resets a connection (RST): bytes that are queued or in transit are lost. [`Closed`](crate::Event::Closed)
    /// follows. Also cuts a `close` short.
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
    /// reactor.abort(conn)?;
    /// reactor.wait(&mut events, None)?;
    /// let event = events.drain().next();
    /// assert!(matches!(event, Some(Event::Closed { reason: dolmen::CloseReason::Aborted, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.abort(conn)
    }

    /// Forgets a connection: from here on none of its events is delivered, not even one that is already in [`Events`](crate::Events).
    /// Queued bytes are lost, and the reactor closes the socket as soon as the system has completed its operations.
    /// Returns false if the id is not (or no longer) a connection's; its remaining events, if any, are left out all the
    /// same.
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
    /// assert!(reactor.remove(conn));
    /// assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO))?, 0, "no `Closed` event");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, conn: ConnId) -> bool {
        self.engine.remove(conn)
    }
}
