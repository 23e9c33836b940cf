//! TTYPE (RFC 1091) and MTTS: the client's name, the type of its terminal, and its abilities.
//!
//! The server asks up to four times. A client with MTTS answers with its name, its terminal and `MTTS` with a number;
//! any other with a list of terminals, whose last entry it repeats.

use super::byte::option;
use super::client::{Client, Colours};
use super::engine::subnegotiation;
use crate::layer::Outward;

const IS: u8 = 0;
const SEND: u8 = 1;

/// How often the client is asked.
const ROUNDS: u8 = 4;

/// The longest answer that is believed.
const MOST_BYTES: usize = 64;

/// The bits of MTTS that are of use here.
mod mtts {
    pub(super) const ANSI: u32 = 1;
    pub(super) const UTF_8: u32 = 4;
    pub(super) const COLOURS_256: u32 = 8;
    pub(super) const SCREEN_READER: u32 = 64;
    pub(super) const TRUE_COLOUR: u32 = 256;
}

/// The questions about the terminal.
#[derive(Debug, Default)]
pub(super) struct TerminalQuery {
    /// Questions that were answered.
    answered: u8,
    /// The answer before, in capitals.
    last: String,
    abilities: u32,
    over: bool,
}

impl TerminalQuery {
    /// The client agreed to be asked, or refused.
    pub(super) fn switched(&mut self, on: bool, outward: &mut Outward) {
        *self = TerminalQuery::default();
        if on {
            ask(outward);
        }
    }

    /// Whether no more questions follow.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn says_utf8(&self) -> bool {
        self.abilities & mtts::UTF_8 != 0
    }

    /// An answer. Returns whether it is the last.
    pub(super) fn answer(&mut self, payload: &[u8], client: &mut Client, outward: &mut Outward) -> bool {
        let [IS, name @ ..] = payload else { return false };
        if self.over {
            return false;
        }
        let printable = name.len() <= MOST_BYTES && name.iter().all(|byte| (b' '..=b'~').contains(byte));
        let name =
            if printable { String::from_utf8_lossy(name).trim().to_ascii_uppercase() } else { String::new() };
        self.answered += 1;
        let abilities = name.strip_prefix("MTTS ").and_then(|number| number.parse().ok());
        match (self.answered, abilities) {
            (_, Some(abilities)) => self.abilities = abilities,
            (1, None) => client.name.clone_from(&name),
            (2, None) => client.terminal.clone_from(&name),
            _ => {}
        }
        self.over = abilities.is_some() || name == self.last || self.answered >= ROUNDS;
        self.last = name;
        if self.over {
            self.conclude(client);
        } else {
            ask(outward);
        }
        self.over
    }

    fn conclude(&self, client: &mut Client) {
        // The first answer of a client without MTTS is a terminal: telnet programs have one only.
        if self.abilities == 0 && (client.terminal.is_empty() || client.terminal == client.name) {
            client.terminal = client.name.clone();
        }
        let says = |bit| self.abilities & bit != 0;
        client.screen_reader |= says(mtts::SCREEN_READER);
        let terminal = |part: &str| client.terminal.contains(part) || client.name.contains(part);
        client.colours = if says(mtts::TRUE_COLOUR) || terminal("TRUECOLOR") {
            Colours::True
        } else if says(mtts::COLOURS_256) || terminal("256COLOR") {
            Colours::TwoHundredFiftySix
        } else if says(mtts::ANSI)
            || ["XTERM", "ANSI", "LINUX", "SCREEN", "TMUX", "RXVT", "MUDLET", "TINTIN", "CYGWIN"]
                .into_iter()
                .any(terminal)
        {
            Colours::Sixteen
        } else {
            Colours::None
        };
    }
}

pub(super) fn ask(outward: &mut Outward) {
    subnegotiation(option::TERMINAL_TYPE, &[SEND], outward);
}
