//! What comes out of a completion port, and whether it is ours.
//!
//! A port is not ours alone. A socket that is registered here stays the caller's to some extent: an overlapped call made
//! on it, or on a duplicate of it, by anyone in the process completes to our port, with our key and a pointer that we know
//! nothing of. And whoever has a port's handle can associate other handles with it, or post to it.
//!
//! So each packet is looked at from outside first:
//!
//! * Our packets carry as key the address of a static of ours, which nothing else in the process has by accident. A packet
//!   with another key is a *foreign completion*. It is reported to the engine by its key and its number of bytes; the
//!   OVERLAPPED that comes with it is not touched.
//! * A packet with one of our keys has to name a cell of ours that is pending, of a kind that the key is for. Otherwise it
//!   is logged and dropped: we have no use for it, and no idea of what its pointer is.
//!
//! The simulated kernel sends such packets, through this same code.

use super::Kernel;
use super::operation::{OpKind, OpPtr, OperationTable};

/// Their addresses are the keys.
static KEYS: [u8; 4] = *b"gate";

/// What a packet of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// An operation's own completion: of a receive, a send or an accept.
    Operation,
    /// A watch or a poll has found something.
    Ready,
    /// A signal. It names no operation.
    Signal,
    /// The timer that makes waits exact has rung. It names no operation either.
    Alarm,
}

#[cfg_attr(not(windows), allow(dead_code))] // Epoll gets no pointers from the system.
impl Key {
    const ALL: [Key; 4] = [Key::Operation, Key::Ready, Key::Signal, Key::Alarm];

    pub(crate) fn value(self) -> usize {
        (&raw const KEYS[self as usize]).addr()
    }

    fn from_value(value: usize) -> Option<Key> {
        Key::ALL.get(value.wrapping_sub(KEYS.as_ptr().addr())).copied()
    }

    fn is_for(self, kind: OpKind) -> bool {
        match kind {
            OpKind::Receive | OpKind::Send | OpKind::Accept => self == Key::Operation,
            OpKind::Watch | OpKind::Poll => self == Key::Ready,
        }
    }
}

/// A completion of something that the reactor did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) key: usize,
    pub(crate) bytes: u32,
}

/// Recognises what a wait takes out of the port; lent to [`Kernel::wait`].
pub(crate) struct Arrivals<'a, K: Kernel> {
    pub(super) operations: &'a OperationTable<K>,
    pub(super) foreign: &'a mut Vec<Foreign>,
    /// Packets with a key of ours that were none of ours, so far.
    pub(super) unknown: &'a mut u64,
}

#[cfg_attr(not(windows), allow(dead_code))] // Epoll gets no pointers from the system.
impl<K: Kernel> Arrivals<'_, K> {
    /// The operation whose packet this is, which belongs to the kernel to be decoded. `None` for a signal or an
    /// alarm, and for what is not ours, which is noted.
    pub(crate) fn recognise(&mut self, key: usize, address: usize, bytes: u32) -> Option<(OpPtr<K>, OpKind)> {
        let Some(own) = Key::from_value(key) else {
            self.foreign.push(Foreign { key, bytes });
            return None;
        };
        if matches!(own, Key::Signal | Key::Alarm) {
            return None;
        }
        let found = self.operations.arrive(address, |kind| own.is_for(kind));
        if found.is_none() {
            *self.unknown += 1;
            // Whatever does this may do it for every message: the first is logged, and each that doubles the number.
            if self.unknown.is_power_of_two() {
                tracing::warn!(
                    target: "io_reactor",
                    address,
                    bytes,
                    dropped = *self.unknown,
                    "a completion on the reactor's port is of no operation of the reactor's: something else in this \
                     process makes overlapped calls on a registered socket"
                );
            }
        }
        found
    }

    /// An operation that was recognised is not over: another packet of it will come.
    pub(crate) fn resume(&self, op: OpPtr<K>) {
        self.operations.resume(op);
    }

    /// Whether an operation that was pending before this wait has not been recognised in it.
    pub(crate) fn is_pending(&self, op: OpPtr<K>) -> bool {
        self.operations.is_pending(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_ours_or_it_is_none() {
        for key in Key::ALL {
            assert_eq!(Key::from_value(key.value()), Some(key));
        }
        let first = Key::Operation.value();
        for value in [0, 1, 2, first - 1, first + Key::ALL.len(), usize::MAX] {
            assert_eq!(Key::from_value(value), None, "{value:#x}");
        }
    }
}
