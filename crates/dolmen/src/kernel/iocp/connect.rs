//! Connecting by ConnectEx, which needs a bound socket, and leaves one that is not complete.
//!
//! After a success the system knows the connection, but the socket does not: until its context is updated it has no
//! peer name and cannot be shut down (Wine does not have that state) [hc60]. A socket whose attempt has failed is not
//! used again.
//!
//! Microsoft Learn: "LPFN_CONNECTEX", "SO_UPDATE_CONNECT_CONTEXT".

use std::mem::{ManuallyDrop, zeroed};
use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket};
use std::ptr::{NonNull, null, null_mut};

use windows_sys::Win32::Networking::WinSock::*;

use super::super::operation::OpPtr;
use super::super::{Fault, FaultKind, Outcome, Submission};
use super::accept::look_up;
use super::operation::Extra;
use super::socket::{CallResult, SocketKind, call_result, last_socket_error};
use super::source::Source;
use super::{Iocp, overlapped, status};
use crate::address::Address;

/// The peer's address, for as long as the connect is pending.
pub(super) struct ConnectCell {
    address: SockAddr,
}

/// An address as Winsock has it.
#[derive(Clone, Copy)]
pub(super) struct SockAddr {
    storage: SOCKADDR_STORAGE,
    len: i32,
}

impl SockAddr {
    pub(super) fn new(address: SocketAddr) -> SockAddr {
        // SAFETY: plain numbers, for which zero is a value.
        let mut storage: SOCKADDR_STORAGE = unsafe { zeroed() };
        let to = &raw mut storage;
        let len = match address {
            SocketAddr::V4(v4) => {
                let ip = IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from(*v4.ip()).to_be() } };
                let (sin_family, sin_port) = (AF_INET, v4.port().to_be());
                // SAFETY: the storage has room for, and the alignment of, every address.
                unsafe {
                    to.cast::<SOCKADDR_IN>().write(SOCKADDR_IN {
                        sin_family,
                        sin_port,
                        sin_addr: ip,
                        sin_zero: [0; 8],
                    });
                }
                size_of::<SOCKADDR_IN>()
            }
            SocketAddr::V6(v6) => {
                let six = SOCKADDR_IN6 {
                    sin6_family: AF_INET6,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: IN6_ADDR { u: IN6_ADDR_0 { Byte: v6.ip().octets() } },
                    Anonymous: SOCKADDR_IN6_0 { sin6_scope_id: v6.scope_id() },
                };
                // SAFETY: as above.
                unsafe { to.cast::<SOCKADDR_IN6>().write(six) };
                size_of::<SOCKADDR_IN6>()
            }
        };
        SockAddr { storage, len: len as i32 }
    }
}

impl ConnectCell {
    /// Called once the connect has completed, or was never begun.
    pub(super) fn free(cell: NonNull<ConnectCell>) {
        // SAFETY: it was made from a Box in `begin_connect`, and the system is done with it.
        drop(unsafe { Box::from_raw(cell.as_ptr()) });
    }
}

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
                socket
            }
            None => make_socket(address)?,
        };
        self.calls += 3;
        bind_if_unbound(&stream, address)?;
        let (skips, id) = self.associate(stream.as_raw_socket() as SOCKET)?;
        Ok(Source::Stream { stream: ManuallyDrop::new(stream), skips, borrowed: false, id })
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
        let cell = NonNull::from(Box::leak(Box::new(ConnectCell { address: SockAddr::new(address) })));
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
                ConnectCell::free(cell);
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
            return Err(last_socket_error());
        }
        let address = |address: std::io::Result<SocketAddr>| {
            address.map(Address::Ip).map_err(|error| status::from_io(&error))
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

fn make_socket(address: SocketAddr) -> Result<TcpStream, Fault> {
    let family = i32::from(if address.is_ipv6() { AF_INET6 } else { AF_INET });
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    // SAFETY: no pointers but a null one, which means "any provider".
    let socket = unsafe { WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, null(), 0, flags) };
    if socket == INVALID_SOCKET {
        return Err(last_socket_error());
    }
    // SAFETY: the socket was just made and only we have it.
    Ok(unsafe { TcpStream::from_raw_socket(socket as _) })
}

/// ConnectEx refuses a socket without an address of its own.
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
    if result == 0 { Ok(()) } else { Err(last_socket_error()) }
}
