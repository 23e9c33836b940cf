//! The note board, for players and for the operator.

use super::{Lobby, plural, printable};
use crate::duration::in_words;
use crate::names::Name;
use crate::store::Note;
use crate::world::{Turn, UserId};

/// How many characters of a note the list shows.
const PREVIEW_CHARS: usize = 40;

impl Lobby {
    /// The list of notes.
    pub(super) fn list_notes(&self, indent: &str) -> String {
        let notes = self.store.board().iter();
        if notes.len() == 0 {
            return "The board is empty; 'post TEXT' pins a note to it.\n".to_string();
        }
        let now = self.clock.now();
        let mut list = format!("{} on the board:\n", plural(notes.len(), "", "One note is", "notes are"));
        for Note { number, author, posted, text, .. } in notes {
            let mut preview: String = text.chars().take(PREVIEW_CHARS).collect();
            if preview.len() < text.len() {
                preview.push_str(" ...");
            }
            let age = in_words(now.saturating_sub(*posted));
            list.push_str(&format!("{indent}{number}: {author}, {age} ago: {preview}\n"));
        }
        list
    }

    pub(super) fn read_note(&self, typed: &str) -> String {
        let note = number(typed).and_then(|number| self.store.board().get(number));
        match note {
            Some(Note { number, author, posted, text, .. }) => {
                let age = in_words(self.clock.now().saturating_sub(*posted));
                format!("Note {number}, by {author}, {age} ago:\n{text}\n")
            }
            None => format!("There is no note {}; 'notes' lists what there is.\n", printable(typed)),
        }
    }

    pub(super) fn post(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name, text: &str) {
        let now = self.clock.now();
        let Some(account) = self.store.accounts().get(name.key()).map(|account| account.id) else {
            return turn
                .send(user, "A note needs an author: keep your name with a password first, by 'keep'.\n");
        };
        if !self.from(user).is_some_and(|from| self.attempts.may_post(from, now)) {
            return turn.send(user, "Enough notes were posted from your address today.\n");
        }
        match self.store.change_board(|board| board.post(name.shown(), account, text, now)) {
            Ok((number, change)) => {
                self.log(user, "posted a note");
                self.send_when_saved(
                    turn,
                    user,
                    change,
                    format!("Your note is on the board, as number {number}.\n"),
                );
            }
            Err(full) => turn.send(user, format!("{full}\n")),
        }
    }

    pub(super) fn remove_note(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name, typed: &str) {
        let note = number(typed).and_then(|number| self.store.board().get(number));
        let Some((number, author)) = note.map(|note| (note.number, note.account)) else {
            return turn.send(user, format!("There is no note {}.\n", printable(typed)));
        };
        // Whoever has the name now may be someone else.
        if self.store.accounts().get(name.key()).is_none_or(|account| account.id != author) {
            return turn.send(user, "That note is not yours.\n");
        }
        let removed = self.store.change_board(|board| board.remove(number).ok_or(()));
        let Ok((_, change)) = removed else { return };
        self.log(user, "removed a note");
        self.send_when_saved(turn, user, change, format!("Note {number} is removed.\n"));
    }

    /// The operator's `unpost`.
    pub(super) fn unpost(&mut self, turn: &mut Turn<'_>, typed: &str) {
        let remove = |number| self.store.change_board(|board| board.remove(number).ok_or(())).ok();
        match number(typed).and_then(remove) {
            Some((note, change)) => {
                tracing::info!(name = note.author, note = note.number, "the operator removed a note");
                let text = format!("Note {} of {} is removed.\n", note.number, note.author);
                self.console_when_saved(turn, change, text);
            }
            None => turn.console(format!("There is no note {}.\n", printable(typed))),
        }
    }
}

fn number(typed: &str) -> Option<u64> {
    typed.strip_prefix('#').unwrap_or(typed).parse().ok()
}
