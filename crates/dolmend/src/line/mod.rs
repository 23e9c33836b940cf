//! Bytes into lines of text: each line end in a player's input completes one command.
//!
//! A line ends in CR LF, CR NUL, LF or CR. A carriage return ends it *immediately*: no byte may follow it, and the
//! player is waiting. If a line feed or NUL comes next, however much later, it belongs to the carriage return and is
//! dropped.
//!
//! Bytes become characters as they arrive, so the line is text at any moment: editing removes whole characters, and a
//! limit never cuts one. Invalid bytes become U+FFFD, and never end a session. Escape sequences and control characters
//! never enter a line, so a line neither carries one to another player's terminal nor keeps the rest of an arrow key.
//! Neither do invisible characters that change how others are read, such as those that reverse the direction of writing;
//! a tab becomes a space.

mod decode;
mod escape;

use crate::encoding::TextEncoding;
use decode::Decoder;
use escape::Escape;

/// A complete line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text, without the line end.
    pub text: String,
    /// How many characters did not fit and were dropped.
    pub dropped_chars: usize,
}

/// Assembles the lines of one connection.
///
/// ```
/// use dolmend::line::LineAssembler;
///
/// let (mut assembler, mut lines) = (LineAssembler::new(4096), Vec::new());
/// for piece in [&b"say h\xc3"[..], b"\xa9\r", b"\nwho\n"] {
///     assembler.receive(piece, |line| lines.push(line.text));
/// }
/// assert_eq!(lines, ["say hé", "who"]);
/// ```
#[derive(Debug)]
pub struct LineAssembler {
    /// The line so far.
    text: String,
    /// Characters that arrived after the line was full. They are counted so that erasing removes them first.
    dropped_chars: usize,
    /// The most bytes that a line may have.
    limit_bytes: usize,
    decoder: Decoder,
    escape: Escape,
    /// The last byte was a carriage return: a line feed or NUL belongs to it.
    after_cr: bool,
}

const BACKSPACE: char = '\x08';
const DELETE: char = '\x7f';

impl LineAssembler {
    /// An assembler for lines of at most `limit_bytes` bytes.
    pub fn new(limit_bytes: usize) -> LineAssembler {
        LineAssembler {
            text: String::new(),
            dropped_chars: 0,
            limit_bytes,
            decoder: Decoder::new(TextEncoding::UTF_8),
            escape: Escape::None,
            after_cr: false,
        }
    }

    /// Another limit. It holds for the rest of an unfinished line, too.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    /// The encoding of the bytes from here on.
    pub fn set_encoding(&mut self, encoding: impl Into<TextEncoding>) {
        self.finish_partial();
        self.decoder = Decoder::new(encoding.into());
    }

    /// Takes bytes, and delivers every line that they complete.
    pub fn receive(&mut self, bytes: &[u8], mut deliver: impl FnMut(Line)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // Searched only where all of it is then taken: each byte is searched once, also in a line without end.
            let in_text = self.decoder.is_between_characters() && self.escape.is_none();
            let plain = if in_text { plain_run(rest) } else { 0 };
            if plain > 0 {
                self.after_cr = false;
                rest = self.push_plain(rest, plain);
                continue;
            }
            self.decode(|decoder, take| decoder.push(byte, take), &mut deliver);
            rest = after;
        }
    }

    /// Removes the last character of the line, if there is one.
    pub fn erase_character(&mut self) {
        self.finish_partial();
        self.remove_last();
    }

    fn remove_last(&mut self) {
        if self.dropped_chars > 0 {
            self.dropped_chars -= 1;
        } else {
            self.text.pop();
        }
    }

    /// Removes the whole line.
    pub fn erase_line(&mut self) {
        self.finish_partial();
        self.escape = Escape::None;
        self.dropped_chars = 0;
        self.text.clear();
    }

    /// The incomplete line, when no more bytes will come. `None` if it is empty.
    pub fn finish(&mut self) -> Option<Line> {
        self.finish_partial();
        self.after_cr = false;
        self.escape = Escape::None;
        if self.text.is_empty() && self.dropped_chars == 0 {
            return None;
        }
        Some(self.take_line())
    }

    /// Takes the characters that the decoder delivers.
    fn decode(
        &mut self,
        run: impl FnOnce(&mut Decoder, &mut dyn FnMut(char)),
        deliver: &mut dyn FnMut(Line),
    ) {
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(TextEncoding::UTF_8));
        run(&mut decoder, &mut |character| self.receive_character(character, deliver));
        self.decoder = decoder;
    }

    fn receive_character(&mut self, character: char, deliver: &mut dyn FnMut(Line)) {
        let after_cr = std::mem::take(&mut self.after_cr);
        if after_cr && (character == '\n' || character == '\0') {
            return;
        }
        if self.escape.takes(character) {
            return;
        }
        match character {
            '\r' | '\n' => {
                self.after_cr = character == '\r';
                let line = self.take_line();
                deliver(line);
            }
            BACKSPACE | DELETE => self.remove_last(),
            _ => self.push(character),
        }
    }

    /// The first `length` bytes of `bytes` are printable ASCII: they are added unchanged, as many as fit. Returns the
    /// rest.
    fn push_plain<'a>(&mut self, bytes: &'a [u8], length: usize) -> &'a [u8] {
        // Once one character did not fit, no later one may be added behind it.
        let cut = self.dropped_chars > 0;
        let room = if cut { 0 } else { self.limit_bytes.saturating_sub(self.text.len()) };
        let fitting = length.min(room);
        self.text.extend(bytes[..fitting].iter().map(|&byte| char::from(byte)));
        self.dropped_chars += length - fitting;
        &bytes[length..]
    }

    fn push(&mut self, character: char) {
        let character = if character == '\t' { ' ' } else { character };
        if character.is_control() || is_invisible(character) {
            return;
        }
        // Once one character did not fit, no later one may be added behind it.
        if self.dropped_chars > 0 || self.text.len() + character.len_utf8() > self.limit_bytes {
            self.dropped_chars += 1;
        } else {
            self.text.push(character);
        }
    }

    /// No more bytes will come for the incomplete character.
    fn finish_partial(&mut self) {
        self.decode(|decoder, take| decoder.finish(take), &mut |_| {});
    }

    fn take_line(&mut self) -> Line {
        Line { text: std::mem::take(&mut self.text), dropped_chars: std::mem::take(&mut self.dropped_chars) }
    }
}

/// Marks, embeddings and isolates of direction, line and paragraph separators, spaces without width, invisible
/// operators and tags. Not the joiners, which scripts and emoji need.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

/// How many bytes at the start are printable ASCII, which is most of the input.
fn plain_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
