//! Limits of users who are present: the budgets of addresses, and deadlines. The [endpoint](crate::endpoint) sees to those of
//! the connection itself.
//!
//! A user over the budget of the address is not read from, and gets no turn, until there is room in it again. That costs the
//! server nothing: one timer is set to the earliest time at which one of the users has to be looked at.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dolmen::TimerId;

use super::{LEFT_OUT, LIMITS, Server};
use crate::address::Source;
use crate::endpoint::Order;
use crate::limits::{Expired, Stranger};
use crate::logging::names;
use crate::user::{User, about};
use crate::world::{Action, Departure, UserId, World};

/// The shortest time after which a user who was looked at is looked at again. A deadline that stays over, which would be a
/// fault, must cost the others nothing.
const SHORTEST_WAKEUP: Duration = Duration::from_millis(10);

/// How soon the number of lines that were left out is reported.
const REPORT_AFTER: Duration = Duration::from_secs(60);

/// The kinds of log lines that are limited in number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LogKind {
    Banned,
    Full,
    AddressFull,
    TooOften,
    /// With what is wrong: one fault must not hide another.
    BadHeader(&'static str),
    Stranger(Stranger),
    Expired(Expired),
    Throttled,
    TooSlow,
    Behind,
}

/// The lines of this kind, for the report about those that were left out.
impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogKind::Banned => f.write_str("refused: banned"),
            LogKind::Full => f.write_str("refused: max users reached"),
            LogKind::AddressFull => f.write_str("refused: max users per address reached"),
            LogKind::TooOften => f.write_str("refused: accept rate exceeded"),
            LogKind::BadHeader(why) => write!(f, "ended a connection of a trusted proxy: {why}"),
            LogKind::Stranger(stranger) => write!(f, "not a player: {stranger}"),
            LogKind::Expired(Expired::Login) => f.write_str("disconnected: login timeout"),
            LogKind::Expired(Expired::Idle) => f.write_str("disconnected: idle timeout"),
            LogKind::Throttled => f.write_str("sends more than the command rate"),
            LogKind::TooSlow => f.write_str("output limit reached"),
            LogKind::Behind => f.write_str("reads more slowly than others talk"),
        }
    }
}

/// The timer for all users, and the time to which it is set.
#[derive(Debug, Default)]
pub(super) struct LimitTimer {
    timer: Option<(TimerId, Instant)>,
    /// The users whose time has come. Kept so that it costs no allocation.
    due: Vec<UserId>,
    /// A timer for the report of lines that were left out is set.
    pub reports: bool,
}

impl<W: World> Server<W> {
    /// Whether a line may be logged now, and how many were left out before it.
    pub(super) fn may_log(&mut self, kind: LogKind, address: IpAddr) -> Option<u64> {
        let source = Source::of(address, self.limits.ipv6_prefix);
        let left_out = self.repeats.admit((kind, source), self.now);
        if left_out.is_none() && !self.limit_timer.reports {
            // The report comes even if no other line does.
            self.limit_timer.reports = true;
            self.reactor.add_timer(REPORT_AFTER, LEFT_OUT);
        }
        let left_out = left_out?;
        let unreported = self.repeats.take_unreported();
        if unreported > 0 {
            tracing::warn!(unreported, "more lines about limits were left out");
        }
        Some(left_out)
    }

    /// Logs a line about a user, with how many were left out before it, if one may be logged now.
    pub(super) fn log_limited(&mut self, kind: LogKind, id: UserId, log: impl FnOnce(&User, u64)) {
        let Some(peer) = self.users.get(id).map(|user| user.info.peer) else { return };
        let Some(left_out) = self.may_log(kind, peer.ip()) else { return };
        let _ = self.users.get(id).map(|user| log(user, left_out));
    }

    /// Reports the lines that were left out since the last report.
    pub(super) fn report_left_out(&mut self) {
        self.limit_timer.reports = false;
        self.repeats.report(|&(kind, source), left_out| {
            tracing::info!(address = %source.network(), unlogged = left_out, "more of: {kind}");
        });
        let unreported = self.repeats.take_unreported();
        if unreported > 0 {
            tracing::warn!(unreported, "more lines about limits were left out");
        }
    }

    /// Counts bytes of a user in the budget of the address, and stops reading from a user when it is spent.
    pub(super) fn count_received(&mut self, id: UserId, bytes: u64) {
        let Some(user) = self.users.get(id).filter(|_| bytes > 0) else { return };
        let Some(shared) = self.gate.budget_mut(user.limits.pass()) else { return };
        shared.receive(self.limits.source_rates(), self.now, bytes.try_into().unwrap_or(usize::MAX));
        self.adjust_reading(id);
    }

    /// Has a user's endpoint read or not, as the budget of the address wants it.
    pub(super) fn adjust_reading(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        let shared = self.gate.budget_mut(user.limits.pass());
        let rates = self.limits.source_rates();
        let next = shared
            .filter(|shared| !shared.may_read(rates, self.now))
            .map(|shared| shared.next_time(rates, self.now));
        if let Some(next) = next {
            self.wakeups.schedule(id, &mut user.limits.wake_at, next);
        }
        if user.is_throttled == next.is_some() {
            return;
        }
        user.is_throttled = next.is_some();
        self.order(id, Order::Read(next.is_none()));
        if next.is_some() {
            self.log_throttled(id);
        }
    }

    pub(super) fn end_stranger(&mut self, id: UserId, stranger: Stranger) {
        self.status.limits.strangers += 1;
        self.log_limited(LogKind::Stranger(stranger), id, |user, left_out| {
            about!(info, user, unlogged = left_out, "not a player: {stranger}");
        });
        self.depart(id, Departure::Stranger);
    }

    pub(super) fn log_throttled(&mut self, id: UserId) {
        self.status.limits.throttled += 1;
        self.log_limited(LogKind::Throttled, id, |user, left_out| {
            about!(info, user, unlogged = left_out, "sends more than the command rate; has to wait");
        });
    }

    pub(super) fn log_behind(&mut self, id: UserId) {
        self.log_limited(LogKind::Behind, id, |user, left_out| {
            about!(info, user, unlogged = left_out, "reads more slowly than others talk; texts are left out");
        });
    }

    /// Whether a user may give a command now, or the client something else that calls the world: the user's own budget has
    /// paid for it, and there is one in that of the address. If not, the user gets a turn later.
    pub(super) fn may_command(&mut self, id: UserId) -> bool {
        let Some(user) = self.users.get_mut(id) else { return false };
        let pass = user.limits.pass();
        if user.limits.take_command(&self.limits, self.gate.budget_mut(pass), self.now) {
            return true;
        }
        if let Some(shared) = self.gate.budget_mut(pass) {
            let again = shared.next_command(self.limits.source_rates(), self.now);
            self.wakeups.schedule(id, &mut user.limits.wake_at, again);
        }
        false
    }

    /// A user has a name, or another one.
    pub(super) fn logged_on(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        user.limits.log_on(self.now);
        let is_new = self.world.name_of(id).is_none_or(|name| names::set(id.0, name));
        if is_new {
            about!(info, &*user, "logged on");
        }
        self.schedule_deadline(id);
    }

    pub(super) fn schedule_deadline(&mut self, id: UserId) {
        self.schedule_deadline_from(id, self.now);
    }

    /// Looks at a user at the next deadline, and not before `earliest`.
    fn schedule_deadline_from(&mut self, id: UserId, earliest: Instant) {
        let Some(user) = self.users.get_mut(id) else { return };
        if let Some(at) = user.limits.next_deadline(&self.limits) {
            self.wakeups.schedule(id, &mut user.limits.wake_at, at.max(earliest));
        }
    }

    /// Looks at every user whose time has come, once. Who has waited for the longest time comes first, and before those who
    /// have something to do only since this round: users of one address wait for the same budget, and none of them may take
    /// all of it.
    pub(super) fn wake_users(&mut self) {
        let newcomers = self.users.waiting();
        let mut due = std::mem::take(&mut self.limit_timer.due);
        self.wakeups.take_due(self.now, &mut due);
        due.sort_by_key(|&id| self.users.get(id).map(|user| user.limits.last_turn()));
        for id in due.drain(..) {
            if let Some(unnamed) = self.unnamed.get_mut(&id) {
                unnamed.wake_at = None;
                self.reset_unnamed(id, "no PROXY header in time");
            } else {
                self.wake_user(id);
            }
        }
        self.limit_timer.due = due;
        self.users.move_back(newcomers);
    }

    fn wake_user(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        user.limits.wake_at = None;
        if let Some(expired) = user.limits.expired(&self.limits, self.now) {
            return self.expire(id, expired);
        }
        self.users.enqueue(id);
        self.adjust_reading(id);
        self.schedule_deadline_from(id, self.now + SHORTEST_WAKEUP);
    }

    fn expire(&mut self, id: UserId, expired: Expired) {
        let why = match expired {
            Expired::Login => Departure::LoginTimeout,
            Expired::Idle => Departure::Idle,
        };
        self.status.limits.expire(expired);
        self.log_limited(LogKind::Expired(expired), id, |user, left_out| {
            about!(info, user, unlogged = left_out, "disconnected: {why}");
        });
        self.actions.push(Action::Send { user: id, text: expired.text().into() });
        self.carry_out();
        self.depart(id, why);
        self.carry_out();
    }

    /// Sets the timer to the earliest time.
    pub(super) fn set_limit_timer(&mut self) {
        let next = self.wakeups.next();
        if next == self.limit_timer.timer.map(|(_, at)| at) {
            return;
        }
        if let Some((timer, _)) = self.limit_timer.timer.take() {
            self.reactor.remove_timer(timer);
        }
        self.limit_timer.timer = next.map(|at| {
            let after = at.saturating_duration_since(Instant::now());
            (self.reactor.add_timer(after, LIMITS), at)
        });
    }

    /// The timer has fired, and is gone.
    pub(super) fn limit_timer_fired(&mut self) {
        self.limit_timer.timer = None;
    }
}
