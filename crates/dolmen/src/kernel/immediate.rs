//! The rules of a completion port for calls that complete immediately.

/// How an overlapped call ended that completed immediately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(windows), allow(dead_code))]
pub(crate) enum Immediate {
    Success,
    /// The call reports a failure. But a status of this class (0x8…, and 0x4… where the call reports it as a failure)
    /// is not an error to the system's I/O manager, which treats the operation as one that succeeded.
    Warning,
    Error,
}

#[cfg_attr(not(windows), allow(dead_code))]
impl Immediate {
    /// Whether a packet comes all the same [hc11, hc40]. `skips`: operations that complete immediately send none on
    /// this socket. That this includes warnings is the rule of the I/O manager and documented nowhere, so sockets that
    /// skip are streams, whose operations end with no warning known.
    pub(crate) fn sends_packet(self, skips: bool) -> bool {
        match self {
            Immediate::Success => !skips,
            Immediate::Warning => !skips,
            Immediate::Error => false,
        }
    }
}
