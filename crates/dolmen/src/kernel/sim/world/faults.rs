//! The faults that the simulated machine injects, and the errors that it returns.

use super::datagrams::NetworkFaults;
use crate::kernel::operation::OpKind;
use crate::kernel::sim::rng::Rng;
use crate::kernel::{Fault, FaultKind};

/// How often each fault strikes, in percent; drawn anew for each seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) sync: u8,
    pub(crate) in_submit: u8,
    pub(crate) partial: u8,
    pub(crate) late_success: u8,
    pub(crate) early_write: u8,
    pub(crate) delay: u8,
    pub(crate) reorder: u8,
    pub(crate) early_return: u8,
    pub(crate) spurious: u8,
    pub(crate) accept_transient: u8,
    /// Immediate failures that are warnings.
    pub(crate) warning: u8,
    /// Packets of others.
    pub(crate) foreign: u8,
    /// Failures of sends and receives for lack of memory.
    pub(crate) no_memory: u8,
    /// If set, only these operations fail.
    pub(crate) no_memory_for: Option<OpKind>,
    /// What the network does to datagrams.
    pub(crate) network: NetworkFaults,
}

impl Faults {
    /// Each fault is off for some seeds, rare for others and common for the rest.
    pub(crate) fn random(rng: &mut Rng) -> Faults {
        let mut rate = || match rng.below(3) {
            0 => 0,
            1 => 5,
            _ => 40,
        };
        Faults {
            sync: rate(),
            in_submit: rate(),
            partial: rate(),
            late_success: rate(),
            early_write: rate(),
            delay: rate(),
            reorder: rate(),
            early_return: rate(),
            spurious: rate(),
            accept_transient: rate(),
            warning: rate(),
            foreign: rate(),
            no_memory: 0,
            no_memory_for: None,
            network: NetworkFaults::default(),
        }
    }
}

impl Faults {
    /// Whether a wait may return early, or without any result.
    pub(crate) fn return_early(&self) -> bool {
        self.early_return > 0 || self.spurious > 0
    }
}

pub(crate) const RESET: Fault = Fault { kind: FaultKind::Reset, code: 104 };
/// EPIPE.
pub(crate) const SHUT: Fault = Fault { kind: FaultKind::Reset, code: 32 };
pub(crate) const CANCELLED: Fault = Fault { kind: FaultKind::Cancelled, code: 125 };
/// The caller has closed the socket.
pub(crate) const ABORTED: Fault = Fault { kind: FaultKind::Cancelled, code: 995 };
pub(crate) const NOT_OPEN: Fault = Fault { kind: FaultKind::Invalid, code: 9 };
pub(crate) const EXHAUSTED: Fault = Fault { kind: FaultKind::Exhausted, code: 24 };
/// ECONNREFUSED, ENETUNREACH and ETIMEDOUT.
pub(crate) const REFUSED: Fault = Fault { kind: FaultKind::Other, code: 111 };
pub(crate) const UNREACHABLE: Fault = Fault { kind: FaultKind::Other, code: 101 };
pub(crate) const TIMED_OUT: Fault = Fault { kind: FaultKind::Other, code: 110 };
pub(crate) const BACKLOG_FULL: Fault = Fault { kind: FaultKind::Exhausted, code: 11 };
pub(crate) const NO_MEMORY: Fault = Fault { kind: FaultKind::Exhausted, code: 12 };
pub(crate) const NOT_CONNECTED: Fault = Fault { kind: FaultKind::NotConnected, code: 107 };
/// An earlier datagram has found its port closed.
pub(crate) const PORT_CLOSED: Fault = Fault { kind: FaultKind::Transient, code: 111 };
/// EIO, of a file that is transmitted.
pub(crate) const UNREADABLE: Fault = Fault { kind: FaultKind::File, code: 5 };
/// EMSGSIZE.
pub(crate) const NOT_SENT: Fault = Fault { kind: FaultKind::Transient, code: 90 };
/// EIO.
pub(crate) const BROKEN: Fault = Fault { kind: FaultKind::Other, code: 5 };
pub(crate) const TRANSIENT: Fault = Fault { kind: FaultKind::Transient, code: 103 };
