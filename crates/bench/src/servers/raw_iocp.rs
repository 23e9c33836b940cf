//! The limit on Windows: a completion port, batches by GetQueuedCompletionStatusEx, no packets for immediate success,
//! and nothing around it. A separate thread accepts.

use std::io;
use std::net::TcpListener;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;

use super::Mode;
use super::iocp_connection::{Connection, Room};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    // SAFETY: a new port, with no file.
    let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 1) };
    let address = port as usize;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = Box::into_raw(Box::new(Connection::new(stream)));
            let port = address as HANDLE;
            // SAFETY: the connection is alive until the loop frees it, and this packet makes it known to the loop.
            unsafe {
                if (*connection).associate(port, connection as usize, true) {
                    PostQueuedCompletionStatus(port, 0, connection as usize, std::ptr::null());
                }
            }
        }
    });
    let mut room = Room { mode, skip: true, connections: Vec::new() };
    // SAFETY: all-zero bytes are entries.
    let mut entries: Vec<OVERLAPPED_ENTRY> = vec![unsafe { std::mem::zeroed() }; 64];
    loop {
        let mut count = 0;
        // SAFETY: there is room for as many entries as are asked for.
        let done = unsafe {
            GetQueuedCompletionStatusEx(
                port,
                entries.as_mut_ptr(),
                entries.len() as u32,
                &mut count,
                INFINITE,
                0,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        for entry in &entries[..count as usize] {
            let connection = entry.lpCompletionKey as *mut Connection;
            // SAFETY: the key is the connection's address, and it lives while an operation of it is pending.
            unsafe { room.completed(connection, entry.lpOverlapped, entry.dwNumberOfBytesTransferred) };
        }
    }
}
