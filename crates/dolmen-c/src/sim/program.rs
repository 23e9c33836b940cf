//! The steps of a random program of calls.

use dolmen::sim::Rng;

/// One step. The numbers choose the socket and the amount, modulo what exists at the time, so that a program still
/// makes sense when steps are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// The caller opens a connected socket, or a listening one, or a second number for one.
    Connect,
    Listen,
    Duplicate(u32),
    /// With EVENT_ flags.
    Add(u32, u8),
    /// Of a number that is not a socket, or that is registered.
    AddWrongly(u32),
    Modify(u32, u8),
    Remove(u32),
    /// After it was removed, if it was registered; or without a removal.
    Close(u32),
    CloseRegistered(u32),
    /// Into a buffer of so many bytes; 0: into a buffer of the library.
    PostRead(u32, u16),
    PostWrite(u32, u16),
    /// The caller's own calls.
    Receive(u32, u16),
    Send(u32, u16),
    ShutDown(u32),
    Accept(u32),
    External(ExternalAction),
    /// The same, so many microseconds later and by another thread.
    Later(u32, ExternalAction),
    /// Buffered or not.
    AddConsole(bool),
    RemoveConsole,
    ReadConsole(u16),
    Timer(u32),
    Interval(u32),
    CancelTimer(u32),
    /// A forked copy is destroyed.
    Fork,
    /// Room for so many events, and a timeout in microseconds; `u32::MAX`: none.
    Wait(u8, u32),
    /// Every source always has something.
    Flood(u8),
}

/// Actions of the peers, the operator and other threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ExternalAction {
    ConnectTo(u32),
    PeerWrite(u32, u16),
    PeerRead(u32, u16),
    /// The peer ends its stream, or closes its socket.
    PeerFinish(u32, bool),
    PeerReset(u32, bool),
    Type(u16),
    EndInput,
    OtherRecord,
    Post,
    Wakeup,
    /// A signal handler runs.
    Interrupt,
}

/// The program of a seed.
pub(super) fn generate(seed: u64) -> Vec<Action> {
    let mut rng = Rng::new(seed ^ 0x000C_0DE0_F0CA_11ED);
    // Miri is some thousand times slower.
    let steps = if cfg!(miri) { 8 + rng.below(16) } else { 20 + rng.below(140) };
    let calm = rng.percent(40);
    (0..steps).map(|_| step(&mut rng, calm)).collect()
}

/// A step of the caller that is not a wait.
pub(super) fn verb(rng: &mut Rng) -> Action {
    let who = rng.below(1 << 20) as u32;
    let much = 1 + rng.below(if cfg!(miri) { 40 } else { 150 }) as u16;
    match rng.below(40) {
        0..3 => Action::Add(who, rng.below(4) as u8),
        3 => Action::AddWrongly(who),
        4..7 => Action::Modify(who, rng.below(4) as u8),
        7..9 => Action::Remove(who),
        9..11 => Action::Close(who),
        11..13 => Action::CloseRegistered(who),
        13..18 => Action::PostRead(who, 0),
        18..23 => Action::PostRead(who, much % 24),
        23..27 => Action::PostWrite(who, much),
        27..30 => Action::Receive(who, much),
        30..32 => Action::Send(who, much),
        32 => Action::AddConsole(rng.percent(50)),
        33 => Action::RemoveConsole,
        34 => Action::ReadConsole(much),
        35 => Action::CancelTimer(who),
        36 => Action::Timer(rng.below(3_000) as u32),
        37 => Action::Accept(who),
        38 => Action::External(ExternalAction::Post),
        _ => Action::External(ExternalAction::Wakeup),
    }
}

fn external_action(rng: &mut Rng, calm: bool) -> ExternalAction {
    let who = rng.below(1 << 20) as u32;
    let much = 1 + rng.below(if cfg!(miri) { 40 } else { 200 }) as u16;
    match rng.below(40) {
        0..3 => ExternalAction::ConnectTo(who),
        3..17 => ExternalAction::PeerWrite(who, much),
        17..22 => ExternalAction::PeerRead(who, much),
        22..24 => ExternalAction::PeerFinish(who, rng.percent(40)),
        24 if !calm => ExternalAction::PeerReset(who, rng.percent(50)),
        25..33 => ExternalAction::Type(much),
        33 if !calm => ExternalAction::EndInput,
        34 => ExternalAction::OtherRecord,
        35 => ExternalAction::Interrupt,
        36..38 => ExternalAction::Wakeup,
        _ => ExternalAction::Post,
    }
}

fn step(rng: &mut Rng, calm: bool) -> Action {
    let who = rng.below(1 << 20) as u32;
    match rng.below(100) {
        0..7 => Action::Connect,
        7..9 => Action::Listen,
        9 => Action::Duplicate(who),
        10..18 => Action::Add(who, 1 + rng.below(3) as u8),
        18..30 => verb(rng),
        30..33 => Action::AddConsole(rng.percent(50)),
        33 => Action::Interval(1 + rng.below(5_000) as u32),
        34..36 => Action::Timer(rng.below(20_000) as u32),
        36 if !calm => Action::ShutDown(who),
        37..57 => Action::External(external_action(rng, calm)),
        57..65 => Action::Later(rng.below(4_000) as u32, external_action(rng, calm)),
        65..67 => Action::Fork,
        67 if !cfg!(miri) => Action::Flood(1 + rng.below(12) as u8),
        68..70 => Action::Wait(room(rng), u32::MAX),
        70..80 => Action::Wait(room(rng), 0),
        _ => Action::Wait(room(rng), rng.below(4_000) as u32),
    }
}

fn room(rng: &mut Rng) -> u8 {
    match rng.below(4) {
        0 => 1,
        1 => 1 + rng.below(3) as u8,
        _ => 1 + rng.below(20) as u8,
    }
}
