//! A connected user, and the character that a user plays.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use crate::names::Name;
use crate::store::UnixSeconds;
use crate::world::ConnectInfo;

/// A connected user.
#[derive(Debug)]
pub(super) struct Guest {
    pub info: ConnectInfo,
    pub stage: Stage,
    /// The last question whether the connection is dead.
    pub question: Option<Question>,
    /// Whether the client shows colours.
    pub has_colours: bool,
    /// Whether the client shows lines of channels apart.
    pub takes_channels: bool,
    /// Whether a program reads the screen aloud: no art, and one item a line.
    pub screen_reader: bool,
    /// Whether the user's client has sent the name and the password, and waits for a report.
    pub by_client: bool,
}

/// Somebody wants the name of a user whose connection may be dead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub asked: UnixSeconds,
    /// There was a sign of life since then.
    pub answered: bool,
}

/// What a line of a user means.
#[derive(Debug)]
pub(super) enum Stage {
    /// A name.
    Naming,
    /// The password of this kept name.
    Password(Name),
    /// Nothing: a password is being verified, and lines wait.
    Verifying,
    /// A command.
    Playing(Character),
    /// A new password.
    Choosing(Character),
    /// The new password again.
    Repeating(Character, String),
    /// Nothing any more: another connection has the character, or the user is leaving.
    Gone,
}

/// Who a user is among the players. It passes to another connection as a whole.
#[derive(Debug)]
pub(super) struct Character {
    pub name: Rc<Name>,
    /// The keys of the players that this one does not hear.
    pub ignored: HashSet<String>,
    /// The keys of the channels that this one hears.
    pub channels: BTreeSet<String>,
    /// Whether the arrival was shown to the others; the departure is, then.
    pub was_announced: bool,
}

impl Character {
    pub fn new(name: Name, was_announced: bool) -> Character {
        Character { name: Rc::new(name), ignored: HashSet::new(), channels: BTreeSet::new(), was_announced }
    }
}

impl Guest {
    pub fn new(info: ConnectInfo) -> Guest {
        Guest {
            info,
            stage: Stage::Naming,
            question: None,
            has_colours: false,
            takes_channels: false,
            screen_reader: false,
            by_client: false,
        }
    }

    /// A sign of life. Returns whether it answers a question.
    pub fn answer(&mut self) -> bool {
        let open = self.question.as_mut().filter(|question| !question.answered);
        open.is_some_and(|question| !std::mem::replace(&mut question.answered, true))
    }

    /// The user's character.
    pub fn character(&self) -> Option<&Character> {
        match &self.stage {
            Stage::Playing(character) | Stage::Choosing(character) | Stage::Repeating(character, _) => {
                Some(character)
            }
            _ => None,
        }
    }

    pub fn character_mut(&mut self) -> Option<&mut Character> {
        match &mut self.stage {
            Stage::Playing(character) | Stage::Choosing(character) | Stage::Repeating(character, _) => {
                Some(character)
            }
            _ => None,
        }
    }

    /// Takes the character away.
    pub fn take_character(&mut self) -> Option<Character> {
        match std::mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Playing(character) | Stage::Choosing(character) | Stage::Repeating(character, _) => {
                Some(character)
            }
            _ => None,
        }
    }

    /// The name of the user's character.
    pub fn name(&self) -> Option<&str> {
        self.character().map(|character| character.name.shown())
    }
}
