//! Readiness: the interest of a poll, and its result.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

/// A set of conditions of a socket.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const NONE: Readiness = Readiness(0);
    /// A read would not block. For a listener: a connection waits.
    pub const READABLE: Readiness = Readiness(1);
    /// A write would not block.
    pub const WRITABLE: Readiness = Readiness(2);
    /// The other end is gone, and everything that it has sent was read. Reported whatever the interest is.
    pub const HANGUP: Readiness = Readiness(4);
    /// The socket has failed, and everything that had arrived before was read. Reported whatever the interest is.
    pub const ERROR: Readiness = Readiness(8);

    /// What an interest may contain.
    pub(crate) const ASKABLE: Readiness = Readiness(3);
    /// What is reported whatever the interest is.
    pub(crate) const ENDS: Readiness = Readiness(12);

    /// Whether it contains all of `other`.
    pub fn contains(self, other: Readiness) -> bool {
        self & other == other
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self == Readiness::NONE
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Readiness) {
        self.0 |= other.0;
    }
}

impl BitAnd for Readiness {
    type Output = Readiness;

    fn bitand(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Readiness::READABLE, "readable"),
            (Readiness::WRITABLE, "writable"),
            (Readiness::HANGUP, "hangup"),
            (Readiness::ERROR, "error"),
        ];
        f.debug_set()
            .entries(names.iter().filter(|(bit, _)| self.contains(*bit)).map(|(_, name)| name))
            .finish()
    }
}

/// A socket (on Linux any pollable descriptor) that the caller owns and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BorrowedSocket {
    #[cfg(unix)]
    pub(super) raw: std::os::fd::RawFd,
    #[cfg(windows)]
    pub(super) raw: std::os::windows::io::RawSocket,
}

impl BorrowedSocket {
    /// A descriptor of the simulated machine: any number will do for one.
    #[cfg(dolmen_sim)]
    pub(crate) fn simulated(fd: u32) -> BorrowedSocket {
        BorrowedSocket { raw: fd as _ }
    }

    /// # Safety
    ///
    /// The socket stays open until it is no longer registered. If it is closed earlier, no memory is read or written
    /// that should not be, but its number may be reused for another file, which is then waited for instead.
    #[cfg(unix)]
    pub unsafe fn from_raw(raw: std::os::fd::RawFd) -> BorrowedSocket {
        BorrowedSocket { raw }
    }

    /// # Safety
    ///
    /// The socket stays open until it is no longer registered. If it is closed earlier, no memory is read or written
    /// that should not be, but its number may be reused for another socket, which is then waited for instead.
    #[cfg(windows)]
    pub unsafe fn from_raw(raw: std::os::windows::io::RawSocket) -> BorrowedSocket {
        BorrowedSocket { raw }
    }
}
