//! The eventfds that end the wait: the one by which the library wakes it, and the bell, to which other code writes.
//!
//! They are two, because only one of them is ours alone. The library knows what it has written, so its eventfd is never
//! read. What others write is unknown, and could fill the counter for good [hc42]; so the bell is read each time it is
//! reported, and a report of it is something that the wait has found.
//!
//! Manual pages: eventfd(2), dup(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{self, Ordering};

use rustix::io::Errno;

use super::super::fork::Process;
use super::super::{Fault, Signal};
use super::descriptor::new_eventfd;
use super::fault;

/// An eventfd that ends the wait.
pub(super) struct EventFd {
    pub(super) fd: OwnedFd,
    /// The process that owns it, and the epoll instance with it.
    pub(super) process: Process,
}

impl EventFd {
    pub(super) fn new() -> Result<EventFd, Errno> {
        Ok(EventFd { fd: new_eventfd()?, process: Process::current() })
    }

    /// Takes what was written to it.
    pub(super) fn drain(&self) {
        // It fails when it is empty: another process of this name has emptied it, before this one had its own.
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }

    /// Replaces it by a new one, for this process only.
    pub(super) fn renew(&self) -> Result<(), Errno> {
        let fresh = new_eventfd()?;
        // SAFETY: the number is that of the descriptor we own, and stays so: the call closes it and opens it again in
        // one step. Its only other users meanwhile are writes of eight bytes, which either of the two accepts.
        let done = unsafe { libc::dup3(fresh.as_raw_fd(), self.fd.as_raw_fd(), libc::O_CLOEXEC) };
        if done < 0 {
            return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL));
        }
        Ok(())
    }
}

impl Signal for Arc<EventFd> {
    fn notify(&self) -> Result<(), Fault> {
        // The wake has been stored. Either the engine sees it, having made the eventfd this process's, or this thread
        // sees that the engine has.
        atomic::fence(Ordering::SeqCst);
        if self.process.is_copy() {
            return Ok(());
        }
        loop {
            match rustix::io::write(&self.fd, &1u64.to_ne_bytes()) {
                // A full counter, 2^64 wakes ahead, has woken the waiter.
                Ok(_) | Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(fault(errno)),
            }
        }
    }
}
