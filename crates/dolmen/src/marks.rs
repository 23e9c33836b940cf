//! Coverage marks and mutants: how the simulator's own worth is measured.
//!
//! A *mark* sits on a branch that only a rare schedule reaches; a run over many seeds that never hits one has not
//! tested what it claims to. A *mutant* is a deliberate bug; a simulator that does not notice it is blind there.
//! Without the features `sim` and `mutants` both compile to nothing. The C library makes its own by the same macro.

/// Makes `Mark` and `Mutant`, the functions `mark` and `mutant` that use them, and what counts them.
#[doc(hidden)]
#[cfg_attr(feature = "c-api", macro_export)]
macro_rules! marks_and_mutants {
    (
        $(#[$mark_doc:meta])* Mark { $($(#[$mark_variant_doc:meta])* $mark:ident,)* }
        $(#[$mutant_doc:meta])* Mutant { $($(#[$mutant_variant_doc:meta])* $mutant:ident,)* }
    ) => {
        $(#[$mark_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "sim"), allow(dead_code))]
        pub enum Mark { $($(#[$mark_variant_doc])* $mark,)* }

        $(#[$mutant_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "sim"), allow(dead_code))]
        pub enum Mutant { $($(#[$mutant_variant_doc])* $mutant,)* }

        #[cfg(feature = "sim")]
        impl Mark {
            /// All of them, in order.
            pub const ALL: &[Mark] = &[$(Mark::$mark,)*];
        }

        #[cfg(feature = "sim")]
        impl Mutant {
            /// All of them, in order.
            pub const ALL: &[Mutant] = &[$(Mutant::$mutant,)*];
        }

        /// Notes that a mark was hit.
        #[inline(always)]
        pub(crate) fn mark(mark: Mark) {
            #[cfg(feature = "sim")]
            counts::hit(mark);
            #[cfg(not(feature = "sim"))]
            let _ = mark;
        }

        /// Whether a mutant is switched on.
        #[inline(always)]
        pub(crate) fn mutant(mutant: Mutant) -> bool {
            #[cfg(feature = "mutants")]
            return counts::active() == Some(mutant);
            #[cfg(not(feature = "mutants"))]
            {
                let _ = mutant;
                false
            }
        }

        #[cfg(feature = "sim")]
        pub(crate) mod counts {
            use super::{Mark, Mutant};
            use std::cell::Cell;

            const MARKS: usize = Mark::ALL.len();

            thread_local! {
                static HITS: [Cell<u64>; MARKS] = const { [const { Cell::new(0) }; MARKS] };
                static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
            }

            pub(crate) fn hit(mark: Mark) {
                // A reactor may be dropped so late in a thread's life that the counters are gone.
                let _ = HITS.try_with(|hits| hits[mark as usize].set(hits[mark as usize].get() + 1));
            }

            /// How often this thread has hit each mark.
            pub(crate) fn hits() -> Vec<(Mark, u64)> {
                HITS.with(|hits| Mark::ALL.iter().map(|&mark| (mark, hits[mark as usize].get())).collect())
            }

            #[cfg(feature = "mutants")]
            pub(crate) fn active() -> Option<Mutant> {
                ACTIVE.try_with(Cell::get).ok().flatten()
            }

            /// Switches a mutant on in this thread, or all off.
            #[cfg_attr(not(feature = "mutants"), allow(dead_code))]
            pub(crate) fn activate(mutant: Option<Mutant>) {
                ACTIVE.with(|active| active.set(mutant));
            }
        }
    };
}

marks_and_mutants! {
    /// A rare branch.
    Mark {
        /// Fault: an operation was over at its submission.
        SyncCompletion,
        /// Fault: an operation completed inside the submitting call, with a packet.
        CompletedInSubmit,
        /// Fault: a receive brought less than there was.
        PartialReceive,
        /// Fault: a send took less than it was given.
        PartialSend,
        /// Fault: a cancelled operation ended as cancelled.
        CancelledAborted,
        /// Fault: a cancelled operation succeeded all the same.
        CancelledSucceeded,
        /// Fault: a lent buffer was scribbled on before its packet.
        EarlyWrite,
        /// Fault: an error came with bytes.
        ErrorWithBytes,
        /// Fault: the peer reset the connection.
        PeerReset,
        /// Fault: bytes that were there before a reset were still handed out.
        ResetKeptBytes,
        /// Fault: the peer closed its sending side.
        PeerFin,
        /// Fault: the first send to a peer that is gone succeeded, the second was reset.
        SendToGonePeer,
        /// Fault: accept found the process out of descriptors.
        AcceptExhausted,
        /// Fault: a connection was gone before it was accepted.
        AcceptTransient,
        /// Fault: a wait came back early.
        EarlyReturn,
        /// Fault: a wait came back for nothing.
        SpuriousReturn,
        /// Fault: a completion was late.
        DelayedCompletion,
        /// Fault: completions were reordered.
        Reordered,
        /// Fault: the kernel could not be signalled from another thread.
        SignalFailed,
        /// A post was withdrawn because there was no signal for it.
        PostTakenBack,
        /// Another thread acted while the reactor was blocked in the kernel.
        ActedDuringWait,
        /// Fault: a post was refused because too many were waiting.
        PostsFull,
        /// Fault: a submission failed at once with a warning, and its packet came all the same.
        WarningWithPacket,
        /// Fault: something that others began completed to our port, with a key of theirs.
        ForeignCompletion,
        /// Fault: a packet with our key named memory that is no operation's.
        UnknownPacket,
        /// Fault: a packet with our key named an operation that is over.
        StalePacket,
        /// Fault: a wait ended with the clock's tick, long after its time.
        CoarseWait,
        /// The timer that makes waits exact has ended one.
        AlarmRang,
        /// A watched handle was signalled.
        WatchSignalled,
        /// A receive was posted without a buffer because the pool could spare none.
        ZeroByteReceive,
        /// A descriptor value was given to a new socket right after it was closed.
        DescriptorReused,
        /// Engine: bytes arrived while the connection was paused.
        HeldWhilePaused,
        /// Engine: a record was moved back because its connection was paused after it was queued.
        HeldAtDelivery,
        /// Engine: records did not fit into the events.
        OutboxOverflow,
        /// Engine: a record of a removed registration was left out.
        GhostDiscarded,
        /// Engine: bytes were thrown away while lingering.
        LingerDiscarded,
        /// Engine: the linger time ran out with bytes unsent.
        LingerExpiredUnsent,
        /// Engine: the linger time ran out with all sent.
        LingerExpiredFinished,
        /// Engine: sending failed while receiving went on.
        SendFailedFirst,
        /// Engine: the caller was away when the linger time after a failed send ran out.
        GraceAfterFailure,
        /// Engine: a connection was paused when the linger time after a failed send ran out.
        PausedAfterFailure,
        /// The caller has shut down the sending side past the reactor, and sends.
        ShutBehind,
        /// Engine: a refused sender was told that there is room again.
        DrainedTold,
        /// Fault: there was no memory for a send or a receive.
        NoMemory,
        /// Engine: a send or a receive was tried again after there had been no memory for it.
        TransferRetried,
        /// Engine: the sending side was to be shut down after a reset that nobody had heard of.
        ShutDownAfterReset,
        /// Engine: accept was tried again after a pause.
        AcceptRetried,
        /// Engine: a failing accept was not reported, because one was just before.
        FailureUnreported,
        /// Engine: a close waited for its operations to come back.
        CloseWaited,
        /// Engine: a listener's removal waited for its accepts to come back.
        ListenerCloseWaited,
        /// Engine: posts were left for the next turn.
        PostsLeft,
        /// Engine: a periodic timer missed ticks.
        TicksMissed,
        /// Engine: reactor dropped with operations in flight.
        DroppedInFlight,
        /// Engine: a removal came after the close had begun.
        RemovedWhileClosing,
        /// The number of a borrowed socket was another's while an operation on the old one was still in flight.
        NumberReusedInFlight,
        /// Engine: what a poll had found in an earlier wait was no longer so.
        PollNoLongerReady,
        /// Engine: a poll had found what nobody was interested in any more.
        PollUnwanted,
        /// Engine: the interest of a pending poll was changed.
        InterestChanged,
        /// Engine: a poll was removed with its operation in flight.
        PollRemovedInFlight,
        /// Engine: a poll's interest ended with its event.
        PolledOnce,
        /// Engine: a receive was asked for that was on its way already.
        ReceiveAskedTwice,
        /// Engine: an adopted connection has ended with bytes unsent.
        EndedUnsent,
        /// Engine: the system took the rest of several posted sends at once.
        WrittenTogether,
        /// Engine: the console's watch was left unarmed because the inbox was full.
        ConsoleHeld,
        /// Engine: the console's input was left alone because nobody took the output.
        ConsoleBehind,
        /// Engine: the console was removed with something in the inbox.
        ConsoleRemovedUnheard,
    }

    /// A deliberate bug.
    Mutant {
        /// A cell is recycled when its operation is cancelled, not when its packet is in.
        RecycleAtCancel,
        /// The buffer of a receive is freed when it is cancelled.
        FreeBufferAtCancel,
        /// An id finds whatever is in its slot.
        IgnoreGeneration,
        /// `remove` leaves no mark for events already handed out.
        ForgetRemoval,
        /// The kernel sends no packet for a cancelled operation.
        DropFinalPacket,
        /// The kernel sends a packet for an operation that was over at once.
        DoubleSyncSuccess,
        /// Cancelling cancels nothing, as `CancelIo` from another thread.
        CancelNothing,
        /// A receive of zero bytes that completes counts as the end of the stream.
        ZeroBytesIsEnd,
        /// What arrives while a connection is paused is thrown away.
        LoseHeldBytes,
        /// Timeouts are cut down to whole milliseconds.
        TruncateTimeout,
        /// Timers go off up to a millisecond early.
        EarlyTimer,
        /// A periodic timer is not set again when it has missed a tick.
        ForgetPeriod,
        /// Posts that did not fit raise no new signal.
        ForgetLeftPosts,
        /// A signal that has failed counts as one that will be heard.
        MuteAfterFailedSignal,
        /// A wake is cleared without being told.
        LoseWake,
        /// A wait is over when all that the kernel had room for brought no event.
        CountSilentPackets,
        /// The newest record is delivered first.
        NewestFirst,
        /// The end of the stream is told each time a record of the connection is delivered.
        EndTwice,
        /// The send queue has no bound.
        UnboundedQueue,
        /// What a partial send left over is sent from the start again.
        ResendPartial,
        /// A buffer that arrives for a closing connection is not given back.
        LeakBuffer,
        /// A send or a receive for which there is no memory ends its connection.
        GiveUpTransfer,
        /// A send or a receive for which there was no memory is not tried again.
        ForgetTransfer,
        /// A send hands all that is queued to the kernel.
        UncappedSend,
        /// A reset that shows by a socket that is not connected any more counts as another failure.
        ResetIsFailure,
        /// A failing accept is tried again without a pause.
        NoAcceptPause,
        /// Each time that accept fails after a success is reported.
        ReportEachFailure,
        /// The kernel serves what was submitted last first.
        ServeNewestFirst,
        /// Nobody is told when a full send queue has drained.
        ForgetDrained,
        /// A connection whose send has failed is not paused.
        ForgetPause,
        /// After a failed send it is received for as long as the peer sends.
        EndlessAfterFailure,
        /// A connection that is resumed is not looked at.
        ForgetResume,
        /// A close does not wait for the peer's end.
        NoLinger,
        /// What a poll has found in an earlier wait is delivered without another look.
        TrustOldReadiness,
        /// A poll tells of all it has found, wanted or not.
        IgnoreInterest,
        /// The kernel is not told that the interest of a poll has changed.
        KeepInterest,
        /// A poll waits no more after it was told of once.
        ForgetPoll,
        /// The interest of a poll that was meant for one event goes on.
        OnceForEver,
        /// A socket whose last connection ended with bytes unsent may be adopted again.
        ForgetCut,
        /// A released connection lets go of its socket with the next turn.
        ReleaseLater,
        /// An adopted connection receives without being asked to.
        UngatedReceive,
        /// A posted send is told of when some of it has gone out.
        WrittenEarly,
        /// A posted send is told of twice.
        WrittenTwice,
        /// A console is read although nothing fits into the inbox.
        ReadWhenFull,
        /// A console's watch is not armed again when the inbox has room.
        ForgetRoom,
        /// All that is in the console's inbox is taken at once.
        HogConsole,
        /// The timer that makes waits exact is set once and never again.
        ForgetAlarm,
        /// Whatever has a key of ours is taken for an operation's packet.
        TrustEveryPacket,
        /// A submission that fails with a warning is over, whatever the system still sends.
        WarningIsFailure,
    }
}
