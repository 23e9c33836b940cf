//! A model of what a crew promises, run beside one.

mod checks;
mod end;
mod events;
mod game;
mod rounds;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Duration;

use super::codec::{Manner, Reply, TestCodec};
use super::environment::{self, Ticket};
use super::member::{self, SimMember};
use super::program::Action;
use super::witness::{SharedWitness, look};
use super::{Mark, mark};
use crate::crew::CrewEvent;
use crate::crew::dispatcher::Dispatcher;
use crate::crew::happening::Happening;
use crate::crew::member::Limits;
use crate::engine::{Config, Engine};
use crate::kernel::sim::Sim;
use crate::kernel::sim::world::{self, Ended, SharedWorld, SimStream, World};
use crate::record::Batch;
use crate::sim::model::bytes;
use crate::sim::{Failure, Oracle, Report, Rng};
use crate::token::{LinkId, Token};

/// The crew's token at the game's engine.
const CREW: Token = Token(7);

/// How many connections a program makes at most.
const MOST_LINKS: usize = 24;

/// Of those added last, how many a step chooses from.
const RECENT: usize = 6;

type Check = Result<(), Failure>;

struct Run<'a> {
    oracles: &'a [Oracle],
    rng: Rng,
    world: SharedWorld,
    limits: Limits,
    config: Config,
    batch_size: usize,
    dispatcher: Dispatcher<Ticket, TestCodec>,
    engine: Engine<Sim>,
    batch: Batch<SimStream>,
    /// The game's wait has returned, and the round has not begun.
    has_found: bool,
    /// The game has done something, and begins a round without a wait.
    owes_round: bool,
    /// The game waits with its round open.
    is_left_open: bool,
    members: Vec<SimMember>,
    /// The running member of each number.
    by_number: Vec<Option<usize>>,
    conns: Vec<Conn>,
    by_link: HashMap<LinkId, usize>,
    /// The connections of a member that has failed: they leave before anything else happens.
    orphans: VecDeque<usize>,
    /// Members have been stopped, or have failed, so their connections are not evenly spread.
    is_uneven: bool,
    codecs_panic: bool,
    /// The members that were to stay have failed, and none was started since: newcomers are not served.
    refuses_newcomers: bool,
    replies: u64,
    /// The game makes no further changes by itself.
    is_calm: bool,
    report: Report,
}

/// How the game has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Abort,
}

struct Conn {
    link: LinkId,
    token: Token,
    /// The number of its link in the world.
    wire: usize,
    /// The member, or the game's own thread.
    place: Option<usize>,
    /// No one serves it, as the members have failed.
    is_refused: bool,
    manner: Manner,
    witness: SharedWitness,
    /// What the peer has done.
    written: u64,
    fin: bool,
    /// It has reset the connection, or will at the next bytes.
    resets: bool,
    is_dead: bool,
    read: u64,
    /// The bytes of the replies that were taken, and that the peer has not read.
    expected: VecDeque<u8>,
    /// Messages that the game got, and their bytes.
    messages: u64,
    received: u64,
    has_end: bool,
    /// Replies that were taken, and their weight.
    replies: u64,
    weight: u64,
    refusals: u64,
    reports_of_room: u64,
    waits_for_room: bool,
    is_paused: bool,
    ending: Option<Ending>,
    /// Its end was reported.
    has_left: bool,
    /// And it was an orderly one.
    has_finished: bool,
}

pub(super) fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    // After a failure nothing is in a state to be dropped.
    let mut run = ManuallyDrop::new(Run::new(seed, oracles));
    for &action in actions {
        run.report.actions += 1;
        run.act(action)?;
    }
    run.end()?;
    ManuallyDrop::into_inner(run).drop_all()
}

impl Run<'_> {
    fn new(seed: u64, oracles: &[Oracle]) -> Run<'_> {
        let mut rng = Rng::new(seed.rotate_left(29) ^ 0xC4E3);
        let world = Rc::new(RefCell::new(World::new(seed)));
        environment::open(&world);
        let high = 40 + rng.below(300) as usize;
        let limits = Limits {
            notices: 1 + rng.below(12) as usize,
            replies: 1 + rng.below(16),
            linger: Duration::from_micros(200 + rng.below(30_000)),
        };
        let config = Config {
            max_events: 1 + rng.below(12) as usize,
            pool_size: rng.below(10) as usize,
            buffer_bytes: 16 + rng.below(64) as usize,
            max_connections: if rng.percent(15) { 2 } else { MOST_LINKS },
            high_water_bytes: high,
            low_water_bytes: high / (1 + rng.below(4) as usize),
            max_send_bytes: high / (1 + rng.below(3) as usize),
            linger: limits.linger,
            ..Config::DEFAULT
        };
        let batch_size = 1 + rng.below(8) as usize;
        let engine = member::engine(&world, config);
        let mut run = Run {
            oracles,
            limits,
            config,
            batch_size,
            dispatcher: Dispatcher::new(engine.mailbox(), CREW, limits),
            engine,
            batch: Batch::with_capacity(batch_size),
            has_found: false,
            owes_round: false,
            is_left_open: false,
            members: Vec::new(),
            by_number: Vec::new(),
            conns: Vec::new(),
            by_link: HashMap::new(),
            orphans: VecDeque::new(),
            is_uneven: false,
            codecs_panic: rng.percent(40),
            refuses_newcomers: false,
            replies: seed << 16,
            is_calm: false,
            report: Report::default(),
            world,
            rng,
        };
        let threads = run.rng.below(4) as usize;
        for _ in 0..threads {
            run.start_member();
        }
        run
    }

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

    /// With one of the connections added last, if there is any.
    fn with(&mut self, who: u32, act: impl FnOnce(&mut Self, usize) -> Check) -> Check {
        match self.conns.len().min(RECENT) {
            0 => Ok(()),
            recent => act(self, self.conns.len() - 1 - who as usize % recent),
        }
    }

    fn act(&mut self, action: Action) -> Check {
        match action {
            Action::Add => self.add(),
            Action::PeerWrite(who, much) => self.with(who, |run, at| run.peer_writes(at, much.into())),
            Action::PeerRead(who, much) => self.with(who, |run, at| run.peer_reads(at, much.into())),
            Action::PeerFin(who) => self.with(who, |run, at| run.peer_finishes(at, false)),
            Action::PeerGone(who) => self.with(who, |run, at| run.peer_finishes(at, true)),
            Action::PeerReset(who, keep) => self.with(who, |run, at| run.peer_resets(at, keep)),
            Action::PeerDead(who) => self.with(who, |run, at| {
                run.conns[at].is_dead = true;
                Ok(())
            }),
            Action::Send(who, len) => self.with(who, |run, at| run.send(at, len.into()).map(drop)),
            Action::Fill(who, len) => self.with(who, |run, at| run.fill(at, len.into())),
            Action::Broadcast(bits, len) => self.broadcast(bits, len.into()),
            Action::Pause(who) => self.with(who, |run, at| run.pause(at, true)),
            Action::Resume(who) => self.with(who, |run, at| run.pause(at, false)),
            Action::Close(who) => self.with(who, |run, at| run.end_one(at, Ending::Close)),
            Action::Abort(who) => self.with(who, |run, at| run.end_one(at, Ending::Abort)),
            Action::Member(which) => self.step_one(which),
            Action::Game => self.step_game(),
            Action::Run(steps) => self.run_some(steps),
            Action::Pass(time_us) => {
                self.world.borrow_mut().now_ns += u64::from(time_us) * 1_000;
                Ok(())
            }
            Action::Threads(count) => self.set_threads(count.into()),
            Action::Calm => self.calm_down(Duration::from_secs(10)),
        }
    }
}

/// The peers.
impl Run<'_> {
    fn peer_writes(&mut self, at: usize, much: usize) -> Check {
        let conn = &mut self.conns[at];
        let mut world = self.world.borrow_mut();
        let wire = &mut world.links[conn.wire];
        if conn.fin || wire.reset.is_some() || wire.ended.is_some() {
            return Ok(());
        }
        let count = much.min(wire.inbound.room());
        wire.inbound.write(&bytes(conn.wire, false, conn.written, count));
        conn.written += count as u64;
        Ok(())
    }

    fn peer_reads(&mut self, at: usize, much: usize) -> Check {
        let conn = &mut self.conns[at];
        if conn.is_dead {
            return Ok(());
        }
        let read: Vec<u8> = {
            let mut world = self.world.borrow_mut();
            let wire = &mut world.links[conn.wire].outbound.bytes;
            let count = much.min(wire.len());
            wire.drain(..count).collect()
        };
        let count = read.len().min(conn.expected.len());
        let expected: Vec<u8> = conn.expected.drain(..count).collect();
        conn.read += read.len() as u64;
        let (link, until) = (conn.link, conn.read);
        self.check(Oracle::Stream, read == expected, || {
            format!("the peer of {link:?} has read something else before {until}")
        })
    }

    fn peer_finishes(&mut self, at: usize, is_gone: bool) -> Check {
        let conn = &mut self.conns[at];
        let wire = &mut self.world.borrow_mut().links[conn.wire];
        conn.fin = true;
        wire.inbound.fin = true;
        if is_gone {
            (wire.gone, conn.resets) = (true, true);
        }
        Ok(())
    }

    fn peer_resets(&mut self, at: usize, keep: bool) -> Check {
        self.conns[at].resets = true;
        self.world.borrow_mut().links[self.conns[at].wire].peer_reset(keep);
        Ok(())
    }
}

/// The turns.
impl Run<'_> {
    fn step_one(&mut self, which: u32) -> Check {
        match self.members.len() {
            0 => self.step_game(),
            count => self.step_member(which as usize % count),
        }
    }

    /// Half a turn of a member. Others may act before the second half.
    fn step_member(&mut self, at: usize) -> Check {
        if !self.members[at].is_awake() {
            return Ok(());
        }
        let waited = self.members[at].wait(&self.world);
        self.check(Oracle::Liveness, waited.is_ok(), || format!("a member's wait failed: {waited:?}"))?;
        if self.rng.percent(25) {
            return Ok(());
        }
        self.members[at].turn();
        self.check_member(at)
    }

    fn run_some(&mut self, steps: u8) -> Check {
        for _ in 0..steps {
            match self.rng.below(self.members.len() as u64 + 1) {
                0 => self.step_game()?,
                other => self.step_member(other as usize - 1)?,
            }
        }
        Ok(())
    }
}
