//! Texts of the program on the terminal, above the line that is being typed.

use std::borrow::Cow;
use std::io;

use super::super::super::ConsoleMode;
use super::super::super::output::queue::{Lane, MOST_BYTES, STEP_BYTES};
use super::super::modes::Display;
use super::super::plain::with_line_end;
use super::{Lines, Terminal};

impl Terminal {
    /// Shows a text now, if the screen is ready for more, and later if not.
    pub(super) fn put(&mut self, lane: Lane, text: &str) -> io::Result<()> {
        self.check_away();
        let ends_line = self.mode == ConsoleMode::Line && self.display != Display::Elsewhere;
        if self.waiting.bytes() == 0 && self.output.is_short() {
            self.show(text)?;
            self.waiting.written(lane, if ends_line { "\n" } else { text });
            return Ok(());
        }
        let text = if ends_line { Cow::Owned(with_line_end(text)) } else { Cow::Borrowed(text) };
        // Each of them fits into the output when its turn comes.
        if !self.waiting.has_room(lane, &text) || text.len() + 2 * STEP_BYTES > MOST_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.waiting.push(lane, &text);
        self.show_waiting();
        Ok(())
    }

    /// Shows the next texts that wait, many of them in one write.
    pub(super) fn show_waiting(&mut self) {
        while self.waiting.bytes() > 0 && self.output.is_short() {
            let text = self.take_waiting();
            if let Err(error) = self.show(&text) {
                tracing::warn!(target: "dolmen", %error, bytes = text.len(), "console output was lost");
            }
        }
        if self.waiting.bytes() == 0 && std::mem::take(&mut self.flushing) {
            self.output.flush();
        }
    }

    pub(super) fn take_waiting(&mut self) -> String {
        let mut batch = Vec::new();
        self.waiting.take(&mut batch);
        String::from_utf8_lossy(&batch).into_owned()
    }

    /// Shows a text above the line, if there is one.
    fn show(&mut self, text: &str) -> io::Result<()> {
        if self.has_line() {
            return match self.lines {
                Lines::Editor(_) => self.draw(|editor, screen| editor.print(text, screen)),
                Lines::Kernel(_) => self.write_plain(|line| line.print(text)),
            };
        }
        // Beside the line of a shell that has the terminal, which is not ours to erase.
        if self.away && self.mode == ConsoleMode::Line && self.display != Display::Elsewhere {
            return self.output.write(&with_line_end(text));
        }
        self.output.write(text)?;
        if let Lines::Editor(editor) = &mut self.lines {
            editor.written(text);
        }
        Ok(())
    }
}
