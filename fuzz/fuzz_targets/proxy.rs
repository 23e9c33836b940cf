//! PROXY headers: any bytes in any pieces. No panic, and the same result as in one piece.

#![no_main]

use dolmend::proxy::{HeaderReader, Progress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u8)| {
    let (stream, size) = input;
    let whole = HeaderReader::default().receive(stream);
    let (mut reader, mut before, mut in_pieces) = (HeaderReader::default(), 0, Ok(Progress::Incomplete));
    for piece in stream.chunks(usize::from(size).max(1)) {
        in_pieces = reader.receive(piece).map(|progress| match progress {
            Progress::Complete { taken, player } => Progress::Complete { taken: before + taken, player },
            Progress::Incomplete => Progress::Incomplete,
        });
        before += piece.len();
        if in_pieces != Ok(Progress::Incomplete) {
            break;
        }
    }
    assert_eq!(in_pieces, whole);
});
