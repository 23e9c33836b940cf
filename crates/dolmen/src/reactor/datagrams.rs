//! The reactor's methods for datagram sockets.

use std::net::{SocketAddr, UdpSocket};

use super::Reactor;
use crate::error::{AddError, Error};
use crate::token::{Token, UdpId};

impl Reactor {
    /// Registers a bound datagram socket and delivers each datagram that arrives as a
    /// [`Datagram`](crate::Event::Datagram) event.
    ///
    /// The reactor owns the socket from now on. Every option is set before this call: broadcast, the size of the system's
    /// buffers, and the groups of a multicast receiver, which is shown below.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::net::UdpSocket;
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let udp = reactor.udp(UdpSocket::bind("127.0.0.1:0")?, Token(5))?;
    /// let peer = UdpSocket::bind("127.0.0.1:0")?;
    /// peer.send_to(b"hello", reactor.udp_local_addr(udp)?)?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     match event {
    ///         Event::Datagram { udp, from, data, truncated: false, .. } => reactor.send_to(udp, data, from)?,
    ///         event => panic!("{event:?}"),
    ///     }
    /// }
    /// reactor.flush();
    /// assert_eq!(peer.recv(&mut [0; 64])?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Failures
    ///
    /// Nothing that the network reports ends the socket. A failed send or receive is reported by an
    /// [`UdpFailed`](crate::Event::UdpFailed) event, and the reactor continues: immediately after a failure that an earlier
    /// datagram has caused, as when a peer's port is closed (with a pause of 10 ms after 64 of them in a row), otherwise
    /// after pauses that double from 10 ms to a second. When the system is out of memory or buffers, which is only logged,
    /// the reactor tries again after such pauses as well.
    ///
    /// Which failures the system reports is its own affair. Linux reports closed ports only to connected sockets. Windows
    /// would report them as a reset to any socket; the reactor turns that off (`SIO_UDP_CONNRESET`, `SIO_UDP_NETRESET`), for
    /// connected sockets as well.
    ///
    /// # What is not promised
    ///
    /// Datagrams may be lost, doubled and reordered by the network, and the system drops those for which its buffer has no
    /// room. A datagram that is longer than [`Builder::buffer_size`](crate::Builder::buffer_size) is cut, and its event
    /// says so.
    ///
    /// On Linux a socket that is bound to `[::]` also gets IPv4 datagrams, unless `IPV6_V6ONLY` is set; on Windows only if
    /// it is cleared. Their senders have addresses in the form of IPv6 (`::ffff:192.0.2.7`, see
    /// [`IpAddr::to_canonical`](std::net::IpAddr::to_canonical)); reply to the address as it was reported.
    ///
    /// A socket may be [connected](UdpSocket::connect): then the system delivers only the datagrams of that peer. It does
    /// not change where [`send_to`](Reactor::send_to) sends to.
    ///
    /// # Multicast
    ///
    /// A receiver of a group joins it before the socket is registered. Several programs can receive the same group if
    /// each allows the address to be reused:
    ///
    /// ```no_run
    /// # use dolmen::{Reactor, Token};
    /// # use std::net::{Ipv4Addr, SocketAddr};
    /// use socket2::{Domain, Socket, Type};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    /// socket.set_reuse_address(true)?;
    /// socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4404)).into())?;
    /// socket.join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &Ipv4Addr::UNSPECIFIED)?;
    /// let announcements = reactor.udp(socket.into(), Token(6))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The socket is returned with [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered),
    /// [`InvalidHandle`](crate::ErrorKind::InvalidHandle) (also for a socket that is not a datagram socket, or is not
    /// bound) or [`Exhausted`](crate::ErrorKind::Exhausted).
    ///
    /// # References
    ///
    /// udp(7), ip(7); Microsoft Learn: "WSARecvFrom", "WSASendTo", "Winsock IOCTLs".
    pub fn udp(&mut self, socket: UdpSocket, token: Token) -> Result<UdpId, AddError<UdpSocket>> {
        self.engine.udp(socket, token)
    }

    /// Queues a datagram to be sent to `to`, whole, after those that were queued before.
    ///
    /// The bytes are copied. They leave with the next [`wait`](Reactor::wait) or [`flush`](Reactor::flush), one datagram
    /// after the other, as fast as the system takes them. A datagram that the system refuses (longer than the path allows,
    /// no route, an address of the other family, forbidden) is tried once more, is then dropped, and an
    /// [`UdpFailed`](crate::Event::UdpFailed) event reports that; those behind it are sent. So a failure of the network is
    /// never an error of this call, and the event does not say which datagram it was. For a connected socket, too, `to` is where the datagram goes; systems may refuse an
    /// address other than the peer's.
    ///
    /// ```
    /// # use dolmen::{ErrorKind, Reactor, Token};
    /// # use std::net::UdpSocket;
    /// # let mut reactor = Reactor::new()?;
    /// # let udp = reactor.udp(UdpSocket::bind("127.0.0.1:0")?, Token(5))?;
    /// # let to = reactor.udp_local_addr(udp)?;
    /// match reactor.send_to(udp, b"12 players", to) {
    ///     Ok(()) => {}
    ///     // The network is slower than we are, and datagrams may be lost anyway.
    ///     Err(error) if error.kind() == ErrorKind::QueueFull => {}
    ///     Err(error) => return Err(error.into()),
    /// }
    /// assert_eq!(reactor.send_to(udp, &[0; 65_508], to).unwrap_err().kind(), ErrorKind::TooLarge);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing of the datagram is taken with [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) while the queue of this
    /// socket would grow beyond [`Builder::high_water_mark`](crate::Builder::high_water_mark), where each datagram counts 32
    /// bytes more than it carries (no event reports room); with [`TooLarge`](crate::ErrorKind::TooLarge) for more than
    /// 65,507 bytes, or more than that queue can hold; with [`NotFound`](crate::ErrorKind::NotFound) after
    /// [`remove_udp`](Reactor::remove_udp).
    pub fn send_to(&mut self, udp: UdpId, bytes: &[u8], to: SocketAddr) -> Result<(), Error> {
        self.engine.send_to(udp, bytes, to)
    }

    /// Returns the address to which a datagram socket is bound.
    ///
    /// ```
    /// # use dolmen::{Reactor, Token};
    /// # use std::net::UdpSocket;
    /// # let mut reactor = Reactor::new()?;
    /// let udp = reactor.udp(UdpSocket::bind("127.0.0.1:0")?, Token(5))?;
    /// assert_ne!(reactor.udp_local_addr(udp)?.port(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), or what the system reports.
    pub fn udp_local_addr(&mut self, udp: UdpId) -> Result<SocketAddr, Error> {
        self.engine.udp_local_addr(udp)
    }

    /// Ends a datagram socket and closes it. No further event of it is delivered, not even one that is already in
    /// [`Events`](crate::Events). Datagrams that are still queued are lost: [`flush`](Reactor::flush) first. Returns false
    /// if the id is not (or no longer) a datagram socket's.
    ///
    /// On Linux another socket can be bound to the address after the next [`wait`](Reactor::wait), on Windows after one
    /// of the next.
    ///
    /// ```
    /// # use dolmen::{Reactor, Token};
    /// # use std::net::UdpSocket;
    /// # let mut reactor = Reactor::new()?;
    /// let udp = reactor.udp(UdpSocket::bind("127.0.0.1:0")?, Token(5))?;
    /// assert!(reactor.remove_udp(udp));
    /// assert!(!reactor.remove_udp(udp));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_udp(&mut self, udp: UdpId) -> bool {
        self.engine.remove_udp(udp)
    }
}
