//! The steps of a random program with look-ups of names.

use super::Rng;

/// The number selects the host, the address or the look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NameStep {
    Resolve(u32),
    /// An address in text.
    Literal(u32),
    Name(u32),
    Cancel(u32),
    /// Connects to a host. Bits say how many addresses it has, and what is at each.
    Connect(u32),
    /// Removes such a connection that is not made yet.
    RemoveConnecting(u32),
    /// No thread can be started, or some can again.
    NoThreads(bool),
}

/// Whether the programs of a seed look names up.
pub(crate) fn has_names(seed: u64) -> bool {
    seed % 11 < 2
}

pub(crate) fn step(rng: &mut Rng) -> NameStep {
    let who = rng.below(1 << 20) as u32;
    match rng.below(40) {
        0..16 => NameStep::Resolve(who),
        16..20 => NameStep::Literal(who),
        20..26 => NameStep::Name(who),
        26..32 => NameStep::Cancel(who),
        32..36 => NameStep::Connect((rng.next() >> 32) as u32),
        36 => NameStep::RemoveConnecting(who),
        _ => NameStep::NoThreads(rng.percent(40)),
    }
}
