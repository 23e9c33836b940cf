//! A fixture for scripted scenarios: an engine over a machine that does nothing by itself.
//!
//! Random programs find what no one has thought of; a scenario shows one known problem. Every fault is off until a
//! scenario sets its rate, and the peers do what the scenario says.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::engine::{Config, Engine};
use crate::kernel::names::SharedResolver;
use crate::kernel::readiness::Readiness;
use crate::kernel::sim::Sim;
use crate::kernel::sim::names::SimNames;
use crate::kernel::sim::world::{
    self, DatagramPort, Faults, Link, SharedWorld, SimHandle, SimListener, SimStream, SimUdp, World,
};
use crate::record::{Batch, Record};
use crate::stats::Stats;
use crate::token::{ConnId, FileOpId, ListenerId, LookupId, PollId, TimerId, Token, UdpId, WatchId};

/// The kind of the machine's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lends buffers in advance and takes sends whole.
    Completion,
    /// Tries when progress is possible.
    Readiness,
}

impl Style {
    pub(crate) const BOTH: [Style; 2] = [Style::Completion, Style::Readiness];
}

/// A copy of an event that outlives its batch.
#[derive(Debug)]
pub(crate) enum Seen {
    Accepted(ListenerId, SimStream),
    AcceptFailed(ListenerId),
    Received(ConnId, Vec<u8>),
    Connected(ConnId, SocketAddr),
    EndOfStream(ConnId),
    Drained(ConnId),
    Closed(ConnId, CloseReason),
    Released(ConnId, SimStream),
    Ready(WatchId),
    Timer(TimerId),
    Posted(u64),
    Inbox,
    Resolved(LookupId, Result<Vec<SocketAddr>, String>),
    Named(LookupId, Result<String, String>),
    /// What was read, or why nothing could be.
    FileRead(FileOpId, Result<Vec<u8>, std::io::ErrorKind>),
    /// How many bytes were written before it failed, if it did.
    FileWritten(FileOpId, Option<usize>),
    /// How many bytes were sent, and why no more, if reading failed.
    FileSent(FileOpId, u64, Option<std::io::ErrorKind>),
    Woken,
    /// The key and the number of bytes.
    Foreign(usize, u32),
    Polled(PollId, Readiness),
    Written(ConnId, usize),
    /// With its sender, and whether it was truncated.
    Datagram(UdpId, SocketAddr, Vec<u8>, bool),
    UdpFailed(UdpId),
}

impl From<&mut Record<SimStream>> for Seen {
    fn from(record: &mut Record<SimStream>) -> Seen {
        match *record {
            Record::Accepted { listener, ref mut stream, .. } => {
                Seen::Accepted(listener, stream.take().expect("each record is seen once"))
            }
            Record::AcceptFailed { listener, .. } => Seen::AcceptFailed(listener),
            Record::Received { conn, ref buffer, .. } => Seen::Received(conn, buffer.as_slice().to_vec()),
            Record::Connected { conn, ref ends, .. } => Seen::Connected(conn, ends.1.ip().expect("TCP")),
            Record::EndOfStream { conn, .. } => Seen::EndOfStream(conn),
            Record::Drained { conn, .. } => Seen::Drained(conn),
            Record::Released { conn, ref mut stream, .. } => {
                Seen::Released(conn, stream.take().expect("each record is seen once"))
            }
            Record::Closed { conn, ref reason, .. } => Seen::Closed(conn, reason.clone()),
            Record::Ready { watch, .. } => Seen::Ready(watch),
            Record::Timer { timer, .. } => Seen::Timer(timer),
            Record::Posted { value, .. } => Seen::Posted(value),
            Record::Inbox { .. } => Seen::Inbox,
            Record::Resolved { lookup, ref mut result, .. } => {
                let result = result.take().expect("each record is seen once");
                Seen::Resolved(lookup, result.map_err(|error| error.to_string()))
            }
            Record::Named { lookup, ref mut result, .. } => {
                let result = result.take().expect("each record is seen once");
                Seen::Named(lookup, result.map_err(|error| error.to_string()))
            }
            Record::FileRead { op, ref error, ref mut buffer, .. } => {
                let buffer = buffer.take().expect("each record is seen once");
                Seen::FileRead(op, error.as_ref().map_or(Ok(buffer), |error| Err(error.kind())))
            }
            Record::FileWritten { op, ref failed, .. } => {
                Seen::FileWritten(op, failed.as_ref().map(|failed| failed.written))
            }
            Record::FileSent { op, sent, ref error, .. } => {
                Seen::FileSent(op, sent, error.as_ref().map(std::io::Error::kind))
            }
            Record::Woken => Seen::Woken,
            Record::Foreign { key, bytes, .. } => Seen::Foreign(key, bytes),
            Record::Polled { poll, ready, .. } => Seen::Polled(poll, ready),
            Record::Written { conn, bytes, .. } => Seen::Written(conn, bytes),
            Record::Datagram { udp, from, ref buffer, truncated, .. } => {
                Seen::Datagram(udp, from, buffer.as_slice().to_vec(), truncated)
            }
            Record::UdpFailed { udp, .. } => Seen::UdpFailed(udp),
            Record::Console { .. } => unreachable!("no scenario has a console"),
        }
    }
}

/// An engine that a failed scenario does not drop: it may be in no state for that.
pub(crate) struct EngineGuard(Option<Engine<Sim>>);

impl Deref for EngineGuard {
    type Target = Engine<Sim>;

    fn deref(&self) -> &Engine<Sim> {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for EngineGuard {
    fn deref_mut(&mut self) -> &mut Engine<Sim> {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for EngineGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

pub(crate) struct Fixture {
    pub(crate) engine: EngineGuard,
    pub(crate) events: Batch<SimStream>,
    pub(crate) world: SharedWorld,
}

impl Fixture {
    pub(crate) const CONFIG: Config = Config {
        max_events: 64,
        pool_size: 64,
        buffer_bytes: 64,
        max_connections: 10_000,
        high_water_bytes: 4096,
        low_water_bytes: 1024,
        max_send_bytes: 512,
        linger: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(20),
        post_capacity: 64,
        skip_on_success: true,
        most_transmits: None,
        most_lookups: 8,
        most_file_ops: 16,
    };

    pub(crate) fn new(style: Style) -> Fixture {
        Fixture::with(style, Fixture::CONFIG)
    }

    pub(crate) fn with(style: Style, config: Config) -> Fixture {
        let mut world = World::new(0);
        world.faults = Faults::default();
        world.completion_style = style == Style::Completion;
        world.coarse = false;
        let world = Rc::new(RefCell::new(world));
        let events = Batch::with_capacity(config.max_events);
        let mut engine = Engine::over(Sim::over(&world), config);
        engine.set_resolver(SharedResolver(Arc::new(SimNames)));
        Fixture { engine: EngineGuard(Some(engine)), events, world }
    }

    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.world.borrow_mut().faults);
    }

    pub(crate) fn heal(&self) {
        self.world.borrow_mut().heal();
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.world.borrow().now_ns
    }

    pub(crate) fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// A registered connection, and the number of its link. Its first receive is posted with the next wait.
    pub(crate) fn connect(&mut self) -> (ConnId, usize) {
        self.connect_with(100_000)
    }

    /// The same over a wire that holds this many bytes each way.
    pub(crate) fn connect_with(&mut self, capacity: usize) -> (ConnId, usize) {
        let link = world::connect(&self.world, capacity);
        (self.add(SimStream::open(&self.world, link)), link)
    }

    /// Our end of a link on which nothing will ever happen.
    pub(crate) fn silent_stream(&self) -> SimStream {
        let link = world::connect(&self.world, 64);
        self.world.borrow_mut().links[link].silent = true;
        SimStream::open(&self.world, link)
    }

    pub(crate) fn add(&mut self, stream: SimStream) -> ConnId {
        self.engine.add(stream, Token(0)).expect("it must succeed")
    }

    /// A socket that the caller owns, and the number of its link.
    pub(crate) fn caller_socket(&self) -> (SimStream, usize) {
        let link = world::connect(&self.world, 100_000);
        (SimStream::open(&self.world, link), link)
    }

    pub(crate) fn poll_socket(&mut self, socket: &SimStream, interest: Readiness) -> PollId {
        self.engine.add_poll(socket.lend(), interest, false, Token(0)).expect("it must succeed")
    }

    pub(crate) fn adopt(&mut self, socket: &SimStream, receive: bool) -> ConnId {
        self.engine.adopt(socket.lend(), false, receive, Token(0)).expect("it must succeed")
    }

    pub(crate) fn adopt_again(&mut self, socket: &SimStream) -> Result<ConnId, crate::error::Error> {
        self.engine.adopt(socket.lend(), true, false, Token(0))
    }

    pub(crate) fn listen(&mut self) -> (ListenerId, usize) {
        let (listener, number) = SimListener::open(&self.world);
        (self.engine.listen(listener, Token(0)).expect("it must succeed"), number)
    }

    pub(crate) fn listen_readiness(&mut self) -> (WatchId, usize) {
        let (listener, number) = SimListener::open(&self.world);
        (self.engine.listen_readiness(listener, Token(0)).expect("it must succeed"), number)
    }

    /// A registered datagram socket, and the number of its port.
    pub(crate) fn udp(&mut self) -> (UdpId, usize) {
        let (socket, port) = SimUdp::open(&self.world);
        (self.engine.udp(socket, Token(0)).expect("it must succeed"), port)
    }

    pub(crate) fn port<R>(&self, port: usize, look: impl FnOnce(&mut DatagramPort) -> R) -> R {
        look(&mut self.world.borrow_mut().ports[port])
    }

    /// A datagram arrives.
    pub(crate) fn carry(&self, port: usize, from: SocketAddr, data: &[u8]) {
        self.world.borrow_mut().carry(port, from, data);
    }

    pub(crate) fn watch(&mut self) -> (WatchId, usize) {
        let (handle, number) = SimHandle::open(&self.world);
        (self.engine.watch(handle, Token(0)).expect("it must succeed"), number)
    }

    pub(crate) fn signal(&self, handle: usize, signalled: bool) {
        self.world.borrow_mut().signalled[handle] = signalled;
    }

    /// A peer connects to a listener. Returns the number of the link.
    pub(crate) fn connect_peer(&self, listener: usize) -> usize {
        let link = world::connect(&self.world, 100_000);
        self.world.borrow_mut().listeners[listener].backlog.push_back(link);
        link
    }

    pub(crate) fn link<R>(&self, link: usize, look: impl FnOnce(&mut Link) -> R) -> R {
        look(&mut self.world.borrow_mut().links[link])
    }

    pub(crate) fn peer_sends(&self, link: usize, bytes: &[u8]) {
        self.link(link, |link| link.inbound.write(bytes));
    }

    pub(crate) fn peer_finishes(&self, link: usize) {
        self.link(link, |link| link.inbound.fin = true);
    }

    /// Reads the bytes that have arrived, up to `most`.
    pub(crate) fn peer_reads(&self, link: usize, most: usize) -> Vec<u8> {
        self.link(link, |link| {
            let count = most.min(link.outbound.bytes.len());
            link.outbound.bytes.drain(..count).collect()
        })
    }

    /// Waits once, and returns all events.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Vec<Seen> {
        self.world.borrow_mut().waits = 0;
        self.engine.wait(&mut self.events, Some(timeout)).expect("wait");
        self.events.drain().map(Seen::from).collect()
    }

    /// One turn: a wait of no time.
    pub(crate) fn turn(&mut self) -> Vec<Seen> {
        self.wait(Duration::ZERO)
    }

    /// Waits of a second each, until one brings nothing.
    pub(crate) fn settle(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            let more = self.wait(Duration::from_secs(1));
            if more.is_empty() {
                return seen;
            }
            seen.extend(more);
        }
        panic!("it never becomes calm: {:?}", self.stats())
    }

    /// Checks that nothing is lent and nothing is registered.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        let stats = self.stats();
        assert_eq!((stats.connections, stats.listeners, stats.watches), (0, 0, 0), "registered");
        assert_eq!(stats.datagram_sockets, 0, "registered");
        assert_eq!((stats.operations_in_flight, stats.buffers_out, stats.queued_bytes), (0, 0, 0), "lent");
        assert_eq!(self.world.borrow().open_descriptors(), 0, "open");
    }
}

/// All bytes of a connection, in order.
pub(crate) fn bytes_of(seen: &[Seen], conn: ConnId) -> Vec<u8> {
    let parts = seen.iter().filter_map(|seen| match seen {
        Seen::Received(of, data) if *of == conn => Some(&data[..]),
        _ => None,
    });
    parts.collect::<Vec<_>>().concat()
}
