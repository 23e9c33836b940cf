//! [`Reactor`]: the public methods.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::console::{self, ConsoleMode};
use crate::engine::Engine;
use crate::error::Error;
use crate::events::Events;
use crate::kernel::Native;
use crate::stats::Stats;
use crate::token::Token;
use crate::waker::{Poster, Waker};

mod builder;
mod channels;
mod connecting;
mod connections;
mod console_handle;
mod datagrams;
mod ending;
mod files;
mod listeners;
mod names;
mod native_handle;
mod timers;

pub use builder::Builder;
pub use console_handle::Console;

/// Everything a single-threaded server waits for, in one wait.
///
/// Connections, listeners, datagram sockets, watched handles, timers, posts and wakes are registered here. [`wait`](Reactor::wait) is the
/// only call that blocks, and returns what has happened as [`Events`]. The interface is completion-based on every
/// system: a [`Received`](crate::Event::Received) event carries the bytes, and [`send`](Reactor::send) takes them.
///
/// A reactor stays on its thread, which the compiler enforces. Other threads reach it through a [`Waker`], a
/// [`Poster`] or the [`Sender`](crate::Sender) of a [channel](Reactor::channel).
///
/// ```compile_fail
/// fn elsewhere<T: Send>(_: T) {}
/// elsewhere(dolmen::Reactor::new().unwrap());
/// ```
///
/// # What happens when
///
/// `send` queues the bytes that it is given. They go out with the next [`wait`](Reactor::wait) or
/// [`flush`](Reactor::flush), which sends everything that is queued for a connection in one system call. The other
/// methods also take effect immediately as far as the caller can see, and reach the operating system with the next
/// wait.
///
/// # Portability
///
/// What is promised is the same on every system. What is not promised: how received bytes are divided into events; the
/// order of events of different registrations; when exactly the reactor notices a peer's reset while nothing is being
/// sent to the peer and its end of stream has been read.
///
/// Timers and timeouts are never early. How late they are depends on the system. On Linux it is some 50 µs. Windows
/// ends a wait with the tick of its clock, up to 15.6 ms late. For waits of up to a second the reactor therefore also
/// sets a high-resolution timer (from Windows 10 1803 on), which is late by about half a millisecond.
///
/// # Dropping
///
/// Dropping a reactor cancels all operations in flight, waits until the system has completed them (milliseconds), and
/// closes every socket that the reactor owns. Bytes still queued to be sent are lost. For an orderly end,
/// [`close`](Reactor::close) the connections and wait for their `Closed` events.
///
/// A thread that is looking a name up cannot be interrupted, and is left behind: it ends when the system has an answer,
/// and holds nothing of the reactor.
///
/// The drop waits for the system and for threads of the reactor, so it must not happen where these cannot run. On
/// Windows that means not in `DllMain`, and therefore not in the destructor of a `thread_local` value, which runs
/// there.
///
/// # Forking
///
/// After a fork(2) each of the two processes has its own reactor, and may continue to use it or drop it without the
/// other noticing. In the child the next call registers everything anew, with a few system calls for each source. The
/// sockets are shared: whatever one process does to a socket it does to the other's as well. If both keep a connection,
/// the first to read gets the bytes, and `shutdown_write` in one ends it for both. Bytes that were queued and not yet
/// sent are queued in both, and each process that continues sends them: before the fork, [`flush`](Reactor::flush) and
/// wait until [`queued_bytes`](Reactor::queued_bytes) is 0. Signals become events in each process. The console stays
/// with the process that registered it, and the other one may register it anew. A post, or a value of a
/// channel, is delivered only in the process that made it: one made before the fork and not yet delivered is delivered in
/// the parent. A look-up of a name that has no answer yet is begun anew in the child. Reads and writes of files that are in
/// progress end in the parent, and have failed in the child. Events that the program had
/// been given are in both copies of its `Events`. A copy that is only dropped closes its descriptors and does nothing
/// else. If the program closes descriptors of the library in between, they are missing: do not close "all".
///
/// No other thread may be inside the reactor at the fork, except in a [`Waker`], [`Poster`] or
/// [`Sender`](crate::Sender). vfork(2) and
/// posix_spawn(3) have no effect. The reactor does not notice a fork that is made by a direct system call, and not through
/// the C library.
pub struct Reactor {
    pub(crate) engine: Engine<Native>,
    /// Neither `Send` nor `Sync`.
    on_this_thread: PhantomData<*const ()>,
}

impl Reactor {
    /// Makes a reactor with the default settings.
    ///
    /// ```
    /// # use dolmen::Reactor;
    /// let reactor = Reactor::new()?;
    /// assert_eq!(reactor.stats().connections, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    pub fn new() -> Result<Reactor, Error> {
        Reactor::builder().build()
    }

    /// Returns the default settings, to be changed and built.
    ///
    /// ```
    /// # use dolmen::Reactor;
    /// let reactor = Reactor::builder().max_connections(1_000).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Waits until something happens, for up to `timeout` (`None`: indefinitely), and puts what has happened into
    /// `events`. Returns the number of events; 0 means that the timeout has expired.
    ///
    /// Events that `events` held before are discarded. The wait checks every ready source, up to the capacity of
    /// `events` and [`Builder::max_events`]; what does not fit comes first in the next wait. A timeout is never cut
    /// short, and the wait never spins. `Some(Duration::ZERO)` checks every source once without blocking. Interruptions
    /// by signals are not visible to the caller.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use std::time::Duration;
    /// assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO))?, 0);    // checks, and does not block
    /// reactor.add_timer(Duration::from_millis(1), Token(7));
    /// assert_eq!(reactor.wait(&mut events, None)?, 1);                    // blocks until the timer goes off
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only what the operating system reports about the wait itself, which is rare: it is out of kernel memory, or
    /// other code has closed the descriptor behind the reactor.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<usize, Error> {
        // `self` is exclusive, so one caller waits at a time [p01].
        self.engine.wait(events.batch(), timeout)
    }

    /// Starts sending the queued bytes now, instead of with the next wait.
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
    /// reactor.send(conn, b"before the long computation\n")?;
    /// reactor.flush();
    /// assert_eq!(peer.read(&mut [0; 64])?, 28);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&mut self) {
        self.engine.flush();
    }

    /// Reads standard input, whatever kind it is, and delivers the input as [`Console`](crate::Event::Console) events
    /// with `token`. Returns the console, to print on it and to change its settings: see [`console`](Reactor::console).
    ///
    /// The input is divided into lines or keys according to `mode`, which can be [changed](Console::set_mode) at any
    /// time. The reactor restores a terminal to its original state when the reactor is dropped, on
    /// [`std::process::exit`], and when a signal stops or ends the process.
    ///
    /// From here on requests to end the process (Ctrl-C, `SIGTERM` and so on) are events too, as with
    /// [`add_signals`](Reactor::add_signals), **and no longer end it by themselves**. Only when the third of a kind
    /// arrives before the first was collected, so that the loop must be stuck, does the system's default action apply.
    ///
    /// `docs/console.md` in the repository is a guide.
    ///
    /// ```no_run
    /// # use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let mut console = reactor.add_console(ConsoleMode::Line, Token(9))?;
    /// console.set_prompt("> ")?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     if let Event::Console { input: ConsoleInput::Line(line), .. } = event {
    ///         reactor.console()?.print(&format!("you said: {line}\n"))?;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered) while a reactor in this process reads it,
    /// [`Os`](crate::ErrorKind::Os) for an error that the system reports.
    pub fn add_console(&mut self, mode: ConsoleMode, token: Token) -> Result<Console<'_>, Error> {
        let claim = Some(console::Claim::new()?);
        let open = |inbox: &_| console::open(inbox, mode);
        let kind = self.engine.add_console(claim, open, console::signals, token)?;
        Ok(Console::new(&mut self.engine, kind))
    }

    /// Returns the console that was added.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use dolmen::ErrorKind;
    /// let refused = reactor.console().err().map(|error| error.kind());
    /// assert_eq!(refused, Some(ErrorKind::NotFound), "there is none yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) without a console.
    pub fn console(&mut self) -> Result<Console<'_>, Error> {
        let kind = self.engine.console_kind()?;
        Ok(Console::new(&mut self.engine, kind))
    }

    /// Stops reading standard input and restores the terminal. No further console event is delivered, not even one that
    /// is already in [`Events`]. Input that was read ahead and is not yet in any `Events` comes first when the console
    /// is registered again, with this or another reactor. An unfinished line at a terminal is lost. Returns false if
    /// there was no console.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// assert!(!reactor.remove_console(), "there is none");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_console(&mut self) -> bool {
        self.engine.remove_console()
    }

    /// Reports requests to end the process, with or without a console: Ctrl-C, `SIGTERM` and `SIGHUP`, on Windows
    /// Ctrl-Break and the closing of the console, log-off and shutdown. They come as [`Console`](crate::Event::Console)
    /// events with `token`, **and no longer end the process by themselves**; see [`add_console`](Reactor::add_console). Signals
    /// that were ignored when the program was started (nohup) stay ignored.
    ///
    /// ```no_run
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use dolmen::ConsoleInput;
    /// reactor.add_signals(Token(9))?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     match event {
    ///         Event::Console { input: ConsoleInput::Interrupt, .. } => println!("Ctrl-C: saving, and then the end"),
    ///         Event::Console { input: ConsoleInput::Shutdown { reason, .. }, .. } => println!("{reason}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered), [`Os`](crate::ErrorKind::Os).
    pub fn add_signals(&mut self, token: Token) -> Result<(), Error> {
        self.engine.add_signals(console::signals, token)
    }

    /// Returns a handle that ends a wait from any thread.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let waker = reactor.waker();
    /// std::thread::spawn(move || waker.wake());
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Woken)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::new(self.engine.mailbox())
    }

    /// Returns a handle that sends small messages from any thread.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let poster = reactor.poster();
    /// std::thread::spawn(move || poster.post(42, Token(6)));
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Posted { token: Token(6), value: 42, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn poster(&self) -> Poster {
        Poster::new(self.engine.mailbox())
    }

    /// Returns counters of what the reactor has done, and gauges of what it holds.
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
    /// assert_eq!(reactor.stats().connections, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
