//! Operations that the system did not find when asked to cancel them.
//!
//! Nearly all of them have completed, and their packets come out of the next wait. But Wine does not find a send while
//! it transfers some of its bytes, and a layered provider may be unable to cancel at all. An operation that is still
//! pending when all packets of a wait are out is cancelled again, after pauses that double. Each operation has its own
//! attempts and pauses, however many others there are.
//!
//! After the last attempt the socket is closed, if the reactor owns it: that ends every operation on it, with a packet
//! each. Otherwise the connection would be closing indefinitely. Only the caller closes a borrowed socket. Closing is
//! not the first choice, because it frees the number while operations are pending; and under Wine, which can cancel, it
//! ends a send only when the peer has read.
//!
//! Microsoft Learn: "CancelIoEx", "closesocket".

use std::cell::Cell;
use std::net::TcpListener;
use std::rc::Rc;

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::super::Fault;
use super::super::operation::OpPtr;
use super::associations::SocketId;
use super::{Iocp, status};

/// The pause after the first attempt. It doubles after each.
const FIRST_PAUSE_NS: u64 = 1_000_000;

/// How often an operation is cancelled again. The last attempt is some four seconds after the first: before a reactor
/// that is dropped stops waiting for the kernel.
const TRIES: u8 = 13;

/// The owner of an operation's socket.
#[derive(Clone)]
pub(super) enum Owner {
    Caller,
    Stream(SocketId),
    /// Closed by taking it out, so that it is closed once.
    Listener(Rc<Cell<Option<TcpListener>>>),
}

impl Owner {
    /// Whether closing the one's socket closes the other's.
    fn closes_with(&self, other: &Owner) -> bool {
        match (self, other) {
            (Owner::Stream(one), Owner::Stream(other)) => one == other,
            (Owner::Listener(one), Owner::Listener(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }
}

pub(super) struct Unfound {
    entries: Vec<Entry>,
    /// When the first of them is cancelled again.
    next_ns: u64,
    pub(super) first_pause_ns: u64,
}

struct Entry {
    socket: SOCKET,
    op: OpPtr<Iocp>,
    owner: Owner,
    tries: u8,
    again_at_ns: u64,
}

/// An operation that no attempt has ended.
pub(super) struct GivenUp {
    pub(super) socket: SOCKET,
    pub(super) owner: Owner,
    pub(super) fault: Fault,
}

impl Unfound {
    pub(super) fn new() -> Unfound {
        Unfound { entries: Vec::new(), next_ns: 0, first_pause_ns: FIRST_PAUSE_NS }
    }

    /// It is cancelled again for the first time as soon as the packets that are there are out.
    pub(super) fn push(&mut self, socket: SOCKET, op: OpPtr<Iocp>, owner: Owner) {
        self.entries.push(Entry { socket, op, owner, tries: 0, again_at_ns: 0 });
        self.next_ns = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Removes those whose packets have come.
    pub(super) fn retain(&mut self, is_pending: impl Fn(OpPtr<Iocp>) -> bool) {
        self.entries.retain(|entry| is_pending(entry.op));
    }

    /// Makes another attempt for each that is due. Returns those whose last attempt failed; those that end when the
    /// socket of one of these is closed are forgotten as well.
    pub(super) fn cancel_again(
        &mut self,
        now_ns: u64,
        mut cancel: impl FnMut(SOCKET, OpPtr<Iocp>) -> Result<bool, Fault>,
    ) -> Vec<GivenUp> {
        let mut given_up: Vec<GivenUp> = Vec::new();
        let first_pause_ns = self.first_pause_ns;
        self.entries.retain_mut(|entry| {
            if entry.again_at_ns > now_ns {
                return true;
            }
            let cancelled = cancel(entry.socket, entry.op);
            let fault = match cancelled {
                Ok(true) => return false,
                Ok(false) => status::from_code(status::NOT_FOUND),
                Err(fault) => fault,
            };
            entry.again_at_ns = now_ns + (first_pause_ns << entry.tries);
            entry.tries += 1;
            if entry.tries == TRIES {
                given_up.push(GivenUp { socket: entry.socket, owner: entry.owner.clone(), fault });
            }
            entry.tries < TRIES
        });
        if !given_up.is_empty() {
            let stays = |entry: &Entry| given_up.iter().all(|over| !over.owner.closes_with(&entry.owner));
            self.entries.retain(stays);
        }
        self.next_ns = self.entries.iter().map(|entry| entry.again_at_ns).min().unwrap_or(0);
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::operation::{OpKind, OperationTable};
    use super::*;

    const MS: u64 = 1_000_000;

    /// The result of a layered provider that cannot cancel.
    fn never(_socket: SOCKET, _op: OpPtr<Iocp>) -> Result<bool, Fault> {
        Ok(false)
    }

    #[test]
    fn each_operation_has_tries_and_pauses_of_its_own() {
        let mut operations = OperationTable::new();
        let mut op = || operations.take(OpKind::Receive, 0, None, 0..0);
        let mut unfound = Unfound::new();
        let first = op();
        unfound.push(1, first, Owner::Stream(SocketId::next()));
        let mut tried_at_ms = Vec::new();
        // Another one is not found in each millisecond, as when many connections end.
        for now_ms in 0..4_095 {
            let given_up = unfound.cancel_again(now_ms * MS, |socket, op| {
                assert_eq!(socket == 1, op == first);
                if socket == 1 {
                    tried_at_ms.push(now_ms);
                }
                // Those that come later are found at their second attempt.
                Ok(socket != 1 && u64::try_from(socket).unwrap() < 2 + now_ms)
            });
            assert!(given_up.is_empty(), "after {now_ms} ms");
            assert!(unfound.next_ns() <= (now_ms + 1) * MS || unfound.entries.len() == 1);
            unfound.push(2 + now_ms as SOCKET, op(), Owner::Caller);
            assert_eq!(unfound.next_ns(), 0, "a new one is tried as soon as can be");
        }
        assert_eq!(tried_at_ms, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1_023, 2_047]);
        let given_up = unfound.cancel_again(4_095 * MS, never);
        assert_eq!(given_up.iter().map(|over| over.socket).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_ends_with_a_socket_is_forgotten_with_it() {
        let mut operations = OperationTable::new();
        let mut op = || operations.take(OpKind::Receive, 0, None, 0..0);
        let mut unfound = Unfound::new();
        let (stream, other) = (Owner::Stream(SocketId::next()), Owner::Stream(SocketId::next()));
        unfound.push(1, op(), stream.clone());
        assert!(unfound.cancel_again(0, never).is_empty());
        for owner in [stream, other, Owner::Caller, Owner::Caller] {
            unfound.push(1, op(), owner);
        }
        let mut given_up = Vec::new();
        for now_ms in 1..=4_095 {
            given_up.extend(unfound.cancel_again(now_ms * MS, never));
        }
        assert_eq!(given_up.len(), 1);
        assert_eq!(unfound.entries.len(), 3, "the other operation of the stream's ends with it");
        assert_eq!(unfound.cancel_again(u64::MAX / 2, never).len(), 3);
        assert!(unfound.is_empty());
    }
}
