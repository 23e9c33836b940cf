//! The meaning of the system's status and error codes.
//!
//! A packet carries an NTSTATUS; calls that fail immediately set a Win32 or Winsock error. Both become a [`Fault`] with
//! a Win32 or Winsock code, the same code for the same cause, so that a caller sees one error whichever way it came.

use std::io;

use windows_sys::Win32::Foundation::*;
use windows_sys::Win32::Networking::WinSock::*;

use super::super::{Fault, FaultKind, Immediate};

pub(super) const OPERATION_ABORTED: i32 = ERROR_OPERATION_ABORTED as i32;
pub(super) const NOT_CONNECTED: i32 = WSAENOTCONN;
pub(super) const NOT_FOUND: i32 = ERROR_NOT_FOUND as i32;
pub(super) const TIMED_OUT: i32 = WSAETIMEDOUT;
pub(super) const REFUSED: i32 = WSAECONNREFUSED;
pub(super) const INVALID: i32 = WSAEINVAL;
pub(super) const WRONG_TYPE: i32 = WSAEPROTOTYPE;

/// A packet's status. Any value below zero is not a success: warnings (0x8…) are the status of a receive whose socket
/// was closed, and count as failures [hc07].
pub(super) fn from_ntstatus(status: NTSTATUS) -> Result<(), Fault> {
    if status >= 0 {
        return Ok(());
    }
    let code = match status {
        STATUS_CANCELLED => OPERATION_ABORTED,
        STATUS_HANDLES_CLOSED
        | STATUS_LOCAL_DISCONNECT
        | STATUS_CONNECTION_ABORTED
        | STATUS_TRANSACTION_ABORTED => WSAECONNABORTED,
        STATUS_CONNECTION_RESET
        | STATUS_REMOTE_DISCONNECT
        | STATUS_CONNECTION_DISCONNECTED
        | STATUS_PORT_UNREACHABLE
        | STATUS_LINK_FAILED
        | STATUS_GRACEFUL_DISCONNECT => WSAECONNRESET,
        STATUS_IO_TIMEOUT | STATUS_LINK_TIMEOUT => WSAETIMEDOUT,
        STATUS_HOST_UNREACHABLE | STATUS_HOST_DOWN => WSAEHOSTUNREACH,
        STATUS_NETWORK_UNREACHABLE => WSAENETUNREACH,
        STATUS_PROTOCOL_UNREACHABLE => WSAENETUNREACH,
        STATUS_CONNECTION_REFUSED => WSAECONNREFUSED,
        STATUS_ADDRESS_ALREADY_EXISTS | STATUS_ADDRESS_ALREADY_ASSOCIATED | STATUS_SHARING_VIOLATION => {
            WSAEADDRINUSE
        }
        STATUS_INVALID_ADDRESS | STATUS_INVALID_ADDRESS_COMPONENT => WSAEADDRNOTAVAIL,
        STATUS_INSUFFICIENT_RESOURCES
        | STATUS_NO_MEMORY
        | STATUS_QUOTA_EXCEEDED
        | STATUS_WORKING_SET_QUOTA
        | STATUS_PAGEFILE_QUOTA
        | STATUS_COMMITMENT_LIMIT
        | STATUS_TOO_MANY_PAGING_FILES
        | STATUS_REMOTE_RESOURCES => WSAENOBUFS,
        STATUS_INVALID_HANDLE | STATUS_OBJECT_TYPE_MISMATCH => WSAENOTSOCK,
        STATUS_INVALID_CONNECTION | STATUS_CONNECTION_INVALID => WSAENOTCONN,
        STATUS_ACCESS_VIOLATION => WSAEFAULT,
        // SAFETY: a table look-up.
        _ => unsafe { RtlNtStatusToDosError(status) as i32 },
    };
    Err(from_code(code))
}

/// Whether a packet's status says that a datagram was longer than its buffer, which is full. A warning.
pub(super) fn is_cut(status: NTSTATUS) -> bool {
    status == STATUS_BUFFER_OVERFLOW
}

/// How an overlapped call failed that completed immediately, by what it has left in `OVERLAPPED.Internal`.
///
/// The error code is not enough: WSAEMSGSIZE stands for STATUS_BUFFER_OVERFLOW, a warning, and for
/// STATUS_INVALID_BUFFER_SIZE, an error; and a status without a Winsock code becomes WSAEINVAL, whatever its class. But
/// the I/O manager writes a status, and queues a packet, for any status that is not an error. An error leaves the
/// previous value: zero from us, or the STATUS_PENDING that Winsock stores there before the call [hc40].
pub(super) fn failed_immediately(internal: usize) -> Immediate {
    const ERROR_CLASS: u32 = 3;
    match internal as NTSTATUS {
        STATUS_SUCCESS | STATUS_PENDING => Immediate::Error,
        status if status as u32 >> 30 == ERROR_CLASS => Immediate::Error,
        _ => Immediate::Warning,
    }
}

/// A Win32 or Winsock error code.
pub(super) fn from_code(code: i32) -> Fault {
    const NOT_ENOUGH_MEMORY: i32 = ERROR_NOT_ENOUGH_MEMORY as i32;
    const NO_SYSTEM_RESOURCES: i32 = ERROR_NO_SYSTEM_RESOURCES as i32;
    const TOO_MANY_OPEN_FILES: i32 = ERROR_TOO_MANY_OPEN_FILES as i32;
    const NETNAME_DELETED: i32 = ERROR_NETNAME_DELETED as i32;
    const CONNECTION_ABORTED: i32 = ERROR_CONNECTION_ABORTED as i32;
    const INVALID_HANDLE: i32 = ERROR_INVALID_HANDLE as i32;
    let kind = match code {
        OPERATION_ABORTED => FaultKind::Cancelled,
        // The connection is broken, and not at its end [hc14].
        WSAECONNRESET | WSAECONNABORTED | WSAENETRESET | WSAESHUTDOWN | NETNAME_DELETED
        | CONNECTION_ABORTED => FaultKind::Reset,
        // Worth another attempt: memory or a handle may be free by then [hc45].
        WSAEMFILE | WSAENOBUFS | NOT_ENOUGH_MEMORY | NO_SYSTEM_RESOURCES | TOO_MANY_OPEN_FILES => {
            FaultKind::Exhausted
        }
        WSAENOTSOCK | INVALID_HANDLE | WSAEINVAL | WSAEOPNOTSUPP => FaultKind::Invalid,
        WSAENOTCONN => FaultKind::NotConnected,
        _ => FaultKind::Other,
    };
    Fault { kind, code }
}

/// An error from a call of the standard library.
pub(crate) fn from_io(error: &io::Error) -> Fault {
    from_code(error.raw_os_error().unwrap_or(WSAEINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hc07_a_warning_status_is_no_success() {
        let table = [
            (0, None),
            (STATUS_PENDING, None),
            (STATUS_HANDLES_CLOSED, Some((FaultKind::Reset, WSAECONNABORTED))),
            (STATUS_CANCELLED, Some((FaultKind::Cancelled, 995))),
            (STATUS_CONNECTION_RESET, Some((FaultKind::Reset, 10054))),
            (STATUS_REMOTE_DISCONNECT, Some((FaultKind::Reset, 10054))),
            (STATUS_CONNECTION_DISCONNECTED, Some((FaultKind::Reset, 10054))),
            (STATUS_LOCAL_DISCONNECT, Some((FaultKind::Reset, 10053))),
            (STATUS_CONNECTION_ABORTED, Some((FaultKind::Reset, 10053))),
            (STATUS_IO_TIMEOUT, Some((FaultKind::Other, 10060))),
            (STATUS_CONNECTION_REFUSED, Some((FaultKind::Other, 10061))),
            (STATUS_HOST_UNREACHABLE, Some((FaultKind::Other, 10065))),
            (STATUS_NETWORK_UNREACHABLE, Some((FaultKind::Other, 10051))),
            (STATUS_INSUFFICIENT_RESOURCES, Some((FaultKind::Exhausted, 10055))),
            (STATUS_INVALID_CONNECTION, Some((FaultKind::NotConnected, 10057))),
            (STATUS_CONNECTION_INVALID, Some((FaultKind::NotConnected, 10057))),
            (STATUS_INVALID_HANDLE, Some((FaultKind::Invalid, 10038))),
            (STATUS_ACCESS_VIOLATION, Some((FaultKind::Other, 10014))),
            (STATUS_BUFFER_OVERFLOW, Some((FaultKind::Other, 234))),
        ];
        for (status, expected) in table {
            let found = from_ntstatus(status).err().map(|fault| (fault.kind, fault.code));
            assert_eq!(found, expected, "status {status:#x}");
        }
    }

    /// The codes are those that Winsock returns for these; none of them distinguishes the classes.
    #[test]
    fn hc40_only_a_status_that_is_no_error_is_followed_by_a_packet() {
        let table = [
            // Untouched.
            (0, Immediate::Error),
            (STATUS_PENDING, Immediate::Error),
            // WSAEMSGSIZE.
            (STATUS_BUFFER_OVERFLOW, Immediate::Warning),
            (STATUS_INVALID_BUFFER_SIZE, Immediate::Error),
            // WSAEFAULT.
            (STATUS_DATATYPE_MISALIGNMENT, Immediate::Warning),
            (STATUS_ACCESS_VIOLATION, Immediate::Error),
            // WSAETIMEDOUT.
            (STATUS_TIMEOUT, Immediate::Warning),
            (STATUS_IO_TIMEOUT, Immediate::Error),
            // WSAEINVAL, because Winsock has no better code.
            (STATUS_HANDLES_CLOSED, Immediate::Warning),
            (STATUS_DEVICE_BUSY, Immediate::Warning),
            (STATUS_NO_MORE_ENTRIES, Immediate::Warning),
            (STATUS_INVALID_PARAMETER, Immediate::Error),
            (STATUS_RECEIVE_PARTIAL, Immediate::Warning),
            (STATUS_CONNECTION_RESET, Immediate::Error),
        ];
        for (status, expected) in table {
            assert_eq!(failed_immediately(status as u32 as usize), expected, "status {status:#x}");
        }
        assert!(Immediate::Warning.sends_packet(false), "as success does");
        assert!(!Immediate::Warning.sends_packet(true), "as success does");
        assert!(!Immediate::Error.sends_packet(false) && !Immediate::Error.sends_packet(true));
    }
}
