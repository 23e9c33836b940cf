//! The wait: time passes, other threads act, and packets come out.

use super::super::arrivals::Arrivals;
use super::super::{Fault, FaultKind, Kernel as _, Outcome, Packet};
use super::Sim;
use super::mutants::{Mutant, mutant};
use super::world;
use crate::kernel::buffer_pool::BufferPool;
use crate::marks::{Mark, mark};

/// Why a sleep has ended.
enum Woken {
    /// Something is due, or the time is up.
    InTime,
    /// Without a reason.
    Early,
    /// By something that ends the wait, and that comes as a packet or not.
    By { packet: bool },
}

/// What became of an operation that was due.
enum Took {
    Packet(Packet<Sim>),
    /// A deliberate bug.
    Dropped,
    /// It continues, and can complete `now` or later.
    Continues {
        now: bool,
    },
}

impl Sim {
    /// One wait of the kernel: see [`Kernel::wait`].
    pub(super) fn wait_for(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault> {
        self.calls += 1;
        self.scribble();
        self.world.borrow_mut().now_ns += 1_000;
        if self.pending.len() > 1 && self.chance(|faults| faults.reorder) {
            mark(Mark::Reordered);
            let at = self.world.borrow_mut().rng.below(self.pending.len() as u64 - 1) as usize;
            self.pending.swap(at, at + 1);
        }
        world::run_scheduled(&self.world);
        let others = self.world.borrow().completion_style && self.chance(|faults| faults.foreign);
        if others {
            self.others_arrive(arrivals);
        }
        let interrupted = std::mem::take(&mut self.world.borrow_mut().interrupted);
        let signalled = self.takes_signal();
        let room = max.saturating_sub(self.taken_by(signalled) + self.taken_by(others));
        if signalled || interrupted || others || timeout_ns == Some(0) {
            self.collect(packets, room, pool, arrivals);
            return Ok(packets.len() >= room);
        }
        if self.chance(|faults| faults.spurious) {
            mark(Mark::SpuriousReturn);
            return Ok(false);
        }
        let deadline_ns = timeout_ns.map(|timeout_ns| self.deadline_ns(timeout_ns));
        loop {
            let next_ns = self.collect(packets, max, pool, arrivals);
            if !packets.is_empty() || deadline_ns.is_some_and(|deadline| self.now_ns() >= deadline) {
                return Ok(packets.len() >= max);
            }
            match self.sleep(next_ns, deadline_ns)? {
                Woken::InTime => {}
                Woken::Early => return Ok(false),
                Woken::By { packet } => {
                    let room = max - self.taken_by(packet);
                    self.collect(packets, room, pool, arrivals);
                    return Ok(packets.len() >= room);
                }
            }
        }
    }

    /// When a wait with this timeout ends: at a tick of the clock, if it is coarse.
    fn deadline_ns(&self, timeout_ns: u64) -> u64 {
        let exact_ns = self.now_ns().saturating_add(timeout_ns);
        match self.world.borrow().is_coarse() {
            true => exact_ns.checked_next_multiple_of(world::TICK_NS).unwrap_or(exact_ns),
            false => exact_ns,
        }
    }

    /// Advances the clock to the next thing that happens.
    fn sleep(&mut self, next_ns: Option<u64>, deadline_ns: Option<u64>) -> Result<Woken, Fault> {
        let coarse = self.world.borrow().is_coarse();
        let scheduled_ns = self.world.borrow().next_scheduled_ns();
        let Some(until_ns) =
            [next_ns, deadline_ns, scheduled_ns, self.fires_at_ns].into_iter().flatten().min()
        else {
            self.world.borrow_mut().stuck = true;
            return Err(Fault { kind: FaultKind::Other, code: 35 });
        };
        let early = self.chance(|faults| faults.early_return);
        let mut world = self.world.borrow_mut();
        if early && until_ns > world.now_ns + 1 {
            mark(Mark::EarlyReturn);
            let gap = until_ns - world.now_ns;
            world.now_ns += world.rng.below(gap);
            return Ok(Woken::Early);
        }
        world.now_ns = world.now_ns.max(until_ns);
        let now_ns = world.now_ns;
        drop(world);
        if self.fires_at_ns.take_if(|fires_at_ns| *fires_at_ns <= now_ns).is_some() {
            mark(Mark::AlarmFired);
            self.alarm.fired(now_ns);
            return Ok(Woken::By { packet: true });
        }
        if coarse && deadline_ns == Some(until_ns) {
            mark(Mark::CoarseWait);
        }
        if scheduled_ns == Some(until_ns) {
            mark(Mark::ActedDuringWait);
            world::run_scheduled(&self.world);
            let interrupted = std::mem::take(&mut self.world.borrow_mut().interrupted);
            let signalled = self.takes_signal();
            if signalled || interrupted {
                return Ok(Woken::By { packet: signalled });
            }
        }
        Ok(Woken::InTime)
    }

    fn takes_signal(&self) -> bool {
        !self.retiring && self.signal.take()
    }

    /// How much room anything takes that is not an operation's packet: some, if it comes out before the packets that
    /// are there.
    fn taken_by(&self, something: bool) -> usize {
        usize::from(something && self.world.borrow_mut().is_first())
    }

    /// Completes every operation that can complete and is due, and takes out up to `max` packets. Returns when the next
    /// will be due.
    fn collect(
        &mut self,
        packets: &mut Vec<Packet<Sim>>,
        max: usize,
        pool: &BufferPool,
        arrivals: &mut Arrivals<'_, Sim>,
    ) -> Option<u64> {
        let now_ns = self.now_ns();
        let mut next_ns: Option<u64> = None;
        let mut at = 0;
        while at < self.pending.len() {
            if packets.len() >= max {
                return Some(now_ns);
            }
            if !self.can_complete(&self.pending[at]) {
                if let Some(due_ns) = self.answer_due_ns(&self.pending[at]) {
                    next_ns = Some(next_ns.map_or(due_ns, |next| next.min(due_ns)));
                }
                at += 1;
                continue;
            }
            let due_ns = self.due_ns(at, now_ns);
            if due_ns > now_ns {
                next_ns = Some(next_ns.map_or(due_ns, |next| next.min(due_ns)));
                at += 1;
                continue;
            }
            match self.take_packet(at, pool, arrivals) {
                Took::Packet(packet) => packets.push(packet),
                Took::Dropped => {}
                Took::Continues { now } => {
                    if now {
                        next_ns = Some(now_ns);
                    }
                    at += 1;
                }
            }
        }
        next_ns
    }

    /// When an operation that can complete is due, on a clock that reads `now_ns`.
    fn due_ns(&mut self, at: usize, now_ns: u64) -> u64 {
        match self.pending[at].ready_at_ns {
            // On a machine that has been healed no delay remains.
            Some(_) if self.world.borrow().faults.delay == 0 => now_ns,
            Some(due_ns) => due_ns,
            None => {
                let mut due_ns = now_ns;
                if self.chance(|faults| faults.delay) {
                    mark(Mark::DelayedCompletion);
                    due_ns += self.world.borrow_mut().rng.below(5_000_000);
                }
                self.pending[at].ready_at_ns = Some(due_ns);
                due_ns
            }
        }
    }

    /// Completes an operation, and takes its packet out.
    fn take_packet(&mut self, at: usize, pool: &BufferPool, arrivals: &mut Arrivals<'_, Sim>) -> Took {
        let mut pending = self.pending.remove(at);
        // A poll's packet reports the state at the time when it comes out.
        let packet = pending.packet.take_if(|packet| !matches!(packet, Ok(Outcome::Polled(_))));
        pending.packet = None;
        let result = match packet {
            Some(result) => Some(result),
            // SAFETY: it is pending, so its memory is ours.
            None => unsafe { self.complete(&mut pending, Some(pool)) },
        };
        match result {
            Some(Err(fault)) if fault.kind == FaultKind::Cancelled && mutant(Mutant::DropFinalPacket) => {
                Took::Dropped
            }
            Some(result) => {
                self.note_failure(&pending, &result);
                let op = self.arrive(&pending, arrivals);
                Took::Packet(Packet { op, result })
            }
            None => {
                // A send that continues when there is room again, or now if it took less than there was.
                pending.ready_at_ns = None;
                let now = self.can_complete(&pending);
                self.pending.insert(at, pending);
                Took::Continues { now }
            }
        }
    }
}
