//! The popups of the line editor. While one is open every key goes to it, also those of programs.

use super::{BACKSPACE, CR, Console, Edition, Key, LF, vk};

/// An open popup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Popup {
    /// F2: copies the last command up to a character. `CopyToCharPopup.cpp`.
    CopyTo,
    /// F4: deletes up to a character. `CopyFromCharPopup.cpp`.
    DeleteTo,
    /// F7: the commands, and which is selected. `CommandListPopup.cpp`.
    List(usize),
    /// F9: the number of a command, so far. `CommandNumberPopup.cpp`.
    Number(Option<usize>),
}

impl Console {
    /// A key while the popup is on top.
    pub(super) fn popup_key(&mut self, popup: Popup, key: Key) {
        let is_special =
            !key.ctrl && matches!(key.vk, vk::ESCAPE | vk::END..=vk::RIGHT | vk::DELETE | vk::F2..=vk::F9);
        if !is_special && key.unit == 0 {
            return;
        }
        match popup {
            Popup::CopyTo | Popup::DeleteTo => self.answer(popup, key, is_special),
            Popup::List(selected) => self.list_key(selected, key, is_special),
            Popup::Number(number) => self.number_key(number, key, is_special),
        }
    }

    /// One key ends the popup, whichever it is. The old edition takes the code of a special key for a character; the others
    /// ignore such a key.
    fn answer(&mut self, popup: Popup, key: Key, is_special: bool) {
        if is_special && key.vk != vk::ESCAPE && self.edition != Edition::Old {
            return;
        }
        self.popups.pop();
        if is_special && key.vk == vk::ESCAPE {
            return;
        }
        let unit = if is_special { key.vk } else { key.unit };
        let last = self.history.get(self.displayed.min(self.history.len().saturating_sub(1))).cloned();
        let Some(read) = &mut self.read else { return };
        let (cursor, before) = (read.line.cursor(), read.line.text().to_vec());
        let from = cursor + usize::from(self.edition == Edition::Old);
        if popup == Popup::CopyTo {
            let last = last.unwrap_or_default();
            let found = last.iter().skip(from).position(|&other| other == unit).map(|at| at + from);
            if let Some(found) = found.filter(|_| cursor < last.len()) {
                read.line.overwrite(&last[cursor..found]);
            }
        } else {
            let found = before.iter().skip(from).position(|&other| other == unit).map(|at| at + from);
            let to = found.unwrap_or(before.len());
            (cursor..to).for_each(|_| read.line.delete());
        }
        self.witness.answered |= key.ours && read.line.text() != before;
    }

    fn list_key(&mut self, selected: usize, key: Key, is_special: bool) {
        let last = self.history.len().saturating_sub(1);
        let select = match (is_special, key.vk, key.unit) {
            (true, vk::ESCAPE, _) => {
                self.popups.pop();
                return;
            }
            (true, vk::LEFT | vk::RIGHT, _) => return self.recall(selected),
            (true, vk::UP, _) => selected.saturating_sub(1),
            (true, vk::HOME, _) => 0,
            (true, vk::END, _) => last,
            (true, vk::F9, _) => return self.popups.push(Popup::Number(None)),
            (true, vk::DELETE, _) => return self.forget(selected),
            (true, ..) => selected,
            (false, _, CR) => {
                // The old edition forgets what the list has returned, if it returns to the key that opened it.
                let is_lost = self.edition == Edition::Old && self.is_list_fresh;
                self.recall(selected);
                return match &mut self.read {
                    Some(read) if is_lost => [CR, LF].into_iter().for_each(|unit| read.line.append(unit)),
                    _ => self.complete(Some(key)),
                };
            }
            // The next command that begins with the character; no command of the operator begins with a control character.
            (false, ..) => selected,
        };
        if let Some(top) = self.popups.last_mut() {
            *top = Popup::List(select);
        }
    }

    /// Removes a command from the list. Without commands there is no list; the old edition then ends the read, and the line
    /// is lost.
    fn forget(&mut self, selected: usize) {
        if selected < self.history.len() {
            self.history.remove(selected);
        }
        self.displayed = self.history.len();
        if !self.history.is_empty() {
            if let Some(top) = self.popups.last_mut() {
                *top = Popup::List(selected.min(self.history.len() - 1));
            }
            return;
        }
        if self.edition == Edition::Old && self.is_list_fresh {
            return;
        }
        self.popups.clear();
        if self.edition == Edition::Old {
            if let Some(read) = self.read.take() {
                self.witness.emptied = true;
                self.finish(read.wanted, Vec::new());
            }
        }
    }

    fn number_key(&mut self, number: Option<usize>, key: Key, is_special: bool) {
        let next = match (is_special, key.vk, key.unit) {
            (true, vk::ESCAPE, _) => return self.popups.clear(),
            (true, ..) => number,
            (false, _, CR) => {
                // Without a number the editions after the rewrite fail, and the read ends with nothing.
                if number.is_none() && self.edition != Edition::Old {
                    self.popups.clear();
                    if let Some(read) = self.read.take() {
                        self.witness.emptied = true;
                        self.finish(read.wanted, Vec::new());
                    }
                    return;
                }
                let last = self.history.len().saturating_sub(1);
                return self.recall(number.unwrap_or(0).min(last));
            }
            (false, _, BACKSPACE) => number.map(|number| number / 10).filter(|&number| number > 0),
            (false, _, digit @ 0x30..=0x39) => {
                let digit = usize::from(digit - 0x30);
                Some(number.unwrap_or(0) * 10 + digit).filter(|&number| number < 100_000).or(number)
            }
            (false, ..) => number,
        };
        if let Some(top) = self.popups.last_mut() {
            *top = Popup::Number(next);
        }
    }

    /// Puts a command on the line, and closes all popups.
    fn recall(&mut self, number: usize) {
        self.popups.clear();
        self.displayed = number;
        let command = self.history.get(number).cloned().unwrap_or_default();
        if let Some(read) = &mut self.read {
            read.line.replace(&command);
        }
    }
}
