//! The text of a line and the cursor in it. The cursor moves by grapheme clusters, so nothing that is shown as one
//! character is ever cut apart.

use unicode_segmentation::GraphemeCursor;

/// A line that is being typed.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    /// In bytes, at a boundary of clusters.
    cursor: usize,
    /// How many bytes of it, from the start, were typed without echo and must not be shown later either.
    unseen: usize,
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The part in front of the cursor that may be shown.
    pub(super) fn before_cursor(&self) -> &str {
        &self.text[self.unseen.min(self.cursor)..self.cursor]
    }

    pub(super) fn after_cursor(&self) -> &str {
        &self.text[self.cursor.max(self.unseen)..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a part of it must not be shown.
    pub(super) fn has_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// The line so far must never be shown.
    pub(super) fn hide(&mut self) {
        self.unseen = self.text.len();
        self.cursor = self.unseen;
    }

    /// Takes the text out.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(self).text
    }

    /// Replaces the text; the cursor is at its end.
    pub(super) fn set(&mut self, text: &str) {
        *self = Line { text: text.to_owned(), cursor: text.len(), unseen: 0 };
    }

    pub(super) fn insert(&mut self, text: &str) {
        if self.cursor < self.unseen {
            self.unseen += text.len();
        }
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        // What was inserted may have joined with what follows it.
        self.cursor = self.boundary_at_or_after(self.cursor);
    }

    /// Replaces the word that ends at the cursor. A space at the end of `word` is left out where one follows.
    pub(super) fn replace_last_word(&mut self, word: &str) {
        let start = self.cursor - super::completion::last_word(&self.text[..self.cursor]).len();
        let word = if self.text[self.cursor..].starts_with(' ') { word.trim_end() } else { word };
        self.remove(start, self.cursor);
        self.insert(word);
    }

    pub(super) fn go_to_start(&mut self) {
        self.cursor = 0;
    }

    pub(super) fn go_to_end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(super) fn go_left(&mut self) {
        self.cursor = self.left();
    }

    pub(super) fn go_right(&mut self) {
        self.cursor = self.right();
    }

    pub(super) fn go_word_left(&mut self) {
        self.cursor = self.word_left();
    }

    pub(super) fn go_word_right(&mut self) {
        self.cursor = self.word_right();
    }

    /// Removes the cluster in front of the cursor.
    pub(super) fn erase(&mut self) {
        self.remove(self.left(), self.cursor);
    }

    /// Removes the cluster under the cursor.
    pub(super) fn delete(&mut self) {
        self.remove(self.cursor, self.right());
    }

    // The following return what they have removed, if it may be shown.

    pub(super) fn kill_to_start(&mut self) -> Option<String> {
        self.remove(0, self.cursor)
    }

    pub(super) fn kill_to_end(&mut self) -> Option<String> {
        self.remove(self.cursor, self.text.len())
    }

    /// Back to a space, as the kernel's word erase does.
    pub(super) fn kill_spaced_word(&mut self) -> Option<String> {
        let before = &self.text[..self.cursor];
        let word = before.trim_end().rfind(char::is_whitespace);
        let start = word.map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
        self.remove(start, self.cursor)
    }

    pub(super) fn kill_word_left(&mut self) -> Option<String> {
        self.remove(self.word_left(), self.cursor)
    }

    pub(super) fn kill_word_right(&mut self) -> Option<String> {
        self.remove(self.cursor, self.word_right())
    }

    fn left(&self) -> usize {
        let mut at = GraphemeCursor::new(self.cursor, self.text.len(), true);
        at.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn right(&self) -> usize {
        let mut at = GraphemeCursor::new(self.cursor, self.text.len(), true);
        at.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn boundary_at_or_after(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(false) => cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len()),
            _ => at,
        }
    }

    /// The start of the word of letters and digits in front of the cursor.
    fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end_matches(|c: char| !c.is_alphanumeric());
        let rest = before.trim_end_matches(is_part_of_word);
        rest.len()
    }

    /// The end of the word of letters and digits behind the cursor.
    fn word_right(&self) -> usize {
        let after = self.text[self.cursor..].trim_start_matches(|c: char| !c.is_alphanumeric());
        let rest = after.trim_start_matches(is_part_of_word);
        self.text.len() - rest.len()
    }

    fn remove(&mut self, start: usize, end: usize) -> Option<String> {
        let may_be_shown = start >= self.unseen;
        let removed: String = self.text.drain(start..end).collect();
        self.unseen -= self.unseen.min(end) - self.unseen.min(start);
        // What is left on both sides may have joined.
        self.cursor = self.boundary_at_or_after(start);
        (may_be_shown && !removed.is_empty()).then_some(removed)
    }
}

/// Letters, digits, and the marks that belong to them.
fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || unicode_width::UnicodeWidthChar::width(c) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let mut line = Line::default();
        line.insert(text);
        line
    }

    /// The line with a bar for the cursor.
    fn shown(line: &Line) -> String {
        format!("{}|{}", line.before_cursor(), line.after_cursor())
    }

    #[test]
    fn hc58_the_cursor_moves_over_whole_clusters() {
        let mut line = line("a👩\u{200d}🚀e\u{301}🇩🇪");
        for expected in ["a👩\u{200d}🚀e\u{301}|🇩🇪", "a👩\u{200d}🚀|e\u{301}🇩🇪", "a|👩\u{200d}🚀e\u{301}🇩🇪"]
        {
            line.go_left();
            assert_eq!(shown(&line), expected);
        }
        line.delete();
        assert_eq!(shown(&line), "a|e\u{301}🇩🇪");
        line.go_right();
        line.erase();
        assert_eq!(shown(&line), "a|🇩🇪");
    }

    #[test]
    fn a_character_that_joins_the_next_one_takes_the_cursor_along() {
        let mut line = line("🚀");
        line.go_to_start();
        line.insert("👩\u{200d}");
        assert_eq!(shown(&line), "👩\u{200d}🚀|");
        let mut line = self::line("ax\u{301}");
        line.go_to_start();
        line.go_right();
        line.insert("y");
        assert_eq!(shown(&line), "ay|x\u{301}");
    }

    #[test]
    fn words_are_moved_over_and_removed() {
        let mut line = line("say  \"good evening\"  ");
        line.go_word_left();
        assert_eq!(shown(&line), "say  \"good |evening\"  ");
        line.go_word_left();
        line.go_word_left();
        assert_eq!(shown(&line), "|say  \"good evening\"  ");
        line.go_word_right();
        line.go_word_right();
        assert_eq!(shown(&line), "say  \"good| evening\"  ");
        assert_eq!(line.kill_word_right().as_deref(), Some(" evening"));
        assert_eq!(line.kill_spaced_word().as_deref(), Some("\"good"));
        assert_eq!(shown(&line), "say  |\"  ");
        assert_eq!(line.kill_word_left().as_deref(), Some("say  "));
        assert_eq!(line.kill_word_left(), None);
        assert_eq!(line.kill_to_end().as_deref(), Some("\"  "));
        let mut line = self::line("one two  ");
        assert_eq!(line.kill_spaced_word().as_deref(), Some("two  "));
        assert_eq!(line.kill_to_start().as_deref(), Some("one "));
        let mut line = self::line("שלום عربي");
        line.go_word_left();
        assert_eq!(shown(&line), "שלום |عربي");
    }

    #[test]
    fn what_was_typed_without_echo_is_neither_shown_nor_kept() {
        let mut line = line("secrét");
        line.hide();
        line.insert("ab");
        line.erase();
        assert_eq!(shown(&line), "a|");
        // Erasing continues into the part that was never shown.
        line.erase();
        line.erase();
        line.insert("x");
        assert_eq!((&*shown(&line), line.text()), ("x|", "secréx"));
        line.go_to_start();
        assert_eq!(shown(&line), "|x");
        line.insert("y");
        assert_eq!(shown(&line), "|x");
        assert_eq!(line.kill_to_end(), None);
        assert_eq!((line.text(), line.has_unseen()), ("y", true));
    }
}
