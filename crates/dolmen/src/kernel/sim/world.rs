//! The simulated machine: sockets, links between two ends, handles, and a clock.
//!
//! The reactor's end of everything is behind descriptors, which are reused as soon as possible, the last closed first.
//! The other end is a [`Link`], with which the test program plays the peer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::kernel::operation::OpKind;
use crate::kernel::readiness::{BorrowedSocket, Readiness};
use crate::kernel::{Close, Fault, FaultKind, Signal};
use crate::marks::{Mark, mark};
use crate::sim::rng::Rng;

pub(crate) type SharedWorld = Rc<RefCell<World>>;

/// How often each fault strikes, in percent; drawn anew for each seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) sync: u8,
    pub(crate) in_submit: u8,
    pub(crate) partial: u8,
    pub(crate) late_success: u8,
    pub(crate) early_write: u8,
    pub(crate) delay: u8,
    pub(crate) reorder: u8,
    pub(crate) early_return: u8,
    pub(crate) spurious: u8,
    pub(crate) accept_transient: u8,
    /// Immediate failures that are warnings.
    pub(crate) warning: u8,
    /// Packets of others.
    pub(crate) foreign: u8,
    /// Failures of sends and receives for lack of memory.
    pub(crate) no_memory: u8,
    /// If set, only these operations fail.
    pub(crate) no_memory_for: Option<OpKind>,
}

impl Faults {
    /// Each fault is off for some seeds, rare for others and common for the rest.
    pub(crate) fn random(rng: &mut Rng) -> Faults {
        let mut rate = || match rng.below(3) {
            0 => 0,
            1 => 5,
            _ => 40,
        };
        Faults {
            sync: rate(),
            in_submit: rate(),
            partial: rate(),
            late_success: rate(),
            early_write: rate(),
            delay: rate(),
            reorder: rate(),
            early_return: rate(),
            spurious: rate(),
            accept_transient: rate(),
            warning: rate(),
            foreign: rate(),
            no_memory: 0,
            no_memory_for: None,
        }
    }
}

impl Faults {
    /// Whether a wait may return early, or without any result.
    pub(crate) fn return_early(&self) -> bool {
        self.early_return > 0 || self.spurious > 0
    }
}

/// An action of another thread, given the time.
type Scheduled = Box<dyn FnOnce(u64)>;

pub(crate) struct World {
    pub(crate) rng: Rng,
    /// For the faults that were added later: the others must strike as they did when they found their bugs.
    later: Rng,
    pub(crate) now_ns: u64,
    pub(crate) faults: Faults,
    /// Completion style lends buffers and takes sends whole; readiness style tries when progress is possible.
    pub(crate) completion_style: bool,
    /// In completion style, a wait's time-out follows a clock that ticks 64 times a second.
    pub(crate) coarse: bool,
    /// Accepts fail because there is no descriptor left.
    pub(crate) exhausted: bool,
    /// The caller may close sockets that are still registered. Otherwise that is a fault of the engine, and asserted.
    pub(crate) closed_while_registered: bool,
    /// A signal handler has run.
    pub(crate) interrupted: bool,
    descriptors: Vec<Descriptor>,
    free: Vec<u32>,
    pub(crate) links: Vec<Link>,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) signalled: Vec<bool>,
    /// The most bytes that one send was given.
    pub(crate) largest_send: usize,
    /// The signal that wakes the reactor from other threads.
    pub(crate) signal: Arc<SimSignal>,
    /// The actions of other threads, and their times: in this order, and once the time has come even during a wait.
    scheduled: VecDeque<(u64, Scheduled)>,
    /// A wait without a timeout had nothing that could end it.
    pub(crate) stuck: bool,
    /// Kernel waits since the caller's wait began, and the length of the last run of those without a timeout that
    /// brought nothing.
    pub(crate) polls: u32,
    pub(crate) idle_polls: u32,
    /// The longest such run so far.
    pub(crate) most_idle_polls: u32,
}

/// The object to which a descriptor refers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    Free,
    Link(usize),
    Listener(usize),
    Handle(usize),
}

#[derive(Default)]
pub(crate) struct Listening {
    /// Links that wait to be accepted.
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) open: bool,
}

/// A connection: the wire in both directions.
#[derive(Default)]
pub(crate) struct Link {
    pub(crate) inbound: Pipe,
    pub(crate) outbound: Pipe,
    /// The peer has reset; whether the bytes that it had sent before can still be read.
    pub(crate) reset: Option<bool>,
    /// The peer is gone without a reset: it will respond to the next bytes with one.
    pub(crate) gone: bool,
    /// The caller has shut down the sending side itself, on a duplicate of the socket.
    pub(crate) shut_by_caller: bool,
    /// When a send failed because of that, and how many bytes the peer had sent by then.
    pub(crate) send_failed: Option<(u64, u64)>,
    /// The same for a send that found the connection reset.
    pub(crate) send_reset: Option<(u64, u64)>,
    pub(crate) ended: Option<Ended>,
    /// Nothing will ever happen on it, so the kernel can skip the operations that wait for it.
    pub(crate) silent: bool,
}

/// How the reactor's end was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Orderly,
    /// By request, or by the system because received bytes were left unread: bytes in transit are lost.
    Reset,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) capacity: usize,
    pub(crate) fin: bool,
    /// The total of bytes that were ever written.
    pub(crate) total: u64,
}

impl Pipe {
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.bytes.len().min(self.capacity)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.total += bytes.len() as u64;
    }
}

/// The result of a receive on a link.
pub(crate) enum Readable {
    Nothing,
    Bytes(usize),
    End,
    Reset,
}

/// The time between two ticks of a coarse clock.
pub(crate) const TICK_NS: u64 = 15_625_000;

pub(crate) const RESET: Fault = Fault { kind: FaultKind::Reset, code: 104 };
/// EPIPE.
pub(crate) const SHUT: Fault = Fault { kind: FaultKind::Reset, code: 32 };
pub(crate) const CANCELLED: Fault = Fault { kind: FaultKind::Cancelled, code: 125 };
/// The caller has closed the socket.
pub(crate) const ABORTED: Fault = Fault { kind: FaultKind::Cancelled, code: 995 };
pub(crate) const NOT_OPEN: Fault = Fault { kind: FaultKind::Invalid, code: 9 };
pub(crate) const EXHAUSTED: Fault = Fault { kind: FaultKind::Exhausted, code: 24 };
pub(crate) const NO_MEMORY: Fault = Fault { kind: FaultKind::Exhausted, code: 12 };
pub(crate) const NOT_CONNECTED: Fault = Fault { kind: FaultKind::NotConnected, code: 107 };
pub(crate) const TRANSIENT: Fault = Fault { kind: FaultKind::Transient, code: 103 };

impl Link {
    pub(crate) fn readable(&self) -> Readable {
        match self.reset {
            Some(true) if !self.inbound.bytes.is_empty() => Readable::Bytes(self.inbound.bytes.len()),
            Some(_) => Readable::Reset,
            None if !self.inbound.bytes.is_empty() => Readable::Bytes(self.inbound.bytes.len()),
            None if self.inbound.fin => Readable::End,
            None => Readable::Nothing,
        }
    }

    /// Whether a send would make progress or fail.
    pub(crate) fn writable(&self) -> bool {
        self.reset.is_some() || self.gone || self.shut_by_caller || self.outbound.room() > 0
    }

    /// Everything that can be reported to a poll.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut ready = Readiness::NONE;
        if !matches!(self.readable(), Readable::Nothing) {
            ready |= Readiness::READABLE;
        }
        if self.writable() {
            ready |= Readiness::WRITABLE;
        }
        if self.reset.is_some() {
            ready |= Readiness::ENDS;
        }
        ready
    }

    /// The result of a poll for `interest`. If it asks for reading, an end is reported after the bytes in front of it.
    pub(crate) fn polled(&self, interest: Readiness) -> Readiness {
        if interest.is_empty() {
            return Readiness::NONE;
        }
        let wants_to_read = interest.contains(Readiness::READABLE);
        let bytes_first = wants_to_read && matches!(self.readable(), Readable::Bytes(_));
        let ends = if bytes_first { Readiness::NONE } else { Readiness::ENDS };
        self.readiness() & (interest | ends)
    }

    /// How many of the peer's bytes have been read.
    pub(crate) fn read(&self) -> u64 {
        self.inbound.total - self.inbound.bytes.len() as u64
    }

    /// Takes as many bytes as fit.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if self.reset.is_some() {
            return Err(RESET);
        }
        if self.shut_by_caller {
            return Err(SHUT);
        }
        if self.gone {
            // The system takes the bytes; the peer responds to them with a reset.
            mark(Mark::SendToGonePeer);
            self.outbound.total += bytes.len() as u64;
            self.reset = Some(true);
            return Ok(bytes.len());
        }
        let taken = bytes.len().min(self.outbound.room());
        self.outbound.write(&bytes[..taken]);
        Ok(taken)
    }

    /// Our end is closed.
    fn close(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.outbound.fin = true;
        // TCP's response to bytes that no one will read.
        self.ended = Some(if self.inbound.bytes.is_empty() {
            Ended::Orderly
        } else {
            self.outbound.bytes.clear();
            Ended::Reset
        });
    }

    pub(crate) fn peer_reset(&mut self, keep: bool) {
        if self.reset.is_none() && self.ended.is_none() {
            mark(Mark::PeerReset);
            self.reset = Some(keep);
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let mut later = Rng::new(seed ^ 0x1A7E_0FA0_1750_0123);
        let no_memory = [0, 0, 5, 30][later.below(4) as usize];
        let faults = Faults { no_memory, ..Faults::random(&mut rng) };
        let completion_style = rng.percent(50);
        let coarse = rng.percent(50);
        World {
            rng,
            later,
            now_ns: 0,
            faults,
            completion_style,
            coarse,
            exhausted: false,
            closed_while_registered: false,
            interrupted: false,
            descriptors: Vec::new(),
            free: Vec::new(),
            links: Vec::new(),
            listeners: Vec::new(),
            signalled: Vec::new(),
            largest_send: 0,
            signal: Arc::default(),
            scheduled: VecDeque::new(),
            stuck: false,
            polls: 0,
            idle_polls: 0,
            most_idle_polls: 0,
        }
    }

    pub(crate) fn is_coarse(&self) -> bool {
        self.coarse && self.completion_style
    }

    /// From here on the machine has no faults.
    pub(crate) fn heal(&mut self) {
        self.faults = Faults::default();
        self.signal.fail_in(0);
        self.exhausted = false;
    }

    /// Whether there is no memory for an operation of that kind at this moment.
    pub(crate) fn no_memory(&mut self, kind: OpKind) -> bool {
        let concerned = self.faults.no_memory_for.is_none_or(|only| only == kind);
        concerned && self.faults.no_memory > 0 && self.later.percent(self.faults.no_memory)
    }

    /// Whether a new arrival comes before those that are already there.
    pub(crate) fn is_first(&mut self) -> bool {
        self.later.percent(30)
    }

    /// Schedules an action of another thread, given the time: not before that time and not before earlier actions.
    pub(crate) fn schedule(&mut self, at_ns: u64, act: impl FnOnce(u64) + 'static) {
        let at_ns = self.scheduled.back().map_or(at_ns, |&(last_ns, _)| at_ns.max(last_ns));
        self.scheduled.push_back((at_ns, Box::new(act)));
    }

    pub(crate) fn next_scheduled_ns(&self) -> Option<u64> {
        self.scheduled.front().map(|&(at_ns, _)| at_ns)
    }

    /// When the last scheduled action of another thread is due.
    pub(crate) fn last_scheduled_ns(&self) -> Option<u64> {
        self.scheduled.back().map(|&(at_ns, _)| at_ns)
    }

    /// How many descriptors are open.
    pub(crate) fn open_descriptors(&self) -> usize {
        self.descriptors.iter().filter(|&&descriptor| descriptor != Descriptor::Free).count()
    }

    fn open(&mut self, descriptor: Descriptor) -> u32 {
        match self.free.pop() {
            Some(fd) => {
                mark(Mark::DescriptorReused);
                self.descriptors[fd as usize] = descriptor;
                fd
            }
            None => {
                self.descriptors.push(descriptor);
                self.descriptors.len() as u32 - 1
            }
        }
    }

    fn close(&mut self, fd: u32) -> Descriptor {
        self.free.push(fd);
        std::mem::replace(&mut self.descriptors[fd as usize], Descriptor::Free)
    }

    /// The object to which a descriptor refers at the moment.
    pub(crate) fn object(&self, fd: u32) -> Descriptor {
        self.descriptors.get(fd as usize).copied().unwrap_or(Descriptor::Free)
    }

    /// Whether any descriptor refers to it.
    pub(crate) fn is_open(&self, object: Descriptor) -> bool {
        self.descriptors.contains(&object)
    }

    /// Whether nothing will ever happen on it.
    pub(crate) fn is_silent(&self, object: Descriptor) -> bool {
        matches!(object, Descriptor::Link(link) if self.links[link].silent)
    }

    /// Opens a descriptor that the caller owns, for a link or a listener.
    pub(crate) fn open_raw(&mut self, object: Descriptor) -> u32 {
        self.open(object)
    }

    /// Closes a descriptor of the caller's, and with the last one also its object.
    pub(crate) fn close_raw(&mut self, fd: u32) {
        let object = self.close(fd);
        if self.is_open(object) {
            return;
        }
        match object {
            Descriptor::Link(link) => self.links[link].close(),
            Descriptor::Listener(listener) => self.stop_listening(listener),
            _ => panic!("{object:?} is not a socket"),
        }
    }

    fn stop_listening(&mut self, listener: usize) {
        self.listeners[listener].open = false;
        // Waiting peers are reset.
        for link in std::mem::take(&mut self.listeners[listener].backlog) {
            self.links[link].ended = Some(Ended::Reset);
        }
    }

    /// The result of a poll of a socket.
    pub(crate) fn polled(&self, object: Descriptor, interest: Readiness) -> Readiness {
        match object {
            Descriptor::Link(link) => self.links[link].polled(interest),
            Descriptor::Listener(listener) if !self.listeners[listener].backlog.is_empty() => {
                interest & Readiness::READABLE
            }
            Descriptor::Listener(_) => Readiness::NONE,
            _ => panic!("{object:?} cannot be polled"),
        }
    }

    pub(crate) fn link_of(&mut self, object: Descriptor) -> &mut Link {
        let Descriptor::Link(link) = object else { panic!("{object:?} is not a stream") };
        &mut self.links[link]
    }

    pub(crate) fn listener_of(&mut self, object: Descriptor) -> &mut Listening {
        let Descriptor::Listener(listener) = object else { panic!("{object:?} is not a listener") };
        &mut self.listeners[listener]
    }

    pub(crate) fn signalled_of(&self, object: Descriptor) -> bool {
        match object {
            Descriptor::Handle(handle) => self.signalled[handle],
            Descriptor::Listener(listener) => !self.listeners[listener].backlog.is_empty(),
            _ => panic!("{object:?} cannot be watched"),
        }
    }
}

/// Other threads perform the actions that are due by now.
pub(crate) fn run_scheduled(shared: &SharedWorld) {
    loop {
        let (now_ns, act) = {
            let mut world = shared.borrow_mut();
            let now_ns = world.now_ns;
            if world.next_scheduled_ns().is_none_or(|at_ns| at_ns > now_ns) {
                return;
            }
            (now_ns, world.scheduled.pop_front().expect("there is one").1)
        };
        act(now_ns);
    }
}

/// Wakes the simulated kernel.
#[derive(Default)]
pub(crate) struct SimSignal {
    raised: AtomicBool,
    /// Which of the next signals fails; 0: none.
    fail_in: AtomicU32,
    failed: AtomicU64,
}

impl SimSignal {
    /// The `nth` signal from now on fails.
    pub(crate) fn fail_in(&self, nth: u32) {
        self.fail_in.store(nth, Ordering::Relaxed);
    }

    /// How many have failed in total.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the wait is to return.
    pub(super) fn take(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }
}

impl Signal for SimSignal {
    fn notify(&self) -> Result<(), Fault> {
        let left = self.fail_in.load(Ordering::Relaxed);
        self.fail_in.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(NO_MEMORY);
        }
        self.raised.store(true, Ordering::Release);
        Ok(())
    }
}

/// A new link, with its number for the peer's side.
pub(crate) fn connect(world: &SharedWorld, capacity: usize) -> usize {
    let mut world = world.borrow_mut();
    let pipe = || Pipe { capacity, ..Pipe::default() };
    world.links.push(Link { inbound: pipe(), outbound: pipe(), ..Link::default() });
    world.links.len() - 1
}

/// Takes the next connection from a listener's backlog.
pub(crate) fn accept(
    shared: &SharedWorld,
    listener: Descriptor,
) -> Option<Result<(SimStream, SocketAddr), Fault>> {
    let link = {
        let mut world = shared.borrow_mut();
        if world.exhausted {
            mark(Mark::AcceptExhausted);
            return Some(Err(EXHAUSTED));
        }
        let link = world.listener_of(listener).backlog.pop_front()?;
        let rate = world.faults.accept_transient;
        if world.rng.percent(rate) {
            mark(Mark::AcceptTransient);
            world.links[link].ended = Some(Ended::Reset);
            return Some(Err(TRANSIENT));
        }
        link
    };
    let peer = SocketAddr::from(([127, 0, 0, 1], link as u16));
    Some(Ok((SimStream::open(shared, link), peer)))
}

macro_rules! descriptors {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name {
            pub(crate) fd: u32,
            world: SharedWorld,
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.fd)
            }
        }
    )*};
}

descriptors! {
    /// The reactor's end of a link. Dropping it closes it.
    SimStream;
    /// A listening socket.
    SimListener;
    /// Something that can be watched.
    SimHandle;
}

impl SimStream {
    pub(crate) fn open(world: &SharedWorld, link: usize) -> SimStream {
        let fd = world.borrow_mut().open(Descriptor::Link(link));
        SimStream { fd, world: Rc::clone(world) }
    }

    pub(crate) fn link(&self) -> usize {
        match self.world.borrow().descriptors[self.fd as usize] {
            Descriptor::Link(link) => link,
            _ => panic!("a stream is a link"),
        }
    }

    /// For a reactor that leaves the closing to the owner of this.
    pub(crate) fn lend(&self) -> BorrowedSocket {
        BorrowedSocket::simulated(self.fd)
    }

    /// Closes with a reset if asked: `drop` does the rest.
    pub(crate) fn close(self, how: Close) {
        if how == Close::Reset {
            let mut world = self.world.borrow_mut();
            let object = world.object(self.fd);
            let link = world.link_of(object);
            link.outbound.bytes.clear();
            link.ended = Some(Ended::Reset);
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let Descriptor::Link(link) = world.close(self.fd) else { panic!("a stream was closed twice") };
        world.links[link].close();
    }
}

impl SimListener {
    pub(crate) fn open(world: &SharedWorld) -> (SimListener, usize) {
        let mut inner = world.borrow_mut();
        inner.listeners.push(Listening { backlog: VecDeque::new(), open: true });
        let listener = inner.listeners.len() - 1;
        let fd = inner.open(Descriptor::Listener(listener));
        (SimListener { fd, world: Rc::clone(world) }, listener)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let Descriptor::Listener(listener) = world.close(self.fd) else {
            panic!("a listener was closed twice")
        };
        world.stop_listening(listener);
    }
}

impl SimHandle {
    pub(crate) fn open(world: &SharedWorld) -> (SimHandle, usize) {
        let mut inner = world.borrow_mut();
        inner.signalled.push(false);
        let handle = inner.signalled.len() - 1;
        let fd = inner.open(Descriptor::Handle(handle));
        (SimHandle { fd, world: Rc::clone(world) }, handle)
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.world.borrow_mut().close(self.fd);
    }
}
