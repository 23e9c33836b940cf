//! Deliberate bugs of the C library; see `dolmen`'s simulated kernel for what they are for.

dolmen::mutants! {
    /// A deliberate bug.
    Mutant {
        /// One wait delivers two chunks of standard input in one buffer.
        ShareConsoleBuffer,
        /// The bytes of events are taken back when standard input is removed.
        TakeBuffersBack,
        /// The engine is asked again while an event points into the engine's events.
        RefillEvents,
        /// Bytes that do not fit into the caller's buffer are dropped.
        DropLeftover,
        /// Leftover bytes are delivered again from the start.
        RepeatLeftover,
        /// Leftover bytes are delivered in another order.
        ShuffleLeftover,
        /// More is received while bytes are left over.
        HoldWithoutBound,
        /// The end of a connection is reported as often as the engine reports it.
        EndTwice,
        /// The end is reported in front of the leftover bytes.
        EndBeforeLeftover,
        /// The end behind leftover bytes is not reported.
        ForgetEnd,
        /// A removed registration's events stay in the queue.
        KeepSynthetic,
        /// Events carry the context of the neighbouring slot.
        OtherContext,
        /// A request for room to write is not withdrawn with the registration.
        LeaveRoom,
        /// Room to write is reported until it is no longer asked for.
        RoomIndefinitely,
        /// Further readiness that a poll for room to write finds is reported.
        RoomWithEnds,
        /// A socket that was closed before it was removed counts as registered.
        TrustNumber,
        /// A socket may be registered twice.
        RegisterTwice,
        /// Synthetic events always come first.
        SyntheticFirst,
        /// An internal wake takes the place of an event each time.
        WakeTakesPlace,
        /// The end of standard input is reported by each wait.
        ConsoleEndsRepeatedly,
        /// The reactor does not wait for standard input that was found empty.
        ForgetToArm,
        /// An internal wake ends the caller's wait.
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
        /// The timeout starts again after each internal event.
        RestartTimeout,
        /// A connection is accepted when there is no room for its event.
        AcceptWithoutRoom,
        /// A connection's event has the listener's socket.
        ListenerAsSocket,
        /// The end of a listener's pause restores an interest that the caller has withdrawn.
        ListenAfterPause,
        /// The statistics count the timers of pauses.
        CountPauses,
        /// An outer loop may block while events of the library's own are due.
        BlockWithSynthetic,
        /// On Windows a listener with the number of a connection that was closed unremoved is refused.
        RefuseOtherKind,
        /// A completion keeps one bit of its data.
        CutCompletion,
        /// On POSIX an event of a socket has its context as the key.
        KeyEverywhere,
        /// Removing an unknown socket succeeds by both headers.
        RemoveUnknown,
        /// A forked copy that is destroyed removes the registrations and wakes of the shared instance.
        TearSharedInstance,
    }
}
