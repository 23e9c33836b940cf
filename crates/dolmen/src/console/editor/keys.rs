//! Bytes of a terminal into keys: characters, control characters, escape sequences and pasted text.
//!
//! A key may be split over any number of reads. What is broken off is dropped or taken as what it is, and the byte that
//! broke it off is a key of its own, so no input waits for more of it.
//!
//! xterm's ctlseqs, "PC-Style Function Keys" and "Bracketed Paste Mode"; console_codes(4).

/// A key, or a character of a pasted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    /// A control character, DEL included.
    Control(u8),
    /// A character that is text whatever it is: pasted, or typed after the literal-next key.
    Literal(char),
    Enter,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    Delete,
    WordLeft,
    WordRight,
    EraseWord,
    DeleteWord,
}

/// A sequence of more parameters than this is not a key.
const LONGEST_SEQUENCE: usize = 32;
const PASTE_ENDS: &[u8] = b"\x1b[201~";

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC `[`: the parameters so far.
    Sequence(Vec<u8>),
    /// After ESC `O`.
    Application,
    /// After ESC `[[`: a function key of the Linux console.
    Function,
    /// In a pasted text: how many bytes of its end mark have come.
    Paste { matched: usize, after_return: bool },
}

/// The decoder, between two bytes.
#[derive(Debug, Default)]
pub(super) struct KeyDecoder {
    state: State,
    /// The bytes of an unfinished character.
    character: Vec<u8>,
    /// The next character is text.
    literal: bool,
}

impl KeyDecoder {
    /// Whether text is being pasted.
    fn is_pasting(&self) -> bool {
        matches!(self.state, State::Paste { .. })
    }

    /// The next character is text, whatever it is.
    pub(super) fn next_is_literal(&mut self) {
        self.literal = true;
    }

    /// A pasted text is over, also if its end mark went to another program while this one was stopped.
    pub(super) fn end_paste(&mut self) {
        if self.is_pasting() {
            self.state = State::Ground;
        }
    }

    /// Takes a byte; `keys` gets what it completes.
    pub(super) fn feed(&mut self, byte: u8, keys: &mut Vec<Key>) {
        if byte >= 0x80 || !self.character.is_empty() {
            self.part_of_character(byte, keys);
        }
        if byte < 0x80 {
            self.ascii(byte, keys);
        }
    }

    /// What has been taken and is not a key yet, in bytes.
    pub(super) fn take_unfinished(&mut self) -> Vec<u8> {
        let mut bytes = match std::mem::take(&mut self.state) {
            State::Ground => Vec::new(),
            State::Escape => b"\x1b".to_vec(),
            State::Sequence(parameters) => [b"\x1b[", &*parameters].concat(),
            State::Application => b"\x1bO".to_vec(),
            State::Function => b"\x1b[[".to_vec(),
            State::Paste { matched, .. } => PASTE_ENDS[..matched].to_vec(),
        };
        bytes.append(&mut self.character);
        self.literal = false;
        bytes
    }

    /// A byte of a character outside ASCII, or the one that breaks such a character off. Broken bytes are replaced as
    /// `String::from_utf8_lossy` does it, so that the byte behind them keeps its meaning.
    fn part_of_character(&mut self, byte: u8, keys: &mut Vec<Key>) {
        self.break_off(keys);
        if byte < 0x80 {
            self.character.clear();
            return self.text(char::REPLACEMENT_CHARACTER, keys);
        }
        self.character.push(byte);
        loop {
            match std::str::from_utf8(&self.character) {
                Ok(whole) => {
                    let whole = whole.chars().next();
                    self.character.clear();
                    return whole.into_iter().for_each(|c| self.text(c, keys));
                }
                Err(error) => match error.error_len() {
                    None => return,
                    Some(broken) => {
                        self.character.drain(..broken);
                        self.text(char::REPLACEMENT_CHARACTER, keys);
                    }
                },
            }
            if self.character.is_empty() {
                return;
            }
        }
    }

    /// Ends a sequence that a character outside ASCII interrupts.
    fn break_off(&mut self, keys: &mut Vec<Key>) {
        if self.is_pasting() {
            self.mismatched(keys);
        } else {
            self.state = State::Ground;
        }
    }

    fn text(&mut self, c: char, keys: &mut Vec<Key>) {
        let literal = std::mem::take(&mut self.literal) || self.is_pasting();
        keys.push(if literal { Key::Literal(c) } else { Key::Char(c) });
    }

    fn ascii(&mut self, byte: u8, keys: &mut Vec<Key>) {
        match std::mem::take(&mut self.state) {
            State::Paste { matched, after_return } => self.pasted(byte, matched, after_return, keys),
            State::Ground => self.plain(byte, keys),
            _ if byte == 0x1B => self.state = State::Escape,
            State::Escape if byte == 0x08 => keys.push(Key::EraseWord),
            // A control character is a key also in the middle of a sequence.
            _ if byte < 0x20 => self.plain(byte, keys),
            State::Escape => self.escaped(byte, keys),
            State::Function => {}
            State::Application => keys.extend(application_key(byte)),
            State::Sequence(mut parameters) => match byte {
                b'[' if parameters.is_empty() => self.state = State::Function,
                0x20..=0x3F if parameters.len() < LONGEST_SEQUENCE => {
                    parameters.push(byte);
                    self.state = State::Sequence(parameters);
                }
                b'~' if parameters == b"200" => {
                    self.state = State::Paste { matched: 0, after_return: false };
                }
                _ => keys.extend(sequence_key(&parameters, byte)),
            },
        }
    }

    fn plain(&mut self, byte: u8, keys: &mut Vec<Key>) {
        let literal = std::mem::take(&mut self.literal);
        match byte {
            // Enter sends a return, and Ctrl-J a line feed, which no line contains.
            b'\n' => keys.push(Key::Enter),
            _ if literal => keys.push(Key::Literal(char::from(byte))),
            b'\r' => keys.push(Key::Enter),
            0x1B => self.state = State::Escape,
            0..0x20 | 0x7F => keys.push(Key::Control(byte)),
            _ => keys.push(Key::Char(char::from(byte))),
        }
    }

    /// A key together with Alt, or a character after Esc, which is what it is without.
    fn escaped(&mut self, byte: u8, keys: &mut Vec<Key>) {
        match byte {
            b'[' => self.state = State::Sequence(Vec::new()),
            b'O' => self.state = State::Application,
            b'b' | b'B' => keys.push(Key::WordLeft),
            b'f' | b'F' => keys.push(Key::WordRight),
            b'd' | b'D' => keys.push(Key::DeleteWord),
            0x7F => keys.push(Key::EraseWord),
            _ => self.plain(byte, keys),
        }
    }

    /// A byte of a pasted text. Its line ends are Enter, and its other control characters are text.
    fn pasted(&mut self, byte: u8, matched: usize, after_return: bool, keys: &mut Vec<Key>) {
        self.state = State::Paste { matched, after_return };
        if byte == PASTE_ENDS[matched] {
            self.state = match matched + 1 {
                whole if whole == PASTE_ENDS.len() => State::Ground,
                matched => State::Paste { matched, after_return: false },
            };
            return;
        }
        self.mismatched(keys);
        if byte == PASTE_ENDS[0] {
            self.state = State::Paste { matched: 1, after_return: false };
            return;
        }
        match byte {
            b'\n' if after_return => {}
            b'\n' | b'\r' => keys.push(Key::Enter),
            _ => keys.push(Key::Literal(char::from(byte))),
        }
        self.state = State::Paste { matched: 0, after_return: byte == b'\r' };
    }

    /// What looked like the end of a pasted text is text.
    fn mismatched(&mut self, keys: &mut Vec<Key>) {
        if let State::Paste { matched, after_return } = &mut self.state {
            keys.extend(PASTE_ENDS[..*matched].iter().map(|&byte| Key::Literal(char::from(byte))));
            (*matched, *after_return) = (0, false);
        }
    }
}

/// The key of a sequence that begins with ESC `O`.
fn application_key(byte: u8) -> Option<Key> {
    match byte {
        // With Ctrl, in rxvt.
        b'c' => Some(Key::WordRight),
        b'd' => Some(Key::WordLeft),
        b'M' => Some(Key::Enter),
        _ => sequence_key(b"", byte),
    }
}

/// The key of a sequence; `None` for keys that do not edit.
fn sequence_key(parameters: &[u8], last: u8) -> Option<Key> {
    let mut numbers = parameters.split(|&byte| byte == b';');
    let first = numbers.next().unwrap_or_default();
    // Alt, Ctrl and their combinations with Shift.
    let by_word = matches!(numbers.next(), Some(b"3" | b"4" | b"5" | b"6" | b"7" | b"8"));
    Some(match (last, first) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) if by_word => Key::WordRight,
        (b'D', _) if by_word => Key::WordLeft,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"3") if by_word => Key::DeleteWord,
        (b'~', b"3") => Key::Delete,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
