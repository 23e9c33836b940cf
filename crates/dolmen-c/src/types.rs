//! The types and constants of the two headers, by the names that C has for them. Those that both headers have are here.
#![allow(non_camel_case_types)]

mod async_runtime;
mod io_reactor;

use std::ffi::c_int;

pub use async_runtime::*;
pub use io_reactor::*;

/// A socket, in the type of the system's own calls.
#[cfg(unix)]
pub type socket_fd_t = c_int;
/// A socket, in the type of the system's own calls.
#[cfg(windows)]
pub type socket_fd_t = usize;

/// What stands for no socket.
pub(crate) const NO_SOCKET: socket_fd_t = !0;

/// C's type for a number of bytes.
pub type size_t = usize;

/// C's type for a number as wide as a pointer.
pub type uintptr_t = usize;

/// A handle of the system's.
#[cfg(windows)]
pub type HANDLE = *mut std::ffi::c_void;

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

/// The headers assert the same of a program: a C library for 32 bits has two forms of this structure, and a program that
/// was compiled with the wider one would wait for no time at all.
const _: () = assert!(size_of::<timeval>() == 2 * size_of::<std::ffi::c_long>());

/// There is something to read, or to accept; if `buffer` is not NULL the library has read it already.
pub const EVENT_READ: c_int = 0x01;
/// There is room to write, or bytes_transferred bytes of a posted write have been sent.
pub const EVENT_WRITE: c_int = 0x02;
/// The socket has failed.
pub const EVENT_ERROR: c_int = 0x04;
/// The peer has closed the connection, or it was reset; for the console: the end of the input.
pub const EVENT_CLOSE: c_int = 0x08;

/// The kind of standard input.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum console_type_t {
    /// None that is usable, or standard input was not added.
    CONSOLE_TYPE_NONE = 0,
    /// A terminal, or a Windows console.
    CONSOLE_TYPE_REAL = 1,
    /// A pipe, or what counts as one.
    CONSOLE_TYPE_PIPE = 2,
    /// A file, or what counts as one.
    CONSOLE_TYPE_FILE = 3,
}
