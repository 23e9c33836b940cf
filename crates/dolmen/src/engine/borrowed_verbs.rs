//! The engine's methods that only the C library calls: for sockets that the caller owns, and for packets of others.

use crate::error::{Error, ErrorKind};
use crate::kernel::readiness::{BorrowedSocket, Readiness};
use crate::kernel::{Fault, Kernel};
use crate::record::Record;
use crate::token::{ConnId, PollId, TimerId, Token};

use super::connection::Connection;
use super::poll::Poll;
use super::{Engine, not_found};

/// Connections over a caller's socket.
impl<K: Kernel> Engine<K> {
    pub(crate) fn is_stream(&self, socket: BorrowedSocket) -> std::io::Result<bool> {
        self.cx.submitter.is_stream(socket).map_err(Fault::to_io)
    }

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
        let source = self.cx.submitter.kernel().add_borrowed_stream(socket, again);
        let source = source.map_err(|fault| Error::from_fault(fault, ACTION, None))?;
        let conn = self.insert_connection(Connection::adopted(source, receive, token));
        self.cx.send_reports.begin(conn.0.slot);
        self.serve_connection(conn.0.slot);
        if self.connections.get(conn.0).is_none() {
            self.cx.removed.mark_conn(conn);
            // The record of its end, which this call reports in its place.
            let end = self.cx.outbox.iter().rev().find_map(|record| match record {
                Record::Closed { conn: ended, reason, .. } if *ended == conn => Some(reason.to_string()),
                _ => None,
            });
            let why = end.map(|end| format!(" ({end})")).unwrap_or_default();
            let what = format!("from which nothing can be received{why}");
            return Err(Error::new(ErrorKind::InvalidHandle, ACTION, what));
        }
        Ok(conn)
    }

    /// Requests the next bytes; see [`Connection::post_receive`].
    pub(crate) fn post_receive(&mut self, conn: ConnId) -> Result<(), Error> {
        self.with_open(conn, "receive from connection", |connection, _| connection.post_receive(conn.0))??;
        self.serve_connection(conn.0.slot);
        Ok(())
    }

    /// Sends; see [`Connection::post_send`].
    pub(crate) fn post_send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        let send = |connection: &mut Connection<K>, cx: &mut _| connection.post_send(cx, conn.0, bytes);
        self.with_open(conn, "send to connection", send)??;
        self.serve_connection(conn.0.slot);
        Ok(())
    }

    /// As [`Engine::remove`], and the kernel releases the socket before this returns. Incomplete sends are abandoned;
    /// the socket then cannot be adopted again.
    pub(crate) fn remove_adopted(&mut self, conn: ConnId) -> bool {
        let known = self.remove(conn);
        self.serve_connection(conn.0.slot);
        known
    }
}

/// Foreign completions.
impl<K: Kernel> Engine<K> {
    pub(crate) fn report_foreign(&mut self) {
        self.reports_foreign = true;
    }
}

/// Timers.
impl<K: Kernel> Engine<K> {
    pub(crate) fn is_timer_set(&self, timer: TimerId) -> bool {
        self.cx.timers.is_callers(timer.0)
    }

    pub(crate) fn timers_set(&self) -> usize {
        self.cx.timers.callers()
    }
}

/// Polls.
impl<K: Kernel> Engine<K> {
    pub(crate) fn add_poll(
        &mut self,
        socket: BorrowedSocket,
        interest: Readiness,
        once: bool,
        token: Token,
    ) -> Result<PollId, Error> {
        let source = self.cx.submitter.kernel().add_borrowed(socket, interest);
        let source = source.map_err(|fault| Error::from_fault(fault, "add a socket", None))?;
        let key = self.polls.insert(Poll::new(source, interest, once, token));
        self.polls.get_mut(key).expect("it was just inserted").list(&mut self.cx, key);
        Ok(PollId(key))
    }

    /// Whether the number of a polled socket still stands for that socket.
    pub(crate) fn is_same_socket(&self, id: PollId) -> Option<bool> {
        let poll = self.polls.get(id.0)?;
        self.cx.submitter.is_same_socket(poll.source())
    }

    /// From now on only what `interest` asks for is reported, even of what was found before.
    pub(crate) fn set_interest(&mut self, id: PollId, interest: Readiness) -> Result<(), Error> {
        const ACTION: &str = "change the interest of";
        let poll = self.polls.get_mut(id.0).filter(|poll| !poll.is_closing());
        let poll = poll.ok_or_else(|| not_found(ACTION, "poll", id))?;
        let changed = poll.set_interest(&mut self.cx, interest);
        changed.map_err(|fault| Error::from_fault(fault, ACTION, Some(format!("poll {id}"))))
    }
}
