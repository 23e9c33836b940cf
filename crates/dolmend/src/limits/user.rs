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
    /// When the user was last let have a command, or connected.
    last_turn: Instant,
    /// `None` for a user whose bytes are not looked at: those of a world that speaks a protocol of its own.
    first: Option<FirstBytes>,
    /// Since when the client has been silent, if it gets telnet's NOP then.
    silent_since: Option<Instant>,
    /// The user's slot in [`Wakeups`](super::Wakeups).
    pub wake_at: Option<Instant>,
}

impl UserLimits {
    /// Those of a user who has just been let in, on a port of this kind. `keepalive` means that a silent telnet client
    /// gets a NOP, and `has_login` that the user has to give a name.
    pub fn new(pass: Pass, now: Instant, kind: PortKind, keepalive: bool, has_login: bool) -> UserLimits {
        UserLimits {
            pass,
            budget: Budget::new(now),
            deadlines: Deadlines::new(now, has_login),
            last_turn: now,
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

    /// Counts bytes that were received, also in the budget of the user's address. They may be those of a stranger; then
    /// they are not for the protocol.
    pub fn receive(
        &mut self,
        limits: &Limits,
        shared: Option<&mut Budget>,
        now: Instant,
        bytes: &[u8],
    ) -> Verdict {
        self.budget.receive(limits.user_rates(), now, bytes.len());
        if let Some(shared) = shared {
            shared.receive(limits.source_rates(), now, bytes.len());
        }
        self.silent_since = self.silent_since.map(|_| now);
        match &mut self.first {
            Some(first) => first.receive(bytes),
            None => Verdict::Player,
        }
    }

    /// The rates are others from now on.
    pub fn change_rates(&mut self, limits: &Limits, now: Instant) {
        self.budget.change_rates(limits.user_rates(), now);
    }

    /// Takes one command from both budgets, if the user may send one now.
    pub fn take_command(&mut self, limits: &Limits, shared: Option<&mut Budget>, now: Instant) -> bool {
        let (own, all) = (limits.user_rates(), limits.source_rates());
        if shared.as_ref().is_some_and(|shared| !shared.may_take(all, now)) {
            return false;
        }
        let may = self.budget.take_command(own, now);
        if may {
            self.last_turn = now;
            if let Some(shared) = shared {
                shared.take_command(all, now);
            }
        }
        may
    }

    /// Whether the server may read from the user now.
    pub fn may_read(&self, limits: &Limits, shared: Option<&mut Budget>, now: Instant) -> bool {
        self.budget.may_read(limits.user_rates(), now)
            && shared.is_none_or(|shared| shared.may_read(limits.source_rates(), now))
    }

    /// When to look again whether the user may send a command. Others of the address may have sent one by then.
    pub fn next_command(&self, limits: &Limits, shared: Option<&mut Budget>, now: Instant) -> Instant {
        let own = self.budget.next_command(limits.user_rates(), now);
        shared.map_or(own, |shared| own.max(shared.next_command(limits.source_rates(), now)))
    }

    /// When to look again whether the server may read from the user.
    pub fn next_read(&self, limits: &Limits, shared: Option<&mut Budget>, now: Instant) -> Instant {
        let own = self.budget.next_time(limits.user_rates(), now);
        shared.map_or(own, |shared| own.max(shared.next_time(limits.source_rates(), now)))
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
        let mut user = UserLimits::new(pass, start, PortKind::Telnet, true, true);
        assert_eq!(user.next_deadline(&limits), Some(start + minute));
        user.receive(&limits, None, start + minute / 2, b"x");
        assert!(!user.keepalive_is_due(&limits, start + minute));
        assert!(user.keepalive_is_due(&limits, start + 2 * minute));
        assert!(!user.keepalive_is_due(&limits, start + 2 * minute));
        for (kind, keepalive) in
            [(PortKind::Telnet, false), (PortKind::Ascii, true), (PortKind::Binary, true)]
        {
            let user = UserLimits::new(pass, start, kind, keepalive, true);
            assert_eq!(user.next_deadline(&limits), None);
        }
    }
    /// [D6] Fifty connections that each keep to their own budget are held to that of their address.
    #[test]
    fn all_users_of_one_address_have_a_budget_together() {
        let limits = Limits { no_limits: Default::default(), ..Limits::default() };
        let (mut gate, start) = (Gate::default(), Instant::now());
        let mut admit = |address: &str| {
            let pass = gate.admit(&limits, None, address.parse().expect("an address"), start);
            UserLimits::new(pass.expect("a place"), start, PortKind::Telnet, true, true)
        };
        let mut crowd: Vec<UserLimits> = (0..50).map(|_| admit("192.0.2.1")).collect();
        let mut other = admit("192.0.2.2");
        let (mut now, mut commands) = (start, 0);
        for _ in 0..100 {
            for user in &mut crowd {
                let shared = gate.budget_mut(user.pass());
                commands += usize::from(user.take_command(&limits, shared, now));
            }
            assert!(other.take_command(&limits, gate.budget_mut(other.pass()), now));
            now += Duration::from_millis(100);
        }
        // Ten seconds, and the burst.
        assert!((550..=600).contains(&commands), "{commands}");
        let user = &mut crowd[0];
        assert!(user.may_read(&limits, None, now), "the user's own budget is not spent");
        user.receive(&limits, gate.budget_mut(user.pass()), now, &[b'x'; 16 * 1024]);
        let neighbour = &mut crowd[1];
        neighbour.receive(&limits, gate.budget_mut(neighbour.pass()), now, &[b'x'; 64 * 1024]);
        let third = &crowd[2];
        assert!(!third.may_read(&limits, gate.budget_mut(third.pass()), now));
        assert!(third.next_read(&limits, gate.budget_mut(third.pass()), now) > now);
        assert!(other.may_read(&limits, gate.budget_mut(other.pass()), now));
    }
}
