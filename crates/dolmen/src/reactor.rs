//! [`Reactor`]: the public methods.

use std::fmt;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::console::{self, ConsoleMode};
use crate::engine::Engine;
use crate::error::{AddError, Error};
use crate::events::Events;
use crate::kernel::Native;
use crate::stats::Stats;
use crate::token::{ConnId, ListenerId, TimerId, Token, WatchId};
use crate::waker::{Poster, Waker};

mod builder;
mod console_handle;

pub use builder::Builder;
pub use console_handle::Console;

/// Everything a single-threaded server waits for, in one wait.
///
/// Connections, listeners, watched handles, timers, posts and wakes are registered here. [`wait`](Reactor::wait) is the
/// only call that blocks, and returns what has happened as [`Events`]. The interface is completion-based on every
/// system: a [`Received`](crate::Event::Received) event carries the bytes, and [`send`](Reactor::send) takes them.
///
/// A reactor stays on its thread, which the compiler enforces. Other threads reach it through a [`Waker`] or a
/// [`Poster`].
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
/// wait until [`queued_bytes`](Reactor::queued_bytes) is 0. Signals become events in each process. The console stays with the process that registered it, and the other one may
/// register it anew. A post is delivered only in the process that made it: one made before the fork and not yet
/// delivered is delivered in the parent. A copy that is only dropped closes its descriptors and does nothing else. If
/// the program closes descriptors of the library in between, they are missing: do not close "all".
///
/// No other thread may be inside the reactor at the fork, except in a [`Waker`] or [`Poster`]. vfork(2) and
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
    /// # Errors
    ///
    /// See [`Builder::build`].
    pub fn new() -> Result<Reactor, Error> {
        Reactor::builder().build()
    }

    /// Returns the default settings, to be changed and built.
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
    /// # Errors
    ///
    /// Only what the operating system reports about the wait itself, which is rare: it is out of kernel memory, or
    /// other code has closed the descriptor behind the reactor.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<usize, Error> {
        // `self` is exclusive, so one caller waits at a time [p01].
        self.engine.wait(events.batch(), timeout)
    }

    /// Starts sending the queued bytes now, instead of with the next wait.
    pub fn flush(&mut self) {
        self.engine.flush();
    }

    /// Accepts connections from `listener` and delivers each as an [`Accepted`](crate::Event::Accepted) event.
    ///
    /// The reactor owns the listener from now on.
    ///
    /// When the system has no descriptor left for a connection, the reactor delivers an
    /// [`AcceptFailed`](crate::Event::AcceptFailed) event, once and not again within a second. It accepts again when
    /// descriptors are available.
    ///
    /// On Windows another program can bind to the listener's address unless the socket has `SO_EXCLUSIVEADDRUSE`, which
    /// must be set before the bind: see `dolmen::set_exclusive_address_use`, which exists on Windows.
    ///
    /// # Errors
    ///
    /// The listener is returned with [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered),
    /// [`InvalidHandle`](crate::ErrorKind::InvalidHandle) (also for a socket that is not a listening stream socket) or
    /// [`Exhausted`](crate::ErrorKind::Exhausted).
    pub fn listen(
        &mut self,
        listener: TcpListener,
        token: Token,
    ) -> Result<ListenerId, AddError<TcpListener>> {
        self.engine.listen(listener, token)
    }

    /// Stops listening and closes the port. No further event of this listener is delivered, and the reactor closes a
    /// connection that it has accepted and not yet handed out. Returns false if the id is not (or no longer) a
    /// listener's.
    pub fn remove_listener(&mut self, listener: ListenerId) -> bool {
        self.engine.remove_listener(listener)
    }

    /// Reports by [`Ready`](crate::Event::Ready) events that connections wait at `listener`, and leaves it to the
    /// caller to [`accept`](Reactor::accept) them, one or all, now or later.
    ///
    /// # Errors
    ///
    /// As for [`Reactor::listen`].
    pub fn listen_readiness(
        &mut self,
        listener: TcpListener,
        token: Token,
    ) -> Result<WatchId, AddError<TcpListener>> {
        self.engine.listen_readiness(listener, token)
    }

    /// Accepts one connection from a readiness listener; returns `None` when no connection waits. Never blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if `listener` is not a readiness listener, otherwise the
    /// error of the accept, such as [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    pub fn accept(&mut self, listener: WatchId) -> Result<Option<(TcpStream, SocketAddr)>, Error> {
        self.engine.accept(listener)
    }

    /// Watches any other handle, and reports it while it is readable (on Linux, any pollable descriptor) or signalled (on
    /// Windows, any handle that the wait functions take: an event, a process, a thread, a console).
    ///
    /// The reactor duplicates the handle, so the caller may do anything with its own. Each wait delivers
    /// [`Ready`](crate::Event::Ready) while the handle is signalled. On Windows, the wait that reports the handle also
    /// satisfies it: it resets an auto-reset event, which is reported again only when it is set again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidHandle`](crate::ErrorKind::InvalidHandle) for a handle that cannot be waited for, such as a
    /// regular file on Linux; [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    #[cfg(unix)]
    pub fn watch(&mut self, handle: impl std::os::fd::AsFd, token: Token) -> Result<WatchId, Error> {
        let handle = handle.as_fd().try_clone_to_owned().map_err(Error::duplicating)?;
        self.engine.watch(handle, token)
    }

    /// Watches any other handle, and reports it while it is readable (on Linux, any pollable descriptor) or signalled (on
    /// Windows, any handle that the wait functions take: an event, a process, a thread, a console).
    ///
    /// The reactor duplicates the handle, so the caller may do anything with its own. Each wait delivers
    /// [`Ready`](crate::Event::Ready) while the handle is signalled. On Windows, the wait that reports the handle also
    /// satisfies it: it resets an auto-reset event, which is reported again only when it is set again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidHandle`](crate::ErrorKind::InvalidHandle) for a handle that cannot be waited for, such as a
    /// regular file on Linux; [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    #[cfg(windows)]
    pub fn watch(
        &mut self,
        handle: impl std::os::windows::io::AsHandle,
        token: Token,
    ) -> Result<WatchId, Error> {
        let handle = handle.as_handle().try_clone_to_owned().map_err(Error::duplicating)?;
        self.engine.watch(handle, token)
    }

    /// Stops watching a handle or a readiness listener (whose port is closed with it). No further event of it is
    /// delivered. Returns false if the id is not (or no longer) a watch's.
    pub fn remove_watch(&mut self, watch: WatchId) -> bool {
        self.engine.remove_watch(watch)
    }

    /// Registers a connected stream, which the reactor owns from now on. Its events carry `token`.
    ///
    /// A stream whose own linger time is set (`SO_LINGER` with more than zero seconds) blocks the thread that closes
    /// it, and with it the reactor, for up to that time. Leave that option alone: [`close`](Reactor::close) does what
    /// it is for.
    ///
    /// The reactor does not check that the stream is connected: one that is not ends with
    /// [`Closed`](crate::Event::Closed).
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

    /// Queues a copy of `bytes` to be sent, all of them or none. An empty slice is not a special case.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) when the queue would grow beyond [`Builder::high_water_mark`];
    /// then nothing is taken, and a [`Drained`](crate::Event::Drained) event reports when the same bytes would fit.
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) when they never would.
    /// [`ErrorKind::SendClosed`](crate::ErrorKind::SendClosed) after [`shutdown_write`](Reactor::shutdown_write) or a
    /// failure, [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) after `close`, `abort`, `remove` or the end.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        self.engine.send(conn, bytes)
    }

    /// Returns the number of queued bytes that the system has not taken yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn queued_bytes(&self, conn: ConnId) -> Result<usize, Error> {
        self.engine.queued_bytes(conn)
    }

    /// Stops reading from the connection and delivering received bytes: TCP slows the peer down. Nothing is lost. The
    /// reactor finds the end of the stream and a reset by reading, so both come after [`resume`](Reactor::resume). On
    /// Windows they may also come before, when a receive that was in progress has found them.
    ///
    /// A send that fails ends the connection even while it is paused, after the [`linger`](Builder::linger) time. Bytes
    /// that were received before that and not delivered are then lost, unless [`resume`](Reactor::resume) comes in
    /// time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn pause(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.pause(conn)
    }

    /// Continues after [`pause`](Reactor::pause).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn resume(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.resume(conn)
    }

    /// Half-closes the connection: sends what is queued, then FIN, and continues to receive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn shutdown_write(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.shutdown_write(conn)
    }

    /// Ends a connection in good order: sends what is queued, then FIN, discards the bytes that still arrive (closing a
    /// socket with unread bytes would destroy the last output in transit), and closes the socket when the peer has
    /// closed its side, or after [`Builder::linger`]. Then [`Closed`](crate::Event::Closed) is delivered, and no other
    /// event of the connection before it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn close(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.close(conn)
    }

    /// Resets a connection (RST): bytes that are queued or in transit are lost. [`Closed`](crate::Event::Closed)
    /// follows. Also cuts a `close` short.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.abort(conn)
    }

    /// Forgets a connection: from here on none of its events is delivered, not even one that is already in [`Events`].
    /// Queued bytes are lost, and the reactor closes the socket as soon as the system has completed its operations.
    /// Returns false if the id is not (or no longer) a connection's; its remaining events, if any, are left out all the
    /// same.
    pub fn remove(&mut self, conn: ConnId) -> bool {
        self.engine.remove(conn)
    }

    /// Adds a timer that goes off once, not before `after` has passed.
    pub fn add_timer(&mut self, after: Duration, token: Token) -> TimerId {
        self.engine.add_timer(after, token)
    }

    /// Adds a timer that goes off every `period`, without drift: the nth tick is due n periods from now. If several ticks
    /// are due before a wait collects them, one event is delivered, and its `missed` counts the others. A period of zero
    /// counts as one nanosecond.
    pub fn add_interval(&mut self, period: Duration, token: Token) -> TimerId {
        self.engine.add_interval(period, token)
    }

    /// Sets a timer anew: it goes off when `after` has passed from now, instead of at the time that was set before. An
    /// interval keeps its period, and its later ticks are due one period after another from there.
    ///
    /// Returns false, and changes nothing, if there is no such timer (any more). A timer that goes off once is gone as
    /// soon as it has gone off, also while the caller has not handled its event: [`remove_timer`](Reactor::remove_timer)
    /// takes that event back. A tick of an interval that has gone off by now is still delivered.
    pub fn set_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        self.engine.set_timer(timer, after)
    }

    /// Removes a timer. No further event of it is delivered, not even one that is already in [`Events`]. Returns false
    /// if the timer no longer existed.
    pub fn remove_timer(&mut self, timer: TimerId) -> bool {
        self.engine.remove_timer(timer)
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
    pub fn remove_console(&mut self) -> bool {
        self.engine.remove_console()
    }

    /// Reports requests to end the process, with or without a console: Ctrl-C, `SIGTERM` and `SIGHUP`, on Windows
    /// Ctrl-Break and the closing of the console, log-off and shutdown. They come as [`Console`](crate::Event::Console)
    /// events with `token`, **and no longer end the process by themselves**; see [`add_console`](Reactor::add_console). Signals
    /// that were ignored when the program was started (nohup) stay ignored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered), [`Os`](crate::ErrorKind::Os).
    pub fn add_signals(&mut self, token: Token) -> Result<(), Error> {
        self.engine.add_signals(console::signals, token)
    }

    /// Returns a handle that ends a wait from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::new(self.engine.mailbox())
    }

    /// Returns a handle that sends small messages from any thread.
    #[must_use]
    pub fn poster(&self) -> Poster {
        Poster::new(self.engine.mailbox())
    }

    /// Returns counters of what the reactor has done, and gauges of what it holds.
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
