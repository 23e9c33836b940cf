//! One wait for everything that a line-based or game server reacts to: a thousand players' sockets, listening ports,
//! outgoing connections, datagrams, files, results of worker threads, timers and the operator's console, over I/O
//! completion ports on Windows and epoll on Linux.
//!
//! A [`Reactor`] has the registrations and waits; each [`Event`] in [`Events`] brings its bytes; other threads reach the
//! reactor through a [`Waker`], a [`Poster`] or a [channel](Reactor::channel) of values.
//!
//! A [`Crew`] of threads serves the connections of a game whose protocols cost much, such as encryption and compression.
//!
//! Not for servers in `async` style, or those whose work is not done on one thread (tokio), nor below a protocol library
//! that wants readiness (mio). Inside another event loop, such as tokio's, a reactor runs on Linux: see
//! [`Reactor::next_timeout`].
//!
//! ```
//! use dolmen::{Event, Events, Reactor, Token};
//! # use std::io::{Read, Write};
//! # use std::net::{TcpListener, TcpStream};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let client = std::thread::spawn(move || {
//! #     let mut stream = TcpStream::connect(address)?;
//! #     stream.write_all(b"hello")?;
//! #     stream.shutdown(std::net::Shutdown::Write)?;
//! #     std::io::read_to_string(stream)
//! # });
//! let mut reactor = Reactor::new()?;
//! let mut events = Events::with_capacity(128);
//! reactor.listen(listener, Token(0))?;
//! # let mut open = true;
//! # while open {
//! # /*
//! loop {
//! # */
//!     reactor.wait(&mut events, None)?;           // the only call that blocks
//!     for event in &mut events {                  // borrows nothing from the reactor
//!         match event {
//!             Event::Accepted { stream, .. } => drop(reactor.add(stream, Token(1))?),
//!             Event::Received { conn, data, .. } => reactor.send(conn, data)?,
//!             Event::EndOfStream { conn, .. } => reactor.close(conn)?,
//! #           Event::Closed { .. } => open = false,
//!             _ => {}
//!         }
//!     }
//! }
//! # assert_eq!(client.join().unwrap()?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The examples `echo`, `udp_echo`, `crew_echo` (several threads), `chat` (rooms, names, idle timeouts), `worker` (results of threads), `proxy`,
//! `lookup` (names, and the ports of a host), `serve_file`, `in_tokio`, `console_chat` and `keys` are complete programs.
//! In the repository, `docs/promises.md` lists what the reactor promises, with the tests and the code of each promise,
//! and `ARCHITECTURE.md` explains how it works.

#![deny(unsafe_code, missing_debug_implementations)]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod address;
mod channel;
mod close_reason;
#[allow(unsafe_code)] // System calls for terminals, consoles and signals.
mod console;
mod crew;
mod drop_each;
mod engine;
mod error;
mod events;
#[allow(unsafe_code)] // Memory is lent to operating systems there, and only there.
mod kernel;
mod marks;
#[cfg(any(feature = "c-api", dolmen_sim))] // The simulation lends sockets as the C library does.
#[doc(hidden)]
pub mod raw;
mod reactor;
mod record;
mod removed;
mod shared_bytes;
#[cfg(dolmen_sim)]
#[doc(hidden)]
pub mod sim;
mod stats;
mod sync;
mod token;
mod waker;

pub use address::{Address, Target};
pub use channel::{Inbox, InboxDrain, SendError, Sender};
pub use close_reason::CloseReason;
pub use console::{ConsoleInput, ConsoleKind, ConsoleMode, LONGEST_LINE_BYTES, ShutdownReason};
pub use crew::{Codec, Crew, CrewBuilder, CrewEvent, LeaveReason, Link, MemberStats};
pub use error::{AddError, Error, ErrorKind};
pub use events::{Drain, Event, Events};
#[cfg(windows)]
pub use kernel::set_exclusive_address_use;
pub use reactor::{Builder, Console, Reactor};
pub use shared_bytes::SharedBytes;
pub use stats::Stats;
pub use token::{ConnId, FileOpId, LinkId, ListenerId, LookupId, TimerId, Token, UdpId, WatchId};
pub use waker::{Poster, Waker};

/// What `dolmend` shares with the library. Not a public interface, and not covered by semantic versioning.
#[doc(hidden)]
pub mod internal {
    pub use crate::console::blocking_write;
    #[cfg(unix)]
    pub use crate::console::{ignore_signals, prevent_stop};
    #[cfg(target_os = "linux")]
    pub use crate::kernel::inherited::inherited_listeners;
    pub use crate::kernel::names::Resolver;
    pub use crate::kernel::thread::spawn as spawn_thread;
}
