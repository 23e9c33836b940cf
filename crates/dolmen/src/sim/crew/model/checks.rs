//! What holds after each turn, and what holds when no one has anything to do.

use super::*;
use crate::sim::crew::codec::MOST_TICKS;

impl Run<'_> {
    /// After a member's turn.
    pub(super) fn check_member(&mut self, at: usize) -> Check {
        self.check_witnesses()?;
        // One that the end of the crew has stopped flushes nothing more.
        if !self.members[at].has_ended() && !self.members[at].orders.is_abandoned() {
            self.check_flushed(Some(at), self.members[at].orders.len())?;
        }
        let member = &self.members[at];
        let (queued, waiting) = (member.notices.len(), member.waiting_messages());
        if waiting > 0 {
            mark(Mark::MessagesWaited);
        }
        let (failed, capacity) = (member.has_failed, self.limits.notices);
        self.check(Oracle::Bounds, failed || queued <= capacity, || {
            format!("{queued} notices of member {at} wait in room for {capacity}")
        })?;
        let most = self.most_waiting(Some(at));
        self.check(Oracle::Bounds, waiting <= most, || {
            format!("{waiting} messages of member {at} wait for room; {most} may")
        })
    }

    /// After a member's turn, or a round on the game's thread: codecs that were called are flushed, unless a part of the
    /// game's round is to come.
    fn check_flushed(&self, place: Option<usize>, orders: usize) -> Check {
        let is_at_place = |conn: &&Conn| conn.place == place && !conn.has_left && conn.ending.is_none();
        for conn in self.conns.iter().filter(is_at_place) {
            let witness = look(&conn.witness);
            if !witness.awaits_flush || witness.ended.is_some() || witness.closed > 0 {
                continue;
            }
            let is_in_round = witness.last_round().is_some() && witness.last_round() == environment::round();
            if is_in_round {
                mark(Mark::FlushWaited);
            }
            self.check(Oracle::Order, is_in_round || orders > 0, || {
                format!("the codec of {:?} was called, and not flushed", conn.link)
            })?;
        }
        Ok(())
    }

    /// After a round. One that was left early leaves what fits into the limit, and what the members had beyond.
    pub(super) fn check_game(&self, is_left_early: bool) -> Check {
        self.check_witnesses()?;
        self.check_flushed(None, 0)?;
        let (taken, waiting) = self.dispatcher.waiting_notices();
        let capacity = self.limits.notices;
        if waiting > 0 {
            mark(Mark::MessagesWaitedHere);
        }
        let most = if is_left_early {
            (1 + self.members.len()) * capacity + self.most_of_failed()
        } else {
            capacity
        };
        self.check(Oracle::Bounds, taken <= most, || {
            format!("{taken} notices are left of a round, with room for {capacity}; {most} may be")
        })?;
        let most = self.most_waiting(None);
        self.check(Oracle::Bounds, waiting <= most, || {
            format!("{waiting} messages wait for room on the game's thread; {most} may")
        })?;
        let (len, present) = (self.dispatcher.len(), self.conns.iter().filter(|conn| !conn.has_left).count());
        self.check(Oracle::Stale, len == present, || format!("{len} connections are known of {present}"))
    }

    /// How many messages may wait beside a full queue: whatever one receive has brought, once for each connection, and
    /// those that have nothing to do with receives.
    fn most_waiting(&self, place: Option<usize>) -> usize {
        let of_one =
            |conn: &Conn| self.config.buffer_bytes.div_ceil(conn.manner.piece) + 1 + MOST_TICKS as usize;
        self.conns.iter().filter(|conn| conn.place == place).map(of_one).sum()
    }

    /// How many notices members that have failed may leave beyond the room: their messages, and for each connection that it
    /// has room or has ended; and the failure.
    fn most_of_failed(&self) -> usize {
        let failed = self.members.iter().enumerate().filter(|(_, member)| member.has_failed);
        let of_one = |at| {
            self.most_waiting(Some(at))
                + 2 * self.conns.iter().filter(|conn| conn.place == Some(at)).count()
                + 1
        };
        failed.map(|(at, _)| of_one(at)).sum()
    }

    /// What the codecs have seen.
    fn check_witnesses(&self) -> Check {
        for conn in &self.conns {
            if let Some((oracle, message)) = look(&conn.witness).fault.take() {
                self.fail(oracle, || format!("{:?}: {message}", conn.link))?;
            }
        }
        Ok(())
    }

    /// No one has anything to do: nothing that could be delivered waits.
    pub(super) fn check_calm(&self) -> Check {
        for (at, member) in self.members.iter().enumerate() {
            let (notices, orders) = (member.notices.len(), member.orders.len());
            self.check(Oracle::Liveness, notices + orders == 0, || {
                format!("{notices} notices and {orders} orders of member {at} wait, and no one is awake")
            })?;
            self.check(Oracle::Liveness, member.has_failed == member.is_reported, || {
                format!("member {at} has failed, and the game has not heard of it")
            })?;
        }
        let (taken, waiting) = self.dispatcher.waiting_notices();
        self.check(Oracle::Liveness, taken + waiting == 0, || {
            format!("{taken} notices wait, and {waiting} messages for room")
        })?;
        self.conns.iter().filter(|conn| !conn.has_left).try_for_each(|conn| self.check_calm_conn(conn))
    }

    /// No one is awake until `next_ns`: no deadline is before it.
    pub(super) fn check_deadlines(&self, next_ns: Option<u64>) -> Check {
        for conn in self.conns.iter().filter(|conn| !conn.has_left && conn.ending.is_none()) {
            let Some(deadline_ns) = look(&conn.witness).deadline_ns else { continue };
            self.check(Oracle::Time, next_ns.is_some_and(|next_ns| next_ns <= deadline_ns), || {
                format!("{:?} has a deadline of {deadline_ns}, and no one wakes until {next_ns:?}", conn.link)
            })?;
        }
        Ok(())
    }

    fn check_calm_conn(&self, conn: &Conn) -> Check {
        let (witness, link) = (look(&conn.witness), conn.link);
        if conn.ending.is_some() || witness.ended.is_some() {
            return Ok(());
        }
        let (got, delivered) = (conn.messages, witness.messages);
        self.check(Oracle::Liveness, got == delivered, || {
            format!("{link:?} has delivered {delivered} messages, and {got} have come")
        })?;
        // What the peer does not read holds up the rest.
        if conn.is_dead || conn.resets {
            return Ok(());
        }
        let (came, taken) = (witness.replies, conn.replies);
        self.check(Oracle::Liveness, came == taken, || {
            format!("the codec of {link:?} has got {came} of {taken} replies")
        })?;
        let (read, sent) = (conn.read, witness.sent_bytes);
        self.check(Oracle::Liveness, read == sent, || {
            format!("the peer of {link:?} has read {read} of {sent} bytes")
        })?;
        self.check(Oracle::Liveness, !conn.waits_for_room, || {
            format!("{link:?} has room and has not reported it")
        })?;
        self.check(Oracle::Liveness, !witness.is_blocked, || {
            format!("the codec of {link:?} was blocked, and has not heard of room")
        })?;
        let (received, written) = (witness.received_bytes, conn.written);
        let is_whole = received == written && witness.end_of_stream == conn.fin;
        self.check(Oracle::Liveness, conn.is_paused || is_whole, || {
            format!("{link:?} has received {received} of {written} bytes")
        })
    }

    /// After an hour: whatever was to end has ended.
    pub(super) fn check_ended(&self) -> Check {
        for conn in self.conns.iter().filter(|conn| !conn.has_left) {
            let (codec_ended, is_read) = {
                let witness = look(&conn.witness);
                (witness.ended, !witness.end_of_stream && !conn.is_paused && !conn.is_dead)
            };
            let is_over = conn.ending.is_some() || codec_ended.is_some();
            self.check(Oracle::Liveness, !is_over, || {
                format!("{:?} has not left: {:?}, {codec_ended:?}", conn.link, conn.ending)
            })?;
            let reset = self.world.borrow().links[conn.wire].reset.is_some();
            self.check(Oracle::Liveness, !reset || !is_read, || {
                format!("{:?} was reset, and has not left", conn.link)
            })?;
        }
        Ok(())
    }

    /// What was sent before an orderly end has arrived.
    pub(super) fn check_whole(&self) -> Check {
        let world = self.world.borrow();
        // What the peer goes on to write after the linger time makes the system reset the connection.
        let is_orderly = |conn: &&Conn| {
            conn.has_finished
                && world.links[conn.wire].ended == Some(Ended::Orderly)
                && !conn.is_dead
                && !conn.resets
        };
        for conn in self.conns.iter().filter(is_orderly) {
            let witness = look(&conn.witness);
            let (read, sent) = (conn.read, witness.sent_bytes);
            self.check(Oracle::Stream, read == sent, || {
                format!(
                    "the peer of {:?} has read {read} of {sent} bytes, and the close was in order",
                    conn.link
                )
            })?;
            let (came, taken) = (witness.replies, conn.replies);
            self.check(Oracle::Stream, witness.ended.is_some() || came == taken, || {
                format!("the codec of {:?} has got {came} of {taken} replies before its end", conn.link)
            })?;
        }
        Ok(())
    }
}
