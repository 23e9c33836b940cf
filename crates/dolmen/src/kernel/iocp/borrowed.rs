//! Sockets that the caller owns: their associations with ports, and polls.
//!
//! A socket belongs to a port for its whole life, so one that is removed and added again cannot be associated again. It
//! may be the same socket, or a new one of another reactor with the old number: then packets would arrive at the wrong
//! port. [`Associations`] records this for all reactors of this process.
//!
//! Two things can be polled here. The first is a listener for connections, or a socket for datagrams, whose owner wants
//! each with its address: by `WSAEventSelect` and a bridge, like a readiness listener. The second is a connected stream
//! for room to write, when the caller's `send` would have blocked: there is no completion for that, and
//! `WSAEventSelect` would make the caller's socket non-blocking and take a call for each change of interest. So the few
//! sockets that are full at a time are passed to one of our threads, which blocks in `WSAPoll`; the first of them
//! starts it. It posts what it finds to the port, and does nothing else.
//!
//! Microsoft Learn: "CreateIoCompletionPort", "WSAEventSelect", "WSAPoll".

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::windows::io::AsRawSocket;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, POLLWRNORM, SOCKET, WSAPOLLFD, WSAPoll};

use super::super::arrivals::Key;
use super::super::operation::OpPtr;
use super::super::readiness::{BorrowedSocket, Readiness};
use super::super::{Fault, FaultKind, thread};
use super::bridge::Bridge;
use super::port::Port;
use super::{Iocp, socket, status};

/// The last association of each borrowed socket's number.
static ASSOCIATIONS: Mutex<BTreeMap<SOCKET, Association>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy)]
pub(super) struct Association {
    port: u64,
    pub(super) id: SocketId,
    /// A connection of the socket ended with bytes unsent.
    pub(super) cut: bool,
}

/// Distinguishes a socket from others that have had its number. A socket gets it when it is associated, which happens
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(u32);

impl SocketId {
    pub(super) fn next() -> SocketId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SocketId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One port's part of the record of associations, which its drop removes.
pub(super) struct Associations {
    port: u64,
}

impl Associations {
    pub(super) fn new() -> Associations {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Associations { port: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// A socket that the reactor owns: the socket that had its number before is closed.
    pub(super) fn forget(socket: SOCKET) {
        unpoisoned(&ASSOCIATIONS).remove(&socket);
    }

    /// A borrowed socket was just associated with this port.
    pub(super) fn note(&self, socket: SOCKET, id: SocketId) {
        unpoisoned(&ASSOCIATIONS).insert(socket, Association { port: self.port, id, cut: false });
    }

    /// Nothing happens if the number has been reused by now: the caller may have closed this socket without removing
    /// it [hc18].
    pub(super) fn note_cut(&self, socket: SOCKET, id: SocketId) {
        let mut associations = unpoisoned(&ASSOCIATIONS);
        if let Some(association) = associations.get_mut(&socket).filter(|known| known.id == id) {
            association.cut = true;
        }
    }

    /// The association of the socket with that number, if it is with this port and no other has followed.
    pub(super) fn find(&self, socket: SOCKET) -> Option<Association> {
        unpoisoned(&ASSOCIATIONS).get(&socket).copied().filter(|known| known.port == self.port)
    }
}

impl Drop for Associations {
    fn drop(&mut self) {
        unpoisoned(&ASSOCIATIONS).retain(|_, known| known.port != self.port);
    }
}

impl AsRawSocket for BorrowedSocket {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        self.raw
    }
}

/// A borrowed socket that is polled.
pub(crate) struct Polled {
    socket: BorrowedSocket,
    /// A poll without an interest, which the system does not know.
    idle: Cell<Option<OpPtr<Iocp>>>,
    cancelled: Cell<bool>,
    what: What,
}

enum What {
    /// Polled for connections or datagrams. The bridge waits for the network event; `selected`: until the event is
    /// detached.
    Arrivals { bridge: Bridge, selected: Cell<bool> },
    /// Polled for room to write.
    Stream,
}

/// The result of starting a poll.
pub(super) enum Begun {
    Ready(Readiness),
    Pending,
}

impl Polled {
    pub(super) fn new(socket: BorrowedSocket, port: &Arc<Port>) -> Result<Polled, Fault> {
        let what = if socket::kind_of(&socket)? == socket::SocketKind::Stream {
            What::Stream
        } else {
            let event = socket::select_event(&socket)?;
            What::Arrivals { bridge: Bridge::new(event, port), selected: Cell::new(true) }
        };
        Ok(Polled { socket, idle: Cell::new(None), cancelled: Cell::new(false), what })
    }

    /// The result of the packet of a pending poll. `None`: nothing is ready, and the poll continues.
    pub(super) fn found(&self, op: OpPtr<Iocp>, writers: &mut Writers) -> Result<Option<Readiness>, Fault> {
        if let What::Arrivals { bridge, .. } = &self.what {
            bridge.rest();
        }
        // Cancelled while its packet was on its way. The socket may be closed by now, and its number reused [hc05].
        if self.cancelled.get() {
            return Err(super::CANCELLED);
        }
        // It may have been found some time ago, and been handled since.
        let now = self.now();
        if !now.is_empty() {
            return Ok(Some(now));
        }
        match &self.what {
            What::Stream => writers.add(self.socket.raw as SOCKET, op)?,
            What::Arrivals { bridge, .. } => self.await_arrival(bridge, op)?,
        }
        Ok(None)
    }

    /// The socket's readiness at this moment, as far as it can be waited for.
    pub(super) fn now(&self) -> Readiness {
        match &self.what {
            What::Stream if is_writable(self.socket.raw as SOCKET) => Readiness::WRITABLE,
            What::Arrivals { .. } if socket::has_waiting(&self.socket) => Readiness::READABLE,
            _ => Readiness::NONE,
        }
    }

    pub(super) fn begin(
        &self,
        op: OpPtr<Iocp>,
        interest: Readiness,
        writers: &mut Writers,
    ) -> Result<Begun, Fault> {
        match &self.what {
            What::Arrivals { bridge, .. } if interest.contains(Readiness::READABLE) => {
                // See `Kernel::watch` for why this call comes first.
                if socket::has_waiting(&self.socket) {
                    return Ok(Begun::Ready(Readiness::READABLE));
                }
                self.await_arrival(bridge, op)?;
            }
            What::Stream if interest.contains(Readiness::WRITABLE) => {
                if is_writable(self.socket.raw as SOCKET) {
                    return Ok(Begun::Ready(Readiness::WRITABLE));
                }
                writers.add(self.socket.raw as SOCKET, op)?;
            }
            _ => self.idle.set(Some(op)),
        }
        Ok(Begun::Pending)
    }

    fn await_arrival(&self, bridge: &Bridge, op: OpPtr<Iocp>) -> Result<(), Fault> {
        socket::select(&self.socket, bridge.handle())?;
        bridge.arm(op)
    }

    /// Changes the interest of a pending poll.
    pub(super) fn change(
        &self,
        interest: Readiness,
        port: &Port,
        writers: &mut Writers,
    ) -> Result<(), Fault> {
        let asked = !(interest & Readiness::ASKABLE).is_empty();
        match self.idle.take() {
            Some(op) if asked => match self.begin(op, interest, writers) {
                // The operation is pending, so the result comes as a packet.
                Ok(Begun::Ready(_)) => {
                    port.post(Key::Ready, op.as_ptr().cast()).inspect_err(|_| self.idle.set(Some(op)))
                }
                Ok(Begun::Pending) => Ok(()),
                Err(fault) => {
                    self.idle.set(Some(op));
                    Err(fault)
                }
            },
            None if !asked => {
                // If the operation is not found, its packet is on its way; the engine knows that it is no longer
                // wanted.
                self.idle.set(self.withdraw(writers));
                Ok(())
            }
            idle => {
                self.idle.set(idle);
                Ok(())
            }
        }
    }

    /// Takes the pending operation back. Returns `None` if its packet is on its way.
    pub(super) fn cancel(&self, writers: &mut Writers) -> Option<OpPtr<Iocp>> {
        self.cancelled.set(true);
        let op = self.idle.take().or_else(|| self.withdraw(writers));
        self.deselect();
        op
    }

    /// Detaches the network event, once.
    pub(super) fn deselect(&self) {
        if let What::Arrivals { selected, .. } = &self.what {
            if selected.replace(false) {
                socket::deselect(&self.socket);
            }
        }
    }

    fn withdraw(&self, writers: &mut Writers) -> Option<OpPtr<Iocp>> {
        match &self.what {
            What::Arrivals { bridge, .. } => bridge.take(),
            What::Stream => writers.take(self.socket.raw as SOCKET),
        }
    }
}

/// The sockets that are full at the moment.
pub(super) struct Writers {
    port: Arc<Port>,
    thread: Option<WriterThread>,
}

struct WriterThread {
    shared: Arc<Mutex<Waiting>>,
    /// Its own peer: a datagram sent on it ends the `WSAPoll` in progress.
    wake: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Waiting {
    sockets: Vec<(SOCKET, SendOp)>,
    stop: bool,
}

/// An operation that waits in a list. The thread that takes it out, under the lock, sends its one packet.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SendOp(OpPtr<Iocp>);

// SAFETY: the thread only posts the pointer.
unsafe impl Send for SendOp {}

impl Writers {
    pub(super) fn new(port: &Arc<Port>) -> Writers {
        Writers { port: Arc::clone(port), thread: None }
    }

    fn add(&mut self, socket: SOCKET, op: OpPtr<Iocp>) -> Result<(), Fault> {
        if self.thread.is_none() {
            self.thread = Some(WriterThread::start(&self.port).map_err(|error| status::from_io(&error))?);
        }
        let thread = self.thread.as_ref().expect("it was just started");
        unpoisoned(&thread.shared).sockets.push((socket, SendOp(op)));
        thread.wake();
        Ok(())
    }

    fn take(&mut self, socket: SOCKET) -> Option<OpPtr<Iocp>> {
        let thread = self.thread.as_ref()?;
        let mut waiting = unpoisoned(&thread.shared);
        let at = waiting.sockets.iter().position(|entry| entry.0 == socket)?;
        let (_, op) = waiting.sockets.swap_remove(at);
        drop(waiting);
        // It must stop polling a socket that may be closed next.
        thread.wake();
        Some(op.0)
    }
}

impl WriterThread {
    fn start(port: &Arc<Port>) -> std::io::Result<WriterThread> {
        let wake = UdpSocket::bind(("127.0.0.1", 0))?;
        wake.connect(wake.local_addr()?)?;
        wake.set_nonblocking(true)?;
        let shared = Arc::new(Mutex::new(Waiting::default()));
        let (theirs, woken, port) = (Arc::clone(&shared), wake.try_clone()?, Arc::clone(port));
        let thread = thread::spawn("io_reactor writers", move || run(&theirs, &woken, &port))?;
        Ok(WriterThread { shared, wake, thread: Some(thread) })
    }

    fn wake(&self) {
        // A full queue of wakes is a wake as well.
        let _ = self.wake.send(&[0]);
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        unpoisoned(&self.shared).stop = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!(target: "dolmen", "the thread that polls for room to write has panicked");
            }
        }
    }
}

/// The thread: waits until one of the sockets has room, or the list has changed.
fn run(shared: &Mutex<Waiting>, wake: &UdpSocket, port: &Port) {
    let mut polls = Vec::new();
    loop {
        polls.clear();
        polls.push(WSAPOLLFD { fd: wake.as_raw_socket() as SOCKET, events: POLLRDNORM, revents: 0 });
        {
            let waiting = unpoisoned(shared);
            if waiting.stop {
                return;
            }
            let sockets = waiting.sockets.iter();
            polls.extend(sockets.map(|entry| WSAPOLLFD { fd: entry.0, events: POLLWRNORM, revents: 0 }));
        }
        // SAFETY: the array is writable and of that length.
        let found = unsafe { WSAPoll(polls.as_mut_ptr(), polls.len() as u32, -1) };
        if found < 0 {
            // A socket among them was closed meanwhile, and the call does not say which: check each by itself.
            polls[1..].iter_mut().for_each(|poll| poll.revents = i16::from(is_writable(poll.fd)));
            std::thread::yield_now();
        }
        while wake.recv(&mut [0; 8]).is_ok() {}
        // Any result counts: the caller's next send reports a socket that has failed.
        for poll in polls[1..].iter().filter(|poll| poll.revents != 0) {
            let mut waiting = unpoisoned(shared);
            let Some(at) = waiting.sockets.iter().position(|entry| entry.0 == poll.fd) else { continue };
            let (_, op) = waiting.sockets.swap_remove(at);
            drop(waiting);
            post(port, op);
        }
    }
}

fn post(port: &Port, SendOp(op): SendOp) {
    // See `bridge`: the packet must be sent.
    while port.post(Key::Ready, op.as_ptr().cast()).is_err() {
        std::thread::yield_now();
    }
}

/// Whether a send would not block. Failed and closed sockets do not block either.
fn is_writable(socket: SOCKET) -> bool {
    let mut poll = WSAPOLLFD { fd: socket, events: POLLWRNORM, revents: 0 };
    // SAFETY: one structure, writable, and no waiting.
    let found = unsafe { WSAPoll(&mut poll, 1, 0) };
    found != 0
}

/// The fault of a second registration.
pub(super) fn already_registered(fault: Fault) -> bool {
    fault.kind == FaultKind::AlreadyRegistered
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No operation under these locks leaves them in an inconsistent state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, any(feature = "c-api", dolmen_sim)))]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use windows_sys::Win32::System::IO::OVERLAPPED_ENTRY;

    use super::super::super::operation::{OpKind, OperationTable};
    use super::super::tests::connect_as;
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::{ConnId, Events, Reactor, Token};

    /// A socket for datagrams that is polled, its peer, and an operation for it.
    struct PollFixture {
        ours: UdpSocket,
        peer: UdpSocket,
        port: Arc<Port>,
        polled: Polled,
        operations: OperationTable<Iocp>,
        op: OpPtr<Iocp>,
    }

    impl PollFixture {
        fn new() -> PollFixture {
            let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
            let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.connect(ours.local_addr().unwrap()).unwrap();
            let port = Arc::new(Port::new().unwrap());
            let polled = Polled::new(BorrowedSocket { raw: ours.as_raw_socket() }, &port).unwrap();
            let mut operations = OperationTable::new();
            let op = operations.take(OpKind::Poll, 0, None, 0..0);
            operations.lend(op);
            PollFixture { ours, peer, port, polled, operations, op }
        }

        fn bridge(&self) -> &Bridge {
            let What::Arrivals { bridge, .. } = &self.polled.what else { unreachable!() };
            bridge
        }

        /// Whether the operation's packet comes out of the port.
        fn packet(&self, timeout_ms: u64) -> bool {
            let mut entries = [OVERLAPPED_ENTRY::default(); 4];
            let count = self.port.dequeue(&mut entries, Some(timeout_ms * 1_000_000)).unwrap();
            count == 1 && entries[0].lpOverlapped.addr() == self.op.addr().get()
        }
    }

    impl Drop for PollFixture {
        fn drop(&mut self) {
            // SAFETY: the packets are out, and the port has no others.
            unsafe { self.operations.take_back(self.op) };
        }
    }

    /// The system records that it has set the event, and waits for a call that enables it again. A wake that finds
    /// nothing leads to no such call.
    #[test]
    fn hc46_an_event_that_was_recorded_is_enabled_again_before_it_is_waited_for() {
        let fixture = PollFixture::new();
        fixture.peer.send(b"x").unwrap();
        fixture.bridge().arm(fixture.op).unwrap();
        assert!(fixture.packet(10_000), "a datagram has arrived");
        fixture.bridge().rest();
        // It was not received, so the event is not set again, whatever arrives.
        fixture.bridge().arm(fixture.op).unwrap();
        assert!(!fixture.packet(100), "then there is nothing to be shown here");
        assert!(fixture.bridge().take().is_some());
        fixture.polled.await_arrival(fixture.bridge(), fixture.op).unwrap();
        assert!(fixture.packet(10_000), "it was not reported again");
    }

    #[test]
    fn hc05_a_poll_that_is_cancelled_while_its_packet_is_on_its_way_is_over_with_the_packet() {
        let fixture = PollFixture::new();
        let mut writers = Writers::new(&fixture.port);
        let begun = fixture.polled.begin(fixture.op, Readiness::READABLE, &mut writers).unwrap();
        assert!(matches!(begun, Begun::Pending));
        fixture.peer.send(b"x").unwrap();
        assert!(fixture.packet(10_000), "a datagram has arrived");
        assert_eq!(fixture.polled.cancel(&mut writers), None, "too late");
        assert_eq!(fixture.ours.recv(&mut [0; 8]).unwrap(), 1);
        // From here on the socket belongs to the caller: no call is made on it, and no event attached again.
        let found = fixture.polled.found(fixture.op, &mut writers);
        assert_eq!(found.unwrap_err().kind, FaultKind::Cancelled);
    }

    /// A reactor, and a connected socket that the caller owns.
    struct AdoptedFixture {
        reactor: Reactor,
        events: Events,
        listener: TcpListener,
        ours: TcpStream,
        peer: TcpStream,
    }

    impl AdoptedFixture {
        fn new() -> AdoptedFixture {
            let reactor = Reactor::builder().high_water_mark(1 << 30).build().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, _) = listener.accept().unwrap();
            AdoptedFixture { reactor, events: Events::with_capacity(16), listener, ours, peer }
        }

        fn adopt(&mut self, again: bool) -> Result<ConnId, Error> {
            let socket = BorrowedSocket { raw: self.ours.as_raw_socket() };
            self.reactor.engine.adopt(socket, again, false, Token(0))
        }

        fn wait(&mut self, ms: u64) {
            self.reactor.wait(&mut self.events, Some(Duration::from_millis(ms))).unwrap();
        }

        /// Posts sends until one stays in flight: the peer reads nothing.
        fn fill(&mut self, conn: ConnId) {
            let megabyte = vec![7; 1 << 20];
            let mut posted = 0;
            while self.reactor.queued_bytes(conn).unwrap() == 0 {
                assert!(posted < 256, "{posted} MiB have gone out");
                self.reactor.engine.post_send(conn, &megabyte).unwrap();
                self.wait(50);
                posted += 1;
            }
        }

        /// The caller closes the socket, and another one gets its number. Returns false if it did not.
        fn replace(&mut self) -> bool {
            let number = self.ours.as_raw_socket();
            let spare = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            let _peer = self.listener.accept().unwrap();
            drop(std::mem::replace(&mut self.ours, spare));
            let found = connect_as(number, &self.listener);
            found.map(|pair| (self.ours, self.peer) = pair).is_some()
        }
    }

    #[test]
    fn hc18_a_socket_that_was_released_with_a_send_in_flight_is_not_added_again() {
        let mut fixture = AdoptedFixture::new();
        // When all of it has been sent the socket may be removed and added.
        for _ in 0..2 {
            let conn = fixture.adopt(true).unwrap();
            fixture.reactor.engine.post_send(conn, b"whole").unwrap();
            while fixture.reactor.queued_bytes(conn).unwrap() > 0 {
                fixture.wait(1_000);
            }
            assert!(fixture.reactor.engine.remove_adopted(conn));
            fixture.wait(0);
        }
        let conn = fixture.adopt(true).unwrap();
        fixture.fill(conn);
        assert!(fixture.reactor.engine.remove_adopted(conn));
        assert_eq!(fixture.adopt(true).unwrap_err().kind(), ErrorKind::StreamCut);
        // Also when the send has completed.
        while fixture.reactor.stats().operations_in_flight > 0 {
            fixture.wait(50);
        }
        assert_eq!(fixture.adopt(true).unwrap_err().kind(), ErrorKind::StreamCut);
    }

    /// A new socket may have the number of one that was refused.
    #[test]
    fn hc18_a_socket_with_the_number_of_one_that_was_refused_is_added() {
        let replaced = || {
            let mut fixture = AdoptedFixture::new();
            let conn = fixture.adopt(true).unwrap();
            fixture.fill(conn);
            assert!(fixture.reactor.engine.remove_adopted(conn));
            assert_eq!(fixture.adopt(true).unwrap_err().kind(), ErrorKind::StreamCut);
            if !fixture.replace() {
                return false;
            }
            let conn = fixture.adopt(true).unwrap();
            assert!(fixture.reactor.engine.remove_adopted(conn));
            let conn = fixture.adopt(true).unwrap();
            fixture.reactor.engine.remove_adopted(conn)
        };
        assert!((0..50).any(|_| replaced()), "the number is never given out again");
    }

    /// The old connection is released when the new socket is associated: the note about the first does not apply to the
    /// second.
    #[test]
    fn hc18_a_socket_that_was_closed_with_a_send_in_flight_leaves_its_number_unmarked() {
        let replaced = || {
            let mut fixture = AdoptedFixture::new();
            let old = fixture.adopt(true).unwrap();
            fixture.fill(old);
            if !fixture.replace() {
                return false;
            }
            let new = fixture.adopt(false).unwrap();
            assert!(fixture.reactor.queued_bytes(old).unwrap() > 0);
            assert!(fixture.reactor.engine.remove_adopted(old));
            assert!(fixture.reactor.engine.remove_adopted(new));
            let new = fixture.adopt(true).unwrap();
            fixture.reactor.engine.remove_adopted(new)
        };
        assert!((0..50).any(|_| replaced()), "the number is never given out again");
    }
}
