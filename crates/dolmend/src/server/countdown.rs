//! The time before an announced end: when it is announced to the players, and how.
//!
//! It only decides. The server sets the timer, sends the text, and ends.

use std::time::Duration;

use dolmen::TimerId;

use crate::duration::in_words;

/// The seconds before the end at which it is announced.
const MARKS: [u64; 13] = [3600, 1800, 900, 600, 300, 120, 60, 30, 10, 5, 3, 2, 1];

/// An end that was announced.
#[derive(Debug)]
pub(super) struct Countdown {
    /// Seconds before the end, at the next time that the timer fires.
    pub next: u64,
    pub timer: TimerId,
}

/// The next announcement, in seconds before the end; 0 is the end.
pub(super) fn next_mark(left: u64) -> u64 {
    MARKS.into_iter().find(|&mark| mark < left).unwrap_or(0)
}

/// The time until `next`, for the timer.
pub(super) fn until(left: u64, next: u64) -> Duration {
    Duration::from_secs(left - next)
}

/// The announcement to the players.
pub(super) fn text(left: u64) -> String {
    format!("\nThe server shuts down in {}.\n", in_words(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_are_told_more_often_near_the_end() {
        let mut left = 90;
        let mut announced = Vec::new();
        while left > 0 {
            announced.push(left);
            left = next_mark(left);
        }
        assert_eq!(announced, [90, 60, 30, 10, 5, 3, 2, 1]);
        assert_eq!(until(90, 60), Duration::from_secs(30));
    }

    #[test]
    fn times_are_in_words() {
        for (left, time) in [
            (1, "1 second"),
            (2, "2 seconds"),
            (60, "1 minute"),
            (90, "1 minute and 30 seconds"),
            (120, "2 minutes"),
            (3600, "1 hour"),
            (7200, "2 hours"),
        ] {
            assert_eq!(text(left), format!("\nThe server shuts down in {time}.\n"));
        }
    }
}
