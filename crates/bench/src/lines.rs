//! The lines of a broadcast, and what each connection gets of one.

use crate::servers::crew::{MESSAGE_BYTES, compress, compressor};

const WORDS: [&str; 24] = [
    "the", "a", "old", "grey", "guard", "looks", "at", "you", "and", "says", "north", "leaves", "arrives",
    "from", "sword", "with", "door", "opens", "slowly", "moon", "over", "bridge", "smiles", "river",
];

/// Lines of words, each another one. Returns the function that makes the next one and tells how many bytes it becomes when
/// it is compressed: each connection has the same history, so it is the same for all.
pub fn compressed() -> impl FnMut(&mut Vec<u8>) -> usize {
    let (mut compressor, mut wire) = (compressor(), Vec::new());
    let mut state = 88_172_645_463_325_252_u64;
    move |line| {
        line.clear();
        while line.len() < MESSAGE_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            line.extend_from_slice(WORDS[(state % WORDS.len() as u64) as usize].as_bytes());
            line.push(b' ');
        }
        line.truncate(MESSAGE_BYTES - 1);
        line.push(b'\n');
        wire.clear();
        compress(&mut compressor, line, &mut wire);
        wire.len()
    }
}
