//! The users' connections: input, turns and departures.
//!
//! A user departs in one place, `depart`, whatever the cause: there the world gets `net_dead`, once, because the user
//! is taken out of the table first. The rest is a connection being closed, which the crew finishes on its own.

use dolmen::{CrewEvent, LeaveReason, Token};

use super::Server;
use super::leaving::Leaving;
use crate::endpoint::{Endpoint, Input, Order, Turn, What};
use crate::line::Line;
use crate::telnet::mssp;
use crate::user::about;
use crate::world::{Action, Departure, UserId, World};

/// The token of a user's connection.
pub(super) fn token_of(id: UserId) -> Token {
    Token(id.0 as usize)
}

/// The user whose connection has this token.
fn user_of(token: Token) -> UserId {
    UserId(token.0 as u64)
}

impl<W: World> Server<W> {
    /// Handles what the crew has for the server.
    pub(super) fn crew_event(&mut self, event: CrewEvent<Endpoint>) {
        match event {
            CrewEvent::Message { token, message, .. } => self.input(user_of(token), message),
            CrewEvent::Left { token, reason, .. } => self.left(user_of(token), &reason),
            CrewEvent::MemberFailed { member, cause, .. } => {
                tracing::error!(member, cause, "an I/O thread has failed; its users are disconnected");
                self.set_threads();
            }
            CrewEvent::Drained { token, .. } => self.has_room(user_of(token)),
            _ => {}
        }
    }

    fn input(&mut self, id: UserId, Input { received, what }: Input) {
        match what {
            What::Named(player) => return self.name_player(id, player),
            What::BadHeader(why) => return self.reset_unnamed(id, why),
            _ => {}
        }
        self.count_received(id, received);
        let Some(user) = self.users.get_mut(id) else { return };
        match what {
            What::Line { line, is_first } => user.lines.push_back((line, is_first)),
            What::Client(event, client) => user.events.push_back((event, client)),
            What::PeerClosed => user.ends = Some(Departure::PeerClosed),
            What::Bytes(bytes) => self.process_bytes(id, &bytes),
            What::Broken => self.depart(id, Departure::Lost),
            What::Stranger(stranger) => self.end_stranger(id, stranger),
            What::Throttled => self.log_throttled(id),
            What::Behind => self.log_behind(id),
            What::TooSlow => self.too_slow(id),
            What::Received | What::Named(_) | What::BadHeader(_) => {}
        }
        self.users.enqueue(id);
        self.carry_out();
    }

    /// Bytes of a user of a binary port are the world's, in the order of their arrival.
    fn process_bytes(&mut self, id: UserId, data: &[u8]) {
        self.answering = Some(id);
        let (world, mut turn) = self.turn();
        world.process_bytes(&mut turn, id, data);
        self.carry_out();
        self.answering = None;
    }

    fn left(&mut self, id: UserId, reason: &LeaveReason) {
        self.operations.closed.push(id);
        if let LeaveReason::Refused(error) = reason {
            tracing::warn!(user = %id, %error, "turned away without a word");
        }
        if let Some(Leaving { link, peer }) = self.leaving.remove(id) {
            tracing::debug!(user = %id, conn = %link, %peer, %reason, "connection closed");
            return;
        }
        if self.take_unnamed(id).is_some() {
            return;
        }
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
            let (has_event, held) = (!user.events.is_empty(), user.held);
            let has_input = has_event || !held && !user.lines.is_empty();
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
        let Some(user) = self.users.get_mut(id) else { return };
        if std::mem::replace(&mut user.held, on) != on {
            self.order(id, Order::Hold(on));
        }
        self.ask_for_line(id);
        self.users.enqueue(id);
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

    /// Asks for the next line, if the last one is answered.
    pub(super) fn ask_for_line(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        if !user.held && user.lines.is_empty() && std::mem::take(&mut user.wants_line) {
            self.order(id, Order::Next(Turn::Line));
        }
    }

    /// Carries out a user's next line.
    fn run_command(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        let Some((line, is_first)) = user.lines.pop_front() else { return };
        (user.wants_line, user.has_spoken) = (true, true);
        user.limits.commanded(self.now);
        self.users.enqueue(id);
        // What is sent to the user from here on is the answer.
        self.answering = Some(id);
        self.status.lines += 1;
        if is_first && line.text == mssp::REQUEST {
            let text = self.server_status().to_text();
            self.send(id, text.into());
        } else {
            self.process_line(id, line);
        }
        self.carry_out();
        self.answering = None;
        self.ask_for_line(id);
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
            // A line that is limited in number has said so. The end of a player whose log-on was logged is always logged.
            Departure::Stranger | Departure::TooSlow | Departure::LoginTimeout | Departure::Idle
                if !user.limits.is_logged_on() =>
            {
                about!(debug, &user, %why, "departed");
            }
            _ => about!(info, &user, %why, "departed"),
        }
        let let_go = match why {
            Departure::TooSlow | Departure::Stranger => self.crew.abort(&mut self.reactor, user.link),
            _ => {
                let order = Order::End(why.to_string().into());
                // If it fails, the connection has ended, or there is no room for it, and then no one reads it.
                let _ = self.crew.send(&mut self.reactor, user.link, order);
                self.crew.close(&mut self.reactor, user.link)
            }
        };
        // An error means that the connection has been closed already, and that this was reported.
        if let_go.is_ok() {
            self.leaving.insert(id, Leaving { link: user.link, peer: user.info.peer });
        }
        let (world, mut turn) = self.turn();
        world.net_dead(&mut turn, id, why);
    }
}
