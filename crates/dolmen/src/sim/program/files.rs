//! The steps of a random program with files.

use super::Rng;

/// The first number selects the file or the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FileStep {
    /// From where, in bytes, and how many.
    Read(u32, u16, u16),
    /// This many bytes behind those that were written before.
    Write(u32, u16),
    /// On which connection, and how many bytes. Of some files a part cannot be read, and some are shorter.
    Send(u32, u16),
    Cancel(u32),
    /// No thread can be started, or some can again.
    NoThreads(bool),
}

/// Whether the programs of a seed read and write files.
pub(crate) fn has_files(seed: u64) -> bool {
    seed % 13 < 2
}

pub(crate) fn step(rng: &mut Rng) -> FileStep {
    let who = rng.below(1 << 20) as u32;
    let (from, count) = (rng.below(300) as u16, 1 + rng.below(120) as u16);
    match rng.below(52) {
        40.. => FileStep::Send(who, count * 3),
        0..17 => FileStep::Read(who, from, count),
        17..27 => FileStep::Write(who, count),
        27..38 => FileStep::Cancel(who),
        _ => FileStep::NoThreads(rng.percent(40)),
    }
}
