//! `io_reactor.h` and `async_runtime.h` on top of [`dolmen`]: two headers for the same reactor.
//!
//! * `lib.rs`: most functions of `io_reactor.h`, each a thin shell: check the pointers, enter the reactor, return 0 or -1.
//! * `extended.rs`: those about sockets that the reference does not have. `waiting.rs`: the waits of both headers.
//! * `async_runtime.rs`: the functions of `async_runtime.h`, as thin.
//! * `entry.rs`: from a caller's pointer to the inside of the reactor.
//! * `types.rs`, `types/`: the types and constants of both headers, and of each.
//! * `boundary.rs`: no panic crosses into C, and `io_reactor_last_error`.
//! * `instance.rs`: a reactor as C programs hold it: one thread inside, wakes and messages from any thread.
//! * `reactor.rs`: registrations, and the wait that turns the engine's events into C's.
//! * `accepting.rs`: listeners whose connections the library accepts. `timers.rs`: the caller's timers.
//! * `sink.rs`: the events of a wait, and who owns the bytes that they point to.
//! * `room.rs`: the caller's array of events, in each of its forms.
//! * `sockets/`: registered sockets: readiness on POSIX, completions on Windows.
//! * `names.rs`: look-ups of names, and their callbacks.
//! * `console/`: standard input.
//! * `platform.rs`: the platform: the system, or a simulated one.
//!
//! `cargo xtask header` generates the headers from the comments and types here, so C programmers read these comments.
#![allow(clippy::missing_safety_doc)]
// The contract of each function is its text in the header.
// Each system uses its own contract of sockets and the code for it; the simulation, which the lints see, uses all.
#![cfg_attr(not(dolmen_sim), allow(dead_code))]

mod accepting;
mod async_runtime;
mod boundary;
mod console;
mod entry;
mod extended;
mod instance;
mod marks;
mod names;
mod platform;
mod reactor;
mod room;
#[cfg(dolmen_sim)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod sim;
mod sink;
mod sockets;
mod timers;
mod types;
mod waiting;

use std::ffi::{CStr, c_char, c_int, c_void};

pub use async_runtime::*;
use boundary::{Failure, guard};
use entry::{Inner, another_thread, enter, no_reactor};
pub use extended::*;
pub use instance::io_reactor_t;
use reactor::Settings;
pub use timers::{io_reactor_timer_add, io_reactor_timer_cancel};
pub use types::*;
pub use waiting::{io_reactor_wait, io_reactor_wait_ex};

/// Creates a reactor. Several may exist at the same time, each used by one thread at a time. On Windows it starts
/// Winsock, so the caller may make sockets afterwards.
///
/// Returns NULL when the system is out of handles or memory.
#[unsafe(no_mangle)]
pub extern "C" fn io_reactor_create() -> *mut io_reactor_t {
    create("io_reactor_create", Settings::DEFAULT)
}

/// Creates a reactor that takes up to `max_events` events from the system at a time (io_reactor_wait() returns no more
/// than that, whatever its own limit) and keeps up to `pool_size` receive buffers of 4 KiB for reuse (Windows). 0 means
/// the default, which is 1024 and 256.
///
/// Returns NULL when a value is negative or the system is out of handles or memory.
#[unsafe(no_mangle)]
pub extern "C" fn io_reactor_create_ex(max_events: c_int, pool_size: c_int) -> *mut io_reactor_t {
    const NAME: &str = "io_reactor_create_ex";
    let (Ok(max_events), Ok(pool_size)) = (usize::try_from(max_events), usize::try_from(pool_size)) else {
        return guard(NAME, std::ptr::null_mut(), || Err(Failure::new("a negative size")));
    };
    let or = |asked, default| if asked == 0 { default } else { asked };
    let max_events = or(max_events, Settings::DEFAULT.max_events);
    let pool_size = or(pool_size, Settings::DEFAULT.pool_size);
    create(NAME, Settings::new(max_events, pool_size))
}

fn create(name: &str, settings: Settings) -> *mut io_reactor_t {
    guard(name, std::ptr::null_mut(), || Ok(Box::into_raw(Box::new(io_reactor_t::new(settings)?))))
}

/// Destroys a reactor. NULL is fine.
///
/// It first cancels the operations in flight and waits for them. Registered sockets stay open, as the caller owns them.
/// No other thread may be using the reactor, or use it later; that includes io_reactor_wakeup() and io_reactor_post().
///
/// In a function of io_reactor_resolve(), and while another thread is inside the reactor, it has no effect:
/// io_reactor_last_error() says so, and the reactor is to be destroyed later.
///
/// POSIX: after a fork() each of the two processes has its own reactor, with the same sockets registered, and may go on
/// with it, destroy it, or leave it, without an effect on the other process. Both report a shared socket, so one of
/// them removes it. At the fork no other thread may be inside the reactor, except in io_reactor_wakeup() and
/// io_reactor_post(). A post is delivered in the process that made it: the parent delivers one from before the fork.
/// The library's descriptors must stay open in a process that goes on. vfork() and posix_spawn() change nothing; a
/// child that was created without the C library's fork() must not use the reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_destroy(reactor: *mut io_reactor_t) {
    // SAFETY: the caller guarantees a valid pointer, and gives it up.
    unsafe { destroy("io_reactor_destroy", reactor) }
}

/// # Safety
///
/// `reactor` is NULL or came from `create`, and no one uses it any more.
unsafe fn destroy(name: &str, reactor: *mut io_reactor_t) {
    guard(name, (), || {
        if reactor.is_null() {
            return Ok(());
        }
        // SAFETY: the caller guarantees a valid pointer. What `enter` returns is dropped before the reactor.
        let refused = unsafe {
            io_reactor_t::check_not_calling(reactor)
                .and_then(|()| io_reactor_t::enter(reactor).map(drop).ok_or_else(another_thread))
        };
        if let Err(failure) = refused {
            // The function returns nothing, and the caller would not know.
            tracing::error!(target: "io_reactor", %failure, "the reactor was not destroyed");
            return Err(failure);
        }
        // SAFETY: it came from `create`, and the caller gives it up.
        drop(unsafe { Box::from_raw(reactor) });
        Ok(())
    });
}

/// Registers a socket, whose events will carry `context`. `events`: EVENT_READ and EVENT_WRITE, as io_reactor_modify()
/// takes them. Other flags are ignored.
///
/// A listening socket gives EVENT_READ while connections wait; the caller accepts them. For a connected socket on
/// POSIX, EVENT_READ and EVENT_WRITE say that a read or write will not block, and each wait repeats them until this is
/// no longer true; other descriptors work too, and files are always ready. On Windows, EVENT_READ here starts a first
/// receive, and the event brings the bytes; EVENT_WRITE means nothing before io_reactor_modify() asks for it. A
/// datagram socket (UDP) gives EVENT_READ while datagrams wait, on both systems; the caller receives them. A datagram
/// socket and a listening socket become non-blocking on Windows.
///
/// The caller still owns the socket. Remove it before closing it. If a number was closed and not removed, and now
/// belongs to another socket, it may still be added: the old registration is dropped.
///
/// A socket that io_reactor_connect() has connected may be added as well, once, whether it was removed before or not.
///
/// Returns 0, or -1: NULL reactor, not a valid socket, registered already, or (Windows) nothing can be received from
/// it, or its last registration ended before all of its io_reactor_post_write() had been sent, see io_reactor_remove().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_add(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    context: *mut c_void,
    events: c_int,
) -> c_int {
    // SAFETY: the caller guarantees a valid pointer; so for all functions below.
    unsafe { enter("io_reactor_add", reactor, |inner| inner.add(fd, context, events)) }
}

/// Connects a stream socket that is not connected, without blocking, and registers it with `context`. `addr` is the
/// peer's address and `addrlen` its size, as for connect(). Exactly one event follows: EVENT_WRITE when the connection
/// stands, or EVENT_ERROR when it cannot be made. io_reactor_remove() gives the attempt up, and no event follows.
///
/// After EVENT_WRITE the socket is registered without any events. io_reactor_add() gives it a context and events, once,
/// as it does with a socket that is not registered: with EVENT_READ, input is reported from then on, on both systems.
/// Without that call, ask for events with io_reactor_modify() on POSIX, and for bytes with io_reactor_post_read() on
/// Windows.
///
/// After EVENT_ERROR remove the socket and close it: a socket connects once. The reason is the socket's SO_ERROR on
/// POSIX, and bytes_transferred on Windows: a Winsock error code. A socket that has reached itself, by a port without a
/// listener that the system has chosen for the caller as well, counts as refused; its SO_ERROR is 0. There is no time
/// limit but the system's, which is minutes: set a timer.
///
/// Before its event the socket can only be removed: io_reactor_add() returns -1, and so does io_reactor_modify() on
/// POSIX (on Windows it has no effect) and io_reactor_post_read() and io_reactor_post_write() on Windows.
///
/// The socket becomes non-blocking on POSIX. On Windows it is bound to any address if it is not bound yet, and IPv4 and
/// IPv6 are the families that can be connected.
///
/// Returns 0, or -1: NULL reactor, not a stream socket, registered or connected already, an address that is NULL, too
/// short or of another family, or the system refuses at once (POSIX: also because no one listens, there is no route, or
/// the backlog of a Unix socket is full). Then nothing is registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_connect(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    addr: *const c_void,
    addrlen: c_int,
    context: *mut c_void,
) -> c_int {
    let connect = |inner: &mut Inner| {
        let len = usize::try_from(addrlen).unwrap_or(0);
        if addr.is_null() || !(MIN_ADDRESS_BYTES..=MAX_ADDRESS_BYTES).contains(&len) {
            return Err(Failure::new("no address"));
        }
        // SAFETY: the caller guarantees `addrlen` readable bytes.
        let address = unsafe { std::slice::from_raw_parts(addr.cast::<u8>(), len) };
        inner.connect(fd, address, context)
    };
    // SAFETY: as above.
    unsafe { enter("io_reactor_connect", reactor, connect) }
}

/// Looks up the addresses of a host, with threads of the library: getaddrinfo() may take seconds. `host` is a name or a
/// numeric address, `port` a number, which the addresses have. `callback` is called once with the result, inside a later
/// io_reactor_wait() and in its thread, and while that wait has no events: no event of a socket follows that it removes.
/// It may call the library, except that io_reactor_wait() returns -1 in it, and io_reactor_destroy() has no effect. It
/// returns to its caller, as by no exception and no longjmp(). That wait then returns, with or without events. After
/// io_reactor_destroy() there is no call.
///
/// Returns 0, or -1: NULL reactor, host or callback, a port outside 0 to 65535, not a valid name, or 1024 look-ups wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_resolve(
    reactor: *mut io_reactor_t,
    host: *const c_char,
    port: c_int,
    callback: io_reactor_resolved_t,
    context: *mut c_void,
) -> c_int {
    let resolve = |inner: &mut Inner| {
        if host.is_null() || callback.is_none() {
            return Err(Failure::new("no host, or no function"));
        }
        // SAFETY: the caller guarantees a string that ends with a NUL.
        let host = unsafe { CStr::from_ptr(host) };
        let host = host.to_str().map_err(|_| Failure::new("the host's name is not UTF-8"))?;
        let port = u16::try_from(port).map_err(|_| Failure::new(format!("{port} is not a port")))?;
        inner.resolve(host, port, callback, context)
    };
    // SAFETY: as above.
    unsafe { enter("io_reactor_resolve", reactor, resolve) }
}

/// Changes which events are reported for a socket. 0 is allowed and means none; on POSIX not even the end of a socket
/// without an interest is reported.
///
/// On Windows only EVENT_WRITE has a meaning, as io_reactor_post_read() asks for input. One EVENT_WRITE without bytes
/// follows as soon as the socket takes more, so that the caller can go on after a send() that would have blocked. Ask
/// again after each. A call without EVENT_WRITE withdraws the request. For unknown sockets, listening sockets and
/// datagram sockets the call has no effect.
///
/// The number identifies the socket. A number that was closed without io_reactor_remove(), and now belongs to another
/// socket, may be taken for the old socket, with the old context.
///
/// Returns 0, or -1: NULL reactor; on POSIX also for a socket that is not registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_modify(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    events: c_int,
) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_modify", reactor, |inner| inner.modify(fd, events)) }
}

/// Forgets a socket. No later wait returns an event of this registration, whatever was in flight; events that an
/// earlier wait has put into the caller's array stay there. The socket stays open, and may be added again. On Windows
/// bytes that were received for it and not delivered are lost with it, and an io_reactor_post_write() in flight is
/// cancelled: an unknown part of it has been sent by then, and no later one has been sent, so the stream has a hole.
/// Close such a socket: io_reactor_add() refuses it. To go on with a socket, wait for the EVENT_WRITE of everything
/// posted before removing it.
///
/// Returns 0 (also for a socket that is not registered), or -1: NULL reactor; on Windows also for INVALID_SOCKET.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_remove(reactor: *mut io_reactor_t, fd: socket_fd_t) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_remove", reactor, |inner| inner.remove(fd)) }
}

/// Windows: asks for the next receive on a connected socket; its EVENT_READ brings the bytes. With a buffer the bytes
/// are in it, up to `len` at a time (the rest, if any, comes with the EVENT_READ of the next io_reactor_post_read());
/// the buffer must stay valid until that event, or until the socket is removed. Without a buffer (NULL or 0 bytes) the
/// bytes are in one of the library's buffers. There is never more than one receive in flight: asking again does no
/// harm.
///
/// POSIX: does nothing, as the caller reads.
///
/// Returns 0, or -1: NULL reactor; on Windows also for a socket that is not registered or not connected, or whose end
/// was reported.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_post_read(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    buffer: *mut c_void,
    len: size_t,
) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_post_read", reactor, |inner| inner.post_read(fd, buffer, len)) }
}

/// Windows: sends a copy of `len` bytes, all of them, after everything posted before. One EVENT_WRITE with that number
/// of bytes follows when the system has taken them.
///
/// POSIX: does nothing, as the caller writes.
///
/// Returns 0, or -1: NULL reactor; on Windows also for a NULL buffer, for 0 bytes, for a socket that is not registered
/// or was reset or has failed, and when more than 1 GiB would be queued. On failure none of the bytes are sent. After
/// the EVENT_CLOSE of an orderly end the peer may still read, so this function still works.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_post_write(
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    buffer: *mut c_void,
    len: size_t,
) -> c_int {
    // SAFETY: as above; the caller guarantees `len` readable bytes.
    unsafe { post_write("io_reactor_post_write", reactor, fd, buffer, len) }
}

/// # Safety
///
/// As for [`enter`]; `buffer` is NULL or has `len` readable bytes.
unsafe fn post_write(
    name: &str,
    reactor: *mut io_reactor_t,
    fd: socket_fd_t,
    buffer: *mut c_void,
    len: usize,
) -> c_int {
    let post = |inner: &mut Inner| {
        // A slice cannot be longer.
        if isize::try_from(len).is_err() {
            return Err(Failure::new("more than 1 GiB would be queued"));
        }
        let bytes = if buffer.is_null() || len == 0 {
            &[]
        } else {
            // SAFETY: the caller guarantees `len` readable bytes.
            unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), len) }
        };
        inner.post_write(fd, bytes)
    };
    // SAFETY: as above.
    unsafe { enter(name, reactor, post) }
}

/// Registers standard input, whose events will carry `context`. The caller reads it.
///
/// A terminal or console: EVENT_READ without a buffer while there is input. A hung-up terminal is reported once, with
/// EVENT_CLOSE or EVENT_ERROR. On Windows input means key presses: the library discards other records (mouse, focus,
/// size, key-up) that stand before a key press.
///
/// A pipe or a file: EVENT_READ without a buffer, from each wait while there are bytes, and once at the end of the
/// input, which the caller finds by reading. The library consumes nothing. Once the end has been reported there are no
/// further events, whether the caller has read it or not. A device such as /dev/null or NUL is at its end. Where the
/// system does not report whether there are bytes (Windows: pipes of another kind than its own; POSIX: other devices),
/// a read may block, and each wait reports EVENT_READ, also at the end: call io_reactor_remove_console() when a read
/// returns 0 bytes.
///
/// Windows: when a wait finds a pipe empty, a thread of the library waits for the pipe in a read of zero bytes. Until
/// that read returns, other calls on the same handle may block, unless the handle was opened with FILE_FLAG_OVERLAPPED:
/// read when there is an event, and not in between. io_reactor_remove_console() ends that read.
///
/// A second call changes the context. Returns 0, or -1: NULL reactor, there is no usable standard input, it is
/// registered with other flags (which mean nothing for a terminal or console), or (Windows, a pipe or a file) with
/// another reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_add_console(reactor: *mut io_reactor_t, context: *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_add_console", reactor, |inner| inner.add_console(context, false)) }
}

/// Registers standard input, as io_reactor_add_console() does, with `flags`: 0 or IO_REACTOR_CONSOLE_BUFFERED.
///
/// Buffered, the library reads a pipe or a file: EVENT_READ with the bytes, up to 4096 at a time, then EVENT_CLOSE once
/// at the end of the input. On Windows a thread reads ahead, so the caller must not read standard input. A terminal or
/// console is never buffered.
///
/// Returns 0, or -1: as io_reactor_add_console(), and for unknown flags.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_add_console_ex(
    reactor: *mut io_reactor_t,
    context: *mut c_void,
    flags: c_int,
) -> c_int {
    let add = |inner: &mut Inner| match flags {
        0 | IO_REACTOR_CONSOLE_BUFFERED => inner.add_console(context, flags != 0),
        _ => Err(Failure::new(format!("unknown flags {flags:#x}"))),
    };
    // SAFETY: as above.
    unsafe { enter("io_reactor_add_console_ex", reactor, add) }
}

/// Forgets standard input: no later wait reports it, and io_reactor_add_console() may be called again. Bytes of a
/// buffered pipe or file that were read and not yet delivered are lost.
///
/// Returns 0 (also if it is not registered), or -1: NULL reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_remove_console(reactor: *mut io_reactor_t) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_remove_console", reactor, Inner::remove_console) }
}

/// Returns the kind of standard input that io_reactor_add_console() found. A socket counts as a pipe, and a device that
/// is not a terminal, such as /dev/null or NUL, as a file.
///
/// Any thread. Returns CONSOLE_TYPE_NONE for a NULL reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_get_console_type(reactor: *mut io_reactor_t) -> console_type_t {
    const NAME: &str = "io_reactor_get_console_type";
    guard(NAME, console_type_t::CONSOLE_TYPE_NONE, || {
        // SAFETY: as above. Any thread may ask.
        let facts = unsafe { io_reactor_t::stdin_facts(reactor) }.ok_or_else(|| no_reactor(NAME))?;
        Ok(facts.registered())
    })
}

/// Ends the current wait, or else the next one. Any number of calls before that count as one. There is no event: a wait
/// without other events returns 0.
///
/// Any thread. On POSIX also from a signal handler, so the call leaves io_reactor_last_error() as it is.
///
/// Returns 0, or -1: NULL reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_wakeup(reactor: *mut io_reactor_t) -> c_int {
    // SAFETY: as above.
    unsafe { wake(reactor) }
}

/// May run in a signal handler, which has interrupted its thread anywhere, also in an allocation or in this library. So it
/// is not guarded, as that would allocate for the text of a failure; and there is nothing here that can panic. What it
/// calls for a reactor that exists is atomics and a write to an eventfd; with a C program's settings the log is off, and
/// costs one load.
///
/// # Safety
///
/// As for [`enter`].
unsafe fn wake(reactor: *mut io_reactor_t) -> c_int {
    // SAFETY: the caller guarantees a valid pointer. `wake` touches only fields that threads may share.
    unsafe { io_reactor_t::wake(reactor) }.map_or(-1, |()| 0)
}

/// Sends a message to the reactor: an event with this context and EVENT_POST, and `data` as its buffer. Messages are
/// never merged or lost, and those of one thread arrive in order. The library does not dereference the two pointers.
///
/// Any thread; not from a signal handler.
///
/// Returns 0, or -1: NULL reactor, 65536 messages wait for delivery, or the system is out of memory for a wake-up. On
/// failure the message was not taken, and may be sent again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_post(
    reactor: *mut io_reactor_t,
    context: *mut c_void,
    data: *mut c_void,
) -> c_int {
    guard("io_reactor_post", -1, || {
        // SAFETY: as above.
        let poster = unsafe { io_reactor_t::poster(reactor) }.ok_or_else(|| no_reactor("io_reactor_post"))?;
        let token = dolmen::Token(context.expose_provenance());
        poster.post(data.expose_provenance() as u64, token)?;
        Ok(0)
    })
}

/// Puts the reactor's statistics into `stats`. `size` is sizeof(io_reactor_stats_t) as the caller was compiled: a later
/// library may have more fields, and fills in only those within `size`.
///
/// Returns 0, or -1: NULL reactor or stats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_stats(
    reactor: *mut io_reactor_t,
    stats: *mut io_reactor_stats_t,
    size: size_t,
) -> c_int {
    let fill = |inner: &mut Inner| {
        if stats.is_null() {
            return Err(Failure::new("NULL stats"));
        }
        let found = inner.stats();
        let known = size_of::<io_reactor_stats_t>();
        // SAFETY: the caller guarantees `size` writable bytes. The structure is plain numbers without padding; fields
        // that we do not know are zeroed.
        unsafe {
            stats.cast::<u8>().write_bytes(0, size);
            stats.cast::<u8>().copy_from((&raw const found).cast(), size.min(known));
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { enter("io_reactor_stats", reactor, fill) }
}

/// Returns the reason why the last failed call in this thread returned -1, NULL or 0. Never NULL; stays valid until the
/// next failing call in the same thread. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn io_reactor_last_error() -> *const c_char {
    boundary::last_error()
}

/// Returns the library's version, such as "0.1.0". Compare it with IO_REACTOR_VERSION, the version of the header.
#[unsafe(no_mangle)]
pub extern "C" fn io_reactor_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The family is two bytes, and `sockaddr_storage` has 128.
const MIN_ADDRESS_BYTES: usize = 3;
const MAX_ADDRESS_BYTES: usize = 128;
