//! The note board.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AccountId, UnixSeconds};
use crate::names;

/// How many notes the board holds. A full board takes no more: no one can push the notes of others off it.
const MAX_NOTES: usize = 500;

/// How many of them may be of one account.
const MAX_NOTES_EACH: usize = 10;

/// The longest note, in characters.
const MAX_NOTE_CHARS: usize = 2_000;

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its number, which no other note gets.
    pub number: u64,
    /// The author's name, as it was.
    pub author: String,
    /// The author's account, whatever its name is now. If it is gone, only the operator removes the note.
    #[serde(default)]
    pub account: AccountId,
    /// When it was posted.
    pub posted: UnixSeconds,
    /// The text, in one line.
    pub text: String,
}

/// Why the board takes no note. Its text is for the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardFull {
    /// The author has too many notes on it.
    Author,
    /// All have.
    Board,
}

impl fmt::Display for BoardFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoardFull::Author => {
                write!(f, "You have {MAX_NOTES_EACH} notes on the board; remove one first.")
            }
            BoardFull::Board => f.write_str("The board is full; somebody has to remove a note first."),
        }
    }
}

/// The notes, from the oldest.
#[derive(Debug, Clone, Default)]
pub struct Board {
    notes: VecDeque<Note>,
    last: u64,
}

impl Board {
    /// Adds a note, and returns its number.
    ///
    /// # Errors
    ///
    /// There is no room for another note of this author, or of anyone.
    pub fn post(
        &mut self,
        author: &str,
        account: AccountId,
        text: &str,
        now: UnixSeconds,
    ) -> Result<u64, BoardFull> {
        if self.notes.iter().filter(|note| note.account == account).count() >= MAX_NOTES_EACH {
            return Err(BoardFull::Author);
        }
        if self.notes.len() >= MAX_NOTES {
            return Err(BoardFull::Board);
        }
        self.last += 1;
        let text = text.chars().filter(|character| !character.is_control()).take(MAX_NOTE_CHARS).collect();
        let author = author.to_string();
        self.notes.push_back(Note { number: self.last, author, account, posted: now, text });
        Ok(self.last)
    }

    /// The note with this number.
    pub fn get(&self, number: u64) -> Option<&Note> {
        self.notes.iter().find(|note| note.number == number)
    }

    /// Takes a note off the board.
    pub fn remove(&mut self, number: u64) -> Option<Note> {
        let place = self.notes.iter().position(|note| note.number == number)?;
        self.notes.remove(place)
    }

    /// The notes, from the oldest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Note> + ExactSizeIterator {
        self.notes.iter()
    }

    /// Adds a note that was read from disk. False if it cannot be one of ours.
    pub(super) fn restore(&mut self, note: Note) -> bool {
        let fits = note.number > self.last
            && note.number < u64::MAX
            && self.notes.len() < MAX_NOTES
            && note.text.chars().count() <= MAX_NOTE_CHARS
            && !note.text.contains(char::is_control)
            && names::Name::check_kept(&note.author).is_ok();
        if fits {
            self.last = note.number;
            self.notes.push_back(note);
        }
        fits
    }
}
