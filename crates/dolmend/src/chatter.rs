//! What no one has asked for on the operator's console: the players' messages, and the log.
//!
//! The operator can hush it. And there is never more of it in front of an answer than a slow terminal shows in a fraction of
//! a second: when more is unwritten, further lines are left out, as the operator could not read them anyway. A line reports
//! how many, as soon as everything before it has been written. Warnings and errors of the log have room of their own, so that
//! players cannot keep them from the operator.
//!
//! This decides, and does nothing: [`Console`](crate::console::Console) prints.

use std::fmt::Write as _;

/// How much may be unwritten before lines are left out: a third of a second of a terminal that shows 200 KB in a second.
const MOST_BYTES: usize = 64 << 10;

/// How much of warnings and errors may be unwritten, in addition. It is more than [`ASK_BYTES`], so that the console is asked
/// for the report that makes room again before there is none.
const MOST_LOUD_BYTES: usize = 32 << 10;

/// From so many bytes on, the console is asked to report when everything has been written.
const ASK_BYTES: usize = 16 << 10;

/// The levels of log lines that are shown also while the others are hushed or left out.
const LOUD_LEVELS: [&str; 2] = ["WARN", "ERROR"];

#[derive(Debug, Default)]
pub(crate) struct Chatter {
    hushed: bool,
    /// What was shown since everything was last written.
    unwritten_bytes: usize,
    /// What of it is warnings and errors.
    unwritten_loud_bytes: usize,
    /// The console has been asked to report when everything is written.
    asked: bool,
    /// Lines.
    left_out: u64,
}

impl Chatter {
    /// How much of a text is to be shown: its first lines. The others are counted.
    pub(crate) fn admit<'a>(&mut self, text: &'a str) -> &'a str {
        // What was left out is reported first.
        let is_closed = self.hushed || self.left_out > 0;
        self.fill(text, if is_closed { 0 } else { self.room() })
    }

    /// The same for the log, of which warnings and errors are shown also while other lines are hushed or left out.
    pub(crate) fn admit_log(&mut self, log: &str) -> String {
        let mut shown = String::new();
        for line in log.split_inclusive('\n') {
            shown.push_str(if is_loud(line) { self.admit_loud(line) } else { self.admit(line) });
        }
        shown
    }

    fn admit_loud<'a>(&mut self, line: &'a str) -> &'a str {
        let shown = self.fill(line, MOST_LOUD_BYTES.saturating_sub(self.unwritten_loud_bytes));
        self.unwritten_loud_bytes += shown.len();
        shown
    }

    fn room(&self) -> usize {
        MOST_BYTES.saturating_sub(self.unwritten_bytes - self.unwritten_loud_bytes)
    }

    fn fill<'a>(&mut self, text: &'a str, room: usize) -> &'a str {
        let shown = if text.len() <= room {
            text
        } else {
            text.as_bytes()[..room].iter().rposition(|&byte| byte == b'\n').map_or("", |end| &text[..=end])
        };
        self.left_out += text[shown.len()..].lines().count() as u64;
        self.shown(shown);
        shown
    }

    /// A text is being shown, admitted or not.
    pub(crate) fn shown(&mut self, text: &str) {
        self.unwritten_bytes += text.len();
    }

    /// Whether the console has to be asked, now and once, to report when everything is written.
    pub(crate) fn asks(&mut self) -> bool {
        let is_due = self.unwritten_bytes >= ASK_BYTES || (self.left_out > 0 && !self.hushed);
        is_due && !std::mem::replace(&mut self.asked, true)
    }

    /// Whether the console was asked.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked
    }

    /// Everything has been written. Returns the line that reports what was left out, if there is something to report.
    pub(crate) fn written(&mut self) -> Option<String> {
        (self.unwritten_bytes, self.unwritten_loud_bytes, self.asked) = (0, 0, false);
        (self.left_out > 0 && !self.hushed).then(|| self.report())
    }

    /// The operator hushes the chatter, or no longer. Returns the answer.
    pub(crate) fn hush(&mut self, on: bool) -> String {
        self.hushed = on;
        match on {
            true => "Hushed until 'hush off': players and the log, except warnings.\n".to_owned(),
            false => self.report(),
        }
    }

    fn report(&mut self) -> String {
        match std::mem::take(&mut self.left_out) {
            0 => "Nothing was left out.\n".to_owned(),
            1 => "… 1 line left out\n".to_owned(),
            count => format!("… {} lines left out\n", grouped(count)),
        }
    }
}

/// Whether a line of the log is a warning or an error. The level is the second word, after the time, or the second
/// member of a JSON object.
fn is_loud(line: &str) -> bool {
    let level = if line.starts_with('{') { line.split('"').nth(7) } else { line.split_whitespace().nth(1) };
    level.is_some_and(|level| LOUD_LEVELS.contains(&level))
}

/// A number with a comma after each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        let comma = if n > 0 && (digits.len() - n) % 3 == 0 { "," } else { "" };
        let _ = write!(text, "{comma}{digit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "Ann says: this is what the players say all day long\n";

    /// A terminal that shows 200 bytes in a millisecond, in order, and 20 messages of players in each. The operator's
    /// command comes after five seconds. The clock is simulated.
    #[test]
    fn an_answer_is_on_a_slow_screen_within_a_second_whatever_the_players_say() {
        const BYTES_PER_MS: usize = 200;
        const MESSAGES_PER_MS: u64 = 20;
        const ASKED_MS: usize = 5_000;
        const ANSWER: &str = "3 are connected\n";
        let mut chatter = Chatter::default();
        let (mut queued, mut screen) = (String::new(), String::new());
        let mut now_ms = 0;
        while !screen.ends_with(ANSWER) {
            assert!(now_ms < 2 * ASKED_MS, "the answer is not shown");
            for _ in 0..MESSAGES_PER_MS {
                queued.push_str(chatter.admit(LINE));
            }
            if now_ms == ASKED_MS {
                queued.push_str(ANSWER);
                chatter.shown(ANSWER);
            }
            chatter.asks();
            // Up to the answer, if it is in it.
            let most = queued.find(ANSWER).map_or(queued.len(), |at| at + ANSWER.len());
            screen.extend(queued.drain(..BYTES_PER_MS.min(most)));
            if queued.is_empty() && chatter.has_asked() {
                queued.extend(chatter.written());
            }
            now_ms += 1;
        }
        assert!(now_ms - ASKED_MS < 500, "the answer was shown {} ms after its command", now_ms - ASKED_MS);
        // What is not on the screen is counted.
        let all = screen + &queued;
        let number = |line: &str| -> Option<u64> {
            line.strip_prefix("… ")?.strip_suffix(" lines left out")?.replace(',', "").parse().ok()
        };
        let counted: u64 = all.lines().filter_map(number).sum();
        let shown = all.matches(LINE).count() as u64;
        assert!(counted > 10_000 && shown > 10_000, "{counted} were counted, {shown} shown");
        assert_eq!(shown + counted + chatter.left_out, now_ms as u64 * MESSAGES_PER_MS);
    }

    #[test]
    fn a_terminal_that_keeps_up_shows_everything() {
        let mut chatter = Chatter::default();
        let mut asked = 0;
        for _ in 0..10_000 {
            assert_eq!(chatter.admit(LINE), LINE);
            if chatter.asks() {
                asked += 1;
                assert_eq!(chatter.written(), None);
            }
        }
        assert_eq!(asked, 10_000 / ASK_BYTES.div_ceil(LINE.len()));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_at_a_line() {
        let mut chatter = Chatter::default();
        let lines = MOST_BYTES / LINE.len();
        let text = LINE.repeat(lines + 5);
        assert_eq!(chatter.admit(&text), LINE.repeat(lines));
        assert!(chatter.asks() && !chatter.asks());
        assert_eq!(chatter.admit("short\n"), "", "not out of order");
        assert_eq!(chatter.written().as_deref(), Some("… 6 lines left out\n"));
        assert_eq!(chatter.admit("short\n"), "short\n");
        // One line that is longer than everything that may be unwritten.
        assert_eq!(chatter.admit(&"x".repeat(MOST_BYTES + 1)), "");
        assert!(chatter.asks());
        assert_eq!(chatter.written().as_deref(), Some("… 1 line left out\n"));
    }

    #[test]
    fn what_is_hushed_is_counted_and_warnings_are_shown() {
        let mut chatter = Chatter::default();
        let log = "2026-01-01T00:00:00Z  INFO dolmend: connected\n2026-01-01T00:00:01Z  WARN dolmend: full\n";
        assert_eq!(chatter.admit_log(log), log);
        assert!(chatter.hush(true).contains("'hush off'"));
        assert_eq!(chatter.admit_log(log), "2026-01-01T00:00:01Z  WARN dolmend: full\n");
        for _ in 0..4_212 {
            assert_eq!(chatter.admit(LINE), "");
        }
        assert!(!chatter.asks(), "there is nothing to report yet");
        assert_eq!(chatter.written(), None);
        assert_eq!(chatter.hush(false), "… 4,213 lines left out\n");
        assert_eq!(chatter.admit(LINE), LINE);
        assert_eq!(chatter.hush(false), "Nothing was left out.\n");
    }

    #[test]
    fn warnings_are_shown_also_while_the_lines_of_players_are_left_out() {
        let info = "2026-01-01T00:00:00Z  INFO dolmend: connected\n";
        let warning = "2026-01-01T00:00:01Z  WARN dolmend: full\n";
        let error = "2026-01-01T00:00:01Z ERROR dolmend: the port is closed\n";
        let log = [info, warning, info, error].concat();
        // The room is full, and nothing is left out yet.
        let mut chatter = Chatter::default();
        chatter.shown(&"x".repeat(MOST_BYTES));
        assert_eq!(chatter.admit_log(&log), [warning, error].concat());
        // Lines are left out.
        assert_eq!(chatter.admit(LINE), "");
        assert_eq!(chatter.admit_log(&log), [warning, error].concat());
        assert!(chatter.asks());
        assert_eq!(chatter.written().as_deref(), Some("… 5 lines left out\n"));
        // The log does not fit: its first lines are shown, and the warning behind them.
        let log = info.repeat(MOST_BYTES / info.len() + 3) + warning;
        assert_eq!(chatter.admit_log(&log), info.repeat(MOST_BYTES / info.len()) + warning);
        assert_eq!(chatter.written().as_deref(), Some("… 3 lines left out\n"));
        assert_eq!(chatter.admit_log(info), info);
    }

    #[test]
    fn warnings_are_bounded_and_what_exceeds_the_bound_is_counted() {
        const MANY: usize = 10_000;
        let warning = "2026-01-01T00:00:01Z  WARN dolmend: full\n";
        for hushed in [false, true] {
            let mut chatter = Chatter::default();
            chatter.hush(hushed);
            let (mut bytes, mut asked) = (0, false);
            for _ in 0..MANY {
                bytes += chatter.admit_log(warning).len();
                asked |= chatter.asks();
            }
            assert_eq!(bytes, MOST_LOUD_BYTES / warning.len() * warning.len(), "hushed: {hushed}");
            assert!(asked, "the report makes room again");
            assert_eq!(chatter.left_out as usize, MANY - bytes / warning.len());
            // Players' lines have the same room as without warnings.
            assert_eq!(chatter.room(), MOST_BYTES);
            chatter.written();
            assert_eq!(chatter.admit_log(warning), warning);
        }
    }

    #[test]
    fn warnings_are_known_in_every_form() {
        for (line, loud) in [
            ("2026-01-01T00:00:01Z  WARN dolmend: full", true),
            ("2026-01-01T00:00:01Z  INFO dolmend: WARN", false),
            (r#"{"time":"2026-01-01T00:00:01Z","level":"ERROR","target":"dolmend"}"#, true),
            (r#"{"time":"2026-01-01T00:00:01Z","level":"INFO","target":"dolmend","message":"WARN"}"#, false),
            ("", false),
        ] {
            assert_eq!(is_loud(line), loud, "{line}");
        }
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
