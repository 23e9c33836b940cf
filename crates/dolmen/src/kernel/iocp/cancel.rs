//! Cancelling operations: the request, further attempts where the system has not found the operation, and the close of
//! the socket that ends one which the system cannot cancel.

use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket as _, FromRawSocket as _};

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::super::Kernel as _;
use super::super::operation::OpPtr;
use super::bridge::Bridge;
use super::operation::Extra;
use super::source::Source;
use super::unfound::{GivenUp, Owner};
use super::{Iocp, overlapped};

impl Iocp {
    /// Requests the end of an operation. `stays_open`: its socket is not closed to end it.
    ///
    /// # Safety
    ///
    /// `op` is pending on `source`.
    pub(super) unsafe fn cancel_operation(&mut self, source: &Source, op: OpPtr<Self>, stays_open: bool) {
        self.calls += 1;
        let (socket, owner) = match source {
            Source::Stream { stream, borrowed, id, .. } => {
                // SAFETY: while an operation is pending, the system owns the OVERLAPPED and the buffer, and this is
                // neither.
                if let Extra::Receive { cancelled, .. } = unsafe { &mut (*op.as_ptr()).header.extra } {
                    *cancelled = true;
                }
                let owner = if *borrowed || stays_open { Owner::Caller } else { Owner::Stream(*id) };
                (stream.as_raw_socket() as SOCKET, owner)
            }
            Source::Datagrams(datagrams) => (datagrams.raw(), Owner::Stream(datagrams.id)),
            Source::Listener(acceptor) => (acceptor.socket(), Owner::Listener(acceptor.listener())),
            Source::ReadinessListener(watched) => return self.disarm(&watched.bridge, op),
            Source::Handle(bridge) => return self.disarm(bridge, op),
            Source::Polled(polled) => {
                self.cancelled.extend(polled.cancel(&mut self.writers));
                return;
            }
        };
        // One that is not found has completed in most cases, and its packet brings its bytes [hc04].
        // SAFETY: the operation is pending on that socket.
        if !matches!(unsafe { (self.cancel)(socket, overlapped(op)) }, Ok(true)) {
            self.unfound.push(socket, op, owner);
        }
    }

    fn disarm(&mut self, bridge: &Bridge, op: OpPtr<Self>) {
        if bridge.disarm() {
            self.cancelled.push(op);
        }
    }

    /// Another attempt, now that all packets that were there have been taken out.
    pub(super) fn cancel_again(&mut self) {
        let (cancel, now_ns) = (self.cancel, self.now_ns());
        let calls = &mut self.calls;
        let given_up = self.unfound.cancel_again(now_ns, |socket, op| {
            *calls += 1;
            // SAFETY: its packet has not come, so the operation is pending. A caller may have closed a borrowed socket,
            // and its number may be reused: then no operation of that socket has this address, and none is found.
            unsafe { cancel(socket, overlapped(op)) }
        });
        for GivenUp { socket, owner, fault } in given_up {
            self.uncancelled += 1;
            let (error, total, borrowed) = (fault.to_io(), self.uncancelled, matches!(owner, Owner::Caller));
            self.close_early(socket, owner);
            // The first is logged, and each that doubles the number.
            if total.is_power_of_two() {
                let what = if borrowed {
                    "it ends when the peer sends or closes, or the socket is closed"
                } else {
                    "the socket is closed to end it"
                };
                tracing::warn!(target: "dolmen", %error, total, "cannot cancel an operation: {what}");
            }
        }
    }

    /// Closes one of the reactor's sockets before its operations have completed, which ends them.
    fn close_early(&mut self, socket: SOCKET, owner: Owner) {
        match owner {
            Owner::Caller => {}
            Owner::Listener(listener) => drop(listener.take()),
            Owner::Stream(id) => {
                if !self.closed_early.contains(&(socket, id)) {
                    self.closed_early.push((socket, id));
                    self.calls += 1;
                    // SAFETY: the socket is open: only this code closes it before its source is closed, and the close
                    // of the source then leaves it alone. Its source is closing, so no other call is made on it.
                    drop(unsafe { TcpStream::from_raw_socket(socket as _) });
                }
            }
        }
    }

    /// Whether the source is one whose socket is closed already. By now the number may be reused.
    pub(super) fn was_closed_early(&mut self, source: &Source) -> bool {
        let closed = match source {
            Source::Stream { stream, id, .. } => (stream.as_raw_socket() as SOCKET, *id),
            Source::Datagrams(datagrams) => (datagrams.raw(), datagrams.id),
            _ => return false,
        };
        let at = self.closed_early.iter().position(|early| *early == closed);
        at.map(|at| self.closed_early.swap_remove(at)).is_some()
    }
}
