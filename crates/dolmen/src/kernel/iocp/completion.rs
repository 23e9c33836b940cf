//! Packets: from the entries that the port returns to the results of operations.

use std::ptr::NonNull;

use windows_sys::Win32::System::IO::OVERLAPPED;

use super::super::arrivals::{Arrivals, Key};
use super::super::lent::Lent;
use super::super::operation::{OpKind, OpPtr};
use super::super::{Fault, FaultKind, Kernel as _, Outcome, Packet, Submission};
use super::accept::AcceptCell;
use super::connect::connect_fault;
use super::operation::Extra;
use super::socket::{self, CallResult};
use super::transmit::transmit_fault;
use super::{CANCELLED, Iocp, overlapped, status};
use crate::kernel::buffer_pool::BufferPool;

impl Iocp {
    /// Makes packets of the first `count` entries that the port has returned. Until one is recognised, its address is a
    /// number and nothing is read there [hc41].
    pub(super) fn take_packets(
        &mut self,
        count: usize,
        packets: &mut Vec<Packet<Self>>,
        pool: &BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) {
        for at in 0..count {
            let entry = self.entries[at];
            let (key, address) = (entry.lpCompletionKey, entry.lpOverlapped.addr());
            let arrived = arrivals.recognise(key, address, entry.dwNumberOfBytesTransferred);
            let Some((op, kind)) = arrived else {
                if key == Key::Alarm.value() {
                    self.alarm.fired(self.now_ns());
                }
                continue;
            };
            // SAFETY: it was recognised as pending, and this is its packet.
            let result = unsafe {
                match kind {
                    OpKind::Watch | OpKind::Poll => self.watched(op),
                    _ => self.completed(op, kind, pool),
                }
            };
            match result {
                Some(result) => packets.push(Packet { op, result }),
                None => arrivals.resume(op),
            }
        }
    }

    /// Posts a receive into the operation's buffer, or one of zero bytes if it has none.
    ///
    /// # Safety
    ///
    /// The kernel layer owns the operation and it is not pending in the system.
    pub(super) unsafe fn post_receive(&mut self, op: OpPtr<Self>, pool: &BufferPool) -> Submission<Self> {
        loop {
            self.calls += 1;
            // SAFETY: nothing is pending on the operation, so it is ours; the pointers taken from it stay valid while
            // it is pending, as it is neither moved nor touched until its packet.
            let (started, skips) = unsafe {
                let cell = op.as_ptr();
                let Extra::Receive { socket, skips, .. } = (*cell).header.extra else {
                    unreachable!("a receive")
                };
                (*cell).header.overlapped = OVERLAPPED::default();
                let target = match &mut (*cell).lent {
                    Some(Lent::Buffer(buffer)) => buffer.as_target(),
                    _ => (std::ptr::null_mut(), 0),
                };
                (socket::receive(socket, target, overlapped(op)), skips)
            };
            match started {
                CallResult::Immediate(how, _) if how.sends_packet(skips) => return Submission::Pending,
                CallResult::Immediate(_, Ok(bytes)) => {
                    // SAFETY: it has completed without a packet.
                    if let Some(outcome) = unsafe { received(op, bytes, pool) } {
                        return Submission::Done(outcome);
                    }
                }
                CallResult::Immediate(_, Err(fault)) => return Submission::Failed(fault),
                CallResult::Pending => return Submission::Pending,
            }
        }
    }

    /// Decodes the packet of any other operation. `None` if the operation continues.
    ///
    /// # Safety
    ///
    /// `op` is an operation whose packet has just come.
    unsafe fn completed(
        &mut self,
        op: OpPtr<Self>,
        kind: OpKind,
        pool: &BufferPool,
    ) -> Option<Result<Outcome<Self>, Fault>> {
        // From the operation's own memory, and not from the handle, which may be closed [hc06].
        // SAFETY: the system is done with the operation, so it is ours to read.
        let (status, bytes) = unsafe {
            let cell = op.as_ptr();
            ((*cell).header.overlapped.Internal, (*cell).header.overlapped.InternalHigh)
        };
        let ntstatus = status as i32;
        let status = status::from_ntstatus(ntstatus);
        match kind {
            // SAFETY: passed on.
            OpKind::Receive => unsafe { self.receive_completed(op, status, bytes, pool) },
            // SAFETY: passed on.
            OpKind::ReceiveFrom => Some(unsafe { self.receive_from_completed(op, ntstatus) }),
            // SAFETY: passed on.
            OpKind::SendTo => Some(unsafe { self.send_to_completed(op, status, bytes) }),
            OpKind::Send => Some(status.map(|()| Outcome::Sent(bytes))),
            OpKind::Transmit => Some(status.map(|()| Outcome::Sent(bytes)).map_err(transmit_fault)),
            OpKind::Accept => {
                // SAFETY: the system is done with the operation.
                let Extra::Accept(cell) = (unsafe { (*op.as_ptr()).header.extra }) else {
                    unreachable!("an accept has its cell")
                };
                Some(self.accept_completed(cell, status))
            }
            OpKind::Connect => {
                // SAFETY: as above.
                let Extra::Connect(cell) = (unsafe { (*op.as_ptr()).header.extra }) else {
                    unreachable!("a connect has its cell")
                };
                // SAFETY: the system is done with it.
                unsafe { self.address_cells.give_back(cell) };
                Some(status.map(|()| Outcome::Connected).map_err(connect_fault))
            }
            OpKind::Watch | OpKind::Poll => unreachable!("watches and polls have a key of their own"),
        }
    }

    /// # Safety
    ///
    /// As for `completed`; the operation is a receive.
    unsafe fn receive_completed(
        &mut self,
        op: OpPtr<Self>,
        status: Result<(), Fault>,
        bytes: usize,
        pool: &BufferPool,
    ) -> Option<Result<Outcome<Self>, Fault>> {
        if let Err(fault) = status {
            return Some(Err(fault));
        }
        // SAFETY: the receive has completed.
        if unsafe { may_not_go_on(op) } {
            return Some(Err(CANCELLED));
        }
        // SAFETY: as above.
        if let Some(outcome) = unsafe { received(op, bytes, pool) } {
            return Some(Ok(outcome));
        }
        // It was one of zero bytes: there is something to read, be it the end. Now for the real one [hc12].
        // SAFETY: nothing is pending on the operation at this point.
        match unsafe { self.post_receive(op, pool) } {
            Submission::Done(outcome) => Some(Ok(outcome)),
            Submission::Failed(fault) => Some(Err(fault)),
            Submission::Pending => None,
        }
    }

    fn accept_completed(
        &mut self,
        cell: NonNull<AcceptCell>,
        status: Result<(), Fault>,
    ) -> Result<Outcome<Self>, Fault> {
        let Err(mut fault) = status else { return self.accepted(cell) };
        AcceptCell::recycle(cell, &mut self.accept_cells);
        // An error of the new connection and not of the listener: its peer was already gone [hc10].
        if fault.code == status::NOT_CONNECTED {
            fault.kind = FaultKind::Transient;
        }
        Err(fault)
    }

    pub(super) fn accepted(&mut self, cell: NonNull<AcceptCell>) -> Result<Outcome<Self>, Fault> {
        self.calls += 1;
        let accepted = AcceptCell::finish(cell);
        AcceptCell::recycle(cell, &mut self.accept_cells);
        let (stream, peer) = accepted?;
        Ok(Outcome::Accepted(stream, peer))
    }

    /// # Safety
    ///
    /// `op` is a watch or a poll whose packet has just come.
    unsafe fn watched(&mut self, op: OpPtr<Self>) -> Option<Result<Outcome<Self>, Fault>> {
        // SAFETY: the system is done with the operation, and its bridge or source outlives it.
        unsafe {
            self.calls += 1;
            match (*op.as_ptr()).header.extra {
                Extra::Watch(bridge) => {
                    bridge.as_ref().rest();
                    Some(Ok(Outcome::Ready))
                }
                Extra::Poll(polled) => {
                    self.calls += 1;
                    let found = polled.as_ref().found(op, &mut self.writers).transpose()?;
                    Some(found.map(Outcome::Polled))
                }
                _ => unreachable!("neither a watch nor a poll"),
            }
        }
    }
}

/// Whether a receive was one of zero bytes, and was cancelled. The bytes to read stay in the socket.
///
/// # Safety
///
/// The receive has completed.
unsafe fn may_not_go_on(op: OpPtr<Iocp>) -> bool {
    // SAFETY: it has completed, so the operation is ours.
    let (extra, has_buffer) = unsafe { ((*op.as_ptr()).header.extra, (*op.as_ptr()).lent.is_some()) };
    !has_buffer && matches!(extra, Extra::Receive { cancelled: true, .. })
}

/// Takes the bytes of a receive. `None`: it had no buffer, and has one now.
///
/// # Safety
///
/// The receive has succeeded with `bytes`, and has completed.
unsafe fn received(op: OpPtr<Iocp>, bytes: usize, pool: &BufferPool) -> Option<Outcome<Iocp>> {
    // SAFETY: it has completed, so the operation is ours.
    let lent = unsafe { &mut (*op.as_ptr()).lent };
    let Some(Lent::Buffer(mut buffer)) = lent.take() else {
        *lent = Some(Lent::Buffer(pool.take()));
        return None;
    };
    if bytes == 0 {
        return Some(Outcome::EndOfStream);
    }
    // SAFETY: the system has written `bytes` bytes at the buffer's start.
    unsafe { buffer.set_filled(bytes) };
    Some(Outcome::Received(buffer))
}
