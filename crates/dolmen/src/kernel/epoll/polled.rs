//! Sockets of somebody else's, as epoll sees them: what it is asked to wait for, and what its answer means.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::epoll::EventFlags;

use super::super::operation::OpPtr;
use super::super::readiness::Readiness;
use super::Epoll;

/// A borrowed socket.
pub(super) struct Polled {
    pub(super) fd: RawFd,
    pub(super) poll: Option<OpPtr<Epoll>>,
    pub(super) interest: Readiness,
    /// What epoll waits for; `NONE`: it does not know the descriptor. Even with no flags set it would report ends, again
    /// and again.
    pub(super) registered: Readiness,
    /// Reported and not told yet.
    pub(super) seen: Readiness,
    /// Epoll does not take it, as a read or write of it never waits: a file.
    pub(super) always: bool,
}

impl Polled {
    /// What poll(2) is to look for. Its flags are epoll's; it leaves alone what has a negative number, and so what epoll does
    /// not know.
    pub(super) fn pollfd(&self) -> libc::pollfd {
        let events = polled_flags(self.interest).bits() as libc::c_short;
        let fd = if self.registered.is_empty() { -1 } else { self.fd };
        libc::pollfd { fd, events, revents: 0 }
    }

    pub(super) fn to_tell(&self) -> Readiness {
        self.seen & (self.interest | Readiness::ENDS)
    }
}

pub(super) fn polled_flags(interest: Readiness) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.contains(Readiness::READABLE));
    flags.set(EventFlags::OUT, interest.contains(Readiness::WRITABLE));
    flags
}

/// What epoll's answer says to somebody who reads by himself. An end is not told of before the bytes in front of it have
/// been read, when the caller wants to read at all: many a program closes at the first word of an end.
pub(super) fn readiness(fd: RawFd, interest: Readiness, flags: EventFlags, calls: &mut u64) -> Readiness {
    let mut ready = Readiness::NONE;
    let pairs = [
        (EventFlags::IN, Readiness::READABLE),
        (EventFlags::OUT, Readiness::WRITABLE),
        (EventFlags::HUP, Readiness::HANGUP),
        (EventFlags::ERR, Readiness::ERROR),
    ];
    for (flag, bit) in pairs {
        if flags.contains(flag) {
            ready |= bit;
        }
    }
    let ended = !(ready & Readiness::ENDS).is_empty();
    if ended && ready.contains(Readiness::READABLE) && interest.contains(Readiness::READABLE) {
        *calls += 1;
        // SAFETY: whoever lends a socket keeps it open while it is registered; see `BorrowedSocket::from_raw`.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        if rustix::io::ioctl_fionread(fd).is_ok_and(|bytes| bytes > 0) {
            ready = ready & Readiness::ASKABLE;
        }
    }
    ready
}

// poll(2) is asked with epoll's flags, and its answer read as such.
const _: () = {
    assert!(libc::POLLIN as i32 == libc::EPOLLIN && libc::POLLOUT as i32 == libc::EPOLLOUT);
    assert!(libc::POLLHUP as i32 == libc::EPOLLHUP && libc::POLLERR as i32 == libc::EPOLLERR);
};
