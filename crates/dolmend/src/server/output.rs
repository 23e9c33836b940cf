//! Output: to one user and to many, and what becomes of it when it is not read.
//!
//! The answer to a user's own command always fits, because the next command waits until it has been read; so does what
//! the user gets while the world holds the lines, and a long text for one to whom nothing else is to be sent. What others
//! say has to stay within the output limit; for a user who reads too slowly it is left out, and the user is told so. Only
//! one who reads nothing at all is disconnected, whatever waits. What a protocol itself has to say cannot be left out: output with
//! a hole in it would be worse than none. It is little, and has the same room once more.

use std::rc::Rc;
use std::time::Duration;

use dolmen::{Error, ErrorKind};

use super::limiting::LONGEST_ANSWER_BYTES;
use super::{LogKind, Server};
use crate::layer::Output;
use crate::limits::Room;
use crate::session::Session;
use crate::user::{User, about};
use crate::world::{Departure, Status, UserId, World};

/// How often the server looks whether a user for whom more than the output limit waits, or texts are left out, reads.
const BACKLOG_CHECK: Duration = Duration::from_secs(1);

pub(super) fn count_compressed(status: &mut Status, session: &mut Session) {
    let compressed = session.take_compressed();
    status.compressed_plain_bytes += compressed.plain_bytes;
    status.compressed_wire_bytes += compressed.wire_bytes;
}

impl<W: World> Server<W> {
    pub(super) fn send(&mut self, id: UserId, text: &Rc<str>) {
        if !self.may_show(id, text.len(), true) {
            return;
        }
        let Some(user) = self.users.get_mut(id) else { return };
        user.session.in_call(self.call);
        // The world may keep it for further use, or the next actions show it to others.
        if Rc::strong_count(text) > 1 {
            if let Some(wire) = self.shared.encode(text, &mut user.session) {
                if self.make_room(id, wire.len()) {
                    let Some(user) = self.users.get(id) else { return };
                    let sent = self.reactor.send_shared(user.conn, &wire);
                    self.sent(id, wire.len(), sent);
                }
                return;
            }
        }
        self.send_output(id, Output::Text(text));
    }

    /// Sends a message of GMCP.
    pub(super) fn send_gmcp(&mut self, id: UserId, package: &str, data: &str) {
        // The line that it belongs to is counted.
        if self.may_show(id, package.len() + data.len(), false) {
            self.send_output(id, Output::Gmcp { package, data });
        }
    }

    /// Whether a text may be sent to a user now. If not it is left out, and counted with `counts`.
    fn may_show(&mut self, id: UserId, bytes: usize, counts: bool) -> bool {
        if self.answering == Some(id) {
            return true;
        }
        self.look_at_backlog(id);
        if self.fits_as_answer(id, bytes) {
            let Some(user) = self.users.get_mut(id) else { return false };
            if user.session.holds_back() {
                user.backlog.hold_back_answer(bytes);
                user.answered = true;
            }
            return true;
        }
        let was_behind = self.users.get(id).is_some_and(|user| user.backlog.is_behind());
        let room = self.room_for(id, bytes);
        let Some(user) = self.users.get_mut(id) else { return false };
        if room == Room::Send {
            if user.session.holds_back() {
                user.backlog.hold_back(bytes);
            }
            return true;
        }
        if counts {
            user.backlog.leave_out();
            self.status.limits.left_out += 1;
        }
        if !was_behind {
            self.wakeups.schedule(id, &mut user.limits.wake_at, self.now + BACKLOG_CHECK);
            let peer = user.info.peer;
            if let Some(left_out) = self.may_log(LogKind::Behind, peer.ip()) {
                if let Some(user) = self.users.get(id) {
                    about!(info, user, left_out, "reads more slowly than others talk; texts are left out");
                }
            }
        }
        false
    }

    /// Whether bytes are an answer: to a command, to what the world holds a user's lines for, or a text that is longer
    /// than the output limit for a user who has read everything.
    fn is_answer(&self, id: UserId, bytes: usize) -> bool {
        let limit = self.operations.config.output_limit_bytes;
        self.answering == Some(id)
            || self.users.get(id).is_some_and(|user| user.held || bytes > limit && self.waiting(user) == 0)
    }

    /// The same for a text that is still to be encoded, which may double it. A text that is too long for any answer is
    /// left out, unless it is one to a command.
    pub(super) fn fits_as_answer(&self, id: UserId, bytes: usize) -> bool {
        let Some(user) = self.users.get(id).filter(|_| self.is_answer(id, bytes)) else { return false };
        self.answering == Some(id) || self.waiting(user) + 2 * bytes <= LONGEST_ANSWER_BYTES
    }

    fn waiting(&self, user: &User) -> usize {
        user.backlog.waiting(self.reactor.queued_bytes(user.conn).unwrap_or(0))
    }

    /// Whether bytes that are not an answer fit into the output limit of a user.
    pub(super) fn room_for(&mut self, id: UserId, bytes: usize) -> Room {
        let Some(user) = self.users.get_mut(id) else { return Room::LeaveOut };
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        user.backlog.room(bytes, queued, self.operations.config.output_limit_bytes, self.now)
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

    /// Sends what a session writes.
    pub(super) fn send_by(&mut self, id: UserId, write: impl FnOnce(&mut Session, &mut Vec<u8>)) {
        let Some(user) = self.users.get_mut(id) else { return };
        user.session.in_call(self.call);
        self.wire.clear();
        write(&mut user.session, &mut self.wire);
        self.send_wire(id);
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
            if !self.wire.is_empty() {
                // A compressed answer leaves here, and is an answer still.
                self.answering = user.answered.then_some(id);
                if self.make_room(id, self.wire.len()) {
                    let Some(user) = self.users.get(id) else { continue };
                    let sent = self.reactor.send(user.conn, &self.wire);
                    self.sent_flushed(id, self.wire.len(), sent);
                }
                self.answering = None;
                self.carry_out();
            }
            if let Some(user) = self.users.get_mut(id) {
                user.answered = false;
            }
        }
    }

    /// Sends the bytes in `wire`.
    pub(super) fn send_wire(&mut self, id: UserId) {
        if self.make_room(id, self.wire.len()) {
            let Some(user) = self.users.get(id) else { return };
            let sent = self.reactor.send(user.conn, &self.wire);
            self.sent(id, self.wire.len(), sent);
        }
    }

    /// Counts bytes that are about to be sent. A user whose queue has no room for them is disconnected: keeping them would
    /// let one client fill the memory [hc35].
    fn make_room(&mut self, id: UserId, bytes: usize) -> bool {
        let is_answer = self.is_answer(id, bytes);
        let Some(user) = self.users.get_mut(id) else { return false };
        let limit = self.operations.config.output_limit_bytes;
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        let answer = if is_answer { LONGEST_ANSWER_BYTES } else { user.backlog.unread_answer(queued) };
        if queued + bytes > 2 * limit + answer {
            self.too_slow(id);
            return false;
        }
        if is_answer {
            user.backlog.answers(bytes, queued);
            user.answered = true;
        }
        if queued + bytes > limit {
            user.backlog.watch(queued, self.now);
            self.wakeups.schedule(id, &mut user.limits.wake_at, self.now + BACKLOG_CHECK);
        }
        true
    }

    /// As below, and there is more to flush.
    fn sent(&mut self, id: UserId, bytes: usize, sent: Result<(), Error>) {
        self.users.flush_later(id);
        self.sent_flushed(id, bytes, sent);
    }

    fn sent_flushed(&mut self, id: UserId, bytes: usize, sent: Result<(), Error>) {
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
        let Some(user) = self.users.get(id) else { return };
        let peer = user.info.peer;
        self.status.too_slow += 1;
        if let Some(left_out) = self.may_log(LogKind::TooSlow, peer.ip()) {
            if let Some(user) = self.users.get(id) {
                about!(warn, user, left_out, "output limit reached");
            }
        }
        self.depart(id, Departure::TooSlow);
    }
}
