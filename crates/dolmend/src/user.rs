//! A connected user: what the server knows, besides what the [endpoint](crate::endpoint) of the connection does.

use std::collections::VecDeque;

use dolmen::LinkId;

use crate::limits::UserLimits;
use crate::line::Line;
use crate::telnet::{Client, ClientEvent};
use crate::world::{ConnectInfo, Departure};

/// Logs a line about a user, with what identifies one: `about!(info, user, "a message")`.
macro_rules! about {
    ($level:ident, $user:expr, $($rest:tt)+) => {{
        let user: &crate::user::User = $user;
        tracing::$level!(user = %user.info.user, conn = %user.link, peer = %user.info.peer, $($rest)+)
    }};
}
pub(crate) use about;

/// A user who was let in and has not departed.
#[derive(Debug)]
pub(crate) struct User {
    /// The connection. It may be closed already while lines of it still wait.
    pub link: LinkId,
    /// The user's identity, for logs.
    pub info: ConnectInfo,
    /// The user's part of the limits.
    pub limits: UserLimits,
    /// Lines that wait for a turn: one, or the last ones of a connection that is gone. Each with whether it is the first.
    pub lines: VecDeque<(Line, bool)>,
    /// A fact or a request of the client that waits for a turn.
    pub events: VecDeque<(ClientEvent, Option<Box<Client>>)>,
    /// A line was carried out, and the endpoint has not been asked for the next one.
    pub wants_line: bool,
    /// A line was carried out.
    pub has_spoken: bool,
    /// Whether the user is in the queue for a turn.
    pub in_queue: bool,
    /// Whether the world waits for something before it takes more lines.
    pub held: bool,
    /// The call of the world that has released the user last: what it sends is an answer.
    pub released_in: u64,
    /// Texts that could not be sent to the endpoint, because too much was on its way there.
    pub unsent_texts: u64,
    /// Nothing is read because the budget of the address is spent.
    pub is_throttled: bool,
    /// Set when no more input will come: the reason why the user departs after the last waiting line.
    pub ends: Option<Departure>,
}

impl User {
    /// Whether there is something to do in the user's next turn.
    pub fn wants_turn(&self) -> bool {
        !self.events.is_empty() || !self.held && (!self.lines.is_empty() || self.ends.is_some())
    }
}
