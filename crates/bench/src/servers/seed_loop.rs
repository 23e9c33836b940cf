//! The loop from which this project started, rewritten from its description: one WaitForMultipleObjects over the port,
//! the console and the listeners' events, then a check of each of them, then GetQueuedCompletionStatus with a
//! timeout of zero for one completion after another until there are none.

use std::io;
use std::net::TcpListener;
use std::os::windows::io::AsRawSocket as _;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::Networking::WinSock::{
    FD_ACCEPT, SOCKET, WSACreateEvent, WSAEventSelect, WSAResetEvent,
};
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, GetQueuedCompletionStatus, OVERLAPPED};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForMultipleObjects, WaitForSingleObject};

use super::Mode;
use super::iocp_connection::{Connection, Room};

const MAX_EVENTS: usize = 64;

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    // SAFETY: a new port, with no file.
    let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 1) };
    // SAFETY: no arguments.
    let event = unsafe { WSACreateEvent() };
    // SAFETY: both are open.
    if unsafe { WSAEventSelect(listener.as_raw_socket() as SOCKET, event, FD_ACCEPT as i32) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut room = Room { mode, skip: false, connections: Vec::new() };
    let handles = [port, event as HANDLE];
    loop {
        // SAFETY: that many handles are readable, and open.
        let waited = unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, INFINITE) };
        if waited == WAIT_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the event is open.
        if unsafe { WaitForSingleObject(event as HANDLE, 0) } == WAIT_OBJECT_0 {
            // SAFETY: as above.
            unsafe { WSAResetEvent(event) };
            while let Ok((stream, _)) = listener.accept() {
                // The state inherited from the listener.
                // SAFETY: the socket is open; no event stops the selection.
                unsafe { WSAEventSelect(stream.as_raw_socket() as SOCKET, 0, 0) };
                stream.set_nonblocking(false)?;
                let connection = Box::into_raw(Box::new(Connection::new(stream)));
                // SAFETY: it is alive until the room frees it.
                unsafe {
                    if (*connection).associate(port, connection as usize, false) {
                        room.completed(connection, std::ptr::null_mut(), 0);
                    }
                }
            }
        }
        for _ in 0..MAX_EVENTS {
            let (mut bytes, mut key) = (0, 0);
            let mut operation: *mut OVERLAPPED = std::ptr::null_mut();
            // SAFETY: all three are writable.
            unsafe { GetQueuedCompletionStatus(port, &mut bytes, &mut key, &mut operation, 0) };
            if operation.is_null() {
                break;
            }
            // SAFETY: the key is the connection's address, and it lives while an operation of it is pending.
            unsafe { room.completed(key as *mut Connection, operation, bytes) };
        }
    }
}
