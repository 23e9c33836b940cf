//! A connected user: the session, and the server's data about the connection.

use std::time::Instant;

use dolmen::ConnId;

use crate::limits::{Backlog, UserLimits};
use crate::session::Session;
use crate::world::{ConnectInfo, Departure};

/// Logs a line about a user, with what identifies one: `about!(info, user, "a message")`.
macro_rules! about {
    ($level:ident, $user:expr, $($rest:tt)+) => {{
        let user: &crate::user::User = $user;
        tracing::$level!(user = %user.info.user, conn = %user.conn, peer = %user.info.peer, $($rest)+)
    }};
}
pub(crate) use about;

/// A user who was let in and has not departed.
#[derive(Debug)]
pub(crate) struct User {
    /// The connection. It may be closed already while lines of it still wait.
    pub conn: ConnId,
    /// The user's identity, for logs.
    pub info: ConnectInfo,
    /// The protocols.
    pub session: Session,
    /// The user's part of the limits.
    pub limits: UserLimits,
    /// What waits to be read, and what was left out.
    pub backlog: Backlog,
    /// Whether an answer was sent since the last flush.
    pub answered: bool,
    /// Whether the user is in the queue for a turn.
    pub in_queue: bool,
    /// Whether the world waits for something before it takes more lines.
    pub held: bool,
    /// The call of the world that has released the user last: what it sends is an answer.
    pub released_in: u64,
    /// Since when nothing is read: too much waits, or the budget is spent.
    pub paused_since: Option<Instant>,
    /// Whether the user is in the list of those whose output is to be flushed.
    pub unflushed: bool,
    /// Set when no more input will come: the reason why the user departs after the last waiting line.
    pub ends: Option<Departure>,
}

impl User {
    /// Whether there is something to do in the user's next turn.
    pub fn wants_turn(&self) -> bool {
        self.session.has_event() || !self.held && (self.session.has_line() || self.ends.is_some())
    }
}
