//! One wait for everything that a line-based server or game server reacts to: a thousand players' sockets, listening
//! ports, worker threads' results, timers and the operator at the console, on Windows (I/O completion ports) and Linux
//! (epoll) alike.
//!
//! * [`Reactor`] holds the registrations, and waits.
//! * [`Events`] receives what has happened; each [`Event`] carries its bytes.
//! * [`Waker`] and [`Poster`] reach a waiting reactor from other threads.
//!
//! ```
//! use dolmen::{CloseReason, Event, Events, Reactor, Token};
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let client = std::thread::spawn(move || {
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.write_all(b"hello")?;
//!     std::io::read_to_string(stream)
//! });
//!
//! let mut reactor = Reactor::new()?;
//! let mut events = Events::with_capacity(128);
//! reactor.listen(listener, Token(0))?;
//! 'waiting: loop {
//!     reactor.wait(&mut events, None)?;
//!     for event in events.drain() {
//!         match event {
//!             Event::Accepted { stream, .. } => {
//!                 reactor.add(stream, Token(1))?;
//!             }
//!             Event::Received { conn, data, .. } => {
//!                 reactor.send(conn, data)?;
//!                 reactor.close(conn)?;
//!             }
//!             Event::Closed { reason, .. } => {
//!                 assert_eq!(reason, CloseReason::Finished);
//!                 break 'waiting;
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(client.join().unwrap()?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to look in the source: `reactor.rs` has the public methods, `engine/` has all policy, `kernel/` has the
//! contract with the operating systems and a folder or file for each of them, and `console/` has the operator's
//! terminal. In the repository, `ARCHITECTURE.md` explains how they fit together, and `docs/promises.md` lists what the
//! reactor promises, with the tests and the code of each promise.

#![deny(unsafe_code, missing_debug_implementations)]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]

mod close_reason;
#[allow(unsafe_code)] // System calls for terminals, consoles and signals.
mod console;
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
#[cfg(dolmen_sim)]
#[doc(hidden)]
pub mod sim;
mod stats;
mod sync;
mod token;
mod waker;

pub use close_reason::CloseReason;
pub use console::{ConsoleInput, ConsoleKind, ConsoleMode, LONGEST_LINE_BYTES, ShutdownReason};
pub use error::{AddError, Error, ErrorKind};
pub use events::{Drain, Event, Events};
#[cfg(windows)]
pub use kernel::set_exclusive_address_use;
pub use reactor::{Builder, Console, Reactor};
pub use stats::Stats;
pub use token::{ConnId, ListenerId, TimerId, Token, WatchId};
pub use waker::{Poster, Waker};

/// What `dolmend` shares with the library. Not a public interface, and not covered by semantic versioning.
#[doc(hidden)]
pub mod internal {
    pub use crate::console::blocking_write;
    pub use crate::kernel::thread::spawn as spawn_thread;
}
