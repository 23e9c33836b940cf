//! Datagrams: receives and sends of whole ones.

use std::net::SocketAddr;

use super::super::lent::Lent;
use super::super::operation::{OpKind, OpPtr, bytes_to_send};
use super::super::{Fault, Outcome, Submission};
use super::pending::Pending;
use super::world::NOT_OPEN;
use super::{Sim, Source};
use crate::kernel::buffer_pool::BufferPool;
use crate::marks::{Mark, mark};

impl Sim {
    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn submit_receive_from(
        &mut self,
        source: &Source,
        op: OpPtr<Sim>,
        pool: &BufferPool,
    ) -> Submission<Sim> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let mut pending = self.pending(op, OpKind::ReceiveFrom, source);
        if self.world.borrow().completion_style {
            // One without a buffer would eat the datagram [hc61].
            let mut buffer = pool.take();
            pending.target = Some(buffer.as_target());
            // SAFETY: the operation was just handed to us.
            unsafe { (*op.as_ptr()).lent = Some(Lent::Buffer(buffer)) };
        }
        // SAFETY: passed on.
        unsafe { self.submit(pending, Some(pool)) }
    }

    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn submit_send_to(
        &mut self,
        source: &Source,
        op: OpPtr<Sim>,
        to: SocketAddr,
    ) -> Submission<Sim> {
        if !self.is_open(source) {
            return Submission::Failed(NOT_OPEN);
        }
        let mut pending = self.pending(op, OpKind::SendTo, source);
        pending.to = Some(to);
        // SAFETY: passed on.
        unsafe { self.submit(pending, None) }
    }

    /// # Safety
    ///
    /// As for `complete`.
    pub(super) unsafe fn complete_receive_from(
        &mut self,
        pending: &mut Pending,
        pool: Option<&BufferPool>,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        if pending.target.is_none() {
            // Readiness style: the packet takes its buffer now. A cancelled one takes none.
            pool?;
        }
        let (from, data) = match self.world.borrow_mut().port_of(pending.object).receive()? {
            Ok(datagram) => datagram,
            Err(fault) => {
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, fault.code as u64, 0) };
                return Some(Err(fault));
            }
        };
        // SAFETY: the cell is ours.
        let lent = unsafe { (*pending.op.as_ptr()).lent.take() };
        let lent = lent.and_then(Lent::into_buffer);
        let mut buffer = lent.or_else(|| pool.map(BufferPool::take)).expect("there is one of the two");
        let (target, room) = pending.target.take().unwrap_or_else(|| buffer.as_target());
        let truncated = data.len() > room;
        if truncated {
            mark(Mark::DatagramTruncated);
        }
        if data.is_empty() {
            mark(Mark::DatagramEmpty);
        }
        let count = data.len().min(room);
        for (at, byte) in data[..count].iter().enumerate() {
            // SAFETY: `count` bytes fit into the lent buffer.
            unsafe { target.add(at).write(*byte) };
        }
        // SAFETY: passed on; the bytes have been written to the buffer.
        unsafe {
            self.write_header(pending.op, 0, count as u64);
            buffer.set_filled(count);
        }
        Some(Ok(Outcome::Datagram { buffer, from, truncated }))
    }

    /// # Safety
    ///
    /// As for `complete`.
    pub(super) unsafe fn complete_send_to(
        &mut self,
        pending: &mut Pending,
    ) -> Option<Result<Outcome<Sim>, Fault>> {
        // SAFETY: the cell and its buffer are ours, and no other code changes the bytes meanwhile. They are not in the
        // cell, whose header is written below.
        let bytes = unsafe { &*bytes_to_send(pending.op) };
        let to = pending.to.expect("a datagram has an address");
        match self.world.borrow_mut().send_datagram(pending.object, to, bytes)? {
            Ok(()) => {
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, 0, bytes.len() as u64) };
                Some(Ok(Outcome::Sent(bytes.len())))
            }
            Err(fault) => {
                // SAFETY: passed on.
                unsafe { self.write_header(pending.op, fault.code as u64, 0) };
                Some(Err(fault))
            }
        }
    }
}
