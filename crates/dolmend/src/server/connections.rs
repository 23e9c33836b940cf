//! The users' connections: input, turns and departures.
//!
//! A user departs in one place, `depart`, whatever the cause: there the world gets `net_dead`, once, because the user
//! is taken out of the table first. The rest is a connection being closed, which the reactor finishes on its own.

use dolmen::{CloseReason, Token};

use super::leaving::Leaving;
use super::output::{Share, count_compressed};
use super::{FIRST_USER_TOKEN, Server};
use crate::config::PortKind;
use crate::line::Line;
use crate::telnet::mssp;
use crate::user::about;
use crate::world::{Action, Departure, UserId, World};

/// The user whose connection has this token.
pub(super) fn user_of(token: Token) -> Option<UserId> {
    token.0.checked_sub(FIRST_USER_TOKEN).map(|number| UserId(number as u64))
}

impl<W: World> Server<W> {
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
            self.send_wire(id, self.share_of_protocols(id));
            self.carry_out();
        }
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
        if self.users.get(id).is_none_or(|user| user.info.kind != PortKind::Binary) {
            return;
        }
        // No part of a protocol that the server does not know can be left out.
        let Some(share) = self.admit_bytes(id, bytes.len()) else { return self.too_slow(id) };
        self.wire.clear();
        self.wire.extend_from_slice(bytes);
        self.send_wire(id, share);
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
        if let Some(Leaving { conn, peer }) = self.leaving.remove(id) {
            tracing::debug!(user = %id, %conn, %peer, %reason, "connection closed");
            return;
        }
        if self.take_unnamed(id).is_some() {
            return;
        }
        // The lines that arrived whole before the connection broke are still processed. An incomplete line is not: half
        // a command may be another command.
        if let Some(user) = self.users.get_mut(id) {
            about!(info, &*user, %reason, "connection lost");
            user.ends = Some(Departure::Lost);
            self.users.enqueue(id);
        }
    }

    /// One line for each user who is in the queue now, or one fact or request of the client, which come first.
    pub(super) fn give_turns(&mut self) {
        for _ in 0..self.users.waiting() {
            let Some((id, user)) = self.users.next_turn() else { continue };
            let (has_event, held) = (user.session.has_event(), user.held);
            let has_input = has_event || !held && user.session.has_line();
            let ends = user.ends.filter(|_| !held);
            if has_input && self.may_command(id) {
                if has_event { self.run_event(id) } else { self.run_command(id) }
            } else if let Some(why) = ends.filter(|why| !has_input || *why == Departure::Lost) {
                // The input of a broken connection does not wait: no one would read the answers.
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

    /// Notes whom the world's actions from this call release: what it sends them is what they have waited for.
    pub(super) fn note_releases(&mut self, actions: &[Action]) {
        for action in actions {
            let Action::Hold { user, on: false } = *action else { continue };
            if let Some(user) = self.users.get_mut(user).filter(|user| user.held) {
                user.released_in = self.call;
            }
        }
    }

    /// What is sent to a user from here on is the answer to a command.
    pub(super) fn begin_answer(&mut self, id: UserId) {
        self.answering = Some(id);
        self.users.enqueue(id);
        self.adjust_reading(id);
    }

    /// Carries out a user's next line.
    fn run_command(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        self.wire.clear();
        let first = user.session.is_at_first_line();
        let Some(line) = user.session.next_line(&mut self.wire) else { return };
        user.limits.commanded(self.now);
        self.begin_answer(id);
        self.status.lines += 1;
        if !self.wire.is_empty() {
            self.send_wire(id, Share::Answer);
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

    /// Removes a user, informs the world, and closes the connection. The caller carries out the resulting actions of
    /// the world later.
    pub(super) fn depart(&mut self, id: UserId, why: Departure) {
        let Some(mut user) = self.users.remove(id) else { return };
        self.wakeups.cancel(id, &mut user.limits.wake_at);
        self.gate.leave(user.limits.pass());
        match why {
            // A line that is limited in number has said so.
            Departure::Stranger | Departure::TooSlow | Departure::LoginTimeout | Departure::Idle => {
                about!(debug, &user, %why, "departed");
            }
            _ => about!(info, &user, %why, "departed"),
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
