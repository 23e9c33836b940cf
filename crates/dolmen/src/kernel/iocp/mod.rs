//! Windows: an I/O completion port.
//!
//! `GetQueuedCompletionStatusEx` on the port is the only call that blocks, and one call takes out a whole batch.
//! Receives, sends and accepts complete to the port by themselves. A source that cannot (a listening socket's network
//! event, a console, any waitable handle) is bridged into it by a thread of the system's pool; see [`bridge`].
//!
//! A receive lends a buffer in advance only while the pool has enough to spare. Otherwise it is posted without a
//! buffer. Such a receive completes when there is something to read, and the wait then makes the real receive. In this
//! way ten thousand idle connections pin no memory.
//!
//! An operation that succeeds immediately returns its result and sends no packet, where the socket's provider allows
//! that (`FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`). Where it does not, immediate success is Pending like everything else,
//! and so is an immediate failure with a warning.
//!
//! What was rejected: `WaitForMultipleObjects` over the port and events. A completion port is not among the objects it
//! documents, it takes 64 handles, and it costs a kernel call per handle for each wake.
//!
//! Microsoft Learn: "I/O Completion Ports", "GetQueuedCompletionStatusEx", "SetFileCompletionNotificationModes",
//! "AcceptEx", "CancelIoEx".

mod accept;
mod address;
mod admission;
#[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))] // Only the C library lends sockets.
mod associations;
mod bridge;
mod cancel;
mod completion;
mod connect;
mod datagrams;
mod operation;
#[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))] // Only the C library lends sockets.
mod polled;
mod port;
mod socket;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod timer;
mod transmit;
mod unfound;
mod winsock;
#[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))] // Only the C library lends sockets.
mod writers;

use std::fs::File;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawSocket, BorrowedHandle, OwnedHandle};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use windows_sys::Win32::Networking::WinSock::SOCKET;
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_ENTRY};

use super::alarm::Alarm;
use super::arrivals::Arrivals;
use super::lent::Lent;
use super::operation::{OpPtr, bytes_to_send};
use super::readiness::Readiness;
use super::{Close, Fault, FaultKind, Kernel, Options, Outcome, Packet, Signal, Submission};
use crate::address::Address;
use crate::kernel::buffer_pool::BufferPool;
use crate::kernel::files::{self, FileJob};
use crate::kernel::pool::Workers;
use accept::{AcceptCell, Acceptor};
use address::AddressCells;
use associations::{Associations, SocketId};
use bridge::Bridge;
use operation::{Extra, Header};
use polled::Begun;
use port::{Port, PortSignal};
pub use socket::set_exclusive_address_use;
pub(crate) use socket::set_keepalive;
use socket::{CallResult, SocketKind};
use source::{ReadinessListener, Source};
pub(crate) use status::from_io as io_fault;
use timer::LazyTimer;
pub(crate) use transmit::reopen;
use unfound::Unfound;
pub(crate) use winsock::Winsock;
use writers::Writers;

/// The result of an operation that was cancelled before the system began it, or between two parts of it.
const CANCELLED: Fault = Fault { kind: FaultKind::Cancelled, code: status::OPERATION_ABORTED };

pub(crate) struct Iocp {
    port: Arc<Port>,
    entries: Vec<OVERLAPPED_ENTRY>,
    /// Watches that were cancelled before they fired; their packets come out of the next wait.
    cancelled: Vec<OpPtr<Iocp>>,
    /// Operations that the system did not find when asked to cancel them.
    unfound: Unfound,
    /// Operations that could not be cancelled.
    uncancelled: u64,
    /// Streams whose sockets were closed to end such operations, and whose sources are still open.
    closed_early: Vec<(SOCKET, SocketId)>,
    /// [`socket::cancel`], except in tests.
    cancel: unsafe fn(SOCKET, *mut OVERLAPPED) -> Result<bool, Fault>,
    /// Memory of completed accepts, for the next ones.
    accept_cells: Vec<NonNull<AcceptCell>>,
    address_cells: AddressCells,
    associations: Associations,
    writers: Writers,
    skip_on_success: bool,
    alarm: Alarm,
    timer: LazyTimer,
    most_transmits: usize,
    started: Instant,
    calls: u64,
    _winsock: Winsock,
}

impl Iocp {
    /// The completion port, for others to post to.
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.port.handle()
    }
}

impl Kernel for Iocp {
    type Header = Header;
    type Source = Source;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Handle = OwnedHandle;
    type Udp = UdpSocket;
    type File = Arc<File>;

    // Each is a socket made in advance, so not too many; a burst beyond that waits in the backlog for the next turn.
    const ACCEPTS: usize = 16;

    // Each is a buffer that is lent in advance. With several, Wine delivers the datagrams out of order. The system keeps what
    // arrives meanwhile.
    const DATAGRAMS: usize = 1;

    const TIMED_OUT: Fault = Fault { kind: FaultKind::Other, code: status::TIMED_OUT };
    const REFUSED: Fault = Fault { kind: FaultKind::Other, code: status::REFUSED };

    fn new(options: Options) -> Result<Self, Fault> {
        let winsock = Winsock::start()?;
        let port = Arc::new(Port::new()?);
        Ok(Iocp {
            writers: Writers::new(&port),
            associations: Associations::new(),
            port,
            entries: vec![OVERLAPPED_ENTRY::default(); options.max_packets],
            cancelled: Vec::new(),
            unfound: Unfound::new(),
            uncancelled: 0,
            closed_early: Vec::new(),
            cancel: socket::cancel,
            accept_cells: Vec::new(),
            address_cells: AddressCells::default(),
            skip_on_success: options.skip_on_success,
            alarm: Alarm::default(),
            timer: LazyTimer::default(),
            most_transmits: options.most_transmits.unwrap_or_else(transmit::most_transmits),
            started: Instant::now(),
            calls: 1,
            _winsock: winsock,
        })
    }

    fn signal(&self) -> Box<dyn Signal> {
        Box::new(PortSignal(Arc::clone(&self.port)))
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
        match self
            .check(&stream, SocketKind::Stream)
            .and_then(|()| self.associate(stream.as_raw_socket() as SOCKET))
        {
            Ok((skips, id)) => {
                Ok(Source::Stream { stream: ManuallyDrop::new(stream), skips, borrowed: false, id })
            }
            Err(fault) => Err((fault, stream)),
        }
    }

    fn add_dial(&mut self, address: &Address, prepared: Option<TcpStream>) -> Result<Source, Fault> {
        self.open_dial(address, prepared)
    }

    unsafe fn connect(&mut self, source: &Source, op: OpPtr<Self>, address: &Address) -> Submission<Self> {
        // SAFETY: passed on.
        unsafe { self.begin_connect(source, op, address) }
    }

    fn finish_connect(&mut self, source: &Source, _peer: &Address) -> Result<(Address, Address), Fault> {
        self.end_connect(source)
    }

    fn add_listener(&mut self, listener: TcpListener) -> Result<Source, (Fault, TcpListener)> {
        match self.check_listener(&listener).and_then(|()| self.associate(listener.as_raw_socket() as SOCKET))
        {
            Ok((skips, _)) => {
                self.calls += 3;
                Acceptor::new(listener, skips).map(|acceptor| Source::Listener(Box::new(acceptor)))
            }
            Err(fault) => Err((fault, listener)),
        }
    }

    fn add_readiness_listener(&mut self, listener: TcpListener) -> Result<Source, (Fault, TcpListener)> {
        self.calls += 3;
        // No operation completes there. But this refuses a second registration of the same socket, of any kind, which
        // would otherwise take the event away from the first.
        let checked = self.check_listener(&listener);
        let associated = checked.and_then(|()| self.port.associate(listener.as_raw_socket() as SOCKET));
        if let Err(fault) = associated {
            return Err((fault, listener));
        }
        let event = match socket::select_event(&listener) {
            Ok(event) => event,
            Err(fault) => return Err((fault, listener)),
        };
        let bridge = Bridge::new(event, &self.port);
        Ok(Source::ReadinessListener(Box::new(ReadinessListener { bridge, listener })))
    }

    fn add_handle(&mut self, handle: OwnedHandle) -> Result<Source, Fault> {
        Ok(Source::Handle(Box::new(Bridge::new(handle, &self.port))))
    }

    fn add_udp(&mut self, socket: UdpSocket) -> Result<Source, (Fault, UdpSocket)> {
        self.add_datagrams(socket)
    }

    unsafe fn receive_from(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        pool: &BufferPool,
    ) -> Submission<Self> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.post_receive_from(source, op, pool) }
    }

    unsafe fn send_to(&mut self, source: &Source, op: OpPtr<Self>, to: SocketAddr) -> Submission<Self> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.post_send_to(source, op, to) }
    }

    fn udp<'a>(&'a mut self, source: &'a Source) -> &'a UdpSocket {
        self.calls += 1;
        let Source::Datagrams(datagrams) = source else { unreachable!("it was added as a datagram socket") };
        &datagrams.socket
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed(
        &mut self,
        socket: super::readiness::BorrowedSocket,
        _interest: Readiness,
    ) -> Result<Source, Fault> {
        self.calls += 3;
        Ok(Source::Polled(Box::new(polled::Polled::new(socket, &self.port)?)))
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn is_stream(&self, socket: super::readiness::BorrowedSocket) -> Result<bool, Fault> {
        socket::kind_of(&socket).map(|kind| kind == SocketKind::Stream)
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed_stream(
        &mut self,
        borrowed: super::readiness::BorrowedSocket,
        again: bool,
    ) -> Result<Source, Fault> {
        let raw = borrowed.as_raw_socket();
        self.check(&borrowed, SocketKind::Stream)?;
        let (skips, id) = self.associate_borrowed(raw as SOCKET, again)?;
        // If it was accepted from a polled listener, it has inherited that listener's event [hc08].
        self.calls += 1;
        socket::deselect(&borrowed);
        use std::os::windows::io::FromRawSocket as _;
        // SAFETY: the caller keeps the socket open while it is registered; it is never dropped, and so not closed.
        let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(raw) });
        Ok(Source::Stream { stream, skips, borrowed: true, id })
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed_dial(
        &mut self,
        socket: super::readiness::BorrowedSocket,
        address: &Address,
        again: bool,
    ) -> Result<Source, Fault> {
        self.borrow_dial(socket, address, again)
    }

    unsafe fn poll(&mut self, source: &Source, op: OpPtr<Self>, interest: Readiness) -> Submission<Self> {
        let Source::Polled(polled) = source else { unreachable!("a poll is for a borrowed socket") };
        self.calls += 2;
        // SAFETY: the operation was handed to us and is not submitted yet. Its source is boxed, and outlives it.
        unsafe { (*op.as_ptr()).header.extra = Extra::Poll(NonNull::from(&**polled)) };
        match polled.begin(op, interest, &mut self.writers) {
            Ok(Begun::Ready(ready)) => Submission::Done(Outcome::Polled(ready)),
            Ok(Begun::Pending) => Submission::Pending,
            Err(fault) => Submission::Failed(fault),
        }
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn set_interest(&mut self, source: &Source, interest: Readiness) -> Result<(), Fault> {
        let Source::Polled(polled) = source else { unreachable!("a poll is for a borrowed socket") };
        self.calls += 2;
        polled.change(interest, &self.port, &mut self.writers)
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn is_same_socket(&self, source: &Source) -> Option<bool> {
        let Source::Polled(polled) = source else { return None };
        polled.is_same()
    }

    fn recheck(&mut self, source: &Source, interest: Readiness) -> Readiness {
        let Source::Polled(polled) = source else { unreachable!("a poll is for a borrowed socket") };
        self.calls += 1;
        polled.now() & interest
    }

    unsafe fn receive(&mut self, source: &Source, op: OpPtr<Self>, pool: &BufferPool) -> Submission<Self> {
        let Source::Stream { stream, skips, .. } = source else { unreachable!("a receive is for a stream") };
        // SAFETY: the operation was handed to us and is not submitted yet; nothing else touches it.
        unsafe {
            // All of this is stored before the call, because the packet may come before the call returns [hc02].
            let socket = stream.as_raw_socket() as SOCKET;
            (*op.as_ptr()).header.extra = Extra::Receive { socket, skips: *skips, cancelled: false };
            (*op.as_ptr()).lent = pool.take_in_advance().map(Lent::Buffer);
            self.post_receive(op, pool)
        }
    }

    unsafe fn send(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let Source::Stream { stream, skips, .. } = source else { unreachable!("a send is for a stream") };
        self.calls += 1;
        // SAFETY: the operation and the bytes in its buffer stay where they are until its packet. The references
        // taken here are gone before the call.
        let started =
            unsafe { socket::send(stream.as_raw_socket() as SOCKET, bytes_to_send(op), overlapped(op)) };
        match started {
            CallResult::Immediate(how, _) if how.sends_packet(*skips) => Submission::Pending,
            CallResult::Immediate(_, Ok(bytes)) => Submission::Done(Outcome::Sent(bytes)),
            CallResult::Immediate(_, Err(fault)) => Submission::Failed(fault),
            CallResult::Pending => Submission::Pending,
        }
    }

    fn most_transmits(&self) -> usize {
        self.most_transmits
    }

    unsafe fn transmit(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        file: &Arc<File>,
        offset: u64,
        count: u32,
    ) -> Submission<Self> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.begin_transmit(source, op, file, offset, count) }
    }

    unsafe fn accept(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let Source::Listener(acceptor) = source else { unreachable!("an accept needs a listener") };
        self.calls += 2;
        let cell = match acceptor.prepare(&mut self.accept_cells) {
            Ok(cell) => cell,
            Err(fault) => return Submission::Failed(fault),
        };
        // SAFETY: the operation is ours to prepare; from the call on, it and the cell are the system's.
        let started = unsafe {
            (*op.as_ptr()).header.extra = Extra::Accept(cell);
            acceptor.accept(cell, overlapped(op))
        };
        match started {
            CallResult::Immediate(how, _) if how.sends_packet(acceptor.skips()) => Submission::Pending,
            CallResult::Immediate(_, Ok(_)) => match self.accepted(cell) {
                Ok(outcome) => Submission::Done(outcome),
                Err(fault) => Submission::Failed(fault),
            },
            CallResult::Immediate(_, Err(fault)) => {
                AcceptCell::recycle(cell, &mut self.accept_cells);
                Submission::Failed(fault)
            }
            CallResult::Pending => Submission::Pending,
        }
    }

    unsafe fn watch(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        let bridge = match source {
            Source::Handle(bridge) => bridge,
            Source::ReadinessListener(watched) => {
                // The network event is set when a connection arrives, and once more by an accept that leaves others
                // waiting. If the caller has accepted none of them, only this call finds them [hc46].
                self.calls += 2;
                if socket::has_waiting(&watched.listener) {
                    return Submission::Done(Outcome::Ready);
                }
                if let Err(fault) = socket::select(&watched.listener, watched.bridge.handle()) {
                    return Submission::Failed(fault);
                }
                &watched.bridge
            }
            _ => unreachable!("a watch is for a handle or a readiness listener"),
        };
        self.calls += 1;
        // SAFETY: a bridge outlives its operations: its source is closed only when they are over.
        unsafe { (*op.as_ptr()).header.extra = Extra::Watch(NonNull::from(bridge)) };
        match bridge.arm(op) {
            Ok(()) => Submission::Pending,
            Err(fault) => Submission::Failed(fault),
        }
    }

    /// The caller decides when the socket is closed, as it does for a borrowed one.
    unsafe fn withdraw(&mut self, source: &Source, op: OpPtr<Self>) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.cancel_operation(source, op, true) }
    }

    fn stream<'a>(&'a mut self, source: &'a Source) -> &'a TcpStream {
        self.calls += 1;
        let Source::Stream { stream, .. } = source else { unreachable!("it was added as a stream") };
        stream
    }

    fn release(&mut self, source: Source) -> TcpStream {
        let Source::Stream { stream, .. } = source else { unreachable!("only streams are released") };
        ManuallyDrop::into_inner(stream)
    }

    unsafe fn cancel(&mut self, source: &Source, op: OpPtr<Self>) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.cancel_operation(source, op, false) }
    }

    fn accept_now(&mut self, source: &Source) -> Result<Option<(TcpStream, SocketAddr)>, Fault> {
        let Source::ReadinessListener(watched) = source else { unreachable!("not a readiness listener") };
        self.calls += 3;
        socket::accept_now(&watched.listener)
    }

    fn shutdown_write(&mut self, source: &Source) -> Result<(), Fault> {
        let Source::Stream { stream, .. } = source else { unreachable!("only a stream is shut down") };
        self.calls += 2;
        // Wine reports a reset only to a pending receive: without one, the shutdown succeeds, and the next receive
        // finds the end of the stream. But the socket has no peer any more [hc44].
        if let Err(error) = stream.peer_addr() {
            let fault = status::from_io(&error);
            if fault.kind == FaultKind::NotConnected {
                return Err(fault);
            }
        }
        stream.shutdown(std::net::Shutdown::Write).map_err(|error| status::from_io(&error))
    }

    fn unread(&mut self, source: &Source) -> usize {
        let Source::Stream { stream, .. } = source else { unreachable!("only a stream holds bytes") };
        self.calls += 1;
        socket::unread(&**stream)
    }

    fn note_cut(&mut self, source: &Source) {
        let Source::Stream { stream, id, .. } = source else {
            unreachable!("only a stream has bytes to send")
        };
        self.associations.note_cut(stream.as_raw_socket() as SOCKET, *id);
    }

    fn close(&mut self, source: Source, how: Close) {
        if self.was_closed_early(&source) {
            return;
        }
        self.calls += 1;
        if let (Source::Stream { stream, .. }, Close::Reset) = (&source, how) {
            self.calls += 1;
            socket::reset_on_close(stream);
        }
        if let Source::ReadinessListener(watched) = &source {
            self.calls += 1;
            socket::deselect(&watched.listener);
        }
        match source {
            Source::Stream { stream, .. } if how != Close::Release => drop(ManuallyDrop::into_inner(stream)),
            Source::Polled(polled) => polled.deselect(),
            Source::Datagrams(datagrams) => drop(ManuallyDrop::into_inner(datagrams.socket)),
            source => drop(source),
        }
    }

    fn has_packets(&self) -> bool {
        !self.cancelled.is_empty()
    }

    fn expect_end(&mut self, deadline_ns: u64) {
        if self.timer.is_missing() {
            return;
        }
        let Some(after_ns) = self.alarm.before_wait(self.now_ns(), deadline_ns) else { return };
        if !self.timer.set(after_ns, &self.port, &mut self.calls) {
            self.alarm.failed();
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
        let cancelled = self.cancelled.len().min(max);
        packets.extend(self.cancelled.drain(..cancelled).map(|op| Packet { op, result: Err(CANCELLED) }));
        let max = (max - cancelled).min(self.entries.len());
        if max == 0 {
            return Ok(true);
        }
        let timeout_ns = match timeout_ns {
            _ if cancelled > 0 => Some(0),
            _ if !self.unfound.is_empty() => {
                let again_ns = self.unfound.next_ns().saturating_sub(self.now_ns());
                Some(timeout_ns.map_or(again_ns, |ns| ns.min(again_ns)))
            }
            _ => timeout_ns,
        };
        self.calls += 1;
        let count = self.port.dequeue(&mut self.entries[..max], timeout_ns)?;
        self.take_packets(count, packets, pool, arrivals);
        if !self.unfound.is_empty() {
            self.unfound.retain(|op| arrivals.is_pending(op));
            if count < max && self.now_ns() >= self.unfound.next_ns() {
                self.cancel_again();
            }
        }
        Ok(count == max)
    }
}

impl Drop for Iocp {
    fn drop(&mut self) {
        AcceptCell::free_all(&mut self.accept_cells);
    }
}

/// The system's part of an operation.
fn overlapped(op: OpPtr<Iocp>) -> *mut OVERLAPPED {
    // The header is first in the operation, and the overlapped first in the header: asserted in `operation`.
    op.as_ptr().cast()
}
