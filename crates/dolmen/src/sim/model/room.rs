//! Refused sends, and the `Drained` events that are to follow.

use super::*;

/// The refused sends of a connection that no `Drained` event has answered yet: how large the largest was.
#[derive(Default)]
pub(super) struct Refusals {
    /// Those from before the last wait. An event of that wait answers them.
    answered_next: usize,
    /// Those since. An event of that wait says nothing about them.
    since: usize,
    /// The last wait before the newest refusal, by its number.
    in_wait: u64,
    /// And before the newest send that was taken.
    taken_in_wait: u64,
}

impl Refusals {
    fn pass(&mut self, waits: u64) {
        if std::mem::replace(&mut self.in_wait, waits) != waits {
            self.answered_next = self.answered_next.max(std::mem::take(&mut self.since));
        }
    }

    pub(super) fn refused(&mut self, waits: u64, much: usize) {
        self.pass(waits);
        self.since = self.since.max(much);
    }

    pub(super) fn taken(&mut self, waits: u64) {
        self.taken_in_wait = waits;
    }

    /// The caller has closed the sending side: room is of no use any more.
    pub(super) fn forget(&mut self) {
        (self.answered_next, self.since) = (0, 0);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered_next == 0 && self.since == 0
    }
}

impl Run<'_> {
    pub(super) fn drained(&mut self, conn: ConnId, token: Token) -> Check {
        let Some(at) = self.conn_of(conn, token, "room")? else { return Ok(()) };
        let waits = self.engine.stats().waits;
        let known = &mut self.conns[at];
        known.refusals.pass(waits);
        let largest = std::mem::take(&mut known.refusals.answered_next);
        let has_sent_since = known.refusals.taken_in_wait == waits;
        let is_shut = known.shut || known.releasing || known.state != State::Open;
        self.check(Oracle::Order, !is_shut, || {
            "`Drained` after the caller has closed the sending side".into()
        })?;
        self.check(Oracle::Order, largest > 0, || "`Drained` without a refusal".into())?;
        let queued = self.engine.queued_bytes(conn).map_err(|error| error.kind());
        self.check(Oracle::Order, queued.is_ok(), || format!("`Drained`, and a send fails: {queued:?}"))?;
        let room = self.config.high_water_bytes - queued.unwrap_or(0);
        self.check(Oracle::Bounds, has_sent_since || largest <= room, || {
            format!("`Drained` with room for {room} bytes, and {largest} were refused")
        })
    }

    /// The caller sends more than the queue holds, and passes it to the system without a wait, some times.
    pub(super) fn overfill_queue(&mut self, who: u32, much: usize) -> Check {
        let Some(at) = self.open_conn(who) else { return Ok(()) };
        for _ in 0..3 {
            let room =
                self.config.high_water_bytes - self.engine.queued_bytes(self.conns[at].id).unwrap_or(0);
            self.send(at, room.max(1))?;
            self.send(at, much)?;
            self.engine.flush();
        }
        Ok(())
    }
}
