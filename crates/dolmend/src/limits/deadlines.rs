//! The time until a name is given, and the time without a command.

use std::time::Instant;

use super::Limits;

/// The deadlines of one user.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    connected: Instant,
    last_command: Instant,
    logged_on: bool,
}

/// The time that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expired {
    /// No name was given in time.
    Login,
    /// No command came for too long.
    Idle,
}

impl Expired {
    /// The text for the user.
    pub fn text(self) -> &'static str {
        match self {
            Expired::Login => "\nYou took too long to log on. Good-bye.\n",
            Expired::Idle => "\nYou were idle for too long. Good-bye.\n",
        }
    }
}

impl Deadlines {
    /// Those of a user who has just connected, and has to give a name where the world asks for one (`has_login`).
    pub fn new(now: Instant, has_login: bool) -> Deadlines {
        Deadlines { connected: now, last_command: now, logged_on: !has_login }
    }

    /// The user has a name. From now on only the idle time counts.
    pub fn log_on(&mut self, now: Instant) {
        self.logged_on = true;
        self.last_command = now;
    }

    /// The user has sent a command.
    pub fn command(&mut self, now: Instant) {
        self.last_command = now;
    }

    /// Whether the user has a name, or needs none.
    pub fn is_logged_on(&self) -> bool {
        self.logged_on
    }

    /// The next deadline, and what is over then. `None` if no time is limited.
    pub fn next(&self, limits: &Limits) -> Option<(Instant, Expired)> {
        let at = |start: Instant, time, what| Some((start.checked_add(time?)?, what));
        match self.logged_on {
            // Commands do not prolong it: a client that types and never gives a name would stay.
            false => at(self.connected, limits.login_timeout, Expired::Login),
            true => at(self.last_command, limits.idle_timeout, Expired::Idle),
        }
    }

    /// What is over, if something is.
    pub fn expired(&self, limits: &Limits, now: Instant) -> Option<Expired> {
        self.next(limits).filter(|(at, _)| *at <= now).map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_name_has_to_be_given_in_time_whatever_else_is_sent() {
        let (limits, start) = (Limits::default(), Instant::now());
        let mut deadlines = Deadlines::new(start, true);
        let end = start + Duration::from_secs(60);
        deadlines.command(start + Duration::from_secs(59));
        assert_eq!(deadlines.next(&limits), Some((end, Expired::Login)));
        assert_eq!(deadlines.expired(&limits, end - Duration::from_nanos(1)), None);
        assert_eq!(deadlines.expired(&limits, end), Some(Expired::Login));
        deadlines.log_on(end);
        assert_eq!(deadlines.next(&limits), None);
    }

    #[test]
    fn each_command_begins_the_idle_time_again() {
        let idle = Duration::from_secs(600);
        let limits = Limits { idle_timeout: Some(idle), login_timeout: None, ..Limits::default() };
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start, true);
        assert_eq!(deadlines.next(&limits), None);
        deadlines.log_on(start);
        assert_eq!(deadlines.next(&limits), Some((start + idle, Expired::Idle)));
        deadlines.command(start + idle / 2);
        assert_eq!(deadlines.expired(&limits, start + idle), None);
        assert_eq!(deadlines.expired(&limits, start + idle + idle / 2), Some(Expired::Idle));
        assert!(Expired::Idle.text() != Expired::Login.text());
    }

    #[test]
    fn where_no_name_is_asked_for_only_the_idle_time_counts() {
        let start = Instant::now();
        assert_eq!(Deadlines::new(start, false).next(&Limits::default()), None);
        let idle = Duration::from_secs(600);
        let limits = Limits { idle_timeout: Some(idle), ..Limits::default() };
        assert_eq!(Deadlines::new(start, false).next(&limits), Some((start + idle, Expired::Idle)));
    }

    #[test]
    fn a_time_beyond_the_clock_is_no_limit() {
        let limits = Limits { login_timeout: Some(Duration::MAX), ..Limits::default() };
        assert_eq!(Deadlines::new(Instant::now(), true).next(&limits), None);
    }
}
