//! What the limits know about one user.

use std::time::Instant;

use super::{Budget, Deadlines, Expired, FirstBytes, Limits, Pass, Verdict};

/// One user's place, budget and deadlines.
#[derive(Debug)]
pub struct UserLimits {
    pass: Pass,
    budget: Budget,
    deadlines: Deadlines,
    /// `None` for a user whose bytes are not looked at: those of a world that speaks a protocol of its own.
    first: Option<FirstBytes>,
    /// The user's slot in [`Wakeups`](super::Wakeups).
    pub wake_at: Option<Instant>,
}

impl UserLimits {
    /// Those of a user who has just been let in. `any_protocol` means that no protocol makes a stranger.
    pub fn new(pass: Pass, now: Instant, any_protocol: bool) -> UserLimits {
        UserLimits {
            pass,
            budget: Budget::new(now),
            deadlines: Deadlines::new(now),
            first: (!any_protocol).then(FirstBytes::default),
            wake_at: None,
        }
    }

    /// The place to give back.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    /// Counts bytes that were received. They may be those of a stranger; then they are not for the protocol.
    pub fn receive(&mut self, limits: &Limits, now: Instant, bytes: &[u8]) -> Verdict {
        self.budget.receive(limits, now, bytes.len());
        match &mut self.first {
            Some(first) => first.receive(bytes),
            None => Verdict::Player,
        }
    }

    /// Takes one command, if the user may send one now.
    pub fn take_command(&mut self, limits: &Limits, now: Instant) -> bool {
        let may = self.budget.take_command(limits, now);
        if may {
            self.deadlines.command(now);
        }
        may
    }

    /// Commands and bytes.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The user has a name.
    pub fn log_on(&mut self, now: Instant) {
        self.deadlines.log_on(now);
    }

    /// Which time is over, if one is.
    pub fn expired(&self, limits: &Limits, now: Instant) -> Option<Expired> {
        self.deadlines.expired(limits, now)
    }

    /// When the next time is over.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.deadlines.next(limits).map(|(at, _)| at)
    }
}
