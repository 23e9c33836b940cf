//! Output for a user who reads more slowly than others talk.

use std::time::{Duration, Instant};

/// What becomes of a text that the user has not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It is sent.
    Send,
    /// It is left out: too much waits already.
    LeaveOut,
    /// Too much waits, and the user has read nothing for too long.
    Unread,
}

/// What waits for one user, and what was left out.
///
/// Others may talk faster than a user's link carries it, and it is not that user's fault. So what does not fit is left
/// out, as whole texts, until half of the limit has been read; then the user is told how much is missing, at the place
/// where it is missing. Only a user who reads nothing at all is to be ended.
#[derive(Debug, Default)]
pub struct Backlog {
    /// All bytes that were passed on for sending.
    sent_bytes: u64,
    /// Bytes of texts that a layer holds back until the end of the turn.
    held_back_bytes: usize,
    behind: Option<Behind>,
}

/// The state of a user for whom texts are left out.
#[derive(Debug)]
struct Behind {
    left_out: u64,
    /// How many of all bytes had been read when that was last looked at, and since when it is this number.
    read_bytes: u64,
    unread_since: Instant,
}

impl Backlog {
    /// Bytes were passed on for sending.
    pub fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// A layer holds back so many bytes of text, until [`flushed`](Backlog::flushed).
    pub fn hold_back(&mut self, bytes: usize) {
        self.held_back_bytes += bytes;
    }

    /// Nothing is held back any more.
    pub fn flushed(&mut self) {
        self.held_back_bytes = 0;
    }

    /// Whether texts are left out.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// What becomes of a text of this length, while `queued` bytes wait and `limit` may wait.
    pub fn room(&mut self, bytes: usize, queued: usize, limit: usize, now: Instant) -> Room {
        if self.behind.is_none() && queued + self.held_back_bytes + bytes > limit {
            let read_bytes = self.read_bytes(queued);
            self.behind = Some(Behind { left_out: 0, read_bytes, unread_since: now });
        }
        if self.is_behind() { Room::LeaveOut } else { Room::Send }
    }

    /// A text was left out, about which the user is to be told.
    pub fn leave_out(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.left_out += 1;
        }
    }

    /// Looks how far the user has read, while texts are left out. With [`Room::Send`] the user has caught up: texts are
    /// sent again, and this many are missing.
    pub fn look(&mut self, queued: usize, limit: usize, timeout: Duration, now: Instant) -> (Room, u64) {
        let read_bytes = self.read_bytes(queued);
        let Some(behind) = &mut self.behind else { return (Room::Send, 0) };
        if queued + self.held_back_bytes <= limit / 2 {
            let left_out = behind.left_out;
            self.behind = None;
            return (Room::Send, left_out);
        }
        if read_bytes > behind.read_bytes {
            (behind.read_bytes, behind.unread_since) = (read_bytes, now);
        }
        let unread = now.saturating_duration_since(behind.unread_since) >= timeout;
        (if unread { Room::Unread } else { Room::LeaveOut }, 0)
    }

    fn read_bytes(&self, queued: usize) -> u64 {
        self.sent_bytes.saturating_sub(queued as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;
    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn texts_are_left_out_until_half_of_the_limit_is_read_and_counted_once() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!(backlog.look(0, LIMIT, TIMEOUT, now), (Room::Send, 0));
        assert_eq!(backlog.room(600, 400, LIMIT, now), Room::Send);
        backlog.sent(1000);
        assert_eq!(backlog.room(1, 1000, LIMIT, now), Room::LeaveOut);
        backlog.leave_out();
        // There would be room, but the hole would be another one.
        assert_eq!(backlog.room(1, 501, LIMIT, now), Room::LeaveOut);
        backlog.leave_out();
        assert_eq!(backlog.look(501, LIMIT, TIMEOUT, now), (Room::LeaveOut, 0));
        assert_eq!(backlog.look(500, LIMIT, TIMEOUT, now), (Room::Send, 2));
        assert!(!backlog.is_behind());
        assert_eq!(backlog.look(500, LIMIT, TIMEOUT, now), (Room::Send, 0));
    }

    #[test]
    fn only_a_user_who_reads_nothing_at_all_is_ended() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        backlog.sent(10_000);
        assert_eq!(backlog.room(1, 1000, LIMIT, start), Room::LeaveOut);
        // A byte now and then is enough.
        let mut now = start;
        for _ in 0..10 {
            now += TIMEOUT - Duration::from_nanos(1);
            assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, now), (Room::LeaveOut, 0));
            // An answer was added, and a byte has been read.
            backlog.sent(1);
            assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, now), (Room::LeaveOut, 0));
        }
        assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, now + TIMEOUT), (Room::Unread, 0));
    }

    #[test]
    fn what_a_layer_holds_back_counts() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.hold_back(900);
        assert_eq!(backlog.room(100, 0, LIMIT, now), Room::Send);
        backlog.hold_back(100);
        assert_eq!(backlog.room(1, 0, LIMIT, now), Room::LeaveOut);
        assert_eq!(backlog.look(0, LIMIT, TIMEOUT, now), (Room::LeaveOut, 0));
        backlog.flushed();
        assert_eq!(backlog.look(0, LIMIT, TIMEOUT, now), (Room::Send, 0));
    }
}
