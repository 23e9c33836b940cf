//! Coverage marks and mutants: they measure how good the simulator is.
//!
//! A *mark* sits on a branch that only a rare schedule reaches; a run over many seeds that never hits one has not
//! tested what it claims to. A *mutant* is a deliberate bug; a simulator that does not detect it has a blind spot.
//! Without `--cfg dolmen_sim` and `--cfg dolmen_mutants` both compile to nothing. The C library defines its own with the
//! same macro.

/// Defines `Mark` and `Mutant`, the functions `mark` and `mutant` that use them, and their counters.
#[doc(hidden)]
#[cfg_attr(feature = "c-api", macro_export)]
macro_rules! marks_and_mutants {
    (
        $(#[$mark_doc:meta])* Mark { $($(#[$mark_variant_doc:meta])* $mark:ident,)* }
        $(#[$mutant_doc:meta])* Mutant { $($(#[$mutant_variant_doc:meta])* $mutant:ident,)* }
    ) => {
        $(#[$mark_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(dolmen_sim), allow(dead_code))]
        pub enum Mark { $($(#[$mark_variant_doc])* $mark,)* }

        $(#[$mutant_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(dolmen_sim), allow(dead_code))]
        pub enum Mutant { $($(#[$mutant_variant_doc])* $mutant,)* }

        #[cfg(dolmen_sim)]
        impl Mark {
            /// All of them, in order.
            pub const ALL: &[Mark] = &[$(Mark::$mark,)*];
        }

        #[cfg(dolmen_sim)]
        impl Mutant {
            /// All of them, in order.
            pub const ALL: &[Mutant] = &[$(Mutant::$mutant,)*];
        }

        /// Records that a mark was hit.
        #[inline(always)]
        pub(crate) fn mark(mark: Mark) {
            #[cfg(dolmen_sim)]
            counts::hit(mark);
            #[cfg(not(dolmen_sim))]
            let _ = mark;
        }

        /// Whether a mutant is switched on.
        #[inline(always)]
        pub(crate) fn mutant(mutant: Mutant) -> bool {
            #[cfg(dolmen_mutants)]
            return counts::active() == Some(mutant);
            #[cfg(not(dolmen_mutants))]
            {
                let _ = mutant;
                false
            }
        }

        #[cfg(dolmen_sim)]
        pub(crate) mod counts {
            use super::{Mark, Mutant};
            use std::cell::Cell;

            const MARKS: usize = Mark::ALL.len();

            thread_local! {
                static HITS: [Cell<u64>; MARKS] = const { [const { Cell::new(0) }; MARKS] };
                static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
            }

            pub(crate) fn hit(mark: Mark) {
                // A reactor may be dropped so late in a thread's life that the counters no longer exist.
                let _ = HITS.try_with(|hits| hits[mark as usize].set(hits[mark as usize].get() + 1));
            }

            /// How often this thread has hit each mark.
            pub(crate) fn hits() -> Vec<(Mark, u64)> {
                HITS.with(|hits| Mark::ALL.iter().map(|&mark| (mark, hits[mark as usize].get())).collect())
            }

            #[cfg(dolmen_mutants)]
            pub(crate) fn active() -> Option<Mutant> {
                ACTIVE.try_with(Cell::get).ok().flatten()
            }

            /// Switches a mutant on in this thread, or all mutants off.
            #[cfg_attr(not(dolmen_mutants), allow(dead_code))]
            pub(crate) fn activate(mutant: Option<Mutant>) {
                ACTIVE.with(|active| active.set(mutant));
            }
        }
    };
}

marks_and_mutants! {
    /// A rare branch.
    Mark {
        /// Fault: an operation completed at its submission.
        SyncCompletion,
        /// Fault: an operation completed inside the submitting call, with a packet.
        CompletedInSubmit,
        /// Fault: a receive returned less than there was.
        PartialReceive,
        /// Fault: a send took less than it was given.
        PartialSend,
        /// Fault: a cancelled operation ended as cancelled.
        CancelledAborted,
        /// Fault: a cancelled operation succeeded all the same.
        CancelledSucceeded,
        /// Fault: the kernel wrote to a lent buffer before its packet.
        EarlyWrite,
        /// Fault: an error came with bytes.
        ErrorWithBytes,
        /// Fault: the peer reset the connection.
        PeerReset,
        /// Fault: bytes that were there before a reset were still returned.
        ResetKeptBytes,
        /// Fault: the peer closed its sending side.
        PeerFin,
        /// Fault: the first send to a peer that is gone succeeded, the second was reset.
        SendToGonePeer,
        /// Fault: accept found the process out of descriptors.
        AcceptExhausted,
        /// Fault: a connection was gone before it was accepted.
        AcceptTransient,
        /// Fault: a wait returned early.
        EarlyReturn,
        /// Fault: a wait returned without a reason.
        SpuriousReturn,
        /// Fault: a completion was late.
        DelayedCompletion,
        /// Fault: completions were reordered.
        Reordered,
        /// Fault: the kernel could not be signalled from another thread.
        SignalFailed,
        /// A post was withdrawn because its signal failed.
        PostWithdrawn,
        /// Another thread acted while the reactor was blocked in the kernel.
        ActedDuringWait,
        /// Fault: a post was refused because too many were waiting.
        PostsFull,
        /// Fault: a submission failed immediately with a warning, and its packet came all the same.
        WarningWithPacket,
        /// Fault: an operation that others began completed to our port, with their key.
        ForeignCompletion,
        /// Fault: a packet with our key named memory that is not an operation.
        UnknownPacket,
        /// Fault: a packet with our key named an operation that has ended.
        StalePacket,
        /// Fault: a wait ended with the clock's tick, long after its time-out.
        CoarseWait,
        /// The timer that makes waits exact has ended one.
        AlarmFired,
        /// A watched handle was signalled.
        WatchSignalled,
        /// A receive was posted without a buffer because the pool could spare none.
        ZeroByteReceive,
        /// A descriptor's number was given to a new socket right after it was closed.
        DescriptorReused,
        /// Engine: bytes arrived while the connection was paused.
        HeldWhilePaused,
        /// Engine: a record was moved back because its connection was paused after it was queued.
        HeldAtDelivery,
        /// Engine: records did not fit into the events.
        OutboxOverflow,
        /// Engine: a record of a removed registration was left out.
        StaleDiscarded,
        /// Engine: bytes were discarded while lingering.
        LingerDiscarded,
        /// Engine: the linger time ran out with bytes unsent.
        LingerExpiredUnsent,
        /// Engine: the linger time ran out with everything sent.
        LingerExpiredFinished,
        /// Engine: sending failed while receiving continued.
        SendFailedFirst,
        /// Engine: the caller was not waiting when the linger time after a failed send ran out.
        GraceAfterFailure,
        /// Engine: a connection was paused when the linger time after a failed send ran out.
        PausedAfterFailure,
        /// The caller has shut down the sending side without the reactor, and sends.
        ShutByCaller,
        /// Engine: a `Drained` event was queued for a sender that had been refused.
        DrainedReported,
        /// Fault: there was no memory for a send or a receive.
        NoMemory,
        /// Engine: a send or a receive was retried after there had been no memory for it.
        TransferRetried,
        /// Engine: the sending side was to be shut down after a reset that had not been reported.
        ShutDownAfterReset,
        /// Engine: accept was retried after a pause.
        AcceptRetried,
        /// Engine: a failing accept was not reported, because one was reported just before.
        FailureUnreported,
        /// Engine: a close waited for its operations to complete.
        CloseWaited,
        /// Engine: a listener's removal waited for its accepts to complete.
        ListenerCloseWaited,
        /// Engine: posts were left for the next turn.
        PostsLeft,
        /// Engine: a periodic timer missed ticks.
        TicksMissed,
        /// Engine: reactor dropped with operations in flight.
        DroppedInFlight,
        /// Engine: a receive was withdrawn, so that the stream can leave.
        ReceiveWithdrawn,
        /// Engine: a removal came after the close had begun.
        RemovedWhileClosing,
        /// The number of a borrowed socket was reused while an operation on the old one was still in flight.
        NumberReusedInFlight,
        /// Engine: a socket was no longer in the state that a poll had found in an earlier wait.
        PollNoLongerReady,
        /// Engine: a poll had found only conditions that were no longer of interest.
        PollUnwanted,
        /// Engine: the interest of a pending poll was changed.
        InterestChanged,
        /// Engine: a poll was removed with its operation in flight.
        PollRemovedInFlight,
        /// Engine: a poll's interest ended with its event.
        PolledOnce,
        /// Engine: a receive was requested while one was already in progress.
        ReceiveAskedTwice,
        /// Engine: an adopted connection has ended with bytes unsent.
        EndedUnsent,
        /// Engine: the system took the rest of several posted sends in one call.
        WrittenTogether,
        /// Engine: the console's watch was left unarmed because the inbox was full.
        ConsoleHeld,
        /// Engine: the console's input was left alone because its output was not being read.
        ConsoleBehind,
        /// Engine: the console was removed with something in the inbox.
        ConsoleRemovedWithLeftover,
    }

    /// A deliberate bug.
    Mutant {
        /// A cell is recycled when its operation is cancelled, not when its packet has come.
        RecycleAtCancel,
        /// The buffer of a receive is freed when it is cancelled.
        FreeBufferAtCancel,
        /// An id finds whatever its slot holds.
        IgnoreGeneration,
        /// `remove` leaves no mark for events already handed out.
        ForgetRemoval,
        /// The same for the console's removal.
        ForgetConsoleRemoval,
        /// The kernel sends no packet for a cancelled operation.
        DropFinalPacket,
        /// The kernel sends a packet for an operation that completed immediately.
        DoubleSyncSuccess,
        /// Cancelling cancels nothing, like `CancelIo` from another thread.
        CancelNothing,
        /// A receive of zero bytes that completes counts as the end of the stream.
        ZeroBytesIsEnd,
        /// Bytes that arrive while a connection is paused are discarded.
        LoseHeldBytes,
        /// Timeouts are truncated to whole milliseconds.
        TruncateTimeout,
        /// Timers go off up to a millisecond early.
        EarlyTimer,
        /// A periodic timer is not set again when it has missed a tick.
        ForgetPeriod,
        /// Posts that did not fit leave the mailbox not pending.
        ForgetLeftPosts,
        /// A failed signal counts as one that succeeded.
        TrustFailedSignal,
        /// A wake is cleared without an event.
        LoseWake,
        /// A wait is over when a full batch from the kernel produced no event.
        CountEventlessPackets,
        /// The newest record is delivered first.
        NewestFirst,
        /// The end of the stream is reported each time a record of the connection is delivered.
        EndTwice,
        /// The send queue has no limit.
        UnboundedQueue,
        /// The rest of a partial send is sent from the start again.
        ResendPartial,
        /// A buffer that arrives for a closing connection is not returned.
        LeakBuffer,
        /// A send or a receive for which there is no memory ends its connection.
        GiveUpTransfer,
        /// A send or a receive for which there was no memory is not retried.
        ForgetTransfer,
        /// A send passes everything that is queued to the kernel.
        UncappedSend,
        /// A reset that shows as a socket that is no longer connected counts as another failure.
        ResetIsFailure,
        /// A failing accept is retried without a pause.
        NoAcceptPause,
        /// Each failure of accept after a success is reported.
        ReportEachFailure,
        /// The kernel serves the latest submission first.
        ServeNewestFirst,
        /// A full send queue that has drained is not reported.
        ForgetDrained,
        /// A connection whose send has failed is not paused.
        ForgetPause,
        /// After a failed send the connection receives for as long as the peer sends.
        EndlessAfterFailure,
        /// A resumed connection is not served.
        ForgetResume,
        /// A close does not wait for the peer's end.
        NoLinger,
        /// A poll's result from an earlier wait is delivered without another check.
        TrustOldReadiness,
        /// A poll reports everything that it has found, wanted or not.
        IgnoreInterest,
        /// The kernel does not learn that the interest of a poll has changed.
        KeepInterest,
        /// A poll is not submitted again after its first report.
        ForgetPoll,
        /// The interest of a poll that was meant for one event continues.
        OnceContinues,
        /// A socket whose last connection ended with bytes unsent may be adopted again.
        ForgetCut,
        /// A released connection's socket is released with the next turn.
        ReleaseLater,
        /// An adopted connection receives without a request.
        UngatedReceive,
        /// A posted send is reported when only some of it has been sent.
        WrittenEarly,
        /// A posted send is reported twice.
        WrittenTwice,
        /// A console is read although the inbox is full.
        ReadWhenFull,
        /// A console's watch is not armed again when the inbox has room.
        ForgetRoom,
        /// Everything in the console's inbox is taken in one turn.
        HogConsole,
        /// The timer that makes waits exact is set once and never again.
        ForgetAlarm,
        /// Every packet with one of our keys is taken for an operation's.
        TrustEveryPacket,
        /// A submission that fails with a warning is complete, whatever the system still sends.
        WarningIsFailure,
    }
}
