//! The users' connections: input, turns, output and departures.
//!
//! A user departs in one place, `depart`, whatever the cause: there the world gets `net_dead`, once, because the user
//! is taken out of the table first. The rest is a connection being closed, which the reactor finishes on its own.

use std::net::SocketAddr;
use std::rc::Rc;

use dolmen::{CloseReason, ConnId, Error, ErrorKind, Token};

use super::{FIRST_USER_TOKEN, LogKind, Server};
use crate::config::PortKind;
use crate::layer::Output;
use crate::line::Line;
use crate::session::Session;
use crate::telnet::mssp;
use crate::world::{Action, Departure, Status, UserId, World};

/// The user whose connection has this token.
pub(super) fn user_of(token: Token) -> Option<UserId> {
    token.0.checked_sub(FIRST_USER_TOKEN).map(|number| UserId(number as u64))
}

/// A connection without a user: its last output is being sent.
#[derive(Debug)]
pub(super) struct Leaving {
    pub conn: ConnId,
    pub peer: SocketAddr,
}

fn count_compressed(status: &mut Status, session: &mut Session) {
    let compressed = session.take_compressed();
    status.compressed_plain_bytes += compressed.plain_bytes;
    status.compressed_wire_bytes += compressed.wire_bytes;
}

impl<W: World> Server<W> {
    /// Resets the connection that has been closing for the longest time.
    pub(super) fn reset_oldest_closing(&mut self) {
        let Some((id, Leaving { conn, peer })) = self.leaving.pop_first() else { return };
        tracing::debug!(user = %id, %conn, %peer, "reset to make room");
        let _ = self.reactor.abort(conn);
    }

    pub(super) fn receive(&mut self, id: Option<UserId>, data: &[u8]) {
        let Some(id) = id else { return };
        self.status.received_bytes += data.len() as u64;
        let data = self.receive_header(id, data);
        if data.is_empty() || !self.count_received(id, data) {
            return self.carry_out();
        }
        let Some(user) = self.users.get_mut(id) else { return };
        if user.info.kind == PortKind::Binary {
            return self.process_bytes(id, data);
        }
        self.wire.clear();
        user.session.receive(data, self.now, &mut self.wire);
        self.users.enqueue(id);
        self.adjust_reading(id);
        if !self.wire.is_empty() {
            self.send_wire(id);
            self.carry_out();
        }
        self.client_events(id);
        self.schedule_deadline(id);
        if self.users.get(id).is_some_and(|user| user.session.wants_close()) {
            self.depart(id, Departure::Lost);
            self.carry_out();
        }
    }

    /// Bytes of a user of a binary port are the world's, in the order of their arrival.
    fn process_bytes(&mut self, id: UserId, data: &[u8]) {
        self.adjust_reading(id);
        self.answering = Some(id);
        let (world, mut turn) = self.turn();
        world.process_bytes(&mut turn, id, data);
        self.carry_out();
        self.answering = None;
    }

    pub(super) fn send_bytes(&mut self, id: UserId, bytes: &[u8]) {
        if self.users.get(id).is_some_and(|user| user.info.kind == PortKind::Binary) {
            self.wire.clear();
            self.wire.extend_from_slice(bytes);
            self.send_wire(id);
        }
    }

    pub(super) fn end_of_input(&mut self, id: Option<UserId>) {
        let Some(id) = id else { return };
        self.reset_unnamed(id, "closed without a PROXY header");
        let Some(user) = self.users.get_mut(id) else { return };
        user.session.finish();
        user.ends = Some(Departure::PeerClosed);
        self.users.enqueue(id);
    }

    pub(super) fn closed(&mut self, id: Option<UserId>, reason: CloseReason) {
        let Some(id) = id else { return };
        if let Some(Leaving { conn, peer }) = self.leaving.remove(&id) {
            tracing::debug!(user = %id, %conn, %peer, %reason, "connection closed");
            return;
        }
        if self.take_unnamed(id).is_some() {
            return;
        }
        // The lines that arrived whole before the connection broke are still processed. An incomplete line is not: half
        // a command may be another command.
        if let Some(user) = self.users.get_mut(id) {
            tracing::info!(user = %id, conn = %user.conn, peer = %user.info.peer, %reason, "connection lost");
            user.ends = Some(Departure::Lost);
            self.users.enqueue(id);
        }
    }

    /// One line for each user who is in the queue now.
    pub(super) fn give_turns(&mut self) {
        for _ in 0..self.users.waiting() {
            let Some((id, user)) = self.users.next_turn() else { continue };
            if user.held {
                continue;
            }
            let (has_line, ends) = (user.session.has_line(), user.ends);
            if has_line && self.may_command(id) {
                self.run_command(id);
            } else if let Some(why) = ends.filter(|why| !has_line || *why == Departure::Lost) {
                // The lines of a broken connection do not wait: no one would read the answers.
                self.depart(id, why);
                self.carry_out();
            }
        }
    }

    /// Lets the lines of a user wait, or processes them again.
    pub(super) fn hold(&mut self, id: UserId, on: bool) {
        if let Some(user) = self.users.get_mut(id) {
            user.held = on;
            self.users.enqueue(id);
        }
    }

    /// Carries out a user's next line.
    fn run_command(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        self.wire.clear();
        let first = user.session.is_at_first_line();
        let Some(line) = user.session.next_line(&mut self.wire) else { return };
        user.answer_bytes = 0;
        self.answering = Some(id);
        self.users.enqueue(id);
        self.adjust_reading(id);
        self.status.lines += 1;
        if !self.wire.is_empty() {
            self.send_wire(id);
        }
        if first && line.text == mssp::REQUEST {
            let text = self.server_status().to_text();
            self.send(id, &text.into());
        } else {
            self.process_line(id, line);
        }
        self.carry_out();
        self.answering = None;
    }

    fn process_line(&mut self, id: UserId, line: Line) {
        if line.dropped_chars > 0 {
            let text = format!("Your line was too long: {} characters were cut off.\n", line.dropped_chars);
            self.actions.push(Action::Send { user: id, text: text.into() });
        }
        let (world, mut turn) = self.turn();
        world.process_input(&mut turn, id, &line.text);
    }

    pub(super) fn send(&mut self, id: UserId, text: &Rc<str>) {
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

    /// Counts bytes that are about to be sent. A user whose queue has no room for them is disconnected: output with a
    /// hole in it would be worse, and keeping it would let one client fill the memory [hc35].
    fn make_room(&mut self, id: UserId, bytes: usize) -> bool {
        let Some(user) = self.users.get(id) else { return false };
        if !self.has_room(id, user, bytes) {
            self.too_slow(id);
            return false;
        }
        if self.answering == Some(id) {
            if let Some(user) = self.users.get_mut(id) {
                user.answer_bytes += bytes;
                user.answered = true;
            }
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
            Ok(()) => self.status.sent_bytes += bytes as u64,
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull | ErrorKind::TooLarge) => {
                self.too_slow(id)
            }
            // The connection has ended, and its `Closed` event follows.
            Err(_) => {}
        }
    }

    fn too_slow(&mut self, id: UserId) {
        let Some(user) = self.users.get(id) else { return };
        let (conn, peer) = (user.conn, user.info.peer);
        self.status.too_slow += 1;
        if let Some(left_out) = self.may_log(LogKind::TooSlow, peer.ip()) {
            tracing::warn!(user = %id, %conn, %peer, left_out, "output limit reached");
        }
        self.depart(id, Departure::TooSlow);
    }

    /// Removes a user, informs the world, and closes the connection. The caller carries out the resulting actions of
    /// the world later.
    pub(super) fn depart(&mut self, id: UserId, why: Departure) {
        let Some(mut user) = self.users.remove(id) else { return };
        self.wakeups.cancel(id, &mut user.limits.wake_at);
        self.gate.leave(user.limits.pass());
        match why {
            // A line that is limited in number has said so.
            Departure::Stranger | Departure::TooSlow | Departure::LoginTimeout | Departure::Idle => {
                tracing::debug!(user = %id, conn = %user.conn, peer = %user.info.peer, %why, "departed");
            }
            _ => tracing::info!(user = %id, conn = %user.conn, peer = %user.info.peer, %why, "departed"),
        }
        let let_go = match why {
            Departure::TooSlow | Departure::Stranger => self.reactor.abort(user.conn),
            _ => {
                self.wire.clear();
                user.session.end(&why.to_string(), &mut self.wire);
                count_compressed(&mut self.status, &mut user.session);
                // If it fails, the connection has ended, or there is no room for it, and then no one reads it.
                let _ = self.reactor.send(user.conn, &self.wire);
                self.reactor.close(user.conn)
            }
        };
        // An error means that the connection has been closed already, and that this was reported.
        if let_go.is_ok() {
            self.leaving.insert(id, Leaving { conn: user.conn, peer: user.info.peer });
        }
        let (world, mut turn) = self.turn();
        world.net_dead(&mut turn, id, why);
    }
}
