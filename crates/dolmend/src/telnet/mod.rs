//! Telnet without sockets: takes bytes, returns text, facts about the client, and replies.
//!
//! Strategy: `parser` knows only the grammar of RFC 854: it separates text bytes from commands and subnegotiations,
//! however the stream was cut into pieces. `options` has the state of each option, by the Q method of RFC 1143, and
//! `echo` that of the one option which cannot wait for an answer. `engine` decides which options may be on, and what
//! follows when one is. The other files named after an option know its subnegotiations. `encode` is for output.
//! [`Telnet`] is the layer that holds them for one connection.
//!
//! Two rules hold for any input, and are tested with random streams in random pieces: no
//! byte of a command ever becomes text, and no byte of text is ever taken for a command.
//! Where a peer breaks the grammar, the second rule decides: a text byte after a stray 255
//! is kept, and a subnegotiation that no one has agreed to ends with the line.
//!
//! The opening asks for facts and offers services, and changes nothing: no echo, no suppressed GA, no line mode. So a
//! client stays in the line mode in which it starts, does its own echo, and nothing waits for an answer.

pub mod byte;
mod charset;
mod client;
mod echo;
mod encode;
mod engine;
mod environ;
mod gmcp;
pub mod mssp;
mod options;
mod parser;
mod terminal;

use std::time::{Duration, Instant};

use crate::encoding::TextEncoding;

use crate::layer::{Layer, Message, Output, Outward};
use engine::Engine;

pub use client::{Client, ClientEvent, Colours, WindowSize};
pub use encode::Encoder;
pub use gmcp::string as json_string;
pub use options::{Options, Reaction, Side};
pub use parser::{Event, Parser, Receiver};

/// What is different from one port or peer to another.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The encoding of the text, until the client agrees to another one.
    pub encoding: TextEncoding,
    /// Whether compression is offered.
    pub compress: bool,
    /// Whether the peer is a proxy that is trusted to name the player's address. It has to own NEW-ENVIRON: it must neither
    /// pass our question on to the player nor a player's answer to us.
    pub trusted_proxy: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { encoding: TextEncoding::UTF_8, compress: true, trusted_proxy: false }
    }
}

/// The telnet side of one connection.
///
/// ```
/// use std::time::Instant;
///
/// use dolmend::layer::{Layer, Message, Outward};
/// use dolmend::telnet::{Settings, Telnet};
///
/// let (mut telnet, mut outward, mut text) = (Telnet::new(Settings::default()), Outward::default(), Vec::new());
/// // DO 39 in the middle of a word, cut in two.
/// for piece in [&b"lo\xff"[..], b"\xfd\x27ok\r\n"] {
///     let mut inward = |message: Message<'_>| {
///         if let Message::Bytes(bytes) = message {
///             text.extend_from_slice(bytes);
///         }
///     };
///     telnet.receive(Message::Bytes(piece), Instant::now(), &mut inward, &mut outward);
/// }
/// assert_eq!(text, b"look\r\n");
/// assert_eq!(outward.bytes(), b"\xff\xfc\x27"); // WONT 39
/// ```
#[derive(Debug)]
pub struct Telnet {
    parser: Parser,
    engine: Engine,
}

impl Telnet {
    /// A connection that has just opened.
    pub fn new(settings: Settings) -> Telnet {
        Telnet { parser: Parser::default(), engine: Engine::new(settings) }
    }

    /// The opening, to be sent with the greeting.
    pub fn open(&mut self, outward: &mut Outward) {
        self.engine.open(outward);
    }

    /// Nothing was read from the client for this time, because the server did not want to: it does not count.
    pub fn paused(&mut self, time: Duration) {
        self.parser.paused(time);
    }

    /// What the client has said about itself.
    pub fn client(&self) -> &Client {
        &self.engine.client
    }

    /// The same, for what the world knows better.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.engine.client
    }
}

impl Layer for Telnet {
    fn receive(
        &mut self,
        message: Message<'_>,
        now: Instant,
        inward: &mut dyn FnMut(Message<'_>),
        outward: &mut Outward,
    ) {
        match message {
            Message::Bytes(bytes) => {
                self.parser.receive(
                    bytes,
                    now,
                    &mut engine::Receiving { engine: &mut self.engine, now, inward, outward },
                );
            }
            other => inward(other),
        }
    }

    fn send(&mut self, output: Output<'_>, outward: &mut Outward) {
        self.engine.send(output, outward);
    }

    fn deadline(&self) -> Option<Instant> {
        self.engine.compression_deadline()
    }

    fn expire(&mut self, now: Instant, outward: &mut Outward) {
        self.engine.expire(now, outward);
    }
}

#[cfg(test)]
pub(crate) mod tests;
