//! The innermost layer: text inward becomes lines, and text outward becomes bytes.

use std::time::Instant;

use crate::layer::{Layer, Message, Output, Outward};
use crate::line::LineAssembler;
use crate::telnet::Encoder;

/// The lines of one connection.
#[derive(Debug)]
pub(super) struct Lines {
    pub assembler: LineAssembler,
    pub encoder: Encoder,
}

impl Layer for Lines {
    fn receive(
        &mut self,
        message: Message<'_>,
        _now: Instant,
        inward: &mut dyn FnMut(Message<'_>),
        _outward: &mut Outward,
    ) {
        match message {
            Message::Bytes(text) => self.assembler.receive(text, |line| inward(Message::Line(line))),
            Message::EraseCharacter => self.assembler.erase_character(),
            Message::EraseLine => self.assembler.erase_line(),
            Message::Encoding(encoding) => {
                self.assembler.set_encoding(encoding);
                self.encoder.set_encoding(encoding);
            }
            other => inward(other),
        }
    }

    fn send(&mut self, output: Output<'_>, outward: &mut Outward) {
        match output {
            Output::Text(text) => self.encoder.encode_text(text, outward.bytes_mut()),
            Output::Bytes(bytes) => outward.push(bytes),
            // Nothing else exists without telnet.
            _ => {}
        }
    }
}
