//! What the limits know about one connection: what it sends, and what it is.

use std::time::Instant;

use crate::config::PortKind;
use crate::endpoint::Rules;

use super::{Budget, FirstBytes, Verdict};

/// One connection's budget, and its first bytes.
#[derive(Debug)]
pub struct StreamLimits {
    budget: Budget,
    /// `None` for one whose bytes are not looked at: those of a world that speaks a protocol of its own.
    first: Option<FirstBytes>,
    /// Since when the client has been silent, if it gets telnet's NOP then.
    silent_since: Option<Instant>,
}

impl StreamLimits {
    /// Those of a connection on a port of this kind. `keepalive` means that a silent telnet client gets a NOP.
    pub fn new(now: Instant, kind: PortKind, keepalive: bool) -> StreamLimits {
        StreamLimits {
            budget: Budget::new(now),
            first: (kind != PortKind::Binary).then(FirstBytes::default),
            silent_since: (keepalive && kind == PortKind::Telnet).then_some(now),
        }
    }

    /// Counts bytes that were received. They may be those of a stranger; then they are not for the protocol.
    pub(crate) fn receive(&mut self, rules: &Rules, now: Instant, bytes: &[u8]) -> Verdict {
        self.budget.receive(rules.rates, now, bytes.len());
        self.silent_since = self.silent_since.map(|_| now);
        match &mut self.first {
            Some(first) => first.receive(bytes),
            None => Verdict::Player,
        }
    }

    /// The rates are others from now on.
    pub(crate) fn change_rates(&mut self, rules: &Rules, now: Instant) {
        self.budget.change_rates(rules.rates, now);
    }

    /// Takes one command from the budget, if the user may send one now.
    pub(crate) fn take_command(&mut self, rules: &Rules, now: Instant) -> bool {
        self.budget.take_command(rules.rates, now)
    }

    /// Whether the server may read from the user now.
    pub(crate) fn may_read(&self, rules: &Rules, now: Instant) -> bool {
        self.budget.may_read(rules.rates, now)
    }

    /// When to look again whether the user may send a command.
    pub(crate) fn next_command(&self, rules: &Rules, now: Instant) -> Instant {
        self.budget.next_command(rules.rates, now)
    }

    /// When to look again whether the server may read from the user.
    pub(crate) fn next_read(&self, rules: &Rules, now: Instant) -> Instant {
        self.budget.next_time(rules.rates, now)
    }

    /// Whether the client has been silent for so long that it gets a NOP now.
    pub(crate) fn keepalive_is_due(&mut self, rules: &Rules, now: Instant) -> bool {
        let due = self.next_keepalive(rules).is_some_and(|at| at <= now);
        if due {
            self.silent_since = Some(now);
        }
        due
    }

    /// When it has been.
    pub(crate) fn next_keepalive(&self, rules: &Rules) -> Option<Instant> {
        self.silent_since?.checked_add(rules.keepalive?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use std::time::Duration;

    #[test]
    fn only_a_silent_telnet_client_gets_a_nop_and_not_again_at_once() {
        let (rules, start) = (Rules::new(&Limits::default(), 1000, 80), Instant::now());
        let minute = Duration::from_secs(60);
        let mut stream = StreamLimits::new(start, PortKind::Telnet, true);
        assert_eq!(stream.next_keepalive(&rules), Some(start + minute));
        stream.receive(&rules, start + minute / 2, b"x");
        assert!(!stream.keepalive_is_due(&rules, start + minute));
        assert!(stream.keepalive_is_due(&rules, start + 2 * minute));
        assert!(!stream.keepalive_is_due(&rules, start + 2 * minute));
        for (kind, keepalive) in
            [(PortKind::Telnet, false), (PortKind::Ascii, true), (PortKind::Binary, true)]
        {
            let stream = StreamLimits::new(start, kind, keepalive);
            assert_eq!(stream.next_keepalive(&rules), None);
        }
    }
}
