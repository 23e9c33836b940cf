//! What an operator, the players and the clock do: a random program.

use super::{BACKSPACE, CR, Key, vk};
use crate::sim::Rng;

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// The operator types so many characters.
    Type(u8),
    /// Presses keys that edit: which.
    Edit(u8),
    Enter,
    /// Many characters in one piece, and Enter.
    Paste(u16),
    CtrlC,
    CtrlBreak,
    /// Ctrl-S, or Pause.
    Hold(bool),
    /// Opens a popup (F2, F4, F7, F9).
    Popup(u8),
    /// A key for a popup.
    PopupKey(u8),
    Print,
    /// Printed before what waits.
    Answer,
    Prompt,
    Echo(bool),
    Raw(bool),
    /// The reactor takes input out.
    Collect(u8),
    /// The reactor takes signals out.
    CollectSignals,
    /// Milliseconds pass.
    Pass(u16),
    /// Another process reads the same console.
    Share(bool),
}

/// The program of a seed.
pub fn program(seed: u64) -> Vec<Action> {
    let mut rng = Rng::new(seed ^ 0xC0_2501_E405);
    let steps = 20 + rng.below(100);
    // Which rare things happen to this operator at all.
    let [popups, holds, interrupts, modes, shares] = [50, 40, 40, 30, 10].map(|percent| rng.percent(percent));
    (0..steps).map(|_| step(&mut rng, popups, holds, interrupts, modes, shares)).collect()
}

fn step(rng: &mut Rng, popups: bool, holds: bool, interrupts: bool, modes: bool, shares: bool) -> Action {
    loop {
        return match rng.below(100) {
            0..25 => Action::Type(1 + rng.below(12) as u8),
            25..37 => Action::Edit(rng.below(14) as u8),
            37..44 => Action::Enter,
            44..45 => Action::Paste(if rng.percent(3) { 9_000 } else { 1 + rng.below(100) as u16 }),
            45..49 if interrupts => match rng.percent(70) {
                true => Action::CtrlC,
                false => Action::CtrlBreak,
            },
            49..52 if holds => Action::Hold(rng.percent(50)),
            52..56 if popups => Action::Popup(rng.below(4) as u8),
            56..60 if popups => Action::PopupKey(rng.below(8) as u8),
            60..73 => Action::Print,
            73..75 => Action::Answer,
            75..77 => Action::Prompt,
            77..79 if modes => Action::Echo(rng.percent(50)),
            79..81 if modes => Action::Raw(rng.percent(40)),
            81..88 => Action::Collect(rng.below(20) as u8),
            88..91 => Action::CollectSignals,
            91..99 => Action::Pass(rng.below(1500) as u16),
            99 if shares => Action::Share(rng.percent(50)),
            _ => continue,
        };
    }
}

pub(super) fn key(vk: u16) -> Key {
    Key { vk, unit: 0, ctrl: false, ours: false }
}

/// A key that edits the line.
pub(super) fn editing_key(which: u8) -> Key {
    match which {
        0 => key(vk::HOME),
        1 => key(vk::END),
        2 => key(vk::RIGHT),
        3 => Key { ctrl: true, ..key(vk::LEFT) },
        4 => Key { ctrl: true, ..key(vk::RIGHT) },
        5 => Key { unit: BACKSPACE, ..key(vk::BACK) },
        6 => key(vk::DELETE),
        7 => key(vk::ESCAPE),
        8 => key(vk::UP),
        9 => key(vk::INSERT),
        10 => Key { ctrl: true, ..key(vk::END) },
        _ => key(vk::LEFT),
    }
}

/// A key for a popup.
pub(super) fn popup_key(which: u8) -> Key {
    match which {
        0 => key(vk::UP),
        1 => key(vk::LEFT),
        2 => key(vk::DELETE),
        3 => Key { unit: CR, ..key(vk::RETURN) },
        4 => Key { unit: u16::from(b'1'), ..key(0x31) },
        5 => key(vk::F9),
        _ => key(vk::ESCAPE),
    }
}
