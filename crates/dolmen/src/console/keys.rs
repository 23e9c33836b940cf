//! Converts key records of a Windows console into text: pure, so that it is tested on every system.
//!
//! Microsoft Learn: "KEY_EVENT_RECORD structure", "Console Virtual Terminal Sequences" (input sequences).

use super::Input;

/// One `KEY_EVENT_RECORD`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyRecord {
    pub(super) down: bool,
    pub(super) repeat: u16,
    pub(super) key: u16,
    /// A UTF-16 code unit; 0: the key produces none.
    pub(super) unit: u16,
    pub(super) control: u32,
}

/// Virtual key codes.
mod key {
    pub(super) const BACKSPACE: u16 = 0x08;
    pub(super) const TAB: u16 = 0x09;
    pub(super) const ALT: u16 = 0x12;
    pub(super) const SPACE: u16 = 0x20;
}

/// Bits of the control key state.
mod held {
    pub(super) const RIGHT_ALT: u32 = 0x1;
    pub(super) const LEFT_ALT: u32 = 0x2;
    pub(super) const RIGHT_CTRL: u32 = 0x4;
    pub(super) const LEFT_CTRL: u32 = 0x8;
    pub(super) const SHIFT: u32 = 0x10;
    pub(super) const ENHANCED: u32 = 0x100;
}

const CTRL_C: u16 = 3;

/// Joins parts of one character across records and reads.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The first half of a character, and its repeat count.
    high: Option<(u16, u16)>,
    text: String,
}

impl Keys {
    /// Takes a record. An interrupt is passed on immediately, text with [`Keys::flush`].
    pub(super) fn feed(&mut self, record: KeyRecord, mut put: impl FnMut(Input)) {
        // A character typed with Alt and the numeric keypad comes with the release of Alt.
        let counts = record.down || (record.key == key::ALT && record.unit != 0);
        if !counts {
            return;
        }
        let repeat = record.repeat.max(1);
        // In raw mode it comes as a key, and is the request all the same [hc29].
        if record.unit == CTRL_C {
            for _ in 0..repeat {
                self.flush(&mut put);
                put(Input::Interrupt);
            }
            return;
        }
        // The halves of a character come in two records, with key releases between them, which are skipped above
        // [hc28].
        match record.unit {
            0xD800..0xDC00 => {
                self.lone_high();
                self.high = Some((record.unit, repeat));
            }
            0xDC00..0xE000 => {
                let (high, repeat) = self.high.take().map_or((0, repeat), |(high, repeat)| (high, repeat));
                let joined = char::decode_utf16([high, record.unit]).next();
                let c = joined.filter(|_| high != 0).and_then(Result::ok);
                self.repeat(repeat, |text| text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
            _ => {
                let sequence = sequence(&record);
                if !sequence.is_empty() {
                    self.lone_high();
                    self.repeat(repeat, |text| text.push_str(&sequence));
                }
            }
        }
    }

    /// The end of a read: passes on the text so far, except half a character.
    pub(super) fn flush(&mut self, mut put: impl FnMut(Input)) {
        if !self.text.is_empty() {
            put(Input::Bytes(std::mem::take(&mut self.text)));
        }
    }

    /// Handles a first half to which no second has come.
    fn lone_high(&mut self) {
        if let Some((_, repeat)) = self.high.take() {
            self.repeat(repeat, |text| text.push(char::REPLACEMENT_CHARACTER));
        }
    }

    fn repeat(&mut self, times: u16, mut once: impl FnMut(&mut String)) {
        (0..times).for_each(|_| once(&mut self.text));
    }
}

/// The sequence that a terminal would send for the key.
fn sequence(record: &KeyRecord) -> String {
    let any = |bits| record.control & bits != 0;
    let (shift, alt, ctrl) =
        (any(held::SHIFT), any(held::LEFT_ALT | held::RIGHT_ALT), any(held::LEFT_CTRL | held::RIGHT_CTRL));
    // AltGr: the right Alt, for which the system also reports the left Ctrl.
    let alt_gr = any(held::RIGHT_ALT) && ctrl;
    match (record.key, record.unit) {
        (key::ALT, unit) if unit != 0 => return decode(unit).map(String::from).unwrap_or_default(),
        (key::BACKSPACE, 0x08) => return escaped(alt, '\x7f'),
        (key::BACKSPACE, 0x7F) => return escaped(alt, '\x08'),
        (key::TAB, _) if shift => return "\x1b[Z".into(),
        (key::SPACE, 0) if ctrl => return escaped(alt, '\0'),
        (_, 0) => {}
        (_, unit) => return decode(unit).map(|c| escaped(alt && !alt_gr, c)).unwrap_or_default(),
    }
    // While Alt is held, the keypad's arrows are digits of a character code.
    if alt && !any(held::ENHANCED) && matches!(record.key, 0x21..=0x28 | 0x2D) {
        return String::new();
    }
    let modifiers = 1 + u8::from(shift) + 2 * u8::from(alt) + 4 * u8::from(ctrl);
    let letter = |letter: char| match modifiers {
        1 => format!("\x1b[{letter}"),
        _ => format!("\x1b[1;{modifiers}{letter}"),
    };
    let number = |number: u8| match modifiers {
        1 => format!("\x1b[{number}~"),
        _ => format!("\x1b[{number};{modifiers}~"),
    };
    match record.key {
        0x21 => number(5),
        0x22 => number(6),
        0x23 => letter('F'),
        0x24 => letter('H'),
        0x25 => letter('D'),
        0x26 => letter('A'),
        0x27 => letter('C'),
        0x28 => letter('B'),
        0x2D => number(2),
        0x2E => number(3),
        0x70..=0x73 if modifiers == 1 => format!("\x1bO{}", char::from(b'P' + (record.key - 0x70) as u8)),
        0x70..=0x73 => letter(char::from(b'P' + (record.key - 0x70) as u8)),
        0x74..=0x7B => number([15, 17, 18, 19, 20, 21, 23, 24][usize::from(record.key - 0x74)]),
        _ => String::new(),
    }
}

fn decode(unit: u16) -> Option<char> {
    char::from_u32(unit.into())
}

/// With Alt held, a terminal sends an escape first.
fn escaped(alt: bool, c: char) -> String {
    if alt { format!("\x1b{c}") } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(key: u16, unit: u16, control: u32) -> KeyRecord {
        KeyRecord { down: true, repeat: 1, key, unit, control }
    }

    fn up(record: KeyRecord) -> KeyRecord {
        KeyRecord { down: false, ..record }
    }

    fn typed(records: &[KeyRecord]) -> Vec<Input> {
        let mut keys = Keys::default();
        let mut inputs = Vec::new();
        for record in records {
            keys.feed(*record, |input| inputs.push(input));
        }
        keys.flush(|input| inputs.push(input));
        inputs
    }

    fn text(records: &[KeyRecord]) -> String {
        match &typed(records)[..] {
            [] => String::new(),
            [Input::Bytes(text)] => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_counts_when_it_goes_down() {
        let a = down(0x41, 'a' as u16, 0);
        assert_eq!(text(&[a, up(a), a]), "aa");
        assert_eq!(text(&[down(0x10, 0, held::SHIFT), up(down(0x10, 0, 0))]), "");
    }

    #[test]
    fn repeat_counts_are_honoured() {
        assert_eq!(text(&[KeyRecord { repeat: 3, ..down(0x41, 'a' as u16, 0) }]), "aaa");
        assert_eq!(text(&[KeyRecord { repeat: 2, ..down(0x25, 0, 0) }]), "\x1b[D\x1b[D");
        assert_eq!(text(&[KeyRecord { repeat: 0, ..down(0x41, 'a' as u16, 0) }]), "a");
    }

    #[test]
    fn hc28_surrogates_are_joined_across_key_ups() {
        let [high, low] = [0xD83C, 0xDFB2].map(|unit| down(0, unit, 0));
        assert_eq!(text(&[high, up(high), low, up(low)]), "🎲");
        let twice = |record| KeyRecord { repeat: 2, ..record };
        assert_eq!(text(&[twice(high), twice(low)]), "🎲🎲");
    }

    #[test]
    fn half_a_character_becomes_a_replacement_character() {
        let (high, low, a) = (down(0, 0xD83C, 0), down(0, 0xDFB2, 0), down(0x41, 'a' as u16, 0));
        assert_eq!(text(&[high, a]), "\u{fffd}a");
        assert_eq!(text(&[low, a]), "\u{fffd}a");
        assert_eq!(text(&[high, high, low]), "\u{fffd}🎲");
    }

    #[test]
    fn a_surrogate_pair_may_come_in_two_reads() {
        let mut keys = Keys::default();
        let mut inputs = Vec::new();
        keys.feed(down(0, 0xD83C, 0), |input| inputs.push(input));
        keys.flush(|input| inputs.push(input));
        keys.feed(down(0, 0xDFB2, 0), |input| inputs.push(input));
        keys.flush(|input| inputs.push(input));
        assert_eq!(inputs, [Input::Bytes("🎲".into())]);
    }

    #[test]
    fn alt_and_the_keypad_make_a_character_when_alt_is_released() {
        let alt = held::LEFT_ALT;
        let records =
            [down(key::ALT, 0, alt), down(0x23, 0, alt), down(0x61, 0, alt), up(down(key::ALT, 0xE9, 0))];
        assert_eq!(text(&records), "é");
    }

    #[test]
    fn keys_without_a_character_send_what_terminals_send() {
        for (record, sequence) in [
            (down(0x26, 0, held::ENHANCED), "\x1b[A"),
            (down(0x25, 0, held::LEFT_CTRL | held::ENHANCED), "\x1b[1;5D"),
            (down(0x27, 0, held::SHIFT | held::LEFT_ALT | held::ENHANCED), "\x1b[1;4C"),
            (down(0x24, 0, 0), "\x1b[H"),
            (down(0x2E, 0, 0), "\x1b[3~"),
            (down(0x21, 0, held::RIGHT_CTRL), "\x1b[5;5~"),
            (down(0x70, 0, 0), "\x1bOP"),
            (down(0x71, 0, held::SHIFT), "\x1b[1;2Q"),
            (down(0x76, 0, 0), "\x1b[18~"),
            (down(0x7B, 0, 0), "\x1b[24~"),
            (down(0x08, 8, 0), "\x7f"),
            (down(0x08, 0x7F, held::LEFT_CTRL), "\x08"),
            (down(0x09, 9, 0), "\t"),
            (down(0x09, 9, held::SHIFT), "\x1b[Z"),
            (down(0x0D, 13, 0), "\r"),
            (down(0x1B, 27, 0), "\x1b"),
            (down(0x20, 0, held::LEFT_CTRL), "\0"),
            (down(0x58, 'x' as u16, held::LEFT_ALT), "\x1bx"),
            (down(0x45, '€' as u16, held::RIGHT_ALT | held::LEFT_CTRL), "€"),
            (down(0x5B, 0, 0), ""),
        ] {
            assert_eq!(text(&[record]), sequence, "{record:?}");
        }
    }

    #[test]
    fn hc29_ctrl_c_is_an_interrupt_in_its_place() {
        let [a, b] = ['a', 'b'].map(|c| down(0x41, c as u16, 0));
        let expected = [Input::Bytes("a".into()), Input::Interrupt, Input::Bytes("b".into())];
        assert_eq!(
            typed(&[a, down(0x43, 3, held::LEFT_CTRL), up(down(0x43, 3, held::LEFT_CTRL)), b]),
            expected
        );
    }
}
