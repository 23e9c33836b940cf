//! Deliberate bugs, to measure the simulator: one that does not detect such a bug has a blind spot.
//!
//! Those of the product are not in its sources. The patches of `crates/sim/mutants` put them into a copy of the
//! workspace, which `cargo xtask mutants` builds with `--cfg dolmen_mutants`. Those of the simulated kernel are in it.

/// Defines `Mutant`, the function `mutant` that asks whether one is switched on, and `activate`.
#[doc(hidden)]
#[macro_export]
macro_rules! mutants {
    ($(#[$doc:meta])* Mutant { $($(#[$variant_doc:meta])* $mutant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(dolmen_mutants), allow(dead_code))]
        pub enum Mutant { $($(#[$variant_doc])* $mutant,)* }

        #[cfg(dolmen_mutants)]
        impl Mutant {
            /// All of them, in order.
            pub const ALL: &[Mutant] = &[$(Mutant::$mutant,)*];
        }

        #[cfg(dolmen_mutants)]
        thread_local! {
            static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
        }

        /// Whether a mutant is switched on.
        #[inline(always)]
        #[cfg_attr(not(dolmen_mutants), allow(dead_code))]
        pub(crate) fn mutant(mutant: Mutant) -> bool {
            #[cfg(dolmen_mutants)]
            return ACTIVE.try_with(std::cell::Cell::get).ok().flatten() == Some(mutant);
            #[cfg(not(dolmen_mutants))]
            {
                let _ = mutant;
                false
            }
        }

        /// Switches a mutant on in this thread, or all mutants off.
        #[cfg(dolmen_mutants)]
        pub(crate) fn activate(mutant: Option<Mutant>) {
            ACTIVE.with(|active| active.set(mutant));
        }
    };
}

mutants! {
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
        /// A drain that leaves values does not announce the channel again.
        ForgetLeftValues,
        /// A channel counts as closed when its last sender is gone, whatever waits.
        EndBeforeValues,
        /// The end counts as reported with the values that wait.
        EndWithValues,
        /// A report of an inbox is delivered although the caller has drained it since.
        ReportDrained,
        /// A late answer of a cancelled look-up is delivered to the next holder of its slot.
        LateAnswer,
        /// Answers that did not fit do not prevent the next wait from blocking.
        ForgetAnswers,
        /// A host's next address is tried only when the last attempt has failed.
        OneAddressAtATime,
        /// Results of files that did not fit into a batch wait for the next signal.
        ForgetLeftFiles,
        /// The event of a file's operation that was cancelled after it had ended is delivered.
        ForgetFileRemoval,
        /// A write is over when the system has taken some of the bytes.
        WriteOnce,
        /// A cancelled operation on a file counts as one that is not reported yet.
        CountCancelledFile,
        /// What is sent behind a file that cannot be read is sent all the same.
        SendBehindHole,
        /// A send does not wait for the files before it.
        SendPastFile,
        /// FIN does not wait for the files before it.
        FinBeforeFile,
        /// A transmission that ends early counts as whole.
        CountWholeTransmit,
        /// After a transmission that has failed, the file is read from where it began.
        ReadAfterFailedTransmit,
        /// A file waits for a transmission while as many are pending as may be.
        WaitForTransmit,
        /// A wake is cleared without an event.
        LoseWake,
        /// The time for which another event loop may block ignores what is left to do.
        BlockWithWork,
        /// The time for which another event loop may block ignores the timers.
        BlockPastTimers,
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
        /// A connection is released with bytes in its send queue.
        ReleaseUnsent,
        /// A release waits for the receive that is pending.
        ForgetWithdraw,
        /// Received bytes that wait for a paused caller are dropped at a release.
        ReleaseHeld,
        /// A connect that the system has completed is taken for a stream.
        SkipFinishConnect,
        /// A socket that is connected to itself is a connection.
        TalkToItself,
        /// The dials of a connection that ends go on.
        KeepDials,
        /// A full backlog is not tried again.
        ForgetDial,
        /// Shared bytes of which some have been sent are copied from the start.
        JoinFromStart,
        /// A timer that is set again stays where it was.
        ForgetSetTimer,
        /// A failing accept is retried without a pause.
        NoAcceptPause,
        /// Each failure of accept after a success is reported.
        ReportEachFailure,
        /// The kernel serves the latest submission first.
        ServeNewestFirst,
        /// A full send queue that has drained is not reported.
        ForgetDrained,
        /// Room is reported although the caller has closed the sending side since.
        DrainedBehindEnd,
        /// Room is reported although it has been used since.
        TrustOldRoom,
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
        /// A failure that the network reports ends the receives of a datagram socket.
        UnreachableEndsReceives,
        /// A datagram without bytes counts as an end, and is dropped.
        DropEmptyDatagram,
        /// A datagram that was cut is delivered as a whole one.
        ForgetTruncated,
        /// A datagram is dropped at the first failure of a send.
        DropAtFirstFailure,
        /// The timer that makes waits exact is set once and never again.
        ForgetAlarm,
        /// Every packet with one of our keys is taken for an operation's.
        TrustEveryPacket,
        /// A submission that fails with a warning is complete, whatever the system still sends.
        WarningIsFailure,
    }
}
