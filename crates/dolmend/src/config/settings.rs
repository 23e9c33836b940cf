//! The limits that keep one player's flood from the others, and the settings of the log.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::BadValue;
use super::networks::Networks;
use crate::limits::Rate;

/// The limits for players.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Players at a time from one address.
    pub max_users_per_address: usize,
    /// How many leading bits of an IPv6 address are one address in these limits.
    pub ipv6_prefix: u8,
    /// The networks without the limits of one address: its users, its arrivals, and what all its users send together.
    /// The limits of one user hold there too.
    pub no_limits: Networks,
    /// New connections from one address.
    pub accept_rate: Rate,
    /// Commands of a player: the rate in the long run, and the commands in one moment.
    pub command_rate: Rate,
    /// Bytes of a player's commands each second.
    pub command_bytes_per_second: usize,
    /// How long a newcomer may take to log on.
    pub login_timeout: Option<Duration>,
    /// How long a player may type nothing.
    pub idle_timeout: Option<Duration>,
    /// After how much silence the server checks that a client is still there.
    pub keepalive: Option<Duration>,
    /// The networks whose PROXY headers are believed.
    pub trusted_proxies: Networks,
}

impl Limits {
    /// No value of this is ever in force: see [`Config::built_in`](super::Config::built_in).
    pub(super) fn unset() -> Limits {
        Limits {
            max_users_per_address: 0,
            ipv6_prefix: 0,
            no_limits: Networks::default(),
            accept_rate: Rate { per_second: 0, burst: 0 },
            command_rate: Rate { per_second: 0, burst: 0 },
            command_bytes_per_second: 0,
            login_timeout: None,
            idle_timeout: None,
            keepalive: None,
            trusted_proxies: Networks::default(),
        }
    }
}

/// Where the log goes, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The file; `None` is standard error.
    pub file: Option<PathBuf>,
    /// The least important lines that are written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
    /// How much the reactor logs, 0 to 3.
    pub trace_reactor: u8,
}

impl LogSettings {
    /// No value of this is ever in force, as for [`Limits::unset`].
    pub(super) fn unset() -> LogSettings {
        LogSettings { file: None, level: LogLevel::Info, format: LogFormat::Text, trace_reactor: 0 }
    }
}

/// The importance of a log line, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// The server cannot do something that it should.
    Error,
    /// Something needs the operator's attention.
    Warn,
    /// What players and operators do.
    Info,
    /// Why the server does what it does.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The levels by their words.
    const ALL: [(&'static str, LogLevel); 5] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = LogLevel::ALL.iter().find(|(_, level)| level == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

impl std::str::FromStr for LogLevel {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<LogLevel, BadValue> {
        let level = LogLevel::ALL.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        level.map(|(_, level)| *level).ok_or_else(|| {
            BadValue::new(format!("'{text}' is not a level"), "it is error, warn, info, debug or trace")
        })
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object in each line, for programs.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

impl std::str::FromStr for LogFormat {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<LogFormat, BadValue> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(BadValue::new(format!("'{text}' is not a format"), "it is text or json")),
        }
    }
}
