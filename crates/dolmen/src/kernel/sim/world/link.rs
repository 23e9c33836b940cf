//! A link: a connection with the wire in both directions, and both ends' view of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::dial::Stage;
use super::faults::{RESET, SHUT};
use crate::kernel::Fault;
use crate::kernel::readiness::Readiness;
use crate::marks::{Mark, mark};

/// A connection: the wire in both directions.
#[derive(Default)]
pub(crate) struct Link {
    pub(crate) inbound: Pipe,
    pub(crate) outbound: Pipe,
    /// The peer has reset; whether the bytes that it had sent before can still be read.
    pub(crate) reset: Option<bool>,
    /// The peer is gone without a reset: it will respond to the next bytes with one.
    pub(crate) gone: bool,
    /// The caller has shut down the sending side itself, on a duplicate of the socket.
    pub(crate) shut_by_caller: bool,
    /// When a send failed because of that, and how many bytes the peer had sent by then.
    pub(crate) send_failed: Option<(u64, u64)>,
    /// The same for a send that found the connection reset.
    pub(crate) send_reset: Option<(u64, u64)>,
    /// A transmission has failed, not because of the peer.
    pub(crate) transmit_failed: bool,
    pub(crate) ended: Option<Ended>,
    /// How far it has come, if the reactor's side makes it.
    pub(crate) stage: Stage,
    /// Nothing will ever happen on it, so the kernel can skip the operations that wait for it.
    pub(crate) silent: bool,
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Duration>,
}

/// How the reactor's end was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Orderly,
    /// By request, or by the system because received bytes were left unread: bytes in transit are lost.
    Reset,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) capacity: usize,
    pub(crate) fin: bool,
    /// The total of bytes that were ever written.
    pub(crate) total: u64,
}

impl Pipe {
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.bytes.len().min(self.capacity)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.total += bytes.len() as u64;
    }
}

/// The result of a receive on a link.
pub(crate) enum Readable {
    Nothing,
    Bytes(usize),
    End,
    Reset,
}

impl Link {
    pub(crate) fn readable(&self) -> Readable {
        match self.reset {
            Some(true) if !self.inbound.bytes.is_empty() => Readable::Bytes(self.inbound.bytes.len()),
            Some(_) => Readable::Reset,
            None if !self.inbound.bytes.is_empty() => Readable::Bytes(self.inbound.bytes.len()),
            None if self.inbound.fin => Readable::End,
            None => Readable::Nothing,
        }
    }

    /// Whether a send would make progress or fail.
    pub(crate) fn writable(&self) -> bool {
        self.reset.is_some() || self.gone || self.shut_by_caller || self.outbound.room() > 0
    }

    /// Everything that can be reported to a poll.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut ready = Readiness::NONE;
        if !matches!(self.readable(), Readable::Nothing) {
            ready |= Readiness::READABLE;
        }
        if self.writable() {
            ready |= Readiness::WRITABLE;
        }
        if self.reset.is_some() {
            ready |= Readiness::ENDS;
        }
        ready
    }

    /// The result of a poll for `interest`. If it asks for reading, an end is reported after the bytes in front of it.
    pub(crate) fn polled(&self, interest: Readiness) -> Readiness {
        if interest.is_empty() {
            return Readiness::NONE;
        }
        let wants_to_read = interest.contains(Readiness::READABLE);
        let bytes_first = wants_to_read && matches!(self.readable(), Readable::Bytes(_));
        let ends = if bytes_first { Readiness::NONE } else { Readiness::ENDS };
        self.readiness() & (interest | ends)
    }

    /// How many of the peer's bytes have been read.
    pub(crate) fn read(&self) -> u64 {
        self.inbound.total - self.inbound.bytes.len() as u64
    }

    /// Takes as many bytes as fit.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if self.reset.is_some() {
            return Err(RESET);
        }
        if self.shut_by_caller {
            return Err(SHUT);
        }
        if self.gone {
            // The system takes the bytes; the peer responds to them with a reset.
            mark(Mark::SendToGonePeer);
            self.outbound.total += bytes.len() as u64;
            self.reset = Some(true);
            return Ok(bytes.len());
        }
        let taken = bytes.len().min(self.outbound.room());
        self.outbound.write(&bytes[..taken]);
        Ok(taken)
    }

    /// Our end is closed.
    pub(super) fn close(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.outbound.fin = true;
        // TCP's response to bytes that no one will read.
        self.ended = Some(if self.inbound.bytes.is_empty() {
            Ended::Orderly
        } else {
            self.outbound.bytes.clear();
            Ended::Reset
        });
    }

    pub(crate) fn peer_reset(&mut self, keep: bool) {
        if self.reset.is_none() && self.ended.is_none() {
            mark(Mark::PeerReset);
            self.reset = Some(keep);
        }
    }
}
