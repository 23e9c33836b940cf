//! The inside of an `io_reactor_t`: the registrations, and the wait that turns the engine's events into C's.

use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dolmen::raw::{Batch, ReactorApi, Readiness, Record};
use dolmen::{TimerId, Token};

use crate::accepting::Accepting;
use crate::boundary::Failure;
use crate::console::{Console, StdinFacts};
use crate::marks::{Mark, mark};
use crate::names::Names;
use crate::platform::Platform;
use crate::room::{Origin, Room};
use crate::sink::{Lent, Sink};
use crate::sockets::{Socket, StreamOf};
use crate::types::*;

pub(crate) struct Settings {
    pub(crate) max_events: usize,
    pub(crate) pool_size: usize,
    /// How many posts may wait.
    pub(crate) posts: usize,
    /// Whether there is a descriptor for others to end a wait with.
    #[cfg_attr(windows, allow(dead_code))] // There they have the completion port.
    pub(crate) bell: bool,
}

impl Settings {
    pub(crate) const DEFAULT: Settings =
        Settings { max_events: 1024, pool_size: 256, posts: 65_536, bell: false };

    /// Of `async_runtime.h`, whose reference refuses no completion.
    pub(crate) const RUNTIME: Settings = Settings { posts: 1 << 20, bell: true, ..Settings::DEFAULT };

    /// No wait returns more events.
    pub(crate) const MOST_EVENTS: usize = 65_536;

    pub(crate) fn new(max_events: usize, pool_size: usize) -> Settings {
        Settings { max_events: max_events.clamp(1, Settings::MOST_EVENTS), pool_size, ..Settings::DEFAULT }
    }
}

/// How often a wait asks again because none of the engine's events were for the caller.
const MAX_DISPLACED_WAITS: u32 = 16;

/// The token of the console's registrations; sockets use their slots.
pub(crate) const CONSOLE: Token = Token(usize::MAX);

/// The part of a reactor that only one thread at a time may touch.
pub(crate) struct Inner<P: Platform> {
    // Dropped before the reactor, to which it returns its buffers.
    /// `None` during an iteration over them.
    events: Option<Batch<StreamOf<P>>>,
    max_events: usize,
    pub(crate) console: Option<Console<P>>,
    /// What other threads may ask about standard input.
    pub(crate) stdin_facts: Arc<StdinFacts>,
    pub(crate) slots: HashMap<socket_fd_t, usize>,
    sockets: Vec<Option<Registration<P>>>,
    free: Vec<usize>,
    /// Events that the engine does not know, for the next wait.
    pub(crate) synthetic: VecDeque<Synthetic>,
    /// Whether the next wait delivers those first; it alternates, so that neither side starves the other.
    synthetic_first: bool,
    /// Whether the console comes first among those: the others had an event after its last.
    console_first: bool,
    /// The bytes that the caller's events point to, until the next wait.
    pub(crate) lent: Lent,
    pub(crate) names: Names,
    pub(crate) accepting: Accepting,
    /// io_reactor_wakeup() was called. Other wakes are internal to the library.
    wakeup: Arc<AtomicBool>,
    pub(crate) reactor: P::Reactor,
    pub(crate) platform: P,
}

pub(crate) struct Registration<P: Platform> {
    pub(crate) context: *mut c_void,
    pub(crate) fd: socket_fd_t,
    /// A listener whose connections the library accepts.
    pub(crate) accepts: bool,
    /// The timer that ends the pause of such a listener. It ends with the registration.
    pub(crate) pause: Option<TimerId>,
    pub(crate) socket: P::Socket,
}

/// An event that the engine does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synthetic {
    /// A socket's bytes, left over from a receive that brought more than the caller's buffer takes.
    Leftover(usize),
    /// A socket's end, behind such bytes.
    End(usize, c_int),
    /// The connections that wait at a listener.
    Connections(usize),
}

impl Synthetic {
    /// The slot of the socket that it belongs to.
    pub(crate) fn slot(self) -> usize {
        match self {
            Synthetic::Leftover(slot) | Synthetic::End(slot, _) | Synthetic::Connections(slot) => slot,
        }
    }
}

/// Registrations.
impl<P: Platform> Inner<P> {
    pub(crate) fn new(platform: P, reactor: P::Reactor, settings: Settings) -> Inner<P> {
        Inner {
            events: Some(Batch::with_capacity(settings.max_events)),
            max_events: settings.max_events,
            console: None,
            stdin_facts: Arc::default(),
            slots: HashMap::new(),
            sockets: Vec::new(),
            free: Vec::new(),
            synthetic: VecDeque::new(),
            synthetic_first: true,
            console_first: false,
            lent: Lent::default(),
            names: Names::default(),
            accepting: Accepting::default(),
            wakeup: Arc::new(AtomicBool::new(false)),
            reactor,
            platform,
        }
    }

    pub(crate) fn wakeup(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.wakeup)
    }

    pub(crate) fn add(
        &mut self,
        fd: socket_fd_t,
        context: *mut c_void,
        events: c_int,
    ) -> Result<(), Failure> {
        let added = self.register(fd, context, |platform, reactor, token, known| {
            P::Socket::register(platform, reactor, fd, events, token, known)
        });
        // After the attempt, because only the system knows on Windows whether the number stands for the same socket.
        match added {
            Err(failure) if failure.is_registered() && self.add_connected(fd, context, events)? => Ok(()),
            added => added,
        }
    }

    /// Adds a socket that is registered because this library has connected it. False: it is no such socket.
    fn add_connected(
        &mut self,
        fd: socket_fd_t,
        context: *mut c_void,
        events: c_int,
    ) -> Result<bool, Failure> {
        let Some(&slot) = self.slots.get(&fd) else { return Ok(false) };
        let registration = self.sockets[slot].as_mut().expect("the slot is the socket's");
        let added = registration.socket.add_connected(&mut self.reactor, fd, events)?;
        if added {
            registration.context = context;
        }
        Ok(added)
    }

    /// Registers a socket that is being connected.
    pub(crate) fn connect(
        &mut self,
        fd: socket_fd_t,
        address: &[u8],
        context: *mut c_void,
    ) -> Result<(), Failure> {
        self.register(fd, context, |platform, reactor, token, known| {
            P::Socket::connect(platform, reactor, fd, address, token, known)
        })
    }

    fn register(
        &mut self,
        fd: socket_fd_t,
        context: *mut c_void,
        register: impl FnOnce(&P, &mut P::Reactor, Token, bool) -> Result<P::Socket, Failure>,
    ) -> Result<(), Failure> {
        if !P::Socket::is_valid(fd) {
            return Err(Failure::new("not a socket"));
        }
        let same = self.slots.get(&fd).map(|&slot| {
            self.socket_at(slot).and_then(|old| old.socket.is_same(&self.platform, &self.reactor, fd))
        });
        let known = match same {
            None => false,
            // The earlier socket of that number was closed without being removed.
            Some(Some(false)) => {
                self.remove(fd)?;
                false
            }
            Some(Some(_)) => return Err(Failure::registered(fd)),
            Some(None) => true,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        match register(&self.platform, &mut self.reactor, Token(slot), known) {
            Ok(socket) => {
                // The system would have refused the same socket.
                if known {
                    self.remove(fd)?;
                }
                self.sockets[slot] = Some(Registration { context, fd, accepts: false, pause: None, socket });
                self.slots.insert(fd, slot);
                Ok(())
            }
            Err(failure) => {
                self.free.push(slot);
                Err(failure)
            }
        }
    }

    pub(crate) fn modify(&mut self, fd: socket_fd_t, events: c_int) -> Result<(), Failure> {
        match self.slots.get(&fd) {
            Some(&slot) => {
                let registration = self.sockets[slot].as_mut().expect("the slot is the socket's");
                if registration.pause.is_some() {
                    mark(Mark::ModifiedInPause);
                }
                registration.socket.modify(&mut self.reactor, fd, events, Token(slot))
            }
            None => P::Socket::modify_unknown(fd),
        }
    }

    /// Changes the context as well.
    pub(crate) fn modify_with_context(
        &mut self,
        fd: socket_fd_t,
        events: c_int,
        context: *mut c_void,
    ) -> Result<(), Failure> {
        let slot = *self.slots.get(&fd).ok_or_else(|| not_registered(fd))?;
        self.modify(fd, events)?;
        self.socket_at_mut(slot).expect("the slot is the socket's").context = context;
        Ok(())
    }

    /// Refuses a socket that is not registered.
    pub(crate) fn remove_registered(&mut self, fd: socket_fd_t) -> Result<(), Failure> {
        if self.slots.contains_key(&fd) { self.remove(fd) } else { Err(not_registered(fd)) }
    }

    pub(crate) fn remove(&mut self, fd: socket_fd_t) -> Result<(), Failure> {
        let Some(slot) = self.slots.remove(&fd) else { return P::Socket::remove_unknown(fd) };
        let registration = self.sockets[slot].take().expect("the slot is the socket's");
        registration.socket.deregister(&mut self.reactor);
        registration.pause.map(|timer| self.reactor.remove_timer(timer));
        let before = self.synthetic.len();
        self.synthetic.retain(|event| event.slot() != slot);
        if self.synthetic.len() < before {
            mark(Mark::RemovedWithSynthetic);
        }
        self.free.push(slot);
        Ok(())
    }

    pub(crate) fn post_read(
        &mut self,
        fd: socket_fd_t,
        buffer: *mut c_void,
        len: usize,
    ) -> Result<(), Failure> {
        let slot = self.slots.get(&fd).copied();
        P::Socket::post_read(self, slot, (buffer, len))
    }

    pub(crate) fn post_write(&mut self, fd: socket_fd_t, bytes: &[u8]) -> Result<(), Failure> {
        let slot = self.slots.get(&fd).copied();
        P::Socket::post_write(self, slot, bytes)
    }

    pub(crate) fn socket_at(&self, slot: usize) -> Option<&Registration<P>> {
        self.sockets.get(slot)?.as_ref()
    }

    pub(crate) fn socket_at_mut(&mut self, slot: usize) -> Option<&mut Registration<P>> {
        self.sockets.get_mut(slot)?.as_mut()
    }

    pub(crate) fn socket_and_reactor(&mut self, slot: usize) -> Option<(&mut P::Socket, &mut P::Reactor)> {
        let registration = self.sockets.get_mut(slot)?.as_mut()?;
        Some((&mut registration.socket, &mut self.reactor))
    }

    /// Whose event it is.
    pub(crate) fn origin(&self, slot: usize) -> Origin {
        self.socket_at(slot).map_or(Origin::without_socket(null_mut()), |registration| Origin {
            context: registration.context,
            fd: registration.fd,
        })
    }

    /// How many listeners pause, except those whose pause is over and not noticed yet.
    fn pauses_set(&self) -> usize {
        let pauses = self.sockets.iter().flatten().filter_map(|registration| registration.pause);
        pauses.filter(|&pause| self.reactor.is_timer_set(pause)).count()
    }

    pub(crate) fn stats(&self) -> io_reactor_stats_t {
        let stats = self.reactor.stats();
        io_reactor_stats_t {
            waits: stats.waits,
            kernel_calls: stats.kernel_calls + self.accepting.calls(),
            events: stats.events,
            bytes_received: stats.bytes_received,
            bytes_sent: stats.bytes_sent,
            sockets: self.slots.len() as u64,
            timers: (self.reactor.timers_set() - self.pauses_set()) as u64,
            operations_in_flight: stats.operations_in_flight as u64,
            queued_bytes: stats.queued_bytes as u64,
        }
    }
}

/// The wait.
impl<P: Platform> Inner<P> {
    /// Puts events into `room` and returns how many. `None`: no timeout.
    pub(crate) fn wait(&mut self, room: Room<'_>, timeout: Option<Duration>) -> Result<usize, Failure> {
        // Not in `self` while the sink has it.
        let mut lent = std::mem::take(&mut self.lent);
        lent.reclaim();
        let mut sink = Sink::new(room, self.max_events, P::Socket::COMPLETES, &mut lent);
        let collected = self.collect(&mut sink, timeout);
        let count = sink.count();
        self.lent = lent;
        match collected {
            // The events in the array were taken from their sources, so the caller must get them. The failure can wait.
            Err(failure) if count > 0 => {
                tracing::warn!(target: "io_reactor", %failure, count, "the wait failed behind its events");
                Ok(count)
            }
            collected => collected.map(|()| count),
        }
    }

    fn collect(&mut self, sink: &mut Sink<'_>, timeout: Option<Duration>) -> Result<(), Failure> {
        let mut deadline_ns =
            timeout.map(|timeout| self.reactor.now_ns().saturating_add(nanoseconds(timeout)));
        if let Some(console) = &mut self.console {
            console.begin_wait();
        }
        self.synthetic_first = !self.synthetic_first;
        if self.synthetic_first {
            self.deliver_synthetic(sink)?;
        }
        let (mut woken, mut displaced) = (false, 0);
        loop {
            let immediately = !sink.is_empty() || self.has_synthetic();
            if sink.left() > 0 {
                let block = match deadline_ns {
                    _ if immediately => Some(Duration::ZERO),
                    None => None,
                    Some(deadline) => {
                        Some(Duration::from_nanos(deadline.saturating_sub(self.reactor.now_ns())))
                    }
                };
                let full = self.wait_in_engine(sink, block)?;
                woken |= self.deliver(sink)?;
                if full && sink.is_empty() && self.has_connections() {
                    // They may be gone, or not be accepted.
                    self.deliver_synthetic(sink)?;
                }
                if full && sink.is_empty() && displaced < MAX_DISPLACED_WAITS {
                    // An internal event, such as a wake, has taken the place of an event of the caller's, and must not
                    // do so each time. The result of a look-up ends the wait.
                    mark(Mark::PlaceTaken);
                    displaced += 1;
                    if woken || self.names.is_due() || P::Socket::BLOCKS_ONCE {
                        deadline_ns = Some(0);
                    }
                    continue;
                }
            }
            self.deliver_synthetic(sink)?;
            // Where a wait blocks once, a signal handler may have ended it, and the caller must see what it did [hc49].
            let over = deadline_ns.is_some_and(|deadline| self.reactor.now_ns() >= deadline);
            if !sink.is_empty()
                || woken
                || over
                || self.names.is_due()
                || (P::Socket::BLOCKS_ONCE && !immediately)
            {
                return Ok(());
            }
            // No event was for the caller, such as a mouse record of a console: wait for the rest of the time.
        }
    }

    /// For how long a wait without a timeout would block from now on, if the system reported nothing.
    pub(crate) fn next_timeout(&mut self) -> Option<Duration> {
        // What the last wait has delivered is due again with the next one.
        if let Some(console) = &mut self.console {
            console.begin_wait();
        }
        if self.has_synthetic() || self.names.is_due() {
            return Some(Duration::ZERO);
        }
        self.reactor.next_timeout()
    }

    /// Lets the engine wait, for as many events as there is room for. True if it has that many.
    fn wait_in_engine(&mut self, sink: &Sink<'_>, timeout: Option<Duration>) -> Result<bool, Failure> {
        assert!(sink.engine_is_free(), "an event of this wait points into the engine's events");
        let limit = sink.left();
        let events = self.events.get_or_insert_with(|| Batch::with_capacity(limit));
        events.set_capacity(limit);
        let count = if P::Socket::BLOCKS_ONCE {
            self.reactor.wait_once(events, timeout)?
        } else {
            self.reactor.wait(events, timeout)?
        };
        Ok(count == limit)
    }

    /// Translates the engine's events. True if io_reactor_wakeup() was called, or what does the same.
    fn deliver(&mut self, sink: &mut Sink<'_>) -> Result<bool, Failure> {
        let mut woken = false;
        let mut failed = Ok(());
        // Taken out during the iteration, as the handling of an event needs the rest of `self`.
        let Some(mut events) = self.events.take() else { return Ok(false) };
        for record in events.drain() {
            if let Record::Resolved { lookup, result, .. } = record {
                result.take().into_iter().for_each(|result| self.names.resolved(*lookup, result));
                continue;
            }
            match *record {
                // The console's threads wake as well.
                Record::Woken => {
                    woken |= self.wakeup.swap(false, Ordering::AcqRel);
                }
                Record::Timer { timer, token, .. } if self.accept_again(timer, token) => {}
                Record::Timer { token, missed, .. } => {
                    let context = std::ptr::with_exposed_provenance_mut(token.0);
                    sink.counted(Origin::without_socket(context), EVENT_TIMER, missed);
                }
                Record::Posted { token, value } => sink.message(token.0, value as usize),
                // Others have written to the descriptor that ends waits.
                Record::Foreign { .. } if P::Socket::BLOCKS_ONCE => woken = true,
                Record::Foreign { key, bytes, overlapped } => sink.foreign(key, bytes, overlapped),
                Record::Ready { token: CONSOLE, .. } => {
                    failed = failed.and(self.console_reported(None, sink));
                }
                Record::Polled { token: CONSOLE, ready, .. } => {
                    failed = failed.and(self.console_reported(Some(ready), sink));
                }
                // An event with a place for the socket: the library accepts. The end of a listener that was closed is
                // for the caller.
                Record::Polled { token, ready, .. }
                    if ready == Readiness::READABLE && sink.is_wide() && self.accepts(token.0) =>
                {
                    self.note_connections(token.0);
                }
                _ => P::Socket::deliver(self, record, sink),
            }
        }
        self.events = Some(events);
        failed.map(|()| woken)
    }

    fn console_reported(&mut self, ready: Option<Readiness>, sink: &mut Sink<'_>) -> Result<(), Failure> {
        match &mut self.console {
            Some(console) => console.reported(&mut self.reactor, ready, sink),
            None => Ok(()),
        }
    }

    fn has_synthetic(&self) -> bool {
        !self.synthetic.is_empty() || self.console.as_ref().is_some_and(Console::is_due)
    }

    fn deliver_synthetic(&mut self, sink: &mut Sink<'_>) -> Result<(), Failure> {
        // Here as well neither side starves the other: a file that is not read is always due, and there may be room for one
        // event only [hc19].
        if self.console_first {
            self.deliver_console(sink)?;
        }
        while sink.left() > 0 {
            let Some(synthetic) = self.synthetic.pop_front() else { break };
            let before = sink.count();
            match synthetic {
                Synthetic::Connections(slot) => self.deliver_connections(slot, sink),
                Synthetic::Leftover(slot) => P::Socket::deliver_leftover(self, slot, sink),
                Synthetic::End(slot, event) => {
                    if self.socket_at(slot).is_some() {
                        sink.event(self.origin(slot), event);
                    }
                }
            }
            self.console_first |= sink.count() > before;
        }
        if !self.synthetic.is_empty() {
            mark(Mark::SyntheticWaited);
        }
        self.deliver_console(sink)
    }

    fn deliver_console(&mut self, sink: &mut Sink<'_>) -> Result<(), Failure> {
        match &mut self.console {
            Some(console) if sink.left() > 0 && console.is_due() => {
                self.console_first = false;
                console.deliver(&mut self.reactor, sink)
            }
            _ => Ok(()),
        }
    }
}

fn not_registered(fd: socket_fd_t) -> Failure {
    Failure::new(format!("socket {fd} is not registered"))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
