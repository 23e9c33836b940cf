//! The system calls for listeners whose connections the library accepts.
//!
//! Manual pages: accept(2), socket(7). Microsoft Learn: "accept", "WSAEventSelect", "SOL_SOCKET Socket Options".

use std::io;

use crate::accepting::Accepted;
use crate::types::socket_fd_t;

#[cfg(unix)]
pub(super) use posix::*;
#[cfg(windows)]
pub(super) use windows::*;

#[cfg(unix)]
mod posix {
    use std::ptr::null_mut;

    use super::*;

    pub(crate) fn is_listening(fd: socket_fd_t) -> bool {
        let (mut listens, mut size) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: `listens` has room for `size` bytes.
        let found = unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, (&raw mut listens).cast(), &mut size)
        };
        found == 0 && listens != 0
    }

    pub(crate) fn set_nonblocking(fd: socket_fd_t) -> io::Result<()> {
        // SAFETY: these commands take and return a number; an invalid descriptor is refused.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        // SAFETY: as above.
        if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub(crate) fn accept(fd: socket_fd_t) -> io::Result<Accepted> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the peer's address is not asked for.
        let socket = unsafe { libc::accept4(fd, null_mut(), null_mut(), flags) };
        if socket >= 0 {
            return Ok(Accepted::Connection(socket));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(Accepted::Nothing),
            // Linux returns errors of the new connection as well: the manual page lists those of the network.
            Some(
                libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH,
            ) => Ok(Accepted::Gone),
            _ => Err(error),
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::ptr::null_mut;

    use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation};
    use windows_sys::Win32::Networking::WinSock::{
        FIONBIO, INVALID_SOCKET, SO_ACCEPTCONN, SOCKET, SOL_SOCKET, WSAECONNABORTED, WSAECONNRESET,
        WSAEWOULDBLOCK, WSAEventSelect, WSAGetLastError, closesocket, getsockopt, ioctlsocket,
    };

    use super::*;

    pub(crate) fn is_listening(fd: socket_fd_t) -> bool {
        let (mut listens, mut size) = (0_i32, size_of::<i32>() as i32);
        // SAFETY: `listens` has room for `size` bytes; a number that is not a socket is refused.
        let found =
            unsafe { getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, (&raw mut listens).cast(), &mut size) };
        found == 0 && listens != 0
    }

    pub(crate) fn set_nonblocking(fd: socket_fd_t) -> io::Result<()> {
        let mut on = 1;
        // SAFETY: `on` is what the command reads; a number that is not a socket is refused.
        if unsafe { ioctlsocket(fd, FIONBIO, &mut on) } == 0 { Ok(()) } else { Err(last_error()) }
    }

    pub(crate) fn accept(fd: socket_fd_t) -> io::Result<Accepted> {
        use windows_sys::Win32::Networking::WinSock::accept;
        // SAFETY: the peer's address is not asked for.
        let socket = unsafe { accept(fd, null_mut(), null_mut()) };
        if socket == INVALID_SOCKET {
            let error = last_error();
            return match error.raw_os_error() {
                Some(WSAEWOULDBLOCK) => Ok(Accepted::Nothing),
                Some(WSAECONNRESET | WSAECONNABORTED) => Ok(Accepted::Gone),
                _ => Err(error),
            };
        }
        // SAFETY: the socket was just made, and only we have it.
        let private = unsafe { SetHandleInformation(socket as HANDLE, HANDLE_FLAG_INHERIT, 0) } != 0;
        if !private {
            // A socket of a layered provider is no handle of the kernel's: the program may inherit it.
            tracing::debug!(target: "io_reactor", socket, "an accepted socket may be inherited");
        }
        // It has inherited the listener's network event: its data would set that, and it could not be made blocking
        // [hc08]. Whether it has inherited the mode depends on the provider.
        let independent = deselect(socket).and_then(|()| set_nonblocking(socket));
        if let Err(error) = independent {
            // SAFETY: as above.
            unsafe { closesocket(socket) };
            return Err(error);
        }
        Ok(Accepted::Connection(socket))
    }

    /// Detaches a network event from a socket.
    fn deselect(socket: SOCKET) -> io::Result<()> {
        // SAFETY: no event is passed; a number that is not a socket is refused.
        if unsafe { WSAEventSelect(socket, 0, 0) } == 0 { Ok(()) } else { Err(last_error()) }
    }

    fn last_error() -> io::Error {
        // SAFETY: reads a variable of this thread.
        io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
    }
}
