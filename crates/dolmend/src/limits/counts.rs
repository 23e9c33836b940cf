//! How often each limit was reached.

use std::fmt;

use super::{Expired, Refusal};

/// How often each limit was reached since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitCounts {
    /// Newcomers from banned addresses.
    pub banned: u64,
    /// Newcomers for whom no place was free.
    pub full: u64,
    /// Newcomers from an address with as many users as one may have.
    pub address_full: u64,
    /// Newcomers from an address that connects too often.
    pub too_often: u64,
    /// Clients that do not speak telnet.
    pub strangers: u64,
    /// Connections of trusted proxies without a good PROXY header.
    pub bad_headers: u64,
    /// Users who gave no name in time.
    pub login_timeouts: u64,
    /// Users who were idle for too long.
    pub idle_timeouts: u64,
    /// How often a user had to wait for a budget of commands or bytes.
    pub throttled: u64,
    /// Texts of others that were left out for users who read too slowly.
    pub left_out: u64,
}

impl LimitCounts {
    /// Counts a newcomer who was refused.
    pub fn refuse(&mut self, refusal: &Refusal) {
        *match refusal {
            Refusal::Banned(_) => &mut self.banned,
            Refusal::Full => &mut self.full,
            Refusal::AddressFull => &mut self.address_full,
            Refusal::TooOften => &mut self.too_often,
        } += 1;
    }

    /// Counts a user whose time was over.
    pub fn expire(&mut self, expired: Expired) {
        *match expired {
            Expired::Login => &mut self.login_timeouts,
            Expired::Idle => &mut self.idle_timeouts,
        } += 1;
    }
}

impl LimitCounts {
    /// Every counter with its name.
    pub fn each(&self) -> [(&'static str, u64); 10] {
        let LimitCounts {
            banned,
            full,
            address_full,
            too_often,
            strangers,
            bad_headers,
            login_timeouts,
            idle_timeouts,
            throttled,
            left_out,
        } = *self;
        [
            ("banned", banned),
            ("full", full),
            ("address_full", address_full),
            ("too_often", too_often),
            ("strangers", strangers),
            ("bad_headers", bad_headers),
            ("login_timeouts", login_timeouts),
            ("idle_timeouts", idle_timeouts),
            ("throttled", throttled),
            ("left_out", left_out),
        ]
    }
}

impl fmt::Display for LimitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.each().map(|(name, count)| format!("{name}={count}"));
        f.write_str(&words.join(" "))
    }
}
