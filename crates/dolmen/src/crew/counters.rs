//! What a member has done, for statistics: it counts, and the game reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::Published;
use crate::stats::Stats;

/// Written by the member alone.
#[derive(Default)]
pub(crate) struct Counters {
    /// What its engine does.
    of_engine: Arc<Published>,
    turns: AtomicU64,
    received_bytes: AtomicU64,
    messages: AtomicU64,
    replies: AtomicU64,
}

/// What one member has done, and what it has. See [`Crew::members`](crate::Crew::members).
///
/// ```
/// use dolmen::MemberStats;
/// let of_all = |members: &[MemberStats]| members.iter().map(|member| member.messages).sum::<u64>();
/// assert_eq!(of_all(&[]), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStats {
    /// Its number, or `None` for the game's own thread.
    pub member: Option<usize>,
    /// Connections at this moment, those that are closing included.
    pub links: usize,
    /// How many times it has handled what a wait had found.
    pub turns: u64,
    /// Bytes that its codecs have been given.
    pub received_bytes: u64,
    /// Messages that its codecs have delivered.
    pub messages: u64,
    /// Replies that its codecs have been given.
    pub replies: u64,
    /// Bytes that wait in its reactor's queues to be sent. This and the three below are of the reactor of a thread, from its
    /// last wait. For the game's own thread they are 0: its reactor's [`Stats`] have them.
    pub queued_bytes: usize,
    /// Bytes that the system has taken.
    pub sent_bytes: u64,
    /// Sends for which a queue had no room at first.
    pub sends_refused: u64,
    /// Calls into the operating system.
    pub kernel_calls: u64,
    /// It gets no newcomers, and ends with its last connection.
    pub retiring: bool,
}

impl Counters {
    pub(super) fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes as u64);
    }

    pub(super) fn delivered(&self, messages: usize) {
        add(&self.messages, messages as u64);
    }

    pub(super) fn replied(&self) {
        add(&self.replies, 1);
    }

    pub(super) fn turned(&self) {
        add(&self.turns, 1);
    }

    /// Where its engine publishes its figures.
    pub(crate) fn of_engine(&self) -> Arc<Published> {
        Arc::clone(&self.of_engine)
    }

    pub(super) fn read(&self) -> MemberStats {
        let Stats { queued_bytes, bytes_sent, sends_refused, kernel_calls, .. } = self.of_engine.read();
        MemberStats {
            turns: self.turns.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            replies: self.replies.load(Ordering::Relaxed),
            queued_bytes,
            sent_bytes: bytes_sent,
            sends_refused,
            kernel_calls,
            ..MemberStats::default()
        }
    }
}

/// There is one writer, so this needs no locked instruction.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}
