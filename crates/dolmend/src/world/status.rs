//! The counters that a world may read.

use std::fmt;
use std::time::Duration;

use crate::limits::LimitCounts;

/// The server's counters since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// How long the server has been running.
    pub uptime: Duration,
    /// Current users.
    pub users: usize,
    /// Connections without a user: their last output is being sent.
    pub leaving: usize,
    /// Connections that were let in since the start.
    pub accepted: u64,
    /// Connections that were turned away since the start.
    pub refused: u64,
    /// Users who were disconnected because they read too slowly, since the start.
    pub too_slow: u64,
    /// How often each limit was reached.
    pub limits: LimitCounts,
    /// Lines that were processed.
    pub lines: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes passed to the reactor for sending.
    pub sent_bytes: u64,
    /// Bytes that were compressed, before that.
    pub compressed_plain_bytes: u64,
    /// Bytes that compression made of them.
    pub compressed_wire_bytes: u64,
    /// Waits of the server.
    pub waits: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "uptime_s={} users={} leaving={} accepted={} refused={} too_slow={} lines={} received_bytes={} sent_bytes={} \
             compressed_plain_bytes={} compressed_wire_bytes={} waits={} {}",
            self.uptime.as_secs(),
            self.users,
            self.leaving,
            self.accepted,
            self.refused,
            self.too_slow,
            self.lines,
            self.received_bytes,
            self.sent_bytes,
            self.compressed_plain_bytes,
            self.compressed_wire_bytes,
            self.waits,
            self.limits,
        )
    }
}
