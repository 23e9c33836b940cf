//! Borrowed sockets as epoll sees them: what it waits for, and what its result means.

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
    /// What epoll waits for; `NONE`: the descriptor is not registered. Even with no flags set epoll would report ends,
    /// again and again.
    pub(super) registered: Readiness,
    /// Found by epoll and not reported yet.
    pub(super) found: Readiness,
    /// Epoll does not accept it, because a read or write of it never waits: a file.
    pub(super) always: bool,
}

impl Polled {
    /// The entry for poll(2). Its flags are epoll's; it ignores a negative number, and so a descriptor that epoll does
    /// not know.
    pub(super) fn pollfd(&self) -> libc::pollfd {
        let events = polled_flags(self.interest).bits() as libc::c_short;
        let fd = if self.registered.is_empty() { -1 } else { self.fd };
        libc::pollfd { fd, events, revents: 0 }
    }

    pub(super) fn unreported(&self) -> Readiness {
        self.found & (self.interest | Readiness::ENDS)
    }
}

pub(super) fn polled_flags(interest: Readiness) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.contains(Readiness::READABLE));
    flags.set(EventFlags::OUT, interest.contains(Readiness::WRITABLE));
    flags
}

/// What epoll's result means for a caller that reads by itself. If the caller wants to read at all, an end is not
/// reported before the bytes in front of it have been read: many programs close at the first report of an end [hc36].
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
        // SAFETY: the lender keeps the socket open while it is registered; see `BorrowedSocket::from_raw`.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        if rustix::io::ioctl_fionread(fd).is_ok_and(|bytes| bytes > 0) {
            ready = ready & Readiness::ASKABLE;
        }
    }
    ready
}

// poll(2) is called with epoll's flags, and its result read as such.
const _: () = {
    assert!(libc::POLLIN as i32 == libc::EPOLLIN && libc::POLLOUT as i32 == libc::EPOLLOUT);
    assert!(libc::POLLHUP as i32 == libc::EPOLLHUP && libc::POLLERR as i32 == libc::EPOLLERR);
};
