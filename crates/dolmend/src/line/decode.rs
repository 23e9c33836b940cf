//! Bytes into characters, one byte at a time.

use std::fmt;

use crate::encoding::TextEncoding;

/// The decoder of one connection.
pub(super) enum Decoder {
    /// UTF-8, which most clients send.
    Utf8(Partial),
    /// Any other encoding whose bytes below 128 are ASCII.
    Other(TextEncoding, Box<encoding_rs::Decoder>),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decoder::Utf8(_) => TextEncoding::UTF_8.name(),
            Decoder::Other(encoding, _) => encoding.name(),
        })
    }
}

impl Decoder {
    /// For an encoding. One whose bytes below 128 are not ASCII becomes UTF-8.
    pub(super) fn new(encoding: TextEncoding) -> Decoder {
        if encoding == TextEncoding::UTF_8 || !encoding.encoding().is_ascii_compatible() {
            return Decoder::Utf8(Partial::default());
        }
        Decoder::Other(encoding, Box::new(encoding.encoding().new_decoder_without_bom_handling()))
    }

    /// Whether the next byte is a character of its own if it is ASCII.
    pub(super) fn is_between_characters(&self) -> bool {
        match self {
            Decoder::Utf8(partial) => partial.is_empty(),
            // It does not say.
            Decoder::Other(..) => false,
        }
    }

    /// Takes a byte, and delivers every character that it completes or breaks off.
    pub(super) fn push(&mut self, byte: u8, mut deliver: impl FnMut(char)) {
        match self {
            Decoder::Utf8(partial) if byte < 0x80 && partial.is_empty() => deliver(char::from(byte)),
            Decoder::Utf8(partial) => partial.push(byte, deliver),
            // Such an encoding has a byte for each character, and so none is incomplete.
            Decoder::Other(encoding, _) if encoding.is_control(byte) => deliver(char::from(byte)),
            Decoder::Other(_, decoder) => decode(decoder, &[byte], false, deliver),
        }
    }

    /// No more bytes come for an incomplete character.
    pub(super) fn finish(&mut self, mut deliver: impl FnMut(char)) {
        match self {
            Decoder::Utf8(partial) if partial.is_empty() => {}
            Decoder::Utf8(partial) => {
                *partial = Partial::default();
                deliver(char::REPLACEMENT_CHARACTER);
            }
            Decoder::Other(_, decoder) => {
                decode(decoder, &[], true, deliver);
                **decoder = decoder.encoding().new_decoder_without_bom_handling();
            }
        }
    }
}

fn decode(decoder: &mut encoding_rs::Decoder, bytes: &[u8], last: bool, deliver: impl FnMut(char)) {
    // A byte completes or breaks off two characters at the most.
    let mut block = [0; 32];
    let (_, _, written, _) = decoder.decode_to_utf8(bytes, &mut block, last);
    String::from_utf8_lossy(&block[..written]).chars().for_each(deliver);
}

/// The bytes of an incomplete character of several bytes: at most three.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Partial {
    bytes: [u8; 4],
    length: usize,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.length == 0
    }

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
