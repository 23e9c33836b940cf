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

mod complete;
mod datagrams;
mod dial;
pub(crate) mod files;
pub(crate) mod mutants;
pub(crate) mod names;
mod pending;
mod polled;
mod port;
pub(crate) mod rng;
mod submit;
mod transmit;
mod wait;
mod workers;
pub(crate) mod world;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::alarm::Alarm;
use super::arrivals::Arrivals;
use super::lent::Lent;
use super::operation::{OpKind, OpPtr};
use super::readiness::{BorrowedSocket, Readiness};
use super::{Close, Direct, Fault, FaultKind, Kernel, Options, Packet, Signal, Submission};
use crate::address::Address;
use crate::kernel::buffer_pool::BufferPool;
use crate::kernel::files::FileJob;
use crate::kernel::names::Lookup;
use crate::kernel::pool::Workers;
use crate::marks::{Mark, mark};
use files::SimFile;
use mutants::{Mutant, mutant};
use pending::{Header, Pending};
use polled::Polled;
use workers::SimWorkers;
use world::Stage;
use world::{
    Descriptor, NOT_CONNECTED, NOT_OPEN, SharedWorld, SimHandle, SimListener, SimSignal, SimStream, SimUdp,
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
    Udp(SimUdp),
    Borrowed,
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
}

impl Kernel for Sim {
    type Header = Header;
    type Source = Source;
    type Stream = SimStream;
    type Listener = SimListener;
    type Handle = SimHandle;
    type Udp = SimUdp;
    type File = SimFile;

    const ACCEPTS: usize = 3;

    const DATAGRAMS: usize = 3;

    // Under Miri a separate allocation for each, so that it detects any use after the operation has ended.
    const CELLS_PER_BLOCK: usize = if cfg!(miri) { 1 } else { 64 };

    const TIMED_OUT: Fault = world::TIMED_OUT;
    const REFUSED: Fault = world::REFUSED;

    fn new(_options: Options) -> Result<Self, Fault> {
        unreachable!("a simulated kernel is made over a world")
    }

    fn name_workers(&self) -> Box<dyn Workers<Lookup>> {
        Box::new(SimWorkers(Rc::downgrade(&self.world)))
    }

    fn signal(&self) -> Box<dyn Signal> {
        Box::new(Waking(Arc::clone(&self.signal)))
    }

    fn file_workers(&self) -> Box<dyn Workers<FileJob<SimFile>>> {
        Box::new(SimWorkers(Rc::downgrade(&self.world)))
    }

    fn now_ns(&self) -> u64 {
        self.world.borrow().now_ns
    }

    fn calls(&self) -> u64 {
        self.calls
    }

    /// A socket belongs to a completion port for life: one that was released is not taken again.
    fn add_stream(&mut self, stream: SimStream) -> Result<Source, (Fault, SimStream)> {
        let object = self.world.borrow().object(stream.fd);
        if self.associated.contains(&object) {
            self.calls += 1;
            return Err((Fault { kind: FaultKind::AlreadyRegistered, code: 87 }, stream));
        }
        Ok(self.add(stream.fd, OwnedObject::Stream(stream)))
    }

    fn add_dial(&mut self, address: &Address, prepared: Option<SimStream>) -> Result<Source, Fault> {
        self.open_dial(address, prepared)
    }

    unsafe fn connect(&mut self, source: &Source, op: OpPtr<Self>, _address: &Address) -> Submission<Self> {
        // SAFETY: passed on.
        unsafe { self.begin_connect(source, op) }
    }

    fn finish_connect(&mut self, source: &Source, _peer: &Address) -> Result<(Address, Address), Fault> {
        self.end_connect(source)
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

    fn add_udp(&mut self, socket: SimUdp) -> Result<Source, (Fault, SimUdp)> {
        Ok(self.add(socket.fd, OwnedObject::Udp(socket)))
    }

    unsafe fn receive_from(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        pool: &BufferPool,
    ) -> Submission<Self> {
        // SAFETY: passed on.
        unsafe { self.submit_receive_from(source, op, pool) }
    }

    unsafe fn send_to(&mut self, source: &Source, op: OpPtr<Self>, to: SocketAddr) -> Submission<Self> {
        // SAFETY: passed on.
        unsafe { self.submit_send_to(source, op, to) }
    }

    fn udp<'a>(&'a mut self, source: &'a Source) -> &'a SimUdp {
        self.calls += 1;
        let OwnedObject::Udp(socket) = &source.owned else {
            unreachable!("it was added as a datagram socket")
        };
        socket
    }

    unsafe fn receive(&mut self, source: &Source, op: OpPtr<Self>, pool: &BufferPool) -> Submission<Self> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let mut pending = self.pending(op, OpKind::Receive, source);
        if self.world.borrow().completion_style {
            if let Some(mut buffer) = pool.take_in_advance() {
                pending.target = Some(buffer.as_target());
                // SAFETY: the operation was just handed to us.
                unsafe { (*op.as_ptr()).lent = Some(Lent::Buffer(buffer)) };
            }
        }
        // SAFETY: passed on.
        unsafe { self.submit(pending, Some(pool)) }
    }

    fn try_send(&mut self, source: &Source, bytes: &[u8]) -> Option<Result<usize, Fault>> {
        self.send_directly(source, bytes)
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
        self.add_polled(socket, interest)
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

    fn is_same_socket(&self, source: &Source) -> Option<bool> {
        Some(self.world.borrow().object(source.fd) == source.object)
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
        if link.reset.is_some() || link.stage != Stage::Connected {
            return Err(NOT_CONNECTED);
        }
        link.outbound.fin = true;
        Ok(())
    }

    fn stream<'a>(&'a mut self, source: &'a Source) -> &'a SimStream {
        self.calls += 1;
        let OwnedObject::Stream(stream) = &source.owned else { unreachable!("it was added as a stream") };
        stream
    }

    fn release(&mut self, source: Source) -> SimStream {
        self.calls += 1;
        let number = source.number;
        let pending = self.pending.iter().chain(&self.silent).any(|pending| pending.source == number);
        assert!(!pending, "a stream was released with operations pending");
        let OwnedObject::Stream(stream) = source.owned else { unreachable!("only streams are released") };
        if self.world.borrow().completion_style {
            self.associated.push(source.object);
        }
        stream
    }

    fn send_file_now(&mut self, source: &Source, file: &SimFile, offset: u64, count: usize) -> Direct {
        let transmits = self.world.borrow().completion_style;
        if !self.is_open(source) || transmits || self.world.borrow_mut().files.percent(40) {
            return Direct::No;
        }
        self.calls += 1;
        let Some(bytes) = file.read_directly(offset, count) else { return Direct::No };
        match self.world.borrow_mut().link_of(source.object).send(&bytes) {
            Ok(0) => Direct::Full,
            Ok(sent) => {
                mark(Mark::FileSentDirectly);
                Direct::Sent(sent)
            }
            Err(_) => Direct::No,
        }
    }

    fn most_transmits(&self) -> usize {
        let world = self.world.borrow();
        if world.completion_style { world.most_transmits } else { 0 }
    }

    unsafe fn transmit(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        file: &SimFile,
        offset: u64,
        count: u32,
    ) -> Submission<Self> {
        // SAFETY: passed on.
        unsafe { self.submit_transmit(source, op, file, offset, count) }
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
            OwnedObject::Udp(socket) => drop(socket),
            OwnedObject::Borrowed => {}
        }
    }

    unsafe fn wait(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault> {
        let waited = self.wait_for(packets, max, timeout_ns, pool, arrivals);
        let mut world = self.world.borrow_mut();
        world.waits += 1;
        if world.waits > 10_000 {
            // A wait that spins would continue indefinitely; this ends it, and the model reports it.
            return Err(Fault { kind: FaultKind::Other, code: 110 });
        }
        world.idle_waits = if timeout_ns == Some(0) && packets.is_empty() { world.idle_waits + 1 } else { 0 };
        world.most_idle_waits = world.most_idle_waits.max(world.idle_waits);
        waited
    }
}

struct Waking(Arc<SimSignal>);

impl Signal for Waking {
    fn notify(&self) -> Result<(), Fault> {
        self.0.notify()
    }
}
