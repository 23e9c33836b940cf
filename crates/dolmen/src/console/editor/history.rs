//! The lines that were typed before, and the way back through them.

use std::collections::VecDeque;

/// How many lines are kept.
pub(in super::super) const MOST_LINES: usize = 1000;
/// How many bytes they may have together. A line may be as long as sixteen pages of text.
const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct History {
    lines: VecDeque<String>,
    bytes: usize,
    /// The line that is being looked at, and the line that was being typed before.
    browsing: Option<(usize, String)>,
}

impl History {
    /// Keeps a line. False: it is empty or repeats the last one.
    pub(super) fn add(&mut self, line: &str) -> bool {
        self.browsing = None;
        if line.is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return false;
        }
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |oldest| oldest.len());
        }
        true
    }

    /// The line before the one that is looked at. `typed`: the line as it stands.
    pub(super) fn older(&mut self, typed: &str) -> Option<&str> {
        let at = match &self.browsing {
            Some((at, _)) => at.checked_sub(1)?,
            None => self.lines.len().checked_sub(1)?,
        };
        let draft = self.browsing.take().map_or_else(|| typed.to_owned(), |(_, draft)| draft);
        self.browsing = Some((at, draft));
        self.lines.get(at).map(String::as_str)
    }

    /// The line after the one that is looked at; behind the last one, the line that was being typed.
    pub(super) fn newer(&mut self) -> Option<String> {
        let (at, draft) = self.browsing.take()?;
        match self.lines.get(at + 1) {
            Some(line) => {
                self.browsing = Some((at + 1, draft));
                Some(line.clone())
            }
            None => Some(draft),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The newest line with a text in it, of those before a number.
    pub(super) fn find(&self, wanted: &str, before: usize) -> Option<(usize, &str)> {
        if wanted.is_empty() {
            return None;
        }
        let lines = self.lines.iter().enumerate().take(before);
        lines.rev().find(|(_, line)| line.contains(wanted)).map(|(at, line)| (at, line.as_str()))
    }

    /// The line is over, or is another one: the next look begins at the newest line.
    pub(super) fn stop_browsing(&mut self) {
        self.browsing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_so_does_the_line_that_was_being_typed() {
        let mut history = History::default();
        assert_eq!(history.older("typed"), None);
        for line in ["one", "", "two", "two", "three"] {
            history.add(line);
        }
        for line in ["three", "two", "one"] {
            assert_eq!(history.older("typed"), Some(line));
        }
        assert_eq!(history.older("changed"), None, "the oldest");
        for line in ["two", "three", "typed"] {
            assert_eq!(history.newer().as_deref(), Some(line));
        }
        assert_eq!(history.newer(), None);
        history.older("typed");
        history.add("four");
        assert_eq!(history.older(""), Some("four"));
    }

    #[test]
    fn lines_and_bytes_are_bounded() {
        let mut history = History::default();
        for number in 0..2000 {
            history.add(&number.to_string());
        }
        assert_eq!((history.lines.len(), history.lines[0].as_str()), (MOST_LINES, "1000"));
        for letter in ["a", "b"].into_iter().cycle().take(100) {
            history.add(&letter.repeat(64 * 1024));
        }
        assert_eq!((history.lines.len(), history.bytes), (16, MOST_BYTES));
    }
}
