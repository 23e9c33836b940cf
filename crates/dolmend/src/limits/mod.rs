//! What one player, one address and a stranger may do.
//!
//! These are rules and nothing else: no socket, no clock, no log. The caller passes the time, so a test can let an hour
//! pass in no time, and a simulated server can run the same code.
//!
//! A limit is always the problem of the one who reaches it. Everything is counted for each source or for each user, and
//! nothing waits in a common queue: a flood from one address makes no other newcomer wait, and a player who pastes a
//! book waits alone. All memory is bounded, also against an attacker with very many addresses.
//!
//! | file | has |
//! |---|---|
//! | `rate` | a token bucket, whose state is one point in time |
//! | `sources` | users and arrivals for each source |
//! | `gate` | whether a newcomer may come in, and the reply to one who may not |
//! | `budget` | commands and bytes of one user, and of one address |
//! | `backlog` | output for a user who reads more slowly than others talk |
//! | `deadlines` | the time until a name, and without a command |
//! | `stranger` | clients that do not speak telnet: HTTP, SSH, TLS and others |
//! | `repeats` | log lines that an attacker could repeat |
//! | `stream` | what one connection sends, and what it is |
//! | `user` | the place and the deadlines of one user |
//! | `counts` | how often each limit was reached |
//! | `wakeups` | one timer for the deadlines of all users |

mod backlog;
mod budget;
mod counts;
mod deadlines;
mod gate;
mod rate;
mod repeats;
mod sources;
mod stranger;
mod stream;
mod user;
mod wakeups;

use std::time::Duration;

use crate::address::Source;
use crate::config::{Config, Networks};

pub use backlog::{Backlog, Look, Room};
pub use budget::{Budget, Rates};
pub use counts::LimitCounts;
pub use deadlines::{Deadlines, Expired};
pub use gate::{Gate, Pass, Refusal};
pub use rate::{Bucket, Rate};
pub use repeats::Repeats;
pub use sources::{Sources, TooMany};
pub use stranger::{FirstBytes, Stranger, Verdict};
pub use stream::StreamLimits;
pub use user::UserLimits;
pub use wakeups::Wakeups;

/// How many times what one user may send all users of one address may send together. Few type at the same moment; a
/// flood by many connections stays one that players with slow links can read.
const USERS_WORTH: u32 = 5;

/// The longest answer to one command that may wait in addition to the output limit.
pub const LONGEST_ANSWER_BYTES: usize = 16 << 20;

/// The default of [`Limits::unread_timeout`]: a telephone that changes its network stands still for some seconds.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The limits in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Users at a time.
    pub max_users: usize,
    /// Users at a time from one address.
    pub max_users_per_address: usize,
    /// How many bits of an IPv6 address name one source: 1 to 128.
    pub ipv6_prefix: u8,
    /// Arrivals from one address.
    pub accept_rate: Rate,
    /// Commands of one user.
    pub command_rate: Rate,
    /// Bytes of one user.
    pub byte_rate: Rate,
    /// The time that a user has to enter a name.
    pub login_timeout: Option<Duration>,
    /// The time after which a user without a command is disconnected.
    pub idle_timeout: Option<Duration>,
    /// How long a user whose output waits up to the limit may read nothing at all before being disconnected.
    pub unread_timeout: Duration,
    /// The time without traffic after which the system, and telnet's NOP, check that the client is still there.
    pub keepalive: Option<Duration>,
    /// Sources without the limits of one address: its users, its arrivals, and what all its users send together. The
    /// limits of one user hold for them too.
    pub no_limits: Networks,
    /// Proxies that are trusted to name the player.
    pub trusted_proxies: Networks,
}

impl Limits {
    /// What one user may send.
    pub fn user_rates(&self) -> Rates {
        Rates { commands: self.command_rate, bytes: self.byte_rate }
    }

    /// What all users of one address may send together.
    pub fn source_rates(&self) -> Rates {
        let Rates { commands, bytes } = self.user_rates();
        Rates { commands: commands.times(USERS_WORTH), bytes: bytes.times(USERS_WORTH) }
    }
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Limits {
        let limits = &config.limits;
        let bytes = limits.command_bytes_per_second.try_into().unwrap_or(u32::MAX);
        Limits {
            max_users: config.max_users,
            max_users_per_address: limits.max_users_per_address,
            ipv6_prefix: limits.ipv6_prefix,
            accept_rate: limits.accept_rate,
            command_rate: limits.command_rate,
            byte_rate: Rate::new(bytes, bytes),
            login_timeout: limits.login_timeout,
            idle_timeout: limits.idle_timeout,
            unread_timeout: UNREAD_TIMEOUT,
            keepalive: limits.keepalive,
            no_limits: limits.no_limits.clone(),
            trusted_proxies: limits.trusted_proxies.clone(),
        }
    }
}

/// Those of the configuration that is built in.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_users: 1000,
            max_users_per_address: 50,
            ipv6_prefix: 64,
            accept_rate: Rate::new(50, 200),
            command_rate: Rate::new(10, 20),
            byte_rate: Rate::new(16 * 1024, 16 * 1024),
            login_timeout: Some(Duration::from_secs(60)),
            idle_timeout: None,
            unread_timeout: UNREAD_TIMEOUT,
            keepalive: Some(Duration::from_secs(60)),
            no_limits: Networks::loopback(),
            trusted_proxies: Networks::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_built_in_configuration() {
        assert_eq!(Limits::from(&Config::built_in().expect("it is good")), Limits::default());
    }
}
