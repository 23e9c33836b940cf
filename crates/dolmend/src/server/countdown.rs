//! The time before an announced end: when players are told, and what.
//!
//! It only decides. The server sets the timer, tells the players, and ends.

use std::time::Duration;

use dolmen::TimerId;

/// The seconds before the end at which players are told.
const MARKS: [u64; 13] = [3600, 1800, 900, 600, 300, 120, 60, 30, 10, 5, 3, 2, 1];

/// An end that was announced.
#[derive(Debug)]
pub(super) struct Countdown {
    /// Seconds before the end, at the next time that the timer fires.
    pub next: u64,
    pub timer: TimerId,
}

/// The next time at which players are told, in seconds before the end; 0 is the end.
pub(super) fn next_mark(left: u64) -> u64 {
    MARKS.into_iter().find(|&mark| mark < left).unwrap_or(0)
}

/// The time until `next`, for the timer.
pub(super) fn until(left: u64, next: u64) -> Duration {
    Duration::from_secs(left - next)
}

/// What players are told.
pub(super) fn text(left: u64) -> String {
    let time = match left {
        1 => "1 second".to_owned(),
        60 => "1 minute".to_owned(),
        3600 => "1 hour".to_owned(),
        _ if left % 3600 == 0 => format!("{} hours", left / 3600),
        _ if left % 60 == 0 => format!("{} minutes", left / 60),
        _ => format!("{left} seconds"),
    };
    format!("\nThe server shuts down in {time}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_are_told_more_often_near_the_end() {
        let mut left = 90;
        let mut told = Vec::new();
        while left > 0 {
            told.push(left);
            left = next_mark(left);
        }
        assert_eq!(told, [90, 60, 30, 10, 5, 3, 2, 1]);
        assert_eq!(until(90, 60), Duration::from_secs(30));
    }

    #[test]
    fn times_are_in_words() {
        for (left, time) in [
            (1, "1 second"),
            (2, "2 seconds"),
            (60, "1 minute"),
            (90, "90 seconds"),
            (120, "2 minutes"),
            (3600, "1 hour"),
            (7200, "2 hours"),
        ] {
            assert_eq!(text(left), format!("\nThe server shuts down in {time}.\n"));
        }
    }
}
