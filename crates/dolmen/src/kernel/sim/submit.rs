//! Submissions: whether an operation completes immediately, in the submitting call, or later.

use super::super::operation::OpKind;
use super::super::{Fault, Immediate, Outcome, Submission};
use super::mutants::{Mutant, mutant};
use super::pending::Pending;
use super::world::{NO_MEMORY, RESET, SHUT, Stage};
use super::{Sim, Source};
use crate::kernel::buffer_pool::BufferPool;
use crate::marks::{Mark, mark};

impl Sim {
    /// Submits an operation, and decides whether it completes immediately.
    ///
    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn submit(
        &mut self,
        mut pending: Pending,
        pool: Option<&BufferPool>,
    ) -> Submission<Sim> {
        self.calls += 1;
        // The wait determines readiness.
        let at_once = pending.kind != OpKind::Poll || self.world.borrow().completion_style;
        let can = at_once && self.can_complete(&pending);
        if can && self.chance(|faults| faults.sync) {
            // SAFETY: the operation was just submitted and is ours.
            match unsafe { self.complete(&mut pending, pool) } {
                Some(result) if mutant(Mutant::DoubleSyncSuccess) && result.is_ok() => {
                    let bytes = match &result {
                        Ok(Outcome::Sent(bytes)) => *bytes,
                        _ => 0,
                    };
                    pending.packet = Some(Ok(Outcome::Sent(bytes)));
                    self.pending.push(pending);
                    return result.map_or_else(Submission::Failed, Submission::Done);
                }
                Some(Err(fault)) if self.fails_with_a_warning() => {
                    mark(Mark::WarningWithPacket);
                    pending.packet = Some(Err(fault));
                    // The packet comes, whatever the engine does about the failure.
                    self.pending.push(pending);
                    // The simulated system is set up without skip-on-success here.
                    if Immediate::Warning.sends_packet(false) {
                        return Submission::Pending;
                    }
                    return Submission::Failed(fault);
                }
                Some(result) => {
                    mark(Mark::SyncCompletion);
                    // After a refused transmission, the same bytes are sent.
                    if pending.kind != OpKind::Transmit {
                        self.note_failure(&pending, &result);
                    }
                    return result.map_or_else(Submission::Failed, Submission::Done);
                }
                None => {}
            }
        } else if can && self.chance(|faults| faults.in_submit) {
            // SAFETY: as above.
            pending.packet = unsafe { self.complete(&mut pending, pool) };
            if pending.packet.is_some() {
                mark(Mark::CompletedInSubmit);
            }
        }
        if pending.packet.is_none() && self.world.borrow().is_silent(pending.object) {
            self.silent.push(pending);
            return Submission::Pending;
        }
        let at = if mutant(Mutant::ServeNewestFirst) { 0 } else { self.pending.len() };
        self.pending.insert(at, pending);
        Submission::Pending
    }

    /// In readiness style the system may be asked to send without an operation.
    pub(super) fn send_directly(&mut self, source: &Source, bytes: &[u8]) -> Option<Result<usize, Fault>> {
        let completion_style = self.world.borrow().completion_style;
        if completion_style || !self.is_open(source) || !self.chance(|faults| faults.sync) {
            return None;
        }
        let mut world = self.world.borrow_mut();
        if !world.link_of(source.object).writable() {
            return None;
        }
        self.calls += 1;
        mark(Mark::SentDirectly);
        world.largest_send = world.largest_send.max(bytes.len());
        if world.no_memory(OpKind::Send) {
            mark(Mark::NoMemory);
            return Some(Err(NO_MEMORY));
        }
        let now_ns = world.now_ns;
        let partial = world.faults.partial;
        let cut = bytes.len() > 1 && world.rng.percent(partial);
        let most = if cut { 1 + world.rng.below(bytes.len() as u64 - 1) as usize } else { bytes.len() };
        let link = world.link_of(source.object);
        assert_eq!(link.stage, Stage::Connected, "a send on a stream that is not complete");
        let sent = link.send(&bytes[..most]);
        if let Err(fault) = sent {
            let failed = if fault == SHUT { &mut link.send_failed } else { &mut link.send_reset };
            failed.get_or_insert((now_ns, link.inbound.total));
        }
        Some(sent)
    }

    fn fails_with_a_warning(&self) -> bool {
        self.world.borrow().completion_style && self.chance(|faults| faults.warning)
    }

    /// The engine is about to receive the result of an operation.
    pub(super) fn note_failure(&self, pending: &Pending, result: &Result<Outcome<Sim>, Fault>) {
        // A cancelled one belongs to a registration that is removed.
        let Err(fault) = *result else { return };
        if pending.kind == OpKind::Transmit && !pending.cancelled && ![SHUT, RESET].contains(&fault) {
            self.world.borrow_mut().link_of(pending.object).transmit_failed = true;
        }
        let sends = matches!(pending.kind, OpKind::Send | OpKind::Transmit);
        if sends && !pending.cancelled && [SHUT, RESET].contains(&fault) {
            let mut world = self.world.borrow_mut();
            let now_ns = world.now_ns;
            let link = world.link_of(pending.object);
            let failed = if fault == SHUT { &mut link.send_failed } else { &mut link.send_reset };
            failed.get_or_insert((now_ns, link.inbound.total));
        }
    }
}
