//! Datagram sockets, by WSARecvFrom and WSASendTo.
//!
//! A receive always lends a real buffer. One of zero bytes, as streams have, would *eat* the datagram for which it
//! completes, unless it only peeks [hc61]. So the engine keeps only one receive posted for each socket.
//!
//! A datagram that is longer than the buffer completes with a warning status, and the buffer is full: it was received, and
//! its rest is lost. Nothing says whether a packet comes for a warning on a socket that sends none for success, and memory
//! must not depend on a guess. So these sockets send a packet for success as well, and then for a warning too [hc40].
//!
//! What the system writes or reads besides the buffer, an address and its length, lies in a cell that stays where it is
//! until the packet; cells are used again.
//!
//! Windows reports an ICMP message as a reset of the *socket*, at any receive that follows, from any peer. That is
//! turned off; where it comes all the same (10054, 10052) the socket goes on [hc62].
//!
//! Microsoft Learn: "WSARecvFrom", "WSASendTo", "Winsock IOCTLs" (SIO_UDP_CONNRESET, SIO_UDP_NETRESET).

use std::mem::ManuallyDrop;
use std::net::{SocketAddr, UdpSocket};
use std::os::windows::io::AsRawSocket as _;
use std::ptr::{NonNull, null_mut};

use windows_sys::Win32::Networking::WinSock::*;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::super::lent::Lent;
use super::super::operation::{OpPtr, bytes_to_send};
use super::super::{Fault, FaultKind, Immediate, Outcome, Submission};
use super::address::AddressCell;
use super::associations::SocketId;
use super::operation::Extra;
use super::socket::{self, CallResult, call_result};
use super::source::Source;
use super::{Iocp, overlapped, status};
use crate::kernel::buffer_pool::BufferPool;

/// `_WSAIOW(IOC_VENDOR, 15)`, which the bindings lack.
const SIO_UDP_NETRESET: u32 = 0x9800_000F;

pub(crate) struct DatagramSocket {
    /// Dropped, and so closed, by hand: it may have been closed early.
    pub(super) socket: ManuallyDrop<UdpSocket>,
    pub(super) id: SocketId,
}

impl DatagramSocket {
    pub(super) fn raw(&self) -> SOCKET {
        self.socket.as_raw_socket() as SOCKET
    }
}

impl Iocp {
    pub(super) fn add_datagrams(&mut self, socket: UdpSocket) -> Result<Source, (Fault, UdpSocket)> {
        self.calls += 2;
        match check(&socket).and_then(|()| self.associate_with_packets(socket.as_raw_socket() as SOCKET)) {
            Ok(id) => {
                self.calls += 2;
                for control in [SIO_UDP_CONNRESET, SIO_UDP_NETRESET] {
                    turn_off(&socket, control);
                }
                let socket = ManuallyDrop::new(socket);
                Ok(Source::Datagrams(Box::new(DatagramSocket { socket, id })))
            }
            Err(fault) => Err((fault, socket)),
        }
    }

    /// # Safety
    ///
    /// As for [`Kernel::receive_from`](super::Kernel::receive_from).
    pub(super) unsafe fn post_receive_from(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        pool: &BufferPool,
    ) -> Submission<Self> {
        let Source::Datagrams(datagrams) = source else { unreachable!("it was added as a datagram socket") };
        self.calls += 1;
        let cell = self.address_cells.for_receive();
        let mut buffer = pool.take();
        let (target, room) = buffer.as_target();
        assert!(room > 0, "a receive of zero bytes eats the datagram");
        // SAFETY: the operation was handed to us and is not submitted yet. All of this is stored before the call,
        // because the packet may come before the call returns [hc02].
        let started = unsafe {
            (*cell.as_ptr()).room = room;
            (*op.as_ptr()).header.extra = Extra::Datagram(cell);
            (*op.as_ptr()).lent = Some(Lent::Buffer(buffer));
            receive_from(datagrams.raw(), (target, room), cell, overlapped(op))
        };
        match started {
            CallResult::Immediate(Immediate::Error, Err(fault)) => {
                // SAFETY: it has failed without a packet, so the cell is ours. The operation drops its buffer.
                unsafe { self.address_cells.give_back(cell) };
                Submission::Failed(datagram_fault(fault))
            }
            CallResult::Immediate(..) | CallResult::Pending => Submission::Pending,
        }
    }

    /// # Safety
    ///
    /// As for [`Kernel::send_to`](super::Kernel::send_to).
    pub(super) unsafe fn post_send_to(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        to: SocketAddr,
    ) -> Submission<Self> {
        let Source::Datagrams(datagrams) = source else { unreachable!("it was added as a datagram socket") };
        self.calls += 1;
        let cell = self.address_cells.for_send(to);
        // SAFETY: as above; the bytes in the operation's buffer stay where they are until its packet.
        let started = unsafe {
            (*op.as_ptr()).header.extra = Extra::Datagram(cell);
            send_to(datagrams.raw(), bytes_to_send(op), cell, overlapped(op))
        };
        match started {
            CallResult::Immediate(Immediate::Error, Err(fault)) => {
                // SAFETY: it has failed without a packet, so the cell is ours.
                unsafe { self.address_cells.give_back(cell) };
                Submission::Failed(datagram_fault(fault))
            }
            CallResult::Immediate(..) | CallResult::Pending => Submission::Pending,
        }
    }

    /// Decodes the packet of a receive.
    ///
    /// # Safety
    ///
    /// The system is done with the operation, and has left this status in it.
    pub(super) unsafe fn receive_from_completed(
        &mut self,
        op: OpPtr<Self>,
        ntstatus: i32,
    ) -> Result<Outcome<Self>, Fault> {
        // SAFETY: the operation is ours again, and so is its buffer.
        let (extra, lent, bytes) = unsafe {
            let cell = op.as_ptr();
            ((*cell).header.extra, (*cell).lent.take(), (*cell).header.overlapped.InternalHigh)
        };
        let Extra::Datagram(cell) = extra else { unreachable!("a datagram has its cell") };
        // SAFETY: as above.
        let (from, room) = unsafe { (self.address_cells.give_back(cell), (*cell.as_ptr()).room) };
        let truncated = status::is_cut(ntstatus);
        if let (false, Err(fault)) = (truncated, status::from_ntstatus(ntstatus)) {
            return Err(datagram_fault(fault));
        }
        let mut buffer = lent.and_then(Lent::into_buffer).expect("a receive of datagrams lends a buffer");
        // SAFETY: the system has written that many bytes at the buffer's start, and no more than there was room for.
        unsafe { buffer.set_filled(bytes.min(room)) };
        let from = from.ok_or(Fault { kind: FaultKind::Other, code: WSAEAFNOSUPPORT })?;
        Ok(Outcome::Datagram { buffer, from, truncated })
    }

    /// Decodes the packet of a send.
    ///
    /// # Safety
    ///
    /// The system is done with the operation.
    pub(super) unsafe fn send_to_completed(
        &mut self,
        op: OpPtr<Self>,
        result: Result<(), Fault>,
        bytes: usize,
    ) -> Result<Outcome<Self>, Fault> {
        // SAFETY: the operation is ours again.
        let Extra::Datagram(cell) = (unsafe { (*op.as_ptr()).header.extra }) else {
            unreachable!("a datagram has its cell")
        };
        // SAFETY: as above.
        unsafe { self.address_cells.give_back(cell) };
        result.map(|()| Outcome::Sent(bytes)).map_err(datagram_fault)
    }
}

/// Refuses what is not a bound datagram socket of the internet: a receive from it would fail again and again [p16].
fn check(socket: &UdpSocket) -> Result<(), Fault> {
    let invalid = |code| Fault { kind: FaultKind::Invalid, code };
    if socket::type_of(socket)? != SOCK_DGRAM {
        return Err(invalid(status::WRONG_TYPE));
    }
    match socket.local_addr() {
        Ok(address) if address.port() == 0 => Err(invalid(status::INVALID)),
        Ok(_) => Ok(()),
        Err(error) => Err(Fault { kind: FaultKind::Invalid, ..status::from_io(&error) }),
    }
}

/// Turns a report of ICMP messages off, where the system has it.
fn turn_off(socket: &UdpSocket, control: u32) {
    let (off, mut returned) = (0u32, 0);
    // SAFETY: the socket is open, `off` is readable for the length given, and the call is not overlapped.
    let result = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as SOCKET,
            control,
            (&raw const off).cast(),
            size_of::<u32>() as u32,
            null_mut(),
            0,
            &mut returned,
            null_mut(),
            None,
        )
    };
    if result != 0 {
        let error = socket::last_socket_error().to_io();
        tracing::debug!(target: "dolmen", %error, control, "a report of ICMP messages stays on");
    }
}

/// # Safety
///
/// `target` (pointer and room), the cell and `overlapped` stay valid and untouched until the operation has completed.
unsafe fn receive_from(
    socket: SOCKET,
    target: (*mut u8, usize),
    cell: NonNull<AddressCell>,
    overlapped: *mut OVERLAPPED,
) -> CallResult {
    let buffer = WSABUF { buf: target.0, len: u32::try_from(target.1).unwrap_or(u32::MAX) };
    let cell = cell.as_ptr();
    // SAFETY: the caller guarantees that what must outlive the call does; the WSABUF itself is captured by the call.
    unsafe {
        let (from, len) = (&raw mut (*cell).address.storage, &raw mut (*cell).address.len);
        let flags = &raw mut (*cell).flags;
        let result = WSARecvFrom(socket, &buffer, 1, null_mut(), flags, from.cast(), len, overlapped, None);
        call_result(result, overlapped)
    }
}

/// # Safety
///
/// `bytes`, the cell and `overlapped` stay valid and untouched until the operation has completed.
unsafe fn send_to(
    socket: SOCKET,
    bytes: *const [u8],
    cell: NonNull<AddressCell>,
    overlapped: *mut OVERLAPPED,
) -> CallResult {
    // The system only reads through the pointer, whatever its type says.
    let buffer =
        WSABUF { buf: bytes.cast::<u8>().cast_mut(), len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) };
    let cell = cell.as_ptr();
    // SAFETY: as in `receive_from`.
    unsafe {
        let (to, len) = (&raw const (*cell).address.storage, (*cell).address.len);
        let result = WSASendTo(socket, &buffer, 1, null_mut(), 0, to.cast(), len, overlapped, None);
        call_result(result, overlapped)
    }
}

/// The errors that the network reports for an earlier datagram are over when they have been returned [hc62].
fn datagram_fault(fault: Fault) -> Fault {
    match fault.code {
        WSAECONNRESET | WSAENETRESET | WSAECONNREFUSED | WSAENETUNREACH | WSAEHOSTUNREACH | WSAEMSGSIZE => {
            Fault { kind: FaultKind::Transient, ..fault }
        }
        _ => fault,
    }
}
