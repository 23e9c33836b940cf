//! The port of the completion style: packets of our operations, and those of others.

use super::super::arrivals::{Arrivals, Key};
use super::super::operation::{OpKind, OpPtr, Operation};
use super::Sim;
use super::pending::Pending;
use crate::marks::{Mark, mark};

impl Sim {
    /// The packet of an operation comes out of the port, and is recognised.
    pub(super) fn arrive(&mut self, pending: &Pending, arrivals: &mut Arrivals<'_, Sim>) -> OpPtr<Sim> {
        if !self.world.borrow().completion_style {
            return pending.op;
        }
        let address = pending.op.addr().get();
        if !self.over.contains(&address) {
            self.over.rotate_right(1);
            self.over[0] = address;
        }
        let arrived = arrivals.recognise(key_for(pending.kind).value(), address, 0);
        arrived.expect("a packet came for an operation that is not pending").0
    }

    /// An operation that others began completes to our port.
    pub(super) fn others_arrive(&mut self, arrivals: &mut Arrivals<'_, Sim>) {
        let (choice, number) = {
            let rng = &mut self.world.borrow_mut().rng;
            (rng.below(5), rng.below(1 << 16) as usize)
        };
        let somebodys = (&raw const self.others[number % self.others.len()]).addr();
        let pending = (!self.pending.is_empty()).then(|| &self.pending[number % self.pending.len()]);
        let (key, address) = match (choice, pending) {
            // Whatever the pointer is, a packet with such a key is not ours.
            (0, pending) => {
                mark(Mark::ForeignCompletion);
                (number, pending.map_or(somebodys, |pending| pending.op.addr().get()))
            }
            (1, _) => {
                let over = self.over[number % self.over.len()];
                if over == 0 || self.pending.iter().any(|pending| pending.op.addr().get() == over) {
                    return;
                }
                mark(Mark::StalePacket);
                (Key::Operation.value(), over)
            }
            (2, Some(pending)) => {
                mark(Mark::UnknownPacket);
                (
                    key_for(pending.kind).value(),
                    pending.op.addr().get() + 1 + number % (size_of::<Operation<Sim>>() - 1),
                )
            }
            // A key of the other kind.
            (3, Some(pending)) => {
                mark(Mark::UnknownPacket);
                let other = if key_for(pending.kind) == Key::Ready { Key::Operation } else { Key::Ready };
                (other.value(), pending.op.addr().get())
            }
            _ => {
                mark(Mark::UnknownPacket);
                (Key::Operation.value(), if number % 4 == 0 { 0 } else { somebodys })
            }
        };
        let taken = arrivals.recognise(key, address, number as u32);
        assert!(taken.is_none(), "a foreign packet was recognised as an operation's");
    }
}

fn key_for(kind: OpKind) -> Key {
    match kind {
        OpKind::Watch | OpKind::Poll => Key::Ready,
        _ => Key::Operation,
    }
}
