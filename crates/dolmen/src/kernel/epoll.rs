//! Linux: completions made from epoll's readiness.
//!
//! Every socket is registered once, edge-triggered, for both directions; after that it needs no `epoll_ctl`. Each
//! source records what the edges have reported (`readable`, `writable`), so that an operation is only tried when it can
//! make progress, and a message costs one `recv` and one `send` in addition to the wait.
//!
//! A receive that filled less than its buffer has emptied the socket, and whatever arrives next makes an edge: no
//! second `recv` is spent on EAGAIN. That holds for TCP with two exceptions, both reported by the wait: a hang-up, and
//! urgent data. `epoll/socket.rs` has the proof.
//!
//! Sources with an operation that can make progress wait in one queue, `ready`, and are served in its order. A source
//! gets one receive a turn, so the source of a flooding peer moves to the end of the queue each time.
//!
//! Sockets stay in the blocking mode that they had: `MSG_DONTWAIT` makes each call non-blocking and saves the `fcntl`.
//!
//! Borrowed sockets are the exception to all of the above: they are level-triggered, registered for the caller's
//! interest, and reported instead of read. They, too, are registered once, and a poll with the same interest as the
//! last one makes no call. Epoll refuses files, because they are always ready; they are reported as ready.
//!
//! Epoll registers an open file, and it stays registered while any process has it open. So epoll continues to report a
//! socket that is closed here and still open in a child process, and no descriptor is left by which to remove it. At
//! the first such report the kernel moves everything to a new epoll instance, in which only our sources are registered.
//!
//! A forked process has the same epoll instance and the same eventfd, not copies. Any change to them would affect the
//! other process: it would remove that process's registrations, or consume the edge of its wake. So a copy touches
//! neither. The first method that needs them creates new ones and registers everything with those; the new eventfd
//! takes the number of the old one, which wakers hold. A copy that is only dropped makes no call except close(2).
//!
//! Manual pages: epoll(7), epoll_ctl(2), epoll_wait(2), recv(2), send(2), accept4(2), eventfd(2), fork(2), dup3(2).

mod descriptor;
mod event_fd;
mod polled;
mod registrations;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{self, Ordering};
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::arrivals::Arrivals;
use super::operation::OpPtr;
use super::readiness::{BorrowedSocket, Readiness};
use super::{Close, Fault, FaultKind, Kernel, Options, Outcome, Packet, Signal, Submission};
use crate::engine::buffer_pool::BufferPool;
pub(crate) use descriptor::above_standard;
use descriptor::new_epoll;
use event_fd::EventFd;
use polled::{Polled, polled_flags, readiness};
use socket::{Edges, accept_one, check, is_tcp, receive_now, send_now};

/// The event data of the eventfd; sources use their slot and generation.
const SIGNAL: u64 = u64::MAX;

/// Edge-triggered, so that each write wakes once and the counter never needs to be read back.
const SIGNAL_FLAGS: EventFlags = EventFlags::IN.union(EventFlags::ET);
const LISTENER_FLAGS: EventFlags = EventFlags::IN.union(EventFlags::ET);
/// Urgent data is not reported to the caller, but it changes what a short receive means.
const STREAM_FLAGS: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::PRI)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

pub(crate) struct Epoll {
    epoll: OwnedFd,
    signal: Arc<EventFd>,
    sources: Vec<Slot>,
    free: Vec<u32>,
    /// Slots whose `queued` is set, in the order in which they are served.
    ready: VecDeque<u32>,
    /// Packets of cancelled operations, for the next wait.
    cancelled: Vec<OpPtr<Epoll>>,
    events: Vec<epoll::Event>,
    /// How many borrowed sockets there are.
    borrowed: usize,
    /// Used by `recheck_leftovers`, kept for its memory.
    leftovers: Vec<libc::pollfd>,
    /// Whether the system supports `epoll_pwait2`; determined by the first timeout that needs it.
    nanoseconds: bool,
    /// Everything is being closed, and the epoll instance with it: nothing needs to be removed from it, and nothing
    /// needs to be waited for, as operations are cancelled immediately.
    retiring: bool,
    started: Instant,
    calls: u64,
    /// Stale registrations stay because no descriptor was left for a new instance; when to try again.
    stale_retry_at: Option<Instant>,
}

/// The slot of a registered file descriptor.
pub(crate) struct Source(u32);

struct Slot {
    generation: u32,
    edges: Edges,
    queued: bool,
    entry: Option<Entry>,
}

enum Entry {
    Stream {
        fd: TcpStream,
        receive: Option<OpPtr<Epoll>>,
        send: Option<OpPtr<Epoll>>,
    },
    #[allow(clippy::box_collection)] // So that the many streams do not pay for the few listeners.
    Listener {
        fd: TcpListener,
        accepts: Box<VecDeque<OpPtr<Epoll>>>,
    },
    ReadinessListener {
        fd: TcpListener,
        watch: Option<OpPtr<Epoll>>,
    },
    Handle {
        fd: OwnedFd,
        watch: Option<OpPtr<Epoll>>,
    },
    Polled(Polled),
}

impl Entry {
    fn is_borrowed(&self) -> bool {
        matches!(self, Entry::Polled(_))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Entry::Stream { fd, .. } => fd.as_fd(),
            Entry::Listener { fd, .. } | Entry::ReadinessListener { fd, .. } => fd.as_fd(),
            Entry::Handle { fd, .. } => fd.as_fd(),
            // SAFETY: the lender keeps the socket open while it is registered; see `BorrowedSocket::from_raw`.
            Entry::Polled(polled) => unsafe { BorrowedFd::borrow_raw(polled.fd) },
        }
    }
}

impl Kernel for Epoll {
    type Header = ();
    type Source = Source;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Handle = OwnedFd;

    // A posted accept is only a cell of memory here; the number limits the accepts of one turn.
    const ACCEPTS: usize = 64;

    fn new(options: Options) -> Result<Self, Fault> {
        let epoll = new_epoll().map_err(fault)?;
        let signal = Arc::new(EventFd::new().map_err(fault)?);
        epoll::add(&epoll, &signal.fd, EventData::new_u64(SIGNAL), SIGNAL_FLAGS).map_err(fault)?;
        Ok(Epoll {
            epoll,
            signal,
            sources: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            cancelled: Vec::new(),
            events: Vec::with_capacity(options.max_packets + 1),
            borrowed: 0,
            leftovers: Vec::new(),
            nanoseconds: true,
            retiring: false,
            started: Instant::now(),
            calls: 3,
            stale_retry_at: None,
        })
    }

    fn signal(&self) -> Box<dyn Signal> {
        Box::new(Arc::clone(&self.signal))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn calls(&self) -> u64 {
        self.calls
    }

    fn add_stream(&mut self, stream: TcpStream) -> Result<Source, (Fault, TcpStream)> {
        if let Err(fault) = check(stream.as_fd(), false, &mut self.calls) {
            return Err((fault, stream));
        }
        let tcp = is_tcp(stream.as_fd(), &mut self.calls);
        let entry = Entry::Stream { fd: stream, receive: None, send: None };
        let source = self.register(entry, STREAM_FLAGS).map_err(|(fault, entry)| match entry {
            Entry::Stream { fd, .. } => (fault, fd),
            _ => unreachable!("the entry is returned unchanged"),
        })?;
        self.sources[source.0 as usize].edges.plain = tcp;
        Ok(source)
    }

    fn add_listener(&mut self, listener: TcpListener) -> Result<Source, (Fault, TcpListener)> {
        if let Err(fault) = check(listener.as_fd(), true, &mut self.calls) {
            return Err((fault, listener));
        }
        self.calls += 1;
        if let Err(error) = listener.set_nonblocking(true) {
            return Err((io_fault(&error), listener));
        }
        let entry =
            Entry::Listener { fd: listener, accepts: Box::new(VecDeque::with_capacity(Self::ACCEPTS)) };
        self.register(entry, LISTENER_FLAGS).map_err(listener_back)
    }

    fn add_readiness_listener(&mut self, listener: TcpListener) -> Result<Source, (Fault, TcpListener)> {
        if let Err(fault) = check(listener.as_fd(), true, &mut self.calls) {
            return Err((fault, listener));
        }
        self.calls += 1;
        if let Err(error) = listener.set_nonblocking(true) {
            return Err((io_fault(&error), listener));
        }
        let entry = Entry::ReadinessListener { fd: listener, watch: None };
        self.register(entry, watch_flags(false)).map_err(listener_back)
    }

    fn add_handle(&mut self, handle: OwnedFd) -> Result<Source, Fault> {
        let entry = Entry::Handle { fd: handle, watch: None };
        self.register(entry, watch_flags(false)).map_err(|(fault, _)| fault)
    }

    unsafe fn receive(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        _pool: &mut BufferPool,
    ) -> Submission<Self> {
        let slot = &mut self.sources[source.0 as usize];
        let Some(Entry::Stream { receive, .. }) = &mut slot.entry else {
            unreachable!("a receive is for a stream")
        };
        assert!(receive.replace(op).is_none(), "two receives on one stream");
        self.queue_if_ready(source.0);
        Submission::Pending
    }

    unsafe fn send(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let slot = &mut self.sources[source.0 as usize];
        let Some(Entry::Stream { fd, send, .. }) = &mut slot.entry else {
            unreachable!("a send is for a stream")
        };
        assert!(send.is_none(), "two sends on one stream");
        if slot.edges.writable {
            // SAFETY: the operation was just handed to us with its buffer; nothing else touches it.
            match unsafe { send_now(fd, op, &mut slot.edges, &mut self.calls) } {
                Some(Ok(bytes)) => return Submission::Done(Outcome::Bytes(bytes)),
                Some(Err(fault)) => return Submission::Failed(fault),
                None => {}
            }
        }
        *send = Some(op);
        Submission::Pending
    }

    unsafe fn accept(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let slot = &mut self.sources[source.0 as usize];
        let Some(Entry::Listener { accepts, .. }) = &mut slot.entry else {
            unreachable!("an accept needs a listener")
        };
        accepts.push_back(op);
        self.queue_if_ready(source.0);
        Submission::Pending
    }

    unsafe fn watch(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        if let Err(fault) = self.after_fork() {
            return Submission::Failed(fault);
        }
        let slot = &mut self.sources[source.0 as usize];
        let data = EventData::new_u64(event_data(source.0, slot.generation));
        // Anything seen before this watch is out of date.
        slot.edges.readable = false;
        let entry = slot.entry.as_mut().expect("the source is open");
        self.calls += 1;
        if let Err(errno) = epoll::modify(&self.epoll, entry.fd(), data, watch_flags(true)) {
            return Submission::Failed(fault(errno));
        }
        let (Entry::Handle { watch, .. } | Entry::ReadinessListener { watch, .. }) = entry else {
            unreachable!("a watch is for a handle or a readiness listener")
        };
        assert!(watch.replace(op).is_none(), "two watches on one handle");
        Submission::Pending
    }

    unsafe fn cancel(&mut self, source: &Source, op: OpPtr<Self>) {
        let slot = &mut self.sources[source.0 as usize];
        let found = match slot.entry.as_mut().expect("the source is open") {
            Entry::Stream { receive, send, .. } => take_if(receive, op) || take_if(send, op),
            Entry::Listener { accepts, .. } => {
                let at = accepts.iter().position(|&waiting| waiting == op);
                at.and_then(|at| accepts.remove(at)).is_some()
            }
            Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. } => take_if(watch, op),
            Entry::Polled(polled) => {
                let found = take_if(&mut polled.poll, op);
                // Now, not when the packet is delivered: by then the descriptor may be closed and its number reused
                // [hc05].
                self.deregister(source.0);
                found
            }
        };
        // Not found: it was cancelled before, and its packet is pending.
        if found {
            self.cancelled.push(op);
        }
    }

    fn add_borrowed(&mut self, socket: BorrowedSocket, interest: Readiness) -> Result<Source, Fault> {
        // First, so that EPERM below is epoll's result for this descriptor.
        self.after_fork()?;
        let (fd, poll, found, always) = (socket.raw, None, Readiness::NONE, false);
        // Without an interest it is still registered, once, to learn whether epoll accepts it.
        let registered = if interest.is_empty() { Readiness::ENDS } else { interest };
        let entry = Entry::Polled(Polled { fd, poll, interest, registered, found, always });
        match self.register(entry, polled_flags(interest)) {
            Ok(source) => {
                if interest.is_empty() {
                    self.deregister(source.0);
                }
                Ok(source)
            }
            Err((fault, mut entry)) if fault.code == Errno::PERM.raw_os_error() => {
                if let Entry::Polled(polled) = &mut entry {
                    (polled.registered, polled.always) = (Readiness::NONE, true);
                }
                let index = self.free_slot();
                Ok(self.fill(index, entry))
            }
            Err((fault, _)) => Err(fault),
        }
    }

    unsafe fn poll(&mut self, source: &Source, op: OpPtr<Self>, interest: Readiness) -> Submission<Self> {
        if let Err(fault) = self.set_interest(source, interest) {
            return Submission::Failed(fault);
        }
        let polled = self.polled(source.0);
        assert!(polled.poll.replace(op).is_none(), "two polls on one socket");
        if polled.always {
            polled.found = interest;
            self.queue_if_ready(source.0);
        }
        Submission::Pending
    }

    fn set_interest(&mut self, source: &Source, interest: Readiness) -> Result<(), Fault> {
        let generation = self.sources[source.0 as usize].generation;
        let polled = self.polled(source.0);
        polled.interest = interest;
        if polled.always {
            if polled.poll.is_some() {
                polled.found = interest;
                self.queue_if_ready(source.0);
            }
            return Ok(());
        }
        if polled.registered == interest {
            return Ok(());
        }
        if interest.is_empty() {
            self.deregister(source.0);
            return Ok(());
        }
        self.after_fork()?;
        let polled = self.polled(source.0);
        let registered = polled.registered;
        // SAFETY: the lender keeps the socket open while it is registered; see `BorrowedSocket::from_raw`.
        let fd = unsafe { BorrowedFd::borrow_raw(polled.fd) };
        let data = EventData::new_u64(event_data(source.0, generation));
        let flags = polled_flags(interest);
        let changed = if registered.is_empty() {
            self.add(fd, data, flags)
        } else {
            self.calls += 1;
            epoll::modify(&self.epoll, fd, data, flags)
        };
        changed.map_err(fault)?;
        self.polled(source.0).registered = interest;
        Ok(())
    }

    fn after_fork(&mut self) -> Result<(), Fault> {
        if !self.is_copy() {
            return Ok(());
        }
        // The old eventfd and epoll instance are the other process's, and stay as they are [hc47].
        self.calls += 3;
        self.signal.renew().map_err(fault)?;
        self.rebuild_epoll().map_err(fault)?;
        self.signal.process.settle();
        // A thread that has not seen this, and so has not written to the eventfd, has stored its wake where the engine
        // looks before it blocks.
        atomic::fence(Ordering::SeqCst);
        tracing::debug!(target: "io_reactor", "continues in a forked process");
        Ok(())
    }

    fn recheck(&mut self, source: &Source, interest: Readiness) -> Readiness {
        let polled = self.polled(source.0);
        if polled.always {
            return interest;
        }
        let (fd, events) = (polled.fd, polled_flags(interest).bits() as libc::c_short);
        let mut pollfd = libc::pollfd { fd, events, revents: 0 };
        self.calls += 1;
        // SAFETY: one structure, writable, and no waiting.
        if unsafe { libc::poll(&mut pollfd, 1, 0) } <= 0 {
            // Also if the call failed: epoll reports it again.
            return Readiness::NONE;
        }
        let flags = EventFlags::from_bits_truncate(u32::from(pollfd.revents as u16));
        let mut calls = 0;
        let ready = readiness(fd, interest, flags, &mut calls) & (interest | Readiness::ENDS);
        self.calls += calls;
        ready
    }

    fn retire(&mut self) {
        self.retiring = true;
    }

    fn accept_now(&mut self, source: &Source) -> Result<Option<(TcpStream, SocketAddr)>, Fault> {
        let slot = &self.sources[source.0 as usize];
        let Some(Entry::ReadinessListener { fd, .. }) = &slot.entry else {
            unreachable!("not a readiness listener")
        };
        match accept_one(fd, &mut self.calls) {
            Ok(accepted) => Ok(Some(accepted)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(fault(errno)),
        }
    }

    fn shutdown_write(&mut self, source: &Source) -> Result<(), Fault> {
        if self.is_dropped_copy() {
            return Ok(());
        }
        let entry = self.sources[source.0 as usize].entry.as_ref().expect("the source is open");
        self.calls += 1;
        match rustix::net::shutdown(entry.fd(), Shutdown::Write) {
            // The system still knows the reason, if no call has collected it since [hc44].
            Err(Errno::NOTCONN) => {
                self.calls += 1;
                let reason = rustix::net::sockopt::socket_error(entry.fd());
                Err(fault(reason.ok().and_then(|known| known.err()).unwrap_or(Errno::NOTCONN)))
            }
            done => done.map_err(fault),
        }
    }

    fn unread(&mut self, source: &Source) -> usize {
        let entry = self.sources[source.0 as usize].entry.as_ref().expect("the source is open");
        self.calls += 1;
        let bytes = rustix::io::ioctl_fionread(entry.fd());
        bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn close(&mut self, source: Source, how: Close) {
        self.deregister_polled(&source);
        let slot = &mut self.sources[source.0 as usize];
        let entry = slot.entry.take().expect("a source is closed once");
        let idle = match &entry {
            Entry::Stream { receive, send, .. } => receive.is_none() && send.is_none(),
            Entry::Listener { accepts, .. } => accepts.is_empty(),
            Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. } => watch.is_none(),
            Entry::Polled(polled) => polled.poll.is_none(),
        };
        assert!(idle, "a source was closed with operations pending");
        if how == Close::Reset && !self.is_dropped_copy() {
            self.calls += 1;
            let linger = rustix::net::sockopt::set_socket_linger(entry.fd(), Some(std::time::Duration::ZERO));
            // Then it is closed with FIN instead, which ends it as well.
            linger.unwrap_or_else(|errno| tracing::debug!(target: "io_reactor", %errno, "no reset on close"));
        }
        // Closing would do it, unless other code holds a duplicate of the descriptor: then it would stay registered,
        // and could no longer be removed.
        if !matches!(entry, Entry::Polled(_)) && self.keeps_registrations() {
            self.calls += 2;
            epoll::delete(&self.epoll, entry.fd()).unwrap_or_else(
                |errno| tracing::debug!(target: "io_reactor", %errno, "deregistering before close"),
            );
        }
        self.borrowed -= usize::from(matches!(entry, Entry::Polled(_)));
        drop(entry);
        let slot = &mut self.sources[source.0 as usize];
        slot.generation = slot.generation.wrapping_add(1);
        if slot.queued {
            slot.queued = false;
            self.ready.retain(|&queued| queued != source.0);
        }
        self.free.push(source.0);
    }

    fn has_packets(&self) -> bool {
        !self.ready.is_empty() || !self.cancelled.is_empty()
    }

    unsafe fn wait(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &mut BufferPool,
        _arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault> {
        let polled = if self.retiring {
            Ok(false)
        } else {
            let leftovers = self.recheck_leftovers();
            let immediately = self.has_packets() || self.is_copy();
            self.after_fork()?;
            // All edges are taken, so that their sources stand in one queue. A level-triggered source moves to the end
            // of epoll's list when it is reported, and one that does not fit must be checked again: so the call asks
            // for no more than fits.
            let room = match self.borrowed {
                0 => self.events.capacity().max(max),
                _ => max.saturating_sub(leftovers).max(1),
            };
            let polled = self.poll(room, if immediately { Some(0) } else { timeout_ns });
            polled.map(|()| self.events.len() >= room)
        };
        let cancelled = self.cancelled.len().min(max);
        packets.extend(self.cancelled.drain(..cancelled).map(|op| {
            let fault = Fault { kind: FaultKind::Cancelled, code: Errno::CANCELED.raw_os_error() };
            Packet { op, result: Err(fault) }
        }));
        // Those in the queue now get one turn each; a source that has more moves to the end, for the next wait
        // [hc19, p03].
        for _ in 0..self.ready.len() {
            if packets.len() >= max {
                break;
            }
            let index = self.ready.pop_front().expect("the queue was not empty");
            self.sources[index as usize].queued = false;
            // SAFETY: the operations a source holds are pending, so they and their buffers are ours.
            unsafe { self.serve(index, packets, max, pool) };
            self.queue_if_ready(index);
        }
        polled.map(|full| full || self.has_packets())
    }
}

impl Epoll {
    fn polled(&mut self, index: u32) -> &mut Polled {
        match &mut self.sources[index as usize].entry {
            Some(Entry::Polled(polled)) => polled,
            _ => unreachable!("a poll is for a borrowed socket"),
        }
    }

    /// Checks again the borrowed sockets that an earlier wait has found ready and that did not fit: the caller, who may
    /// read from them at any time, may have done so since. Makes one call, and only if there are any. Returns how many
    /// are ready.
    fn recheck_leftovers(&mut self) -> usize {
        self.leftovers.clear();
        for &index in &self.ready {
            if let Some(Entry::Polled(polled)) = &self.sources[index as usize].entry {
                self.leftovers.push(polled.pollfd());
            }
        }
        if self.leftovers.is_empty() {
            return 0;
        }
        // A file is always ready, and so is a descriptor that is known to be closed.
        if self.leftovers.iter().any(|leftover| leftover.fd >= 0) {
            self.calls += 1;
            let count = self.leftovers.len() as libc::nfds_t;
            // SAFETY: the structures are ours, and as many as we say.
            if unsafe { libc::poll(self.leftovers.as_mut_ptr(), count, 0) } < 0 {
                // The call failed, so the state is not known; epoll reports them again.
                self.leftovers.iter_mut().for_each(|leftover| leftover.revents = 0);
            }
        }
        let (mut at, mut ready) = (0, 0);
        for _ in 0..self.ready.len() {
            let index = self.ready.pop_front().expect("as many as there were");
            let slot = &mut self.sources[index as usize];
            if let Some(Entry::Polled(polled)) = &mut slot.entry {
                let leftover = self.leftovers[at];
                at += 1;
                if leftover.fd >= 0 {
                    let flags = EventFlags::from_bits_truncate(u32::from(leftover.revents as u16));
                    polled.found = readiness(polled.fd, polled.interest, flags, &mut self.calls);
                }
                if polled.poll.is_none() || polled.unreported().is_empty() {
                    slot.queued = false;
                    continue;
                }
                ready += 1;
            }
            self.ready.push_back(index);
        }
        ready
    }

    /// One `epoll_wait`, which returns as soon as the system has an event [p02]; records the edges.
    fn poll(&mut self, max: usize, timeout_ns: Option<u64>) -> Result<(), Fault> {
        self.events.clear();
        self.events.reserve_exact(max);
        self.calls += 1;
        match self.epoll_wait(max, timeout_ns) {
            // After a signal there are no events: the engine returns, or waits for the rest of its time [hc24].
            Ok(()) | Err(Errno::INTR) => {}
            Err(errno) => return Err(fault(errno)),
        }
        let mut stale = 0;
        for at in 0..self.events.len() {
            let event = self.events[at];
            let data = event.data.u64();
            if data == SIGNAL {
                continue;
            }
            let (index, generation) = (data as u32, (data >> 32) as u32);
            let slot = &mut self.sources[index as usize];
            let known = match &slot.entry {
                None => false,
                Some(Entry::Polled(polled)) => !polled.registered.is_empty(),
                Some(_) => true,
            };
            if slot.generation != generation || !known {
                stale += 1;
                continue;
            }
            // Copied out of the packed struct before use.
            let flags = event.flags;
            if let Some(Entry::Polled(polled)) = &mut slot.entry {
                // With no poll pending it is not recorded: it is level-triggered, and reported again.
                if polled.poll.is_some() {
                    polled.found |= readiness(polled.fd, polled.interest, flags, &mut self.calls);
                    self.queue_if_ready(index);
                }
                continue;
            }
            slot.edges.add(flags);
            self.queue_if_ready(index);
        }
        if stale > 0 {
            self.drop_stale_registrations(stale == self.events.len(), timeout_ns);
        }
        Ok(())
    }

    /// `epoll_pwait2` for timeouts that are not whole milliseconds, `epoll_wait` for all others and where the system
    /// is older than that call (before Linux 5.11); then the timeout is rounded up [hc21, p04].
    fn epoll_wait(&mut self, max: usize, timeout_ns: Option<u64>) -> Result<(), Errno> {
        const MILLISECOND: u64 = 1_000_000;
        let spare = &mut self.events.spare_capacity_mut()[..max];
        if let Some(ns) = timeout_ns.filter(|ns| self.nanoseconds && ns % MILLISECOND != 0) {
            let timeout = KernelTimespec {
                // Clamped far in the future; a wait may return early at any time.
                tv_sec: (ns / 1_000_000_000).min(i32::MAX as u64) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            };
            // SAFETY: the pointers are to live memory for the length of the call, `spare` has room for as many events
            // as we say and rustix's `Event` is the kernel's `epoll_event` (asserted below); no signal mask is passed.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.epoll.as_raw_fd(),
                    spare.as_mut_ptr(),
                    spare.len() as libc::c_int,
                    &raw const timeout,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                // SAFETY: the kernel has filled in that many.
                unsafe { self.events.set_len(count) };
                return Ok(());
            }
            let errno = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL);
            if errno != Errno::NOSYS && errno != Errno::PERM {
                return Err(errno);
            }
            self.nanoseconds = false;
            self.calls += 1;
        }
        let timeout = timeout_ns.map(|ns| {
            // 2^31 milliseconds are 24 days: longer waits return early, and are continued [hc23].
            let ms = ns.div_ceil(MILLISECOND).min(i32::MAX as u64 - 1);
            rustix::event::Timespec {
                tv_sec: (ms / 1_000) as i64,
                tv_nsec: (ms % 1_000 * MILLISECOND) as i64,
            }
        });
        let count = epoll::wait(&self.epoll, &mut *spare, timeout.as_ref())?.0.len();
        // SAFETY: the kernel has filled in that many.
        unsafe { self.events.set_len(count) };
        Ok(())
    }

    fn queue_if_ready(&mut self, index: u32) {
        let slot = &mut self.sources[index as usize];
        let ready = match &slot.entry {
            Some(Entry::Stream { receive, send, .. }) => {
                (slot.edges.readable && receive.is_some()) || (slot.edges.writable && send.is_some())
            }
            Some(Entry::Listener { accepts, .. }) => slot.edges.readable && !accepts.is_empty(),
            Some(Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. }) => {
                slot.edges.readable && watch.is_some()
            }
            Some(Entry::Polled(polled)) => polled.poll.is_some() && !polled.unreported().is_empty(),
            None => false,
        };
        if ready && !slot.queued {
            slot.queued = true;
            self.ready.push_back(index);
        }
    }

    /// Gives a ready source its turn.
    ///
    /// # Safety
    ///
    /// The operations the source holds are pending.
    unsafe fn serve(
        &mut self,
        index: u32,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        pool: &mut BufferPool,
    ) {
        let slot = &mut self.sources[index as usize];
        let calls = &mut self.calls;
        match slot.entry.as_mut() {
            Some(Entry::Stream { fd, receive, send }) => {
                if let Some(op) = receive.filter(|_| slot.edges.readable) {
                    // SAFETY: the receive is pending, so the cell is ours.
                    let result = unsafe { receive_now(fd, op, &mut slot.edges, pool, calls) };
                    if let Some(result) = result {
                        *receive = None;
                        packets.push(Packet { op, result: result.map(Outcome::Bytes) });
                    }
                }
                if let Some(op) = send.filter(|_| slot.edges.writable) {
                    // SAFETY: the send is pending, so the cell is ours.
                    if let Some(result) = unsafe { send_now(fd, op, &mut slot.edges, calls) } {
                        *send = None;
                        packets.push(Packet { op, result: result.map(Outcome::Bytes) });
                    }
                }
            }
            Some(Entry::Listener { fd, accepts }) => {
                let mut transients = 0;
                while let Some(&op) = accepts.front().filter(|_| packets.len() < max) {
                    match accept_one(fd, calls) {
                        Ok((stream, peer)) => {
                            accepts.pop_front();
                            packets.push(Packet { op, result: Ok(Outcome::Accepted(stream, peer)) });
                        }
                        Err(Errno::AGAIN) => {
                            slot.edges.readable = false;
                            break;
                        }
                        Err(errno) => {
                            let mut fault = fault(errno);
                            if matches!(fault.kind, FaultKind::Transient | FaultKind::Reset) {
                                // Each normally means one connection less in the queue. Where it does not (a network
                                // that is down), continuing would spin [hc10].
                                transients += 1;
                                if transients <= Self::ACCEPTS {
                                    continue;
                                }
                                fault.kind = FaultKind::Exhausted;
                            }
                            // The error of one stops them all. `readable` stays set: the next accept that is posted
                            // must be tried, although no edge comes for connections that are waiting already.
                            packets.extend(accepts.drain(..).map(|op| Packet { op, result: Err(fault) }));
                        }
                    }
                }
            }
            Some(Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. }) => {
                // One shot: the next watch asks the system anew.
                slot.edges.readable = false;
                if let Some(op) = watch.take() {
                    packets.push(Packet { op, result: Ok(Outcome::Ready) });
                }
            }
            Some(Entry::Polled(polled)) => {
                let ready = polled.unreported();
                polled.found = Readiness::NONE;
                if !ready.is_empty() {
                    // A source that `rebuild_epoll` could not register again fails, so it is reported once and not
                    // polled again.
                    let lost = polled.registered.is_empty() && !polled.always;
                    let result = if lost { Err(fault(Errno::BADF)) } else { Ok(Outcome::Polled(ready)) };
                    let op = polled.poll.take();
                    packets.extend(op.map(|op| Packet { op, result }));
                }
            }
            None => {}
        }
    }
}

/// The kernel's `struct __kernel_timespec`: of the same width everywhere, unlike `libc::timespec`.
#[repr(C)]
struct KernelTimespec {
    tv_sec: i64,
    tv_nsec: i64,
}

fn watch_flags(armed: bool) -> EventFlags {
    if armed { EventFlags::IN | EventFlags::ONESHOT } else { EventFlags::ONESHOT }
}

fn event_data(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

fn take_if(waiting: &mut Option<OpPtr<Epoll>>, op: OpPtr<Epoll>) -> bool {
    waiting.take_if(|waiting| *waiting == op).is_some()
}

fn listener_back((fault, entry): (Fault, Entry)) -> (Fault, TcpListener) {
    match entry {
        Entry::Listener { fd, .. } | Entry::ReadinessListener { fd, .. } => (fault, fd),
        _ => unreachable!("the entry is returned unchanged"),
    }
}

fn fault(errno: Errno) -> Fault {
    let kind = match errno {
        // ECONNABORTED: aborted by the system (tcp_abort, as by `ss -K`), or before it was accepted [hc14].
        Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE | Errno::SHUTDOWN => FaultKind::Reset,
        Errno::CANCELED => FaultKind::Cancelled,
        // Worth another attempt: memory or a descriptor may be free by then [hc45].
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC => FaultKind::Exhausted,
        // accept(2): errors of the new connection, passed on through accept, to be treated like EAGAIN.
        Errno::PROTO
        | Errno::NETDOWN
        | Errno::NOPROTOOPT
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::HOSTUNREACH
        | Errno::OPNOTSUPP
        | Errno::NETUNREACH
        | Errno::TIMEDOUT => FaultKind::Transient,
        Errno::EXIST => FaultKind::AlreadyRegistered,
        Errno::BADF | Errno::NOTSOCK | Errno::PERM | Errno::INVAL => FaultKind::Invalid,
        Errno::NOTCONN => FaultKind::NotConnected,
        _ => FaultKind::Other,
    };
    Fault { kind, code: errno.raw_os_error() }
}

/// An error from a call of the standard library.
pub(crate) fn io_fault(error: &io::Error) -> Fault {
    fault(Errno::from_io_error(error).unwrap_or(Errno::INVAL))
}

// `epoll_pwait2` is passed rustix's events. Their alignment may differ (it does on 32-bit x86): the kernel copies them
// out byte by byte.
const _: () = assert!(size_of::<epoll::Event>() == size_of::<libc::epoll_event>());
