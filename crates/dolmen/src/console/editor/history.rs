//! The lines that were typed before, and the way back through them.

use std::collections::VecDeque;

/// How many lines are kept.
pub(in super::super) const MOST_LINES: usize = 1000;
/// How many bytes they may have together. A line may be as long as sixteen pages of text.
pub(in super::super) const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct History {
    lines: VecDeque<String>,
    bytes: usize,
    /// How many of the newest lines may still turn out to be passwords that were typed ahead.
    unsettled: usize,
    /// How many of these the engine had collected at its last turn, and at the turn before it.
    collected: [usize; 2],
    /// It has the lines of a file.
    has_file: bool,
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
        self.unsettled += 1;
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |oldest| oldest.len());
        }
        self.bound_unsettled();
        true
    }

    /// Adds the lines of a file, or replaces the history by them if it has lines of a file already.
    pub(super) fn read(&mut self, lines: &[String]) {
        self.discard_unsettled();
        if self.has_file {
            *self = History::default();
        }
        self.has_file = true;
        for line in lines {
            self.add(line);
        }
        self.unsettled = 0;
    }

    /// The engine has taken a turn. `collected`: it has every line. Returns the lines that stay: the program has handled
    /// them, and has left echo on.
    ///
    /// A line that the engine collects in one turn may be delivered after the next one, if the first turn found more than
    /// a wait can deliver. So the third turn is the first one of which it is certain that it follows the program's answer.
    pub(super) fn settle(&mut self, collected: bool) -> Vec<String> {
        let [last, before] = self.collected;
        let first = self.lines.len() - self.unsettled;
        let settled = self.lines.range(first..first + before).cloned().collect();
        self.unsettled -= before;
        self.collected = [if collected { self.unsettled } else { last - before }, last - before];
        settled
    }

    /// The reader ends. Returns the lines that stay: all that the engine has collected.
    pub(super) fn settle_last(&mut self) -> Vec<String> {
        let mut settled = self.settle(false);
        settled.extend(self.settle(false));
        settled
    }

    /// Echo is switched off: a line that is not settled may be a password, and is forgotten.
    pub(super) fn discard_unsettled(&mut self) {
        let left = self.lines.len() - self.unsettled;
        self.bytes -= self.lines.drain(left..).map(|line| line.len()).sum::<usize>();
        (self.unsettled, self.collected, self.browsing) = (0, [0; 2], None);
    }

    fn bound_unsettled(&mut self) {
        let most = self.lines.len();
        self.unsettled = self.unsettled.min(most);
        self.collected = self.collected.map(|count| count.min(most));
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

    #[test]
    fn lines_stay_when_the_program_has_handled_them() {
        let mut history = History::default();
        history.add("one");
        assert!(history.settle(false).is_empty() && history.settle(true).is_empty());
        history.add("two");
        assert!(history.settle(true).is_empty(), "a wait may have had no room for it");
        assert_eq!(history.settle(true), ["one"]);
        history.add("secret");
        assert_eq!(history.settle(false), ["two"]);
        history.discard_unsettled();
        assert_eq!(
            (history.lines.iter().map(String::as_str).collect::<Vec<_>>(), history.bytes),
            (vec!["one", "two"], 6)
        );
        history.add("last");
        assert!(history.settle(true).is_empty());
        history.add("not collected");
        assert_eq!(history.settle_last(), ["last"]);
    }

    #[test]
    fn a_second_file_replaces_the_first_one() {
        let mut history = History::default();
        history.add("typed");
        (0..3).for_each(|_| drop(history.settle(true)));
        history.add("secret");
        history.read(&["one".into(), "two".into()]);
        assert_eq!(history.lines, ["typed", "one", "two"]);
        history.add("secret");
        history.read(&["one".into(), "two".into()]);
        assert_eq!((&history.lines, history.bytes), (&VecDeque::from(["one".into(), "two".into()]), 6));
        assert!(history.settle_last().is_empty());
    }
}
