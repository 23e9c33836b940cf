//! The contenders: the same servers over each event loop.
//!
//! *Echo* sends every connection's bytes back to it. *Broadcast* sends one connection's bytes to all. Each server
//! prints `listening PORT` and serves until its process is ended. All run on one thread, set TCP_NODELAY on accepted
//! sockets and take their listener, with a backlog of 4,096, from [`listener`]; the rest follows their documentation.
//! *Wake* and *timers* run within the program: see `inside.rs`. The crew has scenarios of its own: see `crew.rs`.

#[cfg(all(feature = "libraries", any(target_os = "linux", windows)))]
mod compio;
#[cfg(feature = "libraries")]
pub mod crew;
mod dolmen;
#[cfg(target_os = "linux")]
pub mod inside;
#[cfg(windows)]
mod iocp_connection;
#[cfg(feature = "libraries")]
mod mio;
#[cfg(all(feature = "libraries", target_os = "linux"))]
mod monoio;
#[cfg(all(feature = "libraries", target_os = "linux"))]
mod polling;
#[cfg(target_os = "linux")]
mod raw_epoll;
#[cfg(windows)]
mod raw_iocp;
#[cfg(target_os = "linux")]
mod raw_uring;
#[cfg(windows)]
mod seed_loop;
#[cfg(feature = "libraries")]
mod tokio;

use std::io::{self, Write as _};
use std::net::TcpListener;

#[cfg(target_os = "linux")]
use inside::{Posts, Timers};

/// What a server does with the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Echo,
    Broadcast,
}

/// The size of one receive, for all.
pub const BUFFER_BYTES: usize = 4096;

/// Starts the thread that posts; the argument is the function that it calls.
#[cfg(target_os = "linux")]
pub type StartPosts<'a> = &'a dyn Fn(Box<dyn FnMut() + Send>) -> Posts;

#[derive(Clone, Copy)]
pub struct Contender {
    /// The name in the results.
    pub name: &'static str,
    pub serve: fn(TcpListener, Mode) -> io::Result<()>,
    #[cfg(target_os = "linux")]
    pub wake: Option<fn(StartPosts<'_>) -> io::Result<()>>,
    #[cfg(target_os = "linux")]
    pub timers: Option<fn(Timers) -> io::Result<()>>,
}

/// A contender that only serves.
const fn server(name: &'static str, serve: fn(TcpListener, Mode) -> io::Result<()>) -> Contender {
    Contender {
        name,
        serve,
        #[cfg(target_os = "linux")]
        wake: None,
        #[cfg(target_os = "linux")]
        timers: None,
    }
}

/// The contenders built for this system.
#[cfg(target_os = "linux")]
pub const ALL: &[Contender] = &[
    Contender { wake: Some(dolmen::wake), timers: Some(dolmen::timers), ..server("dolmen", dolmen::serve) },
    Contender {
        wake: Some(raw_epoll::wake),
        timers: Some(raw_epoll::timers),
        ..server("raw-epoll", raw_epoll::serve)
    },
    server("raw-uring", raw_uring::serve),
    #[cfg(feature = "libraries")]
    Contender { wake: Some(mio::wake), ..server("mio", mio::serve) },
    #[cfg(feature = "libraries")]
    Contender { wake: Some(polling::wake), ..server("polling", polling::serve) },
    #[cfg(feature = "libraries")]
    Contender { wake: Some(tokio::wake), timers: Some(tokio::timers), ..server("tokio", tokio::serve) },
    #[cfg(feature = "libraries")]
    Contender { wake: Some(compio::wake), timers: Some(compio::timers), ..server("compio", compio::serve) },
    #[cfg(feature = "libraries")]
    Contender { wake: Some(monoio::wake), timers: Some(monoio::timers), ..server("monoio", monoio::serve) },
];

/// The contenders built for this system.
#[cfg(not(target_os = "linux"))]
pub const ALL: &[Contender] = &[
    server("dolmen", dolmen::serve),
    #[cfg(windows)]
    server("raw-iocp", raw_iocp::serve),
    #[cfg(windows)]
    server("seed-loop", seed_loop::serve),
    #[cfg(feature = "libraries")]
    server("mio", mio::serve),
    #[cfg(feature = "libraries")]
    server("tokio", tokio::serve),
    #[cfg(all(feature = "libraries", windows))]
    server("compio", compio::serve),
];

pub use dolmen::set_timers;

/// A listener on a port of the system's choice, which it prints.
pub fn listener() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    println!("listening {}", listener.local_addr()?.port());
    io::stdout().flush()?;
    Ok(listener)
}
