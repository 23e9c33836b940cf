//! Telnet without sockets: takes bytes, returns text and replies.
//!
//! Strategy: `parser` knows only the grammar of RFC 854: it separates text bytes from commands, however the stream was
//! cut into pieces. `refusal` decides the reply to an offered or requested option. `encode` is for output. [`Telnet`]
//! holds the three for one connection.
//!
//! Two rules hold for any input, and are tested with random streams in random pieces: no
//! byte of a command ever becomes text, and no byte of text is ever taken for a command.
//! Where a peer breaks the grammar, the second rule decides: a text byte after a stray 255
//! is kept.
//!
//! The server agrees to no option and asks for none: the opening is empty. So a client stays in the line mode in which
//! it starts, does its own echo, and plain `nc` sees only text.
//!
//! Nothing is stored: a subnegotiation is skipped as it arrives, so its length costs no memory.

mod encode;
mod parser;
mod refusal;

pub use encode::Encoder;
pub use parser::{Event, Parser};
pub use refusal::Refusals;

/// The bytes with a name in the protocol (RFC 854).
pub mod byte {
    /// End of a subnegotiation.
    pub const SE: u8 = 240;
    /// "Are you there?"
    pub const AYT: u8 = 246;
    /// Erase character.
    pub const EC: u8 = 247;
    /// Erase line.
    pub const EL: u8 = 248;
    /// Begin of a subnegotiation.
    pub const SB: u8 = 250;
    /// The sender offers an option, or continues to use it.
    pub const WILL: u8 = 251;
    /// The sender does not use an option.
    pub const WONT: u8 = 252;
    /// The sender asks the peer for an option.
    pub const DO: u8 = 253;
    /// The sender asks the peer not to use an option.
    pub const DONT: u8 = 254;
    /// Interpret as command; doubled, it is the byte 255 itself.
    pub const IAC: u8 = 255;
}

/// An input for the connection, in addition to the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// Bytes of text, never empty.
    Text(&'a [u8]),
    /// The client asks to erase the last character of the line.
    EraseCharacter,
    /// The client asks to erase the line.
    EraseLine,
}

/// The reply to "are you there?": on a line of its own, wherever the cursor was.
const ARE_YOU_THERE: &[u8] = b"\r\n[Yes]\r\n";

/// The telnet side of one connection.
///
/// ```
/// use dolmend::telnet::{Input, Telnet};
///
/// let (mut telnet, mut reply, mut text) = (Telnet::new(), Vec::new(), Vec::new());
/// // DO 24 in the middle of a word, cut in two.
/// for piece in [&b"lo\xff"[..], b"\xfd\x18ok\r\n"] {
///     telnet.receive(piece, &mut reply, |input| {
///         if let Input::Text(bytes) = input {
///             text.extend_from_slice(bytes);
///         }
///     });
/// }
/// assert_eq!(text, b"look\r\n");
/// assert_eq!(reply, b"\xff\xfc\x18"); // WONT 24
/// ```
#[derive(Debug, Default)]
pub struct Telnet {
    parser: Parser,
    refusals: Refusals,
}

impl Telnet {
    /// A connection that has just opened.
    pub fn new() -> Telnet {
        Telnet::default()
    }

    /// Takes bytes from the client. Appends immediate replies, in wire form, to `reply`.
    pub fn receive(&mut self, bytes: &[u8], reply: &mut Vec<u8>, mut deliver: impl FnMut(Input<'_>)) {
        let refusals = &mut self.refusals;
        self.parser.receive(bytes, |event| match event {
            Event::Text(text) => deliver(Input::Text(text)),
            Event::Negotiation { verb, option } => {
                if let Some(verb) = refusals.reply(verb, option) {
                    reply.extend_from_slice(&[byte::IAC, verb, option]);
                }
            }
            Event::Command(byte::AYT) => reply.extend_from_slice(ARE_YOU_THERE),
            Event::Command(byte::EC) => deliver(Input::EraseCharacter),
            Event::Command(byte::EL) => deliver(Input::EraseLine),
            // Break, interrupt, abort output, data mark, go ahead, no operation: a line server has nothing to
            // interrupt, and none of them carries text.
            Event::Command(_) => {}
        });
    }
}

#[cfg(test)]
pub(crate) mod tests;
