//! Coverage marks: they measure how good the simulator is.
//!
//! A *mark* sits on a branch that only a rare schedule reaches; a run over many seeds that never hits one has not
//! tested what it claims to. Without `--cfg dolmen_sim` a mark compiles to nothing. The C library defines its own with
//! the same macro. (The other half of the measurement, deliberate bugs, is not in the product: see
//! `crates/sim/mutants`.)

/// Defines `Mark`, the function `mark` that records one, and the counters.
#[doc(hidden)]
#[cfg_attr(feature = "c-api", macro_export)]
macro_rules! marks {
    ($(#[$doc:meta])* Mark { $($(#[$variant_doc:meta])* $mark:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(dolmen_sim), allow(dead_code))]
        pub enum Mark { $($(#[$variant_doc])* $mark,)* }

        #[cfg(dolmen_sim)]
        impl Mark {
            /// All of them, in order.
            pub const ALL: &[Mark] = &[$(Mark::$mark,)*];
        }

        /// Records that a mark was hit.
        #[inline(always)]
        pub(crate) fn mark(mark: Mark) {
            #[cfg(dolmen_sim)]
            counts::hit(mark);
            #[cfg(not(dolmen_sim))]
            let _ = mark;
        }

        #[cfg(dolmen_sim)]
        pub(crate) mod counts {
            use super::Mark;
            use std::cell::Cell;

            const MARKS: usize = Mark::ALL.len();

            thread_local! {
                static HITS: [Cell<u64>; MARKS] = const { [const { Cell::new(0) }; MARKS] };
            }

            pub(crate) fn hit(mark: Mark) {
                // A reactor may be dropped so late in a thread's life that the counters no longer exist.
                let _ = HITS.try_with(|hits| hits[mark as usize].set(hits[mark as usize].get() + 1));
            }

            /// How often this thread has hit each mark.
            pub(crate) fn hits() -> Vec<(Mark, u64)> {
                HITS.with(|hits| Mark::ALL.iter().map(|&mark| (mark, hits[mark as usize].get())).collect())
            }
        }
    };
}

#[cfg(dolmen_sim)]
pub(crate) use marks;

marks! {
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
        /// Another event loop blocked on the kernel's handle, for as long as it may.
        BlockedOutside,
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
        /// Fault: a send was made without an operation.
        SentDirectly,
        /// A connect was accepted.
        DialAccepted,
        /// A connect was refused, or there was no route.
        DialRefused,
        /// Engine: a connect was cancelled.
        DialCancelled,
        /// Engine: a connect was to be retried because the peer's backlog was full.
        DialRetried,
        /// Engine: a socket had connected to itself.
        ConnectedToItself,
        /// Engine: no address had accepted when the time for connecting was up.
        ConnectTimedOut,
        /// Engine: accept was retried after a pause.
        AcceptRetried,
        /// Engine: a failing accept was not reported, because one was reported just before.
        FailureUnreported,
        /// Engine: a close waited for its operations to complete.
        CloseWaited,
        /// Engine: a listener's removal waited for its accepts to complete.
        ListenerCloseWaited,
        /// Fault: the network has lost a datagram.
        DatagramLost,
        /// Fault: the network has delivered a datagram twice.
        DatagramDoubled,
        /// Fault: the network has delivered a datagram before an earlier one.
        DatagramReordered,
        /// A datagram was longer than its buffer.
        DatagramTruncated,
        /// A datagram without bytes was received.
        DatagramEmpty,
        /// Fault: an earlier datagram has failed, which a receive has reported.
        UnreachableReceive,
        /// Fault: the same, reported by a send.
        UnreachableSend,
        /// Engine: a datagram was sent once more, because the failure may have been an earlier one's.
        DatagramRetried,
        /// Engine: a datagram could not be sent, and was dropped.
        DatagramDropped,
        /// Engine: a datagram socket paused after a failure.
        DatagramsPaused,
        /// Engine: a failure was not reported, because the report of another one had not been delivered.
        UdpFailureUnreported,
        /// Engine: a datagram socket's removal waited for its operations to complete.
        UdpCloseWaited,
        /// Engine: posts or channels were left for the next turn.
        PostsLeft,
        /// A value was withdrawn because its signal failed.
        ValueWithdrawn,
        /// A value was refused because too many were waiting.
        ChannelFull,
        /// A value joined those that were reported, and needed no signal.
        SentWhileReported,
        /// Values were left in an inbox, or had come, when the caller had drained it.
        InboxLeft,
        /// Engine: an announced channel was empty when its turn came.
        InboxEmptied,
        /// Fault: no thread could be started.
        ThreadRefused,
        /// Engine: answers of look-ups were left for the next turn.
        AnswersLeft,
        /// Engine: a look-up was refused because too many were not reported yet.
        LookupsFull,
        /// A thread ended a call after its job had been cancelled.
        JobDoneAfterCancel,
        /// A thread ended a call after its reactor had been dropped.
        JobDoneAfterDrop,
        /// A job was cancelled before a thread had taken it.
        JobCancelledWaiting,
        /// A job was cancelled before the engine had collected its result.
        JobCancelledDone,
        /// Engine: a read of a file needed no thread.
        FileReadNow,
        /// Engine: results of operations on files were left for the next turn.
        FilesLeft,
        /// Engine: an operation on a file was refused because too many were not reported yet.
        FilesFull,
        /// Engine: a file to be sent ended before its range.
        FileEndedEarly,
        /// A part of a file was sent without a copy.
        FileSentDirectly,
        /// Engine: a part of a file was transmitted.
        Transmitted,
        /// Engine: a transmission sent less than it was given, since the file had no more.
        TransmitShort,
        /// Engine: a transmission was refused, and the file is read instead.
        TransmitRefused,
        /// Engine: a transmission failed after it had been taken.
        TransmitFailed,
        /// Engine: a piece was read because as many transmissions were pending as may be.
        TransmitsFull,
        /// Fault: a file could not be opened once more.
        ReopenRefused,
        /// Engine: there was no thread to read a file that is to be sent.
        PieceRefused,
        /// Engine: a file to be sent could not be read.
        FileSendFailed,
        /// Fault: a file was read or written only in part.
        FilePartial,
        /// Fault: an operation on a file failed.
        FileFailed,
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
}
