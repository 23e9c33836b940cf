//! Linux: completions made from epoll's readiness.
//!
//! Every socket is registered once, edge-triggered, for both directions; after that it needs no `epoll_ctl`. Each
//! source records what the edges have reported (`readable`, `writable`), so that an operation is only tried when it can
//! make progress, and a message costs one `recv` and one `send` in addition to the wait.
//!
//! A receive that filled less than its buffer has emptied the socket, and whatever arrives next makes an edge: no
//! second `recv` is spent on EAGAIN. That holds for TCP with two exceptions, both reported by the wait: a hang-up, and
//! urgent data. `socket.rs` has the proof.
//!
//! Sources with an operation that can make progress wait in one queue (`ready.rs`), and are served in its order
//! (`serve.rs`). A source gets one receive a turn, so the source of a flooding peer moves to the end of the queue each
//! time.
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

mod datagrams;
mod descriptor;
mod dial;
mod event_fd;
mod fault;
#[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))] // Only the C library lends sockets.
mod polled;
mod ready;
mod registrations;
mod send_file;
mod serve;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::VecDeque;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(any(feature = "c-api", dolmen_sim))]
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{self, Ordering};
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::arrivals::Arrivals;
use super::operation::{OpPtr, bytes_to_send};
use super::readiness::Readiness;
use super::{Close, Direct, Fault, FaultKind, Kernel, Options, Outcome, Packet, Signal, Submission};
use crate::address::Address;
use crate::kernel::buffer_pool::BufferPool;
use crate::kernel::files::{self, FileJob};
use crate::kernel::pool::Workers;
use datagrams::UdpEntry;
pub(crate) use descriptor::above_standard;
use descriptor::new_epoll;
use event_fd::EventFd;
use fault::fault;
pub(crate) use fault::io_fault;
use ready::ReadyQueue;
pub(crate) use socket::set_keepalive;
use socket::{accept_one, check, is_tcp, send_now};
use table::{Entry, Source, Table};

/// The event data of the eventfd; sources use their slot and generation.
const SIGNAL: u64 = u64::MAX;

/// The event data of the bell.
const BELL: u64 = u64::MAX - 1;

/// Edge-triggered, so that each write wakes once and the counter never needs to be read back.
const SIGNAL_FLAGS: EventFlags = EventFlags::IN.union(EventFlags::ET);
/// Level-triggered, because it is read.
const BELL_FLAGS: EventFlags = EventFlags::IN;
const LISTENER_FLAGS: EventFlags = EventFlags::IN.union(EventFlags::ET);
/// A failure is reported whether it is asked for or not.
const UDP_FLAGS: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::ET);
/// Urgent data is not reported to the caller, but it changes what a short receive means.
const STREAM_FLAGS: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::PRI)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

pub(crate) struct Epoll {
    epoll: OwnedFd,
    /// How many instances there were before this one.
    rebuilt: u64,
    signal: Arc<EventFd>,
    /// For other code to end a wait with.
    bell: Option<EventFd>,
    /// The bell was rung since the last wait.
    rung: bool,
    table: Table,
    ready: ReadyQueue,
    /// Packets of cancelled operations, for the next wait.
    cancelled: Vec<OpPtr<Epoll>>,
    events: Vec<epoll::Event>,
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

impl Kernel for Epoll {
    type Header = ();
    type Source = Source;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Handle = OwnedFd;
    type Udp = UdpSocket;
    type File = Arc<File>;

    // A posted accept is only a cell of memory here; the number limits the accepts of one turn.
    const ACCEPTS: usize = 64;

    // The same for a receive, which limits the datagrams of one turn.
    const DATAGRAMS: usize = 16;

    const TIMED_OUT: Fault = Fault { kind: FaultKind::Other, code: libc::ETIMEDOUT };
    const REFUSED: Fault = Fault { kind: FaultKind::Other, code: libc::ECONNREFUSED };

    fn new(options: Options) -> Result<Self, Fault> {
        let epoll = new_epoll().map_err(fault)?;
        let signal = Arc::new(EventFd::new().map_err(fault)?);
        epoll::add(&epoll, &signal.fd, EventData::new_u64(SIGNAL), SIGNAL_FLAGS).map_err(fault)?;
        Ok(Epoll {
            epoll,
            rebuilt: 0,
            signal,
            bell: None,
            rung: false,
            table: Table::default(),
            ready: ReadyQueue::default(),
            cancelled: Vec::new(),
            events: Vec::with_capacity(options.max_packets + 1),
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

    fn file_workers(&self) -> Box<dyn Workers<FileJob<Arc<File>>>> {
        Box::new(files::threads())
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
        self.table.slot(source.0).edges.plain = tcp;
        Ok(source)
    }

    fn add_dial(&mut self, address: &Address, prepared: Option<TcpStream>) -> Result<Source, Fault> {
        self.open_dial(address, prepared)
    }

    unsafe fn connect(&mut self, source: &Source, op: OpPtr<Self>, address: &Address) -> Submission<Self> {
        // SAFETY: passed on.
        unsafe { self.begin_connect(source, op, address) }
    }

    fn finish_connect(&mut self, source: &Source, peer: &Address) -> Result<(Address, Address), Fault> {
        self.end_connect(source, peer)
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

    fn add_udp(&mut self, socket: UdpSocket) -> Result<Source, (Fault, UdpSocket)> {
        if let Err(fault) = datagrams::check(&socket, &mut self.calls) {
            return Err((fault, socket));
        }
        let entry = Entry::Udp(Box::new(UdpEntry::new(socket)));
        self.register(entry, UDP_FLAGS).map_err(|(fault, entry)| match entry {
            Entry::Udp(udp) => (fault, udp.fd),
            _ => unreachable!("the entry is returned unchanged"),
        })
    }

    unsafe fn receive_from(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        _pool: &BufferPool,
    ) -> Submission<Self> {
        self.table.udp(source).receives.push_back(op);
        self.ready.push_if_ready(&mut self.table, source.0);
        Submission::Pending
    }

    unsafe fn send_to(&mut self, source: &Source, op: OpPtr<Self>, to: SocketAddr) -> Submission<Self> {
        let slot = self.table.slot(source.0);
        let Some(Entry::Udp(udp)) = &mut slot.entry else { unreachable!("a datagram is for a UDP socket") };
        // SAFETY: the operation was just handed to us with its buffer; nothing else touches it.
        unsafe { udp.send(op, to, &mut slot.edges, &mut self.calls) }
    }

    fn udp<'a>(&'a mut self, source: &'a Source) -> &'a UdpSocket {
        self.calls += 1;
        &self.table.udp(source).fd
    }

    unsafe fn receive(&mut self, source: &Source, op: OpPtr<Self>, _pool: &BufferPool) -> Submission<Self> {
        let slot = self.table.slot(source.0);
        let Some(Entry::Stream { receive, .. }) = &mut slot.entry else {
            unreachable!("a receive is for a stream")
        };
        assert!(receive.replace(op).is_none(), "two receives on one stream");
        self.ready.push_if_ready(&mut self.table, source.0);
        Submission::Pending
    }

    fn try_send(&mut self, source: &Source, bytes: &[u8]) -> Option<Result<usize, Fault>> {
        let slot = self.table.slot(source.0);
        let Some(Entry::Stream { fd, send: None, .. }) = &slot.entry else { return None };
        if slot.edges.writable { send_now(fd, bytes, &mut slot.edges, &mut self.calls) } else { None }
    }

    unsafe fn send(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let slot = self.table.slot(source.0);
        let Some(Entry::Stream { fd, send, .. }) = &mut slot.entry else {
            unreachable!("a send is for a stream")
        };
        assert!(send.is_none(), "two sends on one stream");
        if slot.edges.writable {
            // SAFETY: the operation was just handed to us with its bytes; nothing else touches them.
            let bytes = unsafe { &*bytes_to_send(op) };
            match send_now(fd, bytes, &mut slot.edges, &mut self.calls) {
                Some(Ok(bytes)) => return Submission::Done(Outcome::Sent(bytes)),
                Some(Err(fault)) => return Submission::Failed(fault),
                None => {}
            }
        }
        *send = Some(op);
        Submission::Pending
    }

    unsafe fn accept(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let slot = self.table.slot(source.0);
        let Some(Entry::Listener { accepts, .. }) = &mut slot.entry else {
            unreachable!("an accept needs a listener")
        };
        accepts.push_back(op);
        self.ready.push_if_ready(&mut self.table, source.0);
        Submission::Pending
    }

    unsafe fn watch(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        if let Err(fault) = self.after_fork() {
            return Submission::Failed(fault);
        }
        let data = self.table.event_data(source.0);
        let slot = self.table.slot(source.0);
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
        let slot = self.table.slot(source.0);
        let found = slot.entry.as_mut().expect("the source is open").take_back(op);
        // Now, not when the packet is delivered: by then the descriptor may be closed and its number reused [hc05].
        self.deregister_polled(source);
        // Not found: it was cancelled before, and its packet is pending.
        if found {
            self.cancelled.push(op);
        }
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed(
        &mut self,
        socket: super::readiness::BorrowedSocket,
        interest: Readiness,
    ) -> Result<Source, Fault> {
        self.add_polled(socket, interest)
    }

    unsafe fn poll(&mut self, source: &Source, op: OpPtr<Self>, interest: Readiness) -> Submission<Self> {
        if let Err(fault) = self.change_interest(source.0, interest) {
            return Submission::Failed(fault);
        }
        let polled = self.table.polled(source.0);
        assert!(polled.poll.replace(op).is_none(), "two polls on one socket");
        if polled.always {
            polled.found = interest;
            self.ready.push_if_ready(&mut self.table, source.0);
        }
        Submission::Pending
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn set_interest(&mut self, source: &Source, interest: Readiness) -> Result<(), Fault> {
        self.change_interest(source.0, interest)
    }

    fn after_fork(&mut self) -> Result<(), Fault> {
        if !self.is_copy() {
            return Ok(());
        }
        // The old eventfd and epoll instance are the other process's, and stay as they are [hc47].
        self.calls += 3;
        self.signal.renew().map_err(fault)?;
        if let Some(bell) = &self.bell {
            self.calls += 1;
            bell.renew().map_err(fault)?;
        }
        self.rebuild_epoll().map_err(fault)?;
        self.signal.process.settle();
        // A thread that has not seen this, and so has not written to the eventfd, has stored its wake where the engine
        // looks before it blocks.
        atomic::fence(Ordering::SeqCst);
        tracing::debug!(target: "dolmen", "continues in a forked process");
        Ok(())
    }

    fn recheck(&mut self, source: &Source, interest: Readiness) -> Readiness {
        self.ready_now(source.0, interest)
    }

    fn retire(&mut self) {
        self.retiring = true;
    }

    fn accept_now(&mut self, source: &Source) -> Result<Option<(TcpStream, SocketAddr)>, Fault> {
        let Entry::ReadinessListener { fd, .. } = self.table.entry(source) else {
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
        let entry = self.table.entry(source);
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

    fn stream<'a>(&'a mut self, source: &'a Source) -> &'a TcpStream {
        self.calls += 1;
        let Entry::Stream { fd, .. } = self.table.entry(source) else {
            unreachable!("it was added as a stream")
        };
        fd
    }

    fn release(&mut self, source: Source) -> TcpStream {
        self.ready.remove(&mut self.table, source.0);
        let Entry::Stream { fd, .. } = self.table.remove(&source) else {
            unreachable!("only streams are released")
        };
        if self.keeps_registrations() {
            self.calls += 1;
            epoll::delete(&self.epoll, &fd)
                .unwrap_or_else(|errno| tracing::debug!(target: "dolmen", %errno, "deregistering a stream"));
        }
        fd
    }

    fn send_file_now(&mut self, source: &Source, file: &Arc<File>, offset: u64, count: usize) -> Direct {
        send_file::send_file(self.table.entry(source).fd(), file, offset, count, &mut self.calls)
    }

    fn unread(&mut self, source: &Source) -> usize {
        let entry = self.table.entry(source);
        self.calls += 1;
        let bytes = rustix::io::ioctl_fionread(entry.fd());
        bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn close(&mut self, source: Source, how: Close) {
        self.deregister_polled(&source);
        self.ready.remove(&mut self.table, source.0);
        let entry = self.table.remove(&source);
        if how == Close::Reset && !self.is_dropped_copy() {
            self.calls += 1;
            let linger = rustix::net::sockopt::set_socket_linger(entry.fd(), Some(std::time::Duration::ZERO));
            // Then it is closed with FIN instead, which ends it as well.
            linger.unwrap_or_else(|errno| tracing::debug!(target: "dolmen", %errno, "no reset on close"));
        }
        // Closing would do it, unless other code holds a duplicate of the descriptor: then it would stay registered,
        // and could no longer be removed.
        if !entry.is_borrowed() && entry.is_registered() && self.keeps_registrations() {
            self.calls += 2;
            epoll::delete(&self.epoll, entry.fd()).unwrap_or_else(
                |errno| tracing::debug!(target: "dolmen", %errno, "deregistering before close"),
            );
        }
    }

    fn has_packets(&self) -> bool {
        !self.ready.is_empty() || !self.cancelled.is_empty()
    }

    unsafe fn wait(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault> {
        let taken_all = if self.retiring {
            Ok(false)
        } else {
            let leftovers = self.ready.recheck_leftovers(&mut self.table, &mut self.calls);
            let immediately = self.has_packets() || self.is_copy();
            self.after_fork()?;
            // All edges are taken, so that their sources stand in one queue. A level-triggered source moves to the end
            // of epoll's list when it is reported, and one that does not fit must be checked again: so the call asks
            // for no more than fits.
            let room = match self.table.has_borrowed() {
                false => self.events.capacity().max(max),
                true => max.saturating_sub(leftovers).max(1),
            };
            let taken = self.take_events(room, if immediately { Some(0) } else { timeout_ns });
            taken.map(|()| self.events.len() >= room)
        };
        if std::mem::take(&mut self.rung) {
            arrivals.rung();
        }
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
            let index = self.ready.pop(&mut self.table).expect("the queue was not empty");
            // SAFETY: the operations a source holds are pending, so they and their buffers are ours.
            unsafe { self.serve(index, packets, max, pool) };
            self.ready.push_if_ready(&mut self.table, index);
        }
        taken_all.map(|full| full || self.has_packets())
    }
}

impl Epoll {
    /// The epoll instance, for others to wait on. Level-triggered as everything polled is: readable while the instance
    /// has an event for the next wait.
    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// A descriptor to which other code writes eight bytes to end a wait. A fork changes what it refers to, and not its
    /// number.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(crate) fn open_bell(&mut self) -> Result<RawFd, Fault> {
        if self.bell.is_none() {
            self.calls += 2;
            let bell = EventFd::new().map_err(fault)?;
            epoll::add(&self.epoll, &bell.fd, EventData::new_u64(BELL), BELL_FLAGS).map_err(fault)?;
            self.bell = Some(bell);
        }
        Ok(self.bell.as_ref().map_or(-1, |bell| bell.fd.as_raw_fd()))
    }

    /// The bell was reported.
    fn ring(&mut self) {
        if let Some(bell) = &self.bell {
            self.calls += 1;
            bell.drain();
            self.rung = true;
        }
    }

    /// Changes with the instance.
    pub(crate) fn generation(&self) -> u64 {
        self.rebuilt
    }
}

fn watch_flags(armed: bool) -> EventFlags {
    if armed { EventFlags::IN | EventFlags::ONESHOT } else { EventFlags::ONESHOT }
}

fn listener_back((fault, entry): (Fault, Entry)) -> (Fault, TcpListener) {
    match entry {
        Entry::Listener { fd, .. } | Entry::ReadinessListener { fd, .. } => (fault, fd),
        _ => unreachable!("the entry is returned unchanged"),
    }
}
