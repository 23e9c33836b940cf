//! Output: to one user and to many, and what becomes of it when it is not read.
//!
//! The answer to a user's own command always fits, because the next command waits until it has been read; so does what
//! the world sends in the call that releases a user, and a long text for one who has read the one before. What others say
//! has to stay within the output limit; for a user who reads too slowly it is left out, and the user is told so. Only one
//! who reads nothing at all is disconnected, whatever waits. What a protocol itself has to say cannot be left out: output
//! with a hole in it would be worse than none. It is little, and has the same room once more.

use std::rc::Rc;
use std::time::Duration;

use dolmen::{Error, ErrorKind};

use super::limiting::LONGEST_ANSWER_BYTES;
use super::{LogKind, Server};
use crate::layer::Output;
use crate::limits::Room;
use crate::session::Session;
use crate::user::about;
use crate::world::{Departure, Status, UserId, World};

/// How often the server looks whether a user for whom more than the output limit waits, or texts are left out, reads.
const BACKLOG_CHECK: Duration = Duration::from_secs(1);

/// Whose room bytes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// They have room of their own.
    Answer,
    /// That of what others say, and of the protocols.
    Others,
}

pub(super) fn count_compressed(status: &mut Status, session: &mut Session) {
    let compressed = session.take_compressed();
    status.compressed_plain_bytes += compressed.plain_bytes;
    status.compressed_wire_bytes += compressed.wire_bytes;
}

impl<W: World> Server<W> {
    pub(super) fn send(&mut self, id: UserId, text: &Rc<str>) {
        let Some(share) = self.admit_text(id, text.len(), true) else { return };
        let Some(user) = self.users.get_mut(id) else { return };
        user.session.in_call(self.call);
        // The world may keep it for further use, or the next actions show it to others.
        if Rc::strong_count(text) > 1 {
            if let Some(wire) = self.shared.encode(text, &mut user.session) {
                self.users.flush_later(id);
                if self.make_room(id, wire.len(), share) {
                    let Some(user) = self.users.get(id) else { return };
                    let sent = self.reactor.send_shared(user.conn, &wire);
                    self.sent(id, wire.len(), sent);
                }
                return;
            }
        }
        self.send_as(id, share, |session, wire| session.send(Output::Text(text), wire));
    }

    /// Sends a message of GMCP.
    pub(super) fn send_gmcp(&mut self, id: UserId, package: &str, data: &str) {
        // The line that it belongs to is counted.
        if let Some(share) = self.admit_text(id, package.len() + data.len(), false) {
            self.send_as(id, share, |session, wire| session.send(Output::Gmcp { package, data }, wire));
        }
    }

    /// Whether a text may be sent to a user now. If not it is left out, and counted with `counts`.
    fn admit_text(&mut self, id: UserId, bytes: usize, counts: bool) -> Option<Share> {
        if self.answering == Some(id) {
            return Some(Share::Answer);
        }
        self.look_at_backlog(id);
        let was_behind = self.users.get(id)?.backlog.is_behind();
        let share = self.admit_bytes(id, bytes);
        let user = self.users.get_mut(id)?;
        if let Some(share) = share {
            if user.session.holds_back() {
                match share {
                    Share::Answer => user.backlog.hold_back_answer(bytes),
                    Share::Others => user.backlog.hold_back(bytes),
                }
                user.answered |= share == Share::Answer;
            }
            return Some(share);
        }
        if counts {
            user.backlog.leave_out();
            self.status.limits.left_out += 1;
        }
        if !was_behind {
            self.wakeups.schedule(id, &mut user.limits.wake_at, self.now + BACKLOG_CHECK);
            self.log_limited(LogKind::Behind, id, |user, left_out| {
                about!(info, user, left_out, "reads more slowly than others talk; texts are left out");
            });
        }
        None
    }

    /// Whether bytes that are still to be encoded, which may double them, fit, and where. One answer is what the user's
    /// command gets, and the other what the world sends in the call that releases the user. While it holds the lines,
    /// others may be talking too, so that has the output limit once more and no more than that.
    pub(super) fn admit_bytes(&mut self, id: UserId, bytes: usize) -> Option<Share> {
        if self.answering == Some(id) {
            return Some(Share::Answer);
        }
        let limit = self.operations.config.output_limit_bytes;
        let user = self.users.get_mut(id)?;
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        let is_answer = user.released_in == self.call
            || user.held && user.backlog.answers_waiting(queued) + bytes <= limit
            || bytes > limit && user.backlog.takes_long_text(queued, limit);
        if is_answer && user.backlog.waiting(queued) + 2 * bytes <= LONGEST_ANSWER_BYTES {
            return Some(Share::Answer);
        }
        (user.backlog.room(bytes, queued, limit, self.now) == Room::Send).then_some(Share::Others)
    }

    /// Tells a user who has caught up how much is missing, and ends one who does not read. The caller carries out the
    /// resulting actions of the world later.
    pub(super) fn look_at_backlog(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id).filter(|user| user.backlog.is_watched()) else { return };
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        let limit = self.operations.config.output_limit_bytes;
        let look = user.backlog.look(queued, limit, self.limits.unread_timeout, self.now);
        if look.unread {
            return self.too_slow(id);
        }
        if look.again {
            self.wakeups.schedule(id, &mut user.limits.wake_at, self.now + BACKLOG_CHECK);
        }
        if look.missing > 0 {
            let messages = match look.missing {
                1 => "One message is".to_owned(),
                missing => format!("{missing} messages are"),
            };
            let text = format!("({messages} missing here, because your connection is slow.)\n");
            self.send_output(id, Output::Text(&text));
        }
    }

    /// Sends any other output.
    pub(super) fn send_output(&mut self, id: UserId, output: Output<'_>) {
        self.send_by(id, |session, wire| session.send(output, wire));
    }

    /// Sends what a session writes that is not left out.
    pub(super) fn send_by(&mut self, id: UserId, write: impl FnOnce(&mut Session, &mut Vec<u8>)) {
        self.send_as(id, self.share_of_protocols(id), write);
    }

    fn send_as(&mut self, id: UserId, share: Share, write: impl FnOnce(&mut Session, &mut Vec<u8>)) {
        let Some(user) = self.users.get_mut(id) else { return };
        user.session.in_call(self.call);
        self.wire.clear();
        write(&mut user.session, &mut self.wire);
        self.send_wire(id, share);
    }

    /// Where the bytes go of what is not left out.
    pub(super) fn share_of_protocols(&self, id: UserId) -> Share {
        if self.answering == Some(id) { Share::Answer } else { Share::Others }
    }

    /// Marks prompts, and sends what the sessions hold back until the end of the round.
    pub(super) fn flush_output(&mut self) {
        let now = self.now;
        while let Some(id) = self.users.next_unflushed() {
            let Some(user) = self.users.get_mut(id) else { continue };
            self.wire.clear();
            user.session.flush(now, &mut self.wire);
            user.backlog.flushed();
            count_compressed(&mut self.status, &mut user.session);
            // A compressed answer leaves here, and is an answer still.
            let share = if user.answered { Share::Answer } else { Share::Others };
            if !self.wire.is_empty() {
                self.send_last_wire(id, share);
                self.carry_out();
            }
            if let Some(user) = self.users.get_mut(id) {
                user.answered = false;
            }
        }
    }

    /// Sends the bytes in `wire`.
    pub(super) fn send_wire(&mut self, id: UserId, share: Share) {
        self.users.flush_later(id);
        self.send_last_wire(id, share);
    }

    /// The same, and there is nothing to flush after them.
    fn send_last_wire(&mut self, id: UserId, share: Share) {
        if self.make_room(id, self.wire.len(), share) {
            let Some(user) = self.users.get(id) else { return };
            let sent = self.reactor.send(user.conn, &self.wire);
            self.sent(id, self.wire.len(), sent);
        }
    }

    /// Counts bytes that are about to be sent. A user whose queue has no room for them is disconnected: keeping them would
    /// let one client fill the memory [hc35].
    fn make_room(&mut self, id: UserId, bytes: usize, share: Share) -> bool {
        let Some(user) = self.users.get_mut(id) else { return false };
        let limit = self.operations.config.output_limit_bytes;
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        let answer = match share {
            Share::Answer => LONGEST_ANSWER_BYTES,
            Share::Others => user.backlog.unread_answer(queued),
        };
        if queued + bytes > 2 * limit + answer {
            self.too_slow(id);
            return false;
        }
        if share == Share::Answer {
            user.backlog.answers(bytes, queued);
            user.answered = true;
        }
        if queued + bytes > limit {
            user.backlog.watch(queued, self.now);
            self.wakeups.schedule(id, &mut user.limits.wake_at, self.now + BACKLOG_CHECK);
        }
        true
    }

    fn sent(&mut self, id: UserId, bytes: usize, sent: Result<(), Error>) {
        match sent {
            Ok(()) => {
                self.status.sent_bytes += bytes as u64;
                if let Some(user) = self.users.get_mut(id) {
                    user.backlog.sent(bytes);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull | ErrorKind::TooLarge) => {
                self.too_slow(id)
            }
            // The connection has ended, and its `Closed` event follows.
            Err(_) => {}
        }
    }

    pub(super) fn too_slow(&mut self, id: UserId) {
        if self.users.get(id).is_none() {
            return;
        }
        self.status.too_slow += 1;
        self.log_limited(LogKind::TooSlow, id, |user, left_out| {
            about!(warn, user, left_out, "output limit reached");
        });
        self.depart(id, Departure::TooSlow);
    }
}
