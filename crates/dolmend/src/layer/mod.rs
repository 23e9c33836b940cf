//! The layers of a session: protocols without sockets, threads or clocks.
//!
//! A session is a stack of layers. Messages move inward, from the bytes of the connection to the lines of a player.
//! Outputs move outward, from the texts of a world to the bytes of the connection. Each layer translates what it knows
//! and passes on the rest. TLS or WebSocket would be layers whose messages and outputs are bytes again, and none of
//! the layers further in would know of them.
//!
//! ```text
//!           receive: messages →                                    ← send: outputs
//! connection │ MCCP2 │ telnet │ lines │ world
//! ```
//!
//! A reply of a layer is an output of its own, and passes only the layers further out. A change that has to take effect
//! at an exact place of the stream, such as the begin of compression, is an [`Output`] too, so its place is its order.
//!
//! No layer knows the reactor. The caller passes the time, and asks for the next [deadline](Layer::deadline). Every
//! layer is [`Send`], because a crew of threads may serve sessions later. [`Session`](crate::session::Session) has the
//! stack.

mod mccp;
mod stack;

use std::fmt;
use std::time::Instant;

use crate::encoding::TextEncoding;
use crate::line::Line;
use crate::telnet::ClientEvent;

pub use mccp::Mccp;
pub use stack::Stack;

/// What moves inward.
#[derive(Debug)]
pub enum Message<'a> {
    /// Bytes, never empty. Further in than telnet, they are text.
    Bytes(&'a [u8]),
    /// The client asks to erase the last character of the line.
    EraseCharacter,
    /// The client asks to erase the line.
    EraseLine,
    /// The encoding of the bytes from here on.
    Encoding(TextEncoding),
    /// A complete line.
    Line(Line),
    /// The layer has replied with text, which may stand over a prompt now.
    Replied,
    /// A fact about the client, or a request of it.
    Client(ClientEvent),
}

/// What moves outward.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// Bytes of the protocol further in.
    Bytes(&'a [u8]),
    /// Text for the player; lines end in a line feed.
    Text(&'a str),
    /// The text before this is a prompt.
    EndOfPrompt,
    /// From here on the client shows what is typed, or hides it.
    ShowTyping(bool),
    /// A message of GMCP.
    Gmcp {
        /// Its name, such as `Room.Info`.
        package: &'a str,
        /// JSON, or nothing.
        data: &'a str,
    },
    /// The variables of MSSP, in wire form.
    ServerStatus(&'a [u8]),
    /// No operation: the client's system answers if it still exists.
    KeepAlive,
    /// A question that the client answers without its player.
    Probe,
    /// The bytes behind this are compressed, or no longer.
    Compress(bool),
}

/// Outputs that wait for the next layer further out: bytes, and the places where compression changes.
#[derive(Debug, Default)]
pub struct Outward {
    bytes: Vec<u8>,
    /// How many of the bytes precede the change, and the change.
    changes: Vec<(usize, bool)>,
}

impl Outward {
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes, for a layer that appends to them.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Compression begins or ends behind the bytes so far.
    pub fn compress(&mut self, on: bool) {
        self.changes.push((self.bytes.len(), on));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.changes.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.changes.clear();
    }

    /// Everything, in order.
    pub fn replay(&self, mut output: impl FnMut(Output<'_>)) {
        let mut start = 0;
        for &(end, on) in &self.changes {
            if end > start {
                output(Output::Bytes(&self.bytes[start..end]));
            }
            output(Output::Compress(on));
            start = end;
        }
        if start < self.bytes.len() {
            output(Output::Bytes(&self.bytes[start..]));
        }
    }
}

/// What compression has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compressed {
    /// Bytes before compression.
    pub plain_bytes: u64,
    /// What became of them.
    pub wire_bytes: u64,
}

/// One protocol of one connection.
pub trait Layer: fmt::Debug + Send {
    /// Takes a message from the layer further out. Passes what it makes of it, in any number of messages, to `inward`,
    /// and appends immediate replies to `outward`. A layer that changes nothing inward needs no such method.
    fn receive(
        &mut self,
        message: Message<'_>,
        now: Instant,
        inward: &mut dyn FnMut(Message<'_>),
        outward: &mut Outward,
    ) {
        let _ = (now, outward);
        inward(message);
    }

    /// Takes an output from the layer further in, and appends what it makes of it to `outward`.
    fn send(&mut self, output: Output<'_>, outward: &mut Outward);

    /// The turn is over: what the layer holds back to send more at a time has to go.
    fn flush(&mut self, outward: &mut Outward) {
        let _ = outward;
    }

    /// The session ends in order, and this is its last output.
    fn end(&mut self, outward: &mut Outward) {
        let _ = outward;
    }

    /// When [`expire`](Layer::expire) is to be called, if nothing happens until then.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed. A call that is too early has no effect.
    fn expire(&mut self, now: Instant, outward: &mut Outward) {
        let _ = (now, outward);
    }

    /// Whether the connection is of no more use, so that it should be closed after the output so far.
    fn wants_close(&self) -> bool {
        false
    }

    /// Whether bytes pass unchanged in both directions for now.
    fn is_transparent(&self) -> bool {
        false
    }

    /// What the layer has compressed since it was last asked.
    fn take_compressed(&mut self) -> Compressed {
        Compressed::default()
    }
}
