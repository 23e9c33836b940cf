//! The settings of a reactor, and the engine's own constants.

use std::time::Duration;

use crate::kernel::Options;

/// The settings of [`Builder`](crate::Builder), checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) max_events: usize,
    pub(crate) pool_size: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) high_water_bytes: usize,
    pub(crate) low_water_bytes: usize,
    /// The most bytes that one send passes to the kernel. Windows locks in memory what it is given.
    pub(crate) max_send_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) post_capacity: usize,
    pub(crate) skip_on_success: bool,
    /// `None`: as many as the system carries out without making one wait for another.
    pub(crate) most_transmits: Option<usize>,
    /// How many look-ups may not be reported yet, those of addresses in text included.
    pub(crate) most_lookups: usize,
    /// How many operations on files may not be reported yet.
    pub(crate) most_file_ops: usize,
}

impl Config {
    pub(crate) const DEFAULT: Config = Config {
        max_events: 128,
        pool_size: 256,
        buffer_bytes: 4096,
        max_connections: usize::MAX,
        high_water_bytes: 256 * 1024,
        low_water_bytes: 64 * 1024,
        max_send_bytes: 64 * 1024,
        linger: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(20),
        post_capacity: 65_536,
        skip_on_success: true,
        most_transmits: None,
        most_lookups: 1_024,
        most_file_ops: 1_024,
    };

    pub(super) fn options(&self) -> Options {
        let Config { skip_on_success, most_transmits, .. } = *self;
        Options { max_packets: self.max_events, skip_on_success, most_transmits }
    }

    pub(super) fn linger_ns(&self) -> u64 {
        saturating_ns(self.linger)
    }
}

/// The first and the longest pause after a failing accept or watch, and when there was no memory for a send or a
/// receive.
pub(super) const RETRY_FIRST_NS: u64 = 10_000_000;
const RETRY_LONGEST_NS: u64 = 1_000_000_000;

/// The pause before the next attempt, doubling from `RETRY_FIRST_NS` on.
pub(super) fn next_retry_ns(last_ns: u64) -> u64 {
    (last_ns * 2).clamp(RETRY_FIRST_NS, RETRY_LONGEST_NS)
}

/// A time that the clock cannot express never comes, instead of being taken for a short one [hc23].
pub(super) fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
