//! What the caller may ask a socket for, and change of it.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

pub(crate) trait StreamOptions {
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    fn local_addr(&self) -> io::Result<SocketAddr>;

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;

    /// Has the system probe the peer when nothing has arrived for this time; `None`: never.
    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()>;
}

impl StreamOptions for TcpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        TcpStream::peer_addr(self)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpStream::local_addr(self)
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        TcpStream::set_nodelay(self, nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        super::set_keepalive(self, after)
    }
}

pub(crate) trait DatagramOptions {
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl DatagramOptions for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        UdpSocket::local_addr(self)
    }
}
