//! Recognises the packets that come out of a completion port as ours or others'.
//!
//! A port is not ours alone. A socket that is registered here remains accessible to the caller: an overlapped call made
//! on it, or on a duplicate of it, by any code in the process completes to our port, with our key and a pointer that we
//! do not know. Any code that has a port's handle can also associate other handles with it, or post to it.
//!
//! So each packet is first checked from outside:
//!
//! * The key of our packets is the address of one of our statics, which no other code in the process uses by accident.
//!   A packet with another key is a *foreign completion*. It is reported to the engine by its key, its number of bytes
//!   and the address of the OVERLAPPED that comes with it, which is not touched.
//! * A packet with one of our keys must name one of our cells that is pending, of a kind that the key is for. Otherwise
//!   it is logged and dropped: we have no use for it, and do not know what its pointer refers to.
//!
//! The simulated kernel sends such packets, through this same code.

use super::Kernel;
use super::operation::{OpKind, OpPtr, OperationTable};

/// Their addresses are the keys.
static KEYS: [u8; 4] = *b"gate";

/// The kind of one of our packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The completion of an operation itself: a receive, a send or an accept.
    Operation,
    /// A watch or a poll has found something.
    Ready,
    /// A signal. It names no operation.
    Signal,
    /// The timer that makes waits exact has gone off. It names no operation either.
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
            OpKind::Receive
            | OpKind::Send
            | OpKind::Transmit
            | OpKind::Accept
            | OpKind::Connect
            | OpKind::ReceiveFrom
            | OpKind::SendTo => self == Key::Operation,
            OpKind::Watch | OpKind::Poll => self == Key::Ready,
        }
    }
}

/// A completion of something that the reactor did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) key: usize,
    pub(crate) bytes: u32,
    /// The address of an OVERLAPPED, or whatever the sender has given for one.
    pub(crate) overlapped: usize,
}

/// Recognises the packets that a wait takes out of the port; lent to [`Kernel::wait`].
pub(crate) struct Arrivals<'a, K: Kernel> {
    pub(super) operations: &'a OperationTable<K>,
    pub(super) foreign: &'a mut Vec<Foreign>,
    /// Packets with one of our keys that were not ours, so far.
    pub(super) unknown: &'a mut u64,
}

impl<K: Kernel> Arrivals<'_, K> {
    /// Other code has ended the wait, without a message.
    #[cfg_attr(windows, allow(dead_code))] // There it posts a packet.
    pub(crate) fn rung(&mut self) {
        self.foreign.push(Foreign { key: 0, bytes: 0, overlapped: 0 });
    }
}

#[cfg_attr(not(windows), allow(dead_code))] // Epoll gets no pointers from the system.
impl<K: Kernel> Arrivals<'_, K> {
    /// The operation that this packet completes, which the kernel may now decode. `None` for a signal or an alarm, and
    /// for a packet that is not ours: a foreign one is reported to the engine, an unknown one is counted and dropped
    /// [hc41].
    pub(crate) fn recognise(&mut self, key: usize, address: usize, bytes: u32) -> Option<(OpPtr<K>, OpKind)> {
        let Some(own) = Key::from_value(key) else {
            self.foreign.push(Foreign { key, bytes, overlapped: address });
            return None;
        };
        if matches!(own, Key::Signal | Key::Alarm) {
            return None;
        }
        let found = self.operations.arrive(address, |kind| own.is_for(kind));
        if found.is_none() {
            *self.unknown += 1;
            // The cause of this may repeat it for every message: the first is logged, and each that doubles the number.
            if self.unknown.is_power_of_two() {
                tracing::warn!(
                    target: "dolmen",
                    address,
                    bytes,
                    dropped = *self.unknown,
                    "a completion on the reactor's port belongs to none of its operations: other code in this process \
                     makes overlapped calls on a registered socket"
                );
            }
        }
        found
    }

    /// Makes a recognised operation pending again: it is not complete, and another packet of it will come.
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
