//! The completion port itself.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{
    ERROR_INVALID_PARAMETER, GetLastError, HANDLE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::SOCKET;
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED, OVERLAPPED_ENTRY,
    PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;

use super::super::arrivals::Key;
use super::super::{Fault, FaultKind, Signal};
use super::status;

pub(super) struct Port {
    handle: OwnedHandle,
}

impl Port {
    /// Makes a port for one thread, which is the one that waits.
    pub(super) fn new() -> Result<Port, Fault> {
        // SAFETY: no handle is passed but the one that stands for "a new port".
        let handle = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 1) };
        if handle.is_null() {
            return Err(last_error());
        }
        // SAFETY: the handle was just made and only we have it.
        Ok(Port { handle: unsafe { OwnedHandle::from_raw_handle(handle) } })
    }

    pub(super) fn handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }

    fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }

    /// From now on operations on the socket complete here, for the socket's whole life: there is no way back.
    pub(super) fn associate(&self, socket: SOCKET) -> Result<(), Fault> {
        // SAFETY: an invalid socket is refused by the call.
        let port = unsafe { CreateIoCompletionPort(socket as HANDLE, self.raw(), Key::Operation.value(), 0) };
        if port.is_null() {
            let mut fault = last_error();
            // The system's error for a handle that belongs to a port already [p16].
            if fault.code == ERROR_INVALID_PARAMETER as i32 {
                fault.kind = FaultKind::AlreadyRegistered;
            }
            return Err(fault);
        }
        Ok(())
    }

    pub(super) fn post(&self, key: Key, overlapped: *mut OVERLAPPED) -> Result<(), Fault> {
        // SAFETY: the port only passes the pointer on.
        let posted = unsafe { PostQueuedCompletionStatus(self.raw(), 0, key.value(), overlapped) };
        if posted == 0 { Err(last_error()) } else { Ok(()) }
    }

    /// Waits for packets and takes out as many as there are and fit; returns 0 when the time is up. The only call that
    /// blocks, and it returns as soon as there is a packet [p02].
    pub(super) fn dequeue(
        &self,
        entries: &mut [OVERLAPPED_ENTRY],
        timeout_ns: Option<u64>,
    ) -> Result<usize, Fault> {
        let mut count = 0;
        // SAFETY: `entries` has room for the number of entries given, and `count` is writable. Not alertable, so no
        // foreign code runs inside the call.
        let dequeued = unsafe {
            GetQueuedCompletionStatusEx(
                self.raw(),
                entries.as_mut_ptr(),
                entries.len() as u32,
                &mut count,
                milliseconds(timeout_ns),
                0,
            )
        };
        if dequeued != 0 {
            return Ok(count as usize);
        }
        match last_error() {
            fault if fault.code == WAIT_TIMEOUT as i32 => Ok(0),
            fault => Err(fault),
        }
    }
}

/// Rounded up; never `INFINITE` by accident. A wait that was limited to the maximum returns early, and is continued
/// [hc21, hc23, p04].
fn milliseconds(timeout_ns: Option<u64>) -> u32 {
    const LONGEST: u32 = i32::MAX as u32;
    timeout_ns
        .map_or(INFINITE, |ns| u32::try_from(ns.div_ceil(1_000_000)).map_or(LONGEST, |ms| ms.min(LONGEST)))
}

pub(super) fn last_error() -> Fault {
    // SAFETY: reads a variable of this thread.
    status::from_code(unsafe { GetLastError() } as i32)
}

/// Wakes a wait on the port.
pub(super) struct PortSignal(pub(super) Arc<Port>);

impl Signal for PortSignal {
    /// Fails if the kernel is out of memory.
    fn notify(&self) -> Result<(), Fault> {
        self.0.post(Key::Signal, std::ptr::null_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_round_up_and_never_become_infinite() {
        assert_eq!(milliseconds(Some(0)), 0);
        assert_eq!(milliseconds(Some(1)), 1);
        assert_eq!(milliseconds(Some(1_000_001)), 2);
        assert_eq!(milliseconds(Some(u64::MAX)), i32::MAX as u32);
        assert_eq!(milliseconds(None), INFINITE);
    }

    /// The port's result for a receive whose socket was closed meanwhile: a warning, which is not a success, and for
    /// which a call on the closed socket is no longer possible. It is also why the engine cancels first.
    #[test]
    fn hc06_hc07_the_packet_of_a_receive_on_a_closed_socket_says_that_it_failed() {
        use super::super::socket;
        use std::net::{TcpListener, TcpStream};
        use std::os::windows::io::AsRawSocket;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let port = Port::new().unwrap();
        port.associate(stream.as_raw_socket() as SOCKET).unwrap();
        let overlapped = Box::into_raw(Box::new(OVERLAPPED::default()));
        let buffer = Box::into_raw(Box::new([0_u8; 16]));
        // SAFETY: both live until the packet is out, and are not touched before.
        let started =
            unsafe { socket::receive(stream.as_raw_socket() as SOCKET, (buffer.cast(), 16), overlapped) };
        assert!(matches!(started, socket::CallResult::Pending));
        drop(stream);
        let mut entries = [OVERLAPPED_ENTRY::default(); 4];
        assert_eq!(port.dequeue(&mut entries, Some(10_000_000_000)).unwrap(), 1);
        assert_eq!(entries[0].lpOverlapped, overlapped);
        // SAFETY: the packet is out, so both are ours again.
        let status = unsafe {
            drop(Box::from_raw(buffer));
            Box::from_raw(overlapped).Internal as i32
        };
        assert!(status < 0, "{status:#x} is not a success");
        let fault = status::from_ntstatus(status).unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Reset | FaultKind::Cancelled), "{status:#x}: {fault:?}");
    }
}
