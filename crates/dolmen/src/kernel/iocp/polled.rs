//! Borrowed sockets that are polled.
//!
//! Two things can be polled here. The first is a listener for connections, or a socket for datagrams, whose owner wants
//! each with its address: by `WSAEventSelect` and a bridge, like a readiness listener. The second is a connected stream
//! for room to write, when the caller's `send` would have blocked: a thread waits for it; see [`super::writers`].
//!
//! Microsoft Learn: "WSAEventSelect".

use std::cell::Cell;
use std::os::windows::io::AsRawSocket;
use std::sync::Arc;

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::super::Fault;
use super::super::arrivals::Key;
use super::super::operation::OpPtr;
use super::super::readiness::{BorrowedSocket, Readiness};
use super::bridge::Bridge;
use super::port::Port;
use super::writers::{Writers, is_writable};
use super::{Iocp, socket};

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

    /// Whether the number still stands for this socket. A network event is attached to a listener or a datagram socket for
    /// as long as it is polled, and another socket that has got the number since has none, unless the caller attached one.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn is_same(&self) -> Option<bool> {
        match &self.what {
            What::Arrivals { selected, .. } if selected.get() => Some(socket::has_event(&self.socket)),
            _ => None,
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

#[cfg(all(test, any(feature = "c-api", dolmen_sim)))]
mod tests {
    use std::net::UdpSocket;

    use windows_sys::Win32::System::IO::OVERLAPPED_ENTRY;

    use super::super::super::operation::{OpKind, OperationTable};
    use super::*;
    use crate::kernel::FaultKind;

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
}
