//! The steps of a random program with channels.

use super::Rng;

/// The first number of each selects the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ChannelStep {
    /// With this capacity.
    Open(u8),
    Send(u32),
    /// Another thread does it this many microseconds later, during a wait if there is one.
    SendLater(u32, u32),
    CloneSender(u32),
    DropSender(u32),
    DropSenderLater(u32, u32),
    /// The caller takes up to this many values out, whether or not an event has come.
    Drain(u32, u8),
    DropInbox(u32),
}

/// Whether the programs of a seed have channels.
pub(crate) fn has_channels(seed: u64) -> bool {
    seed % 5 == 0
}

pub(crate) fn step(rng: &mut Rng) -> ChannelStep {
    let who = rng.below(1 << 20) as u32;
    let after_us = rng.below(3_000) as u32;
    match rng.below(40) {
        0..4 => ChannelStep::Open(rng.below(6) as u8),
        4..18 => ChannelStep::Send(who),
        18..26 => ChannelStep::SendLater(who, after_us),
        26..28 => ChannelStep::CloneSender(who),
        28..31 => ChannelStep::DropSender(who),
        31..33 => ChannelStep::DropSenderLater(who, after_us),
        33..39 => ChannelStep::Drain(who, rng.below(5) as u8),
        _ => ChannelStep::DropInbox(who),
    }
}
