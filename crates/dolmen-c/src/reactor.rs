//! What is behind an `io_reactor_t`: the registrations, and the wait.

use std::cell::UnsafeCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dolmen::{Event, Events, Poster, Reactor, TimerId, Token, Waker};

use crate::boundary::Failure;
use crate::console::Console;
use crate::sockets::Socket;
use crate::types::*;

/// A reactor. Written into the header by hand, with the reference's tag.
#[allow(non_camel_case_types)]
pub struct io_reactor_t {
    waker: Waker,
    /// io_reactor_wakeup() was called.
    wakeup: Arc<AtomicBool>,
    poster: Poster,
    /// A thread is inside `inner`.
    entered: AtomicBool,
    inner: UnsafeCell<Inner>,
}

/// Sole access to the inside of a reactor, until dropped.
pub(crate) struct Entered<'a> {
    reactor: &'a io_reactor_t,
}

pub(crate) struct Settings {
    pub(crate) max_events: usize,
    pub(crate) pool_size: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { max_events: 1024, pool_size: 256 }
    }
}

/// The token of the console's registrations; sockets use their slots.
pub(crate) const CONSOLE: Token = Token(usize::MAX);

/// What only one thread at a time may touch.
pub(crate) struct Inner {
    // Before the reactor: gives its buffers back.
    /// `None` while they are gone through.
    events: Option<Events>,
    max_events: usize,
    console: Option<Console>,
    slots: HashMap<socket_fd_t, usize>,
    sockets: Vec<Option<Registration>>,
    free: Vec<usize>,
    /// What was found without asking the system, for the next wait.
    pub(crate) own: VecDeque<Own>,
    /// Whether `own` comes first the next time; by turns, so that neither side starves the other.
    own_first: bool,
    /// Bytes that the caller's events point to, until the next wait.
    lent: Vec<Vec<u8>>,
    wakeup: Arc<AtomicBool>,
    pub(crate) reactor: Reactor,
}

pub(crate) struct Registration {
    pub(crate) context: *mut c_void,
    pub(crate) socket: Socket,
}

/// An event that the engine knows nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(unix, allow(dead_code))] // Whoever reads by himself has nothing left over.
pub(crate) enum Own {
    /// A socket's bytes, left over from a receive that brought more than the caller's buffer takes.
    Leftover(usize),
    /// A socket's end, behind such bytes.
    End(usize, c_int),
}

/// Where a wait puts its events.
pub(crate) struct Sink<'a> {
    room: &'a mut [MaybeUninit<io_event_t>],
    count: usize,
}

impl Sink<'_> {
    pub(crate) fn push(&mut self, event: io_event_t) {
        self.room[self.count].write(event);
        self.count += 1;
    }

    pub(crate) fn left(&self) -> usize {
        self.room.len() - self.count
    }
}

impl io_reactor_t {
    pub(crate) fn new(settings: Settings) -> Result<io_reactor_t, Failure> {
        let max_events = settings.max_events.min(65_536);
        let builder = Reactor::builder().max_events(max_events).pool_size(settings.pool_size);
        // Nothing that the caller has handed over is refused before it gets out of hand.
        let reactor = builder.high_water(1 << 30).build()?;
        let wakeup = Arc::new(AtomicBool::new(false));
        Ok(io_reactor_t {
            waker: reactor.waker(),
            wakeup: Arc::clone(&wakeup),
            poster: reactor.poster(),
            entered: AtomicBool::new(false),
            inner: UnsafeCell::new(Inner {
                events: Some(Events::with_capacity(max_events)),
                wakeup: Arc::clone(&wakeup),
                max_events,
                console: None,
                slots: HashMap::new(),
                sockets: Vec::new(),
                free: Vec::new(),
                own: VecDeque::new(),
                own_first: true,
                lent: Vec::new(),
                reactor,
            }),
        })
    }

    /// # Safety
    ///
    /// `reactor` is NULL or a live reactor's. So for the following.
    pub(crate) unsafe fn wake(reactor: *const io_reactor_t) -> Option<()> {
        if reactor.is_null() {
            return None;
        }
        // SAFETY: the caller vouches for it, and these two may be used from any thread.
        let (waker, wakeup) = unsafe { (&(*reactor).waker, &(*reactor).wakeup) };
        wakeup.store(true, Ordering::Release);
        waker.wake();
        Some(())
    }

    /// # Safety
    ///
    /// See [`io_reactor_t::wake`].
    pub(crate) unsafe fn poster<'a>(reactor: *const io_reactor_t) -> Option<&'a Poster> {
        // SAFETY: the caller vouches for it, and the poster never changes.
        unsafe { (!reactor.is_null()).then(|| &(*reactor).poster) }
    }

    /// `None` while somebody else is inside.
    ///
    /// # Safety
    ///
    /// `reactor` is a live reactor's.
    pub(crate) unsafe fn enter<'a>(reactor: *const io_reactor_t) -> Option<Entered<'a>> {
        // SAFETY: the caller vouches for it. Shared access is to what may be shared; see `Entered` for the rest.
        let reactor = unsafe { &*reactor };
        // Not `then_some`: what was made for nothing would leave when dropped.
        (!reactor.entered.swap(true, Ordering::Acquire)).then(|| Entered { reactor })
    }
}

impl Deref for Entered<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        // SAFETY: `entered` was set by us, so nobody else has a reference to the inside.
        unsafe { &*self.reactor.inner.get() }
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        // SAFETY: as above.
        unsafe { &mut *self.reactor.inner.get() }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.reactor.entered.store(false, Ordering::Release);
    }
}

/// Registrations.
impl Inner {
    pub(crate) fn add(
        &mut self,
        fd: socket_fd_t,
        context: *mut c_void,
        events: c_int,
    ) -> Result<c_int, Failure> {
        if !Socket::is_valid(fd) {
            return Err(Failure::new("not a socket"));
        }
        let same =
            self.slots.get(&fd).map(|&slot| self.socket_at(slot).and_then(|old| old.socket.is_same(fd)));
        let known = match same {
            None => false,
            Some(Some(true)) => return Err(Failure::new(format!("socket {fd} is registered already"))),
            // Its predecessor was closed without being removed.
            Some(Some(false)) => {
                self.remove(fd)?;
                false
            }
            Some(None) => true,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        match Socket::register(&mut self.reactor, fd, events, Token(slot), known) {
            Ok(socket) => {
                // The system would have refused the same one.
                if known {
                    self.remove(fd)?;
                }
                self.sockets[slot] = Some(Registration { context, socket });
                self.slots.insert(fd, slot);
                Ok(0)
            }
            Err(failure) => {
                self.free.push(slot);
                Err(failure)
            }
        }
    }

    pub(crate) fn modify(&mut self, fd: socket_fd_t, events: c_int) -> Result<c_int, Failure> {
        match self.slots.get(&fd) {
            Some(&slot) => {
                let registration = self.sockets[slot].as_mut().expect("the slot is the socket's");
                registration.socket.modify(&mut self.reactor, fd, events, Token(slot))
            }
            None => Socket::modify_unknown(fd),
        }
    }

    pub(crate) fn remove(&mut self, fd: socket_fd_t) -> Result<c_int, Failure> {
        if cfg!(windows) && !Socket::is_valid(fd) {
            return Err(Failure::new("not a socket"));
        }
        if let Some(slot) = self.slots.remove(&fd) {
            let registration = self.sockets[slot].take().expect("the slot is the socket's");
            registration.socket.deregister(&mut self.reactor);
            self.own.retain(|own| !matches!(own, Own::Leftover(of) | Own::End(of, _) if *of == slot));
            self.free.push(slot);
        }
        Ok(0)
    }

    pub(crate) fn post_read(
        &mut self,
        fd: socket_fd_t,
        buffer: *mut c_void,
        len: usize,
    ) -> Result<c_int, Failure> {
        let slot = self.slots.get(&fd).copied();
        Socket::post_read(self, slot, (buffer, len))
    }

    pub(crate) fn post_write(&mut self, fd: socket_fd_t, bytes: &[u8]) -> Result<c_int, Failure> {
        let slot = self.slots.get(&fd).copied();
        Socket::post_write(self, slot, bytes)
    }

    pub(crate) fn socket_at(&self, slot: usize) -> Option<&Registration> {
        self.sockets.get(slot)?.as_ref()
    }

    #[cfg_attr(unix, allow(dead_code))] // Readiness changes nothing about a registration.
    pub(crate) fn socket_at_mut(&mut self, slot: usize) -> Option<&mut Registration> {
        self.sockets.get_mut(slot)?.as_mut()
    }

    /// Keeps bytes until the next wait, and answers where they are.
    #[cfg_attr(unix, allow(dead_code))] // As for `Own`.
    pub(crate) fn lend(&mut self, bytes: Vec<u8>) -> *mut c_void {
        self.lent.push(bytes);
        self.lent.last_mut().map_or(null_mut(), |bytes| bytes.as_mut_ptr().cast())
    }

    pub(crate) fn add_console(&mut self, context: *mut c_void) -> Result<c_int, Failure> {
        match &mut self.console {
            Some(console) => console.context = context,
            none => *none = Some(Console::open(&mut self.reactor, context)?),
        }
        Ok(0)
    }

    pub(crate) fn remove_console(&mut self) -> Result<c_int, Failure> {
        if let Some(console) = self.console.take() {
            console.close(&mut self.reactor);
        }
        Ok(0)
    }

    pub(crate) fn console_type(&self) -> console_type_t {
        self.console.as_ref().map_or(console_type_t::CONSOLE_TYPE_NONE, Console::kind)
    }

    pub(crate) fn add_timer(&mut self, context: *mut c_void, delay: Duration, period: Duration) -> u64 {
        let token = Token(context.expose_provenance());
        let timer = if period.is_zero() {
            self.reactor.timer(token, delay)
        } else {
            self.reactor.raw().interval_after(token, delay, period)
        };
        timer.to_bits()
    }

    pub(crate) fn cancel_timer(&mut self, timer: u64) -> Result<c_int, Failure> {
        if timer == 0 {
            return Err(Failure::new("0 is no timer's id"));
        }
        // One that never was is gone like any other.
        TimerId::from_bits(timer).map(|timer| self.reactor.cancel_timer(timer));
        Ok(0)
    }

    pub(crate) fn stats(&self) -> io_reactor_stats_t {
        let stats = self.reactor.stats();
        io_reactor_stats_t {
            waits: stats.waits,
            kernel_calls: stats.kernel_calls,
            events: stats.events,
            bytes_received: stats.bytes_received,
            bytes_sent: stats.bytes_sent,
            sockets: self.slots.len() as u64,
            timers: stats.timers as u64,
            operations_in_flight: stats.operations_in_flight as u64,
            queued_bytes: stats.queued_bytes as u64,
        }
    }
}

/// The wait.
impl Inner {
    pub(crate) fn wait(
        &mut self,
        room: &mut [MaybeUninit<io_event_t>],
        timeout: Option<Duration>,
    ) -> Result<usize, Failure> {
        let room_len = room.len().min(self.max_events);
        let mut sink = Sink { room: &mut room[..room_len], count: 0 };
        let mut deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut timeout = timeout;
        self.lent.clear();
        self.own_first = !self.own_first;
        if self.own_first {
            self.deliver_own(&mut sink);
        }
        loop {
            let mut woken = false;
            if sink.left() > 0 {
                let at_once = sink.count > 0 || self.has_own();
                let limit = sink.left();
                let events = self.events.get_or_insert_with(|| Events::with_capacity(limit));
                events.limit(limit);
                let block = if at_once { Some(Duration::ZERO) } else { timeout };
                let full = self.reactor.wait(events, block)? == limit;
                woken = self.deliver(&mut sink);
                if woken && full && sink.count == 0 {
                    // The wake has taken the place of an event.
                    (timeout, deadline) = (Some(Duration::ZERO), None);
                    continue;
                }
            }
            self.deliver_own(&mut sink);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let over = timeout.is_some() && left.unwrap_or_default().is_zero();
            if sink.count > 0 || woken || over {
                return Ok(sink.count);
            }
            // What came was nothing for the caller, such as a console's mouse: wait for the rest of the time.
            timeout = left.or(timeout);
        }
    }

    /// Translates the engine's events. True if there was a wake among them.
    fn deliver(&mut self, sink: &mut Sink<'_>) -> bool {
        let mut woken = false;
        // Taken out while it is gone through, as the handling of an event needs the rest of `self`.
        let Some(mut events) = self.events.take() else { return false };
        for event in events.drain() {
            match event {
                // The console's thread wakes as well.
                Event::Woken => woken |= self.wakeup.swap(false, Ordering::AcqRel),
                Event::Timer { token, missed, .. } => {
                    let context = std::ptr::with_exposed_provenance_mut(token.0);
                    let mut event = io_event_t::plain(context, EVENT_TIMER);
                    event.bytes_transferred = c_int::try_from(missed).unwrap_or(c_int::MAX);
                    sink.push(event);
                }
                Event::Posted { token, value } => {
                    let context = std::ptr::with_exposed_provenance_mut(token.0);
                    let mut event = io_event_t::plain(context, EVENT_POST);
                    event.buffer = std::ptr::with_exposed_provenance_mut(value as usize);
                    sink.push(event);
                }
                Event::Ready { token: CONSOLE, .. } | Event::Polled { token: CONSOLE, .. } => {
                    if let Some(console) = &mut self.console {
                        console.ready(&mut self.reactor, &event, sink);
                    }
                }
                event => Socket::deliver(self, event, sink),
            }
        }
        self.events = Some(events);
        woken
    }

    fn has_own(&self) -> bool {
        !self.own.is_empty() || self.console.as_ref().is_some_and(Console::has_input)
    }

    fn deliver_own(&mut self, sink: &mut Sink<'_>) {
        if sink.left() > 0 {
            if let Some(console) = &mut self.console {
                console.deliver(sink);
            }
        }
        while sink.left() > 0 {
            let Some(own) = self.own.pop_front() else { break };
            Socket::deliver_own(self, own, sink);
        }
    }
}
