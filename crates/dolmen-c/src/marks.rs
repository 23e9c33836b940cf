//! Coverage marks and mutants of the C library; see `dolmen`'s for what they are.

dolmen::marks_and_mutants! {
    /// A rare branch.
    Mark {
        /// A socket was closed before it was removed, and its number registered anew.
        ReplacedClosed,
        /// A socket that is registered was registered again, which was refused.
        RegisteredTwice,
        /// A receive brought more than the caller's buffer takes.
        LeftoverKept,
        /// The rest of such a receive was delivered.
        LeftoverDelivered,
        /// The end came while some of the bytes in front of it were left over.
        EndBehindLeftover,
        /// A registration was removed with an event that the engine knows nothing of.
        RemovedWithSynthetic,
        /// What is not the caller's took the place of all events that fitted.
        PlaceTaken,
        /// Room to write was asked for again.
        RoomAskedAgain,
        /// Room to write was asked for and no longer wanted.
        RoomWithdrawn,
        /// Standard input was looked at, and there was nothing.
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
        /// There was no room left for what the engine knows nothing of.
        SyntheticWaited,
    }
    /// A deliberate bug.
    Mutant {
        /// Two chunks of standard input come with one wait, in one buffer.
        ShareConsoleBuffer,
        /// The bytes of events are taken back when standard input is removed.
        TakeBuffersBack,
        /// The engine is asked again while an event points into what it brought.
        RefillEvents,
        /// What does not fit into the caller's buffer is dropped.
        DropLeftover,
        /// What is left over is delivered again from the start.
        RepeatLeftover,
        /// What is left over is delivered with its bytes in another order.
        ShuffleLeftover,
        /// More is received while bytes are left over.
        HoldWithoutBound,
        /// The end of a connection is reported as often as the engine reports it.
        EndTwice,
        /// The end is reported in front of the bytes that are left over.
        EndBeforeLeftover,
        /// The end behind bytes that are left over is not reported.
        ForgetEnd,
        /// A removed registration's events stay in the queue.
        KeepSynthetic,
        /// Events carry the context of the slot beside theirs.
        OtherContext,
        /// A request for room to write is not withdrawn with the registration.
        LeaveRoom,
        /// Room to write is reported until it is no longer asked for.
        RoomForEver,
        /// What a poll for room to write also finds is reported.
        RoomWithEnds,
        /// A socket that was closed before it was removed counts as registered.
        TrustNumber,
        /// A socket may be registered twice.
        RegisterTwice,
        /// What the engine knows nothing of always comes first.
        SyntheticFirst,
        /// A wake of the library's own takes the place of an event each time.
        WakeTakesPlace,
        /// The end of standard input is reported by each wait.
        ConsoleEndsForEver,
        /// Standard input that was found empty is not waited for.
        ForgetToArm,
        /// A wake of the library's own ends the caller's wait.
        AnyWake,
        /// A wakeup does not end the wait.
        ForgetWakeup,
        /// A wait that has events waits for more.
        WaitForMore,
        /// A wait never blocks, and asks until its time is up.
        NeverBlock,
        /// A wait asks a hundred times before it blocks.
        AskBeforeBlocking,
        /// The number of sockets in the statistics is the highest that it has been.
        CountForgotten,
        /// The timeout is counted from the start again after each event for the library.
        RestartTimeout,
        /// A forked copy that is destroyed takes the registrations and wakes of the instance that both have.
        TearSharedInstance,
    }
}
