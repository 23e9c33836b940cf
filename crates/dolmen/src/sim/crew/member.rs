//! A simulated member: what its thread would do, in steps.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::codec::{PANIC, TestCodec};
use super::environment::{self, Ticket};
use crate::crew::counters::Counters;
use crate::crew::member::{Limits, Member};
use crate::crew::notice::{Notice, Order};
use crate::crew::remote_members::MemberHandle;
use crate::crew::thread::{LINKS, ORDERS, report_failure, turn};
use crate::engine::{Config, Engine};
use crate::kernel::mailbox::{Channel, Mailbox, Taken};
use crate::kernel::sim::Sim;
use crate::kernel::sim::world::{SharedWorld, SimStream};
use crate::record::Batch;
use crate::stats::Stats;
use crate::token::Token;

pub(super) type Orders = Arc<Channel<Order<Ticket, TestCodec>>>;
pub(super) type Notices = Arc<Channel<Notice<TestCodec>>>;

/// An engine of the machine, with a signal of its own.
pub(super) fn engine(world: &SharedWorld, config: Config) -> Engine<Sim> {
    world.borrow_mut().signal = Arc::default();
    Engine::over(Sim::over(world), config)
}

/// Whether a wait without a timeout would return.
pub(super) fn is_awake(engine: &mut Engine<Sim>) -> bool {
    let now_ns = engine.now_ns();
    wakes_ns(engine).is_some_and(|at_ns| at_ns <= now_ns)
}

/// When such a wait would return, if no one else did anything.
pub(super) fn wakes_ns(engine: &mut Engine<Sim>) -> Option<u64> {
    let timeout_ns = engine.next_timeout_ns().map(|timeout_ns| engine.now_ns().saturating_add(timeout_ns));
    [timeout_ns, engine.kernel().ready_from_ns()].into_iter().flatten().min()
}

/// Waits where that does not block.
pub(super) fn wait(
    world: &SharedWorld,
    engine: &mut Engine<Sim>,
    batch: &mut Batch<SimStream>,
) -> Result<(), String> {
    world.borrow_mut().waits = 0;
    engine.wait(batch, Some(Duration::ZERO)).map(drop).map_err(|error| error.to_string())
}

/// What a member has until its thread ends.
struct Running {
    member: Member<TestCodec>,
    batch: Batch<SimStream>,
    taken: Taken<Order<Ticket, TestCodec>>,
    /// A wait has returned, and the turn has not been taken.
    has_found: bool,
    waits: u64,
    engine: Engine<Sim>,
}

pub(super) struct SimMember {
    /// The dispatcher's number for it.
    pub(super) number: usize,
    pub(super) orders: Orders,
    pub(super) notices: Notices,
    running: Option<Running>,
    /// A codec has panicked.
    pub(super) has_failed: bool,
    /// It gets no newcomers, and ends with its last connection.
    pub(super) is_retiring: bool,
    /// The game has heard of it.
    pub(super) is_reported: bool,
}

impl SimMember {
    /// Starts a member, and returns also what the dispatcher needs.
    pub(super) fn start(
        world: &SharedWorld,
        config: Config,
        batch: usize,
        limits: Limits,
        game: (Arc<Mailbox>, Token),
        number: usize,
    ) -> (SimMember, MemberHandle<Ticket, TestCodec>) {
        let counters = Arc::new(Counters::default());
        let notices = Channel::new(game.0, limits.notices, game.1);
        let mut engine = engine(world, config);
        engine.publish_to(counters.of_engine());
        let mailbox = engine.mailbox();
        let orders = Channel::new(Arc::clone(&mailbox), usize::MAX, ORDERS);
        let running = Running {
            member: Member::new(LINKS, limits, Arc::clone(&counters)),
            batch: Batch::with_capacity(batch),
            taken: Taken::default(),
            has_found: false,
            waits: 0,
            engine,
        };
        let member = SimMember {
            number,
            orders: Arc::clone(&orders),
            notices: Arc::clone(&notices),
            running: Some(running),
            has_failed: false,
            is_retiring: false,
            is_reported: false,
        };
        (member, MemberHandle { orders, notices, mailbox, counters })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.running.is_none()
    }

    /// Whether a step does anything.
    pub(super) fn is_awake(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.has_found || is_awake(&mut running.engine))
    }

    pub(super) fn wakes_ns(&mut self) -> Option<u64> {
        wakes_ns(&mut self.running.as_mut()?.engine)
    }

    pub(super) fn stats(&self) -> Option<Stats> {
        self.running.as_ref().map(|running| running.engine.stats())
    }

    /// How many messages wait for room in the game's queue.
    pub(super) fn waiting_messages(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.member.waiting_messages())
    }

    /// The first half of a turn: the wait. Others may act before the second.
    pub(super) fn wait(&mut self, world: &SharedWorld) -> Result<(), String> {
        let Some(running) = self.running.as_mut().filter(|running| !running.has_found) else { return Ok(()) };
        running.has_found = true;
        running.waits += 1;
        wait(world, &mut running.engine, &mut running.batch)
    }

    /// The second half. As the thread does, it catches the panic of a codec, and of nothing else.
    pub(super) fn turn(&mut self) {
        let Some(running) = self.running.as_mut().filter(|running| running.has_found) else { return };
        running.has_found = false;
        environment::set_member(Some(running.waits));
        let Running { member, batch, taken, engine, .. } = running;
        let (orders, notices) = (&self.orders, &self.notices);
        let goes_on = catch_unwind(AssertUnwindSafe(|| {
            turn(engine, batch, taken, member, orders, notices, Ticket::stream)
        }));
        environment::set_member(None);
        match goes_on {
            Ok(true) => return,
            Ok(false) => {}
            Err(panic) => match panic.downcast_ref::<&str>() {
                Some(&PANIC) => self.has_failed = true,
                _ => resume_unwind(panic),
            },
        }
        let Some(Running { member, engine, batch, .. }) = self.running.take() else { return };
        // As the locals of the thread.
        drop(batch);
        match self.has_failed {
            true => report_failure(member, engine, notices, PANIC.to_owned()),
            false => {
                drop(member);
                drop(engine);
            }
        }
        self.orders.close();
    }
}
