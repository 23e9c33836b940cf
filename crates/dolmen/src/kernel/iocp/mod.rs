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

#[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))] // Only the C library lends sockets.
mod borrowed;
mod bridge;
mod operation;
mod port;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod timer;
mod unfound;

use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket, OwnedHandle};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use windows_sys::Win32::Networking::WinSock::{SOCKET, WSACleanup, WSADATA, WSAStartup};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_ENTRY};

use super::alarm::Alarm;
use super::arrivals::{Arrivals, Key};
use super::operation::{OpKind, OpPtr, bytes_to_send};
use super::readiness::Readiness;
use super::{Close, Fault, FaultKind, Kernel, Options, Outcome, Packet, Signal, Submission};
use crate::kernel::buffer_pool::BufferPool;
use borrowed::{Associations, Begun, Polled, SocketId, Writers};
use bridge::Bridge;
use operation::{Extra, Header};
use port::Port;
pub use socket::set_exclusive_address_use;
use socket::{AcceptCell, Acceptor, Started};
pub(crate) use status::from_io as io_fault;
use timer::Timer;
use unfound::{GivenUp, Owner, Unfound};

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
    associations: Associations,
    writers: Writers,
    skip_on_success: bool,
    alarm: Alarm,
    timer: LazyTimer,
    started: Instant,
    calls: u64,
    _winsock: Winsock,
}

/// Most reactors need it, but not all.
enum LazyTimer {
    Unmade,
    Made(Timer),
    /// The system has no such timers.
    Missing,
}

/// A registered socket or handle.
pub(crate) enum Source {
    Stream {
        /// Dropped, and so closed, by hand; a borrowed one is not.
        stream: ManuallyDrop<TcpStream>,
        /// Immediate success sends no packet.
        skips: bool,
        borrowed: bool,
        id: SocketId,
    },
    // These are boxed so that the many streams do not pay for the few other sources.
    Listener(Box<Acceptor>),
    /// A listener whose connections the caller accepts: its bridge waits for its network event.
    ReadinessListener(Box<ReadinessListener>),
    Handle(Box<Bridge>),
    /// Boxed because its operations know its address.
    #[cfg_attr(
        not(any(feature = "c-api", dolmen_sim)),
        expect(dead_code, reason = "only the C library lends sockets")
    )]
    Polled(Box<Polled>),
}

pub(crate) struct ReadinessListener {
    // Before the listener: the event is detached from a socket that is still open.
    bridge: Bridge,
    listener: TcpListener,
}

/// `WSAStartup`, undone when dropped. The standard library has its own; a reactor may be the first to use Winsock.
struct Winsock;

impl Winsock {
    fn start() -> Result<Winsock, Fault> {
        let mut data = WSADATA::default();
        // SAFETY: `data` is writable for the length of the call.
        match unsafe { WSAStartup(0x0202, &mut data) } {
            0 => Ok(Winsock),
            code => Err(status::from_code(code)),
        }
    }
}

impl Drop for Winsock {
    fn drop(&mut self) {
        // SAFETY: pairs with the successful `WSAStartup`.
        unsafe { WSACleanup() };
    }
}

impl Kernel for Iocp {
    type Header = Header;
    type Source = Source;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Handle = OwnedHandle;

    // Each is a socket made in advance, so not too many; a burst beyond that waits in the backlog for the next turn.
    const ACCEPTS: usize = 16;

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
            skip_on_success: options.skip_on_success,
            alarm: Alarm::default(),
            timer: LazyTimer::Unmade,
            started: Instant::now(),
            calls: 1,
            _winsock: winsock,
        })
    }

    fn signal(&self) -> Box<dyn Signal> {
        Box::new(PortSignal(Arc::clone(&self.port)))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn calls(&self) -> u64 {
        self.calls
    }

    fn add_stream(&mut self, stream: TcpStream) -> Result<Source, (Fault, TcpStream)> {
        match self.check_stream(&stream).and_then(|()| self.associate(stream.as_raw_socket() as SOCKET)) {
            Ok((skips, id)) => {
                Ok(Source::Stream { stream: ManuallyDrop::new(stream), skips, borrowed: false, id })
            }
            Err(fault) => Err((fault, stream)),
        }
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

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed(
        &mut self,
        socket: super::readiness::BorrowedSocket,
        _interest: Readiness,
    ) -> Result<Source, Fault> {
        self.calls += 3;
        Ok(Source::Polled(Box::new(Polled::new(socket, &self.port)?)))
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn is_stream(&self, socket: super::readiness::BorrowedSocket) -> Result<bool, Fault> {
        socket::kind_of(&socket).map(|kind| kind == socket::SocketKind::Stream)
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed_stream(
        &mut self,
        borrowed: super::readiness::BorrowedSocket,
        again: bool,
    ) -> Result<Source, Fault> {
        let raw = borrowed.as_raw_socket();
        self.check_stream(&borrowed)?;
        let (skips, id) = match self.associate(raw as SOCKET) {
            Ok((skips, id)) => {
                self.associations.note(raw as SOCKET, id);
                (skips, id)
            }
            Err(fault) if again && borrowed::already_registered(fault) => {
                match self.associations.find(raw as SOCKET) {
                    None => return Err(fault),
                    Some(known) if known.cut => return Err(Fault { kind: FaultKind::Cut, code: 0 }),
                    Some(known) => (self.skips(raw as SOCKET), known.id),
                }
            }
            Err(fault) => return Err(fault),
        };
        // If it was accepted from a polled listener, it has inherited that listener's event [hc08].
        self.calls += 1;
        socket::deselect(&borrowed);
        // SAFETY: the caller keeps the socket open while it is registered; it is never dropped, and so not closed.
        let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(raw) });
        Ok(Source::Stream { stream, skips, borrowed: true, id })
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

    fn recheck(&mut self, source: &Source, interest: Readiness) -> Readiness {
        let Source::Polled(polled) = source else { unreachable!("a poll is for a borrowed socket") };
        self.calls += 1;
        polled.now() & interest
    }

    unsafe fn receive(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        pool: &mut BufferPool,
    ) -> Submission<Self> {
        let Source::Stream { stream, skips, .. } = source else { unreachable!("a receive is for a stream") };
        // SAFETY: the operation was handed to us and is not submitted yet; nothing else touches it.
        unsafe {
            // All of this is stored before the call, because the packet may come before the call returns [hc02].
            let socket = stream.as_raw_socket() as SOCKET;
            (*op.as_ptr()).header.extra = Extra::Receive { socket, skips: *skips, cancelled: false };
            (*op.as_ptr()).buffer = pool.take_in_advance();
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
            Started::Immediate(how, _) if how.sends_packet(*skips) => Submission::Pending,
            Started::Immediate(_, Ok(bytes)) => Submission::Done(Outcome::Bytes(bytes)),
            Started::Immediate(_, Err(fault)) => Submission::Failed(fault),
            Started::Pending => Submission::Pending,
        }
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
            Started::Immediate(how, _) if how.sends_packet(acceptor.skips()) => Submission::Pending,
            Started::Immediate(_, Ok(_)) => match self.accepted(cell) {
                Ok(outcome) => Submission::Done(outcome),
                Err(fault) => Submission::Failed(fault),
            },
            Started::Immediate(_, Err(fault)) => {
                AcceptCell::recycle(cell, &mut self.accept_cells);
                Submission::Failed(fault)
            }
            Started::Pending => Submission::Pending,
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

    unsafe fn cancel(&mut self, source: &Source, op: OpPtr<Self>) {
        self.calls += 1;
        let (socket, owner) = match source {
            Source::Stream { stream, borrowed, id, .. } => {
                // SAFETY: while an operation is pending, the system owns the OVERLAPPED and the buffer, and this is
                // neither.
                if let Extra::Receive { cancelled, .. } = unsafe { &mut (*op.as_ptr()).header.extra } {
                    *cancelled = true;
                }
                let owner = if *borrowed { Owner::Caller } else { Owner::Stream(*id) };
                (stream.as_raw_socket() as SOCKET, owner)
            }
            Source::Listener(acceptor) => (acceptor.socket(), Owner::Listener(acceptor.listener())),
            Source::ReadinessListener(watched) => return self.disarm(&watched.bridge, op),
            Source::Handle(bridge) => return self.disarm(bridge, op),
            Source::Polled(polled) => {
                self.cancelled.extend(polled.cancel(&mut self.writers));
                return;
            }
        };
        // One that is not found has completed in most cases, and its packet brings its bytes [hc04].
        // SAFETY: the operation is pending on that socket.
        if !matches!(unsafe { (self.cancel)(socket, overlapped(op)) }, Ok(true)) {
            self.unfound.push(socket, op, owner);
        }
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
            source => drop(source),
        }
    }

    fn has_packets(&self) -> bool {
        !self.cancelled.is_empty()
    }

    fn expect_end(&mut self, deadline_ns: u64) {
        if let LazyTimer::Missing = self.timer {
            return;
        }
        let Some(after_ns) = self.alarm.before_wait(self.now_ns(), deadline_ns) else { return };
        if let LazyTimer::Unmade = self.timer {
            self.calls += 2;
            self.timer = match Timer::new(&self.port) {
                Ok(timer) => LazyTimer::Made(timer),
                Err(fault) => {
                    let error = fault.to_io();
                    tracing::debug!(target: "dolmen", %error, "no exact timers: waits end with the clock's tick");
                    LazyTimer::Missing
                }
            };
        }
        if let LazyTimer::Made(timer) = &self.timer {
            self.calls += 1;
            if timer.set(after_ns).is_err() {
                self.alarm.failed();
            }
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
        for at in 0..count {
            let entry = self.entries[at];
            let (key, address) = (entry.lpCompletionKey, entry.lpOverlapped.addr());
            let arrived = arrivals.recognise(key, address, entry.dwNumberOfBytesTransferred);
            let Some((op, kind)) = arrived else {
                if key == Key::Alarm.value() {
                    self.alarm.fired(self.now_ns());
                }
                continue;
            };
            // SAFETY: it was recognised as pending, and this is its packet.
            let result = unsafe {
                match kind {
                    OpKind::Watch | OpKind::Poll => self.watched(op),
                    OpKind::Receive | OpKind::Send | OpKind::Accept => self.completed(op, kind, pool),
                }
            };
            match result {
                Some(result) => packets.push(Packet { op, result }),
                None => arrivals.resume(op),
            }
        }
        if !self.unfound.is_empty() {
            self.unfound.retain(|op| arrivals.is_pending(op));
            if count < max && self.now_ns() >= self.unfound.next_ns() {
                self.cancel_again();
            }
        }
        Ok(count == max)
    }
}

impl Iocp {
    fn disarm(&mut self, bridge: &Bridge, op: OpPtr<Self>) {
        if bridge.disarm() {
            self.cancelled.push(op);
        }
    }

    /// Another attempt, now that all packets that were there have been taken out.
    fn cancel_again(&mut self) {
        let (cancel, now_ns) = (self.cancel, self.now_ns());
        let calls = &mut self.calls;
        let given_up = self.unfound.cancel_again(now_ns, |socket, op| {
            *calls += 1;
            // SAFETY: its packet has not come, so the operation is pending. A caller may have closed a borrowed socket,
            // and its number may be reused: then no operation of that socket has this address, and none is found.
            unsafe { cancel(socket, overlapped(op)) }
        });
        for GivenUp { socket, owner, fault } in given_up {
            self.uncancelled += 1;
            let (error, total, borrowed) = (fault.to_io(), self.uncancelled, matches!(owner, Owner::Caller));
            self.close_early(socket, owner);
            // The first is logged, and each that doubles the number.
            if total.is_power_of_two() {
                let what = if borrowed {
                    "it ends when the caller closes the socket"
                } else {
                    "the socket is closed to end it"
                };
                tracing::warn!(target: "dolmen", %error, total, "cannot cancel an operation: {what}");
            }
        }
    }

    /// Closes one of the reactor's sockets before its operations have completed, which ends them.
    fn close_early(&mut self, socket: SOCKET, owner: Owner) {
        match owner {
            Owner::Caller => {}
            Owner::Listener(listener) => drop(listener.take()),
            Owner::Stream(id) => {
                if !self.closed_early.contains(&(socket, id)) {
                    self.closed_early.push((socket, id));
                    self.calls += 1;
                    // SAFETY: the socket is open: only this code closes it before its source is closed, and the close
                    // of the source then leaves it alone. Its source is closing, so no other call is made on it.
                    drop(unsafe { TcpStream::from_raw_socket(socket as _) });
                }
            }
        }
    }

    /// Whether the source is a stream whose socket is closed already. By now the number may be reused.
    fn was_closed_early(&mut self, source: &Source) -> bool {
        let Source::Stream { stream, id, .. } = source else { return false };
        let closed = (stream.as_raw_socket() as SOCKET, *id);
        let at = self.closed_early.iter().position(|early| *early == closed);
        at.map(|at| self.closed_early.swap_remove(at)).is_some()
    }

    /// Any socket but a stream of bytes violates an assumption of the reactor: a datagram that is larger than the
    /// buffer is both a failure and a success [hc40, p16].
    fn check_stream(&mut self, socket: &impl AsRawSocket) -> Result<(), Fault> {
        self.calls += 2;
        match socket::kind_of(socket)? {
            socket::SocketKind::Stream => Ok(()),
            socket::SocketKind::Listener => Err(Fault { kind: FaultKind::Invalid, code: status::INVALID }),
            socket::SocketKind::Other => Err(Fault { kind: FaultKind::Invalid, code: status::WRONG_TYPE }),
        }
    }

    fn check_listener(&mut self, socket: &impl AsRawSocket) -> Result<(), Fault> {
        self.calls += 2;
        match socket::kind_of(socket)? {
            socket::SocketKind::Listener => Ok(()),
            socket::SocketKind::Stream => Err(Fault { kind: FaultKind::Invalid, code: status::INVALID }),
            socket::SocketKind::Other => Err(Fault { kind: FaultKind::Invalid, code: status::WRONG_TYPE }),
        }
    }

    /// Associates a socket with the port. Returns whether immediate success will send no packet, and an id for the
    /// socket.
    fn associate(&mut self, socket: SOCKET) -> Result<(bool, SocketId), Fault> {
        self.calls += 1;
        self.port.associate(socket)?;
        Associations::forget(socket);
        Ok((self.skips(socket), SocketId::next()))
    }

    /// Whether immediate success will send no packet on an associated socket [hc11].
    fn skips(&mut self, socket: SOCKET) -> bool {
        if !self.skip_on_success {
            return false;
        }
        self.calls += 2;
        socket::is_installable_file_system(socket) && socket::skip_on_success(socket)
    }

    /// Posts a receive into the operation's buffer, or one of zero bytes if it has none.
    ///
    /// # Safety
    ///
    /// The kernel layer owns the operation and it is not pending in the system.
    unsafe fn post_receive(&mut self, op: OpPtr<Self>, pool: &mut BufferPool) -> Submission<Self> {
        loop {
            self.calls += 1;
            // SAFETY: nothing is pending on the operation, so it is ours; the pointers taken from it stay valid while
            // it is pending, as it is neither moved nor touched until its packet.
            let (started, skips) = unsafe {
                let cell = op.as_ptr();
                let Extra::Receive { socket, skips, .. } = (*cell).header.extra else {
                    unreachable!("a receive")
                };
                (*cell).header.overlapped = OVERLAPPED::default();
                let target = (*cell).buffer.as_mut().map_or((std::ptr::null_mut(), 0), |b| b.as_target());
                (socket::receive(socket, target, overlapped(op)), skips)
            };
            match started {
                Started::Immediate(how, _) if how.sends_packet(skips) => return Submission::Pending,
                Started::Immediate(_, Ok(bytes)) => {
                    // SAFETY: it has completed without a packet.
                    if let Some(bytes) = unsafe { received(op, bytes, pool) } {
                        return Submission::Done(Outcome::Bytes(bytes));
                    }
                }
                Started::Immediate(_, Err(fault)) => return Submission::Failed(fault),
                Started::Pending => return Submission::Pending,
            }
        }
    }

    /// Decodes the packet of a receive, send or accept. `None` if the operation continues.
    ///
    /// # Safety
    ///
    /// `op` is an operation whose packet has just come.
    unsafe fn completed(
        &mut self,
        op: OpPtr<Self>,
        kind: OpKind,
        pool: &mut BufferPool,
    ) -> Option<Result<Outcome<Self>, Fault>> {
        // From the operation's own memory, and not from the handle, which may be closed [hc06].
        // SAFETY: the system is done with the operation, so it is ours to read.
        let (status, bytes) = unsafe {
            let cell = op.as_ptr();
            ((*cell).header.overlapped.Internal, (*cell).header.overlapped.InternalHigh)
        };
        let status = status::from_ntstatus(status as i32);
        match kind {
            OpKind::Receive => {
                if let Err(fault) = status {
                    return Some(Err(fault));
                }
                // SAFETY: the receive has completed.
                if unsafe { may_not_go_on(op) } {
                    return Some(Err(CANCELLED));
                }
                // SAFETY: as above.
                if let Some(bytes) = unsafe { received(op, bytes, pool) } {
                    return Some(Ok(Outcome::Bytes(bytes)));
                }
                // It was one of zero bytes: there is something to read, be it the end. Now for the real one [hc12].
                // SAFETY: nothing is pending on the operation at this point.
                match unsafe { self.post_receive(op, pool) } {
                    Submission::Done(outcome) => Some(Ok(outcome)),
                    Submission::Failed(fault) => Some(Err(fault)),
                    Submission::Pending => None,
                }
            }
            OpKind::Send => Some(status.map(|()| Outcome::Bytes(bytes))),
            OpKind::Accept => {
                // SAFETY: as above.
                let Extra::Accept(cell) = (unsafe { (*op.as_ptr()).header.extra }) else {
                    unreachable!("an accept has its cell")
                };
                Some(match status {
                    Ok(()) => self.accepted(cell),
                    Err(mut fault) => {
                        AcceptCell::recycle(cell, &mut self.accept_cells);
                        // An error of the new connection and not of the listener: its peer was already gone [hc10].
                        if fault.code == status::NOT_CONNECTED {
                            fault.kind = FaultKind::Transient;
                        }
                        Err(fault)
                    }
                })
            }
            OpKind::Watch | OpKind::Poll => unreachable!("watches and polls have a key of their own"),
        }
    }

    fn accepted(&mut self, cell: NonNull<AcceptCell>) -> Result<Outcome<Self>, Fault> {
        self.calls += 1;
        let accepted = AcceptCell::finish(cell);
        AcceptCell::recycle(cell, &mut self.accept_cells);
        let (stream, peer) = accepted?;
        Ok(Outcome::Accepted(stream, peer))
    }

    /// # Safety
    ///
    /// `op` is a watch or a poll whose packet has just come.
    unsafe fn watched(&mut self, op: OpPtr<Self>) -> Option<Result<Outcome<Self>, Fault>> {
        // SAFETY: the system is done with the operation, and its bridge or source outlives it.
        unsafe {
            self.calls += 1;
            match (*op.as_ptr()).header.extra {
                Extra::Watch(bridge) => {
                    bridge.as_ref().rest();
                    Some(Ok(Outcome::Ready))
                }
                Extra::Poll(polled) => {
                    self.calls += 1;
                    let found = polled.as_ref().found(op, &mut self.writers).transpose()?;
                    Some(found.map(Outcome::Polled))
                }
                _ => unreachable!("neither a watch nor a poll"),
            }
        }
    }
}

impl Drop for Iocp {
    fn drop(&mut self) {
        AcceptCell::free_all(&mut self.accept_cells);
    }
}

struct PortSignal(Arc<Port>);

impl Signal for PortSignal {
    /// Fails if the kernel is out of memory.
    fn notify(&self) -> Result<(), Fault> {
        self.0.post(Key::Signal, std::ptr::null_mut())
    }
}

/// The system's part of an operation.
fn overlapped(op: OpPtr<Iocp>) -> *mut OVERLAPPED {
    // The header is first in the operation, and the overlapped first in the header: asserted in `operation`.
    op.as_ptr().cast()
}

/// Whether a receive was one of zero bytes, and was cancelled. The bytes to read stay in the socket.
///
/// # Safety
///
/// The receive has completed.
unsafe fn may_not_go_on(op: OpPtr<Iocp>) -> bool {
    // SAFETY: it has completed, so the operation is ours.
    let (extra, has_buffer) = unsafe { ((*op.as_ptr()).header.extra, (*op.as_ptr()).buffer.is_some()) };
    !has_buffer && matches!(extra, Extra::Receive { cancelled: true, .. })
}

/// Takes the bytes of a receive. `None`: it had no buffer, and has one now.
///
/// # Safety
///
/// The receive has succeeded with `bytes`, and has completed.
unsafe fn received(op: OpPtr<Iocp>, bytes: usize, pool: &mut BufferPool) -> Option<usize> {
    // SAFETY: it has completed, so the operation is ours; the system has written `bytes` bytes at the buffer's start.
    unsafe {
        match &mut (*op.as_ptr()).buffer {
            Some(buffer) => {
                buffer.set_filled(bytes);
                Some(bytes)
            }
            none => {
                *none = Some(pool.take());
                None
            }
        }
    }
}
