//! A connection over a completion port, for the two hand-written loops: at most one receive and one send in flight.

use std::net::TcpStream;
use std::os::windows::io::AsRawSocket as _;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Networking::WinSock::{
    SOCKET, WSA_IO_PENDING, WSABUF, WSAGetLastError, WSARecv, WSASend,
};
use windows_sys::Win32::Storage::FileSystem::SetFileCompletionNotificationModes;
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, OVERLAPPED};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};

use crate::servers::{BUFFER_BYTES, Mode};

pub struct Connection {
    receive: OVERLAPPED,
    send: OVERLAPPED,
    stream: TcpStream,
    received: [u8; BUFFER_BYTES],
    sending: Vec<u8>,
    queued: Vec<u8>,
    in_flight: bool,
}

enum Started {
    Done(u32),
    Pending,
    Failed,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Connection {
        let _ = stream.set_nodelay(true);
        Connection {
            // SAFETY: all-zero bytes are an idle OVERLAPPED.
            receive: unsafe { std::mem::zeroed() },
            // SAFETY: as above.
            send: unsafe { std::mem::zeroed() },
            stream,
            received: [0; BUFFER_BYTES],
            sending: Vec::new(),
            queued: Vec::new(),
            in_flight: false,
        }
    }

    fn socket(&self) -> SOCKET {
        self.stream.as_raw_socket() as SOCKET
    }

    /// Makes its completions go to `port`; with `skip`, only those that do not succeed immediately.
    pub fn associate(&self, port: HANDLE, key: usize, skip: bool) -> bool {
        let handle = self.socket() as HANDLE;
        let modes = (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE) as u8;
        // SAFETY: the socket is open and the port lives as long as the process.
        unsafe {
            let associated = !CreateIoCompletionPort(handle, port, key, 0).is_null();
            associated && (!skip || SetFileCompletionNotificationModes(handle, modes) != 0)
        }
    }

    /// # Safety
    ///
    /// The connection stays in place until the operation's packet has arrived.
    unsafe fn start_receive(&mut self) -> Started {
        let buffer = WSABUF { len: BUFFER_BYTES as u32, buf: self.received.as_mut_ptr() };
        let (mut count, mut flags) = (0, 0);
        // SAFETY: the caller keeps the buffer and the OVERLAPPED in place; no other receive is in flight.
        let status =
            unsafe { WSARecv(self.socket(), &buffer, 1, &mut count, &mut flags, &mut self.receive, None) };
        started(status, count)
    }

    /// # Safety
    ///
    /// As [`start_receive`](Self::start_receive).
    unsafe fn start_send(&mut self) -> Started {
        let buffer = WSABUF { len: self.sending.len() as u32, buf: self.sending.as_mut_ptr() };
        let mut count = 0;
        // SAFETY: the caller keeps the OVERLAPPED in place; `sending` is not touched while this is in flight.
        let status = unsafe { WSASend(self.socket(), &buffer, 1, &mut count, 0, &mut self.send, None) };
        started(status, count)
    }
}

fn started(status: i32, count: u32) -> Started {
    if status == 0 {
        return Started::Done(count);
    }
    // SAFETY: no pointers.
    if unsafe { WSAGetLastError() } == WSA_IO_PENDING { Started::Pending } else { Started::Failed }
}

/// The mode for received bytes, and the open connections.
pub struct Room {
    pub mode: Mode,
    /// Whether an operation that succeeds immediately brings no packet.
    pub skip: bool,
    pub connections: Vec<*mut Connection>,
}

impl Room {
    /// A packet has arrived: of a receive, of a send, or, without an operation, of a new connection.
    ///
    /// # Safety
    ///
    /// `connection` is alive, and `operation`, unless it is null, is one of its two.
    pub unsafe fn completed(&mut self, connection: *mut Connection, operation: *mut OVERLAPPED, bytes: u32) {
        // SAFETY: the caller says that it is alive. Nothing else refers to it now.
        let this = unsafe { &mut *connection };
        if operation == &raw mut this.send {
            this.sending.clear();
            this.in_flight = false;
            // SAFETY: connections are boxed, and freed only in `receive`.
            return unsafe { flush(connection, self.skip) };
        }
        if operation.is_null() {
            if self.mode == Mode::Broadcast {
                self.connections.push(connection);
            }
        } else if !self.received(connection, bytes) {
            return;
        }
        // SAFETY: as above.
        unsafe { self.receive(connection) };
    }

    /// Receives until a receive does not succeed immediately.
    unsafe fn receive(&mut self, connection: *mut Connection) {
        loop {
            // SAFETY: it is alive and boxed.
            match unsafe { (*connection).start_receive() } {
                Started::Done(bytes) if self.skip => {
                    if !self.received(connection, bytes) {
                        return;
                    }
                }
                Started::Done(_) | Started::Pending => return,
                Started::Failed => {
                    self.received(connection, 0);
                    return;
                }
            }
        }
    }

    /// Returns false at the end.
    fn received(&mut self, connection: *mut Connection, bytes: u32) -> bool {
        // SAFETY: it is alive, and its receive is not in flight.
        let this = unsafe { &mut *connection };
        if bytes == 0 {
            self.connections.retain(|&other| other != connection);
            if !this.in_flight {
                // SAFETY: it was boxed, and no operation of it is in flight. A connection with a send in flight is
                // leaked.
                drop(unsafe { Box::from_raw(connection) });
            }
            return false;
        }
        let bytes = this.received[..bytes as usize].to_vec();
        let one = [connection];
        let to: &[*mut Connection] = if self.mode == Mode::Echo { &one } else { &self.connections };
        for &other in to {
            // SAFETY: all of them are alive.
            unsafe {
                (*other).queued.extend_from_slice(&bytes);
                flush(other, self.skip);
            }
        }
        true
    }
}

/// Sends the queued bytes, unless a send is in flight.
unsafe fn flush(connection: *mut Connection, skip: bool) {
    // SAFETY: the caller says that it is alive.
    let this = unsafe { &mut *connection };
    while !this.in_flight && !this.queued.is_empty() {
        std::mem::swap(&mut this.sending, &mut this.queued);
        // SAFETY: connections are boxed.
        match unsafe { this.start_send() } {
            Started::Done(_) if skip => this.sending.clear(),
            Started::Done(_) | Started::Pending => this.in_flight = true,
            Started::Failed => {
                this.sending.clear();
                this.queued.clear();
            }
        }
    }
}
