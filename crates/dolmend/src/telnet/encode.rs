//! Text for sending: encoded, with line ends as the network has them, and byte 255 doubled.

use encoding_rs::EncoderResult;

use super::byte::IAC;
use crate::encoding::TextEncoding;

/// Turns text into wire bytes.
///
/// It remembers the last byte, so text may arrive in any pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    telnet: bool,
    /// Only such that bytes below 128 are ASCII.
    encoding: TextEncoding,
    /// The last byte was a carriage return, and the next byte decides its meaning.
    after_cr: bool,
}

impl Encoder {
    /// For a telnet port.
    pub fn telnet() -> Encoder {
        Encoder { telnet: true, encoding: TextEncoding::UTF_8, after_cr: false }
    }

    /// For a port with plain lines: line ends are converted, and 255 stays unchanged.
    pub fn ascii() -> Encoder {
        Encoder { telnet: false, encoding: TextEncoding::UTF_8, after_cr: false }
    }

    /// The encoding from here on. One whose bytes below 128 are not ASCII is ignored.
    pub fn set_encoding(&mut self, encoding: impl Into<TextEncoding>) {
        let encoding = encoding.into();
        if encoding.encoding().is_ascii_compatible() {
            self.encoding = encoding;
        }
    }

    /// The encoding.
    pub fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    /// Appends the wire form of `text` to `wire`. Characters that the encoding lacks become question marks.
    pub fn encode_text(&mut self, text: &str, wire: &mut Vec<u8>) {
        if self.encoding == TextEncoding::UTF_8 || text.is_ascii() {
            return self.encode(text.as_bytes(), wire);
        }
        let mut encoder = self.encoding.encoding().new_encoder();
        let (mut rest, mut block) = (text, [0; 256]);
        loop {
            let (result, read, written) =
                encoder.encode_from_utf8_without_replacement(rest, &mut block, true);
            // A terminal would obey them.
            for byte in block[..written].iter_mut().filter(|byte| self.encoding.is_control(**byte)) {
                *byte = b'?';
            }
            self.encode(&block[..written], wire);
            rest = &rest[read..];
            match result {
                EncoderResult::InputEmpty => return,
                EncoderResult::OutputFull => {}
                EncoderResult::Unmappable(_) => self.encode(b"?", wire),
            }
        }
    }

    /// Appends the wire form of encoded text to `wire`. A line feed becomes CR LF, unless it is part of a CR LF.
    pub fn encode(&mut self, text: &[u8], wire: &mut Vec<u8>) {
        wire.reserve(text.len() + text.len() / 16);
        for &byte in text {
            match byte {
                b'\n' if !self.after_cr => wire.extend_from_slice(b"\r\n"),
                // RFC 854: in telnet a carriage return never occurs alone.
                _ if self.telnet && self.after_cr && byte != b'\n' && byte != 0 => {
                    wire.push(0);
                    self.push(byte, wire);
                }
                _ => self.push(byte, wire),
            }
            self.after_cr = byte == b'\r';
        }
    }

    fn push(&self, byte: u8, wire: &mut Vec<u8>) {
        wire.push(byte);
        if self.telnet && byte == IAC {
            wire.push(IAC);
        }
    }
}
