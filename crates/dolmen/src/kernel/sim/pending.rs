//! A pending operation, and whether it can complete.

use std::net::SocketAddr;

use super::super::operation::{OpKind, OpPtr};
use super::super::readiness::Readiness;
use super::super::{Fault, Kernel as _, Outcome};
use super::mutants::{Mutant, mutant};
use super::world::{Descriptor, Readable, Stage};
use super::{Sim, Source, files};

/// The system's part of an operation.
#[derive(Default)]
pub(crate) struct Header {
    pub(super) status: u64,
    pub(super) bytes: u64,
}

pub(super) struct Pending {
    pub(super) op: OpPtr<Sim>,
    pub(super) kind: OpKind,
    pub(super) source: u64,
    pub(super) fd: u32,
    pub(super) object: Descriptor,
    /// The interest of a poll.
    pub(super) interest: Readiness,
    /// The address of a lent buffer, and its room; taken at the submission, as a real kernel does.
    pub(super) target: Option<(*mut u8, usize)>,
    /// Where a datagram goes.
    pub(super) to: Option<SocketAddr>,
    /// What is transmitted, from where, and how much.
    pub(super) part: Option<(files::Lent, u64, usize)>,
    /// How much of a send has been taken.
    pub(super) sent: usize,
    pub(super) cancelled: bool,
    /// When it completes, once it can complete.
    pub(super) ready_at_ns: Option<u64>,
    /// It has completed; this is its packet.
    pub(super) packet: Option<Result<Outcome<Sim>, Fault>>,
}

impl Sim {
    /// Whether the caller has closed the object of an operation.
    pub(super) fn is_aborted(&self, pending: &Pending) -> bool {
        let world = self.world.borrow();
        world.closed_while_registered && !world.is_open(pending.object)
    }

    pub(super) fn pending(&self, op: OpPtr<Sim>, kind: OpKind, source: &Source) -> Pending {
        let most = match kind {
            OpKind::Accept => Sim::ACCEPTS,
            OpKind::ReceiveFrom => Sim::DATAGRAMS,
            _ => 1,
        };
        let sends = [OpKind::Send, OpKind::Transmit];
        let alike = |other| other == kind || (sends.contains(&kind) && sends.contains(&other));
        let same = |pending: &&Pending| pending.source == source.number && alike(pending.kind);
        assert!(self.pending.iter().filter(same).count() < most, "one too many of {kind:?}");
        if let (OpKind::Receive | OpKind::Send | OpKind::Transmit, Descriptor::Link(link)) =
            (kind, source.object)
        {
            let stage = self.world.borrow().links[link].stage;
            assert_eq!(stage, Stage::Connected, "{kind:?} on a stream that is not complete");
        }
        let (source, fd, object) = (source.number, source.fd, source.object);
        let (interest, target, to, part, sent) = (Readiness::NONE, None, None, None, 0);
        let (cancelled, ready_at_ns, packet) = (false, None, None);
        Pending {
            op,
            kind,
            source,
            fd,
            object,
            interest,
            target,
            to,
            part,
            sent,
            cancelled,
            ready_at_ns,
            packet,
        }
    }

    pub(super) fn can_complete(&self, pending: &Pending) -> bool {
        if pending.packet.is_some() {
            return true;
        }
        if pending.cancelled && !mutant(Mutant::CancelNothing) {
            return true;
        }
        if pending.kind == OpKind::Poll && !self.world.borrow().completion_style {
            let known = self.polled.borrow().iter().any(|polled| polled.source == pending.source);
            let world = self.world.borrow();
            let open = known && world.is_open(pending.object);
            return open && !world.polled(pending.object, pending.interest).is_empty();
        }
        if self.is_aborted(pending) {
            return pending.kind != OpKind::Poll || !pending.interest.is_empty();
        }
        let mut world = self.world.borrow_mut();
        match pending.kind {
            OpKind::Receive => !matches!(world.link_of(pending.object).readable(), Readable::Nothing),
            OpKind::Send | OpKind::Transmit => world.link_of(pending.object).writable(),
            OpKind::Accept => world.exhausted || !world.listener_of(pending.object).backlog.is_empty(),
            OpKind::Connect => world.answer(pending.object).is_some(),
            OpKind::Watch => world.signalled_of(pending.object),
            OpKind::ReceiveFrom => world.port_of(pending.object).readable(),
            OpKind::SendTo => world.port_of(pending.object).writable(),
            OpKind::Poll => !world.polled(pending.object, pending.interest).is_empty(),
        }
    }

    /// From when on a wait of no time finds something here: the readiness of the kernel's handle. `None`: not before
    /// something happens.
    pub(crate) fn ready_from_ns(&self) -> Option<u64> {
        let now_ns = self.now_ns();
        let no_delay = self.world.borrow().faults.delay == 0;
        let completions = self.pending.iter().filter(|pending| self.can_complete(pending));
        let due = completions.map(|pending| pending.ready_at_ns.filter(|_| !no_delay).unwrap_or(now_ns));
        let answers = self.pending.iter().filter_map(|pending| self.answer_due_ns(pending));
        due.chain(answers).chain(self.signal.is_raised().then_some(now_ns)).min()
    }

    /// When a connect that cannot complete now can.
    pub(super) fn answer_due_ns(&self, pending: &Pending) -> Option<u64> {
        let due_ns = (pending.kind == OpKind::Connect)
            .then(|| self.world.borrow_mut().answer_due_ns(pending.object))
            .flatten();
        due_ns.filter(|&due_ns| due_ns > self.now_ns())
    }

    /// Completions that are due and were not delivered: operations that are not cancelled, by their objects. No sends.
    pub(crate) fn left_behind(&self) -> impl Iterator<Item = (OpKind, Descriptor)> {
        let no_delay = self.world.borrow().faults.delay == 0;
        let now_ns = self.now_ns();
        let left = self.pending.iter().filter(move |pending| {
            let due = no_delay || pending.ready_at_ns.is_none_or(|due_ns| due_ns <= now_ns);
            let sends = matches!(pending.kind, OpKind::Send | OpKind::Transmit | OpKind::SendTo);
            due && !sends && !pending.cancelled && self.can_complete(pending)
        });
        left.map(|pending| (pending.kind, pending.object))
    }
}
