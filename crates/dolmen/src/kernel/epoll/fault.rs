//! What the system's error numbers mean to the engine.

use std::io;

use rustix::io::Errno;

use super::super::{Fault, FaultKind};

pub(super) fn fault(errno: Errno) -> Fault {
    let kind = match errno {
        // ECONNABORTED: aborted by the system (tcp_abort, as by `ss -K`), or before it was accepted [hc14].
        Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE | Errno::SHUTDOWN => FaultKind::Reset,
        Errno::CANCELED => FaultKind::Cancelled,
        // Worth another attempt: memory or a descriptor may be free by then [hc45].
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC => FaultKind::Exhausted,
        // accept(2): errors of the new connection, passed on through accept, to be treated like EAGAIN.
        Errno::PROTO
        | Errno::NETDOWN
        | Errno::NOPROTOOPT
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::HOSTUNREACH
        | Errno::OPNOTSUPP
        | Errno::NETUNREACH
        | Errno::TIMEDOUT => FaultKind::Transient,
        Errno::EXIST => FaultKind::AlreadyRegistered,
        Errno::BADF | Errno::NOTSOCK | Errno::PERM | Errno::INVAL => FaultKind::Invalid,
        Errno::NOTCONN => FaultKind::NotConnected,
        _ => FaultKind::Other,
    };
    Fault { kind, code: errno.raw_os_error() }
}

/// An error from a call of the standard library.
pub(crate) fn io_fault(error: &io::Error) -> Fault {
    fault(Errno::from_io_error(error).unwrap_or(Errno::INVAL))
}
