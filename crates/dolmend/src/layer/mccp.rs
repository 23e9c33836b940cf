//! MCCP2: zlib on the way to the client, begun by telnet behind its start sequence.
//!
//! Compressed data is held back until the turn is over, and then flushed once, so ten lines cost one flush. The stream
//! ends only when the client withdraws the option, or with the session: clients lose text behind an end.

use flate2::{Compress, Compression, FlushCompress};

use super::{Compressed, Layer, Output, Outward};

/// How much room the compressor gets at a time.
const STEP_BYTES: usize = 4096;

/// Compression of the output.
#[derive(Debug, Default)]
pub struct Mccp {
    /// Only while compression is on: it is a few hundred KiB.
    compressor: Option<Compress>,
    /// Whether bytes may be held back.
    unflushed: bool,
    compressed: Compressed,
}

impl Mccp {
    /// A layer that compresses nothing yet.
    pub fn new() -> Mccp {
        Mccp::default()
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress, outward: &mut Outward) {
        let Some(compressor) = &mut self.compressor else { return };
        let wire = outward.bytes_mut();
        loop {
            wire.reserve(STEP_BYTES);
            let (consumed_before, written_before) = (compressor.total_in(), wire.len());
            // It fails only for a stream that has ended, which is not kept.
            if compressor.compress_vec(input, wire, flush).is_err() {
                return;
            }
            let consumed = (compressor.total_in() - consumed_before) as usize;
            input = &input[consumed.min(input.len())..];
            self.compressed.plain_bytes += consumed as u64;
            self.compressed.wire_bytes += (wire.len() - written_before) as u64;
            // Room that is left means that the compressor has nothing more to write.
            if input.is_empty() && wire.len() < wire.capacity() {
                return;
            }
        }
    }

    fn finish(&mut self, outward: &mut Outward) {
        self.run(&[], FlushCompress::Finish, outward);
        self.compressor = None;
        self.unflushed = false;
    }
}

impl Layer for Mccp {
    fn send(&mut self, output: Output<'_>, outward: &mut Outward) {
        match output {
            Output::Bytes(bytes) if self.compressor.is_some() => {
                self.unflushed = true;
                self.run(bytes, FlushCompress::None, outward);
            }
            Output::Bytes(bytes) => outward.push(bytes),
            Output::Compress(true) if self.compressor.is_none() => {
                self.compressor = Some(Compress::new(Compression::default(), true));
                self.unflushed = true;
            }
            Output::Compress(false) => self.finish(outward),
            // The layers further in have made bytes of everything else.
            _ => {}
        }
    }

    fn flush(&mut self, outward: &mut Outward) {
        if std::mem::take(&mut self.unflushed) {
            self.run(&[], FlushCompress::Sync, outward);
        }
    }

    fn end(&mut self, outward: &mut Outward) {
        if self.compressor.is_some() {
            self.finish(outward);
        }
    }

    fn is_transparent(&self) -> bool {
        self.compressor.is_none()
    }

    fn take_compressed(&mut self) -> Compressed {
        std::mem::take(&mut self.compressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    fn inflated(wire: &[u8]) -> (Vec<u8>, bool) {
        let (mut decompress, mut text) = (Decompress::new(true), Vec::with_capacity(1 << 20));
        let status =
            decompress.decompress_vec(wire, &mut text, FlushDecompress::Sync).expect("it is a zlib stream");
        assert_eq!(decompress.total_in(), wire.len() as u64, "all of it is read");
        (text, status == flate2::Status::StreamEnd)
    }

    #[test]
    fn compression_begins_and_ends_at_exact_places() {
        let (mut mccp, mut outward) = (Mccp::new(), Outward::default());
        mccp.send(Output::Bytes(b"plain"), &mut outward);
        mccp.send(Output::Compress(true), &mut outward);
        assert_eq!(outward.bytes(), b"plain");
        mccp.send(Output::Bytes(b"packed"), &mut outward);
        mccp.flush(&mut outward);
        assert_eq!(inflated(&outward.bytes()[5..]), (b"packed".to_vec(), false));
        let before = outward.bytes().len();
        mccp.flush(&mut outward);
        assert_eq!(outward.bytes().len(), before, "nothing to flush");
        mccp.send(Output::Compress(false), &mut outward);
        assert_eq!(inflated(&outward.bytes()[5..]), (b"packed".to_vec(), true));
        let end = outward.bytes().len();
        mccp.send(Output::Bytes(b"plain"), &mut outward);
        assert_eq!(&outward.bytes()[end..], b"plain");
        assert!(mccp.is_transparent());
        let compressed = mccp.take_compressed();
        assert_eq!(compressed, Compressed { plain_bytes: 6, wire_bytes: (end - 5) as u64 });
        assert_eq!(mccp.take_compressed(), Compressed::default());
    }

    proptest! {
        #[test]
        fn every_flush_makes_all_text_readable(
            turns in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9000), 0..6),
        ) {
            let (mut mccp, mut outward) = (Mccp::new(), Outward::default());
            mccp.send(Output::Compress(true), &mut outward);
            let mut sent = Vec::new();
            for turn in &turns {
                mccp.send(Output::Bytes(turn), &mut outward);
                mccp.flush(&mut outward);
                sent.extend_from_slice(turn);
                prop_assert_eq!(inflated(outward.bytes()), (sent.clone(), false));
            }
            mccp.end(&mut outward);
            prop_assert_eq!(inflated(outward.bytes()), (sent, true));
        }
    }
}
