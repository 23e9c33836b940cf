//! What the peers, the game, the members and the clock do: a random program.

use crate::sim::Rng;

/// A step of a program. A number that says who is taken among those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    Add,
    PeerWrite(u32, u16),
    PeerRead(u32, u16),
    PeerFin(u32),
    /// The peer closes its socket, and resets the connection at the next bytes.
    PeerGone(u32),
    /// `true`: the bytes that it has sent before can still be read.
    PeerReset(u32, bool),
    /// The peer reads nothing from here on.
    PeerDead(u32),
    Send(u32, u16),
    /// Sends until that is refused.
    Fill(u32, u16),
    /// To those whose bit is set.
    Broadcast(u32, u16),
    Pause(u32),
    Resume(u32),
    Close(u32),
    Abort(u32),
    /// A member does half a turn, if its wait would return.
    Member(u32),
    /// The game does half a round, if its wait would return.
    Game,
    /// So many such steps, of anyone.
    Run(u8),
    /// Microseconds pass.
    Pass(u16),
    Threads(u8),
    /// All run until no one has anything to do, and the peers read everything.
    Calm,
}

/// The program of a seed.
pub fn program(seed: u64) -> Vec<Action> {
    let mut rng = Rng::new(seed ^ 0xC4E3_0F5E_A04E_0001);
    let steps = if cfg!(miri) { 40 } else { 20 + rng.below(180) };
    let habits = Habits {
        // While the game does not take its messages.
        game: rng.percent(60),
        resets: rng.percent(40),
        pauses: rng.percent(50),
        threads: rng.percent(40),
        closes: rng.percent(60),
    };
    let mut actions = vec![Action::Add, Action::Add];
    actions.extend((0..steps).map(|_| step(&mut rng, &habits)));
    actions
}

/// Which rare things happen in a program at all.
struct Habits {
    game: bool,
    resets: bool,
    pauses: bool,
    threads: bool,
    closes: bool,
}

fn step(rng: &mut Rng, habits: &Habits) -> Action {
    let who = rng.below(1 << 20) as u32;
    let most = if rng.percent(85) { 60 } else { 300 };
    let much = 1 + rng.below(most) as u16;
    let longest_us = if rng.percent(80) { 500 } else { 30_000 };
    loop {
        return match rng.below(100) {
            0..6 => Action::Add,
            6..24 => Action::PeerWrite(who, much),
            24..30 => Action::PeerRead(who, much),
            30..32 => Action::PeerFin(who),
            32 if habits.resets => Action::PeerGone(who),
            33 if habits.resets => Action::PeerReset(who, rng.percent(50)),
            34 => Action::PeerDead(who),
            35..45 => Action::Send(who, much),
            45..47 => Action::Fill(who, much),
            47..50 => Action::Broadcast(who, much),
            50..52 if habits.pauses => Action::Pause(who),
            52..54 if habits.pauses => Action::Resume(who),
            54..56 if habits.closes => Action::Close(who),
            56 if habits.closes => Action::Abort(who),
            57..74 => Action::Member(who),
            74..82 if habits.game => Action::Game,
            82..90 => Action::Run(1 + rng.below(12) as u8),
            90..96 => Action::Pass(rng.below(longest_us) as u16),
            96 | 97 if habits.threads => Action::Threads(rng.below(5).saturating_sub(1) as u8),
            98 => Action::Calm,
            _ => continue,
        };
    }
}
