//! The search through the history, from the newest line back, while the operator types what to search for.

use super::history::History;
use super::line::Line;

/// What is searched for is no longer than this: each of its characters is a search of its own.
const LONGEST_BYTES: usize = 200;

#[derive(Debug)]
pub(super) struct Search {
    wanted: String,
    /// The line that was found, by its number in the history; the number of lines before one was.
    at: usize,
    /// No line has it.
    failed: bool,
    /// The line that was being typed.
    draft: String,
}

impl Search {
    pub(super) fn new(history: &History, line: &Line) -> Search {
        Search { wanted: String::new(), at: history.len(), failed: false, draft: line.text().to_owned() }
    }

    /// What stands before the line that was found.
    pub(super) fn prompt(&self) -> String {
        let result = if self.failed { "not found" } else { "search" };
        format!("({result}) {}: ", self.wanted)
    }

    /// One more character to search for: in the line that was found, or in older ones.
    pub(super) fn add(&mut self, c: char, history: &History, line: &mut Line) {
        if self.wanted.len() < LONGEST_BYTES {
            self.wanted.push(c);
            self.find(self.at + 1, history, line);
        }
    }

    /// One character less: from the newest line on.
    pub(super) fn remove(&mut self, history: &History, line: &mut Line) {
        self.wanted.pop();
        self.at = history.len();
        self.find(self.at, history, line);
    }

    /// The next older line.
    pub(super) fn older(&mut self, history: &History, line: &mut Line) {
        self.find(self.at, history, line);
    }

    /// The line that was being typed.
    pub(super) fn into_draft(self) -> String {
        self.draft
    }

    fn find(&mut self, before: usize, history: &History, line: &mut Line) {
        let found = history.find(&self.wanted, before);
        self.failed = found.is_none() && !self.wanted.is_empty();
        if let Some((at, text)) = found {
            self.at = at;
            line.set(text);
        }
    }
}
