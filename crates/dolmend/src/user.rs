//! A user who is connected: the session, and what the server knows of the connection.

use dolmen::ConnId;

use crate::session::Session;
use crate::world::{ConnectInfo, Departure};

/// Somebody who was let in and has not departed.
#[derive(Debug)]
pub(crate) struct User {
    /// The connection. It may be gone already while lines of it still wait.
    pub conn: ConnId,
    /// Who it is, for logs.
    pub info: ConnectInfo,
    /// The protocols.
    pub session: Session,
    /// Whether the user stands in the queue of those who get a turn.
    pub in_queue: bool,
    /// Whether reading was paused because too many lines wait.
    pub paused: bool,
    /// Set when no more input will come: why the user departs after the last waiting line.
    pub ends: Option<Departure>,
}

impl User {
    /// Whether there is something to do in the user's next turn.
    pub fn wants_turn(&self) -> bool {
        self.session.has_line() || self.ends.is_some()
    }
}
