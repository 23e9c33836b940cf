//! The kernel layer's own descriptors.
//!
//! Never 0, 1 or 2: if a program has closed its standard streams, as a daemon does, the files that it opens next get
//! these numbers, and its output must not reach one of our descriptors.
//!
//! Manual pages: fcntl(2), daemon(3).

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

pub(super) fn new_epoll() -> Result<OwnedFd, Errno> {
    epoll::create(epoll::CreateFlags::CLOEXEC).and_then(above_standard)
}

pub(super) fn new_eventfd() -> Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).and_then(above_standard)
}

/// The same open file, moved to a number above 2 if it has one of the standard numbers.
pub(crate) fn above_standard(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    const LAST_OF_STANDARD: i32 = 2;
    if fd.as_raw_fd() > LAST_OF_STANDARD { Ok(fd) } else { fcntl_dupfd_cloexec(&fd, LAST_OF_STANDARD + 1) }
}
