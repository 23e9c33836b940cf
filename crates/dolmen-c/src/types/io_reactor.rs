//! The types and constants that only `io_reactor.h` has.

use std::ffi::{c_char, c_int, c_void};

use super::{socket_fd_t, uintptr_t};

/// A handle of the system's.
#[cfg(unix)]
pub type io_reactor_handle_t = c_int;
/// A handle of the system's.
#[cfg(windows)]
pub type io_reactor_handle_t = super::HANDLE;

/// An io_reactor_post() has arrived; `buffer` is its data.
pub const EVENT_POST: c_int = 0x10;
/// A timer is due; bytes_transferred counts the further ticks that have passed without an event.
pub const EVENT_TIMER: c_int = 0x20;

/// For io_reactor_wait_ex(): a listener of io_reactor_add_listener() has accepted a connection, whose socket is `fd`.
pub const EVENT_ACCEPT: c_int = 0x40;
/// For io_reactor_wait_ex(): a packet that others have posted to the completion port; see io_reactor_native_handle().
pub const EVENT_COMPLETION: c_int = 0x80;

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
    /// How many bytes have been received or sent; 0 where the caller reads and writes. What an int cannot hold, of the
    /// ticks of a timer, is INT_MAX.
    pub bytes_transferred: c_int,
    /// The received bytes, or NULL. They stay unchanged until the next io_reactor_wait() on the same reactor. A zero
    /// byte follows the bytes, unless the caller provided the buffer.
    pub buffer: *mut c_void,
}

/// One event of io_reactor_wait_ex().
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct io_event_ex_t {
    /// As io_reactor_wait() would have reported it.
    pub event: io_event_t,
    /// The socket: the registered one; for EVENT_ACCEPT the accepted one, which the caller now owns; -1 (on Windows
    /// INVALID_SOCKET) for an event that is not about a socket.
    pub fd: socket_fd_t,
    /// For EVENT_COMPLETION the key of the packet, whose byte count is bytes_transferred and whose OVERLAPPED is
    /// `buffer`; 0 for other events. The byte count is a DWORD, whose 32 bits are kept: `(DWORD)event.bytes_transferred`.
    pub completion_key: uintptr_t,
}

/// Gets the result of io_reactor_resolve(). `addresses` are `count` pointers, each to a struct sockaddr_in or
/// sockaddr_in6 of the size in `lengths`, in the order of the system's preference, and `error` is NULL; or `count` is 0
/// and `error` says why. All of it is valid until the function returns.
pub type io_reactor_resolved_t = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        addresses: *const *const c_void,
        lengths: *const c_int,
        count: c_int,
        error: *const c_char,
    ),
>;

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
