//! What the game's events may be.

use super::*;
use crate::LeaveReason;
use crate::close_reason::CloseReason;
use crate::sim::crew::codec::{Message, PANIC};

impl Run<'_> {
    pub(super) fn handle(&mut self, event: CrewEvent<TestCodec>) -> Check {
        let (link, token) = match &event {
            CrewEvent::MemberFailed { member, cause } => return self.member_failed(*member, cause),
            CrewEvent::Message { link, token, .. }
            | CrewEvent::Drained { link, token }
            | CrewEvent::Left { link, token, .. } => (*link, *token),
        };
        let Some(&at) = self.by_link.get(&link) else {
            return self.fail(Oracle::Order, || format!("an event of {link:?}, which was not added"));
        };
        let conn = &self.conns[at];
        self.check(Oracle::Order, conn.token == token && !conn.has_left, || {
            format!("an event of {link:?} with {token:?}; it has left: {}", conn.has_left)
        })?;
        let is_over = conn.ending.is_some() && !matches!(event, CrewEvent::Left { .. });
        self.check(Oracle::Stale, !is_over, || format!("{event:?} after {:?}", conn.ending))?;
        match event {
            CrewEvent::Message { message, .. } => self.message(at, message),
            CrewEvent::Drained { .. } => self.room(at),
            CrewEvent::Left { reason, .. } => self.left(at, &reason),
            CrewEvent::MemberFailed { .. } => Ok(()),
        }
    }

    fn message(&mut self, at: usize, message: Message) -> Check {
        self.check_no_orphan()?;
        let conn = &mut self.conns[at];
        conn.messages += 1;
        let (link, has_end) = (conn.link, conn.has_end);
        match message {
            Message::Bytes(data) => {
                let expected = bytes(conn.wire, false, conn.received, data.len());
                conn.received += data.len() as u64;
                let until = conn.received;
                self.check(Oracle::Stream, data == expected && !has_end, || {
                    format!("{link:?} has delivered something else before {until}")
                })?;
            }
            Message::Tick => mark(Mark::DeadlineExpired),
            Message::End => {
                conn.has_end = true;
                let (received, written) = (conn.received, conn.written);
                self.check(Oracle::Stream, received == written, || {
                    format!("{link:?} has ended after {received} of {written} bytes")
                })?;
            }
        }
        self.react(at)
    }

    /// The game answers within its round.
    fn react(&mut self, at: usize) -> Check {
        if self.is_calm {
            return Ok(());
        }
        match self.rng.below(100) {
            0..12 => self.send(at, 10).map(drop),
            12..15 => self.burst(),
            15..17 => self.end_one(at, Ending::Close),
            17 => self.end_one(at, Ending::Abort),
            18..20 => self.pause(at, true),
            _ => Ok(()),
        }
    }

    fn room(&mut self, at: usize) -> Check {
        self.check_no_orphan()?;
        mark(Mark::RoomReported);
        let conn = &mut self.conns[at];
        conn.waits_for_room = false;
        conn.reports_of_room += 1;
        let (link, reports, refusals) = (conn.link, conn.reports_of_room, conn.refusals);
        self.check(Oracle::Order, reports <= refusals, || {
            format!("{link:?} has reported room {reports} times after {refusals} refusals")
        })
    }

    fn left(&mut self, at: usize, reason: &LeaveReason) -> Check {
        let conn = &self.conns[at];
        let (link, is_refused) = (conn.link, conn.is_refused);
        match (reason, self.orphans.pop_front()) {
            (LeaveReason::MemberFailed, Some(orphan)) if orphan == at => {}
            // A newcomer that no one serves until the game replaces the member.
            (LeaveReason::MemberFailed, None) if is_refused => {}
            (LeaveReason::MemberFailed, _) | (_, Some(_)) => {
                self.fail(Oracle::Order, || format!("{link:?} has left out of turn: {reason}"))?;
            }
            _ => {}
        }
        match reason {
            LeaveReason::Refused(_) => mark(Mark::AddRefused),
            LeaveReason::Closed(CloseReason::LingerExpired { .. }) => mark(Mark::LingerExpired),
            _ => {}
        }
        let conn = &mut self.conns[at];
        conn.has_left = true;
        conn.has_finished = matches!(reason, LeaveReason::Closed(CloseReason::Finished));
        let witness = look(&conn.witness);
        let (got, delivered) = (conn.messages, witness.messages);
        let was_asked = conn.ending.is_some();
        let (ended, received, written) = (witness.ended, witness.received_bytes, conn.written);
        let is_cut = witness.end_of_stream && !conn.resets && received != written;
        let has_finished = conn.has_finished;
        let closed = witness.closed;
        // The game may have asked when the connection had ended.
        let may_have_met = was_asked && ended.is_none();
        let is_loss = matches!(reason, LeaveReason::Closed(_)) && !was_asked && ended.is_none();
        drop(witness);
        self.check(Oracle::Stream, was_asked || got == delivered, || {
            format!("{link:?} has left after {got} of {delivered} messages")
        })?;
        self.check(Oracle::Stream, !is_cut, || {
            format!("{link:?} has ended after {received} of {written} bytes")
        })?;
        self.check(Oracle::Order, closed == u64::from(is_loss) || (may_have_met && closed == 1), || {
            format!("{link:?} has left by {reason}, and its codec had {closed} calls for that")
        })?;
        self.check(Oracle::Order, was_asked || ended.is_some() || !has_finished, || {
            format!("{link:?} has left, and no one has asked for it")
        })
    }

    /// What a failed member has had leaves before anything else happens.
    fn check_no_orphan(&self) -> Check {
        let waiting = self.orphans.len();
        self.check(Oracle::Order, waiting == 0, || format!("an event before {waiting} orphans have left"))
    }

    fn member_failed(&mut self, number: usize, panic: &str) -> Check {
        self.check_no_orphan()?;
        let failed = |member: &SimMember| member.number == number && member.has_failed && !member.is_reported;
        let Some(at) = self.members.iter().position(failed) else {
            return self.fail(Oracle::Order, || format!("member {number} was reported, and has not failed"));
        };
        self.members[at].is_reported = true;
        match self.members[at].is_retiring {
            true => mark(Mark::RetiringFailed),
            false => self.refuses_newcomers = true,
        }
        self.is_uneven = true;
        let of_member = |&at_conn: &usize| {
            let conn = &self.conns[at_conn];
            conn.place == Some(at) && !conn.has_left
        };
        self.orphans = (0..self.conns.len()).filter(of_member).collect();
        if self.orphans.len() > 1 {
            mark(Mark::SeveralOrphans);
        }
        let world = self.world.borrow();
        for &orphan in &self.orphans {
            let conn = &self.conns[orphan];
            if !look(&conn.witness).opened {
                mark(Mark::NewcomerLost);
            }
            let is_closed = world.links[conn.wire].ended.is_some();
            self.check(Oracle::Empty, is_closed, || {
                format!("{:?} is open, and its member has failed", conn.link)
            })?;
        }
        self.check(Oracle::Order, panic == PANIC, || format!("it has failed of {panic}"))
    }
}
