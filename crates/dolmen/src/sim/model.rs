//! A model of the reactor's promises, run in parallel with it.

mod borrowed;
mod console;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::program::{self, Action};
use super::rng::Rng;
use super::{Failure, Oracle, Report};
use crate::close_reason::CloseReason;
use crate::engine::{Config, Engine, MIN_EVENTLESS_POLLS};
use crate::error::ErrorKind;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::{BorrowedSocket, Readiness};
use crate::kernel::sim::Sim;
use crate::kernel::sim::world::{
    self, Descriptor, Ended, SharedWorld, SimHandle, SimListener, SimSignal, SimStream, World,
};
use crate::marks::{Mark, mark};
use crate::record::{Batch, Record};
use crate::token::{ConnId, ListenerId, PollId, TimerId, Token, WatchId};
use crate::waker::{Poster, Waker};
use borrowed::{Asked, Lent, Poll};
use console::Operator;

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
    operator: Operator,
    inbox: Rc<RefCell<Inbox>>,
    /// Ready sources must stay ready.
    flooding: bool,
    /// The seed is one of those that [borrow](super::program::borrows).
    borrows: bool,
    console: bool,
    /// Sends and receives fail for lack of memory now and then.
    short_of_memory: bool,
    /// For how long the caller did not wait.
    away_ns: u64,
    /// Handlers make no further changes: the end has begun.
    calm: bool,
    report: Report,
}

/// What this thread and others have sent to the reactor through its mailbox.
#[derive(Default)]
struct Inbox {
    /// Taken, and not delivered yet.
    posts: VecDeque<u64>,
    posted: u64,
    /// Woken, and not delivered yet.
    woken: bool,
    /// When the first undelivered one was sent during the wait in progress.
    sent_during_wait_ns: Option<u64>,
    /// A post was refused without a reason.
    refused: bool,
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
    /// A send was refused, and room was not reported since.
    refused: bool,
    refusals: u64,
    drained: u64,
    /// When `close` was called.
    closed_at_ns: Option<u64>,
    /// The socket of an adopted connection.
    lent: Option<usize>,
    asked: Asked,
}

impl Conn {
    fn new(id: ConnId, link: usize) -> Conn {
        Conn {
            id,
            link,
            state: State::Open,
            received: 0,
            accepted: 0,
            ended: false,
            paused: false,
            paused_before: false,
            was_paused: false,
            shut: false,
            refused: false,
            refusals: 0,
            drained: 0,
            closed_at_ns: None,
            lent: None,
            asked: Asked::default(),
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

/// Makes a post, which may be refused while too many wait, or when the signal for it fails. Returns whether it was
/// taken.
fn post(poster: &Poster, inbox: &mut Inbox, capacity: usize, signal: &SimSignal) -> bool {
    let failed = signal.failed();
    match poster.post(inbox.posted, Token(3000)) {
        Ok(()) => {
            inbox.posts.push_back(inbox.posted);
            inbox.posted += 1;
            true
        }
        Err(error) => {
            inbox.refused |= match error.kind() {
                ErrorKind::PostsFull => inbox.posts.len() < capacity,
                ErrorKind::Exhausted => signal.failed() == failed,
                _ => true,
            };
            false
        }
    }
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
        post_capacity: 1 + high % 4,
        skip_on_success: true,
    };
    let engine = ManuallyDrop::new(Engine::over(Sim::over(&world), config));
    let mailbox = engine.mailbox();
    let capacity = 1 + rng.below(8) as usize;
    let operator = Operator::new(&world);
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
        operator,
        inbox: Rc::default(),
        flooding: false,
        borrows: program::borrows(seed),
        console: program::has_console(seed),
        short_of_memory,
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
        match action {
            Action::Connect if self.peers.len() < MOST_LINKS => {
                let link = self.connect();
                self.add(SimStream::open(&self.world, link))?;
            }
            Action::Connect => {}
            Action::Listen if self.listeners.iter().filter(|listener| listener.open).count() < 2 => {
                let (listener, number) = SimListener::open(&self.world);
                let token = Token(1000 + self.listeners.len());
                let id = self.engine.listen(listener, token).expect("it must succeed");
                let (open, failed, added_ns, failures) = (true, false, self.now_ns(), 0);
                self.listeners.push(Listener { id, number, open, failed, added_ns, failures });
            }
            Action::Listen => {}
            Action::ConnectTo(who) => {
                let open: Vec<usize> = self
                    .listeners
                    .iter()
                    .filter(|listener| listener.open)
                    .map(|listener| listener.number)
                    .collect();
                if !open.is_empty() && self.peers.len() < MOST_LINKS {
                    let link = self.connect();
                    let number = open[who as usize % open.len()];
                    self.world.borrow_mut().listeners[number].backlog.push_back(link);
                }
            }
            Action::RemoveListener(who) => {
                let count = self.listeners.len();
                if count > 0 {
                    let listener = &mut self.listeners[who as usize % count];
                    let known = self.engine.remove_listener(listener.id);
                    let open = std::mem::replace(&mut listener.open, false);
                    self.check(Oracle::Stale, known == open, || "a listener was removed twice".into())?;
                }
            }
            Action::PeerSend(who, much) => self.peer_send(who, much as usize),
            Action::PeerRead(who, much) => {
                if let Some(link) = self.link(who) {
                    self.peer_read(link, much as usize)?;
                }
            }
            Action::PeerFin(who) => {
                if let Some(link) = self.link(who) {
                    mark(Mark::PeerFin);
                    self.peers[link].fin = true;
                    self.world.borrow_mut().links[link].inbound.fin = true;
                }
            }
            Action::PeerGone(who) => {
                if let Some(link) = self.link(who) {
                    self.peers[link].fin = true;
                    let mut world = self.world.borrow_mut();
                    world.links[link].inbound.fin = true;
                    world.links[link].gone = true;
                }
            }
            Action::PeerReset(who, keep) => {
                if let Some(link) = self.link(who) {
                    self.world.borrow_mut().links[link].peer_reset(keep);
                }
            }
            Action::Send(who, much) => {
                if let Some(at) = self.open_conn(who) {
                    self.send(at, much as usize)?;
                }
            }
            Action::SendStale(who) => {
                let stale: Vec<ConnId> = self
                    .conns
                    .iter()
                    .filter(|conn| matches!(conn.state, State::Gone | State::Removed))
                    .map(|conn| conn.id)
                    .collect();
                if !stale.is_empty() {
                    let id = stale[who as usize % stale.len()];
                    let sent = self.engine.send(id, b"?");
                    let refused = sent.is_err_and(|error| error.kind() == ErrorKind::NotFound);
                    self.check(Oracle::Stale, refused, || format!("{id:?} has ended and accepted a send"))?;
                }
            }
            Action::Pause(who) => {
                if let Some(at) = self.open_conn(who) {
                    self.conns[at].paused = self.engine.pause(self.conns[at].id).is_ok();
                    self.conns[at].was_paused = true;
                }
            }
            Action::Resume(who) => {
                if let Some(at) = self.open_conn(who) {
                    self.conns[at].paused = false;
                    let _ = self.engine.resume(self.conns[at].id);
                }
            }
            Action::ShutdownWrite(who) => {
                if let Some(at) = self.open_conn(who) {
                    self.conns[at].shut = true;
                    let _ = self.engine.shutdown_write(self.conns[at].id);
                }
            }
            Action::Close(who) => {
                if let Some(at) = self.open_conn(who) {
                    self.close(at);
                }
            }
            Action::Abort(who) => {
                if let Some(at) = self.open_conn(who) {
                    if self.engine.abort(self.conns[at].id).is_ok() {
                        self.conns[at].state = State::Aborted;
                    }
                }
            }
            Action::Remove(who) => self.remove(who)?,
            Action::Timer(after_us) => self.timer(after_us, 0),
            Action::Interval(period_us) => self.timer(period_us, u64::from(period_us) * 1_000),
            Action::CancelTimer(who) => {
                let count = self.timers.len();
                if count > 0 {
                    let timer = &mut self.timers[who as usize % count];
                    let known = self.engine.remove_timer(timer.id);
                    let live = std::mem::replace(&mut timer.live, false);
                    // A one-shot timer may have gone off without having been delivered yet.
                    let plausible = known == live || (live && timer.period_ns == 0);
                    self.check(Oracle::Time, plausible, || "a timer was forgotten".into())?;
                }
            }
            Action::SetTimer(who, after_us) => self.set_timer(who, after_us)?,
            Action::Post => {
                let signal = Arc::clone(&self.world.borrow().signal);
                post(&self.poster, &mut self.inbox.borrow_mut(), self.config.post_capacity, &signal);
            }
            Action::Wake => {
                self.waker.wake();
                self.inbox.borrow_mut().woken = true;
            }
            Action::PostLater(after_us) => self.post_later(after_us),
            Action::WakeLater(after_us) => self.wake_later(after_us),
            Action::Away(time_us) => {
                self.away_ns += u64::from(time_us) * 1_000;
                self.world.borrow_mut().now_ns += u64::from(time_us) * 1_000;
            }
            Action::ShutByCaller(who) => self.shut_by_caller(who)?,
            Action::FailSignal(nth) => self.world.borrow().signal.fail_in(nth.into()),
            Action::Watch if self.watches.iter().filter(|watch| watch.open).count() < 3 => {
                let (source, handle) = SimHandle::open(&self.world);
                let id = self.engine.watch(source, Token(4000)).expect("it must succeed");
                self.watches.push(Watch { id, handle, open: true, due: false });
            }
            Action::Watch => {}
            Action::Signal(who) => {
                let count = self.watches.len();
                if count > 0 {
                    let watch = &mut self.watches[who as usize % count];
                    self.world.borrow_mut().signalled[watch.handle] = true;
                    watch.due = true;
                }
            }
            Action::Unwatch(who) => {
                let count = self.watches.len();
                if count > 0 {
                    let watch = &mut self.watches[who as usize % count];
                    watch.open = false;
                    self.engine.remove_watch(watch.id);
                }
            }
            Action::AddPoll(who, bits) => self.add_poll(who, bits)?,
            Action::SetInterest(who, bits) => self.set_interest(who, bits)?,
            Action::RemovePoll(who, close) => self.remove_poll(who, close)?,
            Action::Caller(who, read, write) => self.caller(who, read.into(), write.into())?,
            Action::Adopt(who, receive) => self.adopt(who, receive)?,
            Action::PostReceive(who) => {
                if let Some(at) = self.adopted(who) {
                    self.post_receive(at)?;
                }
            }
            Action::PostSend(who, much) => {
                if let Some(at) = self.adopted(who) {
                    self.send(at, much.into())?;
                }
            }
            Action::Release(who, close) => {
                if let Some(at) = self.adopted(who) {
                    self.release(at, close)?;
                }
            }
            Action::Console(watching) => self.open_console(watching)?,
            Action::RemoveConsole => self.remove_console()?,
            Action::ConsoleMode(watching) => self.console_mode(watching)?,
            Action::ConsoleFlush => {
                let _ = self.engine.flush_console();
            }
            Action::Type(kind) => self.operator.type_in(kind),
            Action::Overfill => self.operator.overfill(),
            Action::Behind(behind) => self.operator.set_behind(behind),
            Action::CatchSignals => self.catch_signals(),
            Action::Raise => self.operator.raise(),
            Action::Exhaust(exhausted) => self.world.borrow_mut().exhausted = exhausted,
            Action::Flush => self.engine.flush(),
            Action::Wait(timeout_us) => {
                if let Some(events) = events {
                    self.wait(events, Duration::from_micros(timeout_us.into()))?;
                }
            }
            // Miri does not test fairness, and a flood takes it minutes.
            Action::Flood if cfg!(miri) => {}
            Action::Flood => {
                if let Some(events) = events {
                    self.flood(events)?;
                }
            }
        }
        self.observe();
        Ok(())
    }

    /// The only way in which a send fails and the peer can continue to send.
    fn shut_by_caller(&mut self, who: u32) -> Check {
        let open = |conn: &Conn| conn.state == State::Open && !conn.shut;
        let open: Vec<usize> = (0..self.conns.len()).filter(|&at| open(&self.conns[at])).collect();
        if open.is_empty() {
            return Ok(());
        }
        let at = open[who as usize % open.len()];
        let link = self.conns[at].link;
        mark(Mark::ShutByCaller);
        self.world.borrow_mut().links[link].shut_by_caller = true;
        self.peers[link].floods = true;
        self.send(at, 1 + who as usize % 20)
    }

    /// A wait that has returned no event has left nothing in the kernel that would have been an event.
    fn check_left_behind(&mut self, timeout: Duration) -> Check {
        let faults = self.world.borrow().faults;
        // A kernel that returns without a reason may not have looked; a further poll makes it look. Other packets may
        // take the room any number of times, so some polls are enough.
        let (conns, world) = (&self.conns, &self.world);
        if (faults.return_early() && !timeout.is_zero())
            || world.borrow().polls as usize > MIN_EVENTLESS_POLLS
        {
            return Ok(());
        }
        // A completion for a connection that is closing is not an event.
        let is_heard = |link: usize| {
            let is_read = |conn: &Conn| conn.link == link && conn.state == State::Open && !conn.paused;
            conns.iter().any(is_read) && world.borrow().links[link].send_failed.is_none()
        };
        let left = self.engine.kernel().left_behind().find(|left| match left {
            (OpKind::Receive, Descriptor::Link(link)) => is_heard(*link),
            _ => true,
        });
        self.check(Oracle::Fairness, left.is_none(), || {
            format!("a wait has brought nothing although {left:?} was ready")
        })
    }

    /// A connection whose send has failed ends, however much the peer has to send: in the linger time, or twice that if
    /// earlier bytes were still to be delivered. Checked when all has been delivered.
    fn check_failed_ended(&self) -> Check {
        let world = self.world.borrow();
        let linger_ns = self.config.linger.as_nanos() as u64;
        // Pauses for lack of memory, and completions that are late.
        let slack_ns = if self.short_of_memory { 3_000_000_000 } else { 20_000_000 };
        for conn in self.conns.iter().filter(|conn| conn.state == State::Open) {
            let Some((failed_ns, _)) = world.links[conn.link].send_failed else { continue };
            let until_ns = failed_ns + 3 * linger_ns + slack_ns + self.away_ns;
            self.check(Oracle::Bounds, world.now_ns <= until_ns, || {
                format!("{:?} has not ended, and a send of it failed at {failed_ns}", conn.id)
            })?;
        }
        Ok(())
    }

    fn post_later(&mut self, after_us: u32) {
        let (inbox, poster) = (Rc::clone(&self.inbox), self.poster.clone());
        let (signal, capacity) = (Arc::clone(&self.world.borrow().signal), self.config.post_capacity);
        let at_ns = self.now_ns() + u64::from(after_us) * 1_000;
        self.world.borrow_mut().schedule(at_ns, move |now_ns| {
            let mut inbox = inbox.borrow_mut();
            if post(&poster, &mut inbox, capacity, &signal) {
                inbox.sent_during_wait_ns.get_or_insert(now_ns);
            }
        });
    }

    fn wake_later(&mut self, after_us: u32) {
        let (inbox, waker) = (Rc::clone(&self.inbox), self.waker.clone());
        let at_ns = self.now_ns() + u64::from(after_us) * 1_000;
        self.world.borrow_mut().schedule(at_ns, move |now_ns| {
            waker.wake();
            let mut inbox = inbox.borrow_mut();
            inbox.woken = true;
            inbox.sent_during_wait_ns.get_or_insert(now_ns);
        });
    }

    /// Posts and wakes of other threads end the wait immediately.
    fn check_woken(&self, count: usize) -> Check {
        let now_ns = self.now_ns();
        let mut inbox = self.inbox.borrow_mut();
        let sent_ns = inbox.sent_during_wait_ns.take().unwrap_or(now_ns);
        self.check(Oracle::Posts, now_ns <= sent_ns + 1_000_000, || {
            format!("what was sent at {sent_ns} ended the wait at {now_ns}")
        })?;
        let left = count == 0 && (inbox.woken || !inbox.posts.is_empty());
        self.check(Oracle::Posts, !left, || "a wait without events left a post or a wake behind".into())?;
        self.check(Oracle::Posts, !inbox.refused, || "a post was refused without need".into())
    }

    fn connect(&mut self) -> usize {
        self.peers.push(Peer::default());
        let capacity = 32 + self.rng.below(if cfg!(miri) { 40 } else { 400 }) as usize;
        world::connect(&self.world, capacity)
    }

    fn add(&mut self, stream: SimStream) -> Check {
        let link = stream.link();
        match self.engine.add(stream, Token(link)) {
            Ok(id) => {
                self.by_id.insert(id, self.conns.len());
                self.conns.push(Conn::new(id, link));
                Ok(())
            }
            Err(refused) => self.fail(Oracle::Bounds, || format!("a connection was refused: {refused}")),
        }
    }

    fn peer_send(&mut self, who: u32, much: usize) {
        if let Some(link) = self.link(who) {
            self.peer_sends(link, much);
        }
    }

    fn peer_fills(&mut self, link: usize) {
        self.peer_sends(link, usize::MAX);
    }

    fn peer_sends(&mut self, link: usize, much: usize) {
        let mut world = self.world.borrow_mut();
        let wire = &mut world.links[link];
        if self.peers[link].fin || wire.reset.is_some() || wire.ended.is_some() {
            return;
        }
        let count = much.min(wire.inbound.room());
        wire.inbound.write(&bytes(link, false, self.peers[link].sent, count));
        self.peers[link].sent += count as u64;
    }

    fn peer_read(&mut self, link: usize, much: usize) -> Check {
        let read: Vec<u8> = {
            let mut world = self.world.borrow_mut();
            let wire = &mut world.links[link].outbound.bytes;
            let count = much.min(wire.len());
            wire.drain(..count).collect()
        };
        let from = self.peers[link].read;
        self.peers[link].read += read.len() as u64;
        let expected = bytes(link, true, from, read.len());
        self.check(Oracle::Stream, read == expected, || {
            format!("the peer of link {link} read something else at {from}")
        })
    }

    fn send(&mut self, at: usize, much: usize) -> Check {
        let conn = &self.conns[at];
        let high = self.config.high_water_bytes;
        let queued = self.engine.queued_bytes(conn.id).unwrap_or(0);
        let data = bytes(conn.link, true, conn.accepted, much);
        let sent = match conn.lent {
            Some(_) => self.engine.post_send(conn.id, &data),
            None => self.engine.send(conn.id, &data),
        };
        match sent {
            Ok(()) => {
                let conn = &mut self.conns[at];
                conn.accepted += much as u64;
                if conn.lent.is_some() {
                    conn.asked.writes.push_back((conn.accepted, much));
                }
                self.check(Oracle::Stream, !self.conns[at].shut, || "sent after shutdown_write".into())?;
                self.check(Oracle::Bounds, queued + much <= high, || {
                    format!("{} bytes are queued, the bound is {high}", queued + much)
                })
            }
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                self.conns[at].refused = true;
                self.conns[at].refusals += 1;
                self.check(Oracle::Bounds, queued + much > high, || "refused with room to spare".into())
            }
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.check(Oracle::Bounds, much > high, || "refused as too large".into())
            }
            // Shut by us, or closing.
            Err(_) => Ok(()),
        }
    }

    fn close(&mut self, at: usize) {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[at];
        if self.engine.close(conn.id).is_ok() {
            conn.state = State::Closing;
            conn.closed_at_ns = Some(now_ns);
        }
    }

    /// Any connection, even one that is closing or gone.
    fn remove(&mut self, who: u32) -> Check {
        if self.conns.is_empty() {
            return Ok(());
        }
        let at = self.conns.len() - 1 - who as usize % self.conns.len().min(MOST_OPEN);
        if self.conns[at].lent.is_some() {
            return self.release(at, false);
        }
        let conn = &mut self.conns[at];
        let known = self.engine.remove(conn.id);
        let over = matches!(conn.state, State::Gone | State::Removed);
        conn.state = State::Removed;
        self.check(Oracle::Stale, !(known && over), || "a connection was removed twice".into())
    }

    fn timer(&mut self, after_us: u32, period_ns: u64) {
        let after = Duration::from_micros(after_us.into());
        let deadline_ns = self.now_ns() + u64::from(after_us) * 1_000;
        let token = Token(2000 + self.timers.len());
        let id = if period_ns == 0 {
            self.engine.add_timer(after, token)
        } else {
            self.engine.add_interval(after, token)
        };
        self.timers.push(Timer { id, deadline_ns, period_ns, live: true });
    }

    fn set_timer(&mut self, who: u32, after_us: u32) -> Check {
        let now_ns = self.now_ns();
        let count = self.timers.len();
        let Some(timer) = self.timers.get_mut(who as usize % count.max(1)) else { return Ok(()) };
        // Whether a tick of an interval that is due has gone off, and so will be delivered, only the engine knows.
        let due = timer.live && timer.deadline_ns <= now_ns;
        if due && timer.period_ns != 0 {
            return Ok(());
        }
        let known = self.engine.set_timer(timer.id, Duration::from_micros(after_us.into()));
        let live = timer.live;
        if known {
            timer.deadline_ns = now_ns + u64::from(after_us) * 1_000;
        }
        self.check(Oracle::Time, known == live || due, || {
            "a timer was forgotten, or set after its end".into()
        })
    }

    fn wait(&mut self, events: &mut Batch<SimStream>, timeout: Duration) -> Result<usize, Failure> {
        let start_ns = self.now_ns();
        {
            let mut world = self.world.borrow_mut();
            (world.polls, world.idle_polls, world.most_idle_polls) = (0, 0, 0);
        }
        for at in 0..self.peers.len() {
            if self.peers[at].floods && !self.calm {
                self.peer_fills(at);
            }
        }
        for conn in &mut self.conns {
            conn.paused_before = conn.paused;
        }
        self.before_wait();
        self.operator.run_threads(self.calm);
        let waited = self.engine.wait(events, Some(timeout));
        self.after_wait();
        let (polls, idle) = {
            let world = self.world.borrow();
            (world.polls, world.most_idle_polls)
        };
        self.check(Oracle::Spin, idle < 64, || {
            format!("{idle} kernel waits without a timeout brought nothing")
        })?;
        let needless = self.operator.needless_reads();
        self.check(Oracle::Spin, needless == 0, || "the console was read with a full inbox".into())?;
        self.check(Oracle::Spin, polls < 5_000, || format!("{polls} kernel waits in one wait"))?;
        let count = match waited {
            Ok(count) => count,
            Err(error) => {
                self.fail(Oracle::Liveness, || format!("the wait failed: {error}"))?;
                0
            }
        };
        self.report.events += count as u64;
        let largest = self.world.borrow().largest_send;
        self.check(Oracle::Bounds, largest <= self.config.max_send_bytes, || {
            format!("{largest} bytes were passed to the kernel in one send")
        })?;
        self.check(Oracle::Bounds, count <= self.capacity && count == events.len(), || {
            format!("{count} events in room for {}", self.capacity)
        })?;
        self.check_woken(count)?;
        let now_ns = self.now_ns();
        if count == 0 {
            self.check_left_behind(timeout)?;
            self.check_failed_ended()?;
            let waited_ns = now_ns - start_ns;
            let timeout_ns = timeout.as_nanos() as u64;
            self.check(Oracle::Time, waited_ns >= timeout_ns, || {
                format!("a wait of {timeout_ns} ns was over after {waited_ns}")
            })?;
            // Long waits may follow the tick of the machine's clock.
            let late_ns = if timeout > Duration::from_secs(1) { 16_000_000 } else { 1_000_000 };
            self.check(Oracle::Time, waited_ns <= timeout_ns + late_ns, || {
                format!("a wait of {timeout_ns} ns took {waited_ns}")
            })?;
            let late = self.timers.iter().any(|timer| timer.live && timer.deadline_ns < now_ns);
            self.check(Oracle::Time, !late, || "a timer was due and not reported".into())?;
        }
        let mut handled: Check = Ok(());
        for record in events.drain() {
            handled = self.handle(record);
            if handled.is_err() {
                break;
            }
        }
        handled.map(|()| count)
    }

    fn conn_of(&self, id: ConnId, token: Token, what: &str) -> Result<Option<usize>, Failure> {
        let Some(&at) = self.by_id.get(&id) else {
            self.fail(Oracle::Stale, || format!("{what} of {id:?}, which never was"))?;
            return Ok(None);
        };
        let conn = &self.conns[at];
        self.check(Oracle::Stale, conn.state != State::Removed, || {
            format!("{what} of {id:?} after its removal")
        })?;
        self.check(Oracle::Order, conn.state != State::Gone, || format!("{what} of {id:?} after `Closed`"))?;
        self.check(Oracle::Stream, token == Token(conn.link), || {
            format!("{what} of {id:?} with another's token")
        })?;
        Ok((!matches!(conn.state, State::Removed | State::Gone)).then_some(at))
    }

    fn handle(&mut self, record: &mut Record<SimStream>) -> Check {
        match *record {
            Record::Polled { poll, token, ready } => self.polled(poll, token, ready)?,
            Record::Written { conn, token, bytes } => self.written(conn, token, bytes)?,
            Record::Accepted { listener, ref mut stream, .. } => {
                let known = self.listeners.iter_mut().find(|known| known.id == listener && known.open);
                match known {
                    Some(known) => known.failed = false,
                    None => self.fail(Oracle::Stale, || "accepted by a listener that is gone".into())?,
                }
                // Some are closed.
                if !self.rng.percent(15) {
                    self.add(stream.take().expect("each record is handled once"))?;
                }
            }
            Record::AcceptFailed { listener, .. } => {
                let now_ns = self.now_ns();
                let known = self.listeners.iter_mut().find(|known| known.id == listener && known.open);
                match known {
                    Some(known) => {
                        let reported = std::mem::replace(&mut known.failed, true);
                        known.failures += 1;
                        let most = 1 + (now_ns - known.added_ns) / 1_000_000_000;
                        let often = known.failures > most;
                        self.check(Oracle::Order, !reported, || {
                            "a failing accept was reported twice".into()
                        })?;
                        self.check(Oracle::Order, !often, || {
                            "failing accepts were reported too often".into()
                        })?;
                    }
                    None => self.fail(Oracle::Stale, || "a listener that is gone cannot fail".into())?,
                }
            }
            Record::Received { conn, token, ref buffer } => {
                let data = buffer.as_slice();
                if let Some(at) = self.conn_of(conn, token, "bytes")? {
                    self.gated(at, true)?;
                    let known = &mut self.conns[at];
                    let (from, link) = (known.received, known.link);
                    known.received += data.len() as u64;
                    let (ended, state) = (known.ended, known.state);
                    let bound = self.config.buffer_bytes.next_power_of_two();
                    self.check(Oracle::Order, !ended, || "bytes after the end of the stream".into())?;
                    self.check(Oracle::Bounds, !data.is_empty() && data.len() <= bound, || {
                        format!("an event with {} bytes", data.len())
                    })?;
                    // In the same batch as the event whose handler closed it: allowed, and checked like any other.
                    let _ = state;
                    self.received_in_time(at)?;
                    let expected = bytes(link, false, from, data.len());
                    self.check(Oracle::Stream, data == expected, || {
                        format!("link {link} received something else at {from}")
                    })?;
                    if self.rng.percent(30) && self.conns[at].state == State::Open {
                        self.send(at, data.len())?;
                    }
                }
            }
            Record::EndOfStream { conn, token } => {
                if let Some(at) = self.conn_of(conn, token, "the end")? {
                    self.gated(at, false)?;
                    let twice = std::mem::replace(&mut self.conns[at].ended, true);
                    self.check(Oracle::Order, !twice, || "the end of a stream was reported twice".into())?;
                    let known = &self.conns[at];
                    let sent = self.peers[known.link].sent;
                    self.check(Oracle::Stream, self.peers[known.link].fin && known.received == sent, || {
                        format!("the end after {} of {sent} bytes", known.received)
                    })?;
                    if self.rng.percent(60) && known.state == State::Open && self.conns[at].lent.is_none() {
                        self.close(at);
                    }
                }
            }
            Record::Drained { conn, token } => {
                if let Some(at) = self.conn_of(conn, token, "room")? {
                    let known = &mut self.conns[at];
                    known.refused = false;
                    known.drained += 1;
                    let (refusals, drained) = (known.refusals, known.drained);
                    self.check(Oracle::Order, drained <= refusals, || "`Drained` without a refusal".into())?;
                }
            }
            Record::Closed { conn, token, reason } => {
                if let Some(at) = self.conn_of(conn, token, "`Closed`")? {
                    self.closed(at, reason)?;
                    self.give_back(at);
                }
            }
            Record::Ready { watch, .. } => {
                let known = self.watches.iter_mut().find(|known| known.id == watch && known.open);
                match known {
                    Some(known) => {
                        let due = std::mem::replace(&mut known.due, false);
                        let signalled = &mut self.world.borrow_mut().signalled[known.handle];
                        let right = due || *signalled;
                        // Handled now, or left for later: then it is reported again.
                        if self.calm || self.rng.percent(60) {
                            *signalled = false;
                        }
                        self.check(Oracle::Order, right, || "ready without a signal".into())?;
                    }
                    None => self.fail(Oracle::Stale, || "a watch that is gone is ready".into())?,
                }
            }
            Record::Timer { timer, missed, .. } => {
                let now_ns = self.now_ns();
                let Some(known) = self.timers.iter_mut().find(|known| known.id == timer && known.live) else {
                    return self.fail(Oracle::Stale, || "a timer that is gone went off".into());
                };
                let deadline_ns = known.deadline_ns;
                known.live = known.period_ns != 0;
                known.deadline_ns += known.period_ns * (missed + 1);
                let last_ns = known.deadline_ns - known.period_ns;
                self.check(Oracle::Time, now_ns >= deadline_ns && now_ns >= last_ns, || {
                    format!("a timer for {deadline_ns} went off at {now_ns}, {missed} missed")
                })?;
            }
            Record::Console { token, ref input, .. } => {
                self.spoken(token, input.as_event().expect("it is for the caller"))?;
            }
            Record::Posted { value, .. } => {
                let expected = self.inbox.borrow_mut().posts.pop_front();
                self.check(Oracle::Posts, expected == Some(value), || {
                    format!("post {value} came, {expected:?} was next")
                })?;
            }
            Record::Woken => {
                let woken = std::mem::replace(&mut self.inbox.borrow_mut().woken, false);
                self.check(Oracle::Posts, woken, || "woken without a wake".into())?;
            }
        }
        // Handlers perform any actions on other registrations.
        if !self.calm && self.rng.percent(25) {
            let who = self.rng.below(1 << 20) as u32;
            let action = match self.rng.below(12) {
                0 | 1 => Action::Remove(who),
                2 => Action::Close(who),
                3 => Action::Abort(who),
                4 => Action::Pause(who),
                5 => Action::Resume(who),
                6 => Action::CancelTimer(who),
                7 => Action::RemoveListener(who),
                8 => Action::Unwatch(who),
                9 => Action::Connect,
                10 => Action::Post,
                _ => Action::Send(who, 1 + (who % 50) as u16),
            };
            self.act(action, None)?;
        }
        if self.borrows && !self.calm && self.rng.percent(15) {
            let action = program::aside(&mut self.rng, self.console);
            self.act(action, None)?;
        }
        Ok(())
    }

    /// Bytes are delivered only to connections that are not paused, and after a failed send only those that were there
    /// before.
    fn received_in_time(&self, at: usize) -> Check {
        let conn = &self.conns[at];
        let world = self.world.borrow();
        let wire = &world.links[conn.link];
        // Bytes recorded before the end are delivered with it.
        let linger_ns = self.config.linger.as_nanos() as u64;
        let is_over = wire.reset.is_some()
            || wire.send_failed.is_some_and(|(failed_ns, _)| world.now_ns >= failed_ns + linger_ns);
        let paused = conn.paused_before && conn.state == State::Open && !is_over;
        self.check(Oracle::Order, !paused, || format!("{:?} is paused and has received", conn.id))?;
        let Some((_, there)) = wire.send_failed else { return Ok(()) };
        let bound = there + 2 * self.config.buffer_bytes.next_power_of_two() as u64;
        self.check(Oracle::Bounds, conn.received <= bound, || {
            format!(
                "{:?} has received {} bytes, {there} were there when a send failed",
                conn.id, conn.received
            )
        })
    }

    fn closed(&mut self, at: usize, reason: CloseReason) -> Check {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[at];
        let state = std::mem::replace(&mut conn.state, State::Gone);
        let world = self.world.borrow();
        let link = &world.links[conn.link];
        let linger_ns = self.config.linger.as_nanos() as u64;
        let conn = &self.conns[at];
        let lingered = conn.closed_at_ns.is_some_and(|closed| now_ns >= closed + linger_ns);
        match reason {
            CloseReason::Finished => {
                self.check(Oracle::Order, state == State::Closing, || "finished without a close".into())?;
                let all = link.outbound.total == conn.accepted && link.outbound.fin;
                self.check(Oracle::Stream, all, || {
                    format!("finished after {} of {} bytes", link.outbound.total, conn.accepted)
                })?;
                let whole = link.ended == Some(Ended::Orderly) || lingered || link.reset.is_some();
                self.check(Oracle::Stream, whole, || "a close destroyed the last output".into())
            }
            CloseReason::LingerExpired { unsent } => {
                self.check(Oracle::Time, lingered, || "the linger time was cut short".into())?;
                self.check(Oracle::Bounds, state == State::Closing && unsent as u64 <= conn.accepted, || {
                    "an odd linger".into()
                })
            }
            CloseReason::Aborted => {
                self.check(Oracle::Order, state == State::Aborted, || "aborted without an abort".into())
            }
            CloseReason::Failed { code } => {
                self.fail(Oracle::Order, || format!("a reset was reported as failure {code}"))
            }
            CloseReason::Reset => {
                let failed = link.reset.is_some() || link.send_failed.is_some();
                self.check(Oracle::Order, failed, || "reset without a cause".into())?;
                // A caller that pauses, or requests each receive, has had the linger time; and so has a system that is
                // out of memory.
                let gated = conn.was_paused || conn.lent.is_some() || self.short_of_memory;
                // The bytes that the system still returns at a reset are delivered first. Within the linger time, which
                // for some seeds is shorter than the machine's delays.
                let left = match link.send_failed {
                    Some((_, there)) => link.reset != Some(false) && conn.received < there,
                    _ => link.reset == Some(true) && !link.inbound.bytes.is_empty(),
                };
                // A caller that does not wait for that long has the time twice.
                let send = link.send_failed.or(link.send_reset);
                let had_both = send.is_some_and(|(at_ns, _)| now_ns >= at_ns + 2 * linger_ns);
                let slow = had_both || linger_ns < 10_000_000;
                let kept = !left || gated || state != State::Open || slow;
                self.check(Oracle::Stream, kept, || "bytes before a reset were lost".into())
            }
        }
    }

    /// Every peer sends; each source that was ready at the start gets a turn soon.
    fn flood(&mut self, events: &mut Batch<SimStream>) -> Check {
        let faults = self.world.borrow().faults;
        {
            let mut world = self.world.borrow_mut();
            world.faults.delay = 0;
            world.faults.no_memory = 0;
            world.faults.spurious = 0;
            world.faults.early_return = 0;
        }
        let quiet = std::mem::replace(&mut self.calm, true);
        self.flooding = true;
        let turns = 16
            + 12 * (self.conns.len().min(MOST_LINKS) + self.timers.len() + self.polls.len() + 4)
                / self.capacity.min(self.config.max_events);
        self.act(Action::Post, None)?;
        let waiting: Vec<(usize, u64)> = (0..self.conns.len())
            // Connections without memory just now may have to wait for the end of a pause.
            .filter(|&at| {
                self.conns[at].state == State::Open && !self.conns[at].paused && faults.no_memory == 0
            })
            .filter(|&at| !self.world.borrow().links[self.conns[at].link].inbound.bytes.is_empty())
            .map(|at| (at, self.conns[at].received))
            .collect();
        let last_post = self.inbox.borrow().posts.back().copied();
        let standing = self.standing_polls();
        let (spoken, delivered) = self.operator.waiting();
        for _ in 0..turns {
            self.post_receives()?;
            for kind in 0..if spoken { 2 * self.capacity as u32 } else { 0 } {
                self.operator.type_in(kind % 5);
            }
            for who in 0..MOST_OPEN as u32 {
                self.peer_send(who, 50);
            }
            self.wait(events, Duration::ZERO)?;
        }
        for (at, received) in waiting {
            let conn = &self.conns[at];
            let served = conn.received > received || conn.state != State::Open || conn.paused;
            let reset = self.world.borrow().links[conn.link].reset.is_some();
            self.check(Oracle::Fairness, served || reset, || {
                format!("{:?} had bytes waiting and was not served within {turns} waits", conn.id)
            })?;
        }
        let posted = last_post.is_none_or(|last| !self.inbox.borrow().posts.contains(&last));
        self.check(Oracle::Fairness, posted, || format!("a post was not delivered within {turns} waits"))?;
        self.check_reported_again(&standing)?;
        let (_, delivered_since) = self.operator.waiting();
        self.check(Oracle::Fairness, !spoken || delivered_since > delivered, || {
            format!("the console's input was not delivered within {turns} waits")
        })?;
        self.flooding = false;
        self.calm = quiet;
        self.world.borrow_mut().faults = faults;
        Ok(())
    }

    /// Heals the machine, checks that everything due is delivered, and drops it all.
    fn end(mut self, mut events: Batch<SimStream>) -> Result<Report, Failure> {
        self.calm = true;
        let drop_at_once = self.rng.percent(25);
        if !drop_at_once {
            self.world.borrow_mut().heal();
            self.settle(&mut events)?;
            self.check_all_delivered()?;
            self.close_everything(&mut events)?;
        }
        let engine = ManuallyDrop::into_inner(self.engine);
        let Run { world, oracles, report, lent, .. } = self;
        if self.rng.percent(50) {
            events.clear();
            drop(engine);
        } else {
            // Events may outlive their reactor.
            drop(engine);
            events.clear();
        }
        let held = borrowed::held(&lent);
        let left = world.borrow().open_descriptors();
        drop(ManuallyDrop::into_inner(lent));
        if left != held && oracles.contains(&Oracle::Empty) {
            return Err(Failure {
                oracle: Oracle::Empty,
                message: format!("{left} descriptors are open, {held} of them the caller's"),
            });
        }
        Ok(report)
    }

    fn settle(&mut self, events: &mut Batch<SimStream>) -> Check {
        for at in 0..self.timers.len() {
            if self.timers[at].live && self.timers[at].period_ns > 0 {
                self.act(Action::CancelTimer(at as u32), None)?;
            }
        }
        for at in 0..self.conns.len() {
            if self.conns[at].state == State::Open && self.conns[at].lent.is_none() {
                self.conns[at].paused = false;
                let _ = self.engine.resume(self.conns[at].id);
            }
        }
        // One batch per wait: some hundred waits are plenty for what fits on the wires.
        for _ in 0..2_000 {
            self.post_receives()?;
            let count = self.wait(events, AN_HOUR)?;
            let on_the_wire = self.world.borrow().links.iter().any(|link| !link.outbound.bytes.is_empty());
            if count == 0 && !on_the_wire {
                return Ok(());
            }
            for link in 0..self.peers.len() {
                self.peer_read(link, usize::MAX)?;
            }
        }
        self.fail(Oracle::Liveness, || "it never becomes calm".into())
    }

    fn check_all_delivered(&self) -> Check {
        let world = self.world.borrow();
        for conn in &self.conns {
            let link = &world.links[conn.link];
            let id = conn.id;
            match conn.state {
                State::Open => {
                    self.check(Oracle::Liveness, link.send_failed.is_none(), || {
                        format!("{id:?} has not ended after a failed send")
                    })?;
                    let reset = link.reset.is_some();
                    let sent = self.peers[conn.link].sent;
                    self.check(Oracle::Liveness, reset || conn.received == sent, || {
                        format!("{id:?} has received {} of {sent} bytes", conn.received)
                    })?;
                    self.check(Oracle::Liveness, reset || conn.ended == self.peers[conn.link].fin, || {
                        format!("{id:?} did not report the end")
                    })?;
                    self.check(Oracle::Liveness, reset || link.outbound.total == conn.accepted, || {
                        format!("{id:?} has sent {} of {} bytes", link.outbound.total, conn.accepted)
                    })?;
                    self.check(Oracle::Liveness, !reset || conn.ended, || {
                        format!("{id:?} did not report a reset")
                    })?;
                    let reported = conn.asked.writes.is_empty();
                    self.check(Oracle::Liveness, reset || reported, || {
                        format!("{id:?} did not report all its sends")
                    })?;
                    self.check(Oracle::Liveness, reset || !conn.refused, || {
                        format!("{id:?} has room and did not report it")
                    })?;
                }
                State::Closing | State::Aborted => {
                    self.fail(Oracle::Liveness, || format!("{id:?} was never reported as closed"))?;
                }
                State::Removed | State::Gone => {}
            }
        }
        for listener in self.listeners.iter().filter(|listener| listener.open) {
            let waiting = world.listeners[listener.number].backlog.len();
            self.check(Oracle::Liveness, waiting == 0, || format!("{waiting} wait to be accepted"))?;
        }
        self.check_polls_reported()?;
        self.check_input_delivered()?;
        let signalled = self.watches.iter().any(|watch| watch.open && world.signalled[watch.handle]);
        self.check(Oracle::Liveness, !signalled, || "a signal was not reported".into())?;
        let inbox = self.inbox.borrow();
        self.check(Oracle::Posts, inbox.posts.is_empty(), || {
            format!("{} posts were never delivered", inbox.posts.len())
        })?;
        self.check(Oracle::Posts, !inbox.woken, || "a wake was lost".into())?;
        let timers = self.timers.iter().any(|timer| timer.live);
        self.check(Oracle::Time, !timers, || "a timer never went off".into())
    }

    fn close_everything(&mut self, events: &mut Batch<SimStream>) -> Check {
        for at in 0..self.conns.len() {
            if self.conns[at].state == State::Open && self.conns[at].lent.is_none() {
                self.close(at);
            }
        }
        self.return_everything()?;
        self.remove_console()?;
        for at in 0..self.listeners.len() as u32 {
            self.act(Action::RemoveListener(at), None)?;
        }
        for at in 0..self.watches.len() as u32 {
            self.act(Action::Unwatch(at), None)?;
        }
        self.settle(events)?;
        events.clear();
        let left =
            self.conns.iter().any(|conn| matches!(conn.state, State::Open | State::Closing | State::Aborted));
        self.check(Oracle::Liveness, !left, || "a connection was never reported as closed".into())?;
        let stats = self.engine.stats();
        let held = (stats.connections, stats.listeners, stats.watches, stats.timers);
        self.check(Oracle::Empty, held == (0, 0, 0, 0), || format!("left in the tables: {held:?}"))?;
        let lent = (stats.operations_in_flight, stats.buffers_out, stats.queued_bytes);
        self.check(Oracle::Empty, lent == (0, 0, 0), || format!("still lent: {lent:?}"))
    }
}
