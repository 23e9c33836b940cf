//! Text for sending: line ends as the network has them, and byte 255 doubled.

use super::byte::IAC;

/// Turns text into wire bytes.
///
/// It remembers the last byte, so text may arrive in any pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    telnet: bool,
    /// The last byte was a carriage return, and the next byte decides its meaning.
    after_cr: bool,
}

impl Encoder {
    /// For a telnet port.
    pub fn telnet() -> Encoder {
        Encoder { telnet: true, after_cr: false }
    }

    /// For a port with plain lines: line ends are converted, and 255 stays unchanged.
    pub fn ascii() -> Encoder {
        Encoder { telnet: false, after_cr: false }
    }

    /// Appends the wire form of `text` to `wire`. A line feed becomes CR LF, unless it is part of a CR LF.
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
