//! The line editing of a Unix terminal, for one line at a time.
//!
//! While the operator types a line, its text is in the kernel, where no process can look at it. To print above the line and
//! show it again, the text must be taken out, and there is no way to put it back (`TIOCSTI` is switched off on current
//! systems). So from there to its end the line is edited here, in the same way: erase, kill word, kill line, end of
//! file.

use super::{Input, LONGEST_LINE_BYTES, char_width, width};

/// The terminal's special characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct EditKeys {
    pub(super) erase: u8,
    pub(super) kill: u8,
    pub(super) erase_word: u8,
    pub(super) end: u8,
    pub(super) literal: u8,
}

/// The characters of a terminal that has never been set up.
#[cfg(test)]
const USUAL: EditKeys = EditKeys { erase: 0x7F, kill: 0x15, erase_word: 0x17, end: 0x04, literal: 0x16 };

/// A line that is being typed.
#[derive(Debug)]
pub(super) struct Editor {
    keys: EditKeys,
    text: String,
    /// How many bytes of it, from the start, were typed without echo and must not be shown later either.
    unseen: usize,
    /// The bytes of an unfinished character.
    unfinished: Vec<u8>,
    /// The next character is taken literally.
    literal: bool,
    /// The line was cut, and the rest of it is being discarded.
    cutting: bool,
}

impl Editor {
    pub(super) fn new(keys: EditKeys) -> Editor {
        Editor {
            keys,
            text: String::new(),
            unseen: 0,
            unfinished: Vec::new(),
            literal: false,
            cutting: false,
        }
    }

    /// Whether no part of a line is here, so that the kernel may have the next one.
    pub(super) fn is_idle(&self) -> bool {
        self.text.is_empty() && self.unfinished.is_empty() && !self.literal && !self.cutting
    }

    /// The line so far, as the terminal shows it.
    pub(super) fn shown(&self) -> String {
        self.text[self.unseen..].chars().map(shown).collect()
    }

    /// The line so far must never be shown.
    pub(super) fn hide(&mut self) {
        self.unseen = self.text.len();
    }

    /// Takes the line so far out, in bytes.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        bytes.append(&mut self.unfinished);
        *self = Editor::new(self.keys);
        bytes
    }

    /// Takes typed input. `screen` gets the text to show if the terminal echoes.
    pub(super) fn feed(&mut self, bytes: &[u8], screen: &mut String, mut put: impl FnMut(Input)) {
        for &byte in bytes {
            let literal = std::mem::take(&mut self.literal);
            if byte >= 0x80 || !self.unfinished.is_empty() {
                self.part_of_character(byte, screen);
            }
            if byte >= 0x80 {
                continue;
            }
            match byte {
                // Enter sends a return, and Ctrl-J a line feed.
                b'\n' | b'\r' if byte == b'\n' || !literal => {
                    screen.push('\n');
                    let text = std::mem::take(&mut self.text);
                    self.unseen = 0;
                    if !std::mem::take(&mut self.cutting) {
                        put(Input::Line(text));
                    }
                }
                _ if literal => self.push(char::from(byte), screen),
                _ if byte == self.keys.erase || byte == 0x08 => self.erase(screen),
                _ if byte == self.keys.kill => {
                    while !self.text.is_empty() {
                        self.erase(screen);
                    }
                }
                _ if byte == self.keys.erase_word => {
                    while self.text.ends_with(' ') {
                        self.erase(screen);
                    }
                    while !self.text.is_empty() && !self.text.ends_with(' ') {
                        self.erase(screen);
                    }
                }
                _ if byte == self.keys.literal => self.literal = true,
                // In mid-line the key delivers what was typed, which already is here.
                _ if byte == self.keys.end => {
                    if self.text.is_empty() {
                        put(Input::End);
                    }
                }
                _ => self.push(char::from(byte), screen),
            }
            if self.text.len() > LONGEST_LINE_BYTES {
                let mut text = std::mem::take(&mut self.text);
                self.unseen = 0;
                let last = text.char_indices().next_back().map_or(0, |(at, _)| at);
                text.truncate(last);
                put(Input::LineCut(text));
                self.cutting = true;
            }
        }
    }

    fn part_of_character(&mut self, byte: u8, screen: &mut String) {
        if byte < 0x80 {
            self.unfinished.clear();
            return self.push(char::REPLACEMENT_CHARACTER, screen);
        }
        self.unfinished.push(byte);
        match std::str::from_utf8(&self.unfinished) {
            Ok(whole) => {
                let whole = whole.chars().next().expect("there are bytes");
                self.unfinished.clear();
                self.push(whole, screen);
            }
            Err(error) if error.error_len().is_some() => {
                self.unfinished.clear();
                self.push(char::REPLACEMENT_CHARACTER, screen);
            }
            Err(_) => {}
        }
    }

    fn push(&mut self, c: char, screen: &mut String) {
        if !self.cutting {
            self.text.push(c);
            screen.push_str(&shown(c));
        }
    }

    fn erase(&mut self, screen: &mut String) {
        let Some(c) = self.text.pop() else { return };
        if self.text.len() < self.unseen {
            self.unseen = self.text.len();
            return;
        }
        let cells = if c.is_control() { width(&shown(c)) } else { char_width(c) };
        (0..cells).for_each(|_| screen.push_str("\x08 \x08"));
    }
}

/// Control characters are shown as `^X`.
fn shown(c: char) -> String {
    match c {
        '\t' => " ".into(),
        c if c.is_ascii_control() => format!("^{}", char::from(c as u8 ^ 0x40)),
        c => c.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(typed: &[u8]) -> (Vec<Input>, String, String) {
        let mut editor = Editor::new(USUAL);
        let (mut inputs, mut screen) = (Vec::new(), String::new());
        for byte in typed.chunks(1) {
            editor.feed(byte, &mut screen, |input| inputs.push(input));
        }
        (inputs, editor.shown(), screen)
    }

    fn line(text: &str) -> Input {
        Input::Line(text.into())
    }

    #[test]
    fn a_line_is_edited_as_the_kernel_does() {
        assert_eq!(edit("grüßx\x7fe\n".as_bytes()).0, [line("grüße")]);
        assert_eq!(edit(b"one two  \x17three\n").0, [line("one three")]);
        assert_eq!(edit(b"one\x15two\n").0, [line("two")]);
        assert_eq!(edit(b"\x7f\x7fa\n").0, [line("a")]);
        assert_eq!(edit(b"a\x16\x7fb\n").0, [line("a\x7fb")]);
        assert_eq!(edit(b"one\rtwo\x16\r\r").0, [line("one"), line("two\r")]);
    }

    #[test]
    fn the_end_counts_on_a_line_of_its_own() {
        assert_eq!(edit(b"\x04").0, [Input::End]);
        assert_eq!(edit(b"a\x04b\n").0, [line("ab")]);
    }

    #[test]
    fn what_is_shown_is_what_is_typed() {
        let (inputs, shown, screen) = edit("ab\x01🎲\x7f".as_bytes());
        assert_eq!((inputs, &*shown, &*screen), (vec![], "ab^A", "ab^A🎲\x08 \x08\x08 \x08"));
    }

    #[test]
    fn what_was_typed_without_echo_is_not_shown_later() {
        let mut editor = Editor::new(USUAL);
        let (mut inputs, mut screen) = (Vec::new(), String::new());
        editor.feed("secrét".as_bytes(), &mut String::new(), |input| inputs.push(input));
        editor.hide();
        editor.feed(b"ab\x7f", &mut screen, |input| inputs.push(input));
        assert_eq!((&*editor.shown(), &*screen), ("a", "ab\x08 \x08"));
        // Erasing continues into the part that was never shown.
        screen.clear();
        editor.feed(b"\x7f\x7f\x7fx", &mut screen, |input| inputs.push(input));
        assert_eq!((&*editor.shown(), &*screen), ("x", "\x08 \x08x"));
        editor.feed(b"\nab", &mut screen, |input| inputs.push(input));
        assert_eq!((&*inputs, &*editor.shown()), (&[line("secrx")][..], "ab"));
    }

    #[test]
    fn broken_characters_are_replaced_and_what_follows_is_kept() {
        assert_eq!(edit(b"\xc3a\xff\n").0, [line("\u{fffd}a\u{fffd}")]);
        assert_eq!(edit(b"\xc3\n").0, [line("\u{fffd}")]);
    }

    #[test]
    fn a_line_without_end_is_cut_once() {
        let mut typed = vec![b'x'; LONGEST_LINE_BYTES + 100];
        typed.extend(b"\nnext\n");
        let cut = Input::LineCut("x".repeat(LONGEST_LINE_BYTES));
        assert_eq!(edit(&typed).0, [cut, line("next")]);
    }
}
