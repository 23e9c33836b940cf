//! The contexts that the program gives to the library, and which registration each belongs to.

use std::ffi::c_void;

/// The owner of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Socket(usize),
    Console(usize),
    Timer(usize),
    Post(usize),
}

impl Context {
    pub(super) fn pointer(self) -> *mut c_void {
        let (kind, number) = match self {
            Context::Socket(number) => (1, number),
            Context::Console(number) => (2, number),
            Context::Timer(number) => (3, number),
            Context::Post(number) => (4, number),
        };
        std::ptr::without_provenance_mut(kind << 24 | number)
    }

    pub(super) fn of(pointer: *mut c_void) -> Option<Context> {
        let number = pointer.addr() & 0x00FF_FFFF;
        match pointer.addr() >> 24 {
            1 => Some(Context::Socket(number)),
            2 => Some(Context::Console(number)),
            3 => Some(Context::Timer(number)),
            4 => Some(Context::Post(number)),
            _ => None,
        }
    }
}
