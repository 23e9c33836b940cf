//! The event of `async_runtime.h`, which C knows by the same name as that of `io_reactor.h`.

use std::ffi::c_void;
use std::mem::offset_of;

#[cfg(windows)]
use super::HANDLE;
use super::{size_t, socket_fd_t, uintptr_t};

/// One event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct async_event_t {
    /// The socket. POSIX: the registered one, and -1 for a completion. Windows: the registered one, but the accepted one
    /// for a listening socket, which the caller now owns; for a completion its data.
    pub fd: socket_fd_t,
    /// Always NULL.
    #[cfg(windows)]
    pub handle: HANDLE,
    /// The key of a completion. For other events 0 on POSIX, and the context on Windows.
    pub completion_key: uintptr_t,
    /// One or more of the EVENT_... flags. EVENT_READ for a completion.
    pub event_type: u32,
    /// The context given at registration, which the library never dereferences. For a completion NULL on POSIX, and the
    /// key on Windows.
    pub context: *mut c_void,
    /// How many bytes have been received or sent; 0 where the caller reads and writes. The data of a completion.
    pub bytes_transferred: size_t,
    /// The received bytes, or NULL. They stay unchanged until the next async_runtime_wait() on the same runtime. A zero
    /// byte follows the bytes, unless the caller provided the buffer. For a packet that others have posted: its
    /// OVERLAPPED.
    pub buffer: *mut c_void,
}

const POINTER: usize = size_of::<usize>();
/// The socket fills the place of a pointer, by padding if it is narrower; and so does the event's type.
const KEY_AT: usize = if cfg!(windows) { 2 * POINTER } else { POINTER };
const _: () = assert!(offset_of!(async_event_t, completion_key) == KEY_AT);
const _: () = assert!(offset_of!(async_event_t, event_type) == KEY_AT + POINTER);
const _: () = assert!(offset_of!(async_event_t, context) == KEY_AT + 2 * POINTER);
const _: () = assert!(offset_of!(async_event_t, bytes_transferred) == KEY_AT + 3 * POINTER);
const _: () = assert!(offset_of!(async_event_t, buffer) == KEY_AT + 4 * POINTER);
const _: () = assert!(size_of::<async_event_t>() == KEY_AT + 5 * POINTER);
