//! What crosses between the game and a member, both ways.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::codec::Codec;
use super::ledger::Ledger;
use crate::close_reason::CloseReason;
use crate::error::Error;
use crate::token::LinkId;

/// From the game to a member. `S` is the stream, or what stands for it.
pub(crate) enum Order<S, C: Codec> {
    Add(Box<Newcomer<S, C>>),
    To(Request<C>),
    /// The game's round is over.
    EndRound,
    Stop,
}

/// What a connection is to do.
pub(crate) enum Request<C: Codec> {
    /// With its weight.
    Reply(LinkId, C::Reply, u64),
    /// One reply to many, each with a copy of its own, and the weight of each.
    Broadcast(Box<[LinkId]>, Box<dyn Copies<C>>, u64),
    Pause(LinkId),
    Resume(LinkId),
    Close(LinkId),
    Abort(LinkId),
}

/// Makes copies of a reply, on the member's thread.
pub(crate) trait Copies<C: Codec>: Send {
    fn copy(&self) -> C::Reply;
}

/// A reply that can be copied.
pub(super) struct Original<R>(pub(super) R);

impl<C: Codec> Copies<C> for Original<C::Reply>
where
    C::Reply: Clone,
{
    fn copy(&self) -> C::Reply {
        self.0.clone()
    }
}

/// A connection on its way to its member.
pub(crate) struct Newcomer<S, C> {
    pub(super) link: LinkId,
    pub(super) stream: S,
    pub(super) codec: C,
    pub(super) ledger: Arc<Ledger>,
}

impl<S, C> Newcomer<S, C> {
    /// The same with the stream itself.
    pub(crate) fn map<T>(self, stream: impl FnOnce(S) -> T) -> Newcomer<T, C> {
        let Newcomer { link, stream: from, codec, ledger } = self;
        Newcomer { link, stream: stream(from), codec, ledger }
    }
}

/// From a member to the game.
pub(crate) enum Notice<C: Codec> {
    Message(LinkId, C::Message),
    /// There is room again for replies.
    Drained(LinkId),
    Left(LinkId, LeaveReason),
    /// The member has failed, and this is its last notice. The dispatcher puts in which member it is.
    Failed(Option<Serial>, String),
}

/// Which of all members that a crew has had.
pub(crate) type Serial = u64;

/// How a connection of a crew ended.
///
/// ```
/// use dolmen::{CloseReason, LeaveReason};
/// assert_eq!(LeaveReason::Closed(CloseReason::Reset).to_string(), "connection reset");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaveReason {
    /// The connection has ended.
    Closed(CloseReason),
    /// The member's reactor has not taken the stream.
    Refused(Error),
    /// The member has failed, and the connection was reset or closed with it.
    MemberFailed,
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaveReason::Closed(reason) => reason.fmt(f),
            LeaveReason::Refused(error) => error.fmt(f),
            LeaveReason::MemberFailed => f.write_str("the thread that served it has failed"),
        }
    }
}

/// Notices that a member has not passed on yet, in order.
pub(crate) struct Outgoing<C: Codec> {
    pub(super) notices: VecDeque<Notice<C>>,
    /// The game has no room for those that are left. Links that deliver more are not read.
    pub(super) is_full: bool,
}

impl<C: Codec> Default for Outgoing<C> {
    fn default() -> Outgoing<C> {
        Outgoing { notices: VecDeque::new(), is_full: false }
    }
}

impl<C: Codec> Outgoing<C> {
    pub(super) fn push(&mut self, notice: Notice<C>) {
        self.notices.push_back(notice);
    }
}

impl<C: Codec> Notice<C> {
    /// The connection, if it is a message.
    pub(super) fn message_of(&self) -> Option<LinkId> {
        match self {
            Notice::Message(link, _) => Some(*link),
            _ => None,
        }
    }
}
