//! A model of what the header promises, run in parallel with the library.

mod actions;
mod check;
mod console;
mod context;
mod others;
mod runtime;
mod sockets;
mod wait;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dolmen::raw::ReactorApi;
use dolmen::sim::{Failure, Machine, Object, Oracle, Report, Rng, stream_bytes};
use dolmen::{Poster, Token, Waker};

use super::buffers::{Held, Posted};
use super::platform::System;
use super::program::{self, Action, ExternalAction};
use super::stdin::{Input, Kind, STDIN_STREAM, SharedInput};
use crate::marks::{Mark, mark};
use crate::reactor::{Inner, Settings};
use crate::sim::mutants::{Mutant, mutant};
use crate::types::*;
use console::Console;
use context::Context;
use others::Others;
use sockets::Registration;

type Check = Result<(), Failure>;

const MOST_OPEN: usize = 8;
const MOST_LISTENERS: usize = 2;

struct Run<'a, P: System> {
    oracles: &'a [Oracle],
    rng: Rng,
    machine: Machine,
    input: SharedInput,
    /// Dropped by a run that reaches its end; after a finding its state does not allow a drop.
    inner: ManuallyDrop<Inner<P>>,
    others: Others,
    /// The program was written for `async_runtime.h`.
    is_runtime: bool,
    /// The program waits with io_reactor_wait_ex(), and lets the library accept.
    is_extended: bool,
    /// How many packets of others were reported.
    foreign: u64,
    max_events: usize,
    buffer_bytes: usize,
    /// The caller's open sockets.
    open: Vec<u32>,
    /// All registrations that ever existed; the context carries the number.
    registrations: Vec<Registration>,
    /// The current registrations, by socket.
    by_fd: BTreeMap<u32, usize>,
    /// The links whose registration ended with unreported writes, and whether some of those bytes were certainly
    /// unsent.
    cut: BTreeMap<usize, bool>,
    console: Console,
    timers: Vec<Timer>,
    held: Held,
    /// The caller's buffers to which events of the last wait point.
    filled: Vec<Posted>,
    /// A wakeup may be left over from a wait that had no room for more.
    may_be_woken: bool,
    /// How many waits may end because the kernel gives back operations of removed sources.
    removed: usize,
    /// How many waits may end because the pause of a listener does, or because connections that waited for room have gone
    /// or are no longer wanted.
    pauses: u64,
    /// When the last source was removed.
    removed_at_ns: u64,
    /// Every source always has something, and handlers do not handle it.
    flooding: bool,
    /// Handlers handle everything and start nothing new: the end has begun.
    calm: bool,
    report: Report,
}

struct Timer {
    id: u64,
    deadline_ns: u64,
    period_ns: u64,
    live: bool,
}

pub(super) fn run<P: System>(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    let mut rng = Rng::new(seed.rotate_left(23));
    // Some of the Windows machines send in parts and take no buffers in advance.
    let machine = Machine::new(seed, P::COMPLETION && rng.percent(80));
    let kind = Kind::of_seed(&mut rng);
    let input = Input::new(&machine, kind, P::COMPLETION, Rng::new(rng.next()));
    let max_events = if rng.percent(30) { 1 + rng.below(4) as usize } else { 64 };
    let buffer_bytes = 16 + rng.below(48) as usize;
    let mut reactor = machine.reactor(max_events, rng.below(10) as usize, buffer_bytes);
    // Not by the generator that everything else depends on: the program of a seed stays the same.
    let mut header = Rng::new(seed.rotate_left(41));
    let is_runtime = header.percent(40);
    let is_extended = !is_runtime && header.percent(50);
    if is_runtime || is_extended {
        reactor.report_foreign();
    }
    let (waker, poster) = (reactor.waker(), Rc::new(reactor.poster()));
    let platform = P::new(machine.clone(), Rc::clone(&input));
    let inner = Inner::new(platform, reactor, Settings::new(max_events, 0));
    let others = Others::new(&machine, &input, waker, inner.wakeup(), poster);
    let mut run = Run {
        oracles,
        rng,
        machine,
        input,
        inner: ManuallyDrop::new(inner),
        others,
        is_runtime,
        is_extended,
        foreign: 0,
        max_events,
        buffer_bytes: buffer_bytes.next_power_of_two(),
        open: Vec::new(),
        registrations: Vec::new(),
        by_fd: BTreeMap::new(),
        cut: BTreeMap::new(),
        console: Console::new(kind),
        timers: Vec::new(),
        held: Held::default(),
        filled: Vec::new(),
        may_be_woken: false,
        removed: 0,
        pauses: 0,
        removed_at_ns: 0,
        flooding: false,
        calm: false,
        report: Report::default(),
    };
    for &action in actions {
        run.report.actions += 1;
        run.act(action)?;
    }
    run.end()
}

impl<P: System> Run<'_, P> {
    fn fail(&self, oracle: Oracle, message: impl FnOnce() -> String) -> Check {
        match self.oracles.contains(&oracle) {
            true => Err(Failure { oracle, message: message() }),
            false => Ok(()),
        }
    }

    fn check(&self, oracle: Oracle, holds: bool, message: impl FnOnce() -> String) -> Check {
        if holds { Ok(()) } else { self.fail(oracle, message) }
    }

    fn act(&mut self, action: Action) -> Check {
        match action {
            Action::Connect => self.connect(),
            Action::Listen => self.listen(),
            Action::Duplicate(who) => self.duplicate(who),
            Action::Add(who, events) => self.add_some(who, events.into())?,
            Action::AddWrongly(who) => self.add_wrongly(who)?,
            Action::Modify(who, events) => self.modify(who, events.into())?,
            Action::Remove(who) => self.remove_some(who)?,
            Action::Close(who) => self.close_some(who)?,
            Action::CloseRegistered(who) => self.close_registered(who),
            Action::PostRead(who, len) => self.post_read_some(who, len.into())?,
            Action::PostWrite(who, len) => self.post_write_some(who, len.into())?,
            Action::Receive(who, most) => self.receive_some(who, most.into())?,
            Action::Send(who, much) => self.send_some(who, much.into()),
            Action::ShutDown(who) => self.shut_down(who),
            Action::Accept(who) => self.accept_some(who),
            Action::External(action) => self.external(action),
            Action::Later(after_us, action) => self.later(u64::from(after_us) * 1_000, action),
            Action::AddConsole(buffered) => self.add_console(buffered)?,
            Action::RemoveConsole => self.remove_console()?,
            Action::ReadConsole(most) => self.read_console(most.into())?,
            Action::Timer(after_us) => self.timer(after_us, 0),
            Action::Interval(period_us) => self.timer(period_us, period_us),
            Action::CancelTimer(who) => self.cancel_timer(who)?,
            Action::Fork => self.fork(),
            Action::Wait(room, timeout_us) => {
                let timeout = (timeout_us != u32::MAX).then(|| Duration::from_micros(timeout_us.into()));
                self.wait(room.into(), timeout)?;
            }
            Action::Flood(room) => self.flood(room.into())?,
        }
        let misread = self.others.misread.get();
        self.check(Oracle::Stream, misread.is_none(), || {
            format!("the peer of link {misread:?} read something else")
        })
    }

    /// One of the caller's sockets.
    fn socket(&self, who: u32) -> Option<u32> {
        (!self.open.is_empty()).then(|| self.open[who as usize % self.open.len()])
    }

    /// One of the caller's connected sockets.
    fn connected(&self, who: u32) -> Option<(u32, usize)> {
        let fd = self.socket(who)?;
        match self.machine.object(fd)? {
            Object::Link(link) => Some((fd, link)),
            Object::Listener(_) => None,
        }
    }

    fn timer(&mut self, after_us: u32, period_us: u32) {
        let micros = |us: u32| Duration::from_micros(us.into());
        let deadline_ns = self.machine.now_ns() + u64::from(after_us) * 1_000;
        let context = Context::Timer(self.timers.len()).pointer();
        let id = self.inner.add_timer(context, micros(after_us), micros(period_us));
        let period_ns = u64::from(period_us) * 1_000;
        self.timers.push(Timer { id, deadline_ns, period_ns, live: true });
    }

    fn cancel_timer(&mut self, who: u32) -> Check {
        if self.timers.is_empty() {
            return Ok(());
        }
        let count = self.timers.len();
        let timer = &mut self.timers[who as usize % count];
        timer.live = false;
        let cancelled = self.inner.cancel_timer(timer.id).is_ok();
        self.check(Oracle::Time, cancelled, || "a timer was not cancelled".into())
    }

    /// The process forks, and the child destroys its copy.
    fn fork(&mut self) {
        if !P::COMPLETION {
            mark(Mark::ForkedCopyDestroyed);
            let tears = mutant(Mutant::TearSharedInstance);
            let registered = self.by_fd.iter().map(|(&fd, _)| fd);
            self.machine.destroy_forked_copy(&mut self.inner.reactor, registered, tears);
        }
    }

    /// Every source always has something: each has its turn.
    fn flood(&mut self, room: usize) -> Check {
        let was_calm = std::mem::replace(&mut self.calm, false);
        self.flooding = true;
        let flooded = self.flood_with(room);
        self.flooding = false;
        self.calm = was_calm;
        flooded
    }
}

/// The end.
impl<P: System> Run<'_, P> {
    /// Heals the machine, checks that nothing is undelivered, and destroys the reactor.
    fn end(mut self) -> Result<Report, Failure> {
        self.calm = true;
        let destroy_now = self.rng.percent(25);
        if destroy_now {
            self.check_buffers()?;
        } else {
            self.machine.heal();
            self.settle()?;
            self.take_down()?;
        }
        let Run { inner, machine, input, open, oracles, report, registrations, others, .. } = self;
        drop(ManuallyDrop::into_inner(inner));
        // The reactor holds no memory of the caller any more.
        drop(registrations);
        others.machine.run_scheduled();
        let (left, own) = (machine.open_descriptors(), open.len() + input.borrow().descriptors());
        if left != own && oracles.contains(&Oracle::Empty) {
            let message = format!("{left} descriptors are open, {own} of them the caller's");
            return Err(Failure { oracle: Oracle::Empty, message });
        }
        Ok(report)
    }

    fn settle(&mut self) -> Check {
        for at in 0..self.timers.len() {
            if self.timers[at].period_ns > 0 {
                self.cancel_timer(at as u32)?;
            }
        }
        // Where nothing reports whether there is input, each wait reports it.
        if self.console.is_always_due(P::COMPLETION) {
            self.remove_console()?;
        }
        for _ in 0..3_000 {
            self.post_reads()?;
            let stuck = self.wait(20, None)?;
            let unread = (0..self.machine.links()).any(|link| self.machine.link(link).unread > 0);
            for link in 0..self.machine.links() {
                self.others.peer_read(link, usize::MAX);
            }
            if stuck && !unread {
                return self.check_nothing_due(true);
            }
        }
        self.fail(Oracle::Liveness, || "it never becomes calm".into())
    }

    fn take_down(&mut self) -> Check {
        let registered: Vec<u32> = self.by_fd.keys().copied().collect();
        for fd in registered {
            self.remove(fd)?;
        }
        self.remove_console()?;
        let mut stuck = false;
        for _ in 0..=self.removed {
            stuck = stuck || self.wait(20, None)?;
        }
        self.check(Oracle::Empty, stuck, || "an event without a source".into())?;
        self.check_buffers()?;
        let stats = self.inner.stats();
        let left = (stats.sockets, stats.timers, stats.operations_in_flight, stats.queued_bytes);
        self.check(Oracle::Empty, left == (0, 0, 0, 0), || format!("left in the reactor: {left:?}"))
    }
}
