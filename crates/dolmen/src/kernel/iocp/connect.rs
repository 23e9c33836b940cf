//! Connecting by ConnectEx, which needs a bound socket, and leaves one that is not complete.
//!
//! After a success the system knows the connection, but the socket does not: until its context is updated it has no
//! peer name and cannot be shut down (Wine does not have that state) [hc60]. A socket whose attempt has failed is not
//! used again.
//!
//! Microsoft Learn: "LPFN_CONNECTEX", "SO_UPDATE_CONNECT_CONTEXT".

use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Networking::WinSock::*;

use super::super::operation::OpPtr;
use super::super::{Fault, FaultKind, Outcome, Submission};
use super::accept::look_up;
use super::address::SockAddr;
use super::operation::Extra;
use super::socket::{CallResult, SocketKind, call_result, family, last_socket_error};
use super::source::Source;
use super::{Iocp, overlapped, status};
use crate::address::Address;
#[cfg(any(feature = "c-api", dolmen_sim))]
use crate::kernel::readiness::BorrowedSocket;

impl Iocp {
    pub(super) fn open_dial(
        &mut self,
        address: &Address,
        prepared: Option<TcpStream>,
    ) -> Result<Source, Fault> {
        let Address::Ip(address) = *address;
        let stream = match prepared {
            Some(socket) => {
                self.check(&socket, SocketKind::Stream)?;
                if socket.peer_addr().is_ok() {
                    return Err(Fault { kind: FaultKind::Invalid, code: WSAEISCONN });
                }
                self.calls += 1;
                if family(socket.as_raw_socket() as SOCKET)? != family_of(address) {
                    return Err(Fault { kind: FaultKind::WrongFamily, code: WSAEAFNOSUPPORT });
                }
                socket
            }
            None => make_socket(address)?,
        };
        self.calls += 3;
        bind_if_unbound(&stream, address)?;
        let (skips, id) = self.associate(stream.as_raw_socket() as SOCKET)?;
        Ok(Source::Stream { stream: ManuallyDrop::new(stream), skips, borrowed: false, id })
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn borrow_dial(
        &mut self,
        borrowed: BorrowedSocket,
        address: &Address,
        again: bool,
    ) -> Result<Source, Fault> {
        let Address::Ip(address) = *address;
        self.check(&borrowed, SocketKind::Stream)?;
        // SAFETY: the caller keeps the socket open while it is registered; it is never dropped, and so not closed.
        let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(borrowed.as_raw_socket()) });
        if stream.peer_addr().is_ok() {
            return Err(Fault { kind: FaultKind::Invalid, code: WSAEISCONN });
        }
        self.calls += 3;
        bind_if_unbound(&stream, address)?;
        let (skips, id) = self.associate_borrowed(stream.as_raw_socket() as SOCKET, again)?;
        Ok(Source::Stream { stream, skips, borrowed: true, id })
    }

    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn begin_connect(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        address: &Address,
    ) -> Submission<Self> {
        let Source::Stream { stream, skips, .. } = source else { unreachable!("a connect is for a dial") };
        let Address::Ip(address) = *address;
        let socket = stream.as_raw_socket() as SOCKET;
        self.calls += 2;
        let mut connect_ex: LPFN_CONNECTEX = None;
        // SAFETY: the function pointer is of the type that the id stands for.
        if let Err(fault) = unsafe { look_up(socket, WSAID_CONNECTEX, &mut connect_ex) } {
            return Submission::Failed(fault);
        }
        let cell = self.address_cells.for_send(address);
        // SAFETY: the operation is ours to prepare; from the call on, it and the cell are the system's. Nothing is sent
        // with the connect.
        let started = unsafe {
            (*op.as_ptr()).header.extra = Extra::Connect(cell);
            let address = &raw const (*cell.as_ptr()).address;
            let connect_ex = connect_ex.expect("it was just looked up");
            let begun = connect_ex(
                socket,
                (&raw const (*address).storage).cast(),
                (*address).len,
                null(),
                0,
                null_mut(),
                overlapped(op),
            );
            call_result(if begun != 0 { 0 } else { SOCKET_ERROR }, overlapped(op))
        };
        match started {
            CallResult::Immediate(how, _) if how.sends_packet(*skips) => Submission::Pending,
            CallResult::Immediate(_, result) => {
                // SAFETY: it has completed without a packet.
                unsafe { self.address_cells.give_back(cell) };
                match result {
                    Ok(_) => Submission::Done(Outcome::Connected),
                    Err(fault) => Submission::Failed(connect_fault(fault)),
                }
            }
            CallResult::Pending => Submission::Pending,
        }
    }

    pub(super) fn end_connect(&mut self, source: &Source) -> Result<(Address, Address), Fault> {
        let Source::Stream { stream, .. } = source else { unreachable!("it was a dial") };
        self.calls += 3;
        // SAFETY: the option has no value.
        let updated = unsafe {
            setsockopt(stream.as_raw_socket() as SOCKET, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, null(), 0)
        };
        if updated != 0 {
            return Err(connect_fault(last_socket_error()));
        }
        let address = |address: std::io::Result<SocketAddr>| {
            address.map(Address::Ip).map_err(|error| connect_fault(status::from_io(&error)))
        };
        Ok((address(stream.local_addr())?, address(stream.peer_addr())?))
    }
}

/// Every failure is final: a socket connects once.
pub(super) fn connect_fault(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Cancelled => fault,
        _ => Fault { kind: FaultKind::Other, ..fault },
    }
}

fn family_of(address: SocketAddr) -> i32 {
    i32::from(if address.is_ipv6() { AF_INET6 } else { AF_INET })
}

fn make_socket(address: SocketAddr) -> Result<TcpStream, Fault> {
    let family = family_of(address);
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    // SAFETY: no pointers but a null one, which means "any provider".
    let socket = unsafe { WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, null(), 0, flags) };
    if socket == INVALID_SOCKET {
        return Err(last_socket_error());
    }
    // SAFETY: the socket was just made and only we have it.
    Ok(unsafe { TcpStream::from_raw_socket(socket as _) })
}

/// ConnectEx refuses a socket without an address of its own. One with SO_REUSE_UNICASTPORT is bound without a port until
/// it connects, and only a second bind shows that.
fn bind_if_unbound(socket: &TcpStream, peer: SocketAddr) -> Result<(), Fault> {
    if socket.local_addr().is_ok_and(|own| own.port() != 0) {
        return Ok(());
    }
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let any = SockAddr::new(any);
    // SAFETY: the address is readable for the length given.
    let result = unsafe { bind(socket.as_raw_socket() as SOCKET, (&raw const any.storage).cast(), any.len) };
    match result {
        0 => Ok(()),
        _ => Err(last_socket_error())
            .or_else(|fault| if fault.code == WSAEINVAL { Ok(()) } else { Err(fault) }),
    }
}
