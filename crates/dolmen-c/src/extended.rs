//! What `io_reactor.h` has beyond the reference for sockets: another context, listeners that accept, the handle of the
//! system.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use crate::boundary::{Failure, guard};
use crate::entry::{Inner, enter, enter_or, no_reactor};
use crate::instance::io_reactor_t;
use crate::types::*;

/// Changes which events are reported for a socket, as io_reactor_modify() does, and the context that they carry. Events
/// that an earlier wait has put into the caller's array keep the old context.
///
/// Between io_reactor_connect() and its event, and after its EVENT_ERROR, it changes the context only on Windows, where
/// that event has the new one; on POSIX it returns -1 and changes nothing.
///
/// Returns 0, or -1: NULL reactor, or a socket that is not registered; on POSIX also one that is not connected yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_modify_ex(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    context: *mut c_void,
    events: c_int,
) -> c_int {
    // SAFETY: the caller guarantees a valid pointer; so for all functions below.
    unsafe { enter("io_reactor_modify_ex", reactor, |inner| inner.modify_with_context(fd, events, context)) }
}

/// Registers a listening socket whose connections the library accepts: io_reactor_wait_ex() reports each with
/// EVENT_ACCEPT, this context, and the accepted socket as `fd`. That socket is the caller's, is non-blocking, and is not
/// inherited by programs that the caller starts; io_reactor_add() registers it. The listening socket becomes
/// non-blocking, and is removed with io_reactor_remove(). No connection is lost then: a wait accepts only what it
/// reports, and the others stay in the backlog.
///
/// io_reactor_wait(), whose events have no place for a socket, reports EVENT_READ as for any listening socket, and the
/// caller accepts.
///
/// When the process has no descriptor left the listener pauses for a quarter of a second, and tries again.
///
/// Returns 0, or -1: NULL reactor, not a listening socket, or registered already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_add_listener(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    context: *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_add_listener", reactor, |inner| inner.add_listener(fd, context)) }
}

/// Finds out for how long the caller may block elsewhere, such as in poll(2) on io_reactor_native_handle(), before it
/// has to call io_reactor_wait(), if nothing makes that handle readable. The time is rounded up to microseconds, and is an
/// upper bound: the wait may find no event. Zero: there is something to do or to deliver now. Ask directly before
/// blocking, as every other call may change it.
///
/// Returns 1, with the time in `timeout`; 0 if there is no limit, with `timeout` unchanged; or -1: NULL reactor or
/// timeout.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_next_timeout(reactor: *mut io_reactor_t, timeout: *mut timeval) -> c_int {
    let next_timeout = |inner: &mut Inner| {
        if timeout.is_null() {
            return Err(Failure::new("NULL timeout"));
        }
        let Some(next) = inner.next_timeout() else { return Ok(0) };
        // SAFETY: the caller guarantees a valid pointer.
        unsafe { timeout.write(round_up(next)) };
        Ok(1)
    };
    // SAFETY: as above.
    unsafe { enter_or("io_reactor_next_timeout", reactor, -1, next_timeout) }
}

/// The time in C's form. One that the form has no room for becomes the longest.
#[allow(clippy::useless_conversion)] // The width of the fields depends on the system.
fn round_up(time: Duration) -> timeval {
    let micros = time.as_nanos().div_ceil(1_000);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    timeval {
        tv_sec: seconds.min(c_int::MAX as u128).try_into().expect("that fits everywhere"),
        tv_usec: micros.try_into().expect("less than a million"),
    }
}

/// Returns the object in which the reactor waits. The caller does not close it.
///
/// POSIX: the epoll instance, for another event loop to poll: it is readable while the system has something for the next
/// wait. Timers (the library has some of its own), standard input that is a file, and events that a wait had no room for
/// do not make it readable: block for no longer than io_reactor_next_timeout() says. It may change in a child after
/// fork(). Nothing else may be registered in it.
///
/// Windows: the completion port. Other code may post packets to it, or associate files of its own with it, under keys of
/// its own: small numbers, or addresses of its own variables. io_reactor_wait_ex() reports each with EVENT_COMPLETION;
/// io_reactor_wait() leaves them out. Only the reactor takes packets out of the port.
///
/// Any thread. Returns the handle, or -1 (on Windows NULL): NULL reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_native_handle(reactor: *mut io_reactor_t) -> io_reactor_handle_t {
    const NAME: &str = "io_reactor_native_handle";
    guard(NAME, NO_HANDLE, || {
        // SAFETY: as above. Any thread may ask.
        unsafe { io_reactor_t::native_handle(reactor) }.ok_or_else(|| no_reactor(NAME))
    })
}

#[cfg(unix)]
const NO_HANDLE: io_reactor_handle_t = -1;
#[cfg(windows)]
const NO_HANDLE: io_reactor_handle_t = std::ptr::null_mut();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::useless_conversion)] // As above.
    fn a_time_is_rounded_up_and_never_becomes_a_short_one() {
        let rounded = |time| {
            let timeval { tv_sec, tv_usec } = round_up(time);
            (i128::from(tv_sec), i128::from(tv_usec))
        };
        assert_eq!(rounded(Duration::ZERO), (0, 0));
        assert_eq!(rounded(Duration::from_nanos(1)), (0, 1));
        assert_eq!(rounded(Duration::from_nanos(1_999_999_001)), (2, 0));
        assert!(rounded(Duration::MAX).0 >= i128::from(c_int::MAX));
    }
}
