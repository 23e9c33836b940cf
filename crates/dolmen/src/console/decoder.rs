//! Splits bytes into lines or whole characters: the part that pipes, files and terminals share.

use super::encoding::Encoding;
use super::{ConsoleMode, Input, LONGEST_LINE_BYTES};

/// Splits a stream of bytes; it keeps the text so far of an unfinished line or character across reads.
#[derive(Debug)]
pub(super) struct Decoder {
    mode: ConsoleMode,
    /// The unfinished line, or (raw) the bytes of an unfinished character.
    pending: Vec<u8>,
    /// The line was cut, and the rest of it is being discarded.
    cutting: bool,
    /// The input is a terminal's, so that Ctrl-C among the raw bytes is the key.
    keys: bool,
    /// How the input is encoded. A terminal's is never anything but UTF-8.
    encoding: Encoding,
}

const CTRL_C: u8 = 3;

impl Decoder {
    pub(super) fn new(mode: ConsoleMode, keys: bool) -> Decoder {
        let encoding = if keys { Encoding::Utf8 } else { Encoding::default() };
        Decoder { mode, pending: Vec::new(), cutting: false, keys, encoding }
    }

    pub(super) fn mode(&self) -> ConsoleMode {
        self.mode
    }

    pub(super) fn feed(&mut self, bytes: &[u8], mut put: impl FnMut(Input)) {
        let bytes = self.encoding.decode(bytes);
        match self.mode {
            ConsoleMode::Line => self.feed_line(&bytes, &mut put),
            ConsoleMode::Raw => self.feed_raw(&bytes, &mut put),
        }
    }

    /// Takes out what is not a line or a character yet.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(super) fn take_unfinished(&mut self) -> Vec<u8> {
        self.cutting = false;
        std::mem::take(&mut self.pending)
    }

    /// Switches the mode from here on. An unfinished line becomes bytes; an unfinished character becomes the start of a
    /// line.
    pub(super) fn set_mode(&mut self, mode: ConsoleMode, mut put: impl FnMut(Input)) {
        if self.mode == mode {
            return;
        }
        self.mode = mode;
        self.cutting = false;
        if mode == ConsoleMode::Raw {
            let pending = std::mem::take(&mut self.pending);
            self.feed_raw(&pending, &mut put);
        }
    }

    /// The end of the bytes: an unfinished last line counts as a line [hc36].
    pub(super) fn end(&mut self, mut put: impl FnMut(Input)) {
        let last = self.encoding.end();
        self.feed(&last, &mut put);
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            match self.mode {
                ConsoleMode::Line => put(Input::Line(text_of_line(&rest))),
                ConsoleMode::Raw => put(Input::Bytes(String::from_utf8_lossy(&rest).into_owned())),
            }
        }
        self.cutting = false;
        put(Input::End);
    }

    fn feed_line(&mut self, mut bytes: &[u8], put: &mut impl FnMut(Input)) {
        while !bytes.is_empty() {
            let (piece, ended, rest) = match bytes.iter().position(|&byte| byte == b'\n') {
                Some(at) => (&bytes[..at], true, &bytes[at + 1..]),
                None => (bytes, false, &bytes[..0]),
            };
            bytes = rest;
            if !self.cutting {
                // One more, so that a carriage return before the end does not count.
                let room = LONGEST_LINE_BYTES + 1 - self.pending.len();
                self.pending.extend_from_slice(&piece[..piece.len().min(room)]);
                let without_return = self.pending.len() - usize::from(self.pending.ends_with(b"\r"));
                if without_return > LONGEST_LINE_BYTES || piece.len() > room {
                    put(Input::LineCut(cut_text(&self.pending)));
                    self.pending.clear();
                    self.cutting = true;
                }
            }
            if ended && !std::mem::take(&mut self.cutting) {
                put(Input::Line(text_of_line(&self.pending)));
                self.pending.clear();
            }
        }
    }

    fn feed_raw(&mut self, bytes: &[u8], put: &mut impl FnMut(Input)) {
        if !self.keys {
            return self.feed_characters(bytes, put);
        }
        let mut pieces = bytes.split(|&byte| byte == CTRL_C);
        self.feed_characters(pieces.next().unwrap_or_default(), put);
        for piece in pieces {
            put(Input::Interrupt);
            self.feed_characters(piece, put);
        }
    }

    fn feed_characters(&mut self, bytes: &[u8], put: &mut impl FnMut(Input)) {
        self.pending.extend_from_slice(bytes);
        let unfinished = unfinished_character(&self.pending);
        let whole = self.pending.len() - unfinished;
        if whole > 0 {
            put(Input::Bytes(String::from_utf8_lossy(&self.pending[..whole]).into_owned()));
            self.pending.drain(..whole);
        }
    }
}

/// How many bytes at the end may be the beginning of a character.
fn unfinished_character(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len() - bytes.len().min(3)..];
    let mut start = 0;
    while start < tail.len() {
        match std::str::from_utf8(&tail[start..]) {
            // Not an error: the bytes ended in the middle of a character.
            Err(error) if error.error_len().is_none() => return tail.len() - start - error.valid_up_to(),
            Err(error) => start += error.valid_up_to() + error.error_len().unwrap_or(1),
            Ok(_) => return 0,
        }
    }
    0
}

fn text_of_line(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

fn cut_text(bytes: &[u8]) -> String {
    let bytes = &bytes[..LONGEST_LINE_BYTES];
    let whole = &bytes[..bytes.len() - unfinished_character(bytes)];
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Input {
        Input::Line(text.into())
    }

    fn bytes(text: &str) -> Input {
        Input::Bytes(text.into())
    }

    /// Feeds the pieces and then the end.
    fn decode(mode: ConsoleMode, pieces: &[&[u8]]) -> Vec<Input> {
        let mut decoder = Decoder::new(mode, true);
        let mut inputs = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |input| inputs.push(input));
        }
        decoder.end(|input| inputs.push(input));
        inputs
    }

    #[test]
    fn lines_come_without_their_ends_however_they_are_cut() {
        let text = "who\r\n\ngrüße 🎲\nlast".as_bytes();
        let expected = [line("who"), line(""), line("grüße 🎲"), line("last"), Input::End];
        assert_eq!(decode(ConsoleMode::Line, &[text]), expected);
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(decode(ConsoleMode::Line, &single), expected);
        assert_eq!(decode(ConsoleMode::Line, &[]), [Input::End]);
    }

    #[test]
    fn what_is_not_utf8_becomes_replacement_characters() {
        assert_eq!(decode(ConsoleMode::Line, &[b"caf\xe9\n"]), [line("caf\u{fffd}"), Input::End]);
        let raw = decode(ConsoleMode::Raw, &[b"a\xff", b"b\xc3"]);
        assert_eq!(raw, [bytes("a\u{fffd}"), bytes("b"), bytes("\u{fffd}"), Input::End]);
    }

    #[test]
    fn raw_bytes_are_whole_characters() {
        let dice = "🎲".as_bytes();
        let raw = decode(ConsoleMode::Raw, &[&dice[..1], &dice[1..3], &dice[3..], b"x"]);
        assert_eq!(raw, [bytes("🎲"), bytes("x"), Input::End]);
    }

    #[test]
    fn ctrl_c_among_raw_keys_is_an_interrupt_in_its_place() {
        let raw = decode(ConsoleMode::Raw, &[b"ab\x03c\x03"]);
        assert_eq!(raw, [bytes("ab"), Input::Interrupt, bytes("c"), Input::Interrupt, Input::End]);
    }

    #[test]
    fn an_endless_line_is_cut_once_and_the_next_line_is_whole() {
        let long = vec![b'x'; LONGEST_LINE_BYTES];
        let exact = decode(ConsoleMode::Line, &[&long, b"\r\n"]);
        assert_eq!(exact, [line(&"x".repeat(LONGEST_LINE_BYTES)), Input::End]);
        let cut = Input::LineCut("x".repeat(LONGEST_LINE_BYTES));
        let over = decode(ConsoleMode::Line, &[&long, b"y", &long, &long, b"\nnext\n"]);
        assert_eq!(over, [cut, line("next"), Input::End]);
    }

    #[test]
    fn a_cut_splits_no_character() {
        let mut long = vec![b'x'; LONGEST_LINE_BYTES - 1];
        long.extend("🎲\n".as_bytes());
        let cut = Input::LineCut("x".repeat(LONGEST_LINE_BYTES - 1));
        assert_eq!(decode(ConsoleMode::Line, &[&long]), [cut, Input::End]);
    }

    #[test]
    fn a_mode_switch_in_mid_line_loses_nothing() {
        let mut decoder = Decoder::new(ConsoleMode::Line, true);
        let mut inputs = Vec::new();
        decoder.feed(b"one\ntw\xc3", |input| inputs.push(input));
        decoder.set_mode(ConsoleMode::Raw, |input| inputs.push(input));
        decoder.feed(b"\xa4o", |input| inputs.push(input));
        decoder.feed(b"\xc3", |input| inputs.push(input));
        decoder.set_mode(ConsoleMode::Line, |input| inputs.push(input));
        decoder.feed(b"\xa4\n", |input| inputs.push(input));
        assert_eq!(inputs, [line("one"), bytes("tw"), bytes("äo"), line("ä")]);
    }
}
