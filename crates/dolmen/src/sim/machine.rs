//! A simulated machine for other crates that simulate what they build on the reactor.
//!
//! Sockets are numbers that the caller owns, as on a real system: reused as soon as they are closed, duplicated, and
//! closed while a reactor still has them registered, if the caller does so. The other end of a connection is its
//! *link*, with which the test program plays the peer.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::{Config, Engine};
use crate::error::Error;
use crate::kernel::readiness::{BorrowedSocket, Readiness};
use crate::kernel::sim::Sim;
use crate::kernel::sim::world::{self, Descriptor, Faults, Readable, SharedWorld, SimHandle, World};
use crate::token::{Token, WatchId};

/// The machine: sockets, the peers at their other ends, faults and a clock.
#[allow(missing_debug_implementations)]
pub struct Machine {
    world: SharedWorld,
}

/// A reactor on such a machine; its methods are those of [`ReactorApi`](crate::raw::ReactorApi).
#[allow(missing_debug_implementations)]
pub struct SimReactor {
    pub(crate) engine: Engine<Sim>,
}

/// The object to which a socket's number refers. Numbers are reused, and this is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A connection, by its link.
    Link(usize),
    /// A listening socket.
    Listener(usize),
}

/// The result of the caller's own read of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It would block.
    Nothing,
    /// This many bytes.
    Bytes(usize),
    /// The end of the stream.
    End,
    /// The connection was reset.
    Reset,
}

/// The state of a link.
#[derive(Clone, Copy, Debug)]
pub struct LinkState {
    /// How many bytes the peer has written.
    pub written: u64,
    /// How many of those were read at our end.
    pub read: u64,
    /// The peer has ended its stream.
    pub fin: bool,
    /// The connection was reset, and whether the bytes from before can be read.
    pub reset: Option<bool>,
    /// How many bytes were sent at our end.
    pub sent: u64,
    /// How many of those the peer has not read.
    pub unread: usize,
    /// The peer's socket is gone, and it will respond to the next bytes with a reset.
    pub gone: bool,
    /// The caller has shut down the sending side of our end.
    pub shut: bool,
    /// Our end is closed.
    pub closed: bool,
}

/// The kernel's waits since [`Machine::begin_wait`].
#[derive(Clone, Copy, Debug)]
pub struct KernelWaits {
    /// Their number.
    pub count: u32,
    /// The longest run of waits that did not block and found nothing.
    pub most_idle: u32,
    /// One was without a timeout, and nothing would ever have ended it.
    pub stuck: bool,
}

impl Machine {
    /// The machine of a seed, with kernels of the completion style or of the readiness style.
    #[must_use]
    pub fn new(seed: u64, completion_style: bool) -> Machine {
        let mut world = World::new(seed);
        world.completion_style = completion_style;
        world.closed_while_registered = true;
        Machine { world: Rc::new(RefCell::new(world)) }
    }

    /// Makes a reactor of the machine, with the settings of the C library except for the size of its buffers.
    #[must_use]
    pub fn reactor(&self, max_events: usize, pool_size: usize, buffer_bytes: usize) -> SimReactor {
        let config =
            Config { max_events, pool_size, buffer_bytes, high_water_bytes: 1 << 30, ..Config::DEFAULT };
        SimReactor { engine: Engine::over(Sim::over(&self.world), config) }
    }

    /// The current time.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.world.borrow().now_ns
    }

    /// From here on the machine has no faults.
    pub fn heal(&self) {
        self.world.borrow_mut().heal();
    }

    /// Schedules an action of another thread, or of a peer, after a time, which may be during a wait. Actions run in
    /// the order in which they were scheduled.
    pub fn schedule(&self, after_ns: u64, act: impl FnOnce() + 'static) {
        let mut world = self.world.borrow_mut();
        let at_ns = world.now_ns + after_ns;
        world.schedule(at_ns, |_| act());
    }

    /// Runs all scheduled actions now.
    pub fn run_scheduled(&self) {
        let last_ns = self.world.borrow().last_scheduled_ns();
        let now_ns = self.now_ns();
        self.world.borrow_mut().now_ns = now_ns.max(last_ns.unwrap_or(0));
        world::run_scheduled(&self.world);
    }

    /// Whether the kernel may return from a wait early, or without any result.
    #[must_use]
    pub fn returns_early(&self) -> bool {
        self.world.borrow().faults.return_early()
    }

    /// Whether events may be reported late.
    #[must_use]
    pub fn reports_late(&self) -> bool {
        self.world.borrow().faults.delay > 0
    }

    /// Whether sends and receives may fail for lack of memory, and be retried later.
    #[must_use]
    pub fn lacks_memory(&self) -> bool {
        self.world.borrow().faults.no_memory > 0
    }

    /// Makes the kernel do everything promptly that it may do late, early or without need.
    #[must_use]
    pub fn suspend_faults(&self) -> SuspendedFaults {
        let mut world = self.world.borrow_mut();
        let faults = world.faults;
        world.faults = Faults { delay: 0, spurious: 0, early_return: 0, no_memory: 0, ..faults };
        SuspendedFaults(faults)
    }

    /// Restores the faults.
    pub fn restore_faults(&self, faults: SuspendedFaults) {
        self.world.borrow_mut().faults = faults.0;
    }

    /// A signal handler runs in the reactor's thread: the wait in progress returns.
    pub fn interrupt(&self) {
        self.world.borrow_mut().interrupted = true;
    }

    /// Starts counting.
    pub fn begin_wait(&self) {
        let mut world = self.world.borrow_mut();
        (world.waits, world.idle_waits, world.most_idle_waits, world.stuck) = (0, 0, 0, false);
        world.interrupted = false;
    }

    /// Returns what was counted.
    #[must_use]
    pub fn kernel_waits(&self) -> KernelWaits {
        let world = self.world.borrow();
        KernelWaits { count: world.waits, most_idle: world.most_idle_waits, stuck: world.stuck }
    }

    /// When a block on the reactor's native handle would end if the caller did nothing: it is readable, or another thread
    /// or a peer acts.
    #[must_use]
    pub fn ends_block_ns(&self, reactor: &mut SimReactor) -> Option<u64> {
        let ready_ns = reactor.engine.kernel().ready_from_ns();
        [ready_ns, self.world.borrow().next_scheduled_ns()].into_iter().flatten().min()
    }

    /// How many descriptors are open.
    #[must_use]
    pub fn open_descriptors(&self) -> usize {
        self.world.borrow().open_descriptors()
    }
}

/// The suspended faults of a machine.
#[allow(missing_debug_implementations)]
pub struct SuspendedFaults(Faults);

/// The caller's sockets.
impl Machine {
    /// How many links were ever made.
    #[must_use]
    pub fn links(&self) -> usize {
        self.world.borrow().links.len()
    }

    /// How many listeners were ever made.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.world.borrow().listeners.len()
    }

    /// How many bytes were ever sent at our ends of all links.
    #[must_use]
    pub fn sent_in_all(&self) -> u64 {
        self.world.borrow().links.iter().map(|link| link.outbound.total).sum()
    }

    /// Shuts down the sending side of our end.
    pub fn shut_down(&self, link: usize) {
        let link = &mut self.world.borrow_mut().links[link];
        (link.shut_by_caller, link.outbound.fin) = (true, true);
    }

    /// A connected socket, whose wire holds this many bytes each way.
    #[must_use]
    pub fn connect(&self, capacity: usize) -> u32 {
        let link = world::connect(&self.world, capacity);
        self.world.borrow_mut().open_raw(Descriptor::Link(link))
    }

    /// A listening socket.
    #[must_use]
    pub fn listen(&self) -> u32 {
        let mut world = self.world.borrow_mut();
        world.listeners.push(world::Listening { open: true, ..world::Listening::default() });
        let listener = world.listeners.len() - 1;
        world.open_raw(Descriptor::Listener(listener))
    }

    /// A peer connects to a listener.
    pub fn connect_to(&self, listener: usize, capacity: usize) {
        if self.world.borrow().listeners[listener].open {
            let link = world::connect(&self.world, capacity);
            self.world.borrow_mut().listeners[listener].backlog.push_back(link);
        }
    }

    /// Accepts a connection, if there is one.
    #[must_use]
    pub fn accept(&self, listener: usize) -> Option<u32> {
        let mut world = self.world.borrow_mut();
        let link = world.listeners[listener].backlog.pop_front()?;
        Some(world.open_raw(Descriptor::Link(link)))
    }

    /// Another number for the same socket.
    #[must_use]
    pub fn duplicate(&self, fd: u32) -> u32 {
        let mut world = self.world.borrow_mut();
        let object = world.object(fd);
        world.open_raw(object)
    }

    /// Closes a number, and the socket if it was the last one.
    pub fn close(&self, fd: u32) {
        self.world.borrow_mut().close_raw(fd);
    }

    /// The object to which a number refers.
    #[must_use]
    pub fn object(&self, fd: u32) -> Option<Object> {
        match self.world.borrow().object(fd) {
            Descriptor::Link(link) => Some(Object::Link(link)),
            Descriptor::Listener(listener) => Some(Object::Listener(listener)),
            _ => None,
        }
    }

    /// Whether any number refers to it.
    #[must_use]
    pub fn is_open(&self, object: Object) -> bool {
        self.world.borrow().is_open(object.into())
    }

    /// Its readiness, as far as a poll for `interest` would report it.
    #[must_use]
    pub fn ready(&self, object: Object, interest: Readiness) -> Readiness {
        self.world.borrow().polled(object.into(), interest)
    }

    /// The result that a read would have.
    #[must_use]
    pub fn peek(&self, link: usize) -> Found {
        match self.world.borrow().links[link].readable() {
            Readable::Nothing => Found::Nothing,
            Readable::Bytes(count) => Found::Bytes(count),
            Readable::End => Found::End,
            Readable::Reset => Found::Reset,
        }
    }

    /// Reads up to this many bytes, and appends them.
    pub fn receive(&self, link: usize, most: usize, into: &mut Vec<u8>) -> Found {
        match self.peek(link) {
            Found::Bytes(count) => {
                let count = count.min(most);
                into.extend(self.world.borrow_mut().links[link].inbound.bytes.drain(..count));
                Found::Bytes(count)
            }
            found => found,
        }
    }

    /// Writes as many bytes as fit. `None`: the connection was reset.
    #[must_use]
    pub fn send(&self, link: usize, bytes: &[u8]) -> Option<usize> {
        self.world.borrow_mut().links[link].send(bytes).ok()
    }
}

/// The peers.
impl Machine {
    /// The state of a link.
    #[must_use]
    pub fn link(&self, link: usize) -> LinkState {
        let world = self.world.borrow();
        let link = &world.links[link];
        LinkState {
            written: link.inbound.total,
            read: link.read(),
            fin: link.inbound.fin,
            reset: link.reset,
            sent: link.outbound.total,
            unread: link.outbound.bytes.len(),
            gone: link.gone,
            shut: link.shut_by_caller,
            closed: link.ended.is_some(),
        }
    }

    /// How many bytes the peer could write.
    #[must_use]
    pub fn peer_room(&self, link: usize) -> usize {
        let link = &self.world.borrow().links[link];
        let over = link.inbound.fin || link.reset.is_some() || link.ended.is_some();
        if over { 0 } else { link.inbound.room() }
    }

    /// The peer writes as much as there is room for.
    pub fn peer_write(&self, link: usize, bytes: &[u8]) {
        self.world.borrow_mut().links[link].inbound.write(bytes);
    }

    /// The peer reads up to this many bytes.
    #[must_use]
    pub fn peer_read(&self, link: usize, most: usize) -> Vec<u8> {
        let bytes = &mut self.world.borrow_mut().links[link].outbound.bytes;
        let count = most.min(bytes.len());
        bytes.drain(..count).collect()
    }

    /// The peer ends its stream. `gone`: it has closed its socket, and resets the connection at the next bytes.
    pub fn peer_finish(&self, link: usize, gone: bool) {
        let link = &mut self.world.borrow_mut().links[link];
        link.inbound.fin = true;
        link.gone |= gone;
    }

    /// The peer resets the connection. `keep`: the bytes that it has sent before can still be read.
    pub fn peer_reset(&self, link: usize, keep: bool) {
        self.world.borrow_mut().links[link].peer_reset(keep);
    }
}

/// Processes.
impl Machine {
    /// The process forks, and the child drops its copy of a reactor that polls these sockets: the copy has the same
    /// instance of the kernel. `tears`: the drop changes the instance.
    pub fn destroy_forked_copy(
        &self,
        reactor: &mut SimReactor,
        polled: impl Iterator<Item = u32>,
        tears: bool,
    ) {
        let mut copy = Engine::over(reactor.engine.kernel().fork(tears), Config::DEFAULT);
        for fd in polled {
            // A closed socket is not polled either.
            let _ = copy.add_poll(BorrowedSocket::simulated(fd), Readiness::READABLE, false, Token(0));
        }
        copy.flush();
        drop(copy);
    }
}

/// Handles that can be watched, such as a console.
impl SimReactor {
    /// Watches a new handle. Also returns the number by which [`Machine::signal`] knows it.
    ///
    /// # Errors
    ///
    /// As those of [`Reactor::watch`](crate::Reactor::watch).
    pub fn watch(&mut self, machine: &Machine, token: Token) -> Result<(WatchId, usize), Error> {
        let (handle, number) = SimHandle::open(&machine.world);
        Ok((self.engine.watch(handle, token)?, number))
    }

    /// As [`Reactor::remove_watch`](crate::Reactor::remove_watch).
    pub fn remove_watch(&mut self, watch: WatchId) -> bool {
        self.engine.remove_watch(watch)
    }
}

impl Machine {
    /// Sets whether a handle is signalled.
    pub fn signal(&self, handle: usize, signalled: bool) {
        self.world.borrow_mut().signalled[handle] = signalled;
    }
}

impl Clone for Machine {
    fn clone(&self) -> Machine {
        Machine { world: Rc::clone(&self.world) }
    }
}

impl From<Object> for Descriptor {
    fn from(object: Object) -> Descriptor {
        match object {
            Object::Link(link) => Descriptor::Link(link),
            Object::Listener(listener) => Descriptor::Listener(listener),
        }
    }
}
