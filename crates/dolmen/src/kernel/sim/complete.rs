//! Completions: what an operation transfers, written through the pointers that were lent.

use super::super::lent::Lent;
use super::super::operation::{OpKind, OpPtr, bytes_to_send};
use super::super::{Fault, Outcome};
use super::Sim;
use super::mutants::{Mutant, mutant};
use super::pending::Pending;
use super::world::{self, ABORTED, CANCELLED, NO_MEMORY, RESET, Readable};
use crate::kernel::buffer_pool::BufferPool;
use crate::marks::{Mark, mark};

impl Sim {
    /// Performs the operation, writing through its pointers. `None`: it continues.
    ///
    /// # Safety
    ///
    /// The kernel owns the operation.
    pub(super) unsafe fn complete(
        &mut self,
        pending: &mut Pending,
        pool: Option<&BufferPool>,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        if pending.cancelled && !mutant(Mutant::CancelNothing) && !self.chance(|faults| faults.late_success) {
            mark(Mark::CancelledAborted);
            // SAFETY: passed on.
            unsafe { self.write_header(pending.op, CANCELLED.code as u64, pending.sent as u64) };
            return Some(Err(CANCELLED));
        }
        let polls_by_readiness = pending.kind == OpKind::Poll && !self.world.borrow().completion_style;
        if self.is_aborted(pending) && !polls_by_readiness {
            // SAFETY: passed on.
            unsafe { self.write_header(pending.op, ABORTED.code as u64, pending.sent as u64) };
            return Some(Err(ABORTED));
        }
        let transfer =
            !matches!(pending.kind, OpKind::Accept | OpKind::Connect | OpKind::Watch | OpKind::Poll);
        // A transmission may fail after a part of it was sent.
        let may_fail = pending.sent == 0 || pending.kind == OpKind::Transmit;
        if transfer && may_fail && self.world.borrow_mut().no_memory(pending.kind) {
            mark(Mark::NoMemory);
            // SAFETY: passed on.
            unsafe { self.write_header(pending.op, NO_MEMORY.code as u64, 0) };
            return Some(Err(NO_MEMORY));
        }
        let result = match pending.kind {
            // SAFETY: passed on.
            OpKind::Receive => unsafe { self.complete_receive(pending, pool) },
            // SAFETY: passed on.
            OpKind::Send => unsafe { self.complete_send(pending) },
            // SAFETY: passed on.
            OpKind::Transmit => unsafe { self.complete_transmit(pending) },
            // SAFETY: passed on.
            OpKind::ReceiveFrom => unsafe { self.complete_receive_from(pending, pool) },
            // SAFETY: passed on.
            OpKind::SendTo => unsafe { self.complete_send_to(pending) },
            OpKind::Accept => {
                let accepted = world::accept(&self.world, pending.object);
                accepted.map(|accepted| accepted.map(|(stream, peer)| Outcome::Accepted(stream, peer)))
            }
            OpKind::Connect => self.connected(pending),
            OpKind::Watch => {
                let signalled = self.world.borrow().signalled_of(pending.object);
                signalled.then(|| {
                    mark(Mark::WatchSignalled);
                    Ok(Outcome::Ready)
                })
            }
            OpKind::Poll => {
                let ready = self.world.borrow().polled(pending.object, pending.interest);
                (!ready.is_empty()).then_some(Ok(Outcome::Polled(ready)))
            }
        };
        if pending.cancelled && !mutant(Mutant::CancelNothing) {
            if result.is_none() {
                mark(Mark::CancelledAborted);
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, CANCELLED.code as u64, pending.sent as u64) };
                return Some(Err(CANCELLED));
            }
            mark(Mark::CancelledSucceeded);
        }
        result
    }

    /// # Safety
    ///
    /// As for `complete`.
    unsafe fn complete_receive(
        &mut self,
        pending: &mut Pending,
        pool: Option<&BufferPool>,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        let readable = self.world.borrow_mut().link_of(pending.object).readable();
        match readable {
            Readable::Nothing => None,
            // SAFETY: passed on.
            Readable::Bytes(available) => unsafe { self.receive_bytes(pending, available, pool) },
            Readable::End => {
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, 0, 0) };
                Some(Ok(Outcome::EndOfStream))
            }
            Readable::Reset => {
                if let Some((target, room)) = pending.target {
                    mark(Mark::ErrorWithBytes);
                    // SAFETY: the buffer is lent, with that much room.
                    unsafe { target.write_bytes(0xEE, room) };
                }
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, RESET.code as u64, 0) };
                Some(Err(RESET))
            }
        }
    }

    /// # Safety
    ///
    /// As for `complete`.
    unsafe fn receive_bytes(
        &mut self,
        pending: &mut Pending,
        available: usize,
        pool: Option<&BufferPool>,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        if pending.target.is_none() {
            if self.world.borrow().completion_style {
                mark(Mark::ZeroByteReceive);
                // It was posted without a buffer. Now there is something to read, and the real receive is made.
                self.calls += 1;
                if mutant(Mutant::ZeroBytesIsEnd) {
                    return Some(Ok(Outcome::EndOfStream));
                }
            }
            let mut buffer = pool.map(BufferPool::take)?;
            pending.target = Some(buffer.as_target());
            // SAFETY: the cell is ours.
            unsafe { (*pending.op.as_ptr()).lent = Some(Lent::Buffer(buffer)) };
        }
        let (target, room) = pending.target.expect("it was just set");
        let mut wanted = available.min(room);
        if wanted > 1 && self.chance(|faults| faults.partial) {
            mark(Mark::PartialReceive);
            wanted = 1 + self.world.borrow_mut().rng.below(wanted as u64 - 1) as usize;
        }
        let mut world = self.world.borrow_mut();
        let link = world.link_of(pending.object);
        if link.reset == Some(true) {
            mark(Mark::ResetKeptBytes);
        }
        for (at, byte) in link.inbound.bytes.drain(..wanted).enumerate() {
            // SAFETY: `wanted` bytes fit into the lent buffer.
            unsafe { target.add(at).write(byte) };
        }
        drop(world);
        // SAFETY: passed on; the bytes have been written to the buffer in the cell.
        let buffer = unsafe {
            self.write_header(pending.op, 0, wanted as u64);
            let Some(Lent::Buffer(mut buffer)) = (*pending.op.as_ptr()).lent.take() else {
                panic!("a buffer is lent")
            };
            buffer.set_filled(wanted);
            buffer
        };
        // From here on the packet has it.
        pending.target = None;
        Some(Ok(Outcome::Received(buffer)))
    }

    /// # Safety
    ///
    /// As for `complete`.
    unsafe fn complete_send(&mut self, pending: &mut Pending) -> Option<Result<Outcome<Sim>, Fault>> {
        // SAFETY: the cell and its buffer are ours, and no other code changes the bytes meanwhile. They are not in the
        // cell, whose header is written below.
        let bytes = unsafe { &*bytes_to_send(pending.op) };
        {
            let mut world = self.world.borrow_mut();
            world.largest_send = world.largest_send.max(bytes.len());
        }
        let left = &bytes[pending.sent..];
        let mut wanted = left.len();
        if wanted > 1 && self.chance(|faults| faults.partial) {
            mark(Mark::PartialSend);
            wanted = 1 + self.world.borrow_mut().rng.below(wanted as u64 - 1) as usize;
        }
        let sent = self.world.borrow_mut().link_of(pending.object).send(&left[..wanted]);
        let whole = self.world.borrow().completion_style;
        match sent {
            Ok(0) => None,
            Ok(sent) => {
                pending.sent += sent;
                // In completion style only a complete send is a success; the rest follows when there is room.
                if whole && pending.sent < bytes.len() && !pending.cancelled {
                    return None;
                }
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, 0, pending.sent as u64) };
                Some(Ok(Outcome::Sent(pending.sent.min(bytes.len()))))
            }
            Err(fault) => {
                if pending.sent > 0 {
                    mark(Mark::ErrorWithBytes);
                }
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, fault.code as u64, pending.sent as u64) };
                Some(Err(fault))
            }
        }
    }

    /// # Safety
    ///
    /// The kernel owns the operation.
    pub(super) unsafe fn write_header(&self, op: OpPtr<Sim>, status: u64, bytes: u64) {
        // SAFETY: the cell is ours.
        unsafe {
            (*op.as_ptr()).header.status = status;
            (*op.as_ptr()).header.bytes = bytes;
        }
    }

    /// The system may write to the memory that it was lent at any time.
    pub(super) fn scribble(&mut self) {
        for at in 0..self.pending.len() {
            if self.pending[at].packet.is_some() || !self.chance(|faults| faults.early_write) {
                continue;
            }
            // SAFETY: a pending operation's memory is ours.
            unsafe {
                self.write_header(self.pending[at].op, 0x103, 0);
                if let Some((target, room)) = self.pending[at].target {
                    mark(Mark::EarlyWrite);
                    target.write_bytes(0xAA, room);
                }
            }
        }
    }
}
