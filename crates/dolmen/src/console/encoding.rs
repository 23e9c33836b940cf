//! The encoding of redirected input, by the byte order mark that it may begin with.
//!
//! An editor of Windows writes such a mark in front of UTF-8, where it would be an invisible part of the first command; a
//! redirect of `PowerShell` writes UTF-16 with one. The mark is no part of the text, and UTF-16 becomes UTF-8 [hc57].
//! Without a mark the input is UTF-8.

use std::borrow::Cow;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const LITTLE_MARK: &[u8] = b"\xff\xfe";
const BIG_MARK: &[u8] = b"\xfe\xff";

/// The encoding, as far as it is known.
#[derive(Debug)]
pub(super) enum Encoding {
    /// These first bytes may be the beginning of a mark.
    Start(Vec<u8>),
    Utf8,
    Utf16(Utf16),
}

impl Default for Encoding {
    fn default() -> Encoding {
        Encoding::Start(Vec::new())
    }
}

impl Encoding {
    /// The bytes as UTF-8, as far as their meaning is known.
    pub(super) fn decode<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let start = match self {
            Encoding::Utf8 => return Cow::Borrowed(bytes),
            Encoding::Utf16(units) => return Cow::Owned(units.decode(bytes)),
            Encoding::Start(start) if start.is_empty() && begins_no_mark(bytes) => {
                *self = Encoding::Utf8;
                return Cow::Borrowed(bytes);
            }
            Encoding::Start(start) => start,
        };
        start.extend_from_slice(bytes);
        let mut marks = [UTF8_MARK, LITTLE_MARK, BIG_MARK].into_iter();
        if marks.any(|mark| mark.len() > start.len() && mark.starts_with(start)) {
            return Cow::Borrowed(&[]);
        }
        let (mut encoding, text) = if let Some(text) = start.strip_prefix(UTF8_MARK) {
            (Encoding::Utf8, text)
        } else if let Some(text) = start.strip_prefix(LITTLE_MARK) {
            (Encoding::Utf16(Utf16::new(u16::from_le_bytes)), text)
        } else if let Some(text) = start.strip_prefix(BIG_MARK) {
            (Encoding::Utf16(Utf16::new(u16::from_be_bytes)), text)
        } else {
            (Encoding::Utf8, start.as_slice())
        };
        let decoded = encoding.decode(text).into_owned();
        *self = encoding;
        Cow::Owned(decoded)
    }

    /// The input has ended: what is left of it, as UTF-8.
    pub(super) fn end(&mut self) -> Vec<u8> {
        match std::mem::replace(self, Encoding::Utf8) {
            Encoding::Start(start) => start,
            Encoding::Utf8 => Vec::new(),
            Encoding::Utf16(units) if units.is_whole() => Vec::new(),
            Encoding::Utf16(_) => String::from(char::REPLACEMENT_CHARACTER).into_bytes(),
        }
    }
}

/// Whether a mark cannot begin with these bytes. None of the first bytes of a mark is an ASCII character, so a script's
/// first line never waits for more.
fn begins_no_mark(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| !matches!(first, 0xEF | 0xFE | 0xFF))
}

/// UTF-16 between two reads.
#[derive(Debug)]
pub(super) struct Utf16 {
    unit: fn([u8; 2]) -> u16,
    /// The first byte of a unit.
    byte: Option<u8>,
    /// The first half of a surrogate pair.
    half: Option<u16>,
}

impl Utf16 {
    fn new(unit: fn([u8; 2]) -> u16) -> Utf16 {
        Utf16 { unit, byte: None, half: None }
    }

    fn is_whole(&self) -> bool {
        self.byte.is_none() && self.half.is_none()
    }

    fn decode(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut units: Vec<u16> = self.half.take().into_iter().collect();
        for &byte in bytes {
            match self.byte.take() {
                Some(first) => units.push((self.unit)([first, byte])),
                None => self.byte = Some(byte),
            }
        }
        if units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
            self.half = units.pop();
        }
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        text.collect::<String>().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of some bytes, which come one by one and in one piece.
    fn decode(bytes: &[u8]) -> String {
        let decode = |length| {
            let mut encoding = Encoding::default();
            let mut decoded: Vec<u8> = Vec::new();
            bytes.chunks(length).for_each(|piece| decoded.extend(&*encoding.decode(piece)));
            decoded.extend(encoding.end());
            String::from_utf8_lossy(&decoded).into_owned()
        };
        let whole = decode(bytes.len().max(1));
        assert_eq!(decode(1), whole);
        assert_eq!(decode(3), whole);
        whole
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn hc57_a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(decode(b"\xef\xbb\xbfwho\n"), "who\n");
        assert_eq!(decode("\u{feff}\u{feff}".as_bytes()), "\u{feff}", "only the first");
        for text in ["", "who\n", "ﬁ\n", "grüße", "\u{fffd}"] {
            assert_eq!(decode(text.as_bytes()), text);
        }
        assert_eq!(decode(b"\xef\xbb"), "\u{fffd}");
        assert_eq!(decode(b"\xff!"), "\u{fffd}!");
    }

    #[test]
    fn hc57_utf16_is_decoded() {
        for bytes in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            let text = "say grüße 🚀\r\nwho\r\n";
            assert_eq!(decode(&utf16(&format!("\u{feff}{text}"), bytes)), text);
            assert_eq!(decode(&utf16("\u{feff}", bytes)), "");
            // Cut in a pair, and in a unit.
            let mut cut = utf16("\u{feff}a🚀", bytes);
            cut.truncate(cut.len() - 2);
            assert_eq!(decode(&cut), "a\u{fffd}");
            cut.truncate(5);
            assert_eq!(decode(&cut), "a\u{fffd}");
        }
        // Half a pair, and then something else.
        assert_eq!(decode(b"\xff\xfe\x3d\xd8a\x00\x80\xdeb\x00"), "\u{fffd}a\u{fffd}b");
    }

    #[test]
    fn a_first_line_without_a_mark_waits_for_nothing() {
        let mut encoding = Encoding::default();
        assert_eq!(&*encoding.decode(b"w"), b"w");
        assert!(matches!(encoding, Encoding::Utf8));
    }
}
