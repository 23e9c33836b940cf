//! The way from a caller's pointer to the inside of its reactor.

use std::ffi::c_int;

use crate::boundary::{Failure, guard};
use crate::instance::io_reactor_t;
use crate::platform::Native;

/// The inside of a reactor of the system's.
pub(crate) type Inner = crate::reactor::Inner<Native>;

/// Runs `body` inside the reactor.
///
/// # Safety
///
/// `reactor` is NULL or came from `create` and was not destroyed.
pub(crate) unsafe fn enter(
    name: &str,
    reactor: *mut io_reactor_t,
    body: impl FnOnce(&mut Inner) -> Result<(), Failure>,
) -> c_int {
    // SAFETY: the caller guarantees a valid pointer.
    unsafe { enter_or(name, reactor, -1, |inner| body(inner).map(|()| 0)) }
}

/// # Safety
///
/// See [`enter`].
pub(crate) unsafe fn enter_or<T>(
    name: &str,
    reactor: *mut io_reactor_t,
    failed: T,
    body: impl FnOnce(&mut Inner) -> Result<T, Failure>,
) -> T {
    guard(name, failed, || {
        if reactor.is_null() {
            return Err(no_reactor(name));
        }
        // SAFETY: the caller guarantees a valid pointer.
        let mut entered = unsafe { io_reactor_t::enter(reactor) }.ok_or_else(another_thread)?;
        body(&mut entered)
    })
}

/// The failure of a function that was called while another thread is inside.
pub(crate) fn another_thread() -> Failure {
    Failure::new("another thread is inside this reactor")
}

/// The failure of a function of either header that was called with NULL.
pub(crate) fn no_reactor(function: &str) -> Failure {
    Failure::new(if function.starts_with("async_runtime_") { "NULL runtime" } else { "NULL reactor" })
}
