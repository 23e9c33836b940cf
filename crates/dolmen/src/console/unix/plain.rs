//! Lines on a terminal that the kernel edits: a prompt, and output that does not move the cursor back. Nothing is erased
//! and nothing is drawn again, because the terminal may not be able to, and because what has been typed is not known.

/// The prompt, and whether the cursor is behind it.
#[derive(Clone, Debug, Default)]
pub(super) struct PlainLine {
    prompt: String,
    is_shown: bool,
}

impl PlainLine {
    pub(super) fn set_prompt(&mut self, prompt: &str) {
        prompt.clone_into(&mut self.prompt);
    }

    /// The prompt, on a row of its own.
    pub(super) fn show(&mut self) -> String {
        let line_end = self.end_row();
        self.is_shown = !self.prompt.is_empty();
        format!("{line_end}{}", self.prompt)
    }

    /// The operator has ended a line, and the cursor is in an empty row.
    pub(super) fn next(&mut self) -> String {
        self.is_shown = false;
        self.show()
    }

    /// A text, and the prompt below it.
    pub(super) fn print(&mut self, text: &str) -> String {
        let line_end = self.end_row();
        format!("{line_end}{}{}", with_line_end(text), self.show())
    }

    fn end_row(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_shown) { "\n" } else { "" }
    }
}

/// A text with a line feed at its end.
pub(super) fn with_line_end(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_below_the_output_and_nothing_is_erased() {
        let mut line = PlainLine::default();
        assert_eq!(line.print("one"), "one\n");
        line.set_prompt("> ");
        assert_eq!(line.show(), "> ");
        assert_eq!(line.print("two\n"), "\ntwo\n> ");
        assert_eq!(line.next(), "> ");
        line.set_prompt("name: ");
        assert_eq!(line.show(), "\nname: ");
    }
}
