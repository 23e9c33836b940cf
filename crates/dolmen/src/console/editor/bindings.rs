//! What each key does. The terminal's own characters come first, then those that line editors share.

use super::keys::Key;

/// The terminal's special characters, from its settings. Zero: none.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct SpecialKeys {
    pub(in super::super) erase: u8,
    pub(in super::super) kill: u8,
    pub(in super::super) erase_word: u8,
    pub(in super::super) end: u8,
    pub(in super::super) literal: u8,
}

/// The characters of a terminal that has never been set up.
#[cfg(test)]
pub(super) const USUAL: SpecialKeys =
    SpecialKeys { erase: 0x7F, kill: 0x15, erase_word: 0x17, end: 0x04, literal: 0x16 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Insert(char),
    Finish,
    /// The end of input on an empty line; elsewhere, delete.
    EndOrDelete,
    NextIsLiteral,
    Left,
    Right,
    Start,
    End,
    WordLeft,
    WordRight,
    Erase,
    Delete,
    KillToStart,
    KillToEnd,
    /// Back to a space.
    KillSpacedWord,
    /// Back to the start of a word of letters and digits.
    KillWordLeft,
    KillWordRight,
    Yank,
    Older,
    Newer,
    Search,
    /// Ends a search without a result.
    Cancel,
    Complete,
    ClearScreen,
}

/// The action of a key; `None` for keys without one.
pub(super) fn action(key: Key, special: &SpecialKeys) -> Option<Action> {
    Some(match key {
        Key::Literal(c) => Action::Insert(c),
        Key::Char(c) => match u8::try_from(c).ok().and_then(|byte| special_action(byte, special)) {
            Some(action) => action,
            None => Action::Insert(c),
        },
        Key::Control(byte) => match special_action(byte, special) {
            Some(action) => action,
            None => return control_action(byte),
        },
        Key::Enter => Action::Finish,
        Key::Left => Action::Left,
        Key::Right => Action::Right,
        Key::Up => Action::Older,
        Key::Down => Action::Newer,
        Key::Home => Action::Start,
        Key::End => Action::End,
        Key::Delete => Action::Delete,
        Key::WordLeft => Action::WordLeft,
        Key::WordRight => Action::WordRight,
        Key::EraseWord => Action::KillWordLeft,
        Key::DeleteWord => Action::KillWordRight,
    })
}

fn special_action(byte: u8, special: &SpecialKeys) -> Option<Action> {
    let actions = [
        (special.erase, Action::Erase),
        (special.kill, Action::KillToStart),
        (special.erase_word, Action::KillSpacedWord),
        (special.end, Action::EndOrDelete),
        (special.literal, Action::NextIsLiteral),
    ];
    actions.into_iter().find(|&(character, _)| character == byte && byte != 0).map(|(_, action)| action)
}

fn control_action(byte: u8) -> Option<Action> {
    Some(match byte | 0x40 {
        b'A' => Action::Start,
        b'B' => Action::Left,
        b'D' => Action::EndOrDelete,
        b'E' => Action::End,
        b'F' => Action::Right,
        b'G' => Action::Cancel,
        b'H' | 0x7F => Action::Erase,
        b'I' => Action::Complete,
        b'K' => Action::KillToEnd,
        b'L' => Action::ClearScreen,
        b'N' => Action::Newer,
        b'P' => Action::Older,
        b'R' => Action::Search,
        b'U' => Action::KillToStart,
        b'V' => Action::NextIsLiteral,
        b'W' => Action::KillSpacedWord,
        b'Y' => Action::Yank,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminals_own_characters_come_first() {
        let old = SpecialKeys { erase: b'#', kill: b'@', erase_word: 0, end: 0x1A, literal: 0x01 };
        for (key, expected) in [
            (Key::Char('#'), Some(Action::Erase)),
            (Key::Literal('#'), Some(Action::Insert('#'))),
            (Key::Char('@'), Some(Action::KillToStart)),
            (Key::Control(0x1A), Some(Action::EndOrDelete)),
            (Key::Control(0x01), Some(Action::NextIsLiteral)),
            (Key::Control(0x7F), Some(Action::Erase)),
            // Switched off, and the key of that number.
            (Key::Control(0), None),
            (Key::Control(0x17), Some(Action::KillSpacedWord)),
            (Key::Char('£'), Some(Action::Insert('£'))),
        ] {
            assert_eq!(action(key, &old), expected, "{key:?}");
        }
    }
}
