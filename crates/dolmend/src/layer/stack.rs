//! The layers whose messages and outputs are bytes: those between the connection and telnet.

use std::time::Instant;

use super::{Compressed, Layer, Message, Outward};

/// A stack of layers, the outermost first. Without any it costs nothing.
#[derive(Debug, Default)]
pub struct Stack {
    layers: Vec<Box<dyn Layer>>,
    /// Outputs between two layers. Both are kept so that an output costs no allocation.
    between: Outward,
    spare: Outward,
}

impl Stack {
    /// Adds a layer inside the others.
    pub fn push(&mut self, layer: Box<dyn Layer>) {
        self.layers.push(layer);
    }

    /// Whether bytes pass unchanged for now.
    pub fn is_transparent(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_transparent())
    }

    /// Takes bytes from the connection. `inward` gets the messages of the innermost layer, and appends its replies to
    /// the outputs it is given; `wire` gets the bytes for the connection.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
        inward: &mut dyn FnMut(Message<'_>, &mut Outward),
        wire: &mut Vec<u8>,
    ) {
        self.between.clear();
        pass_inward(&mut self.layers, Message::Bytes(bytes), now, inward, &mut self.between);
        wire.extend_from_slice(self.between.bytes());
        self.between.clear();
    }

    /// Takes what waits in `outputs`, and appends the bytes for the connection to `wire`.
    pub fn send(&mut self, outputs: &mut Outward, wire: &mut Vec<u8>) {
        self.pass_outward(outputs, |_, _| {}, wire);
    }

    /// The turn is over.
    pub fn flush(&mut self, outputs: &mut Outward, wire: &mut Vec<u8>) {
        self.pass_outward(outputs, |layer, outward| layer.flush(outward), wire);
    }

    /// The session ends in order.
    pub fn end(&mut self, outputs: &mut Outward, wire: &mut Vec<u8>) {
        self.pass_outward(outputs, |layer, outward| layer.end(outward), wire);
    }

    /// A deadline has passed.
    pub fn expire(&mut self, now: Instant, wire: &mut Vec<u8>) {
        let mut nothing = Outward::default();
        self.pass_outward(&mut nothing, |layer, outward| layer.expire(now, outward), wire);
    }

    /// The first deadline of a layer.
    pub fn deadline(&self) -> Option<Instant> {
        self.layers.iter().filter_map(|layer| layer.deadline()).min()
    }

    /// Whether a layer wants the connection to be closed.
    pub fn wants_close(&self) -> bool {
        self.layers.iter().any(|layer| layer.wants_close())
    }

    /// What was compressed since this was last asked.
    pub fn take_compressed(&mut self) -> Compressed {
        let mut sum = Compressed::default();
        for compressed in self.layers.iter_mut().map(|layer| layer.take_compressed()) {
            sum.plain_bytes += compressed.plain_bytes;
            sum.wire_bytes += compressed.wire_bytes;
        }
        sum
    }

    /// Passes outputs from the innermost layer to the connection, and calls `then` on each layer behind them.
    fn pass_outward(
        &mut self,
        outputs: &mut Outward,
        mut then: impl FnMut(&mut dyn Layer, &mut Outward),
        wire: &mut Vec<u8>,
    ) {
        let Stack { layers, between, spare } = self;
        std::mem::swap(outputs, between);
        for layer in layers.iter_mut().rev() {
            spare.clear();
            between.replay(|output| layer.send(output, spare));
            then(layer.as_mut(), spare);
            std::mem::swap(between, spare);
        }
        wire.extend_from_slice(between.bytes());
        between.clear();
        // Its memory returns to the caller.
        std::mem::swap(outputs, between);
    }
}

/// Passes a message through all layers. The replies of those further in pass the first layer on their way out, behind
/// what it replies itself.
fn pass_inward(
    layers: &mut [Box<dyn Layer>],
    message: Message<'_>,
    now: Instant,
    inward: &mut dyn FnMut(Message<'_>, &mut Outward),
    outward: &mut Outward,
) {
    let Some((first, rest)) = layers.split_first_mut() else { return inward(message, outward) };
    let mut replies = Outward::default();
    first.receive(
        message,
        now,
        &mut |message| pass_inward(rest, message, now, inward, &mut replies),
        outward,
    );
    replies.replay(|output| first.send(output, outward));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Output;

    /// A layer that adds one to each byte outward, and subtracts it inward.
    #[derive(Debug)]
    struct Shifted;

    impl Layer for Shifted {
        fn receive(
            &mut self,
            message: Message<'_>,
            _now: Instant,
            inward: &mut dyn FnMut(Message<'_>),
            _outward: &mut Outward,
        ) {
            let Message::Bytes(bytes) = message else { return inward(message) };
            let plain: Vec<u8> = bytes.iter().map(|byte| byte - 1).collect();
            inward(Message::Bytes(&plain));
        }

        fn send(&mut self, output: Output<'_>, outward: &mut Outward) {
            if let Output::Bytes(bytes) = output {
                outward.bytes_mut().extend(bytes.iter().map(|byte| byte + 1));
            }
        }

        fn end(&mut self, outward: &mut Outward) {
            outward.push(b".");
        }
    }

    #[test]
    fn messages_pass_inward_and_replies_outward_through_every_layer() {
        let mut stack = Stack::default();
        stack.push(Box::new(Shifted));
        stack.push(Box::new(Shifted));
        let (mut received, mut wire) = (Vec::new(), Vec::new());
        let mut inner = |message: Message<'_>, outward: &mut Outward| {
            if let Message::Bytes(bytes) = message {
                received.extend_from_slice(bytes);
                outward.push(b"yes");
            }
        };
        stack.receive(b"cde", Instant::now(), &mut inner, &mut wire);
        assert_eq!((&received[..], &wire[..]), (&b"abc"[..], &b"{gu"[..]));
        wire.clear();
        let mut outputs = Outward::default();
        outputs.push(b"abc");
        stack.end(&mut outputs, &mut wire);
        assert_eq!(wire, b"cde/.", "the inner layer's end passes the outer one");
        assert!(outputs.is_empty() && !stack.is_transparent());
    }
}
