//! Failures, as a kernel reports them.

use std::io;

/// The kind of a failure, as far as the engine distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The peer reset the connection, or the system aborted it.
    Reset,
    /// Cancelled on request.
    Cancelled,
    /// Out of handles, buffers or memory: worth retrying later. Nothing was sent or received.
    Exhausted,
    /// This attempt failed and the next one may succeed immediately (a peer gone before it was accepted; a datagram
    /// that an earlier peer has rejected).
    Transient,
    /// The same socket or handle is registered already.
    AlreadyRegistered,
    /// Not a valid or usable handle.
    Invalid,
    /// A prepared socket that is not of the address's family.
    WrongFamily,
    /// A prepared socket with TCP_FASTOPEN_CONNECT, which connects only when it sends.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    FastOpen,
    /// The stream is not connected: it never was, or no longer is.
    NotConnected,
    /// A borrowed stream whose last connection ended with bytes unsent.
    Cut,
    /// The file of a transmission cannot be read.
    #[cfg_attr(not(any(windows, dolmen_sim)), allow(dead_code))] // Epoll makes no transmissions.
    File,
    Other,
}

/// A failure as the operating system reported it. Small and copyable; converted to an [`io::Error`] when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The system's own code.
    pub(crate) code: i32,
}

impl Fault {
    pub(crate) fn to_io(self) -> io::Error {
        io::Error::from_raw_os_error(self.code)
    }
}
