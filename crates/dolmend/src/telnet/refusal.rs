//! Options, all of them refused: RFC 1143 for a side that supports none.

use super::byte::{DO, DONT, WILL, WONT};

/// A set of options.
#[derive(Debug, Clone, Copy, Default)]
struct OptionSet([u64; 4]);

impl OptionSet {
    /// Adds an option; returns whether it was new.
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

/// The options already refused on one connection.
///
/// Every option is off on both sides and stays off. A request for one is refused once; a repeated request, without a
/// withdrawal in between, gets no reply, so that two programs that insist can never keep each other busy. A WONT or a
/// DONT confirms the current state and gets no reply.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Options that the client offered (WILL) and the server refused (DONT).
    theirs: OptionSet,
    /// Options that the client asked for (DO) and the server refused (WONT).
    ours: OptionSet,
}

impl Refusals {
    /// The verb of the reply, if a reply is due.
    pub fn reply(&mut self, verb: u8, option: u8) -> Option<u8> {
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
