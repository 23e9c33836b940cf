//! Options, all of them refused: RFC 1143 for a side that wants none.

use super::byte::{DO, DONT, WILL, WONT};

/// A set of options.
#[derive(Debug, Clone, Copy, Default)]
struct OptionSet([u64; 4]);

impl OptionSet {
    /// Puts an option in; whether it was new.
    fn insert(&mut self, option: u8) -> bool {
        let (word, bit) = (usize::from(option / 64), 1u64 << (option % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn remove(&mut self, option: u8) {
        self.0[usize::from(option / 64)] &= !(1u64 << (option % 64));
    }
}

/// What was already refused on one connection.
///
/// Every option is off on both sides and stays so. Asking for one is answered with a
/// refusal once; asking again, with no change of mind in between, is not, so that two
/// programs that insist can never keep each other busy. A WONT or a DONT says what is the
/// case already and gets no answer.
#[derive(Debug, Default)]
pub struct Refusals {
    /// What the client offered (WILL) and was told to leave (DONT).
    theirs: OptionSet,
    /// What the client asked us for (DO) and was told we do not have (WONT).
    ours: OptionSet,
}

impl Refusals {
    /// The verb to answer with, if an answer is due.
    pub fn answer(&mut self, verb: u8, option: u8) -> Option<u8> {
        match verb {
            WILL => self.theirs.insert(option).then_some(DONT),
            DO => self.ours.insert(option).then_some(WONT),
            WONT => {
                self.theirs.remove(option);
                None
            }
            DONT => {
                self.ours.remove(option);
                None
            }
            _ => None,
        }
    }
}
