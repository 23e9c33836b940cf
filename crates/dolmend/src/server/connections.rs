//! The users' connections: arrivals, input, turns, output and departures.
//!
//! A user departs in one place, `depart`, whatever the cause: there the world gets `net_dead`, once, because the user
//! is taken out of the table first. The rest is a connection being closed, which the reactor finishes on its own.

use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use dolmen::{CloseReason, ConnId, ErrorKind, ListenerId, Token};

use super::{MAX_CLOSING_CONNECTIONS, Server};
use crate::config::PortKind;
use crate::layer::Output;
use crate::session::{Options, Session};
use crate::telnet::{Settings, mssp};
use crate::user::User;
use crate::world::{Action, Admission, ConnectInfo, Departure, Status, UserId, World};

/// Tokens of connections begin here; those below are the server's own.
const FIRST_USER_TOKEN: usize = 16;

/// The user whose connection has this token.
pub(super) fn user_of(token: Token) -> Option<UserId> {
    token.0.checked_sub(FIRST_USER_TOKEN).map(|number| UserId(number as u64))
}

/// A connection without a user: its last output is being sent.
#[derive(Debug)]
pub(super) struct Leaving {
    conn: ConnId,
    peer: SocketAddr,
}

fn count_compressed(status: &mut Status, session: &mut Session) {
    let compressed = session.take_compressed();
    status.compressed_plain_bytes += compressed.plain_bytes;
    status.compressed_wire_bytes += compressed.wire_bytes;
}

impl<W: World> Server<W> {
    pub(super) fn accept(&mut self, listener: ListenerId, stream: TcpStream, peer: SocketAddr) {
        let Some(kind) = self.ports.iter().find(|(id, ..)| *id == listener).map(|(_, _, kind)| *kind) else {
            return;
        };
        let number = self.next_user;
        let user = UserId(number as u64);
        self.next_user += 1;
        let full = self.users.len() >= self.max_users;
        if full && self.leaving.len() >= MAX_CLOSING_CONNECTIONS {
            self.status.refused += 1;
            tracing::debug!(%user, %peer, "turned away without a word");
            return;
        }
        // Lines are short and must not be delayed. If the call fails the connection is already broken.
        let _ = stream.set_nodelay(true);
        if kind == PortKind::Telnet {
            // The mark of an urgent signal is a part of the stream. Taken out of it, it would leave an IAC behind, which
            // takes the next byte for a command.
            let _ = socket2::SockRef::from(&stream).set_out_of_band_inline(true);
        }
        let conn = match self.reactor.add(stream, Token(FIRST_USER_TOKEN + number)) {
            Ok(conn) => conn,
            Err(error) => {
                self.status.refused += 1;
                tracing::warn!(%user, %peer, %error, "turned away without a word");
                return;
            }
        };
        if full {
            self.turn_away(user, conn, peer, kind, "The place is full. Please try again later.\n");
            return;
        }
        if self.leaving.len() >= MAX_CLOSING_CONNECTIONS {
            self.reset_oldest_closing();
        }
        let info = ConnectInfo { user, peer, kind };
        if let Admission::Refuse(text) = self.world.connect(&info) {
            self.turn_away(user, conn, peer, kind, &text);
            return;
        }
        tracing::info!(%user, %conn, %peer, %kind, "connected");
        self.status.accepted += 1;
        let mut session = Session::new(self.session_options(kind));
        // It leaves with the greeting: the reactor sends nothing before the next wait.
        self.wire.clear();
        session.open(&mut self.wire);
        let state =
            User { conn, info, session, in_queue: false, paused: false, unflushed: false, ends: None };
        self.users.insert(user, state);
        self.send_wire(user);
        let (world, mut turn) = self.turn();
        world.logon(&mut turn, user);
        self.carry_out();
    }

    /// What sessions of a port of this kind are built from.
    fn session_options(&self, kind: PortKind) -> Options {
        Options { kind, line_length_bytes: self.line_length_bytes, settings: Settings::default() }
    }

    fn turn_away(&mut self, user: UserId, conn: ConnId, peer: SocketAddr, kind: PortKind, text: &str) {
        self.status.refused += 1;
        tracing::info!(%user, %conn, %peer, "turned away");
        self.wire.clear();
        Session::new(self.session_options(kind)).send(Output::Text(text), &mut self.wire);
        // Neither call can fail in a way that matters: nothing is queued yet, and if the connection is closed the text
        // is of no use.
        let _ = self.reactor.send(conn, &self.wire);
        let _ = self.reactor.close(conn);
        self.leaving.insert(user, Leaving { conn, peer });
    }

    /// Resets the connection that has been closing for the longest time.
    fn reset_oldest_closing(&mut self) {
        let Some((id, Leaving { conn, peer })) = self.leaving.pop_first() else { return };
        tracing::debug!(user = %id, %conn, %peer, "reset to make room");
        let _ = self.reactor.abort(conn);
    }

    pub(super) fn receive(&mut self, id: Option<UserId>, data: &[u8]) {
        let Some((id, user)) = id.and_then(|id| Some((id, self.users.get_mut(id)?))) else { return };
        self.status.received_bytes += data.len() as u64;
        self.wire.clear();
        user.session.receive(data, Instant::now(), &mut self.wire);
        if user.session.is_behind() && !user.paused {
            user.paused = true;
            let _ = self.reactor.pause(user.conn);
        }
        self.users.enqueue(id);
        if !self.wire.is_empty() {
            self.send_wire(id);
            self.carry_out();
        }
        self.client_events(id);
        if self.users.get(id).is_some_and(|user| user.session.wants_close()) {
            self.depart(id, Departure::Lost);
            self.carry_out();
        }
    }

    pub(super) fn end_of_input(&mut self, id: Option<UserId>) {
        let Some((id, user)) = id.and_then(|id| Some((id, self.users.get_mut(id)?))) else { return };
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
            self.wire.clear();
            let first = user.session.is_at_first_line();
            if let Some(line) = user.session.next_line(&mut self.wire) {
                if user.paused && user.session.has_caught_up() {
                    user.paused = false;
                    let _ = self.reactor.resume(user.conn);
                }
                self.users.enqueue(id);
                self.status.lines += 1;
                if !self.wire.is_empty() {
                    self.send_wire(id);
                }
                if first && line.text == mssp::REQUEST {
                    let text = self.server_status().to_text();
                    self.send(id, &text.into());
                    continue;
                }
                if line.dropped_chars > 0 {
                    let text =
                        format!("Your line was too long: {} characters were cut off.\n", line.dropped_chars);
                    self.actions.push(Action::Send { user: id, text: text.into() });
                }
                let (world, mut turn) = self.turn();
                world.process_input(&mut turn, id, &line.text);
            } else if let Some(why) = user.ends {
                self.depart(id, why);
            }
            self.carry_out();
        }
    }

    pub(super) fn send(&mut self, id: UserId, text: &Rc<str>) {
        let Some(user) = self.users.get_mut(id) else { return };
        // The world may keep it for further use, or the next actions show it to others.
        if Rc::strong_count(text) > 1 {
            if let Some(wire) = self.shared.encode(text, &mut user.session) {
                let sent = self.reactor.send_shared(user.conn, &wire);
                return self.sent(id, wire.len(), sent);
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
        self.wire.clear();
        write(&mut user.session, &mut self.wire);
        self.send_wire(id);
    }

    /// Marks prompts, and sends what the sessions hold back until the end of the round.
    pub(super) fn flush_output(&mut self) {
        let now = Instant::now();
        while let Some(id) = self.users.next_unflushed() {
            let Some(user) = self.users.get_mut(id) else { continue };
            self.wire.clear();
            user.session.flush(now, &mut self.wire);
            count_compressed(&mut self.status, &mut user.session);
            if !self.wire.is_empty() {
                let sent = self.reactor.send(user.conn, &self.wire);
                self.sent_flushed(id, self.wire.len(), sent);
                self.carry_out();
            }
        }
    }

    /// Sends the bytes in `wire`.
    fn send_wire(&mut self, id: UserId) {
        let Some(user) = self.users.get(id) else { return };
        let sent = self.reactor.send(user.conn, &self.wire);
        self.sent(id, self.wire.len(), sent);
    }

    /// As below, and there is more to flush.
    fn sent(&mut self, id: UserId, bytes: usize, sent: Result<(), dolmen::Error>) {
        self.users.flush_later(id);
        self.sent_flushed(id, bytes, sent);
    }

    /// A user whose queue has no room for a text is disconnected: output with a hole in it would be worse, and keeping
    /// it would let one client fill the memory [hc35].
    fn sent_flushed(&mut self, id: UserId, bytes: usize, sent: Result<(), dolmen::Error>) {
        let Some(user) = self.users.get(id) else { return };
        match sent {
            Ok(()) => self.status.sent_bytes += bytes as u64,
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull | ErrorKind::TooLarge) => {
                self.status.too_slow += 1;
                tracing::warn!(user = %id, conn = %user.conn, peer = %user.info.peer, "output limit reached");
                self.depart(id, Departure::TooSlow);
            }
            // The connection has ended, and its `Closed` event follows.
            Err(_) => {}
        }
    }

    /// Removes a user, informs the world, and closes the connection. The caller carries out the resulting actions of
    /// the world later.
    pub(super) fn depart(&mut self, id: UserId, why: Departure) {
        let Some(mut user) = self.users.remove(id) else { return };
        tracing::info!(user = %id, conn = %user.conn, peer = %user.info.peer, %why, "departed");
        let let_go = match why {
            Departure::TooSlow => self.reactor.abort(user.conn),
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
