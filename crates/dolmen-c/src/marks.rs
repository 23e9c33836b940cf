//! Coverage marks of the C library; see `dolmen`'s for what they are.

dolmen::marks! {
    /// A rare branch.
    Mark {
        /// A socket was closed before it was removed, and its number registered again.
        ReplacedClosed,
        /// The caller added a registered socket again, and was refused.
        RegisteredTwice,
        /// A receive brought more than the caller's buffer takes.
        LeftoverKept,
        /// The rest of such a receive was delivered.
        LeftoverDelivered,
        /// The end arrived while some of the bytes in front of it were left over.
        EndBehindLeftover,
        /// A registration was removed while a synthetic event of it was queued.
        RemovedWithSynthetic,
        /// Internal events took the place of all events that fitted.
        PlaceTaken,
        /// The caller asked again for room to write.
        RoomAskedAgain,
        /// The caller withdrew a request for room to write.
        RoomWithdrawn,
        /// The library checked standard input, and there was nothing.
        ConsoleEmpty,
        /// The end of standard input was delivered.
        ConsoleEnded,
        /// A terminal was hung up.
        ConsoleHungUp,
        /// A chunk of standard input was delivered with an event.
        ConsoleChunk,
        /// Standard input was registered again with other flags.
        ConsoleFlagsRefused,
        /// A forked copy was destroyed.
        ForkedCopyDestroyed,
        /// A connection could not be accepted, and the listener paused.
        AcceptPaused,
        /// The interest in a listener was changed while it paused.
        ModifiedInPause,
        /// There was no room left for synthetic events.
        SyntheticWaited,
    }
}
