//! What `io_reactor.h` has beyond the reference for sockets: another context, listeners that accept, the handle of the
//! system.

use std::ffi::{c_int, c_void};

use crate::boundary::guard;
use crate::entry::{enter, no_reactor};
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

/// Returns the object in which the reactor waits. The caller does not close it.
///
/// POSIX: the epoll instance, for another event loop to poll: it is readable while the system has something for the next
/// wait. Timers, standard input that is a file, and events that a wait had no room for do not make it readable. It may
/// change in a child after fork(). Nothing else may be registered in it.
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
