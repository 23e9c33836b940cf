//! The grammar of a telnet stream: which bytes are text, and which are commands.

use super::byte::{DO, DONT, IAC, SB, SE, WILL, WONT};

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes of text, never empty; a doubled 255 is one byte 255.
    Text(&'a [u8]),
    /// WILL, WONT, DO or DONT, and the option.
    Negotiation {
        /// One of the four verbs.
        verb: u8,
        /// The option that is negotiated.
        option: u8,
    },
    /// Any other command of two bytes: this is its second.
    Command(u8),
}

/// Commands start here (RFC 1184 took 236 to 238, RFC 885 took 239).
const FIRST_COMMAND: u8 = 236;

/// The state of the grammar after the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// In text.
    #[default]
    Text,
    /// After IAC.
    Command,
    /// After IAC and one of the four verbs.
    Option { verb: u8 },
    /// In a subnegotiation.
    Subnegotiation,
    /// In a subnegotiation, after IAC.
    SubnegotiationCommand,
}

/// Splits a stream into text and commands, whatever pieces it arrives in.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
}

impl Parser {
    /// Takes the next bytes of the stream and delivers their parts.
    ///
    /// The next bytes continue a command that is cut off at the end; if none follow, it is ignored.
    pub fn receive(&mut self, bytes: &[u8], mut deliver: impl FnMut(Event<'_>)) {
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            match self.state {
                State::Text if first != IAC => {
                    let length = rest.iter().position(|&byte| byte == IAC).unwrap_or(rest.len());
                    deliver(Event::Text(&rest[..length]));
                    rest = &rest[length..];
                    continue;
                }
                State::Text => self.state = State::Command,
                State::Command => self.command(first, &mut deliver),
                State::Option { verb } => {
                    self.state = State::Text;
                    deliver(Event::Negotiation { verb, option: first });
                }
                State::Subnegotiation => {
                    if first == IAC {
                        self.state = State::SubnegotiationCommand;
                    }
                }
                State::SubnegotiationCommand => self.subnegotiation_command(first),
            }
            rest = after;
        }
    }

    /// The byte after IAC.
    fn command(&mut self, byte: u8, deliver: &mut impl FnMut(Event<'_>)) {
        self.state = State::Text;
        match byte {
            IAC => deliver(Event::Text(&[IAC])),
            WILL | WONT | DO | DONT => self.state = State::Option { verb: byte },
            SB => self.state = State::Subnegotiation,
            FIRST_COMMAND.. => deliver(Event::Command(byte)),
            // Not a command: a client sent a bare 255 as text (an ÿ of Latin-1), and this is the text after it. It may
            // be the line end, so it must not be lost; the 255 is dropped.
            _ => deliver(Event::Text(&[byte])),
        }
    }

    /// The byte after IAC in a subnegotiation.
    fn subnegotiation_command(&mut self, byte: u8) {
        self.state = match byte {
            SE => State::Text,
            // These cannot occur inside: the peer has abandoned the subnegotiation.
            WILL | WONT | DO | DONT => State::Option { verb: byte },
            // IAC IAC is a byte 255 of the payload, and so is a 255 that some clients send without doubling it. Another
            // SB begins the next subnegotiation.
            _ => State::Subnegotiation,
        };
    }
}
