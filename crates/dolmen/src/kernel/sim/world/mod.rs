//! The simulated machine: sockets, links between two ends, handles, and a clock.
//!
//! The reactor's end of everything is behind descriptors, which are reused as soon as possible, the last closed first.
//! The other end is a [`Link`], with which the test program plays the peer.

mod datagrams;
mod dial;
mod faults;
mod link;
mod signal;
mod sockets;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::kernel::Fault;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::Readiness;
use crate::kernel::sim::rng::Rng;
use crate::marks::{Mark, mark};
pub(crate) use datagrams::{DatagramPort, NetworkFaults};
pub(crate) use dial::{Answer, Stage};
pub(crate) use faults::*;
pub(crate) use link::{Ended, Link, Pipe, Readable};
pub(crate) use signal::SimSignal;
pub use sockets::{SimHandle, SimListener, SimStream, SimUdp};

pub(crate) type SharedWorld = Rc<RefCell<World>>;

/// An action of another thread, given the time.
type Scheduled = Box<dyn FnOnce(u64)>;

pub(crate) struct World {
    pub(crate) rng: Rng,
    /// For the faults that were added later: the others must strike as they did when they found their bugs.
    later: Rng,
    /// For what the network does to datagrams.
    network_rng: Rng,
    /// For the workers that look names up.
    pub(crate) names: Rng,
    /// No thread can be started.
    pub(crate) threads_exhausted: bool,
    /// How many names are being looked up.
    pub(crate) names_in_progress: usize,
    /// When the addresses of hosts to connect to were found, by port.
    pub(crate) resolved_ns: HashMap<u16, u64>,
    /// When the first look-up was answered that a wait has to report.
    pub(crate) answered_ns: Option<u64>,
    /// When the calls of the threads that read and write files end.
    pub(crate) files: Rng,
    /// No such thread can be started.
    pub(crate) no_file_threads: bool,
    /// In completion style, how many transmissions of files may be pending.
    pub(crate) most_transmits: usize,
    /// When the first of these calls ended whose result was not seen by the caller's wait yet.
    pub(crate) file_done_ns: Option<u64>,
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
    pub(crate) ports: Vec<DatagramPort>,
    pub(crate) signalled: Vec<bool>,
    /// What is at the addresses of the world.
    pub(crate) answers: HashMap<SocketAddr, Answer>,
    /// How many bytes a link holds that the reactor's side makes.
    pub(crate) dialled_capacity: usize,
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
    pub(crate) waits: u32,
    pub(crate) idle_waits: u32,
    /// The longest such run so far.
    pub(crate) most_idle_waits: u32,
}

/// The object to which a descriptor refers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    Free,
    Link(usize),
    Listener(usize),
    Handle(usize),
    Udp(usize),
}

#[derive(Default)]
pub(crate) struct Listening {
    /// Links that wait to be accepted.
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) open: bool,
}

/// The time between two ticks of a coarse clock.
pub(crate) const TICK_NS: u64 = 15_625_000;

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let mut later = Rng::new(seed ^ 0x1A7E_0FA0_1750_0123);
        let no_memory = [0, 0, 5, 30][later.below(4) as usize];
        let mut network_rng = Rng::new(seed ^ 0xDA7A_6AA3_5000_0E75);
        let network = NetworkFaults::random(&mut network_rng);
        let faults = Faults { no_memory, network, ..Faults::random(&mut rng) };
        let completion_style = rng.percent(50);
        let coarse = rng.percent(50);
        World {
            rng,
            later,
            network_rng,
            names: Rng::new(seed ^ 0x4057_1D0F_0A1E_50FF),
            threads_exhausted: false,
            names_in_progress: 0,
            resolved_ns: HashMap::new(),
            answered_ns: None,
            files: Rng::new(seed ^ 0x0F11_E000_7154_D00D),
            no_file_threads: false,
            most_transmits: [0, 1, 1, 3][Rng::new(seed ^ 0x7A45_0000_0F11_E000).below(4) as usize],
            file_done_ns: None,
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
            ports: Vec::new(),
            signalled: Vec::new(),
            answers: HashMap::new(),
            dialled_capacity: 100_000,
            largest_send: 0,
            signal: Arc::default(),
            scheduled: VecDeque::new(),
            stuck: false,
            waits: 0,
            idle_waits: 0,
            most_idle_waits: 0,
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
        self.threads_exhausted = false;
        self.no_file_threads = false;
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
