//! The actions of a random program, and how a program is made shorter.

use super::Rng;

mod channels;
mod files;
mod names;

pub use channels::ChannelStep;
pub use files::FileStep;
pub use names::NameStep;

/// One step. The numbers select the object and the amount, modulo the objects that exist at the time, so that a program
/// still makes sense when steps are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    Connect,
    /// Our side connects, to an address at which there is what the number says.
    Dial(u32),
    Listen,
    ConnectTo(u32),
    RemoveListener(u32),
    PeerSend(u32, u16),
    PeerRead(u32, u16),
    PeerFin(u32),
    PeerGone(u32),
    PeerReset(u32, bool),
    Send(u32, u16),
    OverfillQueue(u32, u16),
    SendStale(u32),
    Pause(u32),
    Resume(u32),
    ShutdownWrite(u32),
    Close(u32),
    Abort(u32),
    Remove(u32),
    Timer(u32),
    Interval(u32),
    CancelTimer(u32),
    /// Which timer, and after how many microseconds it goes off.
    SetTimer(u32, u32),
    /// The caller asks for the stream of a connection.
    TakeBack(u32),
    Post,
    Wake,
    /// Another thread does it this many microseconds later, during a wait if there is one.
    PostLater(u32),
    WakeLater(u32),
    /// Which of the next signals to the kernel fails.
    FailSignal(u8),
    /// The caller shuts down the sending side on a duplicate of the socket, and sends; the peer sends without end.
    ShutByCaller(u32),
    /// The caller does not wait for this many microseconds.
    Away(u32),
    Watch,
    Signal(u32),
    Unwatch(u32),
    /// The interest (1: reading, 2: writing, 4: once only).
    AddPoll(u32, u8),
    SetInterest(u32, u8),
    /// With true, the caller then closes the socket.
    RemovePoll(u32, bool),
    /// The caller reads and writes the socket itself.
    Caller(u32, u16, u16),
    Adopt(u32, bool),
    PostReceive(u32),
    PostSend(u32, u16),
    /// With true, the caller then closes the socket.
    Release(u32, bool),
    /// Watched, or read by a thread.
    Console(bool),
    RemoveConsole,
    ConsoleMode(bool),
    ConsoleFlush,
    Type(u32),
    /// More than the inbox holds.
    Overfill,
    /// The console's output is not read, or is read again.
    Behind(bool),
    CatchSignals,
    Raise,
    Udp,
    RemoveUdp(u32),
    /// With this many bytes.
    PeerDatagram(u32, u16),
    SendTo(u32, u16),
    /// The network takes no datagrams, or takes them again.
    UdpFull(u32, bool),
    Exhaust(bool),
    Flush,
    /// With a timeout in microseconds.
    Wait(u32),
    /// Every peer sends at the same time for a while.
    Flood,
    /// For this many microseconds another event loop waits, on the kernel's handle.
    OuterLoop(u32),
    Channel(ChannelStep),
    File(FileStep),
    Name(NameStep),
}

/// The program of a seed.
pub(crate) fn generate(seed: u64) -> Vec<Action> {
    let mut rng = Rng::new(seed ^ 0x005E_ED0F_AC71_0415);
    // Miri is some thousand times slower; many short programs show it more than a few long ones.
    let steps = if cfg!(miri) { 10 + rng.below(20) } else { 20 + rng.below(180) };
    let calm = rng.percent(30);
    let steps = (0..steps).map(|_| step(&mut rng, calm));
    // The main sequence is the same as without these steps.
    let mut other = Rng::new(seed ^ 0x0B0A_A0ED_50CC_E751);
    let mut third = Rng::new(seed ^ 0x7414_EAD5_0F01_0E45);
    let mut fourth = Rng::new(seed ^ 0x5477_BE41_1D00_F10D);
    let mut fifth = Rng::new(seed ^ 0x0D0E_71C2_3A55_E77E);
    let mut sixth = Rng::new(seed ^ 0x0E57_ED10_0B5C_A11E);
    let mut seventh = Rng::new(seed ^ 0x5E4D_0F7A_11D0_C4A7);
    let mut dialling = Rng::new(seed ^ 0xD1A1_0000_C0FF_EE11);
    let mut carried = Rng::new(seed ^ 0x6DA7_A6AA_3050_C4E7);
    let mut looking_up = Rng::new(seed ^ 0x0A3E_5102_70A4_3E55);
    let mut filing = Rng::new(seed ^ 0xF11E_5700_0D15_C5ED);
    let with_asides = steps.flat_map(|step| {
        let aside = (borrows(seed) && other.percent(60)).then(|| aside(&mut other, has_console(seed)));
        let elsewhere = (has_threads(seed) && third.percent(25)).then(|| in_another_thread(&mut third));
        let behind = match fourth.below(100) {
            0..2 => Some(Action::ShutByCaller(fourth.below(1 << 20) as u32)),
            2 => Some(Action::Away(fourth.below(200_000) as u32)),
            _ => None,
        };
        let set = sets_and_releases(seed).then(|| match fifth.below(100) {
            0..8 => Some(Action::SetTimer(fifth.below(1 << 20) as u32, fifth.below(20_000) as u32)),
            8..11 => Some(Action::TakeBack(fifth.below(1 << 20) as u32)),
            _ => None,
        });
        let outer = (has_outer_loop(seed) && sixth.percent(10))
            .then(|| Action::OuterLoop(sixth.below(20_000) as u32));
        let channel = (channels::has_channels(seed) && seventh.percent(40))
            .then(|| Action::Channel(channels::step(&mut seventh)));
        let dial = (dials(seed) && dialling.percent(8)).then(|| Action::Dial(dialling.below(1 << 20) as u32));
        let datagrams = (has_datagrams(seed) && carried.percent(60)).then(|| with_datagrams(&mut carried));
        let name = (names::has_names(seed) && looking_up.percent(30))
            .then(|| Action::Name(names::step(&mut looking_up)));
        let file =
            (files::has_files(seed) && filing.percent(40)).then(|| Action::File(files::step(&mut filing)));
        [Some(step), aside, elsewhere, behind, set.flatten(), outer, channel, dial, datagrams, name, file]
    });
    with_asides.flatten().collect()
}

/// Whether the programs of a seed lend sockets. Every other seed does not: those go deeper into the rest, and must stay
/// the same as when they found their bugs.
pub(crate) fn borrows(seed: u64) -> bool {
    seed % 2 == 0
}

/// Whether there is also an operator at a console.
pub(crate) fn has_console(seed: u64) -> bool {
    seed % 4 == 0
}

/// Whether other threads act while the reactor waits, and their signals fail now and then.
pub(crate) fn has_threads(seed: u64) -> bool {
    seed % 3 == 0
}

/// Whether timers are set to other times while they run, and streams are taken back from the reactor.
fn sets_and_releases(seed: u64) -> bool {
    seed % 7 == 0
}

/// Whether the caller also blocks in another event loop now and then.
fn has_outer_loop(seed: u64) -> bool {
    seed % 5 == 0
}

/// Whether the reactor's side connects as well.
fn dials(seed: u64) -> bool {
    seed % 3 == 1
}

/// Whether there are datagram sockets: with and without each of the others.
fn has_datagrams(seed: u64) -> bool {
    matches!(seed % 8, 0 | 5)
}

fn with_datagrams(rng: &mut Rng) -> Action {
    let who = rng.below(1 << 20) as u32;
    let len = if rng.percent(20) { 0 } else { rng.below(150) as u16 };
    match rng.below(40) {
        0..3 => Action::Udp,
        3 => Action::RemoveUdp(who),
        4..6 => Action::UdpFull(who, rng.percent(40)),
        6..24 => Action::PeerDatagram(who, len),
        _ => Action::SendTo(who, len),
    }
}

fn in_another_thread(rng: &mut Rng) -> Action {
    let after_us = rng.below(3_000) as u32;
    match rng.below(10) {
        0..4 => Action::PostLater(after_us),
        4..7 => Action::WakeLater(after_us),
        _ => Action::FailSignal(1 + rng.below(3) as u8),
    }
}

/// A step with a socket that the caller owns, or at the console.
pub(crate) fn aside(rng: &mut Rng, console: bool) -> Action {
    if console && rng.percent(50) {
        return at_the_console(rng);
    }
    let who = rng.below(1 << 20) as u32;
    let much = 1 + rng.below(if cfg!(miri) { 20 } else { 150 }) as u16;
    let close = rng.percent(60);
    match rng.below(24) {
        0..3 => Action::AddPoll(who, rng.below(8) as u8),
        3..6 => Action::SetInterest(who, rng.below(4) as u8),
        6 => Action::RemovePoll(who, close),
        7..9 => Action::Caller(who, much, 0),
        9..11 => Action::Caller(who, 0, much),
        11..13 => Action::Adopt(who, rng.percent(50)),
        13..18 => Action::PostReceive(who),
        18..23 => Action::PostSend(who, much),
        _ => Action::Release(who, close),
    }
}

fn step(rng: &mut Rng, calm: bool) -> Action {
    let who = rng.below(1 << 20) as u32;
    let most = if rng.percent(80) { 100 } else { 600 };
    let much = 1 + rng.below(if cfg!(miri) { most / 5 } else { most }) as u16;
    match rng.below(100) {
        0..6 => Action::Connect,
        6 => Action::Listen,
        7..11 => Action::ConnectTo(who),
        11 => Action::RemoveListener(who),
        12..26 => Action::PeerSend(who, much),
        26..34 => Action::PeerRead(who, much),
        34 => Action::PeerFin(who),
        35 => Action::PeerGone(who),
        36 if !calm => Action::PeerReset(who, rng.percent(50)),
        37..50 => Action::Send(who, much),
        50 => Action::OverfillQueue(who, much),
        51 => Action::SendStale(who),
        52 => Action::Pause(who),
        53..55 => Action::Resume(who),
        55 => Action::ShutdownWrite(who),
        56..58 => Action::Close(who),
        58 => Action::Abort(who),
        59 => Action::Remove(who),
        60..62 => Action::Timer(rng.below(20_000) as u32),
        62 => Action::Interval(1 + rng.below(5_000) as u32),
        63 => Action::CancelTimer(who),
        64..66 => Action::Post,
        66 => Action::Wake,
        67 => Action::Watch,
        68 => Action::Signal(who),
        69 => Action::Unwatch(who),
        70 if !calm => Action::Exhaust(rng.percent(50)),
        71 => Action::Flush,
        72 if !cfg!(miri) => Action::Flood,
        73..80 => Action::Wait(0),
        80..83 => Action::Wait(rng.below(100_000) as u32),
        _ => Action::Wait(rng.below(2_000) as u32),
    }
}

fn at_the_console(rng: &mut Rng) -> Action {
    match rng.below(40) {
        0..4 => Action::Console(rng.percent(50)),
        4 => Action::RemoveConsole,
        5..7 => Action::ConsoleMode(rng.percent(50)),
        7 => Action::ConsoleFlush,
        8..10 => Action::Behind(rng.percent(40)),
        10 => Action::CatchSignals,
        11..14 => Action::Raise,
        14..16 if !cfg!(miri) => Action::Overfill,
        _ => Action::Type(rng.below(60) as u32),
    }
}

/// Removes everything that can be removed: halves, quarters and so on, down to single steps, until nothing more can be
/// removed.
pub fn shrink<A: Clone>(mut actions: Vec<A>, mut fails: impl FnMut(&[A]) -> bool) -> Vec<A> {
    let mut chunk = actions.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < actions.len() {
            let mut candidate = actions.clone();
            candidate.drain(at..(at + chunk).min(actions.len()));
            if fails(&candidate) {
                actions = candidate;
                shorter = true;
            } else {
                at += chunk;
            }
        }
        if chunk == 1 && !shorter {
            return actions;
        }
        if !shorter {
            chunk = chunk.div_ceil(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_program() {
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7), generate(8));
    }

    #[test]
    fn shrinking_keeps_what_matters() {
        let actions: Vec<Action> = (0..100).map(Action::Pause).collect();
        let shrunk = shrink(actions, |candidate| {
            candidate.contains(&Action::Pause(3)) && candidate.contains(&Action::Pause(97))
        });
        assert_eq!(shrunk, [Action::Pause(3), Action::Pause(97)]);
    }
}
