//! What the limits know about one user, besides what the connection sends.

use std::time::Instant;

use super::{Budget, Deadlines, Expired, Limits, Pass};

/// One user's place, deadlines, and turns out of the budget of the address.
#[derive(Debug)]
pub struct UserLimits {
    pass: Pass,
    deadlines: Deadlines,
    /// When the user was last let have a command, or connected.
    last_turn: Instant,
    /// The user's slot in [`Wakeups`](super::Wakeups).
    pub wake_at: Option<Instant>,
}

impl UserLimits {
    /// Those of a user who has just been let in. `has_login` means that the user has to give a name.
    pub fn new(pass: Pass, now: Instant, has_login: bool) -> UserLimits {
        UserLimits { pass, deadlines: Deadlines::new(now, has_login), last_turn: now, wake_at: None }
    }

    /// The place to give back.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    /// The user has another place.
    pub fn set_pass(&mut self, pass: Pass) {
        self.pass = pass;
    }

    /// Takes one command from the budget of the user's address, if there is one. The user's own is paid already.
    pub fn take_command(&mut self, limits: &Limits, shared: Option<&mut Budget>, now: Instant) -> bool {
        let may = shared.is_none_or(|shared| shared.take_command(limits.source_rates(), now));
        if may {
            self.last_turn = now;
        }
        may
    }

    /// The user has sent a command: a line, and not what a client says by itself.
    pub fn commanded(&mut self, now: Instant) {
        self.deadlines.command(now);
    }

    /// When the user had the last turn, or connected.
    pub fn last_turn(&self) -> Instant {
        self.last_turn
    }

    /// Whether the user has a name, or needs none.
    pub fn is_logged_on(&self) -> bool {
        self.deadlines.is_logged_on()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortKind;
    use crate::endpoint::Rules;
    use crate::limits::{Gate, StreamLimits};
    use std::time::Duration;

    /// [D6] Fifty connections that each keep to their own budget are held to that of their address.
    #[test]
    fn all_users_of_one_address_have_a_budget_together() {
        let limits = Limits { no_limits: Default::default(), ..Limits::default() };
        let rules = Rules::new(&limits, 1000, 80);
        let (mut gate, start) = (Gate::default(), Instant::now());
        let mut admit = |address: &str| {
            let pass = gate.admit(&limits, None, address.parse().expect("an address"), start);
            let stream = StreamLimits::new(start, PortKind::Telnet, true);
            (UserLimits::new(pass.expect("a place"), start, true), stream)
        };
        let mut crowd: Vec<_> = (0..50).map(|_| admit("192.0.2.1")).collect();
        let mut other = admit("192.0.2.2");
        // Each has one command that its own budget has paid for, and waits with it for the other one.
        let mut paid = vec![false; crowd.len()];
        let (mut now, mut commands) = (start, 0);
        for _ in 0..100 {
            for ((user, stream), paid) in crowd.iter_mut().zip(&mut paid) {
                *paid = *paid || stream.take_command(&rules, now);
                if *paid && user.take_command(&limits, gate.budget_mut(user.pass()), now) {
                    *paid = false;
                    commands += 1;
                }
            }
            assert!(other.1.take_command(&rules, now));
            assert!(other.0.take_command(&limits, gate.budget_mut(other.0.pass()), now));
            now += Duration::from_millis(100);
        }
        // Ten seconds, and the burst.
        assert!((550..=600).contains(&commands), "{commands}");
        let rates = limits.source_rates();
        let pass = crowd[0].0.pass();
        let mut shared = *gate.budget_mut(pass).expect("an address that is not exempt");
        assert!(crowd[0].1.may_read(&rules, now), "the user's own budget is not spent");
        shared.receive(rates, now, 80 * 1024);
        assert!(!shared.may_read(rates, now) && shared.next_time(rates, now) > now);
        let others = gate.budget_mut(other.0.pass()).expect("an address that is not exempt");
        assert!(others.may_read(rates, now));
    }
}
