//! The types and constants of the header. Their names are C's.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_int, c_void};

/// A socket, in the type of the system's own calls.
#[cfg(unix)]
pub type socket_fd_t = c_int;
/// A socket, in the type of the system's own calls.
#[cfg(windows)]
pub type socket_fd_t = usize;

/// `struct timeval` of the system's headers.
#[cfg(unix)]
pub type timeval = libc::timeval;
/// `struct timeval` of the system's headers.
#[cfg(windows)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct timeval {
    /// Seconds.
    pub tv_sec: std::ffi::c_long,
    /// Microseconds.
    pub tv_usec: std::ffi::c_long,
}

/// There is something to read, or to accept; if `buffer` is not NULL the library has read it already.
pub const EVENT_READ: c_int = 0x01;
/// There is room to write, or bytes_transferred bytes of an io_reactor_post_write() have been sent.
pub const EVENT_WRITE: c_int = 0x02;
/// The socket has failed.
pub const EVENT_ERROR: c_int = 0x04;
/// The peer has closed the connection, or it was reset; for the console: the end of the input.
pub const EVENT_CLOSE: c_int = 0x08;
/// An io_reactor_post() has arrived; `buffer` is its data.
pub const EVENT_POST: c_int = 0x10;
/// A timer is due; bytes_transferred counts the further ticks that have passed without an event.
pub const EVENT_TIMER: c_int = 0x20;

/// For io_reactor_add_console_ex(): the library reads the bytes of a pipe or a file, and the events carry them.
pub const IO_REACTOR_CONSOLE_BUFFERED: c_int = 0x01;

/// One event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct io_event_t {
    /// The context given at registration. The library never dereferences it.
    pub context: *mut c_void,
    /// One or more of the EVENT_... flags.
    pub event_type: c_int,
    /// How many bytes have been received or sent; 0 where the caller reads and writes.
    pub bytes_transferred: c_int,
    /// The received bytes, or NULL. They stay unchanged until the next io_reactor_wait() on the same reactor. A zero
    /// byte follows the bytes, unless the caller provided the buffer.
    pub buffer: *mut c_void,
}

/// Gets the result of io_reactor_resolve(). `addresses` are `count` pointers, each to a struct sockaddr_in or
/// sockaddr_in6 of the size in `lengths`, in the order of the system's preference, and `error` is NULL; or `count` is 0
/// and `error` says why. All of it is valid until the function returns.
#[allow(non_camel_case_types)]
pub type io_reactor_resolved_t = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        addresses: *const *const c_void,
        lengths: *const c_int,
        count: c_int,
        error: *const c_char,
    ),
>;

/// The kind of standard input.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum console_type_t {
    /// None that is usable, or io_reactor_add_console() was not called.
    CONSOLE_TYPE_NONE = 0,
    /// A terminal, or a Windows console.
    CONSOLE_TYPE_REAL = 1,
    /// A pipe (or, on POSIX, a socket).
    CONSOLE_TYPE_PIPE = 2,
    /// A file, or a device that is not a terminal, such as /dev/null or NUL.
    CONSOLE_TYPE_FILE = 3,
}

/// What a reactor has done since it was created, and what it holds now.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct io_reactor_stats_t {
    /// Calls of io_reactor_wait().
    pub waits: u64,
    /// Calls into the operating system, including the waits, without the caller's own recv, send and accept.
    pub kernel_calls: u64,
    /// Events delivered.
    pub events: u64,
    /// Windows: bytes received.
    pub bytes_received: u64,
    /// Windows: bytes of io_reactor_post_write() that the system has taken.
    pub bytes_sent: u64,
    /// Sockets registered now.
    pub sockets: u64,
    /// Timers set now.
    pub timers: u64,
    /// Operations that the system holds now.
    pub operations_in_flight: u64,
    /// Windows: bytes of io_reactor_post_write() that the system has not taken yet. Those of a removed socket count
    /// until its cancelled send has ended, which takes a wait or more.
    pub queued_bytes: u64,
}
