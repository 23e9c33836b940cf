//! The reactor inside another event loop.

#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
#[cfg(windows)]
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};
use std::time::Duration;

use super::Reactor;

/// Inside another event loop.
///
/// A program whose main loop is another one (tokio's, a user interface's, poll(2)) can block there instead of in
/// [`wait`](Reactor::wait). Each pass of such a loop does three things:
///
/// 1. it calls `wait` with `Some(Duration::ZERO)` and handles the events, whatever has ended the block;
/// 2. it calls [`flush`](Reactor::flush), so that what the handlers have queued goes out now;
/// 3. it blocks until the [`native_handle`](Reactor::native_handle) is readable, for up to
///    [`next_timeout`](Reactor::next_timeout), or not at all if that is zero.
///
/// The reactor then misses nothing and does not spin. On Linux `native_handle` has the details, and the example
/// `in_tokio` is a complete program; on Windows a completion port cannot be waited for in this way, and `native_handle`
/// describes the alternative.
impl Reactor {
    /// Returns for how long the caller may block elsewhere before it has to call [`wait`](Reactor::wait), if nothing
    /// happens in the meantime. `Some(Duration::ZERO)`: not at all, as there is something to do or to deliver already.
    /// `None`: indefinitely; only the [handle](Reactor::native_handle), which includes wakes and posts of other threads,
    /// ends that.
    ///
    /// The timers are in it, the caller's and the reactor's own, and so is everything that the operating system does
    /// not know: events that did not fit into the last wait's [`Events`](crate::Events), and calls on this reactor that
    /// take effect with the next wait. So ask after the last such call, directly before blocking. Where the system's
    /// call takes milliseconds, round up: a wait that comes early finds the timer not yet due.
    ///
    /// The time is an upper bound, not a prediction: a wait at its end may find no event, for example because it only
    /// sends, or because one of the reactor's own timers has ended.
    ///
    /// ```
    /// # use dolmen::{Events, Reactor, Token};
    /// # use std::time::Duration;
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// assert_eq!(reactor.next_timeout(), None);
    /// let timer = reactor.add_timer(Duration::from_secs(5), Token(0));
    /// assert!(reactor.next_timeout().is_some_and(|time| !time.is_zero() && time <= Duration::from_secs(5)));
    /// reactor.remove_timer(timer);
    /// reactor.waker().wake();
    /// assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    /// assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO))?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        self.engine.next_timeout_ns().map(Duration::from_nanos)
    }

    /// Returns the epoll instance in which the reactor waits. It can be polled, and registered in another epoll
    /// instance: see epoll(7). Linux only; a [`Reactor`] also is [`AsFd`] and [`AsRawFd`].
    ///
    /// It is readable while the system has something for the next [`wait`](Reactor::wait). What the system has is not
    /// everything: block on it only for [`next_timeout`](Reactor::next_timeout). A wait that was called because it was
    /// readable may find no event; it is not readable any more after that.
    ///
    /// It may be registered edge-triggered, as by tokio's `AsyncFd`. Then clear the readiness that the other loop
    /// remembers *before* the wait, not after it: what comes later makes another edge, and what the wait has left
    /// behind makes `next_timeout` zero.
    ///
    /// A loop that demands a descriptor of its own, as `AsyncFd` does, gets a duplicate
    /// ([`try_clone_to_owned`](BorrowedFd::try_clone_to_owned)). Do not give it the reactor: its descriptor may change.
    ///
    /// Only the reactor may take events out of it or register anything in it. It is closed with the reactor; a duplicate
    /// shows nothing of use from then on.
    ///
    /// # When it changes
    ///
    /// In two cases the reactor moves to a new instance, and a registration of the old one would be silent from then on:
    ///
    /// * **After a fork**, in the child, with the first wait (at the latest). Until then this returns the parent's.
    ///   `next_timeout` is zero until that wait, so a loop that asks never blocks on it.
    /// * When other code has closed a descriptor of a registered socket **behind the reactor**, and the socket is open
    ///   under another number, or in another process. Safe Rust does not do that.
    ///
    /// The number is not enough to notice that, because numbers are reused. A loop that registers the handle once and
    /// wants to continue in either case compares [`native_handle_generation`](Reactor::native_handle_generation) before
    /// it blocks. A loop that names the handle in every call, as with poll(2), needs no comparison.
    ///
    /// ```
    /// # use dolmen::{Events, Reactor, Token};
    /// # use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// # use std::time::Duration;
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # reactor.add_timer(Duration::from_millis(1), Token(0));
    /// loop {
    ///     reactor.wait(&mut events, Some(Duration::ZERO))?;
    ///     for event in &mut events {
    ///         // …
    /// #       return Ok(());
    ///     }
    ///     reactor.flush();
    ///     let timeout = reactor.next_timeout().map(Timespec::try_from).transpose()?;
    ///     let mut handles = [PollFd::new(&reactor, PollFlags::IN)];       // and others
    ///     poll(&mut handles, timeout.as_ref())?;
    /// }
    /// # #[allow(unreachable_code)]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(unix)]
    #[must_use]
    pub fn native_handle(&self) -> BorrowedFd<'_> {
        self.engine.native().handle()
    }

    /// Returns the completion port on which the reactor waits. Windows only; a [`Reactor`] also is [`AsHandle`] and
    /// [`AsRawHandle`].
    ///
    /// **An outer loop cannot wait on it.** A completion port is not among the objects that `WaitForMultipleObjects`
    /// documents, although it happens to be waitable in some versions of Windows. The alternative is a thread that owns the reactor, blocks in [`wait`](Reactor::wait), and posts to the
    /// other loop in that loop's own way (`PostMessage`, a channel, another port); the other loop reaches the reactor by
    /// a [`Poster`](crate::Poster) or a [`Waker`](crate::Waker).
    ///
    /// The program may associate its own files with the port, and post to it with `PostQueuedCompletionStatus`. The key
    /// must be one of the program's: a small number, or the address of a static of its own. To the reactor such packets
    /// are foreign: it counts them ([`Stats::foreign_completions`](crate::Stats::foreign_completions)) and drops them,
    /// and a wait continues. A message for the reactor's own thread is a [`Poster`](crate::Poster)'s.
    ///
    /// Nothing but the reactor may take packets out of the port, and the port may not be closed. It never changes.
    ///
    /// Microsoft Learn: "I/O Completion Ports", "PostQueuedCompletionStatus".
    ///
    /// ```
    /// # use dolmen::Reactor;
    /// use std::os::windows::io::AsRawHandle;
    /// # let reactor = Reactor::new()?;
    /// assert!(!reactor.native_handle().as_raw_handle().is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(windows)]
    #[must_use]
    pub fn native_handle(&self) -> BorrowedHandle<'_> {
        self.engine.native().handle()
    }

    /// Returns a number that changes when [`native_handle`](Reactor::native_handle) has become another one, which
    /// happens in a wait or another method that takes `&mut self`; never on Windows.
    ///
    /// ```
    /// # use dolmen::{Events, Reactor};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # fn register(_: &Reactor) {}
    /// register(&reactor);
    /// let mut registered = reactor.native_handle_generation();
    /// # for _ in 0..2 {
    /// # /*
    /// loop {
    /// # */
    ///     reactor.wait(&mut events, Some(std::time::Duration::ZERO))?;
    ///     // …
    ///     if reactor.native_handle_generation() != registered {
    ///         register(&reactor);
    ///         registered = reactor.native_handle_generation();
    ///     }
    ///     // …
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn native_handle_generation(&self) -> u64 {
        #[cfg(unix)]
        return self.engine.native().generation();
        #[cfg(windows)]
        return 0;
    }
}

/// The same as [`native_handle`](Reactor::native_handle).
#[cfg(unix)]
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.native_handle()
    }
}

/// The same as [`native_handle`](Reactor::native_handle).
#[cfg(unix)]
impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.native_handle().as_raw_fd()
    }
}

/// The same as [`native_handle`](Reactor::native_handle).
#[cfg(windows)]
impl AsHandle for Reactor {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.native_handle()
    }
}

/// The same as [`native_handle`](Reactor::native_handle).
#[cfg(windows)]
impl AsRawHandle for Reactor {
    fn as_raw_handle(&self) -> RawHandle {
        self.native_handle().as_raw_handle()
    }
}
