//! What a registered socket is: the one place where C programs see a difference between the systems.

#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use posix::Socket;
#[cfg(windows)]
pub(crate) use windows::Socket;

use std::ffi::c_int;

use dolmen::raw::Readiness;

use crate::types::{EVENT_CLOSE, EVENT_ERROR, EVENT_READ, EVENT_WRITE};

const PAIRS: [(c_int, Readiness); 4] = [
    (EVENT_READ, Readiness::READABLE),
    (EVENT_WRITE, Readiness::WRITABLE),
    (EVENT_ERROR, Readiness::ERROR),
    (EVENT_CLOSE, Readiness::HANGUP),
];

/// What of `events` can be asked for. Ends are told of without being asked for, and what else there may be in it means
/// nothing, as in the reference.
fn interest(events: c_int) -> Readiness {
    let asked = PAIRS[..2].iter().filter(|(event, _)| events & event != 0);
    asked.fold(Readiness::NONE, |all, (_, readiness)| all | *readiness)
}

pub(crate) fn events(ready: Readiness) -> c_int {
    PAIRS.iter().filter(|(_, readiness)| ready.contains(*readiness)).fold(0, |all, (event, _)| all | event)
}
