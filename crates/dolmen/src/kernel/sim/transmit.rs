//! Transmissions of files: the system reads through the handle that it was lent, a part at a time, as the wire has room.

use super::super::operation::{OpKind, OpPtr};
use super::super::{Fault, FaultKind, Kernel as _, Outcome, Submission};
use super::Sim;
use super::Source;
use super::files::SimFile;
use super::pending::Pending;
use super::world::{NOT_OPEN, UNREADABLE};
use crate::marks::{Mark, mark};

impl Sim {
    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn submit_transmit(
        &mut self,
        source: &Source,
        op: OpPtr<Sim>,
        file: &SimFile,
        offset: u64,
        count: u32,
    ) -> Submission<Sim> {
        assert!(count > 0, "a transmission of no bytes is one of the whole file");
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let others = self.pending.iter().filter(|pending| pending.kind == OpKind::Transmit).count();
        assert!(others < self.most_transmits(), "one transmission too many");
        let mut pending = self.pending(op, OpKind::Transmit, source);
        let Some(lent) = file.lend() else {
            return Submission::Failed(Fault { kind: FaultKind::Invalid, ..UNREADABLE });
        };
        pending.part = Some((lent, offset, count as usize));
        // SAFETY: passed on.
        unsafe { self.submit(pending, None) }
    }

    /// # Safety
    ///
    /// As for `complete`.
    pub(super) unsafe fn complete_transmit(
        &mut self,
        pending: &mut Pending,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        let (file, offset, count) = pending.part.as_ref().expect("a transmission has a part of a file");
        let room = self.world.borrow_mut().link_of(pending.object).outbound.room();
        let wanted = (count - pending.sent).min(room.max(1));
        let result = match file.read(offset + pending.sent as u64, wanted) {
            // What was sent before stays sent.
            Err(_) => Err(UNREADABLE),
            Ok(bytes) if bytes.is_empty() => Ok(Outcome::Sent(pending.sent)),
            Ok(bytes) => {
                let sent = self.world.borrow_mut().link_of(pending.object).send(&bytes);
                if sent.is_ok_and(|sent| pending.sent + sent < *count && !pending.cancelled) {
                    pending.sent += sent.expect("it is a number");
                    return None;
                }
                sent.map(|sent| Outcome::Sent(pending.sent + sent))
            }
        };
        let (status, bytes) = match &result {
            Ok(Outcome::Sent(sent)) => (0, *sent),
            Ok(_) => unreachable!("it is sent"),
            Err(fault) => {
                if pending.sent > 0 {
                    mark(Mark::ErrorWithBytes);
                }
                // The system does not say how many.
                (fault.code as u64, 0)
            }
        };
        // SAFETY: passed on.
        unsafe { self.write_header(pending.op, status, bytes as u64) };
        Some(result)
    }
}
