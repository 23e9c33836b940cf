//! Connections over a caller's socket, for callers that request each receive and want a report of each send.
//!
//! Such a connection is paused except between [`Engine::post_receive`] and the delivery of its result, so that there is
//! one receive at a time, however often the caller requests it. Each send is marked, and reported when the system has
//! taken it. The methods act immediately instead of with the next wait: the caller may close the socket next.

use std::collections::VecDeque;

use super::*;
use crate::kernel::readiness::BorrowedSocket;

/// The reports due to a caller that owns the connection's socket. Stored outside the connections, so that the others pay
/// nothing for them.
#[derive(Default)]
pub(in crate::engine) struct Borrowed {
    /// All bytes that were ever queued.
    queued_total: u64,
    /// All bytes that the system has ever taken.
    sent_total: u64,
    /// For each send that is not complete: `queued_total` after it, and its length.
    marks: VecDeque<(u64, usize)>,
}

impl<K: Kernel> Engine<K> {
    /// Registers a connected socket. `again`: it was registered here before, and has been open ever since. With
    /// `receive`, receiving starts immediately, and if that fails immediately, so does this call.
    pub(crate) fn adopt(
        &mut self,
        socket: BorrowedSocket,
        again: bool,
        receive: bool,
        token: Token,
    ) -> Result<ConnId, Error> {
        const ACTION: &str = "add a socket";
        let source = self.submitter.kernel().add_borrowed_stream(socket, again);
        let source = source.map_err(|fault| Error::from_fault(fault, ACTION, None))?;
        let conn = self.insert_connection(source, token);
        let connection = self.connections.get_mut(conn.0).expect("it was just inserted");
        connection.borrowed = true;
        connection.paused = !receive;
        let slot = conn.0.slot as usize;
        if self.borrowed.len() <= slot {
            self.borrowed.resize_with(slot + 1, Borrowed::default);
        }
        self.borrowed[slot] = Borrowed::default();
        self.serve_connection(conn.0.slot);
        if self.connections.get(conn.0).is_none() {
            self.origin.removed.mark_conn(conn);
            return Err(Error::new(ErrorKind::InvalidHandle, ACTION, "from which nothing can be received"));
        }
        Ok(conn)
    }

    /// Starts receiving the next bytes, unless a receive is already under way [hc33].
    pub(crate) fn post_receive(&mut self, conn: ConnId) -> Result<(), Error> {
        const ACTION: &str = "receive from connection";
        let connection = self.open_connection(conn, ACTION)?;
        if connection.read_ended {
            return Err(Error::new(ErrorKind::ReadClosed, ACTION, conn));
        }
        if connection.receive.is_some() || connection.undelivered {
            mark(Mark::ReceiveAskedTwice);
        }
        connection.paused = false;
        self.serve_connection(conn.0.slot);
        Ok(())
    }

    /// Sends, as [`Engine::send`] does, and lets a `Written` record follow when the system has taken all of it.
    pub(crate) fn post_send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        self.send(conn, bytes)?;
        let connection = self.connections.get(conn.0).expect("it was just sent to");
        if connection.borrowed {
            let borrowed = &mut self.borrowed[conn.0.slot as usize];
            borrowed.queued_total += bytes.len() as u64;
            borrowed.marks.push_back((borrowed.queued_total, bytes.len()));
        }
        self.serve_connection(conn.0.slot);
        Ok(())
    }

    /// As [`Engine::remove`], and the kernel releases the socket before this returns. Incomplete sends are abandoned;
    /// the socket then cannot be adopted again.
    pub(crate) fn release(&mut self, conn: ConnId) -> bool {
        let known = self.remove(conn);
        if !mutant(Mutant::ReleaseLater) {
            self.serve_connection(conn.0.slot);
        }
        known
    }

    /// Called before a connection's queue is dropped, in flight or not: if it is not empty, the socket cannot be
    /// adopted again [hc18]. See [`Kernel::note_cut`].
    pub(super) fn note_if_cut(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.borrowed && connection.queued_bytes() > 0 && !mutant(Mutant::ForgetCut) {
            mark(Mark::EndedUnsent);
            self.submitter.kernel().note_cut(&connection.source);
        }
    }

    /// Reports the sends that `bytes` more bytes have completed.
    pub(super) fn report_sends(&mut self, key: Key, bytes: usize) {
        let connection = self.connections.get(key).expect("the connection is there");
        if !connection.borrowed {
            return;
        }
        let closing = connection.is_closing();
        let (conn, token) = (ConnId(key), connection.token);
        let borrowed = &mut self.borrowed[key.slot as usize];
        borrowed.sent_total += bytes as u64;
        let mut reported = 0;
        let through = |end: u64, sent_total: u64| end <= sent_total || mutant(Mutant::WrittenEarly);
        while let Some(&(end, bytes)) =
            borrowed.marks.front().filter(|mark| through(mark.0, borrowed.sent_total))
        {
            debug_assert!(end <= borrowed.queued_total);
            borrowed.marks.pop_front();
            reported += 1;
            if !closing {
                self.outbox.push_back(Record::Written { conn, token, bytes });
                if mutant(Mutant::WrittenTwice) {
                    self.outbox.push_back(Record::Written { conn, token, bytes });
                }
            }
        }
        if reported > 1 {
            mark(Mark::WrittenTogether);
        }
    }
}
