//! The contenders: the same two servers over each event loop.
//!
//! *Echo* sends every connection's bytes back to it. *Broadcast* sends what one connection says to all. Each server prints
//! `listening PORT` and serves until its process is ended. All run on one thread, set TCP_NODELAY on what they accept and
//! take their listener, with a backlog of 4,096, from [`listener`]; the rest is as their documentation shows it.

#[cfg(target_os = "linux")]
mod compio;
mod dolmen;
mod mio;
#[cfg(target_os = "linux")]
mod monoio;
mod polling;
#[cfg(target_os = "linux")]
mod raw_epoll;
#[cfg(target_os = "linux")]
mod raw_uring;
mod tokio;

use std::io::{self, Write as _};
use std::net::TcpListener;

/// What a server does with the bytes it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    Echo,
    Broadcast,
}

/// How much is received at a time, by all.
pub const BUFFER_BYTES: usize = 4096;

pub type Serve = fn(TcpListener, Mode) -> io::Result<()>;

/// Those that are built for this system, by the names in the results.
pub const ALL: &[(&str, Serve)] = &[
    ("dolmen", dolmen::serve),
    #[cfg(target_os = "linux")]
    ("raw-epoll", raw_epoll::serve),
    #[cfg(target_os = "linux")]
    ("raw-uring", raw_uring::serve),
    ("mio", mio::serve),
    ("polling", polling::serve),
    ("tokio", tokio::serve),
    #[cfg(target_os = "linux")]
    ("compio", compio::serve),
    #[cfg(target_os = "linux")]
    ("monoio", monoio::serve),
];

/// A listener on a port of the system's choice, which is printed.
pub fn listener() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    println!("listening {}", listener.local_addr()?.port());
    io::stdout().flush()?;
    Ok(listener)
}
