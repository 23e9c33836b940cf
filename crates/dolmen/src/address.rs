//! [`Address`]: one end of a stream, and [`Target`]: where to connect.

use std::fmt;
#[cfg(unix)]
use std::io;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::SocketAddr as UnixAddr;
use std::time::Duration;

/// The address of one end of a stream.
///
/// ```
/// use dolmen::Address;
/// let address = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 4000)));
/// assert_eq!(address.to_string(), "127.0.0.1:4000");
/// assert_eq!(address.ip().map(|ip| ip.port()), Some(4000));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum Address {
    /// TCP, over IPv4 or IPv6.
    Ip(SocketAddr),
    /// A Unix domain socket: a path, an abstract name, or none, as a client has that has not bound its socket
    /// ([`is_unnamed`](UnixAddr::is_unnamed)). Unix systems only. In a box because it is four times as large as the other.
    #[cfg(unix)]
    Unix(Box<UnixAddr>),
}

impl Address {
    /// The address of a TCP stream; `None` for any other.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            #[cfg(unix)]
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

#[cfg(unix)]
impl From<UnixAddr> for Address {
    fn from(address: UnixAddr) -> Address {
        Address::Unix(Box::new(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            #[cfg(unix)]
            Address::Unix(address) => match address.as_pathname() {
                Some(path) => path.display().fmt(f),
                None => write!(f, "{address:?}"),
            },
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            #[cfg(unix)]
            Address::Unix(address) => address.fmt(f),
        }
    }
}

/// Where to connect: an address, and if you like a socket to use and how long to try.
///
/// ```
/// use dolmen::Target;
/// use std::net::SocketAddr;
/// use std::time::Duration;
/// let address = SocketAddr::from(([127, 0, 0, 1], 4000));
/// let patient = Target::from(address).timeout(Duration::from_secs(60));
/// ```
#[derive(Debug)]
#[must_use = "a target connects nothing until it is passed to `Reactor::connect`"]
pub struct Target {
    pub(crate) address: Address,
    pub(crate) socket: Option<TcpStream>,
    pub(crate) timeout: Option<Duration>,
}

impl Target {
    /// The Unix domain socket at this path. Unix systems only.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// let target = dolmen::Target::unix("/run/game.sock")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// For a path that is too long for a socket, or contains a zero byte.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<std::path::Path>) -> io::Result<Target> {
        Ok(Target::from(UnixAddr::from_pathname(path)?))
    }

    /// Uses this socket, which is neither connected nor listening, instead of a new one: for a source address of your
    /// own, or an option that must be set before connecting. It may be bound. It has to be of the address's family (IPv4
    /// for an IPv4 address), and on Linux without `TCP_FASTOPEN_CONNECT`; [`Reactor::connect`](crate::Reactor::connect)
    /// refuses others. The type is that of streams because it becomes one: `socket2::Socket` converts into it.
    ///
    /// ```
    /// use dolmen::Target;
    /// use socket2::{Domain, Socket, Type};
    /// use std::net::SocketAddr;
    ///
    /// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    /// socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())?;
    /// let target = Target::from(SocketAddr::from(([127, 0, 0, 1], 4000))).socket(socket.into());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn socket(self, socket: TcpStream) -> Target {
        Target { socket: Some(socket), ..self }
    }

    /// How long to try, instead of [`Builder::connect_timeout`](crate::Builder::connect_timeout), counted from the call
    /// of [`Reactor::connect`](crate::Reactor::connect). The system may give up earlier.
    ///
    /// With [`Duration::ZERO`] the connection ends as timed out in the next wait unless it stands by then, which it may on
    /// the same machine. [`Duration::MAX`] leaves the limit to the system.
    pub fn timeout(self, timeout: Duration) -> Target {
        Target { timeout: Some(timeout), ..self }
    }
}

impl<A: Into<Address>> From<A> for Target {
    fn from(address: A) -> Target {
        Target { address: address.into(), socket: None, timeout: None }
    }
}
