//! What the limits know about one user.

use std::time::Instant;

use crate::config::PortKind;

use super::{Budget, Deadlines, Expired, FirstBytes, Limits, Pass, Verdict};

/// One user's place, budget and deadlines.
#[derive(Debug)]
pub struct UserLimits {
    pass: Pass,
    budget: Budget,
    deadlines: Deadlines,
    /// `None` for a user whose bytes are not looked at: those of a world that speaks a protocol of its own.
    first: Option<FirstBytes>,
    /// Since when the client has been silent, if it gets telnet's NOP then.
    silent_since: Option<Instant>,
    /// The user's slot in [`Wakeups`](super::Wakeups).
    pub wake_at: Option<Instant>,
}

impl UserLimits {
    /// Those of a user who has just been let in, on a port of this kind. `keepalive` means that a silent telnet client
    /// gets a NOP.
    pub fn new(pass: Pass, now: Instant, kind: PortKind, keepalive: bool) -> UserLimits {
        UserLimits {
            pass,
            budget: Budget::new(now),
            deadlines: Deadlines::new(now),
            first: (kind != PortKind::Binary).then(FirstBytes::default),
            silent_since: (keepalive && kind == PortKind::Telnet).then_some(now),
            wake_at: None,
        }
    }

    /// The place to give back.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    /// The user has another place.
    pub fn set_pass(&mut self, pass: Pass) {
        self.pass = pass;
    }

    /// Counts bytes that were received. They may be those of a stranger; then they are not for the protocol.
    pub fn receive(&mut self, limits: &Limits, now: Instant, bytes: &[u8]) -> Verdict {
        self.budget.receive(limits, now, bytes.len());
        self.silent_since = self.silent_since.map(|_| now);
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

    /// Whether the client has been silent for so long that it gets a NOP now.
    pub fn keepalive_is_due(&mut self, limits: &Limits, now: Instant) -> bool {
        let due = self.next_keepalive(limits).is_some_and(|at| at <= now);
        if due {
            self.silent_since = Some(now);
        }
        due
    }

    fn next_keepalive(&self, limits: &Limits) -> Option<Instant> {
        self.silent_since?.checked_add(limits.keepalive?)
    }

    /// When the next time is over.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        let deadline = self.deadlines.next(limits).map(|(at, _)| at);
        [deadline, self.next_keepalive(limits)].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Gate;
    use std::time::Duration;

    #[test]
    fn only_a_silent_telnet_client_gets_a_nop_and_not_again_at_once() {
        let (limits, start) = (Limits { login_timeout: None, ..Limits::default() }, Instant::now());
        let address = "192.0.2.1".parse().expect("an address");
        let pass = Gate::default().admit(&limits, None, address, start).expect("a place");
        let minute = Duration::from_secs(60);
        let mut user = UserLimits::new(pass, start, PortKind::Telnet, true);
        assert_eq!(user.next_deadline(&limits), Some(start + minute));
        user.receive(&limits, start + minute / 2, b"x");
        assert!(!user.keepalive_is_due(&limits, start + minute));
        assert!(user.keepalive_is_due(&limits, start + 2 * minute));
        assert!(!user.keepalive_is_due(&limits, start + 2 * minute));
        for (kind, keepalive) in
            [(PortKind::Telnet, false), (PortKind::Ascii, true), (PortKind::Binary, true)]
        {
            let user = UserLimits::new(pass, start, kind, keepalive);
            assert_eq!(user.next_deadline(&limits), None);
        }
    }
}
