//! Accepts by AcceptEx: the socket that each has ready for its connection, and the addresses that the system writes.
//!
//! Microsoft Learn: "AcceptEx", "GetAcceptExSockaddrs".

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket};
use std::ptr::{NonNull, null, null_mut};
use std::rc::Rc;

use windows_sys::Win32::Networking::WinSock::*;
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::core::GUID;

use super::super::{Fault, FaultKind};
use super::address::socket_address;
use super::socket::{CallResult, call_result, last_socket_error};
use super::status;

/// AcceptEx's room for one address: 16 bytes more than any address takes.
const ADDRESS_BYTES: usize = size_of::<SOCKADDR_STORAGE>() + 16;

/// AcceptEx and its companion, of the listener's own provider: those in mswsock.dll would be looked up at each call,
/// and Wine's GetAcceptExSockaddrs there does nothing at all.
#[derive(Clone, Copy)]
struct Functions {
    accept_ex: LPFN_ACCEPTEX,
    sockaddrs: LPFN_GETACCEPTEXSOCKADDRS,
}

/// A listening socket that accepts by AcceptEx.
pub(crate) struct Acceptor {
    /// Shared with accepts that cannot be cancelled: see `unfound`.
    listener: Rc<Cell<Option<TcpListener>>>,
    socket: SOCKET,
    functions: Functions,
    family: i32,
    skips: bool,
}

/// What an accept needs in addition to its operation: the socket for the connection, and room for the addresses.
/// Handled through raw pointers, because the system writes the addresses while the accept is pending.
pub(crate) struct AcceptCell {
    addresses: [u8; 2 * ADDRESS_BYTES],
    socket: SOCKET,
    listener: SOCKET,
    functions: Functions,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, skips: bool) -> Result<Acceptor, (Fault, TcpListener)> {
        let family = match listener.local_addr() {
            Ok(address) => i32::from(if address.is_ipv6() { AF_INET6 } else { AF_INET }),
            Err(error) => return Err((status::from_io(&error), listener)),
        };
        match Functions::of(listener.as_raw_socket() as SOCKET) {
            Ok(functions) => {
                let socket = listener.as_raw_socket() as SOCKET;
                let listener = Rc::new(Cell::new(Some(listener)));
                Ok(Acceptor { listener, socket, functions, family, skips })
            }
            Err(fault) => Err((fault, listener)),
        }
    }

    pub(super) fn socket(&self) -> SOCKET {
        self.socket
    }

    pub(super) fn listener(&self) -> Rc<Cell<Option<TcpListener>>> {
        Rc::clone(&self.listener)
    }

    pub(super) fn skips(&self) -> bool {
        self.skips
    }

    /// Prepares a cell with a fresh socket.
    pub(super) fn prepare(&self, cells: &mut Vec<NonNull<AcceptCell>>) -> Result<NonNull<AcceptCell>, Fault> {
        let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
        // SAFETY: no pointers but a null one, which means "any provider".
        let socket = unsafe { WSASocketW(self.family, SOCK_STREAM, IPPROTO_TCP, null(), 0, flags) };
        if socket == INVALID_SOCKET {
            return Err(last_socket_error());
        }
        let (listener, functions) = (self.socket(), self.functions);
        let fresh = AcceptCell { addresses: [0; 2 * ADDRESS_BYTES], socket, listener, functions };
        Ok(match cells.pop() {
            Some(cell) => {
                // SAFETY: a cell in the list has no other user, and was made from a Box below.
                unsafe { cell.write(fresh) };
                cell
            }
            None => NonNull::from(Box::leak(Box::new(fresh))),
        })
    }

    /// # Safety
    ///
    /// The cell comes from `prepare`; it and `overlapped` stay valid and untouched until the operation has completed.
    pub(super) unsafe fn accept(&self, cell: NonNull<AcceptCell>, overlapped: *mut OVERLAPPED) -> CallResult {
        let mut bytes = 0;
        // SAFETY: the caller guarantees the cell and the overlapped; the lengths are those of `addresses`.
        let accepted = unsafe {
            self.functions.accept_ex.expect("looked up")(
                self.socket(),
                (*cell.as_ptr()).socket,
                (&raw mut (*cell.as_ptr()).addresses).cast(),
                0,
                ADDRESS_BYTES as u32,
                ADDRESS_BYTES as u32,
                &mut bytes,
                overlapped,
            )
        };
        // SAFETY: as above.
        unsafe { call_result(if accepted != 0 { 0 } else { SOCKET_ERROR }, overlapped) }
    }
}

impl AcceptCell {
    /// Makes a stream of an accept that has succeeded.
    pub(super) fn finish(cell: NonNull<AcceptCell>) -> Result<(TcpStream, SocketAddr), Fault> {
        // SAFETY: the accept has completed, so the cell is ours alone.
        let cell = unsafe { &mut *cell.as_ptr() };
        // SAFETY: the socket is the cell's, and is the stream's from here on: the cell forgets it.
        let stream = unsafe { TcpStream::from_raw_socket(cell.socket as _) };
        cell.socket = INVALID_SOCKET;
        // Until this call the socket has no peer name and cannot be shut down.
        // SAFETY: the option's value is the listener's handle, readable for the length given.
        let result = unsafe {
            setsockopt(
                stream.as_raw_socket() as SOCKET,
                SOL_SOCKET,
                SO_UPDATE_ACCEPT_CONTEXT,
                (&raw const cell.listener).cast(),
                size_of::<SOCKET>() as i32,
            )
        };
        let gone = |code| Fault { kind: FaultKind::Transient, code };
        if result != 0 {
            return Err(gone(last_socket_error().code));
        }
        let (mut local, mut remote) = (null_mut(), null_mut());
        let (mut local_len, mut remote_len) = (0, 0);
        // SAFETY: `addresses` was filled in by AcceptEx with these very lengths; the pointers that come back point
        // into it.
        unsafe {
            cell.functions.sockaddrs.expect("looked up")(
                (&raw const cell.addresses).cast(),
                0,
                ADDRESS_BYTES as u32,
                ADDRESS_BYTES as u32,
                &mut local,
                &mut local_len,
                &mut remote,
                &mut remote_len,
            );
        }
        // SAFETY: as above; `remote_len` bytes of an address are there.
        let peer = unsafe { socket_address(remote, remote_len) }.ok_or(gone(WSAEAFNOSUPPORT))?;
        Ok((stream, peer))
    }

    /// Keeps the memory for another accept. The socket of a failed accept is closed.
    pub(super) fn recycle(cell: NonNull<AcceptCell>, cells: &mut Vec<NonNull<AcceptCell>>) {
        // SAFETY: the accept has completed (or was never made), so the cell is ours alone.
        let socket = unsafe { std::mem::replace(&mut (*cell.as_ptr()).socket, INVALID_SOCKET) };
        if socket != INVALID_SOCKET {
            // SAFETY: the socket is the cell's own.
            unsafe { closesocket(socket) };
        }
        cells.push(cell);
    }

    pub(super) fn free_all(cells: &mut Vec<NonNull<AcceptCell>>) {
        for cell in cells.drain(..) {
            // SAFETY: a cell in the list has no other user, and came from a Box in `prepare`.
            drop(unsafe { Box::from_raw(cell.as_ptr()) });
        }
    }
}

impl Functions {
    fn of(listener: SOCKET) -> Result<Functions, Fault> {
        let mut functions = Functions { accept_ex: None, sockaddrs: None };
        // SAFETY: each function pointer is of the type that its id stands for.
        unsafe {
            look_up(listener, WSAID_ACCEPTEX, &mut functions.accept_ex)?;
            look_up(listener, WSAID_GETACCEPTEXSOCKADDRS, &mut functions.sockaddrs)?;
        }
        Ok(functions)
    }
}

/// # Safety
///
/// `F` is an optional function pointer, and of the type that `id` stands for.
pub(super) unsafe fn look_up<F>(listener: SOCKET, id: GUID, function: &mut Option<F>) -> Result<(), Fault> {
    const { assert!(size_of::<Option<F>>() == size_of::<usize>()) };
    let mut bytes = 0;
    // SAFETY: input and output are readable and writable for the lengths given; a null function pointer is `None`.
    let result = unsafe {
        WSAIoctl(
            listener,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of::<GUID>() as u32,
            std::ptr::from_mut(function).cast(),
            size_of::<usize>() as u32,
            &mut bytes,
            null_mut(),
            None,
        )
    };
    if result == 0 && function.is_some() { Ok(()) } else { Err(last_socket_error()) }
}
