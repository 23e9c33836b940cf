//! The game's side of the server: what a world is told, and what it may do.
//!
//! A [`World`] sees no sockets, threads or clocks. It is called with a [`Turn`], puts into it
//! what it wants done, and returns; the server carries it out afterwards, in order. So a
//! world is plain code that a test can call, and nothing that it does can call it again
//! before it has returned.
//!
//! What happens to one user is always: [`connect`](World::connect), then
//! [`logon`](World::logon), then any number of [`process_input`](World::process_input), then
//! [`net_dead`](World::net_dead) exactly once, whatever the cause. A user that `connect`
//! refused is never heard of again.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::config::PortKind;

/// A user, for as long as the server runs: numbers are never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Who is connecting, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The number that the user has from now on.
    pub user: UserId,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// What is spoken on it.
    pub kind: PortKind,
}

/// What a world says to a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Come in.
    Accept,
    /// Stay out. The text is shown before the connection is closed.
    Refuse(String),
}

/// Why a user is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The world disconnected the user: for most, because they quit.
    Disconnected,
    /// The client closed the connection, after all its lines were processed.
    PeerClosed,
    /// The connection broke.
    Lost,
    /// The user read so slowly that the output limit was reached.
    TooSlow,
    /// The server shuts down.
    Shutdown,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Departure::Disconnected => "disconnected by the world",
            Departure::PeerClosed => "closed by the client",
            Departure::Lost => "connection lost",
            Departure::TooSlow => "output limit reached",
            Departure::Shutdown => "server shutdown",
        })
    }
}

/// What the server has counted since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// How long the server has been running.
    pub uptime: Duration,
    /// Users now.
    pub users: usize,
    /// Connections that have no user any more: their last output is on its way.
    pub leaving: usize,
    /// Connections that were let in, ever.
    pub accepted: u64,
    /// Connections that were turned away, ever.
    pub refused: u64,
    /// Users who were disconnected because they read too slowly, ever.
    pub too_slow: u64,
    /// Lines that were processed.
    pub lines: u64,
    /// Bytes that were received.
    pub received_bytes: u64,
    /// Bytes that were handed over to be sent.
    pub sent_bytes: u64,
    /// Times that the server waited for something to happen.
    pub waits: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "uptime_s={} users={} leaving={} accepted={} refused={} too_slow={} lines={} received_bytes={} sent_bytes={} waits={}",
            self.uptime.as_secs(),
            self.users,
            self.leaving,
            self.accepted,
            self.refused,
            self.too_slow,
            self.lines,
            self.received_bytes,
            self.sent_bytes,
            self.waits,
        )
    }
}

/// Something that a world wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show a text to a user.
    Send {
        /// Who sees it.
        user: UserId,
        /// The text; lines end in a line feed.
        text: Rc<str>,
    },
    /// Disconnect a user, once everything sent before is on its way.
    Disconnect {
        /// Who goes.
        user: UserId,
    },
    /// Show a text on the operator's console.
    Console {
        /// The text; lines end in a line feed.
        text: String,
    },
    /// Ask the operator for a line.
    Ask {
        /// What stands before it.
        prompt: String,
        /// Whether what is typed is shown.
        echo: bool,
    },
    /// Do what is done at the end of the console's input.
    EndConsole,
    /// Shut the server down in order.
    Shutdown,
}

/// One call of a world: what it may look at, and what it wants done.
#[derive(Debug)]
pub struct Turn<'a> {
    users: &'a [UserId],
    status: Status,
    actions: &'a mut Vec<Action>,
}

impl<'a> Turn<'a> {
    /// A turn among these users. What the world wants done is appended to `actions`.
    pub fn new(users: &'a [UserId], status: Status, actions: &'a mut Vec<Action>) -> Turn<'a> {
        Turn { users, status, actions }
    }

    /// Shows a text to a user; lines end in a line feed. Nothing happens if the user is gone.
    ///
    /// The same text for many users is best made an `Rc<str>` once.
    pub fn send(&mut self, user: UserId, text: impl Into<Rc<str>>) {
        self.actions.push(Action::Send { user, text: text.into() });
    }

    /// Shows a text to every user, those included who are still logging on.
    pub fn broadcast(&mut self, text: impl Into<Rc<str>>) {
        let text = text.into();
        self.actions.extend(self.users.iter().map(|&user| Action::Send { user, text: Rc::clone(&text) }));
    }

    /// Disconnects a user, once everything sent before is on its way. The world is told by
    /// [`World::net_dead`] as for any other departure.
    pub fn disconnect(&mut self, user: UserId) {
        self.actions.push(Action::Disconnect { user });
    }

    /// Shows a text on the operator's console.
    pub fn console(&mut self, text: impl Into<String>) {
        self.actions.push(Action::Console { text: text.into() });
    }

    /// Asks the operator for a line: from here on `prompt` stands before what is typed, which
    /// is not shown unless `echo`. For a terminal; where there is none nothing happens.
    pub fn ask(&mut self, prompt: impl Into<String>, echo: bool) {
        self.actions.push(Action::Ask { prompt: prompt.into(), echo });
    }

    /// Does what is done at the end of the console's input: a script is over and with it the
    /// server, a terminal stays.
    pub fn end_console(&mut self) {
        self.actions.push(Action::EndConsole);
    }

    /// Shuts the server down in order.
    pub fn shutdown(&mut self) {
        self.actions.push(Action::Shutdown);
    }

    /// The users that are connected, in the order of their arrival.
    pub fn users(&self) -> &[UserId] {
        self.users
    }

    /// What the server has counted, as of the beginning of this turn.
    pub fn status(&self) -> &Status {
        &self.status
    }
}

/// A game.
///
/// No method may block: while it runs, nobody else is served.
pub trait World {
    /// Somebody connects. Nothing was sent yet.
    fn connect(&mut self, info: &ConnectInfo) -> Admission;

    /// The connection stands: greet the user.
    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId);

    /// A user sent a line. It holds no line end and no control characters; it may be empty.
    ///
    /// In one round of the server every user has one line processed at most, so somebody who
    /// pastes a book holds nobody up.
    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str);

    /// A user is gone. What is sent to them now is lost.
    fn net_dead(&mut self, turn: &mut Turn<'_>, user: UserId, why: Departure);

    /// How often [`heart_beat`](World::heart_beat) is to be called. Without one, the server
    /// sleeps until somebody does something.
    fn heart_beat_interval(&self) -> Option<Duration> {
        None
    }

    /// The time of a heart beat has come.
    fn heart_beat(&mut self, turn: &mut Turn<'_>) {
        let _ = turn;
    }

    /// A console was opened: a terminal, or a script.
    fn console_opened(&mut self, turn: &mut Turn<'_>, at_terminal: bool) {
        let _ = (turn, at_terminal);
    }

    /// The operator typed a line at the console.
    fn console_line(&mut self, turn: &mut Turn<'_>, line: &str) {
        let _ = line;
        turn.console("This world has no console commands.\n");
    }

    /// The server begins to shut down: the last occasion to say something. Every user is
    /// disconnected afterwards.
    fn shutdown(&mut self, turn: &mut Turn<'_>) {
        turn.broadcast("\nThe server is shutting down. Good-bye.\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_keep_their_order_and_a_broadcast_reaches_everyone() {
        let users = [UserId(1), UserId(2)];
        let mut actions = Vec::new();
        let mut turn = Turn::new(&users, Status::default(), &mut actions);
        turn.send(UserId(2), "a\n");
        turn.broadcast("b\n");
        turn.disconnect(UserId(1));
        turn.shutdown();
        let send = |user, text: &str| Action::Send { user: UserId(user), text: text.into() };
        assert_eq!(
            actions,
            [
                send(2, "a\n"),
                send(1, "b\n"),
                send(2, "b\n"),
                Action::Disconnect { user: UserId(1) },
                Action::Shutdown
            ]
        );
    }
}
