//! The socket calls: each function makes one and returns its result.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawHandle, AsRawSocket, AsSocket, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Networking::WinSock::*;
use windows_sys::Win32::Storage::FileSystem::SetFileCompletionNotificationModes;
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};
use windows_sys::Win32::System::Threading::CreateEventW;
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};

use super::super::{Fault, FaultKind, Immediate};
use super::port::last_error;
use super::status;

/// The result of an overlapped call. One that completes immediately may be followed by a packet all the same.
pub(super) enum CallResult {
    Immediate(Immediate, Result<usize, Fault>),
    Pending,
}

pub(super) fn last_socket_error() -> Fault {
    // SAFETY: reads a variable of this thread.
    status::from_code(unsafe { WSAGetLastError() })
}

/// The number of bytes is taken from the OVERLAPPED. The calls are not given a place for it: what they store there
/// while the operation continues in another thread may be wrong.
///
/// # Safety
///
/// `overlapped` was passed to a call of this thread that has just returned `result`, 0 for success.
pub(super) unsafe fn call_result(result: i32, overlapped: *mut OVERLAPPED) -> CallResult {
    if result == 0 {
        // SAFETY: it has completed; a packet that may follow does not change the OVERLAPPED any more.
        return CallResult::Immediate(Immediate::Success, Ok(unsafe { (*overlapped).InternalHigh }));
    }
    match last_socket_error() {
        fault if fault.code == WSA_IO_PENDING => CallResult::Pending,
        fault => {
            // SAFETY: as above.
            let status = unsafe { (*overlapped).Internal };
            CallResult::Immediate(status::failed_immediately(status), Err(fault))
        }
    }
}

/// # Safety
///
/// `target` (pointer and room) and `overlapped` stay valid and untouched until the operation has completed.
pub(super) unsafe fn receive(
    socket: SOCKET,
    target: (*mut u8, usize),
    overlapped: *mut OVERLAPPED,
) -> CallResult {
    let buffer = WSABUF { buf: target.0, len: u32::try_from(target.1).unwrap_or(u32::MAX) };
    let mut flags = 0;
    // SAFETY: the caller guarantees that what must outlive the call does; the WSABUF itself is captured by the call,
    // and `flags` is used only when it succeeds immediately.
    unsafe {
        let result = WSARecv(socket, &buffer, 1, null_mut(), &mut flags, overlapped, None);
        call_result(result, overlapped)
    }
}

/// # Safety
///
/// `bytes` and `overlapped` stay valid and untouched until the operation has completed.
pub(super) unsafe fn send(socket: SOCKET, bytes: *const [u8], overlapped: *mut OVERLAPPED) -> CallResult {
    // The system only reads through the pointer, whatever its type says.
    let buffer =
        WSABUF { buf: bytes.cast::<u8>().cast_mut(), len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) };
    // SAFETY: as in `receive`.
    unsafe {
        let result = WSASend(socket, &buffer, 1, null_mut(), 0, overlapped, None);
        call_result(result, overlapped)
    }
}

/// Requests the end of one operation, whichever thread began it [hc03]. Returns false if the system does not find it.
///
/// # Safety
///
/// `overlapped` is pending on the socket, or its packet is on its way.
pub(super) unsafe fn cancel(socket: SOCKET, overlapped: *mut OVERLAPPED) -> Result<bool, Fault> {
    // SAFETY: the pointer only identifies the operation.
    if unsafe { CancelIoEx(socket as HANDLE, overlapped) } != 0 {
        return Ok(true);
    }
    match last_error() {
        fault if fault.code == status::NOT_FOUND => Ok(false),
        fault => Err(fault),
    }
}

/// Whether the socket's handle is the real one, and not that of a layered provider which generates its own packets.
pub(super) fn is_installable_file_system(socket: SOCKET) -> bool {
    protocol(socket).is_ok_and(|info| info.dwServiceFlags1 & XP1_IFS_HANDLES != 0)
}

/// `AF_INET` or another.
pub(super) fn family(socket: SOCKET) -> Result<i32, Fault> {
    protocol(socket).map(|info| info.iAddressFamily)
}

fn protocol(socket: SOCKET) -> Result<WSAPROTOCOL_INFOW, Fault> {
    let mut info = WSAPROTOCOL_INFOW::default();
    let mut len = size_of::<WSAPROTOCOL_INFOW>() as i32;
    // SAFETY: `info` has room for `len` bytes.
    let result =
        unsafe { getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, (&raw mut info).cast(), &mut len) };
    if result == 0 { Ok(info) } else { Err(last_socket_error()) }
}

/// Makes operations that succeed immediately omit their packet. Returns whether they will.
pub(super) fn skip_on_success(socket: SOCKET) -> bool {
    let modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
    // SAFETY: an invalid handle would be refused by the call.
    unsafe { SetFileCompletionNotificationModes(socket as HANDLE, modes as u8) != 0 }
}

/// The probes follow each other in seconds, which is the system's default as well: Microsoft Learn, "SIO_KEEPALIVE_VALS".
pub(crate) fn set_keepalive(stream: &TcpStream, after: Option<Duration>) -> io::Result<()> {
    let milliseconds = after.map_or(0, |after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1));
    let values = tcp_keepalive {
        onoff: u32::from(after.is_some()),
        keepalivetime: milliseconds,
        keepaliveinterval: 1_000,
    };
    let mut returned = 0;
    // SAFETY: the socket is open, `values` is readable for the length given, and the call is not overlapped.
    let result = unsafe {
        WSAIoctl(
            stream.as_raw_socket() as SOCKET,
            SIO_KEEPALIVE_VALS,
            (&raw const values).cast(),
            size_of::<tcp_keepalive>() as u32,
            null_mut(),
            0,
            &mut returned,
            null_mut(),
            None,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_socket_error().to_io()) }
}

pub(super) fn reset_on_close(stream: &TcpStream) {
    let linger = LINGER { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` is readable for the length given.
    let result = unsafe {
        setsockopt(
            stream.as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_LINGER,
            (&raw const linger).cast(),
            size_of::<LINGER>() as i32,
        )
    };
    if result != 0 {
        // It is then closed with FIN instead, which also ends it.
        tracing::debug!(target: "dolmen", error = %last_socket_error().to_io(), "no reset on close");
    }
}

/// Makes an event that is set when connections wait at a listener, or datagrams. Makes the socket non-blocking.
pub(super) fn select_event(socket: &impl AsRawSocket) -> Result<OwnedHandle, Fault> {
    // Auto-reset: the wait that sees it resets it.
    // SAFETY: no pointers but null ones, which mean "no attributes" and "no name".
    let event = unsafe { CreateEventW(null(), 0, 0, null()) };
    if event.is_null() {
        return Err(last_error());
    }
    // SAFETY: the handle was just made and only we have it.
    let event = unsafe { OwnedHandle::from_raw_handle(event) };
    select(socket, &event)?;
    Ok(event)
}

/// Makes the system set an event when connections or datagrams arrive, and immediately if some wait.
///
/// The system records that it has set the event, and sets it again only after a call that re-enables it: an accept or a
/// receive. If what had arrived disappears without one (the peer reset its connection), no such call comes. This call
/// clears the record as well, so it comes before each wait for the event (see "WSAEventSelect", Remarks) [hc46].
pub(super) fn select(socket: &impl AsRawSocket, event: &impl AsRawHandle) -> Result<(), Fault> {
    let (socket, event) = (socket.as_raw_socket() as SOCKET, event.as_raw_handle() as WSAEVENT);
    // SAFETY: both handles are open.
    let result = unsafe { WSAEventSelect(socket, event, (FD_ACCEPT | FD_READ) as i32) };
    if result == 0 { Ok(()) } else { Err(last_socket_error()) }
}

/// Whether a network event is attached to a socket. The system then refuses to make it blocking. Otherwise this call has
/// made it blocking, as another socket is when it is new.
///
/// Microsoft Learn: "WSAEventSelect", Remarks; "Winsock IOCTLs", FIONBIO.
#[cfg(any(feature = "c-api", dolmen_sim))]
pub(super) fn has_event(socket: &impl AsRawSocket) -> bool {
    let mut off = 0;
    // SAFETY: `off` is what the command reads; a number that is not a socket is refused.
    let result = unsafe { ioctlsocket(socket.as_raw_socket() as SOCKET, FIONBIO, &mut off) };
    result != 0 && last_socket_error().code == WSAEINVAL
}

/// Detaches the network event from the socket.
pub(super) fn deselect(socket: &impl AsRawSocket) {
    // SAFETY: the socket is open; no event is passed.
    let result = unsafe { WSAEventSelect(socket.as_raw_socket() as SOCKET, 0, 0) };
    if result != 0 {
        tracing::debug!(target: "dolmen", error = %last_socket_error().to_io(), "cannot end an event association");
    }
}

/// Keeps other programs off the address to which a socket will be bound (`SO_EXCLUSIVEADDRUSE`). Windows only.
///
/// On Windows another program, of any user, can bind a socket with `SO_REUSEADDR` to an address that is in use, and
/// then gets connections that were meant for the first. A server requests the exclusive use of its address, between
/// making the socket and binding it; a [`TcpListener`] of the standard library is bound already. The address becomes
/// free again when the connections that were accepted there have ended, too, including those of a process that has just
/// ended.
///
/// ```
/// use socket2::{Domain, Socket, Type};
///
/// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
/// dolmen::set_exclusive_address_use(&socket)?;
/// socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
/// socket.listen(128)?;
/// let mut reactor = dolmen::Reactor::new()?;
/// reactor.listen(socket.into(), dolmen::Token(0))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// The system's error, for a socket that is bound already, or a handle that is not a socket.
///
/// # References
///
/// Microsoft Learn: "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE".
pub fn set_exclusive_address_use(socket: &impl AsSocket) -> std::io::Result<()> {
    let exclusive: i32 = 1;
    // SAFETY: the socket is open, and the option's value readable for the length given.
    let result = unsafe {
        setsockopt(
            socket.as_socket().as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const exclusive).cast(),
            size_of::<i32>() as i32,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_socket_error().to_io()) }
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketKind {
    /// A stream of bytes, connected or not.
    Stream,
    /// A listening socket for such streams.
    Listener,
    /// A datagram socket, or something rarer.
    Other,
}

/// Returns the kind of a socket. Fails for a handle that is not a socket.
pub(super) fn kind_of(socket: &impl AsRawSocket) -> Result<SocketKind, Fault> {
    if type_of(socket)? != SOCK_STREAM {
        return Ok(SocketKind::Other);
    }
    Ok(if option(socket, SO_ACCEPTCONN)? == 0 { SocketKind::Stream } else { SocketKind::Listener })
}

/// Returns the type of a socket. Fails for a handle that is not a socket.
pub(super) fn type_of(socket: &impl AsRawSocket) -> Result<i32, Fault> {
    option(socket, SO_TYPE)
}

fn option(socket: &impl AsRawSocket, option: i32) -> Result<i32, Fault> {
    let (mut value, mut len) = (0i32, size_of::<i32>() as i32);
    // SAFETY: `value` has room for `len` bytes.
    let result = unsafe {
        getsockopt(socket.as_raw_socket() as SOCKET, SOL_SOCKET, option, (&raw mut value).cast(), &mut len)
    };
    if result == 0 { Ok(value) } else { Err(last_socket_error()) }
}

/// How many bytes have been received and not handed out; zero if the socket cannot say.
pub(super) fn unread(socket: &impl AsRawSocket) -> usize {
    let mut bytes = 0;
    // SAFETY: the result is a number, and `bytes` has room for it.
    let result = unsafe { ioctlsocket(socket.as_raw_socket() as SOCKET, FIONREAD, &mut bytes) };
    if result == 0 { bytes as usize } else { 0 }
}

/// Whether connections wait at a listener, or datagrams, or a failure: an accept or a receive would not block.
pub(super) fn has_waiting(socket: &impl AsRawSocket) -> bool {
    let mut entry = WSAPOLLFD { fd: socket.as_raw_socket() as SOCKET, events: POLLRDNORM, revents: 0 };
    // SAFETY: one structure, writable, and no waiting.
    unsafe { WSAPoll(&mut entry, 1, 0) != 0 }
}

/// Accepts from a non-blocking listener.
pub(super) fn accept_now(listener: &TcpListener) -> Result<Option<(TcpStream, SocketAddr)>, Fault> {
    for _ in 0..MOST_TRANSIENTS {
        match listener.accept() {
            Ok((stream, peer)) => {
                // An accepted socket inherits the listener's event association and its non-blocking mode; the second
                // cannot be undone before the first [hc08].
                deselect(&stream);
                do_not_inherit(&stream);
                stream.set_nonblocking(false).map_err(|error| status::from_io(&error))?;
                return Ok(Some((stream, peer)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            // A peer that was gone before it was accepted.
            Err(error) if status::from_io(&error).kind == FaultKind::Reset => {}
            Err(error) => return Err(status::from_io(&error)),
        }
    }
    // There may be others behind them: the listener is still ready, and the next call finds them.
    Ok(None)
}

/// How many peers that are already gone one accept skips.
const MOST_TRANSIENTS: usize = 64;

/// Child processes must not have the socket. Accepted ones are inheritable, unless the provider makes them otherwise.
fn do_not_inherit(socket: &impl AsRawSocket) {
    // SAFETY: the handle is open.
    let set = unsafe { SetHandleInformation(socket.as_raw_socket() as HANDLE, HANDLE_FLAG_INHERIT, 0) };
    if set == 0 {
        tracing::debug!(target: "dolmen", error = %last_error().to_io(), "child processes may inherit a socket");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wine refuses a second bind with or without it, so here it is only read back.
    #[test]
    fn an_address_is_used_exclusively_once_that_was_asked_for() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        assert_eq!(option(&socket, SO_EXCLUSIVEADDRUSE).unwrap(), 0);
        set_exclusive_address_use(&socket).unwrap();
        assert_eq!(option(&socket, SO_EXCLUSIVEADDRUSE).unwrap(), 1);
    }
}
