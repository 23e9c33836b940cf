//! The system's limit of open files, which `max users` has to fit into.

/// Descriptors that the process opens in addition to connections: ports, the reactor's own, files, the console.
#[cfg(unix)]
const OTHERS: u64 = 64;

/// Raises the limit of open files so that this many connections fit, as far as the system permits. Where it does not, a
/// warning describes the effect.
#[cfg(unix)]
pub fn make_room_for(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let wanted = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    // `None` means no limit.
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let possible = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    if raised.is_err() || possible < wanted {
        tracing::warn!(
            wanted,
            limit = possible,
            "not all of 'max users' can connect at a time; raise the limit of open files (ulimit -Hn)"
        );
    }
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn make_room_for(connections: usize) {
    let _ = connections;
}
