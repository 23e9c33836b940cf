//! The safe side of the contract: the only place where operations are passed to the kernel and come back from it.

use std::net::SocketAddr;
use std::ops::Range;

use super::arrivals::{Arrivals, Foreign};
use super::buffer::Buffer;
use super::lent::Lent;
use super::operation::{OpHandle, OpKind, OpPtr, OperationTable, Returned};
use super::readiness::Readiness;
use super::transmits::Transmits;
use super::{Close, Fault, Kernel, Options, Outcome, Packet, Submission};
use crate::address::Address;
use crate::kernel::buffer_pool::BufferPool;

/// The end of an operation, with everything that was lent for it.
pub(crate) struct Completion<K: Kernel> {
    pub(crate) handle: OpHandle,
    pub(crate) kind: OpKind,
    /// The table slot of the source that the operation was for.
    pub(crate) owner: u32,
    pub(crate) result: Result<Outcome<K>, Fault>,
    /// A send: what was passed in.
    pub(crate) returned: Option<Lent>,
}

/// The result of starting an operation.
pub(crate) enum Started<K: Kernel> {
    Completed(Completion<K>),
    Pending(OpHandle),
}

/// A kernel, its pending operations, and the buffers that it may use.
pub(crate) struct Submitter<K: Kernel> {
    // Dropped first: the kernel releases everything that it still holds before the cells are freed.
    kernel: K,
    operations: OperationTable<K>,
    transmits: Transmits<K::File>,
    pool: BufferPool,
    packets: Vec<Packet<K>>,
    /// Foreign completions that the last wait has returned.
    foreign: Vec<Foreign>,
    unknown: u64,
}

impl<K: Kernel> Submitter<K> {
    pub(crate) fn new(kernel: K, options: Options, pool: BufferPool) -> Self {
        let packets = Vec::with_capacity(options.max_packets + K::ACCEPTS);
        let operations = OperationTable::new();
        let transmits = Transmits::default();
        Submitter { kernel, operations, transmits, pool, packets, foreign: Vec::new(), unknown: 0 }
    }

    /// Access for the calls that involve no operation.
    pub(crate) fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    pub(crate) fn native(&self) -> &K {
        &self.kernel
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.kernel.now_ns()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.kernel.calls()
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(crate) fn is_stream(&self, socket: super::readiness::BorrowedSocket) -> Result<bool, Fault> {
        self.kernel.is_stream(socket)
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(crate) fn is_same_socket(&self, source: &K::Source) -> Option<bool> {
        self.kernel.is_same_socket(source)
    }

    pub(crate) fn has_packets(&self) -> bool {
        self.kernel.has_packets()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.operations.in_kernel()
    }

    pub(crate) fn receive(&mut self, source: &K::Source, owner: u32) -> Started<K> {
        let op = self.operations.take(OpKind::Receive, owner, None, 0..0);
        let handle = self.operations.lend(op);
        // SAFETY: `lend` has just recorded that the kernel has this cell; it is not touched before `take_back`.
        let submission = unsafe { self.kernel.receive(source, op, &self.pool) };
        self.started(handle, op, submission)
    }

    /// Sends without an operation, if the kernel can.
    pub(crate) fn try_send(&mut self, source: &K::Source, bytes: &[u8]) -> Option<Result<usize, Fault>> {
        self.kernel.try_send(source, bytes)
    }

    /// Sends at most `most` bytes, from `offset` on.
    pub(crate) fn send(
        &mut self,
        source: &K::Source,
        owner: u32,
        lent: Lent,
        offset: usize,
        most: usize,
    ) -> Started<K> {
        let end = offset.saturating_add(most);
        let end = u32::try_from(lent.len().min(end)).expect("a send queue is far below 4 GiB");
        let start = offset as u32;
        let op = self.operations.take(OpKind::Send, owner, Some(lent), start..end);
        let handle = self.operations.lend(op);
        // SAFETY: as in `receive`; the bytes to send are inside the cell and stay there.
        let submission = unsafe { self.kernel.send(source, op) };
        self.started(handle, op, submission)
    }

    /// Whether the kernel makes transmissions.
    pub(crate) fn transmits(&self) -> bool {
        self.kernel.most_transmits() > 0
    }

    /// Whether the kernel takes one more transmission.
    pub(crate) fn can_transmit(&self) -> bool {
        self.transmits.len() < self.kernel.most_transmits()
    }

    /// Sends a part of a file. The file stays open until the completion.
    pub(crate) fn transmit(
        &mut self,
        source: &K::Source,
        owner: u32,
        file: K::File,
        offset: u64,
        count: u32,
    ) -> Started<K> {
        let op = self.operations.take(OpKind::Transmit, owner, None, 0..0);
        let handle = self.operations.lend(op);
        let file = self.transmits.lend(handle, file);
        // SAFETY: as in `receive`; the file is among the transmissions until `take_back`.
        let submission = unsafe { self.kernel.transmit(source, op, file, offset, count) };
        self.started(handle, op, submission)
    }

    pub(crate) fn receive_from(&mut self, source: &K::Source, owner: u32) -> Started<K> {
        let op = self.operations.take(OpKind::ReceiveFrom, owner, None, 0..0);
        let handle = self.operations.lend(op);
        // SAFETY: as in `receive`.
        let submission = unsafe { self.kernel.receive_from(source, op, &self.pool) };
        self.started(handle, op, submission)
    }

    /// Sends a part of the buffer as one datagram.
    pub(crate) fn send_to(
        &mut self,
        source: &K::Source,
        owner: u32,
        buffer: Buffer,
        part: Range<u32>,
        to: SocketAddr,
    ) -> Started<K> {
        let op = self.operations.take(OpKind::SendTo, owner, Some(Lent::Buffer(buffer)), part);
        let handle = self.operations.lend(op);
        // SAFETY: as in `send`. The kernel keeps the address where it needs it.
        let submission = unsafe { self.kernel.send_to(source, op, to) };
        self.started(handle, op, submission)
    }

    pub(crate) fn accept(&mut self, source: &K::Source, owner: u32) -> Started<K> {
        let op = self.operations.take(OpKind::Accept, owner, None, 0..0);
        let handle = self.operations.lend(op);
        // SAFETY: as in `receive`.
        let submission = unsafe { self.kernel.accept(source, op) };
        self.started(handle, op, submission)
    }

    pub(crate) fn connect(&mut self, source: &K::Source, owner: u32, address: &Address) -> Started<K> {
        let op = self.operations.take(OpKind::Connect, owner, None, 0..0);
        let handle = self.operations.lend(op);
        // SAFETY: as in `receive`.
        let submission = unsafe { self.kernel.connect(source, op, address) };
        self.started(handle, op, submission)
    }

    pub(crate) fn watch(&mut self, source: &K::Source, owner: u32) -> Started<K> {
        let op = self.operations.take(OpKind::Watch, owner, None, 0..0);
        let handle = self.operations.lend(op);
        // SAFETY: as in `receive`.
        let submission = unsafe { self.kernel.watch(source, op) };
        self.started(handle, op, submission)
    }

    pub(crate) fn poll(&mut self, source: &K::Source, owner: u32, interest: Readiness) -> Started<K> {
        let op = self.operations.take(OpKind::Poll, owner, None, 0..0);
        let handle = self.operations.lend(op);
        // SAFETY: as in `receive`.
        let submission = unsafe { self.kernel.poll(source, op, interest) };
        self.started(handle, op, submission)
    }

    /// As [`Submitter::cancel`], on a stream that stays open.
    pub(crate) fn withdraw(&mut self, source: &K::Source, handle: OpHandle) {
        if let Some(op) = self.operations.pending(handle) {
            // SAFETY: `pending` has checked that the kernel owns this very operation.
            unsafe { self.kernel.withdraw(source, op) };
        }
    }

    /// Asks the kernel to end a pending operation soon. Its completion comes out of a later [`Submitter::wait`] as
    /// always, and its memory stays the kernel's until then [hc01]. If the operation has already ended, nothing
    /// happens.
    pub(crate) fn cancel(&mut self, source: &K::Source, handle: OpHandle) {
        if let Some(op) = self.operations.pending(handle) {
            // SAFETY: `pending` has checked that the kernel owns this very operation.
            unsafe { self.kernel.cancel(source, op) };
        }
    }

    /// The address of a pending operation.
    #[cfg(all(test, windows, any(feature = "c-api", dolmen_sim)))]
    pub(crate) fn pending(&self, handle: OpHandle) -> Option<OpPtr<K>> {
        self.operations.pending(handle)
    }

    pub(crate) fn close(&mut self, source: K::Source, how: Close) {
        self.kernel.close(source, how);
    }

    /// Waits, and hands each completion to `take`.
    pub(crate) fn wait(
        &mut self,
        max: usize,
        timeout_ns: Option<u64>,
        mut take: impl FnMut(Completion<K>),
    ) -> Result<bool, Fault> {
        let mut arrivals =
            Arrivals { operations: &self.operations, foreign: &mut self.foreign, unknown: &mut self.unknown };
        // SAFETY: pending cells are left alone (`Owner::Kernel`) and outlive the kernel, which is dropped first.
        let waited =
            unsafe { self.kernel.wait(&mut self.packets, max, timeout_ns, &self.pool, &mut arrivals) };
        for packet in self.packets.drain(..) {
            // SAFETY: its packet is out, and the contract promises that it is the only one.
            let returned = unsafe { self.operations.take_back(packet.op) };
            self.transmits.take_back(&returned);
            take(complete(returned, packet.result));
        }
        waited
    }

    /// The foreign completions that waits have returned since the last call.
    pub(crate) fn take_foreign(&mut self) -> impl Iterator<Item = Foreign> + '_ {
        self.foreign.drain(..)
    }

    /// How many packets named no operation, although their key was ours.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown
    }

    fn started(&mut self, handle: OpHandle, op: OpPtr<K>, submission: Submission<K>) -> Started<K> {
        // Either it is over here, or its packet ends it: never both [hc11].
        let result = match submission {
            Submission::Pending => return Started::Pending(handle),
            Submission::Done(outcome) => Ok(outcome),
            Submission::Failed(fault) => Err(fault),
        };
        // SAFETY: anything but Pending means that no packet will come and the kernel kept nothing.
        let returned = unsafe { self.operations.take_back(op) };
        self.transmits.take_back(&returned);
        Started::Completed(complete(returned, result))
    }
}

/// Converts the result into what the engine sees. The buffer of a receive that brought nothing returns to its pool here.
fn complete<K: Kernel>(returned: Returned, result: Result<Outcome<K>, Fault>) -> Completion<K> {
    let Returned { handle, kind, slot, lent } = returned;
    let returned = lent.filter(|_| matches!(kind, OpKind::Send | OpKind::SendTo));
    Completion { handle, kind, owner: slot, result, returned }
}
