//! A simulated console host of Windows: what the process that has the console's window does with keys.
//!
//! Wine's console differs from those of Windows where it matters to the reader of lines, so this is written from the
//! published source of the consoles, `microsoft/terminal`, folder `src/host` unless named otherwise. In its history
//! there are four ways to read a line (`Edition`):
//!
//! | edition | source |
//! |---|---|
//! | `Old` | before "Rewrite COOKED_READ_DATA" (#15783, August 2023): `readDataCooked.cpp` at ff33efd4bd52, `cmdline.cpp` at 3d1678cb01fc, `popup.cpp` at ac774ed1c96d, `CommandListPopup.cpp` at d4d59fa33950, `CommandNumberPopup.cpp` and `CopyToCharPopup.cpp` at d636259efdb2, `CopyFromCharPopup.cpp` at 9b92986b49be |
//! | `Rewritten` | #15783 |
//! | `Cutting` | with #16718 (February 2024), in which a wake-up key deletes the text behind the cursor |
//! | `Inline` | with #17445 (1.22, 2024), which draws popups below the prompt |
//!
//! All have in common `inputBuffer.cpp` at cc51c8e925c4, `stream.cpp` at d4d59fa33950, `input.cpp` at af571e6f3806,
//! `src/server/WaitQueue.cpp` at fe41a00c754 and `src/types/KeyEvent.cpp` at ac774ed1c96d.
//!
//! Only lengths and units matter here, so there is no screen: what an edition draws is left out, and a write is text in a
//! list. `Console` is the host, `line.rs` has the line being edited, `popup.rs` the popups. `world.rs` runs the reader
//! over it, and `program.rs` what an operator does.

mod line;
pub(crate) mod mutants;
mod popup;
mod program;
mod world;

use std::collections::VecDeque;

use line::Line;
#[cfg(dolmen_mutants)]
pub use mutants::Mutant;
use popup::Popup;
pub use program::{Action, program};
pub use world::{Mark, ORACLES, marks, run, shrink};

/// Virtual key codes.
mod vk {
    pub(crate) const BACK: u16 = 0x08;
    pub(crate) const RETURN: u16 = 0x0D;
    pub(crate) const PAUSE: u16 = 0x13;
    pub(crate) const ESCAPE: u16 = 0x1B;
    pub(crate) const END: u16 = 0x23;
    pub(crate) const HOME: u16 = 0x24;
    pub(crate) const LEFT: u16 = 0x25;
    pub(crate) const UP: u16 = 0x26;
    pub(crate) const RIGHT: u16 = 0x27;
    pub(crate) const INSERT: u16 = 0x2D;
    pub(crate) const DELETE: u16 = 0x2E;
    pub(crate) const F2: u16 = 0x71;
    pub(crate) const F4: u16 = 0x73;
    pub(crate) const F7: u16 = 0x76;
    pub(crate) const F9: u16 = 0x78;
}

const CR: u16 = 0x0D;
const LF: u16 = 0x0A;
const BACKSPACE: u16 = 0x08;
const CTRL_S: u16 = 0x13;
const SPACE: u16 = 0x20;

/// How a console reads lines; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edition {
    Old,
    Rewritten,
    Cutting,
    Inline,
}

/// The record of a key that goes down. Those of releases and of other things are left out: a reader of lines discards
/// them, and a hold ignores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) vk: u16,
    /// 0: the key has no character.
    pub(super) unit: u16,
    pub(super) ctrl: bool,
    /// The program has pressed it.
    pub(super) ours: bool,
}

/// How a read of a line has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Text(Vec<u16>),
    /// By Ctrl-C or Ctrl-Break, with the line lost.
    Interrupted,
}

/// How a line came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Woken,
    Entered,
    /// As long as the buffer.
    Full,
}

/// A pending read of a line.
struct Read {
    line: Line,
    /// How many units the caller takes.
    wanted: usize,
    wake_mask: u32,
    echo: bool,
}

/// The state of a console.
pub(super) struct Console {
    edition: Edition,
    /// Whether Ctrl-S holds the screen; some builds of the old console know Pause only (#809).
    ctrl_s_holds: bool,
    /// The capacity of a line of the old edition, if it is not that of the caller's buffer. A small one is full sooner.
    capacity: Option<usize>,
    /// Records that no reader has taken.
    pub(super) input: VecDeque<Key>,
    /// Ctrl-S or Pause was pressed: writes wait.
    pub(super) held: bool,
    /// The input's mode.
    pub(super) line_mode: bool,
    pub(super) echo: bool,
    /// The reader's read, and the line of another process that reads the same console, if it does. `true` when the other
    /// one waits in front.
    read: Option<Read>,
    other: Option<Line>,
    other_first: bool,
    /// Of the reader's read.
    ended: Option<Ended>,
    /// Units of a result that the caller's buffer had no room for. The next read gets them, whatever it asks for.
    rest: Vec<u16>,
    popups: Vec<Popup>,
    /// The list (F7) was opened by a key that was inserted together with the one at hand.
    is_list_fresh: bool,
    history: Vec<Vec<u16>>,
    /// Where in the history the operator is.
    displayed: usize,
    pub(super) witness: Witness,
}

/// What the checks need to know, and the host does not.
#[derive(Default)]
pub(super) struct Witness {
    /// The whole line, as the operator sees it, when a read ended, and how.
    pub(super) at_end: Option<(Vec<u16>, End)>,
    /// A key of the program has changed a line, in a way that none of them may.
    pub(super) spoilt: Option<String>,
    /// A key of the program has answered the question of a popup (F2, F4), which the operator had opened.
    pub(super) answered: bool,
    /// A read was ended by a popup, with the line lost.
    pub(super) emptied: bool,
}

impl Console {
    pub(super) fn new(edition: Edition, ctrl_s_holds: bool, capacity: Option<usize>) -> Console {
        Console {
            edition,
            ctrl_s_holds,
            capacity: capacity.filter(|_| edition == Edition::Old),
            input: VecDeque::new(),
            held: false,
            line_mode: true,
            echo: true,
            read: None,
            other: None,
            other_first: false,
            ended: None,
            rest: Vec::new(),
            popups: Vec::new(),
            is_list_fresh: false,
            history: Vec::new(),
            displayed: 0,
            witness: Witness::default(),
        }
    }

    /// Whether a popup of the line editor is open.
    pub(super) fn has_popup(&self) -> bool {
        !self.popups.is_empty()
    }

    /// Whether the line takes no more characters, wake-up keys included.
    pub(super) fn is_full(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.line.is_full())
    }

    /// Whether another process takes the keys.
    pub(super) fn is_shared(&self) -> bool {
        self.other.is_some()
    }

    pub(super) fn is_reading(&self) -> bool {
        self.read.is_some()
    }

    pub(super) fn take_ended(&mut self) -> Option<Ended> {
        self.ended.take()
    }

    /// Another process begins to read lines, or ends.
    pub(super) fn share(&mut self, on: bool) {
        match on {
            true if self.other.is_none() => {
                self.other = Some(Line::new(self.edition, &[], 8192, None));
                self.other_first = self.read.is_none();
            }
            false => self.other = None,
            true => {}
        }
    }

    /// `ReadConsoleW` in line mode. `stream.cpp`, DoReadConsole: the rest of an earlier result comes first. Then a read looks
    /// at the input itself, and so before readers that have waited longer.
    pub(super) fn start_read(&mut self, initial: &[u16], wanted: usize, wake_mask: u32) {
        self.other_first = self.other.is_some();
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return self.finish(wanted, rest);
        }
        let line = Line::new(self.edition, initial, wanted, self.capacity);
        self.read = Some(Read { line, wanted, wake_mask, echo: self.echo });
        self.take_keys();
    }

    /// Keys are inserted, by the operator or by a program (`WriteConsoleInputW`). `inputBuffer.cpp`, Write:
    /// first the hold, record by record; then the first reader in the queue is notified, once.
    pub(super) fn insert(&mut self, keys: &[Key]) {
        let before = self.input.len();
        for &key in keys {
            // _HandleConsoleSuspensionEvents.
            let holds = key.vk == vk::PAUSE || (self.ctrl_s_holds && key.ctrl && key.unit == CTRL_S);
            if self.held && key.vk != vk::PAUSE {
                self.held = false;
            } else if self.line_mode && holds {
                self.held = true;
            } else {
                self.input.push_back(key);
            }
        }
        if self.input.len() == before {
            return;
        }
        self.is_list_fresh = false;
        if self.other.is_some() && self.other_first {
            return self.give_to_other();
        }
        self.notify_read();
    }

    /// `readDataCooked.cpp`, Notify.
    fn notify_read(&mut self) {
        if self.read.is_none() {
            return;
        }
        if self.edition == Edition::Old && self.has_popup() {
            // What is behind the key that closes a popup stays until more is inserted.
            return self.run_popups();
        }
        self.take_keys();
    }

    /// The read takes keys until it ends, or there are none.
    fn take_keys(&mut self) {
        while self.read.is_some() {
            if self.has_popup() {
                let is_list = matches!(self.popups.last(), Some(Popup::List(_)));
                self.run_popups();
                // The keys behind it stay until more is inserted, unless it was the list.
                if self.has_popup() || (self.edition == Edition::Old && !is_list) {
                    return;
                }
                continue;
            }
            let Some(read) = &self.read else { return };
            if read.line.is_at_capacity() {
                return self.complete(None);
            }
            let Some(key) = self.input.pop_front() else { return };
            self.key(key);
        }
    }

    /// Gives the keys to the popup on top, until it closes or they are used up.
    fn run_popups(&mut self) {
        while let Some(&popup) = self.popups.last() {
            let Some(key) = self.input.pop_front() else { return };
            let open = self.popups.len();
            self.popup_key(popup, key);
            if self.read.is_none() || self.popups.len() < open {
                return;
            }
        }
    }

    /// A key for the line. `readDataCooked.cpp`, ProcessInput (old) and _handleChar, and `cmdline.cpp`, ProcessCommandLine
    /// (old) and _handleVkey.
    fn key(&mut self, key: Key) {
        let Some(read) = &mut self.read else { return };
        let is_editing = match key.ctrl {
            true => matches!(key.vk, vk::END | vk::HOME | vk::LEFT | vk::RIGHT),
            false => {
                matches!(key.vk, vk::ESCAPE | vk::END..=vk::RIGHT | vk::INSERT | vk::DELETE | vk::F2..=vk::F9)
            }
        };
        if is_editing {
            let before = read.line.text().to_vec();
            self.edit(key);
            return self.check_unchanged(key, &before);
        }
        if key.unit == 0 || key.unit == LF {
            return;
        }
        // Of the old edition: a full line takes Enter and Backspace only, and this is tested before the wake-up keys.
        if read.line.is_full() && key.unit != CR && key.unit != BACKSPACE {
            return;
        }
        if key.unit < 0x20 && read.wake_mask & (1 << key.unit) != 0 {
            return self.wake(key);
        }
        if key.unit == CR {
            return self.complete(Some(key));
        }
        let before = read.line.text().to_vec();
        match key.unit {
            BACKSPACE => read.line.delete_before(),
            unit => read.line.insert(unit),
        }
        self.check_unchanged(key, &before);
    }

    fn check_unchanged(&mut self, key: Key, before: &[u16]) {
        let Some(read) = &self.read else { return };
        if key.ours && read.line.text() != before {
            self.witness.spoilt = Some(format!("{key:?} has changed {before:?} to {:?}", read.line.text()));
        }
    }

    fn edit(&mut self, key: Key) {
        let has_history = !self.history.is_empty();
        let Some(read) = &mut self.read else { return };
        match (key.vk, key.ctrl) {
            (vk::ESCAPE, _) => read.line.clear(),
            (vk::HOME, false) => read.line.home(),
            (vk::END, false) => read.line.end(),
            (vk::HOME, true) => read.line.delete_to_start(),
            (vk::END, true) => read.line.delete_to_end(),
            (vk::LEFT, false) => read.line.left(),
            (vk::RIGHT, false) => read.line.right(),
            (vk::LEFT, true) => read.line.word_left(),
            (vk::RIGHT, true) => read.line.word_right(),
            (vk::INSERT, _) => read.line.toggle_insert(),
            (vk::DELETE, _) => read.line.delete(),
            // An empty history recalls an empty line.
            (vk::UP, _) => {
                self.displayed = self.displayed.saturating_sub(1);
                let recalled = self.history.get(self.displayed).cloned().unwrap_or_default();
                read.line.replace(&recalled);
            }
            // Old: a history must exist, but needs no entries.
            (vk::F2, _) => self.popups.push(Popup::CopyTo),
            (vk::F4, _) => self.popups.push(Popup::DeleteTo),
            (vk::F7, _) if has_history => {
                self.popups.push(Popup::List(self.history.len() - 1));
                self.is_list_fresh = true;
            }
            (vk::F9, _) if has_history => self.popups.push(Popup::Number(None)),
            _ => {}
        }
    }

    /// A wake-up key ends the read.
    fn wake(&mut self, key: Key) {
        let Some(read) = self.read.take() else { return };
        self.popups.clear();
        self.witness.at_end = Some((read.line.text().to_vec(), End::Woken));
        let result = read.line.woken(self.edition, key.unit);
        self.finish(read.wanted, result);
    }

    /// Enter, or (`None`) a line of the old edition that is as long as its buffer.
    fn complete(&mut self, enter: Option<Key>) {
        let Some(read) = self.read.take() else { return };
        self.popups.clear();
        if enter.is_some_and(|key| key.ours) {
            self.witness.spoilt = Some("a key of the program has ended a line".to_owned());
        }
        let mut text = read.line.text().to_vec();
        let command = text.split(|&unit| unit == CR).next().unwrap_or_default();
        if enter.is_some()
            && read.echo
            && !command.is_empty()
            && self.history.last().is_none_or(|last| last != command)
        {
            self.history.push(command.to_vec());
        }
        self.displayed = self.history.len();
        if enter.is_some() {
            text.extend([CR, LF]);
        }
        let end = if enter.is_some() { End::Entered } else { End::Full };
        self.witness.at_end = Some((text.clone(), end));
        self.finish(read.wanted, text);
    }

    /// The read returns as much as the caller takes.
    fn finish(&mut self, wanted: usize, mut result: Vec<u16>) {
        self.rest = result.split_off(result.len().min(wanted));
        self.ended = Some(Ended::Text(result));
    }

    /// Ctrl-C (`input.cpp`, HandleGenericKeyEvent) or Ctrl-Break, which also empties the input. All pending reads of lines
    /// end, unless a popup is open. Returns whether the reader's did.
    pub(super) fn interrupt(&mut self, is_break: bool) -> bool {
        if is_break {
            self.input.clear();
        }
        self.held = false;
        if self.has_popup() {
            return false;
        }
        if let Some(other) = &mut self.other {
            other.clear();
        }
        let interrupted = self.read.take().is_some();
        if interrupted {
            self.ended = Some(Ended::Interrupted);
        }
        interrupted
    }

    /// The other process takes the keys, until its line ends. Then its next read waits behind the reader's.
    fn give_to_other(&mut self) {
        let Some(other) = &mut self.other else { return };
        while let Some(key) = self.input.pop_front() {
            if key.unit == CR {
                other.clear();
                self.other_first = false;
                return;
            }
        }
    }
}

/// Switches a deliberate bug on in this thread, or all off.
#[cfg(dolmen_mutants)]
pub fn activate(mutant: Option<Mutant>) {
    mutants::activate(mutant);
}

#[cfg(test)]
#[path = "../../../tests/fixtures/line_script.rs"]
mod line_script;

#[cfg(test)]
mod tests {
    use super::line_script::{EVERYWHERE, ON_WINDOWS, Piece, pieces};
    use super::*;

    fn keys(script: &str) -> Vec<Key> {
        let key = |vk, ctrl| Key { vk, unit: 0, ctrl, ours: false };
        let character = |unit| Key { unit, ..key(0, false) };
        let named = |name| match name {
            "Left" => key(vk::LEFT, false),
            "Right" => key(vk::RIGHT, false),
            "Home" => key(vk::HOME, false),
            "End" => key(vk::END, false),
            "Delete" => key(vk::DELETE, false),
            "Backspace" => Key { unit: BACKSPACE, ..key(vk::BACK, false) },
            "CtrlLeft" => key(vk::LEFT, true),
            "CtrlRight" => key(vk::RIGHT, true),
            "CtrlHome" => key(vk::HOME, true),
            "CtrlEnd" => key(vk::END, true),
            other => panic!("no such key: {other}"),
        };
        let of_piece = |piece| match piece {
            Piece::Key(name) => vec![named(name)],
            Piece::Character(c) => c.encode_utf16(&mut [0; 2]).iter().map(|&unit| character(unit)).collect(),
        };
        pieces(script).into_iter().flat_map(of_piece).collect()
    }

    /// The same script runs on Wine's console, and on a terminal of Linux: see `tests/console.rs`.
    #[test]
    fn the_script_makes_the_same_lines_on_all_editions() {
        for edition in [Edition::Old, Edition::Rewritten, Edition::Cutting, Edition::Inline] {
            for &(script, line) in EVERYWHERE.iter().chain(ON_WINDOWS) {
                let mut console = Console::new(edition, true, None);
                console.start_read(&[], 100, 0);
                keys(script).into_iter().for_each(|key| console.insert(&[key]));
                console.insert(&[Key { vk: vk::RETURN, unit: CR, ctrl: false, ours: false }]);
                let expected: Vec<u16> = line.encode_utf16().chain([CR, LF]).collect();
                assert_eq!(console.take_ended(), Some(Ended::Text(expected)), "{edition:?}: {script}");
            }
        }
    }
}
