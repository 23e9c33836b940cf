//! A file to a socket without a copy in our memory: TransmitFile.
//!
//! The file is a handle of our own, opened anew by the thread that reads the first piece. The caller's handle is a
//! synchronous one in most programs, and the system has one lock for all calls on such a handle: if a transmission held it, a
//! slow peer would stop every read of that file. Ours is overlapped, and has no such lock.
//!
//! **Client editions.** They carry out two transmissions at a time, of all processes together, and queue the others. So two
//! slow peers of any program there stop the transmissions of every other, and a transmission that waits cannot be taken back
//! without the loss of its connection: how much of it was sent is not known then. Only server editions, which have no such
//! limit, transmit files; the others read and send them.
//!
//! Files of other computers are not transmitted: what the call itself does is not documented, and it must not wait for a
//! server of files.
//!
//! Microsoft Learn: "TransmitFile function", "ReOpenFile function", "VerifyVersionInfoW function".

use std::fs::File;
use std::os::windows::fs::FileExt as _;
use std::os::windows::io::{AsRawHandle as _, AsRawSocket as _, FromRawHandle as _};
use std::ptr::null;
use std::sync::Arc;

use windows_sys::Win32::Foundation::{ERROR_OLD_WIN_VERSION, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Networking::WinSock::{
    LPFN_TRANSMITFILE, SOCKET, SOCKET_ERROR, WSABASEERR, WSAID_TRANSMITFILE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OVERLAPPED, FILE_FLAG_SEQUENTIAL_SCAN, FILE_GENERIC_READ, FILE_REMOTE_PROTOCOL_INFO,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_TYPE_DISK, FileRemoteProtocolInfo,
    GetFileInformationByHandleEx, GetFileType, ReOpenFile,
};
use windows_sys::Win32::System::SystemInformation::{
    OSVERSIONINFOEXW, VER_PRODUCT_TYPE, VerSetConditionMask, VerifyVersionInfoW,
};

use super::super::operation::OpPtr;
use super::super::{Fault, FaultKind, Outcome, Submission};
use super::accept::look_up;
use super::socket::{CallResult, call_result};
use super::source::Source;
use super::{Iocp, overlapped};
use crate::kernel::files::Reopened;

/// What a reactor may have pending where the system has no limit: each keeps pages of its file in memory.
const MOST_ON_SERVERS: usize = 64;

/// VER_NT_WORKSTATION and VER_EQUAL, which the bindings have elsewhere or not at all.
const WORKSTATION: u8 = 1;
const EQUAL: u8 = 1;

/// How many transmissions this edition of the system carries out without making one wait for another.
pub(super) fn most_transmits() -> usize {
    let mut version = OSVERSIONINFOEXW {
        dwOSVersionInfoSize: size_of::<OSVERSIONINFOEXW>() as u32,
        wProductType: WORKSTATION,
        ..OSVERSIONINFOEXW::default()
    };
    // SAFETY: the structure has the size that it says; the calls only compare.
    let is_client = unsafe {
        let mask = VerSetConditionMask(0, VER_PRODUCT_TYPE, EQUAL);
        VerifyVersionInfoW(&mut version, VER_PRODUCT_TYPE, mask) != 0
    };
    let is_other = || std::io::Error::last_os_error().raw_os_error() == Some(ERROR_OLD_WIN_VERSION as i32);
    // A failure for any other reason says nothing.
    if !is_client && is_other() { MOST_ON_SERVERS } else { 0 }
}

/// Opens a file of this computer once more, if it is one and others may read it. Blocks.
pub(crate) fn reopen(file: &File) -> Option<Reopened<Arc<File>>> {
    let handle = file.as_raw_handle() as HANDLE;
    let mut remote = FILE_REMOTE_PROTOCOL_INFO::default();
    let size = size_of::<FILE_REMOTE_PROTOCOL_INFO>() as u32;
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: the handle is open, and `remote` is writable for the size given.
    let handle = unsafe {
        if GetFileType(handle) != FILE_TYPE_DISK
            || GetFileInformationByHandleEx(handle, FileRemoteProtocolInfo, (&raw mut remote).cast(), size)
                != 0
        {
            return None;
        }
        ReOpenFile(handle, FILE_GENERIC_READ, share, FILE_FLAG_OVERLAPPED | FILE_FLAG_SEQUENTIAL_SCAN)
    };
    if handle == INVALID_HANDLE_VALUE {
        return None;
    }
    // SAFETY: the handle was just made, and only we have it.
    let file = unsafe { File::from_raw_handle(handle as _) };
    let len = file.metadata().ok()?.len();
    // A lock of the caller's own, on the handle that it has opened, shuts this one out. The standard library waits for the
    // read, also on an overlapped handle.
    let is_readable = file.seek_read(&mut [0], 0).is_ok_and(|read| read == 1);
    is_readable.then(|| Reopened { file: Arc::new(file), len })
}

impl Iocp {
    /// # Safety
    ///
    /// As for every submission. The file stays open until the operation has ended.
    pub(super) unsafe fn begin_transmit(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        file: &Arc<File>,
        offset: u64,
        count: u32,
    ) -> Submission<Self> {
        assert!(count > 0, "no bytes mean the whole file");
        let Source::Stream { stream, skips, .. } = source else {
            unreachable!("a transmission is for a stream")
        };
        let socket = stream.as_raw_socket() as SOCKET;
        self.calls += 2;
        let mut transmit: LPFN_TRANSMITFILE = None;
        // SAFETY: the function pointer is of the type that the id stands for.
        if let Err(fault) = unsafe { look_up(socket, WSAID_TRANSMITFILE, &mut transmit) } {
            return Submission::Failed(fault);
        }
        // SAFETY: the operation is ours to prepare; from the call on it is the system's. The file and the socket are open
        // until its packet.
        let started = unsafe {
            let place = &mut (*overlapped(op)).Anonymous.Anonymous;
            (place.Offset, place.OffsetHigh) = (offset as u32, (offset >> 32) as u32);
            let transmit = transmit.expect("it was just looked up");
            let begun = transmit(socket, file.as_raw_handle() as HANDLE, count, 0, overlapped(op), null(), 0);
            call_result(if begun != 0 { 0 } else { SOCKET_ERROR }, overlapped(op))
        };
        match started {
            CallResult::Immediate(how, _) if how.sends_packet(*skips) => Submission::Pending,
            CallResult::Immediate(_, Ok(bytes)) => Submission::Done(Outcome::Sent(bytes)),
            CallResult::Immediate(_, Err(fault)) => Submission::Failed(transmit_fault(fault)),
            CallResult::Pending => Submission::Pending,
        }
    }
}

/// The codes of sockets are Winsock's; others are those of the file.
pub(super) fn transmit_fault(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Other | FaultKind::Invalid if fault.code < WSABASEERR => {
            Fault { kind: FaultKind::File, ..fault }
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::status;
    use super::*;
    use windows_sys::Win32::Foundation::*;

    #[test]
    fn the_faults_of_a_file_are_told_apart_from_those_of_its_socket() {
        let table = [
            (STATUS_END_OF_FILE, FaultKind::File),
            (STATUS_FILE_LOCK_CONFLICT, FaultKind::File),
            (STATUS_CRC_ERROR, FaultKind::File),
            (STATUS_ACCESS_DENIED, FaultKind::File),
            (STATUS_CONNECTION_RESET, FaultKind::Reset),
            (STATUS_CONNECTION_ABORTED, FaultKind::Reset),
            (STATUS_IO_TIMEOUT, FaultKind::Other),
            (STATUS_HOST_UNREACHABLE, FaultKind::Other),
            (STATUS_INSUFFICIENT_RESOURCES, FaultKind::Exhausted),
            (STATUS_CANCELLED, FaultKind::Cancelled),
        ];
        for (status, expected) in table {
            let fault = transmit_fault(status::from_ntstatus(status).expect_err("no success"));
            assert_eq!(fault.kind, expected, "status {status:#x}, code {}", fault.code);
        }
    }
}
