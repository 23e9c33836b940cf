//! The functions of `async_runtime.h`: the same reactor, by other names and with wider events.
//!
//! An `async_runtime_t` is an [`io_reactor_t`]. What differs is decided by the function that is called, not by the
//! object: the form of the events ([`Room`]), how listeners are added, and what an unknown socket means.

use std::ffi::{c_char, c_int, c_void};

use dolmen::Token;

use crate::boundary::{self, guard};
use crate::entry::{enter, no_reactor};
use crate::instance::io_reactor_t;
use crate::post_write;
use crate::reactor::Settings;
use crate::room::Room;
use crate::types::*;

/// A runtime. Written into the header by hand.
#[allow(non_camel_case_types)]
pub type async_runtime_t = io_reactor_t;

/// Creates a runtime. Several may exist at the same time, each used by one thread at a time. On Windows it starts
/// Winsock, so the caller may make sockets afterwards.
///
/// Returns NULL when the system is out of handles or memory.
#[unsafe(no_mangle)]
pub extern "C" fn async_runtime_init() -> *mut async_runtime_t {
    crate::create("async_runtime_init", Settings::RUNTIME)
}

/// Destroys a runtime. NULL is fine.
///
/// It first cancels the operations in flight and waits for them. Registered sockets stay open, as the caller owns them.
/// No other thread may be using the runtime, or use it later; that includes async_runtime_wakeup() and
/// async_runtime_post_completion(). Completions that were not delivered are lost. While another thread is inside the
/// runtime it has no effect: async_runtime_last_error() says so, and the runtime is to be destroyed later.
///
/// POSIX: after a fork() each of the two processes has its own runtime, with the same sockets registered, and may go on
/// with it, destroy it, or leave it, without an effect on the other process. Both report a shared socket, so one of
/// them removes it. At the fork no other thread may be inside the runtime, except in async_runtime_wakeup() and
/// async_runtime_post_completion(). A completion is delivered in the process that posted it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_deinit(runtime: *mut async_runtime_t) {
    // SAFETY: the caller guarantees a valid pointer, and gives it up.
    unsafe { crate::destroy("async_runtime_deinit", runtime) }
}

/// Registers a socket, whose events will carry `context`. `events`: EVENT_READ and EVENT_WRITE. Other flags are ignored.
///
/// POSIX: EVENT_READ and EVENT_WRITE say that a read, an accept or a write will not block, and each wait repeats them
/// until this is no longer true. The caller reads, accepts and writes.
///
/// Windows: EVENT_READ starts a first receive on a connected socket, and the event brings the bytes; EVENT_WRITE means
/// nothing before async_runtime_modify() asks for it. A listening socket becomes non-blocking, and the library accepts:
/// each EVENT_READ with its context brings the accepted socket as `fd`, which is the caller's, non-blocking, and not
/// inherited by programs that the caller starts. No connection is accepted before the wait that reports it. A datagram
/// socket (UDP) becomes non-blocking, and gives EVENT_READ while datagrams wait; the caller receives them.
///
/// The caller still owns the socket. Remove it before closing it. If a number was closed and not removed, and now
/// belongs to another socket, it may still be added: the old registration is dropped.
///
/// Returns 0, or -1: NULL runtime, not a valid socket, registered already, or (Windows) nothing can be received from it,
/// or its last registration ended before all of its posted writes had been sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_add(
    runtime: *mut async_runtime_t,
    fd: socket_fd_t,
    events: u32,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the caller guarantees a valid pointer; so for all functions below.
    unsafe { enter("async_runtime_add", runtime, |inner| inner.add_accepting(fd, context, flags(events))) }
}

/// Changes which events are reported for a socket, and the context that they carry. 0 is allowed and means none; on
/// POSIX not even the end of a socket without an interest is reported. Events that an earlier wait has put into the
/// caller's array keep the old context.
///
/// On Windows only EVENT_WRITE has a meaning, as async_runtime_post_read() asks for input. One EVENT_WRITE without bytes
/// follows as soon as the socket takes more, so that the caller can go on after a send() that would have blocked. Ask
/// again after each. A call without EVENT_WRITE withdraws the request.
///
/// Returns 0, or -1: NULL runtime, or a socket that is not registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_modify(
    runtime: *mut async_runtime_t,
    fd: socket_fd_t,
    events: u32,
    context: *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        enter("async_runtime_modify", runtime, |inner| inner.modify_with_context(fd, flags(events), context))
    }
}

/// Forgets a socket. No later wait returns an event of this registration, whatever was in flight; events that an
/// earlier wait has put into the caller's array stay there. The socket stays open, and may be added again. On Windows
/// bytes that were received for it and not delivered are lost with it, and an async_runtime_post_write() in flight is
/// cancelled, which leaves a hole in the stream: close such a socket.
///
/// Returns 0, or -1: NULL runtime, or a socket that is not registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_remove(runtime: *mut async_runtime_t, fd: socket_fd_t) -> c_int {
    // SAFETY: as above.
    unsafe { enter("async_runtime_remove", runtime, |inner| inner.remove_registered(fd)) }
}

/// Ends the current wait, or else the next one. Any number of calls before that count as one. There is no event: a wait
/// without other events returns 0.
///
/// Any thread. On POSIX also from a signal handler, so the call leaves async_runtime_last_error() as it is.
///
/// Returns 0, or -1: NULL runtime.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_wakeup(runtime: *mut async_runtime_t) -> c_int {
    // SAFETY: as above.
    unsafe { crate::wake(runtime) }
}

/// Waits for events, for up to `timeout`, and puts up to `max_events` events into `events`, but no more than 1024. The
/// wait asks all sources. Events that did not fit are not lost: later waits report them, and sources take turns; on POSIX
/// a socket that is no longer ready by then is not reported. A timeout is rounded up to what the system can measure. NULL,
/// or a negative time, means no timeout; zero means not to wait. `tv_usec` may be a million or more, or negative: the sum
/// of both counts.
///
/// POSIX: the wait blocks once. If that one call ends without an event, the wait returns 0. The cause may be a signal
/// handler that ran in this thread while it was blocked (with SA_RESTART or without), async_runtime_wakeup(), a write to
/// async_runtime_get_event_loop_handle(), or a spurious wake-up. A handler that runs just before the wait blocks does not
/// end it: for a signal that comes once let the handler call async_runtime_wakeup(). Windows: a wait without events that
/// async_runtime_wakeup() does not end lasts for the whole timeout.
///
/// Returns the number of events. 0: the time is up, or one of the above. -1: NULL runtime or events, max_events below 1,
/// another thread is inside the runtime, a function of io_reactor_resolve() calls this, or the system's wait has failed
/// before there was an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_wait(
    runtime: *mut async_runtime_t,
    events: *mut async_event_t,
    max_events: c_int,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: as above, for all three pointers.
    unsafe { crate::waiting::wait("async_runtime_wait", runtime, (events, max_events), timeout, Room::Async) }
}

/// Sends a completion to the runtime: an event of the type EVENT_READ with this key as `completion_key`, and `data` as
/// bytes_transferred. `fd` is -1 and `context` NULL on POSIX; on Windows `fd` is the data and `context` the key as well.
/// Completions are never merged or lost, and those of one thread arrive in order.
///
/// Any thread; not from a signal handler.
///
/// Returns 0, or -1: NULL runtime, 1048576 completions wait for delivery, or the system is out of memory for a wake-up.
/// On failure the completion was not taken, and may be sent again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_post_completion(
    runtime: *mut async_runtime_t,
    completion_key: uintptr_t,
    data: uintptr_t,
) -> c_int {
    const NAME: &str = "async_runtime_post_completion";
    guard(NAME, -1, || {
        // SAFETY: as above. Any thread may use the poster.
        let poster = unsafe { io_reactor_t::poster(runtime) }.ok_or_else(|| no_reactor(NAME))?;
        poster.post(data as u64, Token(completion_key))?;
        Ok(0)
    })
}

/// Windows: asks for the next receive on a connected socket; its EVENT_READ brings the bytes. With a buffer the bytes
/// are in it, up to `len` at a time (the rest, if any, comes with the EVENT_READ of the next async_runtime_post_read());
/// the buffer must stay valid until that event, or until the socket is removed. Without a buffer (NULL or 0 bytes) the
/// bytes are in one of the library's buffers. There is never more than one receive in flight: asking again does no
/// harm.
///
/// POSIX: does nothing, as the caller reads.
///
/// Returns 0, or -1: NULL runtime; on Windows also for a socket that is not registered or not connected, or whose end
/// was reported.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_post_read(
    runtime: *mut async_runtime_t,
    fd: socket_fd_t,
    buffer: *mut c_void,
    len: size_t,
) -> c_int {
    // SAFETY: as above.
    unsafe { enter("async_runtime_post_read", runtime, |inner| inner.post_read(fd, buffer, len)) }
}

/// Windows: sends a copy of `len` bytes, all of them, after everything posted before. One EVENT_WRITE with that number
/// of bytes follows when the system has taken them.
///
/// POSIX: does nothing, as the caller writes.
///
/// Returns 0, or -1: NULL runtime; on Windows also for a NULL buffer, for 0 bytes, for a socket that is not registered
/// or was reset or has failed, and when more than 1 GiB would be queued. On failure none of the bytes are sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_post_write(
    runtime: *mut async_runtime_t,
    fd: socket_fd_t,
    buffer: *mut c_void,
    len: size_t,
) -> c_int {
    // SAFETY: as above; the caller guarantees `len` readable bytes.
    unsafe { post_write("async_runtime_post_write", runtime, fd, buffer, len) }
}

/// Finds out the kind of standard input, and keeps `context`. The caller reads standard input itself: the library
/// neither reads nor watches it, and no wait reports it. If there is none that an operator could use, the kind is
/// CONSOLE_TYPE_NONE, see async_runtime_get_console_type(), and nothing should read it.
///
/// Returns 0, or -1: NULL runtime.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_add_console(
    runtime: *mut async_runtime_t,
    context: *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        enter("async_runtime_add_console", runtime, |inner| {
            inner.describe_stdin(context);
            Ok(())
        })
    }
}

/// Returns the kind of standard input that async_runtime_add_console() found: CONSOLE_TYPE_REAL for a terminal or a
/// Windows console, CONSOLE_TYPE_PIPE for a pipe (on Windows also for a socket), CONSOLE_TYPE_FILE for a file, and
/// CONSOLE_TYPE_NONE for anything else, such as /dev/null, NUL or a closed one, and before that call.
///
/// Any thread. Returns CONSOLE_TYPE_NONE for a NULL runtime.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_get_console_type(runtime: *mut async_runtime_t) -> console_type_t {
    const NAME: &str = "async_runtime_get_console_type";
    guard(NAME, console_type_t::CONSOLE_TYPE_NONE, || {
        // SAFETY: as above. Any thread may ask.
        let facts = unsafe { io_reactor_t::stdin_facts(runtime) }.ok_or_else(|| no_reactor(NAME))?;
        Ok(facts.described())
    })
}

/// Windows: returns NULL. The library does not wait for standard input here, so it has no event for it. Any thread.
#[cfg(windows)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_get_console_event(runtime: *mut async_runtime_t) -> HANDLE {
    const NAME: &str = "async_runtime_get_console_event";
    guard(NAME, std::ptr::null_mut(), || match runtime.is_null() {
        true => Err(no_reactor(NAME)),
        false => Ok(std::ptr::null_mut()),
    })
}

/// Windows: returns the context of async_runtime_add_console(), or NULL without such a call. Any thread.
#[cfg(windows)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_get_console_ctx(runtime: *mut async_runtime_t) -> *mut c_void {
    const NAME: &str = "async_runtime_get_console_ctx";
    guard(NAME, std::ptr::null_mut(), || {
        // SAFETY: as above. Any thread may ask.
        let facts = unsafe { io_reactor_t::stdin_facts(runtime) }.ok_or_else(|| no_reactor(NAME))?;
        Ok(facts.context())
    })
}

/// Windows: returns the completion port in which the runtime waits. The caller does not close it. Other code may post
/// packets to it, or associate files of its own with it, under keys of its own: small numbers, or addresses of its own
/// variables. Each arrives as a completion with that key, all 32 bits of its byte count as the data, and the OVERLAPPED
/// as `buffer`. Only the runtime takes packets out of the port.
///
/// Any thread. Returns NULL for a NULL runtime.
#[cfg(windows)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_get_iocp(runtime: *mut async_runtime_t) -> HANDLE {
    const NAME: &str = "async_runtime_get_iocp";
    guard(NAME, std::ptr::null_mut(), || {
        // SAFETY: as above. The port never changes, so any thread may ask.
        unsafe { io_reactor_t::native_handle(runtime) }.ok_or_else(|| no_reactor(NAME))
    })
}

/// POSIX: returns a descriptor for other threads and libraries: eight bytes, as a number that is not 0, written to it
/// end the current wait, or else the next one, as async_runtime_wakeup() does. Several writes before a wait end one. Any
/// number will do: a write that would fill the counter fails with EAGAIN, and the ones before it end the wait. The
/// caller neither reads nor closes it. In a forked process it is the parent's until the first wait there; until then
/// async_runtime_wakeup() ends waits of the child.
///
/// Any thread. Returns -1 for a NULL runtime.
#[cfg(not(windows))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn async_runtime_get_event_loop_handle(runtime: *mut async_runtime_t) -> c_int {
    const NAME: &str = "async_runtime_get_event_loop_handle";
    guard(NAME, -1, || {
        // SAFETY: as above. The number never changes, so any thread may ask.
        unsafe { io_reactor_t::bell(runtime) }.ok_or_else(|| no_reactor(NAME))
    })
}

/// Returns the reason why the last failed call in this thread returned -1 or NULL. Never NULL; stays valid until the
/// next failing call in the same thread. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn async_runtime_last_error() -> *const c_char {
    boundary::last_error()
}

/// The flags that the header has; others are ignored.
fn flags(events: u32) -> c_int {
    const KNOWN: c_int = EVENT_READ | EVENT_WRITE | EVENT_ERROR | EVENT_CLOSE;
    events as c_int & KNOWN
}
