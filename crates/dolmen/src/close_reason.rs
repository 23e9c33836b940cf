//! [`CloseReason`]: how a connection ended.

use std::fmt;
use std::io;

const UNRESOLVED: &str = "the host's address could not be found out";

/// How a connection ended.
///
/// ```
/// use dolmen::CloseReason;
/// assert_eq!(CloseReason::Finished.to_string(), "closed");
/// assert_eq!(CloseReason::Reset.to_io().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`close`](crate::Reactor::close) ran to its end: the system has taken everything that was queued, FIN was sent
    /// after it, and the peer has closed its side as well or had the linger time to do so.
    Finished,
    /// [`close`](crate::Reactor::close) took longer than the linger time; the connection was reset with this many bytes
    /// still in the send queue (what the system had taken may be lost as well).
    LingerExpired {
        /// Bytes that were still queued; of a file that was being sent, those that had been read.
        unsent: usize,
    },
    /// [`abort`](crate::Reactor::abort).
    Aborted,
    /// The peer, or something on the network path, reset the connection.
    Reset,
    /// [`connect_host`](crate::Reactor::connect_host): the host has no address, or none could be found out.
    Unresolved,
    /// The operating system ended it with this error code; see [`CloseReason::to_io`].
    Failed {
        /// `errno` or a Windows error code.
        code: i32,
    },
}

impl CloseReason {
    /// The reason as an [`io::Error`]; `None` for an orderly end.
    #[must_use]
    pub fn to_io(&self) -> Option<io::Error> {
        Some(match self {
            CloseReason::Finished => return None,
            CloseReason::LingerExpired { .. } => io::ErrorKind::TimedOut.into(),
            CloseReason::Aborted => io::ErrorKind::ConnectionAborted.into(),
            CloseReason::Reset => io::ErrorKind::ConnectionReset.into(),
            CloseReason::Unresolved => io::Error::new(io::ErrorKind::NotFound, UNRESOLVED),
            CloseReason::Failed { code } => io::Error::from_raw_os_error(*code),
        })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Finished => f.write_str("closed"),
            CloseReason::LingerExpired { unsent } => {
                write!(f, "closed by force after the linger time, {unsent} bytes unsent")
            }
            CloseReason::Aborted => f.write_str("aborted"),
            CloseReason::Reset => f.write_str("connection reset"),
            CloseReason::Unresolved => f.write_str(UNRESOLVED),
            CloseReason::Failed { code } => write!(f, "failed: {}", io::Error::from_raw_os_error(*code)),
        }
    }
}
