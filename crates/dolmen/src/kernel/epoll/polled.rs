//! Borrowed sockets as epoll sees them: what it waits for, and what its result means.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use super::super::operation::OpPtr;
use super::super::readiness::{BorrowedSocket, Readiness};
use super::super::{Fault, Kernel as _};
use super::Epoll;
use super::fault::fault;
use super::table::{Entry, Source};

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

impl Epoll {
    /// Registers a borrowed socket. Epoll refuses files, because they are always ready: those are not registered.
    pub(super) fn add_polled(
        &mut self,
        socket: BorrowedSocket,
        interest: Readiness,
    ) -> Result<Source, Fault> {
        // First, so that EPERM below is epoll's result for this descriptor.
        self.after_fork()?;
        let (fd, poll, found, always) = (socket.raw, None, Readiness::NONE, false);
        // Without an interest it is still registered, once, to learn whether epoll accepts it.
        let registered = if interest.is_empty() { Readiness::ENDS } else { interest };
        let entry = Entry::Polled(Polled { fd, poll, interest, registered, found, always });
        match self.register(entry, polled_flags(interest)) {
            Ok(source) => {
                if interest.is_empty() {
                    self.deregister(source.0);
                }
                Ok(source)
            }
            Err((fault, mut entry)) if fault.code == Errno::PERM.raw_os_error() => {
                if let Entry::Polled(polled) = &mut entry {
                    (polled.registered, polled.always) = (Readiness::NONE, true);
                }
                let index = self.table.reserve();
                Ok(self.table.fill(index, entry))
            }
            Err((fault, _)) => Err(fault),
        }
    }

    /// Changes what epoll waits for, with a call only if it is a change.
    pub(super) fn change_interest(&mut self, index: u32, interest: Readiness) -> Result<(), Fault> {
        let polled = self.table.polled(index);
        polled.interest = interest;
        if polled.always {
            if polled.poll.is_some() {
                polled.found = interest;
                self.ready.push_if_ready(&mut self.table, index);
            }
            return Ok(());
        }
        if polled.registered == interest {
            return Ok(());
        }
        if interest.is_empty() {
            self.deregister(index);
            return Ok(());
        }
        self.after_fork()?;
        let polled = self.table.polled(index);
        let registered = polled.registered;
        // SAFETY: the lender keeps the socket open while it is registered; see `BorrowedSocket::from_raw`.
        let fd = unsafe { BorrowedFd::borrow_raw(polled.fd) };
        let data = self.table.event_data(index);
        let flags = polled_flags(interest);
        let changed = if registered.is_empty() {
            self.add(fd, data, flags)
        } else {
            self.calls += 1;
            epoll::modify(&self.epoll, fd, data, flags)
        };
        changed.map_err(fault)?;
        self.table.polled(index).registered = interest;
        Ok(())
    }

    /// What poll(2) reports for a borrowed socket at this moment.
    pub(super) fn ready_now(&mut self, index: u32, interest: Readiness) -> Readiness {
        let polled = self.table.polled(index);
        if polled.always {
            return interest;
        }
        let (fd, events) = (polled.fd, polled_flags(interest).bits() as libc::c_short);
        let mut pollfd = libc::pollfd { fd, events, revents: 0 };
        self.calls += 1;
        // SAFETY: one structure, writable, and no waiting.
        if unsafe { libc::poll(&mut pollfd, 1, 0) } <= 0 {
            // Also if the call failed: epoll reports it again.
            return Readiness::NONE;
        }
        let flags = EventFlags::from_bits_truncate(u32::from(pollfd.revents as u16));
        let mut calls = 0;
        let ready = readiness(fd, interest, flags, &mut calls) & (interest | Readiness::ENDS);
        self.calls += calls;
        ready
    }
}

// poll(2) is called with epoll's flags, and its result read as such.
const _: () = {
    assert!(libc::POLLIN as i32 == libc::EPOLLIN && libc::POLLOUT as i32 == libc::EPOLLOUT);
    assert!(libc::POLLHUP as i32 == libc::EPOLLHUP && libc::POLLERR as i32 == libc::EPOLLERR);
};
