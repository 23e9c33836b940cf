//! The types that threads share: the standard library's, or loom's, which tries every order of events.
//!
//! The model covers only what crosses threads through these types alone: the mailbox and the console's inbox. Reference
//! counts are the standard library's in both.

#[cfg(not(all(test, loom)))]
mod chosen {
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

    /// Lets other threads run first.
    pub(crate) fn yield_now() {
        std::thread::yield_now();
    }
}

#[cfg(all(test, loom))]
mod chosen {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) use loom::thread::yield_now;
}

pub(crate) use chosen::*;
