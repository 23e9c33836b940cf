//! Deliberate bugs of the crew. The patches of `crates/sim/mutants` put them into a copy of the workspace.

crate::mutants! {
    /// A deliberate bug of the crew.
    Mutant {
        /// A queue's owner is not woken.
        LostBell,
        /// A member does not learn that the game has taken its messages.
        ForgetRoom,
        /// A queue does not note that it was too full.
        ForgetStarved,
        /// The messages that the game's own thread has delivered too late for a round are not announced.
        ForgetAnnouncement,
        /// What the game does between two rounds with a connection on its own thread is not announced.
        ForgetToAsk,
        /// A round that has not taken what was reported does not ask for another one.
        ForgetUncollected,
        /// A member handles the newest order first.
        NewestOrderFirst,
        /// A member's messages wait in the game's queue however many there are.
        UnboundedNotices,
        /// Connections are read while the game does not take their messages.
        ReadWhenFull,
        /// And on the game's thread nothing bounds them.
        UnboundedLocal,
        /// Connections that were not read because of that are not read again.
        ForgetFull,
        /// A connection that the game has resumed is not read again.
        ForgetResume,
        /// A pause is ignored.
        ForgetPause,
        /// A connection is read again while another reason not to is left.
        ResumeAnyway,
        /// A codec does not learn that its connection is lost.
        ForgetClosed,
        /// A codec is called for the end that the game has wanted.
        ClosedForGame,
        /// A reply goes ahead of those that wait.
        ReplyFirst,
        /// A close does not wait for the replies before it.
        CloseFirst,
        /// A close does not wait for what the codec holds back.
        CloseBeforeFlush,
        /// Or for that of the first call of a turn.
        CloseBeforeFirstFlush,
        /// What found no room is not sent when there is some.
        ForgetUnsent,
        /// A codec is called after it has closed.
        CallAfterClose,
        /// A codec is not flushed after the first time.
        ForgetFlush,
        /// The end of the game's round does not reach a member.
        ForgetEndRound,
        /// A codec is flushed while a part of the game's round is to come.
        FlushInOpenRound,
        /// The flush of a codec that has got a part of an earlier round waits for the end of another one.
        StaleRound,
        /// A deadline expires up to a millisecond early.
        EarlyDeadline,
        /// The timer stays where it is when an earlier deadline comes.
        LateDeadline,
        /// A deadline that stays over is looked at in each turn.
        HurryDeadline,
        /// A close waits for room indefinitely.
        WaitForever,
        /// A connection's end is reported before its last messages.
        LeftFirst,
        /// A connection's end is not reported.
        ForgetLeft,
        /// An end that the reactor has refused to begin is not reported.
        ForgetRefused,
        /// The table of connections does not grow.
        ForgetGrowth,
        /// Replies count as arrived when they are passed on, and not when the codec gets them.
        ReleaseEarly,
        /// There is no limit for replies.
        UnboundedReplies,
        /// A refusal of a reply is not noted.
        ForgetRefusal,
        /// Room is reported with each reply.
        TellAlways,
        /// Messages come after a close.
        MessageAfterClose,
        /// Replies are taken after a close.
        SendAfterClose,
        /// Every newcomer is given to the first member.
        FirstMember,
        /// A surplus member does not end.
        KeepRetired,
        /// A surplus member ends with connections.
        RetireAtOnce,
        /// A member's failure is not reported.
        ForgetFailure,
        /// A failed member's last messages are lost.
        ForgetLastMessages,
        /// A member's failure is reported before its last messages.
        FailureFirst,
        /// A failed member's connections are reported in any order.
        OrphansInAnyOrder,
        /// Or not at all.
        ForgetOrphans,
        /// The game's thread serves newcomers when a failed member could not be replaced.
        ServeAfterFailure,
        /// It refuses them when a member that was to end has failed.
        RefuseAfterRetired,
        /// Codecs on the game's thread are not flushed.
        ForgetLocal,
        /// Members do not learn that the crew is dropped.
        ForgetStop,
    }
}
