//! [`CrewEvent`]: what a crew reports to the game.

use std::fmt;

use super::codec::Codec;
use super::notice::LeaveReason;
use crate::token::{LinkId, Token};

/// What has happened to a connection of a crew, or to one of its members. See [`Crew::next_event`](crate::Crew::next_event).
#[non_exhaustive]
pub enum CrewEvent<C: Codec> {
    /// A codec has delivered a message. Those of one connection come in the order in which they were delivered.
    Message {
        /// The connection.
        link: LinkId,
        /// Its token.
        token: Token,
        /// The message.
        message: C::Message,
    },
    /// There is room for replies again, after a [`send`](crate::Crew::send) was refused. Once for each time that replies were
    /// refused.
    Drained {
        /// The connection.
        link: LinkId,
        /// Its token.
        token: Token,
    },
    /// The connection has ended. Once for each connection that was added, and the last event of it.
    Left {
        /// The connection.
        link: LinkId,
        /// Its token.
        token: Token,
        /// How it ended.
        reason: LeaveReason,
    },
    /// A member has failed: a codec has panicked, or the system has refused to wait. A [`Left`](CrewEvent::Left) event for
    /// each of its connections follows immediately, in the order of their arrival. The other members go on, and newcomers
    /// are given to them. Without any, newcomers leave at once: what has ended the members must not end the game.
    /// [`set_threads`](crate::Crew::set_threads) replaces those that have failed.
    MemberFailed {
        /// Its number.
        member: usize,
        /// What the panic, or the system, has said.
        cause: String,
    },
}

impl<C: Codec> fmt::Debug for CrewEvent<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrewEvent::Message { link, token, .. } => {
                f.debug_struct("Message").field("link", link).field("token", token).finish_non_exhaustive()
            }
            CrewEvent::Drained { link, token } => {
                f.debug_struct("Drained").field("link", link).field("token", token).finish()
            }
            CrewEvent::Left { link, token, reason } => {
                let mut debug = f.debug_struct("Left");
                debug.field("link", link).field("token", token).field("reason", reason).finish()
            }
            CrewEvent::MemberFailed { member, cause } => {
                f.debug_struct("MemberFailed").field("member", member).field("cause", cause).finish()
            }
        }
    }
}
