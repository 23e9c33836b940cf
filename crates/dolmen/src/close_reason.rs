//! [`CloseReason`]: how a connection ended.

use std::fmt;
use std::io;
use std::sync::Arc;

/// How a connection ended.
///
/// ```
/// use dolmen::CloseReason;
/// assert_eq!(CloseReason::Finished.to_string(), "closed");
/// assert_eq!(CloseReason::Reset.to_io().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
/// ```
#[derive(Clone, Debug)]
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
    Unresolved {
        /// What [`Event::Resolved`](crate::Event::Resolved) would have reported for this host. Shared, because a reason
        /// can be cloned.
        error: Arc<io::Error>,
    },
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
            CloseReason::Unresolved { error } => match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), Arc::clone(error)),
            },
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
            CloseReason::Unresolved { error } => write!(f, "the host was not resolved: {error}"),
            CloseReason::Failed { code } => write!(f, "failed: {}", io::Error::from_raw_os_error(*code)),
        }
    }
}

/// Two reasons with errors are equal if the errors have the same kind, code and text.
impl PartialEq for CloseReason {
    fn eq(&self, other: &CloseReason) -> bool {
        match (self, other) {
            (CloseReason::LingerExpired { unsent }, CloseReason::LingerExpired { unsent: other }) => {
                unsent == other
            }
            (CloseReason::Unresolved { error }, CloseReason::Unresolved { error: other }) => {
                error.kind() == other.kind()
                    && error.raw_os_error() == other.raw_os_error()
                    && error.to_string() == other.to_string()
            }
            (CloseReason::Failed { code }, CloseReason::Failed { code: other }) => code == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for CloseReason {}

// Each connection that ends, and each record, has one.
const _: () = assert!(size_of::<CloseReason>() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unresolved_host_has_the_error_of_the_look_up() {
        let unresolved = |error| CloseReason::Unresolved { error: Arc::new(error) };
        let text = unresolved(io::Error::new(io::ErrorKind::TimedOut, "the server is silent"));
        let error = text.to_io().expect("an error");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::TimedOut, "the server is silent")
        );
        assert_eq!(text.to_string(), "the host was not resolved: the server is silent");
        let coded = unresolved(io::Error::from_raw_os_error(5));
        assert_eq!(coded.to_io().expect("an error").raw_os_error(), Some(5));
        assert_eq!(text, text.clone());
        assert_ne!(text, coded);
        assert_ne!(text, unresolved(io::Error::new(io::ErrorKind::TimedOut, "no server")));
    }

    #[test]
    fn reasons_are_equal_if_their_details_are() {
        let reasons = [
            CloseReason::Finished,
            CloseReason::Aborted,
            CloseReason::Reset,
            CloseReason::LingerExpired { unsent: 1 },
            CloseReason::LingerExpired { unsent: 2 },
            CloseReason::Failed { code: 1 },
            CloseReason::Failed { code: 2 },
        ];
        for (at, one) in reasons.iter().enumerate() {
            for (other_at, other) in reasons.iter().enumerate() {
                assert_eq!(one == other, at == other_at, "{one:?} and {other:?}");
            }
        }
    }
}
