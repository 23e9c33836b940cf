//! Output for a user who reads more slowly than others talk.

use std::time::{Duration, Instant};

/// What becomes of a text that the user has not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It is sent.
    Send,
    /// It is left out: too much waits already.
    LeaveOut,
}

/// What a look at a user's output finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// The user has caught up, and so many texts are missing before the next one.
    pub missing: u64,
    /// Look again: too much waits still.
    pub again: bool,
    /// Too much waits, and the user has read nothing for too long.
    pub unread: bool,
}

/// What waits for one user, and what was left out.
///
/// Others may talk faster than a user's link carries it, and it is not that user's fault. So what does not fit is left
/// out, as whole texts, until half of the limit has been read; then a line to the user says how much is missing, at the place
/// where it is missing.
///
/// Answers have room of their own, and only as long as they are unread: what others say stays within the limit before,
/// during and after a long answer. A user who reads nothing at all while more than the limit waits is to be ended, whose
/// output that may be.
#[derive(Debug, Default)]
pub struct Backlog {
    /// All bytes that were passed on for sending.
    sent_bytes: u64,
    /// Bytes of texts that a layer holds back until the end of the turn.
    held_back_bytes: usize,
    /// Those of answers, which do not count towards the limit.
    held_back_answer_bytes: usize,
    /// The bytes of the answers of which some may be unread, and how many of all bytes are sent with the last of them.
    answer_bytes: usize,
    answer_ends_at: u64,
    /// How many texts were left out, while texts are left out.
    left_out: Option<u64>,
    /// `None` while so little waits that no one has to look.
    progress: Option<Progress>,
}

/// How many of all bytes had been read when that was last looked at, and since when it is this number.
#[derive(Debug, Clone, Copy)]
struct Progress {
    read_bytes: u64,
    since: Instant,
}

impl Backlog {
    /// Bytes were passed on for sending.
    pub fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// The next bytes to be sent are of an answer, and `queued` bytes wait before them.
    pub fn answers(&mut self, bytes: usize, queued: usize) {
        self.answer_bytes = self.unread_answer(queued) + bytes;
        self.answer_ends_at = self.sent_bytes + bytes as u64;
    }

    /// How many of the bytes that wait are of answers.
    pub fn unread_answer(&self, queued: usize) -> usize {
        let unread = self.answer_ends_at.saturating_sub(self.read_bytes(queued));
        self.answer_bytes.min(unread.try_into().unwrap_or(usize::MAX))
    }

    /// All bytes of answers that wait, if `queued` of all bytes have been passed on.
    pub fn answers_waiting(&self, queued: usize) -> usize {
        self.unread_answer(queued) + self.held_back_answer_bytes
    }

    /// Whether a text that is longer than the limit may be sent as an answer. What was sent in the same round before it
    /// has had no chance to be read, so it may wait; but not another long text.
    pub fn takes_long_text(&self, queued: usize, limit: usize) -> bool {
        !self.is_behind() && self.others(queued) <= limit && self.answers_waiting(queued) <= limit
    }

    /// A layer holds back so many bytes of text, until [`flushed`](Backlog::flushed).
    pub fn hold_back(&mut self, bytes: usize) {
        self.held_back_bytes += bytes;
    }

    /// The same, of an answer.
    pub fn hold_back_answer(&mut self, bytes: usize) {
        self.held_back_answer_bytes += bytes;
    }

    /// Nothing is held back any more.
    pub fn flushed(&mut self) {
        (self.held_back_bytes, self.held_back_answer_bytes) = (0, 0);
    }

    /// All bytes that wait, if `queued` of them have been passed on.
    pub fn waiting(&self, queued: usize) -> usize {
        queued + self.held_back_bytes + self.held_back_answer_bytes
    }

    /// Whether texts are left out.
    pub fn is_behind(&self) -> bool {
        self.left_out.is_some()
    }

    /// Whether so much waits that someone has to [`look`](Backlog::look).
    pub fn is_watched(&self) -> bool {
        self.progress.is_some()
    }

    /// What becomes of a text of this length that is not an answer, while `queued` bytes wait and `limit` may wait.
    pub fn room(&mut self, bytes: usize, queued: usize, limit: usize, now: Instant) -> Room {
        if !self.is_behind() && self.others(queued) + bytes > limit {
            self.left_out = Some(0);
            self.watch(queued, now);
        }
        if self.is_behind() { Room::LeaveOut } else { Room::Send }
    }

    /// A text was left out, and the line that says so is still to be sent.
    pub fn leave_out(&mut self) {
        if let Some(left_out) = &mut self.left_out {
            *left_out += 1;
        }
    }

    /// Has someone look whether the user reads, from now on.
    pub fn watch(&mut self, queued: usize, now: Instant) {
        if self.progress.is_none() {
            self.progress = Some(Progress { read_bytes: self.read_bytes(queued), since: now });
        }
    }

    /// Looks how far the user has read.
    pub fn look(&mut self, queued: usize, limit: usize, timeout: Duration, now: Instant) -> Look {
        let mut missing = 0;
        if self.others(queued) <= limit / 2 {
            missing = self.left_out.take().unwrap_or(0);
        }
        if !self.is_behind() && queued <= limit {
            self.progress = None;
            return Look { missing, ..Look::default() };
        }
        Look { missing, again: true, unread: self.still_for(queued, now) >= timeout }
    }

    /// For how long the user has read nothing.
    pub fn still_for(&mut self, queued: usize, now: Instant) -> Duration {
        self.watch(queued, now);
        let read_bytes = self.read_bytes(queued);
        let Some(progress) = self.progress.as_mut() else { return Duration::ZERO };
        if read_bytes > progress.read_bytes {
            *progress = Progress { read_bytes, since: now };
        }
        now.saturating_duration_since(progress.since)
    }

    /// The bytes that wait and count towards the limit.
    fn others(&self, queued: usize) -> usize {
        queued.saturating_sub(self.unread_answer(queued)) + self.held_back_bytes
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
    const CAUGHT_UP: Look = Look { missing: 0, again: false, unread: false };
    const BEHIND: Look = Look { missing: 0, again: true, unread: false };

    #[test]
    fn texts_are_left_out_until_half_of_the_limit_is_read_and_counted_once() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!(backlog.look(0, LIMIT, TIMEOUT, now), CAUGHT_UP);
        assert_eq!(backlog.room(600, 400, LIMIT, now), Room::Send);
        backlog.sent(1000);
        assert_eq!(backlog.room(1, 1000, LIMIT, now), Room::LeaveOut);
        backlog.leave_out();
        // There would be room, but the hole would be another one.
        assert_eq!(backlog.room(1, 501, LIMIT, now), Room::LeaveOut);
        backlog.leave_out();
        assert_eq!(backlog.look(501, LIMIT, TIMEOUT, now), BEHIND);
        assert_eq!(backlog.look(500, LIMIT, TIMEOUT, now), Look { missing: 2, ..CAUGHT_UP });
        assert!(!backlog.is_behind() && !backlog.is_watched());
        assert_eq!(backlog.look(500, LIMIT, TIMEOUT, now), CAUGHT_UP);
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
            assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, now), BEHIND);
            // An answer was added, and a byte has been read.
            backlog.sent(1);
            assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, now), BEHIND);
        }
        assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, now + TIMEOUT), Look { unread: true, ..BEHIND });
    }

    #[test]
    fn an_answer_has_room_of_its_own_as_long_as_it_is_unread() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.answers(50_000, 0);
        backlog.sent(50_000);
        assert_eq!(backlog.unread_answer(50_000), 50_000);
        assert_eq!(backlog.room(1000, 50_000, LIMIT, now), Room::Send);
        backlog.sent(1000);
        // Reading the answer makes no room for what others say.
        for queued in [51_000, 26_000, 2000, 1000] {
            assert_eq!(backlog.room(1, queued, LIMIT, now), Room::LeaveOut, "{queued}");
            assert!(backlog.look(queued, LIMIT, TIMEOUT, now).again, "{queued}");
        }
        assert_eq!(backlog.unread_answer(1000), 0);
        assert_eq!(backlog.look(500, LIMIT, TIMEOUT, now), CAUGHT_UP);
        // Two answers, one behind the other.
        backlog.answers(2000, 500);
        backlog.sent(2000);
        backlog.answers(2000, 2500);
        backlog.sent(2000);
        assert_eq!((backlog.unread_answer(4500), backlog.unread_answer(1500)), (4000, 1500));
    }

    #[test]
    fn a_user_who_does_not_read_an_answer_is_ended_too() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        backlog.answers(2000, 0);
        backlog.sent(2000);
        assert!(!backlog.is_watched());
        backlog.watch(2000, start);
        assert_eq!(backlog.look(2000, LIMIT, TIMEOUT, start + TIMEOUT / 2), BEHIND);
        assert_eq!(backlog.still_for(2000, start + TIMEOUT / 2), TIMEOUT / 2);
        assert_eq!(backlog.look(2000, LIMIT, TIMEOUT, start + TIMEOUT), Look { unread: true, ..BEHIND });
        assert_eq!(backlog.look(1999, LIMIT, TIMEOUT, start + TIMEOUT), BEHIND);
        assert_eq!(backlog.look(1000, LIMIT, TIMEOUT, start + 3 * TIMEOUT), CAUGHT_UP);
    }

    #[test]
    fn a_long_text_may_follow_short_ones_but_no_other_long_one_and_none_that_was_left_out() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.sent(LIMIT);
        backlog.hold_back_answer(LIMIT);
        assert!(backlog.takes_long_text(LIMIT, LIMIT));
        assert!(!backlog.takes_long_text(LIMIT + 1, LIMIT), "others' texts are over the limit");
        backlog.hold_back_answer(1);
        assert!(!backlog.takes_long_text(0, LIMIT));
        backlog.flushed();
        backlog.answers(2 * LIMIT, LIMIT);
        backlog.sent(2 * LIMIT);
        assert!(!backlog.takes_long_text(2 * LIMIT, LIMIT), "the one before is unread");
        assert!(backlog.takes_long_text(LIMIT, LIMIT));
        assert_eq!(backlog.room(LIMIT + 1, 0, LIMIT, now), Room::LeaveOut);
        assert!(!backlog.takes_long_text(0, LIMIT), "it would come before the report of what is missing");
    }

    #[test]
    fn what_a_layer_holds_back_counts() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.hold_back_answer(5000);
        backlog.hold_back(900);
        assert_eq!((backlog.room(100, 0, LIMIT, now), backlog.waiting(7)), (Room::Send, 5907));
        backlog.hold_back(100);
        assert_eq!(backlog.room(1, 0, LIMIT, now), Room::LeaveOut);
        assert_eq!(backlog.look(0, LIMIT, TIMEOUT, now), BEHIND);
        backlog.flushed();
        assert_eq!(backlog.look(0, LIMIT, TIMEOUT, now), CAUGHT_UP);
    }
}
