//! Passwords that wait to be verified, and what becomes of those who typed them.
//!
//! A verification takes a processor and 19 MB of memory for some 30 ms, on purpose. So few are under way at a time, those
//! of one source and for one name [one after the other](super::attempts), and the rest waits here, up to a limit. A
//! family whose three players come in at the same moment waits for a tenth of a second; a wrong password refuses those
//! of the same source behind it.

use std::collections::{HashMap, VecDeque};

use super::attempts::{self, Wait};
use super::guest::Stage;
use super::passwords::Job;
use super::{Lobby, NAME_PROMPT};
use crate::duration::in_words;
use crate::names::Name;
use crate::store::Target;
use crate::world::{Turn, UserId};

/// How many passwords are with the thread at a time, so that those that come first can still overtake the others.
const MAX_UNDER_WAY: usize = 2;

/// How many passwords may wait: of all, of one source, and in addition of sources from which the password was last
/// right. A flood of guesses does not use up the places of the latter.
const MAX_WAITING: usize = 128;
const MAX_WAITING_EACH: usize = 32;
const MAX_WAITING_KNOWN: usize = 64;

/// A typed password.
#[derive(Debug)]
struct Login {
    user: UserId,
    from: attempts::From,
    name: Name,
    password: String,
    /// The password was last right from there.
    is_known: bool,
}

/// The passwords that were typed, and have no result yet.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// In the order of their arrival.
    waiting: VecDeque<Login>,
    /// The sources and names of those that are being verified.
    under_way: HashMap<UserId, (attempts::From, Name)>,
}

impl Logins {
    /// Whether nothing waits, and nothing is under way.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    fn has_room(&self, login: &Login) -> bool {
        let count = |is_it: &dyn Fn(&&Login) -> bool| self.waiting.iter().filter(is_it).count();
        let all = count(&|other| other.is_known == login.is_known);
        all < if login.is_known { MAX_WAITING_KNOWN } else { MAX_WAITING }
            && count(&|other| other.from == login.from) < MAX_WAITING_EACH
    }

    /// The user has left. What is under way ends by itself.
    pub fn forget(&mut self, user: UserId) {
        self.waiting.retain(|login| login.user != user);
    }
}

impl Lobby {
    /// A line of a user who was asked for the password of a kept name.
    pub(super) fn try_password(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name, password: &str) {
        let account = self.store.accounts().get(name.key()).filter(|_| !password.is_empty());
        let (Some(account), Some(from)) = (account, self.from(user)) else {
            // Nothing was typed, or the name was given up in the meantime.
            self.set_stage(user, Stage::Naming);
            return turn.send(user, NAME_PROMPT);
        };
        let is_known = !from.is_exempt && account.source == Some(from.source);
        let login = Login { user, from, name, password: password.to_string(), is_known };
        if !self.logins.has_room(&login) {
            let text = "Too many players are coming in; please try again later.";
            return self.ask_again(turn, user, login.name, text);
        }
        // What the user has typed already comes after the password.
        turn.hold(user);
        self.set_stage(user, Stage::Verifying);
        self.logins.waiting.push_back(login);
        self.verify_next(turn);
    }

    /// Has the thread verify as many of the waiting passwords as may be under way, and refuses those that come too early.
    fn verify_next(&mut self, turn: &mut Turn<'_>) {
        let now = self.clock.now();
        for known in [true, false] {
            let mut place = 0;
            while let Some(login) = self.logins.waiting.get(place) {
                if self.logins.under_way.len() >= MAX_UNDER_WAY {
                    return;
                }
                if login.is_known != known {
                    place += 1;
                    continue;
                }
                match self.attempts.begin(login.from, login.name.key(), known, now) {
                    Err(Wait::Another) => place += 1,
                    Ok(()) => self.verify(turn, place),
                    Err(Wait::Seconds(seconds)) => {
                        let text =
                            format!("After wrong passwords you have to wait for {}.", in_words(seconds));
                        self.refuse_login(turn, place, &text);
                    }
                }
            }
        }
    }

    /// Passes the waiting password at this place to the thread.
    fn verify(&mut self, turn: &mut Turn<'_>, place: usize) {
        let Some(login) = self.logins.waiting.get_mut(place) else { return };
        let (user, from, name) = (login.user, login.from, login.name.clone());
        // It may have been given up in the meantime; nothing is the hash of no password.
        let account = self.store.accounts().get(name.key());
        let hash = account.map_or_else(String::new, |account| account.hash.clone());
        let job = Job::Verify { user, hash, password: std::mem::take(&mut login.password) };
        if self.threads.as_mut().is_some_and(|threads| threads.submit_password(job)) {
            self.logins.waiting.remove(place);
            self.logins.under_way.insert(user, (from, name));
        } else {
            self.attempts.cancel(from, name.key());
            self.refuse_login(turn, place, "The server is too busy for that; please try again later.");
        }
    }

    fn refuse_login(&mut self, turn: &mut Turn<'_>, place: usize, text: &str) {
        if let Some(login) = self.logins.waiting.remove(place) {
            turn.release(login.user);
            self.ask_again(turn, login.user, login.name, text);
        }
    }

    /// A password was verified. The user may have left meanwhile.
    pub(super) fn verified(&mut self, turn: &mut Turn<'_>, user: UserId, is_right: bool) {
        turn.release(user);
        if let Some((from, name)) = self.logins.under_way.remove(&user) {
            if is_right {
                self.attempts.right(from, name.key());
                self.note_use(turn, name.key(), (!from.is_exempt).then_some(from.source));
                self.enter(turn, user, name);
            } else {
                self.wrong_password(turn, user, from, name);
            }
        }
        self.verify_next(turn);
    }

    fn wrong_password(&mut self, turn: &mut Turn<'_>, user: UserId, from: attempts::From, name: Name) {
        let wrong = self.attempts.wrong(from, name.key(), self.clock.now());
        let (shown, address) = (name.shown(), Target::Network(from.source));
        let peer = self.guests.get(&user).map(|guest| tracing::field::display(guest.info.peer));
        tracing::warn!(%user, peer, name = shown, %address, "wrong password");
        if wrong.is_closed {
            let seconds = attempts::CLOSED_SECONDS;
            tracing::warn!(%user, peer, name = shown, %address, seconds, "no more passwords from there for a while");
        }
        let text = format!(
            "That is not the password. The next try is possible in {}; Enter alone chooses another name.",
            in_words(wrong.wait)
        );
        self.ask_again(turn, user, name, &text);
    }
}
