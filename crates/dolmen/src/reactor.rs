//! [`Reactor`] and its [`Builder`]: the public verbs.

use std::fmt;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::console::{self, ConsoleKind, ConsoleMode};
use crate::engine::{Config, Engine};
use crate::error::{AddError, Error};
use crate::events::Events;
use crate::kernel::Native;
use crate::stats::Stats;
use crate::token::{ConnId, ListenerId, TimerId, Token, WatchId};
use crate::waker::{Poster, Waker};

/// Everything a single-threaded server waits for, in one wait.
///
/// Connections, listeners, watched handles, timers, posts and wakes are registered here;
/// [`wait`](Reactor::wait) is the only call that blocks, and brings what has happened as [`Events`]. Completion on
/// every system: a [`Received`](crate::Event::Received) event brings the bytes, and [`send`](Reactor::send) takes them.
///
/// A reactor stays on its thread, which the compiler enforces; a [`Waker`] and a [`Poster`] reach it from others.
///
/// ```compile_fail
/// fn elsewhere<T: Send>(_: T) {}
/// elsewhere(dolmen::Reactor::new().unwrap());
/// ```
///
/// # What happens when
///
/// Bytes passed to `send` are queued and go out with the next [`wait`](Reactor::wait) or [`flush`](Reactor::flush), all
/// that was queued for a connection in one system call. The other verbs, too, take effect at once as far as the caller
/// can see, and reach the operating system with the next wait.
///
/// # Portability
///
/// What is promised is the same on every system. What is not promised: how received bytes are cut into events; the
/// order of events of different registrations; when exactly a peer's reset is noticed while nothing is being sent to it
/// and its end of stream was read.
///
/// How late timers and timeouts are is the system's affair; they are never early. On Linux it is some 50 µs. Windows ends
/// a wait with the tick of its clock, up to 15.6 ms late; for waits of up to a second the reactor therefore sets a
/// high-resolution timer beside it (from Windows 10 1803 on), which is late by half a millisecond or so.
///
/// # Dropping
///
/// Dropping a reactor cancels whatever is in flight, waits until the system has given it back (milliseconds), and
/// closes every socket it holds. What is queued to be sent is lost: to end in good order, [`close`](Reactor::close) the
/// connections and wait for their `Closed` events.
///
/// The drop waits for the system and for threads of its own, so it must not happen where these cannot run: on Windows not
/// in `DllMain`, and so not in the destructor of a `thread_local` value, which runs there.
///
/// # Forking
///
/// After a fork(2) each of the two processes has a reactor of its own, and may go on with it or drop it; nothing of that is
/// noticed by the other one. In the child the next call registers everything anew, a few system calls for each source.
/// What is done to a socket is done to both processes' socket: a connection that both keep is read by whichever comes
/// first, and ended for both by `shutdown_write`. What was queued to be sent and had not gone out is queued in both, and
/// sent by each that goes on: [`flush`](Reactor::flush) before the fork. Signals become events in each process; the console
/// stays with the process that has registered it, and the other one may register it anew. A post is delivered in the process
/// that has made it, and only there: what was posted before the fork and not delivered yet comes in the parent. A copy that
/// is only dropped closes its descriptors and does nothing else. Descriptors of the library that a program closes in
/// between are missing: do not close "all".
///
/// No other thread may be inside the reactor at the fork, except in a [`Waker`] or [`Poster`]. vfork(2) and posix_spawn(3)
/// change nothing. A fork that is made past the C library, by a system call, is not noticed.
pub struct Reactor {
    pub(crate) engine: Engine<Native>,
    /// Neither `Send` nor `Sync`.
    on_this_thread: PhantomData<*const ()>,
}

/// Settings for a [`Reactor`]; see [`Reactor::builder`]. Each method states its default.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
}

impl Reactor {
    /// A reactor with the default settings.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    pub fn new() -> Result<Reactor, Error> {
        Reactor::builder().build()
    }

    /// Settings, to be changed and built.
    pub fn builder() -> Builder {
        Builder { config: Config::DEFAULT }
    }

    /// Waits until something happens, for up to `timeout` (`None`: for ever), and puts what has happened into `events`.
    /// Returns how many events that is; 0 means that the time is up.
    ///
    /// What `events` held before is forgotten. Every ready source is asked, up to the capacity of `events` and
    /// [`Builder::max_events`]; what does not fit comes first the next time. A timeout is never cut short and never
    /// spun on, `Some(Duration::ZERO)` asks every source once without blocking, and interruptions by signals do not
    /// show.
    ///
    /// # Errors
    ///
    /// Only what the operating system says of the wait itself, which is no everyday event: out of kernel memory, or
    /// the descriptor behind the reactor was closed by somebody else.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<usize, Error> {
        self.engine.wait(events, timeout)
    }

    /// Starts sending what is queued now, instead of with the next wait.
    pub fn flush(&mut self) {
        self.engine.flush();
    }

    /// Accepts connections from `listener` and delivers each as an [`Accepted`](crate::Event::Accepted) event.
    ///
    /// The reactor owns the listener from now on.
    ///
    /// When the system has no descriptor left for a connection, an [`AcceptFailed`](crate::Event::AcceptFailed) event says
    /// so, once and not again within a second; accepting goes on when there are some.
    ///
    /// On Windows another program can bind to the listener's address unless the socket has `SO_EXCLUSIVEADDRUSE`, which has
    /// to be set before it is bound: see `dolmen::set_exclusive_address_use`, which exists on Windows.
    ///
    /// # Errors
    ///
    /// The listener comes back with [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered),
    /// [`InvalidHandle`](crate::ErrorKind::InvalidHandle) (also for what is a socket, but not a listening stream socket) or
    /// [`Exhausted`](crate::ErrorKind::Exhausted).
    pub fn listen(
        &mut self,
        listener: TcpListener,
        token: Token,
    ) -> Result<ListenerId, AddError<TcpListener>> {
        self.engine.listen(listener, token)
    }

    /// Stops listening and closes the port. No event of this listener is seen any more; a connection that was accepted
    /// and not yet handed out is hung up on. False if the id is not (or no longer) a listener's.
    pub fn remove_listener(&mut self, listener: ListenerId) -> bool {
        self.engine.remove_listener(listener)
    }

    /// Tells by [`Ready`](crate::Event::Ready) events when connections wait at `listener`, and leaves it to the caller
    /// to [`accept`](Reactor::accept) them, one or all, now or later.
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

    /// Accepts one connection from a readiness listener; `None` when nobody waits. Never blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if `listener` is not a readiness listener, otherwise what
    /// accept reported, such as [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    pub fn accept(&mut self, listener: WatchId) -> Result<Option<(TcpStream, SocketAddr)>, Error> {
        self.engine.accept(listener)
    }

    /// Watches something else: on Linux any pollable descriptor becoming readable, on Windows any handle that the wait
    /// functions take (an event, a process, a thread, a console) becoming signalled.
    ///
    /// The handle is duplicated, so what happens to the caller's own does not matter. [`Ready`](crate::Event::Ready)
    /// comes with each wait while the handle is signalled. On Windows, the wait that tells of it satisfies the handle:
    /// an auto-reset event is told of once a signal.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidHandle`](crate::ErrorKind::InvalidHandle) for what cannot be waited for, such as a regular
    /// file on Linux; [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    #[cfg(unix)]
    pub fn watch(&mut self, handle: impl std::os::fd::AsFd, token: Token) -> Result<WatchId, Error> {
        let handle = handle.as_fd().try_clone_to_owned().map_err(Error::duplicating)?;
        self.engine.watch(handle, token)
    }

    /// Watches something else: on Linux any pollable descriptor becoming readable, on Windows any handle that the wait
    /// functions take (an event, a process, a thread, a console) becoming signalled.
    ///
    /// The handle is duplicated, so what happens to the caller's own does not matter. [`Ready`](crate::Event::Ready)
    /// comes with each wait while the handle is signalled. On Windows, the wait that tells of it satisfies the handle:
    /// an auto-reset event is told of once a signal.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidHandle`](crate::ErrorKind::InvalidHandle) for what cannot be waited for, such as a regular
    /// file on Linux; [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    #[cfg(windows)]
    pub fn watch(
        &mut self,
        handle: impl std::os::windows::io::AsHandle,
        token: Token,
    ) -> Result<WatchId, Error> {
        let handle = handle.as_handle().try_clone_to_owned().map_err(Error::duplicating)?;
        self.engine.watch(handle, token)
    }

    /// Stops watching a handle or a readiness listener (whose port is closed with it). No event of it is seen any more.
    /// False if the id is not (or no longer) a watch's.
    pub fn unwatch(&mut self, watch: WatchId) -> bool {
        self.engine.unwatch(watch)
    }

    /// Registers a connected stream, which the reactor owns from now on. Its events carry `token`.
    ///
    /// A stream with a linger time of its own (`SO_LINGER` with more than zero seconds) blocks the thread that closes it for
    /// up to that time, and with it the reactor: leave that option alone, [`close`](Reactor::close) does what it is for.
    ///
    /// It is not checked that the stream is connected: one that is not ends with [`Closed`](crate::Event::Closed).
    ///
    /// # Errors
    ///
    /// The stream comes back with [`ErrorKind::TableFull`](crate::ErrorKind::TableFull),
    /// [`AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered),
    /// [`InvalidHandle`](crate::ErrorKind::InvalidHandle) (also for what is a socket, but not a stream socket, or a listening
    /// one) or [`Exhausted`](crate::ErrorKind::Exhausted).
    pub fn add(&mut self, stream: TcpStream, token: Token) -> Result<ConnId, AddError<TcpStream>> {
        self.engine.add(stream, token)
    }

    /// Queues a copy of `bytes` to be sent, all of them or none. An empty slice is nothing special.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) when the queue would grow beyond
    /// [`Builder::high_water`]; then nothing is taken, and a [`Drained`](crate::Event::Drained) event tells when the
    /// same bytes would fit. [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) when they never would.
    /// [`ErrorKind::SendClosed`](crate::ErrorKind::SendClosed) after [`shutdown_write`](Reactor::shutdown_write) or a
    /// failure, [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) after `close`, `abort`, `remove` or the end.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        self.engine.send(conn, bytes)
    }

    /// How many bytes are queued that the system has not taken yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn queued_bytes(&self, conn: ConnId) -> Result<usize, Error> {
        self.engine.queued_bytes(conn)
    }

    /// Stops delivering received bytes, and reading them: the peer is slowed down by TCP. Nothing is lost. The end of the
    /// stream and a reset are found by reading, so they come after [`resume`](Reactor::resume); on Windows also before, when
    /// a receive that was under way has found them.
    ///
    /// A send that fails ends the connection also while it is paused, after the [`linger`](Builder::linger) time. What was
    /// received before that and not delivered is lost then, unless [`resume`](Reactor::resume) comes in time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn pause(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.pause(conn)
    }

    /// Goes on after [`pause`](Reactor::pause).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn resume(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.resume(conn)
    }

    /// Half-close: sends what is queued, then FIN, and goes on receiving.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn shutdown_write(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.shutdown_write(conn)
    }

    /// Ends a connection in good order: sends what is queued, then FIN, throws away what still arrives (a close with
    /// unread bytes would destroy the last output on its way), and closes when the peer has closed its side, or
    /// after [`Builder::linger`]. Then comes [`Closed`](crate::Event::Closed); until then no other event of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn close(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.close(conn)
    }

    /// Resets a connection (RST): what is queued or on its way is lost. [`Closed`](crate::Event::Closed) follows. Also
    /// cuts a `close` short.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.abort(conn)
    }

    /// Forgets a connection: from here on no event of it is seen, not even one that is in [`Events`] already. What is
    /// queued is lost, and the socket is closed as soon as the system has given its operations back. False if the id is
    /// not (or no longer) a connection's; its remaining events, if any, are left out all the same.
    pub fn remove(&mut self, conn: ConnId) -> bool {
        self.engine.remove(conn)
    }

    /// Sets a timer that goes off once, not before `after` has passed.
    pub fn timer(&mut self, token: Token, after: Duration) -> TimerId {
        self.engine.timer(token, after)
    }

    /// Sets a timer that goes off every `period`, without drift: the nth tick is due at n periods from now. A tick
    /// for which nobody waited in time is not repeated but counted, as `missed`, in the one that is delivered. A period
    /// of zero counts as one nanosecond.
    pub fn interval(&mut self, token: Token, period: Duration) -> TimerId {
        self.engine.interval(token, period)
    }

    /// Cancels a timer. No event of it is seen any more, not even one that is in [`Events`] already. False if it was
    /// gone.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.engine.cancel_timer(timer)
    }

    /// Reads standard input, whatever it is, and delivers it as [`Console`](crate::Event::Console) events with `token`.
    /// Answers what it is.
    ///
    /// What comes is cut into lines or keys according to `mode`, which can be [changed](Reactor::set_console_mode) at any
    /// time. A terminal is put back into the state it was in when the reactor is dropped, on [`std::process::exit`], and
    /// when the process is stopped or ended by a signal.
    ///
    /// From here on requests to end the process (Ctrl-C, `SIGTERM` and so on) are events too, as with
    /// [`signals`](Reactor::signals), **and no longer end it by themselves**. Only when the third of a kind comes before
    /// the first was collected, so that the loop must be stuck, the system has its way.
    ///
    /// `docs/console.md` in the repository is a guide.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered) while a reactor in this process reads it,
    /// [`Os`](crate::ErrorKind::Os) for what the system reports.
    pub fn console(&mut self, token: Token, mode: ConsoleMode) -> Result<ConsoleKind, Error> {
        let claim = Some(console::Claim::new()?);
        self.engine.console(token, claim, |inbox| console::open(inbox, mode), console::signals)
    }

    /// Stops reading standard input and puts the terminal back. No event of it is seen any more, not even one that is in
    /// [`Events`] already. What was read ahead and is not in anybody's events comes first when the console is registered
    /// again, with whichever reactor; what was typed of an unfinished line at a terminal is lost. False if there was no
    /// console.
    pub fn remove_console(&mut self) -> bool {
        self.engine.remove_console()
    }

    /// What standard input is; `None` if it is not being read.
    pub fn console_kind(&self) -> Option<ConsoleKind> {
        self.engine.console_kind()
    }

    /// Columns and rows of the console's window, if it has one.
    pub fn console_size(&self) -> Option<(u16, u16)> {
        self.engine.console_size()
    }

    /// Lines or keys from here on. Nothing that was typed is lost: what there is of a line comes as
    /// [`Bytes`](crate::ConsoleInput::Bytes) first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) without a console, [`Os`](crate::ErrorKind::Os).
    pub fn set_console_mode(&mut self, mode: ConsoleMode) -> Result<(), Error> {
        self.engine.set_console_mode(mode)
    }

    /// Whether what is typed is shown; off for passwords. What was typed of a line by the time it is switched on again is not
    /// shown later either. In raw mode it never is, and the setting waits for line mode.
    ///
    /// # Errors
    ///
    /// As for [`set_console_mode`](Reactor::set_console_mode).
    pub fn console_echo(&mut self, echo: bool) -> Result<(), Error> {
        self.engine.console_echo(echo)
    }

    /// What stands before the line being typed, in line mode at a terminal; nothing at first.
    ///
    /// # Errors
    ///
    /// As for [`console_print`](Reactor::console_print).
    pub fn console_prompt(&mut self, prompt: &str) -> Result<(), Error> {
        self.engine.console_prompt(prompt)
    }

    /// Writes to standard output. At a terminal in line mode the text appears above the line being typed, which is shown
    /// again below it, and gets a line feed if it has none at its end. Never blocks: the text is queued, and what is queued when the reactor is dropped is written then,
    /// as long as somebody takes it. While the output is not taken, a pipe's or a file's input is not delivered, so that a
    /// script whose answers are not read waits rather than being refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) while nobody takes the output; nothing was taken.
    /// [`NotFound`](crate::ErrorKind::NotFound) without a console, [`Os`](crate::ErrorKind::Os).
    pub fn console_print(&mut self, text: &str) -> Result<(), Error> {
        self.engine.console_print(text)
    }

    /// Asks to be told, once, by [`ConsoleInput::Drained`](crate::ConsoleInput::Drained) when everything printed so far has
    /// been written: before an orderly end, say. If nothing waits, the next wait tells.
    ///
    /// # Errors
    ///
    /// As for [`set_console_mode`](Reactor::set_console_mode).
    pub fn console_flush(&mut self) -> Result<(), Error> {
        self.engine.console_flush()
    }

    /// Tells of requests to end the process, with or without a console: Ctrl-C, `SIGTERM` and `SIGHUP`, on Windows
    /// Ctrl-Break and the closing of the console, log-off and shutdown. They come as
    /// [`Console`](crate::Event::Console) events with `token`, **and no longer end the process by themselves**; see
    /// [`console`](Reactor::console). Signals that were ignored when the program was started (nohup) stay so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered), [`Os`](crate::ErrorKind::Os).
    pub fn signals(&mut self, token: Token) -> Result<(), Error> {
        self.engine.signals(token, console::signals)
    }

    /// A handle that ends a wait from any thread.
    pub fn waker(&self) -> Waker {
        Waker::new(self.engine.mailbox())
    }

    /// A handle that sends small messages from any thread.
    pub fn poster(&self) -> Poster {
        Poster::new(self.engine.mailbox())
    }

    /// What the reactor has done and holds.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Makes the reactor.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) or what else the operating system reports.
    pub fn build(&self) -> Result<Reactor, Error> {
        Ok(Reactor { engine: Engine::new(self.config)?, on_this_thread: PhantomData })
    }

    /// How many completions are taken from the system at a time. 128; at least 1.
    pub fn max_events(mut self, count: usize) -> Builder {
        // The bound keeps the kernel's array of packets below what Windows and epoll take in one call.
        self.config.max_events = count.clamp(1, 65_536);
        self
    }

    /// How many receive buffers are kept. 256. More are made when a wait needs them, and freed when they come back.
    pub fn pool_size(mut self, buffers: usize) -> Builder {
        self.config.pool_size = buffers.min(1 << 20);
        self
    }

    /// The size of a receive buffer, and so the most bytes that one event brings. 4096; at least 64.
    pub fn buffer_size(mut self, bytes: usize) -> Builder {
        self.config.buffer_bytes = bytes.clamp(64, 1 << 24);
        self
    }

    /// How many connections may be registered. No limit.
    pub fn max_connections(mut self, count: usize) -> Builder {
        self.config.max_connections = count;
        self
    }

    /// How many bytes a connection's send queue may hold before [`Reactor::send`] refuses. 262 144; at least 1. The
    /// low-water mark becomes a quarter of it.
    pub fn high_water(mut self, bytes: usize) -> Builder {
        self.config.high_water_bytes = bytes.clamp(1, 1 << 30);
        self.config.low_water_bytes = self.config.high_water_bytes / 4;
        self
    }

    /// Down to how many queued bytes a queue that refused must get before it is [`Drained`](crate::Event::Drained). A
    /// quarter of the high-water mark, and not above it.
    pub fn low_water(mut self, bytes: usize) -> Builder {
        self.config.low_water_bytes = bytes.min(self.config.high_water_bytes);
        self
    }

    /// How long [`Reactor::close`] may take, and how long after a failed send the connection lasts, so that what the system
    /// had received before is delivered. 5 seconds. A caller who was away for all that time is given as much again.
    pub fn linger(mut self, time: Duration) -> Builder {
        self.config.linger = time;
        self
    }

    /// How many posts may wait to be collected before [`Poster::post`] refuses. 65 536; at least 1.
    pub fn post_capacity(mut self, posts: usize) -> Builder {
        self.config.post_capacity = posts.max(1);
        self
    }

    /// Windows: whether an operation that succeeds at once does without a packet. On; off only for tests of the other
    /// path, which systems with layered socket providers take. Nothing else depends on it.
    #[doc(hidden)]
    pub fn skip_on_success(mut self, skip: bool) -> Builder {
        self.config.skip_on_success = skip;
        self
    }
}
