//! The verbs for outgoing connections.

use super::Reactor;
use crate::address::Target;
use crate::error::Error;
use crate::token::{ConnId, Token};

/// Outgoing connections.
impl Reactor {
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

    /// Looks up the addresses of a host as [`resolve`](Reactor::resolve) does, and connects to one of them. The id is good
    /// immediately, and the events are those of [`connect`](Reactor::connect): [`Connected`](crate::Event::Connected), or
    /// [`Closed`](crate::Event::Closed) with [`CloseReason::Unresolved`](crate::CloseReason::Unresolved), which has the
    /// error of the look-up, if there is no address, and with the reason of the attempt that has failed last if none of
    /// them accepts.
    ///
    /// The addresses are tried in the system's order, except that IPv6 and IPv4 take turns (RFC 8305). The next one is
    /// tried when the last attempt has failed, or after 250 ms, while the earlier attempts continue; the first that
    /// succeeds is the connection, and the others are given up. An address that the system lists twice is tried twice.
    /// [`Builder::connect_timeout`](crate::Builder::connect_timeout) limits the look-up and all attempts together.
    /// [`remove`](Reactor::remove) and the other verbs that end a connection also end the look-up. A prepared socket is
    /// not possible: which family it needs is not known.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::net::TcpListener;
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let conn = reactor.connect_host("localhost", listener.local_addr()?.port(), Token(3))?;
    /// reactor.send(conn, b"hello\n")?;
    /// # loop {
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     match event {
    ///         Event::Connected { conn: of, peer, .. } if of == conn => println!("connected to {peer}"),
    ///         // Not resolved, refused by all addresses, or timed out; or it has ended later.
    ///         Event::Closed { conn: of, reason, .. } if of == conn => println!("no connection: {reason}"),
    ///         _ => {}
    ///     }
    /// #   return Ok(());
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Connecting again
    ///
    /// A link that has to stay up is made anew after its `Closed`, with pauses that grow until the other end has said
    /// something:
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::net::TcpListener;
    /// use std::time::Duration;
    ///
    /// const LINK: Token = Token(3);
    /// const RETRY: Token = Token(4);
    /// const FIRST_PAUSE: Duration = Duration::from_millis(100);
    /// const LONGEST_PAUSE: Duration = Duration::from_secs(60);
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let port = listener.local_addr()?.port();
    /// # std::thread::spawn(move || (0..2).for_each(|_| drop(listener.accept())));
    /// # let mut times = 0;
    /// let mut pause = FIRST_PAUSE;
    /// reactor.connect_host("127.0.0.1", port, LINK)?;
    /// loop {
    ///     reactor.wait(&mut events, None)?;
    ///     for event in &mut events {
    ///         match event {
    ///             Event::Received { token: LINK, .. } => pause = FIRST_PAUSE,
    ///             Event::EndOfStream { token: LINK, conn, .. } => drop(reactor.close(conn)),
    ///             Event::Closed { token: LINK, reason, .. } => {
    ///                 println!("no link ({reason}), again in {pause:?}");
    ///                 reactor.add_timer(pause, RETRY);
    ///                 pause = (pause * 2).min(LONGEST_PAUSE);
    /// #               times += 1;
    /// #               if times == 3 { return Ok(()); }
    ///             }
    ///             Event::Timer { token: RETRY, .. } => {
    ///                 // Without a descriptor to spare, for example.
    ///                 if reactor.connect_host("127.0.0.1", port, LINK).is_err() {
    ///                     reactor.add_timer(pause, RETRY);
    ///                 }
    ///             }
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// # #[allow(unreachable_code)]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Reactor::resolve), and [`ErrorKind::TableFull`](crate::ErrorKind::TableFull). For an address in
    /// text as for [`connect`](Reactor::connect).
    pub fn connect_host(&mut self, host: &str, port: u16, token: Token) -> Result<ConnId, Error> {
        self.engine.connect_host(host, port, token)
    }
}
