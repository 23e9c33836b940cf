//! A model of the reactor's promises, run in parallel with it.

mod borrowed;
mod channels;
mod console;
mod datagrams;
mod dialling;
mod end;
mod events;
mod files;
mod flood;
mod hosts;
mod mailbox;
mod names;
mod outer_loop;
mod registrations;
mod room;
mod streams;
mod wait;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Rng;
use super::program::{self, Action};
use super::{Failure, Oracle, Report};
use crate::close_reason::CloseReason;
use crate::engine::{Config, Engine, MIN_EVENTLESS_WAITS};
use crate::error::ErrorKind;
use crate::kernel::names::SharedResolver;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::{BorrowedSocket, Readiness};
use crate::kernel::sim::Sim;
use crate::kernel::sim::names::SimNames;
use crate::kernel::sim::world::{
    self, Descriptor, Ended, SharedWorld, SimHandle, SimListener, SimSignal, SimStream, World,
};
use crate::marks::{Mark, mark};
use crate::record::{Batch, Record};
use crate::token::{ConnId, ListenerId, PollId, TimerId, Token, WatchId};
use crate::waker::{Poster, Waker};
use borrowed::{Asked, Lent, Poll};
use channels::Channels;
use console::Operator;
use datagrams::Udp;
use dialling::Dialled;
use files::{Files, QueuedFile};
use hosts::Hosts;
use mailbox::Inbox;
use names::Names;
use room::Refusals;

/// Long enough for everything in progress; costs nothing on a virtual clock.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// Many connections compared with events of small capacity.
const MOST_LINKS: usize = 40;
const MOST_OPEN: usize = 8;

type Check = Result<(), Failure>;

struct Run<'a> {
    oracles: &'a [Oracle],
    rng: Rng,
    world: SharedWorld,
    config: Config,
    /// Dropped by a run that comes to its end; after a failure it is in no state for that.
    engine: ManuallyDrop<Engine<Sim>>,
    waker: Waker,
    poster: Poster,
    capacity: usize,
    peers: Vec<Peer>,
    conns: Vec<Conn>,
    by_id: HashMap<ConnId, usize>,
    listeners: Vec<Listener>,
    timers: Vec<Timer>,
    watches: Vec<Watch>,
    /// The sockets that the caller owns. Dropped under the same condition as the engine.
    lent: ManuallyDrop<Vec<Lent>>,
    polls: Vec<Poll>,
    udps: Vec<Udp>,
    operator: Operator,
    inbox: Rc<RefCell<Inbox>>,
    channels: Channels,
    names: Names,
    hosts: Hosts,
    files: Files,
    /// Ready sources must stay ready.
    flooding: bool,
    /// The seed is one of those that [borrow](super::program::borrows).
    borrows: bool,
    console: bool,
    /// Sends and receives fail for lack of memory now and then.
    short_of_memory: bool,
    /// At some time there was no descriptor left.
    was_exhausted: bool,
    /// For how long the caller did not wait.
    away_ns: u64,
    /// Handlers make no further changes: the end has begun.
    calm: bool,
    report: Report,
}

/// The other end of a link.
#[derive(Default)]
struct Peer {
    sent: u64,
    read: u64,
    fin: bool,
    /// It sends whenever there is room.
    floods: bool,
}

struct Conn {
    id: ConnId,
    token: Token,
    link: usize,
    state: State,
    received: u64,
    /// Bytes that `send` has taken.
    accepted: u64,
    ended: bool,
    paused: bool,
    /// Paused before the wait whose events are being handled.
    paused_before: bool,
    /// Paused at any time.
    was_paused: bool,
    shut: bool,
    /// The caller has asked for the stream.
    releasing: bool,
    refusals: Refusals,
    /// When `close` was called.
    closed_at_ns: Option<u64>,
    /// Of an outgoing connection.
    dialled: Option<Dialled>,
    /// The socket of an adopted connection.
    lent: Option<usize>,
    asked: Asked,
    /// Files that are queued, the first one first.
    files: VecDeque<QueuedFile>,
    /// A file could not be read, which ends the connection.
    file_failed: bool,
}

impl Conn {
    fn new(id: ConnId, link: usize) -> Conn {
        Conn {
            id,
            token: Token(link),
            link,
            state: State::Open,
            received: 0,
            accepted: 0,
            ended: false,
            paused: false,
            paused_before: false,
            was_paused: false,
            shut: false,
            releasing: false,
            refusals: Refusals::default(),
            closed_at_ns: None,
            dialled: None,
            lent: None,
            asked: Asked::default(),
            files: VecDeque::new(),
            file_failed: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    Aborted,
    Removed,
    Gone,
}

struct Listener {
    id: ListenerId,
    number: usize,
    open: bool,
    /// `AcceptFailed` was reported, and nothing accepted since.
    failed: bool,
    added_ns: u64,
    /// How often `AcceptFailed` was reported: first immediately, and then at most once a second.
    failures: u64,
}

struct Timer {
    id: TimerId,
    deadline_ns: u64,
    period_ns: u64,
    live: bool,
}

struct Watch {
    id: WatchId,
    handle: usize,
    open: bool,
    /// Signalled since the last `Ready`.
    due: bool,
}

/// Bytes of a stream, from an offset on: both ends can compute them without storing them.
pub fn bytes(link: usize, outbound: bool, from: u64, count: usize) -> Vec<u8> {
    let stream = (link as u64) << 33 | u64::from(outbound) << 32;
    let blocks = from / 8..=(from + count as u64) / 8;
    let words = blocks.flat_map(|block| Rng::new(stream | block).next().to_le_bytes());
    words.skip((from % 8) as usize).take(count).collect()
}

pub(super) fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    let mut rng = Rng::new(seed.rotate_left(17));
    let world = Rc::new(RefCell::new(World::new(seed)));
    let high = 40 + rng.below(400) as usize;
    let config = Config {
        max_events: 1 + rng.below(12) as usize,
        pool_size: rng.below(10) as usize,
        buffer_bytes: 16 + rng.below(64) as usize,
        max_connections: 3 * MOST_LINKS,
        high_water_bytes: high,
        low_water_bytes: high / (1 + rng.below(4) as usize),
        max_send_bytes: high / (1 + seed as usize % 5),
        linger: Duration::from_micros(100 + rng.below(50_000)),
        connect_timeout: Duration::from_millis(800),
        post_capacity: 1 + high % 4,
        skip_on_success: true,
        most_transmits: None,
        most_lookups: 2 + seed as usize % 9,
        most_file_ops: 2 + seed as usize % 7,
    };
    let mut engine = ManuallyDrop::new(Engine::over(Sim::over(&world), config));
    engine.set_resolver(SharedResolver(Arc::new(SimNames)));
    let mailbox = engine.mailbox();
    let capacity = 1 + rng.below(8) as usize;
    let operator = Operator::new(&world);
    world.borrow_mut().dialled_capacity = 100;
    let short_of_memory = world.borrow().faults.no_memory > 0;
    let mut run = Run {
        oracles,
        waker: Waker::new(mailbox.clone()),
        poster: Poster::new(mailbox),
        capacity,
        rng,
        world,
        config,
        engine,
        peers: Vec::new(),
        conns: Vec::new(),
        by_id: HashMap::new(),
        listeners: Vec::new(),
        timers: Vec::new(),
        watches: Vec::new(),
        lent: ManuallyDrop::new(Vec::new()),
        polls: Vec::new(),
        udps: Vec::new(),
        operator,
        inbox: Rc::default(),
        channels: Channels::new(seed),
        names: Names::new(seed),
        hosts: Hosts::default(),
        files: Files::new(seed),
        flooding: false,
        borrows: program::borrows(seed),
        console: program::has_console(seed),
        short_of_memory,
        was_exhausted: false,
        away_ns: 0,
        calm: false,
        report: Report::default(),
    };
    let mut events = Batch::with_capacity(capacity);
    for &action in actions {
        run.report.actions += 1;
        run.act(action, Some(&mut events))?;
    }
    run.end(events)
}

impl Run<'_> {
    fn fail(&self, oracle: Oracle, message: impl FnOnce() -> String) -> Check {
        match self.oracles.contains(&oracle) {
            true => Err(Failure { oracle, message: message() }),
            false => Ok(()),
        }
    }

    fn check(&self, oracle: Oracle, holds: bool, message: impl FnOnce() -> String) -> Check {
        if holds { Ok(()) } else { self.fail(oracle, message) }
    }

    fn now_ns(&self) -> u64 {
        self.world.borrow().now_ns
    }

    /// One of the connections that the program may still use.
    fn open_conn(&self, who: u32) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.conns.len()).filter(|&at| self.conns[at].state == State::Open).collect();
        // Adopted connections have other methods.
        let open: Vec<usize> = open.into_iter().filter(|&at| self.conns[at].lent.is_none()).collect();
        (!open.is_empty()).then(|| open[who as usize % open.len()])
    }

    fn link(&self, who: u32) -> Option<usize> {
        let recent = self.peers.len().min(MOST_OPEN);
        (recent > 0).then(|| self.peers.len() - 1 - who as usize % recent)
    }

    /// Runs one action. Within a handler there are no events to wait with.
    fn act(&mut self, action: Action, events: Option<&mut Batch<SimStream>>) -> Check {
        self.note_links();
        match action {
            Action::Connect => self.connect_one()?,
            Action::Dial(kind) => self.dial(kind)?,
            Action::Listen => self.listen(),
            Action::ConnectTo(who) => self.connect_to(who),
            Action::RemoveListener(who) => self.remove_listener(who)?,
            Action::PeerSend(who, much) => self.peer_send(who, much.into()),
            Action::PeerRead(who, much) => self.peer_read_some(who, much.into())?,
            Action::PeerFin(who) => self.peer_fin(who),
            Action::PeerGone(who) => self.peer_gone(who),
            Action::PeerReset(who, keep) => self.peer_reset(who, keep),
            Action::Send(who, much) => self.send_on_one(who, much.into())?,
            Action::OverfillQueue(who, much) => self.overfill_queue(who, much.into())?,
            Action::SendStale(who) => self.send_stale(who)?,
            Action::Pause(who) => self.pause(who),
            Action::Resume(who) => self.resume(who),
            Action::ShutdownWrite(who) => self.shutdown_write(who),
            Action::Close(who) => self.close_one(who),
            Action::Abort(who) => self.abort(who),
            Action::Remove(who) => self.remove(who)?,
            Action::TakeBack(who) => self.take_back(who),
            Action::Timer(after_us) => self.timer(after_us, 0),
            Action::Interval(period_us) => self.timer(period_us, u64::from(period_us) * 1_000),
            Action::CancelTimer(who) => self.cancel_timer(who)?,
            Action::SetTimer(who, after_us) => self.set_timer(who, after_us)?,
            Action::Post => self.post(),
            Action::Wake => self.wake(),
            Action::PostLater(after_us) => self.post_later(after_us),
            Action::WakeLater(after_us) => self.wake_later(after_us),
            Action::Away(time_us) => self.away(u64::from(time_us) * 1_000),
            Action::ShutByCaller(who) => self.shut_by_caller(who)?,
            Action::FailSignal(nth) => self.world.borrow().signal.fail_in(nth.into()),
            Action::Watch => self.watch(),
            Action::Signal(who) => self.signal(who),
            Action::Unwatch(who) => self.unwatch(who),
            Action::AddPoll(who, bits) => self.add_poll(who, bits)?,
            Action::SetInterest(who, bits) => self.set_interest(who, bits)?,
            Action::RemovePoll(who, close) => self.remove_poll(who, close)?,
            Action::Caller(who, read, write) => self.caller(who, read.into(), write.into())?,
            Action::Adopt(who, receive) => self.adopt(who, receive)?,
            Action::PostReceive(who) => self.post_receive_on_one(who)?,
            Action::PostSend(who, much) => self.post_send_on_one(who, much.into())?,
            Action::Release(who, close) => self.release_one(who, close)?,
            Action::Console(watching) => self.open_console(watching)?,
            Action::RemoveConsole => self.remove_console()?,
            Action::ConsoleMode(watching) => self.console_mode(watching)?,
            Action::ConsoleFlush => drop(self.engine.flush_console()),
            Action::Type(kind) => self.operator.type_in(kind),
            Action::Overfill => self.operator.overfill(),
            Action::Behind(behind) => self.operator.set_behind(behind),
            Action::CatchSignals => self.catch_signals(),
            Action::Raise => self.operator.raise(),
            Action::Udp => self.add_udp(),
            Action::RemoveUdp(who) => self.remove_udp(who)?,
            Action::PeerDatagram(who, len) => self.peer_datagram(who, len.into()),
            Action::SendTo(who, len) => self.send_datagram(who, len.into())?,
            Action::UdpFull(who, full) => self.set_full(who, full),
            Action::Exhaust(exhausted) => {
                self.was_exhausted |= exhausted;
                self.world.borrow_mut().exhausted = exhausted;
            }
            Action::Flush => self.engine.flush(),
            Action::Wait(timeout_us) => self.wait_if_possible(events, timeout_us)?,
            Action::Flood => self.flood_if_possible(events)?,
            Action::OuterLoop(time_us) => self.outer_loop(events, time_us)?,
            Action::Channel(step) => self.channel_step(step)?,
            Action::Name(step) => self.name_step(step)?,
            Action::File(step) => self.file_step(step)?,
        }
        self.observe();
        Ok(())
    }
}
