//! The end of a server, as a state machine: from the first request to the moment when nothing is left to wait for.
//!
//! ```text
//! Running ── begin ──► Closing ── all connections are closed ──► Flushing ── output written, or timeout ──► Stopped
//!    └───────────────────┴──────── a second request by a signal ─────┴────────────────────────────────────────┘
//! ```
//!
//! An end may be asked for in three ways: by a post or by the world, which is one request however often it is repeated,
//! by the end of a script, and by a signal. A signal also bounds the wait for the console's last output, and a second
//! signal ends the server immediately.
//!
//! This module only decides. The server disconnects the users, asks the console for its state, and sets the timer.

use std::time::Duration;

/// How long an end waits until the console's last output is read, unless a script asked for the end.
pub(super) const OUTPUT_DRAIN: Duration = Duration::from_secs(2);

/// The state of a server's end.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    phase: Phase,
    /// A signal asked for the end: it must not wait for the reader of a script's replies.
    is_urgent: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    /// Users got the last message, and their connections are closing.
    Closing,
    /// The console's last output is being written.
    Flushing(Timeout),
    Stopped(End),
}

/// The timer that ends the wait for output that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timeout {
    NotSet,
    Running,
    Passed,
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    /// The console's last output was not read in time.
    OutputUnread,
    /// A second signal did not wait for an orderly end.
    Forced,
}

/// What the server has to do about a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signalled {
    /// Announce the end and begin it, unless it has begun.
    Begin,
    /// Nothing: the server has stopped.
    Stop,
}

/// The state of the console's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Written,
    /// Not all of it is written. A script that has asked for the end gets all of its replies, however long that takes.
    Unread {
        by_script: bool,
    },
}

impl Shutdown {
    pub(super) fn has_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped(_))
    }

    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Running
    }

    pub(super) fn was_forced(&self) -> bool {
        self.phase == Phase::Stopped(End::Forced)
    }

    pub(super) fn left_output_unread(&self) -> bool {
        self.phase == Phase::Stopped(End::OutputUnread)
    }

    /// Begins an orderly end. False if it has begun before.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = self.phase == Phase::Running;
        if is_first {
            self.phase = Phase::Closing;
        }
        is_first
    }

    /// A signal asks for the end. The first one begins an orderly end, or bounds one that waits for a script's reader;
    /// the second one ends the server immediately.
    pub(super) fn signalled(&mut self) -> Signalled {
        if self.is_urgent || self.has_stopped() {
            self.phase = Phase::Stopped(End::Forced);
            return Signalled::Stop;
        }
        self.is_urgent = true;
        Signalled::Begin
    }

    /// The timer of [`OUTPUT_DRAIN`] has fired.
    pub(super) fn output_timed_out(&mut self) {
        if let Phase::Flushing(timeout) = &mut self.phase {
            *timeout = Timeout::Passed;
        }
    }

    /// Moves on as far as the state of the connections and of the output allows. True if the server has to set the
    /// timer of [`OUTPUT_DRAIN`].
    pub(super) fn advance(&mut self, all_closed: bool, output: impl FnOnce() -> Output) -> bool {
        if self.phase == Phase::Closing && all_closed {
            self.phase = Phase::Flushing(Timeout::NotSet);
        }
        let Phase::Flushing(timeout) = self.phase else { return false };
        if timeout == Timeout::Passed {
            self.phase = Phase::Stopped(End::OutputUnread);
            return false;
        }
        match output() {
            Output::Written => self.phase = Phase::Stopped(End::Orderly),
            Output::Unread { by_script } if timeout == Timeout::NotSet && (self.is_urgent || !by_script) => {
                self.phase = Phase::Flushing(Timeout::Running);
                return true;
            }
            Output::Unread { .. } => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOR_SCRIPT: Output = Output::Unread { by_script: true };
    const FOR_OPERATOR: Output = Output::Unread { by_script: false };

    fn begun() -> Shutdown {
        let mut shutdown = Shutdown::default();
        assert!(shutdown.begin());
        shutdown
    }

    #[test]
    fn an_end_begins_once_and_waits_for_connections_then_for_output() {
        let mut shutdown = begun();
        assert!(!shutdown.begin());
        assert!(!shutdown.advance(false, || unreachable!("connections are left")));
        assert!(!shutdown.advance(true, || FOR_SCRIPT));
        assert!(!shutdown.has_stopped());
        assert!(!shutdown.advance(true, || Output::Written));
        assert!(shutdown.has_stopped() && !shutdown.was_forced() && !shutdown.left_output_unread());
    }

    #[test]
    fn a_running_server_does_not_advance() {
        let mut shutdown = Shutdown::default();
        assert!(!shutdown.advance(true, || unreachable!("no end was asked for")));
        assert!(!shutdown.has_stopped());
    }

    #[test]
    fn the_wait_for_an_operators_output_is_bounded_by_one_timer() {
        let mut shutdown = begun();
        assert!(shutdown.advance(true, || FOR_OPERATOR));
        assert!(!shutdown.advance(true, || FOR_OPERATOR));
        shutdown.output_timed_out();
        assert!(!shutdown.has_stopped());
        assert!(!shutdown.advance(true, || unreachable!("the time is over")));
        assert!(shutdown.has_stopped() && shutdown.left_output_unread());
    }

    #[test]
    fn a_signal_bounds_the_wait_for_a_scripts_reader_and_a_second_one_ends_it() {
        let mut shutdown = begun();
        assert!(!shutdown.advance(true, || FOR_SCRIPT));
        assert_eq!(shutdown.signalled(), Signalled::Begin);
        assert!(!shutdown.begin());
        assert!(shutdown.advance(true, || FOR_SCRIPT));
        assert_eq!(shutdown.signalled(), Signalled::Stop);
        assert!(shutdown.has_stopped() && shutdown.was_forced());
    }

    #[test]
    fn two_signals_end_a_running_server() {
        let mut shutdown = Shutdown::default();
        assert_eq!(shutdown.signalled(), Signalled::Begin);
        assert_eq!(shutdown.signalled(), Signalled::Stop);
        assert!(shutdown.was_forced());
    }
}
