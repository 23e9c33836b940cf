//! Bytes into lines of text: each line end in a player's input completes one command.
//!
//! A line ends in CR LF, CR NUL, LF or CR. A carriage return ends it *immediately*: no byte may follow it, and the
//! player is waiting. If a line feed or NUL comes next, however much later, it belongs to the carriage return and is
//! dropped.
//!
//! Bytes become characters as they arrive, so the line is text at any moment: editing removes whole characters, and a
//! limit never cuts one. Bytes that are not UTF-8 become U+FFFD, and never end a session. Control characters never
//! enter a line, so no line can carry an escape sequence to another player's terminal. Neither do invisible characters
//! that change how others are read, such as those that reverse the direction of writing; a tab becomes a space.

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
    /// The bytes of an incomplete character.
    partial: Partial,
    /// The last byte was a carriage return: a line feed or NUL belongs to it.
    after_cr: bool,
}

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

impl LineAssembler {
    /// An assembler for lines of at most `limit_bytes` bytes.
    pub fn new(limit_bytes: usize) -> LineAssembler {
        LineAssembler {
            text: String::new(),
            dropped_chars: 0,
            limit_bytes,
            partial: Partial::default(),
            after_cr: false,
        }
    }

    /// Takes bytes, and delivers every line that they complete.
    pub fn receive(&mut self, bytes: &[u8], mut deliver: impl FnMut(Line)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // Searched only where all of it is then taken: each byte is searched once, also in a line without end.
            let plain = if self.partial.is_empty() { plain_run(rest) } else { 0 };
            if plain > 0 {
                self.after_cr = false;
                rest = self.push_plain(rest, plain);
                continue;
            }
            self.receive_byte(byte, &mut deliver);
            rest = after;
        }
    }

    /// Removes the last character of the line. False if there is none.
    pub fn erase_character(&mut self) -> bool {
        self.finish_partial();
        if self.dropped_chars > 0 {
            self.dropped_chars -= 1;
            return true;
        }
        self.text.pop().is_some()
    }

    /// Removes the whole line.
    pub fn erase_line(&mut self) {
        self.partial = Partial::default();
        self.dropped_chars = 0;
        self.text.clear();
    }

    /// The incomplete line, when no more bytes will come. `None` if it is empty.
    pub fn finish(&mut self) -> Option<Line> {
        self.finish_partial();
        self.after_cr = false;
        if self.text.is_empty() && self.dropped_chars == 0 {
            return None;
        }
        Some(self.take_line())
    }

    fn receive_byte(&mut self, byte: u8, deliver: &mut impl FnMut(Line)) {
        let after_cr = std::mem::take(&mut self.after_cr);
        if after_cr && (byte == b'\n' || byte == 0) {
            return;
        }
        match byte {
            b'\r' | b'\n' => {
                self.finish_partial();
                self.after_cr = byte == b'\r';
                let line = self.take_line();
                deliver(line);
            }
            BACKSPACE | DELETE => {
                self.erase_character();
            }
            0x80.. => {
                let mut partial = self.partial;
                partial.push(byte, |character| self.push(character));
                self.partial = partial;
            }
            _ => {
                self.finish_partial();
                self.push(char::from(byte));
            }
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
        if !self.partial.is_empty() {
            self.partial = Partial::default();
            self.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn take_line(&mut self) -> Line {
        Line { text: std::mem::take(&mut self.text), dropped_chars: std::mem::take(&mut self.dropped_chars) }
    }
}

/// Marks, embeddings and isolates of direction, line and paragraph separators, spaces without width, invisible
/// operators and tags. Not the joiners, which scripts and emoji need.
fn is_invisible(character: char) -> bool {
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

/// The bytes of an incomplete character of several bytes: at most three.
#[derive(Debug, Clone, Copy, Default)]
struct Partial {
    bytes: [u8; 4],
    length: usize,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes a byte that is not ASCII, and delivers every character that it completes or breaks off.
    fn push(&mut self, byte: u8, mut deliver: impl FnMut(char)) {
        self.bytes[self.length] = byte;
        self.length += 1;
        // At most two rounds: when the byte breaks a character off it may begin the next, or be invalid by itself.
        while self.length > 0 {
            match std::str::from_utf8(&self.bytes[..self.length]) {
                Ok(text) => {
                    text.chars().for_each(&mut deliver);
                    self.length = 0;
                }
                Err(error) => match error.error_len() {
                    None => return,
                    Some(wrong) => {
                        deliver(char::REPLACEMENT_CHARACTER);
                        self.bytes.copy_within(wrong..self.length, 0);
                        self.length -= wrong;
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, usize)> {
        let (mut assembler, mut lines) = (LineAssembler::new(limit), Vec::new());
        for piece in pieces {
            assembler.receive(piece, |line| lines.push((line.text, line.dropped_chars)));
        }
        lines.extend(assembler.finish().map(|line| (line.text, line.dropped_chars)));
        lines
    }

    /// The lines of a stream, the same in every cut.
    fn lines(stream: &[u8]) -> Vec<String> {
        let whole = run(4096, [stream]);
        for cut in 0..=stream.len() {
            let (left, right) = stream.split_at(cut);
            assert_eq!(run(4096, [left, right]), whole, "{stream:02x?} cut at {cut}");
        }
        assert_eq!(run(4096, stream.chunks(1)), whole, "{stream:02x?} byte by byte");
        whole.into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn each_line_end_is_one_command() {
        assert_eq!(lines(b"a\r\nb\r\0c\nd\re\r\n"), ["a", "b", "c", "d", "e"]);
        assert_eq!(lines(b"a\n\rb\n"), ["a", "", "b"]);
        assert_eq!(lines(b"a\rb\nc\xc3\xa9\rd\n"), ["a", "b", "cé", "d"]);
        assert_eq!(lines(b"a\r\n\0b\n"), ["a", "b"]);
        assert_eq!(lines(b"a\r\0\nb\n"), ["a", "", "b"]);
    }

    #[test]
    fn empty_lines_are_kept() {
        assert_eq!(lines(b"\r\n\r\n"), ["", ""]);
        assert_eq!(lines(b"\n\n"), ["", ""]);
        assert_eq!(lines(b"\r\r"), ["", ""]);
        assert_eq!(lines(b"\r\0\r\0"), ["", ""]);
    }

    #[test]
    fn a_carriage_return_ends_the_line_at_once() {
        let (mut assembler, mut seen) = (LineAssembler::new(80), Vec::new());
        assembler.receive(b"who\r", |line| seen.push(line.text));
        assert_eq!(seen, ["who"]);
        assembler.receive(b"\n", |line| seen.push(line.text));
        assert_eq!(seen, ["who"]);
        assembler.receive(b"\n", |line| seen.push(line.text));
        assert_eq!(seen, ["who", ""]);
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        assert_eq!(lines(b"a\nquit"), ["a", "quit"]);
        assert_eq!(lines(b"a\r"), ["a"]);
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines("é".as_bytes()), ["é"]);
        assert_eq!(lines(b"a\xc3"), ["a\u{fffd}"]);
    }

    #[test]
    fn erasing_takes_whole_characters_back() {
        assert_eq!(lines(b"say helk\x08lo\n"), ["say hello"]);
        assert_eq!(lines(b"ab\x7f\x7f\x7fc\n"), ["c"]);
        assert_eq!(lines("aé日😀\x08\x08\n".as_bytes()), ["aé"]);
        assert_eq!(lines("aé\x7f\n".as_bytes()), ["a"]);
        // No part of the previous line comes back.
        assert_eq!(lines(b"a\n\x08b\n"), ["a", "b"]);
        // The first two bytes of three are one replacement character, and are erased as one.
        assert_eq!(lines(b"a\xe6\x97\x08b\n"), ["ab"]);
        let mut assembler = LineAssembler::new(80);
        assembler.receive("zé".as_bytes(), |_| panic!("no line was ended"));
        assert!(assembler.erase_character());
        assert!(assembler.erase_character());
        assert!(!assembler.erase_character());
        assembler.receive(b"abc\xe6", |_| panic!("no line was ended"));
        assembler.erase_line();
        assert_eq!(assembler.finish(), None);
    }

    #[test]
    fn text_is_utf8_and_what_is_not_becomes_a_replacement_character() {
        assert_eq!(lines("käse 日本 😀\r\n".as_bytes()), ["käse 日本 😀"]);
        assert_eq!(lines(b"caf\xe9\n"), ["caf\u{fffd}"]);
        assert_eq!(lines(b"\xe9t\xe9\n"), ["\u{fffd}t\u{fffd}"]);
        assert_eq!(lines(b"\xff\xfe\x80\n"), ["\u{fffd}\u{fffd}\u{fffd}"]);
        assert_eq!(lines(b"\xf0\x9f\x98x\n"), ["\u{fffd}x"]);
        assert_eq!(lines(b"\xed\xa0\x80\n"), ["\u{fffd}\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn control_characters_never_enter_a_line() {
        assert_eq!(lines(b"a\x00\x01\x07\x1b[31mb\x1f\n"), ["a[31mb"]);
        assert_eq!(lines(b"say\ta\tb\n"), ["say a b"]);
        // U+009B begins an escape sequence on some terminals.
        assert_eq!(lines("a\u{9b}31mb\n".as_bytes()), ["a31mb"]);
    }

    #[test]
    fn invisible_characters_never_enter_a_line() {
        assert_eq!(lines("say \u{202E}cba\u{2066}\u{2028}> \u{200B}x\u{E0041}\n".as_bytes()), ["say cba> x"]);
        // Families and Persian are held together by joiners.
        assert_eq!(lines("👩\u{200D}👧 می\u{200C}خواهم\n".as_bytes()), ["👩\u{200D}👧 می\u{200C}خواهم"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_counted() {
        assert_eq!(run(4, [&b"abcdefg\nxy\n"[..]]), [("abcd".into(), 3), ("xy".into(), 0)]);
        assert_eq!(run(4, [&b"abcd\n"[..]]), [("abcd".into(), 0)]);
        // No character is cut in two, and no later one is added behind one that did not fit.
        assert_eq!(run(4, ["abcéd\n".as_bytes()]), [("abc".into(), 2)]);
        // Erasing removes the dropped characters first.
        assert_eq!(run(4, [&b"abcdef\x08\x08\x08z\n"[..]]), [("abcz".into(), 0)]);
        assert_eq!(run(4, [&b"abcdef"[..]]), [("abcd".into(), 2)]);
    }

    proptest! {
        #[test]
        fn any_stream_gives_the_same_lines_in_any_pieces(
            stream in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0u8), Just(8u8), 0xc0u8..0xf5, 0x80u8..0xc0],
                0..200,
            ),
            lengths in proptest::collection::vec(1usize..9, 1..5),
            limit in prop_oneof![Just(4usize), Just(4096)],
        ) {
            let whole = run(limit, [&stream[..]]);
            prop_assert_eq!(run(limit, crate::telnet::tests::cut(&stream, &lengths)), whole.clone());
            prop_assert!(whole.iter().all(|(text, _)| text.len() <= limit));
        }

        #[test]
        fn lines_are_what_a_lossy_decoder_makes_of_them(
            lines in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..], 0..40), 1..6),
            end in prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("\r\0")],
            lengths in proptest::collection::vec(1usize..9, 1..5),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for line in &lines {
                stream.extend(line);
                stream.extend(end.bytes());
                let text = String::from_utf8_lossy(line);
                expected.push((text.chars().filter(|&c| !c.is_control() && !is_invisible(c)).collect::<String>(), 0));
            }
            prop_assert_eq!(run(4096, crate::telnet::tests::cut(&stream, &lengths)), expected);
        }
    }

    /// A line without an end costs no more than any other: dropped bytes are searched once.
    #[test]
    fn throwing_away_is_no_work() {
        let mut assembler = LineAssembler::new(80);
        let started = std::time::Instant::now();
        for _ in 0..4_000 {
            assembler.receive(&[b'q'; 4096], |_| unreachable!("no line ends"));
        }
        // A hundredth of a second for each megabyte; searched again and again, these would take minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
        let line = assembler.finish().expect("it was begun");
        assert_eq!((line.text.len(), line.dropped_chars), (80, 4_000 * 4096 - 80));
    }
}
