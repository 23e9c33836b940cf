//! Limits of users who are present: budgets, deadlines, strangers, and long answers.
//!
//! A user over the budget is not read from, and gets no turn, until there is room in it again. That costs the server
//! nothing: one timer is set to the earliest time at which one of the users has to be looked at.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dolmen::TimerId;

use super::{LIMITS, Server};
use crate::address::Source;
use crate::layer::Output;
use crate::limits::{Expired, Stranger, Verdict};
use crate::logging::names;
use crate::user::User;
use crate::world::{Action, Departure, UserId, World};

/// The longest answer to one command that may wait in addition to the output limit.
pub(super) const LONGEST_ANSWER_BYTES: usize = 16 << 20;

/// How soon the server looks again whether a long answer has been read.
const ANSWER_CHECK: Duration = Duration::from_millis(20);

/// The kinds of log lines that are limited in number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LogKind {
    Banned,
    Full,
    AddressFull,
    TooOften,
    BadHeader,
    Stranger(Stranger),
    Expired(Expired),
    Throttled,
    TooSlow,
}

/// The timer for all users, and the time to which it is set.
#[derive(Debug, Default)]
pub(super) struct LimitTimer {
    timer: Option<(TimerId, Instant)>,
}

impl<W: World> Server<W> {
    /// Whether a line may be logged now, and how many were left out before it.
    pub(super) fn may_log(&mut self, kind: LogKind, address: IpAddr) -> Option<u64> {
        let source = Source::of(address, self.limits.ipv6_prefix);
        let left_out = self.repeats.admit((kind, source), self.now);
        let unreported = self.repeats.take_unreported();
        if unreported > 0 && left_out.is_some() {
            tracing::warn!(unreported, "more lines about limits were left out");
        }
        left_out
    }

    /// Counts bytes of a user. False if the user turns out to be a stranger, and has been ended.
    pub(super) fn count_received(&mut self, id: UserId, data: &[u8]) -> bool {
        let Some(user) = self.users.get_mut(id) else { return false };
        match user.limits.receive(&self.limits, self.now, data) {
            Verdict::Undecided | Verdict::Player => true,
            Verdict::Stranger(stranger) => {
                let peer = user.info.peer;
                self.status.limits.strangers += 1;
                if let Some(left_out) = self.may_log(LogKind::Stranger(stranger), peer.ip()) {
                    tracing::info!(%peer, left_out, "not a player: {stranger}");
                }
                self.depart(id, Departure::Stranger);
                false
            }
        }
    }

    /// Stops reading from a user who is over the budget or has too many lines waiting, or reads again.
    pub(super) fn adjust_reading(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        let may_read = user.limits.budget().may_read(&self.limits, self.now);
        if !user.paused && (!may_read || user.session.is_behind()) {
            user.paused = true;
            let _ = self.reactor.pause(user.conn);
            if !may_read {
                self.status.limits.throttled += 1;
                let peer = user.info.peer;
                if let Some(left_out) = self.may_log(LogKind::Throttled, peer.ip()) {
                    tracing::info!(user = %id, %peer, left_out, "sends more than the command rate; has to wait");
                }
            }
        } else if user.paused && may_read && user.session.has_caught_up() {
            user.paused = false;
            let _ = self.reactor.resume(user.conn);
        }
        if let Some(user) = self.users.get_mut(id).filter(|user| user.paused && !may_read) {
            let at = user.limits.budget().next_time(&self.limits, self.now);
            self.wakeups.schedule(id, &mut user.limits.wake_at, at);
        }
    }

    /// Whether a user may give a command now: there is one in the budget, and the last answer is on its way. If not,
    /// the user gets a turn later.
    pub(super) fn may_command(&mut self, id: UserId) -> bool {
        let Some(user) = self.users.get_mut(id) else { return false };
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        let again = if queued > self.operations.config.output_limit_bytes {
            self.now + ANSWER_CHECK
        } else if !user.limits.take_command(&self.limits, self.now) {
            user.limits.budget().next_command(&self.limits, self.now)
        } else {
            return true;
        };
        self.wakeups.schedule(id, &mut user.limits.wake_at, again);
        false
    }

    /// Whether the queue of a user has room for a text. The answer to the user's own command always fits: the next one
    /// is not carried out before it has been read. Everything else has to stay within the output limit.
    pub(super) fn has_room(&self, id: UserId, user: &User, bytes: usize) -> bool {
        let queued = self.reactor.queued_bytes(user.conn).unwrap_or(0);
        let answer = if self.answering == Some(id) { LONGEST_ANSWER_BYTES } else { user.answer_bytes };
        queued + bytes <= self.operations.config.output_limit_bytes + answer
    }

    /// A user has a name, or another one.
    pub(super) fn logged_on(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        user.limits.log_on(self.now);
        let is_new = self.world.name_of(id).is_none_or(|name| names::set(id.0, name));
        if is_new {
            tracing::info!(user = %id, conn = %user.conn, peer = %user.info.peer, "logged on");
        }
        self.schedule_deadline(id);
    }

    pub(super) fn schedule_deadline(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        let deadlines = [user.limits.next_deadline(&self.limits), user.session.deadline()];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            self.wakeups.schedule(id, &mut user.limits.wake_at, at);
        }
    }

    /// Looks at every user whose time has come.
    pub(super) fn wake_users(&mut self) {
        while let Some(id) = self.wakeups.take_due(self.now) {
            if let Some(unnamed) = self.unnamed.get_mut(&id) {
                unnamed.wake_at = None;
                self.reset_unnamed(id, "no PROXY header in time");
                continue;
            }
            let Some(user) = self.users.get_mut(id) else { continue };
            user.limits.wake_at = None;
            if let Some(expired) = user.limits.expired(&self.limits, self.now) {
                self.expire(id, expired);
                continue;
            }
            if user.limits.keepalive_is_due(&self.limits, self.now) {
                self.send_output(id, Output::KeepAlive);
            }
            // A deadline of a layer is over when the session is flushed.
            self.users.flush_later(id);
            self.users.enqueue(id);
            self.adjust_reading(id);
            self.schedule_deadline(id);
        }
    }

    fn expire(&mut self, id: UserId, expired: Expired) {
        let Some(user) = self.users.get(id) else { return };
        let peer = user.info.peer;
        let why = match expired {
            Expired::Login => Departure::LoginTimeout,
            Expired::Idle => Departure::Idle,
        };
        self.status.limits.expire(expired);
        if let Some(left_out) = self.may_log(LogKind::Expired(expired), peer.ip()) {
            tracing::info!(user = %id, %peer, left_out, "disconnected: {why}");
        }
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
