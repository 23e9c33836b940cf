//! A simulated kernel: seeded, on a virtual clock, and as unkind as the contract allows.
//!
//! It keeps raw pointers to the operations it was given, and writes data and status through them at arbitrary moments
//! between the submission and the packet. So the code above the contract is exercised as it is over a completion port,
//! and a memory checker (Miri, AddressSanitizer) detects any cell or buffer that was released too early.
//!
//! It simulates both styles. In completion style a receive is lent a buffer, or posted without one when the pool has
//! none to spare, and a send completes when all of it has been taken. In readiness style the packet takes a buffer from
//! the pool, and a send may be partial.
//!
//! In completion style its packets pass through a port, which also receives the packets of others: with their own key,
//! or with ours and a pointer to other memory, to the middle of one of our cells, or to a cell that is free again. The
//! same code as over a real port distinguishes them; see [`super::arrivals`].
//!
//! An operation is bound to the object to which its descriptor referred when it was submitted. Of a borrowed socket the
//! engine keeps only the number, so any use of one after its release, when it may be closed, is detected.

pub(crate) mod mutants;
pub(crate) mod world;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::alarm::Alarm;
use super::arrivals::{Arrivals, Key};
use super::operation::{OpKind, OpPtr, Operation, bytes_to_send};
use super::readiness::{BorrowedSocket, Readiness};
use super::{Close, Fault, FaultKind, Immediate, Kernel, Options, Outcome, Packet, Signal, Submission};
use crate::kernel::buffer_pool::BufferPool;
use crate::marks::{Mark, mark};
use mutants::{Mutant, mutant};
use world::{
    ABORTED, CANCELLED, Descriptor, NO_MEMORY, NOT_CONNECTED, NOT_OPEN, RESET, Readable, SHUT, SharedWorld,
    SimHandle, SimListener, SimSignal, SimStream,
};

pub(crate) struct Sim {
    world: SharedWorld,
    /// In the order in which they were submitted.
    pending: Vec<Pending>,
    /// Operations on links on which nothing happens: kept apart, so that a million of them cost a turn nothing.
    silent: Vec<Pending>,
    /// The polls that the system knows: an instance that a forked process has as well.
    polled: Rc<RefCell<Vec<Polled>>>,
    /// This is a forked process's copy of a kernel.
    forked: bool,
    /// This kernel is only torn down, without touching the instance.
    retiring: bool,
    /// It touches the instance all the same.
    tears: bool,
    /// The borrowed streams that are associated with this kernel for as long as they are open.
    associated: Vec<Descriptor>,
    /// Borrowed streams whose connection ended with bytes unsent.
    cut: Vec<Descriptor>,
    /// How many sources there have been.
    sources: u64,
    alarm: Alarm,
    /// When the timer that makes waits exact goes off.
    fires_at_ns: Option<u64>,
    signal: Arc<SimSignal>,
    /// Some addresses at which operations have been.
    over: [usize; 8],
    /// Memory of others, whose address their packets contain.
    others: Box<[u64; 32]>,
    calls: u64,
}

/// The system's part of an operation.
#[derive(Default)]
pub(crate) struct Header {
    status: u64,
    bytes: u64,
}

pub(crate) struct Source {
    number: u64,
    fd: u32,
    object: Descriptor,
    owned: OwnedObject,
}

/// The object that is closed with a source.
enum OwnedObject {
    Stream(SimStream),
    Listener(SimListener),
    Handle(SimHandle),
    Borrowed,
}

struct Polled {
    source: u64,
    fd: u32,
    object: Descriptor,
    interest: Readiness,
    /// Its source was released when the number had already been reused for another socket.
    stale: bool,
}

struct Pending {
    op: OpPtr<Sim>,
    kind: OpKind,
    source: u64,
    fd: u32,
    object: Descriptor,
    /// The interest of a poll.
    interest: Readiness,
    /// The address of a lent buffer, and its room; taken at the submission, as a real kernel does.
    target: Option<(*mut u8, usize)>,
    /// How much of a send has been taken.
    sent: usize,
    cancelled: bool,
    /// When it completes, once it can complete.
    ready_at_ns: Option<u64>,
    /// It has completed; this is its packet.
    packet: Option<Result<Outcome<Sim>, Fault>>,
}

impl Sim {
    pub(crate) fn over(world: &SharedWorld) -> Sim {
        Sim {
            world: Rc::clone(world),
            pending: Vec::new(),
            silent: Vec::new(),
            polled: Rc::default(),
            forked: false,
            retiring: false,
            tears: false,
            associated: Vec::new(),
            cut: Vec::new(),
            sources: 0,
            alarm: Alarm::default(),
            fires_at_ns: None,
            signal: Arc::clone(&world.borrow().signal),
            over: [0; 8],
            others: Box::new([0; 32]),
            calls: 0,
        }
    }

    /// A forked process's copy, which has the same instance. `tears`: dropping the copy changes the instance.
    pub(crate) fn fork(&self, tears: bool) -> Sim {
        let polled = Rc::clone(&self.polled);
        Sim { polled, forked: true, tears, ..Sim::over(&self.world) }
    }

    fn chance(&self, rate: impl Fn(&world::Faults) -> u8) -> bool {
        let mut world = self.world.borrow_mut();
        let rate = rate(&world.faults);
        world.rng.percent(rate)
    }

    /// Submits an operation, and decides whether it completes immediately.
    ///
    /// # Safety
    ///
    /// As for every submission.
    unsafe fn submit(&mut self, mut pending: Pending, pool: Option<&mut BufferPool>) -> Submission<Sim> {
        self.calls += 1;
        // The wait determines readiness.
        let at_once = pending.kind != OpKind::Poll || self.world.borrow().completion_style;
        let can = at_once && self.can_complete(&pending);
        if can && self.chance(|faults| faults.sync) {
            // SAFETY: the operation was just submitted and is ours.
            match unsafe { self.complete(&mut pending, pool) } {
                Some(result) if mutant(Mutant::DoubleSyncSuccess) && result.is_ok() => {
                    let bytes = match &result {
                        Ok(Outcome::Bytes(bytes)) => *bytes,
                        _ => 0,
                    };
                    pending.packet = Some(Ok(Outcome::Bytes(bytes)));
                    self.pending.push(pending);
                    return result.map_or_else(Submission::Failed, Submission::Done);
                }
                Some(Err(fault)) if self.fails_with_a_warning() => {
                    mark(Mark::WarningWithPacket);
                    pending.packet = Some(Err(fault));
                    // The packet comes, whatever the engine does about the failure.
                    self.pending.push(pending);
                    // The simulated system is set up without skip-on-success here.
                    if Immediate::Warning.sends_packet(false) {
                        return Submission::Pending;
                    }
                    return Submission::Failed(fault);
                }
                Some(result) => {
                    mark(Mark::SyncCompletion);
                    self.note_failure(&pending, &result);
                    return result.map_or_else(Submission::Failed, Submission::Done);
                }
                None => {}
            }
        } else if can && self.chance(|faults| faults.in_submit) {
            // SAFETY: as above.
            pending.packet = unsafe { self.complete(&mut pending, pool) };
            if pending.packet.is_some() {
                mark(Mark::CompletedInSubmit);
            }
        }
        if pending.packet.is_none() && self.world.borrow().is_silent(pending.object) {
            self.silent.push(pending);
            return Submission::Pending;
        }
        let at = if mutant(Mutant::ServeNewestFirst) { 0 } else { self.pending.len() };
        self.pending.insert(at, pending);
        Submission::Pending
    }

    fn fails_with_a_warning(&self) -> bool {
        self.world.borrow().completion_style && self.chance(|faults| faults.warning)
    }

    /// The engine is about to receive the result of an operation.
    fn note_failure(&self, pending: &Pending, result: &Result<Outcome<Sim>, Fault>) {
        // A cancelled one belongs to a registration that is removed.
        let Err(fault) = *result else { return };
        if pending.kind == OpKind::Send && !pending.cancelled && [SHUT, RESET].contains(&fault) {
            let mut world = self.world.borrow_mut();
            let now_ns = world.now_ns;
            let link = world.link_of(pending.object);
            let failed = if fault == SHUT { &mut link.send_failed } else { &mut link.send_reset };
            failed.get_or_insert((now_ns, link.inbound.total));
        }
    }

    fn add(&mut self, fd: u32, owned: OwnedObject) -> Source {
        self.calls += 1;
        self.sources += 1;
        let object = self.world.borrow().object(fd);
        if self.pending.iter().any(|pending| pending.fd == fd && pending.object != object) {
            mark(Mark::NumberReusedInFlight);
        }
        Source { number: self.sources, fd, object, owned }
    }

    /// Before a system call on a source: whether its descriptor still refers to it.
    fn is_open(&self, source: &Source) -> bool {
        let world = self.world.borrow();
        let open = world.object(source.fd) == source.object;
        assert!(
            open || world.closed_while_registered,
            "a system call was made on a descriptor that has been reused"
        );
        open
    }

    /// Whether the caller has closed the object of an operation.
    fn is_aborted(&self, pending: &Pending) -> bool {
        let world = self.world.borrow();
        world.closed_while_registered && !world.is_open(pending.object)
    }

    /// The system forgets a poll. A real one of the readiness style identifies it by the descriptor's number.
    fn forget(&mut self, source: &Source) {
        if self.retiring {
            return;
        }
        let world = self.world.borrow();
        let object = if world.completion_style { source.object } else { world.object(source.fd) };
        let mut polled = self.polled.borrow_mut();
        polled.retain(|polled| polled.fd != source.fd || polled.object != object);
        for polled in polled.iter_mut() {
            polled.stale |= polled.source == source.number;
        }
    }

    fn pending(&self, op: OpPtr<Sim>, kind: OpKind, source: &Source) -> Pending {
        let most = if kind == OpKind::Accept { Sim::ACCEPTS } else { 1 };
        let same = |pending: &&Pending| pending.source == source.number && pending.kind == kind;
        assert!(self.pending.iter().filter(same).count() < most, "one too many of {kind:?}");
        let (source, fd, object) = (source.number, source.fd, source.object);
        let (interest, target, sent) = (Readiness::NONE, None, 0);
        let (cancelled, ready_at_ns, packet) = (false, None, None);
        Pending { op, kind, source, fd, object, interest, target, sent, cancelled, ready_at_ns, packet }
    }

    fn can_complete(&self, pending: &Pending) -> bool {
        if pending.packet.is_some() {
            return true;
        }
        if pending.cancelled && !mutant(Mutant::CancelNothing) {
            return true;
        }
        if pending.kind == OpKind::Poll && !self.world.borrow().completion_style {
            let known = self.polled.borrow().iter().any(|polled| polled.source == pending.source);
            let world = self.world.borrow();
            let open = known && world.is_open(pending.object);
            return open && !world.polled(pending.object, pending.interest).is_empty();
        }
        if self.is_aborted(pending) {
            return pending.kind != OpKind::Poll || !pending.interest.is_empty();
        }
        let mut world = self.world.borrow_mut();
        match pending.kind {
            OpKind::Receive => !matches!(world.link_of(pending.object).readable(), Readable::Nothing),
            OpKind::Send => world.link_of(pending.object).writable(),
            OpKind::Accept => world.exhausted || !world.listener_of(pending.object).backlog.is_empty(),
            OpKind::Watch => world.signalled_of(pending.object),
            OpKind::Poll => !world.polled(pending.object, pending.interest).is_empty(),
        }
    }

    /// Performs the operation, writing through its pointers. `None`: it continues.
    ///
    /// # Safety
    ///
    /// The kernel owns the operation.
    unsafe fn complete(
        &mut self,
        pending: &mut Pending,
        pool: Option<&mut BufferPool>,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        if pending.cancelled && !mutant(Mutant::CancelNothing) && !self.chance(|faults| faults.late_success) {
            mark(Mark::CancelledAborted);
            // SAFETY: passed on.
            unsafe { self.write_header(pending.op, CANCELLED.code as u64, pending.sent as u64) };
            return Some(Err(CANCELLED));
        }
        let polls_by_readiness = pending.kind == OpKind::Poll && !self.world.borrow().completion_style;
        if self.is_aborted(pending) && !polls_by_readiness {
            // SAFETY: passed on.
            unsafe { self.write_header(pending.op, ABORTED.code as u64, pending.sent as u64) };
            return Some(Err(ABORTED));
        }
        let transfer = matches!(pending.kind, OpKind::Receive | OpKind::Send);
        if transfer && pending.sent == 0 && self.world.borrow_mut().no_memory(pending.kind) {
            mark(Mark::NoMemory);
            // SAFETY: passed on.
            unsafe { self.write_header(pending.op, NO_MEMORY.code as u64, 0) };
            return Some(Err(NO_MEMORY));
        }
        let result = match pending.kind {
            // SAFETY: passed on.
            OpKind::Receive => unsafe { self.complete_receive(pending, pool) },
            // SAFETY: passed on.
            OpKind::Send => unsafe { self.complete_send(pending) },
            OpKind::Accept => {
                let accepted = world::accept(&self.world, pending.object);
                accepted.map(|accepted| accepted.map(|(stream, peer)| Outcome::Accepted(stream, peer)))
            }
            OpKind::Watch => {
                let signalled = self.world.borrow().signalled_of(pending.object);
                signalled.then(|| {
                    mark(Mark::WatchSignalled);
                    Ok(Outcome::Ready)
                })
            }
            OpKind::Poll => {
                let ready = self.world.borrow().polled(pending.object, pending.interest);
                (!ready.is_empty()).then_some(Ok(Outcome::Polled(ready)))
            }
        };
        if pending.cancelled && !mutant(Mutant::CancelNothing) {
            if result.is_none() {
                mark(Mark::CancelledAborted);
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, CANCELLED.code as u64, pending.sent as u64) };
                return Some(Err(CANCELLED));
            }
            mark(Mark::CancelledSucceeded);
        }
        result
    }

    /// # Safety
    ///
    /// As for `complete`.
    unsafe fn complete_receive(
        &mut self,
        pending: &mut Pending,
        pool: Option<&mut BufferPool>,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        let readable = self.world.borrow_mut().link_of(pending.object).readable();
        let available = match readable {
            Readable::Nothing => return None,
            Readable::Bytes(available) => available,
            Readable::End => {
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, 0, 0) };
                return Some(Ok(Outcome::Bytes(0)));
            }
            Readable::Reset => {
                if let Some((target, room)) = pending.target {
                    mark(Mark::ErrorWithBytes);
                    // SAFETY: the buffer is lent, with that much room.
                    unsafe { target.write_bytes(0xEE, room) };
                }
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, RESET.code as u64, 0) };
                return Some(Err(RESET));
            }
        };
        if pending.target.is_none() {
            if self.world.borrow().completion_style {
                mark(Mark::ZeroByteReceive);
                // It was posted without a buffer. Now there is something to read, and the real receive is made.
                self.calls += 1;
                if mutant(Mutant::ZeroBytesIsEnd) {
                    return Some(Ok(Outcome::Bytes(0)));
                }
            }
            let mut buffer = pool.map(|pool| pool.take())?;
            pending.target = Some(buffer.as_target());
            // SAFETY: the cell is ours.
            unsafe { (*pending.op.as_ptr()).buffer = Some(buffer) };
        }
        let (target, room) = pending.target.expect("it was just set");
        let mut wanted = available.min(room);
        if wanted > 1 && self.chance(|faults| faults.partial) {
            mark(Mark::PartialReceive);
            wanted = 1 + self.world.borrow_mut().rng.below(wanted as u64 - 1) as usize;
        }
        let mut world = self.world.borrow_mut();
        let link = world.link_of(pending.object);
        if link.reset == Some(true) {
            mark(Mark::ResetKeptBytes);
        }
        for (at, byte) in link.inbound.bytes.drain(..wanted).enumerate() {
            // SAFETY: `wanted` bytes fit into the lent buffer.
            unsafe { target.add(at).write(byte) };
        }
        drop(world);
        // SAFETY: passed on; the bytes have been written to the buffer in the cell.
        unsafe {
            self.write_header(pending.op, 0, wanted as u64);
            if let Some(buffer) = &mut (*pending.op.as_ptr()).buffer {
                buffer.set_filled(wanted);
            }
        }
        Some(Ok(Outcome::Bytes(wanted)))
    }

    /// # Safety
    ///
    /// As for `complete`.
    unsafe fn complete_send(&mut self, pending: &mut Pending) -> Option<Result<Outcome<Sim>, Fault>> {
        // SAFETY: the cell and its buffer are ours, and no other code changes the bytes meanwhile. They are not in the
        // cell, whose header is written below.
        let bytes = unsafe { &*bytes_to_send(pending.op) };
        {
            let mut world = self.world.borrow_mut();
            world.largest_send = world.largest_send.max(bytes.len());
        }
        let left = &bytes[pending.sent..];
        let mut wanted = left.len();
        if wanted > 1 && self.chance(|faults| faults.partial) {
            mark(Mark::PartialSend);
            wanted = 1 + self.world.borrow_mut().rng.below(wanted as u64 - 1) as usize;
        }
        let sent = self.world.borrow_mut().link_of(pending.object).send(&left[..wanted]);
        let whole = self.world.borrow().completion_style;
        match sent {
            Ok(0) => None,
            Ok(sent) => {
                pending.sent += sent;
                // In completion style only a complete send is a success; the rest follows when there is room.
                if whole && pending.sent < bytes.len() && !pending.cancelled {
                    return None;
                }
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, 0, pending.sent as u64) };
                Some(Ok(Outcome::Bytes(pending.sent.min(bytes.len()))))
            }
            Err(fault) => {
                if pending.sent > 0 {
                    mark(Mark::ErrorWithBytes);
                }
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, fault.code as u64, pending.sent as u64) };
                Some(Err(fault))
            }
        }
    }

    /// Records the interest of a poll. Returns whether that is new to the system.
    fn register(&mut self, source: &Source, interest: Readiness) -> bool {
        if self.forked {
            return false;
        }
        let mut polled = self.polled.borrow_mut();
        let polled = polled.iter_mut().find(|polled| polled.source == source.number);
        // `None`: the caller has closed the socket, or it was removed by its number.
        polled.is_some_and(|polled| std::mem::replace(&mut polled.interest, interest) != interest)
    }

    /// # Safety
    ///
    /// The kernel owns the operation.
    unsafe fn write_header(&self, op: OpPtr<Sim>, status: u64, bytes: u64) {
        // SAFETY: the cell is ours.
        unsafe {
            (*op.as_ptr()).header.status = status;
            (*op.as_ptr()).header.bytes = bytes;
        }
    }

    /// The system may write to the memory that it was lent at any time.
    fn scribble(&mut self) {
        for at in 0..self.pending.len() {
            if self.pending[at].packet.is_some() || !self.chance(|faults| faults.early_write) {
                continue;
            }
            // SAFETY: a pending operation's memory is ours.
            unsafe {
                self.write_header(self.pending[at].op, 0x103, 0);
                if let Some((target, room)) = self.pending[at].target {
                    mark(Mark::EarlyWrite);
                    target.write_bytes(0xAA, room);
                }
            }
        }
    }

    /// The packet of an operation comes out of the port, and is recognised.
    fn arrive(&mut self, pending: &Pending, arrivals: &mut Arrivals<'_, Sim>) -> OpPtr<Sim> {
        if !self.world.borrow().completion_style {
            return pending.op;
        }
        let address = pending.op.addr().get();
        if !self.over.contains(&address) {
            self.over.rotate_right(1);
            self.over[0] = address;
        }
        let arrived = arrivals.recognise(key_for(pending.kind).value(), address, 0);
        arrived.expect("a packet came for an operation that is not pending").0
    }

    /// An operation that others began completes to our port.
    fn others_arrive(&mut self, arrivals: &mut Arrivals<'_, Sim>) {
        let (choice, number) = {
            let rng = &mut self.world.borrow_mut().rng;
            (rng.below(5), rng.below(1 << 16) as usize)
        };
        let somebodys = (&raw const self.others[number % self.others.len()]).addr();
        let pending = (!self.pending.is_empty()).then(|| &self.pending[number % self.pending.len()]);
        let (key, address) = match (choice, pending) {
            // Whatever the pointer is, a packet with such a key is not ours.
            (0, pending) => {
                mark(Mark::ForeignCompletion);
                (number, pending.map_or(somebodys, |pending| pending.op.addr().get()))
            }
            (1, _) => {
                let over = self.over[number % self.over.len()];
                if over == 0 || self.pending.iter().any(|pending| pending.op.addr().get() == over) {
                    return;
                }
                mark(Mark::StalePacket);
                (Key::Operation.value(), over)
            }
            (2, Some(pending)) => {
                mark(Mark::UnknownPacket);
                (
                    key_for(pending.kind).value(),
                    pending.op.addr().get() + 1 + number % (size_of::<Operation<Sim>>() - 1),
                )
            }
            // A key of the other kind.
            (3, Some(pending)) => {
                mark(Mark::UnknownPacket);
                let other = if key_for(pending.kind) == Key::Ready { Key::Operation } else { Key::Ready };
                (other.value(), pending.op.addr().get())
            }
            _ => {
                mark(Mark::UnknownPacket);
                (Key::Operation.value(), if number % 4 == 0 { 0 } else { somebodys })
            }
        };
        let taken = arrivals.recognise(key, address, number as u32);
        assert!(taken.is_none(), "a foreign packet was recognised as an operation's");
    }

    /// Completes every operation that can complete and is due, and takes out up to `max` packets. Returns when the next
    /// will be due.
    fn collect(
        &mut self,
        packets: &mut Vec<Packet<Sim>>,
        max: usize,
        pool: &mut BufferPool,
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
                at += 1;
                continue;
            }
            let due_ns = match self.pending[at].ready_at_ns {
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
            };
            if due_ns > now_ns {
                next_ns = Some(next_ns.map_or(due_ns, |next| next.min(due_ns)));
                at += 1;
                continue;
            }
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
                }
                Some(result) => {
                    self.note_failure(&pending, &result);
                    let op = self.arrive(&pending, arrivals);
                    packets.push(Packet { op, result });
                }
                None => {
                    // A send that continues when there is room again, or now if it took less than there was.
                    pending.ready_at_ns = None;
                    if self.can_complete(&pending) {
                        next_ns = Some(now_ns);
                    }
                    self.pending.insert(at, pending);
                    at += 1;
                }
            }
        }
        next_ns
    }
}

impl Kernel for Sim {
    type Header = Header;
    type Source = Source;
    type Stream = SimStream;
    type Listener = SimListener;
    type Handle = SimHandle;

    const ACCEPTS: usize = 3;

    // Under Miri a separate allocation for each, so that it detects any use after the operation has ended.
    const CELLS_PER_BLOCK: usize = if cfg!(miri) { 1 } else { 64 };

    fn new(_options: Options) -> Result<Self, Fault> {
        unreachable!("a simulated kernel is made over a world")
    }

    fn signal(&self) -> Box<dyn Signal> {
        Box::new(Waking(Arc::clone(&self.signal)))
    }

    fn now_ns(&self) -> u64 {
        self.world.borrow().now_ns
    }

    fn calls(&self) -> u64 {
        self.calls
    }

    fn add_stream(&mut self, stream: SimStream) -> Result<Source, (Fault, SimStream)> {
        Ok(self.add(stream.fd, OwnedObject::Stream(stream)))
    }

    fn add_listener(&mut self, listener: SimListener) -> Result<Source, (Fault, SimListener)> {
        Ok(self.add(listener.fd, OwnedObject::Listener(listener)))
    }

    fn add_readiness_listener(&mut self, listener: SimListener) -> Result<Source, (Fault, SimListener)> {
        Ok(self.add(listener.fd, OwnedObject::Listener(listener)))
    }

    fn add_handle(&mut self, handle: SimHandle) -> Result<Source, Fault> {
        Ok(self.add(handle.fd, OwnedObject::Handle(handle)))
    }

    unsafe fn receive(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        pool: &mut BufferPool,
    ) -> Submission<Self> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let mut pending = self.pending(op, OpKind::Receive, source);
        if self.world.borrow().completion_style {
            if let Some(mut buffer) = pool.take_in_advance() {
                pending.target = Some(buffer.as_target());
                // SAFETY: the operation was just handed to us.
                unsafe { (*op.as_ptr()).buffer = Some(buffer) };
            }
        }
        // SAFETY: passed on.
        unsafe { self.submit(pending, Some(pool)) }
    }

    unsafe fn send(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let pending = self.pending(op, OpKind::Send, source);
        // SAFETY: passed on.
        unsafe { self.submit(pending, None) }
    }

    unsafe fn accept(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let pending = self.pending(op, OpKind::Accept, source);
        // SAFETY: passed on.
        unsafe { self.submit(pending, None) }
    }

    unsafe fn watch(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let pending = self.pending(op, OpKind::Watch, source);
        // SAFETY: passed on.
        unsafe { self.submit(pending, None) }
    }

    fn add_borrowed(&mut self, socket: BorrowedSocket, interest: Readiness) -> Result<Source, Fault> {
        let fd = socket.raw as u32;
        let object = self.world.borrow().object(fd);
        if object == Descriptor::Free {
            return Err(NOT_OPEN);
        }
        let known = |polled: &&Polled| polled.fd == fd && polled.object == object;
        let known = self.polled.borrow().iter().find(known).map(|polled| (polled.source, polled.stale));
        if self.forked {
            let (number, _) = known.ok_or(NOT_OPEN)?;
            return Ok(Source { number, fd, object, owned: OwnedObject::Borrowed });
        }
        match known {
            Some((_, false)) => return Err(Fault { kind: FaultKind::AlreadyRegistered, code: 17 }),
            Some((stale, true)) => {
                self.polled.borrow_mut().retain(|polled| polled.source != stale);
            }
            None => {}
        }
        let source = self.add(fd, OwnedObject::Borrowed);
        let polled = Polled { source: source.number, fd, object, interest, stale: false };
        self.polled.borrow_mut().push(polled);
        Ok(source)
    }

    fn is_stream(&self, socket: BorrowedSocket) -> Result<bool, Fault> {
        match self.world.borrow().object(socket.raw as u32) {
            Descriptor::Link(_) => Ok(true),
            Descriptor::Listener(_) => Ok(false),
            _ => Err(Fault { kind: FaultKind::Invalid, code: 88 }),
        }
    }

    fn add_borrowed_stream(&mut self, socket: BorrowedSocket, again: bool) -> Result<Source, Fault> {
        let source = self.add(socket.raw as u32, OwnedObject::Borrowed);
        if self.associated.contains(&source.object) {
            return match again {
                true if self.cut.contains(&source.object) => Err(Fault { kind: FaultKind::Cut, code: 0 }),
                true => Ok(source),
                false => Err(Fault { kind: FaultKind::AlreadyRegistered, code: 87 }),
            };
        }
        self.associated.push(source.object);
        Ok(source)
    }

    unsafe fn poll(&mut self, source: &Source, op: OpPtr<Self>, interest: Readiness) -> Submission<Self> {
        // A poll without an interest needs no call, nor does one that the readiness style knows already: nothing can
        // fail.
        let known = |polled: &Polled| polled.source == source.number && polled.interest == interest;
        let known = !self.world.borrow().completion_style && self.polled.borrow().iter().any(known);
        if !self.is_open(source) && !known && !interest.is_empty() {
            return Submission::Failed(NOT_OPEN);
        }
        let mut pending = self.pending(op, OpKind::Poll, source);
        pending.interest = interest;
        let calls = self.calls + u64::from(self.register(source, interest));
        // SAFETY: passed on.
        let submission = unsafe { self.submit(pending, None) };
        self.calls = calls;
        submission
    }

    fn recheck(&mut self, source: &Source, interest: Readiness) -> Readiness {
        self.calls += 1;
        if !self.is_open(source) {
            return Readiness::NONE;
        }
        self.world.borrow().polled(source.object, interest)
    }

    fn set_interest(&mut self, source: &Source, interest: Readiness) -> Result<(), Fault> {
        if !self.is_open(source) {
            return Err(NOT_OPEN);
        }
        self.calls += u64::from(self.register(source, interest));
        // One that has completed is checked again when its packet comes out.
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.source == source.number) {
            (pending.interest, pending.ready_at_ns) = (interest, None);
        }
        Ok(())
    }

    unsafe fn cancel(&mut self, source: &Source, op: OpPtr<Self>) {
        self.is_open(source);
        self.calls += 1;
        if let Some(at) = self.silent.iter().position(|pending| pending.op == op) {
            let pending = self.silent.swap_remove(at);
            self.pending.push(pending);
        }
        let Some(at) = self.pending.iter().position(|pending| pending.op == op) else { return };
        self.pending[at].cancelled = true;
        if matches!(source.owned, OwnedObject::Borrowed) {
            // The socket may be closed when this returns, so the result of the operation is determined now.
            let mut pending = self.pending.remove(at);
            if pending.kind == OpKind::Poll {
                self.forget(source);
            }
            if pending.packet.is_none() {
                // SAFETY: it is pending, so its memory is ours.
                pending.packet = unsafe { self.complete(&mut pending, None) };
            }
            self.pending.insert(at, pending);
        }
    }

    fn retire(&mut self) {
        self.retiring = !self.tears;
    }

    fn accept_now(&mut self, source: &Source) -> Result<Option<(SimStream, SocketAddr)>, Fault> {
        self.calls += 1;
        world::accept(&self.world, source.object).transpose()
    }

    fn shutdown_write(&mut self, source: &Source) -> Result<(), Fault> {
        if !self.is_open(source) {
            return Err(NOT_OPEN);
        }
        self.calls += 1;
        let mut world = self.world.borrow_mut();
        let link = world.link_of(source.object);
        if link.reset.is_some() {
            return Err(NOT_CONNECTED);
        }
        link.outbound.fin = true;
        Ok(())
    }

    fn unread(&mut self, source: &Source) -> usize {
        if !self.is_open(source) {
            return 0;
        }
        self.calls += 1;
        self.world.borrow_mut().link_of(source.object).inbound.bytes.len()
    }

    fn expect_end(&mut self, deadline_ns: u64) {
        if !self.world.borrow().is_coarse() {
            return;
        }
        let now_ns = self.now_ns();
        if let Some(after_ns) = self.alarm.before_wait(now_ns, deadline_ns) {
            self.calls += 1;
            self.fires_at_ns = Some(now_ns + after_ns);
        }
    }

    fn note_cut(&mut self, source: &Source) {
        self.cut.push(source.object);
    }

    fn close(&mut self, source: Source, how: Close) {
        self.calls += 1;
        let number = source.number;
        assert!(
            mutant(Mutant::RecycleAtCancel)
                || self.pending.iter().chain(&self.silent).all(|pending| pending.source != number),
            "a source was closed with operations pending"
        );
        if !self.retiring {
            let world = self.world.borrow();
            let keeps =
                |polled: &Polled| polled.stale && !world.completion_style && world.is_open(polled.object);
            self.polled.borrow_mut().retain(|polled| polled.source != number || keeps(polled));
        }
        let borrowed = matches!(source.owned, OwnedObject::Borrowed);
        assert_eq!(how == Close::Release, borrowed, "borrowed sources are released, and no others");
        match source.owned {
            OwnedObject::Stream(stream) => stream.close(how),
            OwnedObject::Listener(listener) => drop(listener),
            OwnedObject::Handle(handle) => drop(handle),
            OwnedObject::Borrowed => {}
        }
    }

    unsafe fn wait(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &mut BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault> {
        let waited = self.wait_for(packets, max, timeout_ns, pool, arrivals);
        let mut world = self.world.borrow_mut();
        world.polls += 1;
        if world.polls > 10_000 {
            // A wait that spins would continue indefinitely; this ends it, and the model reports it.
            return Err(Fault { kind: FaultKind::Other, code: 110 });
        }
        world.idle_polls = if timeout_ns == Some(0) && packets.is_empty() { world.idle_polls + 1 } else { 0 };
        world.most_idle_polls = world.most_idle_polls.max(world.idle_polls);
        waited
    }
}

impl Sim {
    fn takes_signal(&self) -> bool {
        !self.retiring && self.signal.take()
    }

    /// How much room anything takes that is not an operation's packet: some, if it comes out before the packets that
    /// are there.
    fn taken_by(&self, something: bool) -> usize {
        usize::from(something && self.world.borrow_mut().is_first())
    }

    /// Completions that are due and were not delivered: operations that are not cancelled, by their objects. No sends.
    pub(crate) fn left_behind(&self) -> impl Iterator<Item = (OpKind, Descriptor)> {
        let no_delay = self.world.borrow().faults.delay == 0;
        let now_ns = self.now_ns();
        let left = self.pending.iter().filter(move |pending| {
            let due = no_delay || pending.ready_at_ns.is_none_or(|due_ns| due_ns <= now_ns);
            due && pending.kind != OpKind::Send && !pending.cancelled && self.can_complete(pending)
        });
        left.map(|pending| (pending.kind, pending.object))
    }

    fn wait_for(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &mut BufferPool,
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
        let deadline_ns = timeout_ns.map(|timeout| self.now_ns().saturating_add(timeout));
        let coarse = self.world.borrow().is_coarse();
        let deadline_ns = match deadline_ns {
            Some(exact_ns) if coarse => {
                Some(exact_ns.checked_next_multiple_of(world::TICK_NS).unwrap_or(exact_ns))
            }
            deadline_ns => deadline_ns,
        };
        loop {
            let next_ns = self.collect(packets, max, pool, arrivals);
            if !packets.is_empty() || deadline_ns.is_some_and(|deadline| self.now_ns() >= deadline) {
                return Ok(packets.len() >= max);
            }
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
                return Ok(false);
            }
            world.now_ns = world.now_ns.max(until_ns);
            let now_ns = world.now_ns;
            drop(world);
            if self.fires_at_ns.take_if(|fires_at_ns| *fires_at_ns <= now_ns).is_some() {
                mark(Mark::AlarmFired);
                self.alarm.fired(now_ns);
                let room = max - self.taken_by(true);
                self.collect(packets, room, pool, arrivals);
                return Ok(packets.len() >= room);
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
                    let room = max - self.taken_by(signalled);
                    self.collect(packets, room, pool, arrivals);
                    return Ok(packets.len() >= room);
                }
            }
        }
    }
}

fn key_for(kind: OpKind) -> Key {
    match kind {
        OpKind::Receive | OpKind::Send | OpKind::Accept => Key::Operation,
        OpKind::Watch | OpKind::Poll => Key::Ready,
    }
}

struct Waking(Arc<SimSignal>);

impl Signal for Waking {
    fn notify(&self) -> Result<(), Fault> {
        self.0.notify()
    }
}
