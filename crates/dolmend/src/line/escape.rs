//! Escape sequences in a player's input, which arrow and function keys send: recognised to be dropped as a whole.
//!
//! The forms are those of ECMA-48, and the few of terminals that do not follow it. Nothing is kept, so a sequence may
//! have any length; a line end ends each.

/// The state after the last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Escape {
    /// In text.
    #[default]
    None,
    /// After ESC, and characters between it and the last one.
    Begun,
    /// After a control sequence introducer.
    Introduced,
    /// In the parameters of a control sequence.
    Parameters,
    /// One more character follows (SS2, SS3, and the function keys of Linux's console).
    Last,
    /// In a string, such as a window's title.
    String,
}

impl Escape {
    /// Whether text is in front of the next character.
    pub(super) fn is_none(self) -> bool {
        self == Escape::None
    }

    /// Takes a character. Returns whether it belongs to a sequence.
    pub(super) fn takes(&mut self, character: char) -> bool {
        let (next, taken) = match (*self, character) {
            (_, '\r' | '\n') => (Escape::None, false),
            (_, '\x1b') => (Escape::Begun, true),
            (Escape::String, '\x07' | '\u{9c}') => (Escape::None, true),
            (Escape::String, _) => (Escape::String, true),
            (_, '\u{9b}') => (Escape::Introduced, true),
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => (Escape::String, true),
            (_, '\u{8e}' | '\u{8f}') => (Escape::Last, true),
            (Escape::None, _) => (Escape::None, false),
            (Escape::Begun, '[') => (Escape::Introduced, true),
            (Escape::Begun, 'N' | 'O') => (Escape::Last, true),
            (Escape::Begun, 'P' | 'X' | ']' | '^' | '_') => (Escape::String, true),
            (Escape::Begun, ' '..='/') => (Escape::Begun, true),
            (Escape::Begun, '0'..='~') => (Escape::None, true),
            // The function keys of Linux's console: ESC [ [ A.
            (Escape::Introduced, '[') => (Escape::Last, true),
            (Escape::Introduced | Escape::Parameters, ' '..='?') => (Escape::Parameters, true),
            (Escape::Introduced | Escape::Parameters, '@'..='~') => (Escape::None, true),
            // Modifiers of function keys: ESC O 5 P.
            (Escape::Last, '0'..='9') => (Escape::Last, true),
            (Escape::Last, ' '..='~') => (Escape::None, true),
            // It cannot be a part of the sequence.
            _ => (Escape::None, false),
        };
        *self = next;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str) -> String {
        let mut escape = Escape::default();
        text.chars().filter(|&character| !escape.takes(character)).collect()
    }

    #[test]
    fn sequences_are_taken_as_a_whole() {
        for (sequence, what) in [
            ("\x1b[A", "an arrow key"),
            ("\x1bOA", "an arrow key in another mode"),
            ("\x1b[1;5C", "an arrow key with Ctrl"),
            ("\x1b[15~", "F5"),
            ("\x1b[[A", "F1 of Linux's console"),
            ("\x1bO5P", "F1 with Ctrl"),
            ("\x1b[200~", "the begin of pasted text"),
            ("\u{9b}31m", "a colour with an introducer of eight bits"),
            ("\x1b]0;title\x07", "a title"),
            ("\x1b]0;title\x1b\\", "a title with the other end"),
            ("\x1bP1$r0m\x1b\\", "a reply of a terminal"),
            ("\x1b(B", "a character set"),
            ("\x1bx", "Alt and a letter"),
            ("\x1b\x1b[D", "Alt and an arrow key"),
        ] {
            assert_eq!(left(&format!("a{sequence}b")), "ab", "{what}");
        }
    }

    #[test]
    fn a_line_end_ends_each_and_other_text_is_kept() {
        assert_eq!(left("\x1b]0;title\rb"), "\rb");
        assert_eq!(left("\x1b[12\nb"), "\nb");
        assert_eq!(left("\x1bédit"), "édit");
        assert_eq!(left("[A stays"), "[A stays");
    }
}
