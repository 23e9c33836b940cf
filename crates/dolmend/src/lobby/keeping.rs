//! Names that are kept with a password: by players, and the operator's commands about them.

use std::rc::Rc;

use super::guest::Stage;
use super::passwords::{self, Job, Whose};
use super::{Lobby, printable};
use crate::names::{self, Name};
use crate::store::UnixSeconds;
use crate::world::{Turn, UserId};
use ipnet::IpNet;

impl Lobby {
    /// Whether a name is kept.
    pub(super) fn is_kept(&self, name: &Name) -> bool {
        self.store.accounts().get(name.key()).is_some()
    }

    /// The command `keep`.
    pub(super) fn keep(&mut self, turn: &mut Turn<'_>, user: UserId) {
        let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.take_character()) else {
            return;
        };
        let is_kept = self.is_kept(&character.name);
        self.set_stage(user, Stage::Choosing(character));
        turn.ask_password(user, if is_kept { "New password: " } else { "A password for your name: " });
    }

    /// A new password.
    pub(super) fn choose_password(&mut self, turn: &mut Turn<'_>, user: UserId, password: &str) {
        let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.take_character()) else {
            return;
        };
        if password.is_empty() {
            self.set_stage(user, Stage::Playing(character));
            return turn.send(user, "Nothing is changed.\n");
        }
        if let Err(reason) = passwords::check(password) {
            self.set_stage(user, Stage::Playing(character));
            return turn.send(user, format!("{reason} Nothing is changed.\n"));
        }
        self.set_stage(user, Stage::Repeating(character, password.to_string()));
        turn.ask_password(user, "The same again: ");
    }

    /// The new password again.
    pub(super) fn repeat_password(&mut self, turn: &mut Turn<'_>, user: UserId, first: &str, again: &str) {
        let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.take_character()) else {
            return;
        };
        let is_kept = self.is_kept(&character.name);
        self.set_stage(user, Stage::Playing(character));
        if first != again {
            return turn.send(user, "These differ. Nothing is changed.\n");
        }
        let (Some(from), now) = (self.from(user), self.clock.now()) else { return };
        if !is_kept && !self.attempts.may_keep(from, now) {
            return turn.send(user, "Enough names were kept from your address today. Nothing is changed.\n");
        }
        let job = Job::Hash { whose: Whose::Player(user), password: again.to_string() };
        if self.threads.as_mut().is_some_and(|threads| threads.submit_password(job)) {
            turn.hold(user);
        } else {
            turn.send(user, "The server is too busy for that; please try again later. Nothing is changed.\n");
        }
    }

    /// A new password has a hash.
    pub(super) fn hashed(&mut self, turn: &mut Turn<'_>, whose: Whose, hash: Option<String>) {
        let user = match whose {
            Whose::Player(user) => user,
            Whose::Operator { name, password } => {
                return self.password_is_reset(turn, &name, &password, hash);
            }
        };
        turn.release(user);
        let Some(name) =
            self.guests.get(&user).and_then(|guest| guest.character()).map(|it| Rc::clone(&it.name))
        else {
            return;
        };
        let now = self.clock.now();
        self.note_those_present(now);
        let Some(((), change)) = self.store.change_accounts(|accounts| accounts.keep(&name, hash?, now))
        else {
            return turn.send(user, "The server has no room for another kept name. Nothing is changed.\n");
        };
        self.log(user, "set the password of the name");
        let text = format!("The name {} is yours: from now on it needs your password.\n", name.shown());
        self.send_when_saved(turn, user, change, text);
    }

    /// The command `unkeep`.
    pub(super) fn unkeep(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name) {
        let Some((_, change)) = self.store.change_accounts(|accounts| accounts.remove(name.key())) else {
            return turn.send(user, "Your name is not kept.\n");
        };
        self.log(user, "gave the name up");
        self.send_when_saved(turn, user, change, format!("The name {} is kept no longer.\n", name.shown()));
    }

    /// The player of a kept name is here, or was until now, so that the name does not expire.
    pub(super) fn note_use(&mut self, turn: &mut Turn<'_>, key: &str, source: Option<IpNet>) {
        let now = self.clock.now();
        if self.store.accounts().is_news(key, source, now) {
            self.store.change_accounts(|accounts| accounts.used(key, source, now));
            self.save(turn);
        }
    }

    /// Those who never leave use their names, too.
    fn note_those_present(&mut self, now: UnixSeconds) {
        for character in self.guests.values().filter_map(|guest| guest.character()) {
            let key = character.name.key();
            if self.store.accounts().is_news(key, None, now) {
                self.store.change_accounts(|accounts| accounts.used(key, None, now));
            }
        }
    }

    /// A kept name that no one has used for long is free, unless its player is here. Returns whether there was one.
    pub(super) fn free_if_expired(&mut self, key: &str) -> bool {
        let now = self.clock.now();
        let account = self.store.accounts().get(key).filter(|account| account.has_expired(now));
        if account.is_none() || self.names.get(key).is_some() {
            return false;
        }
        if let Some((account, _)) = self.store.change_accounts(|accounts| accounts.remove(key)) {
            tracing::info!(name = account.name, "a kept name was not used for long, and is free");
        }
        true
    }

    /// The operator's `unkeep`.
    pub(super) fn unkeep_by_operator(&mut self, turn: &mut Turn<'_>, typed: &str) {
        let key = names::key(typed);
        let Some((account, change)) = self.store.change_accounts(|accounts| accounts.remove(&key)) else {
            return turn.console(format!("{} is not kept.\n", printable(typed)));
        };
        tracing::info!(name = account.name, "the operator gave the name up");
        if let Some(&user) = self.names.get(&key) {
            turn.send(user, "The operator has taken the password from your name: it is kept no longer.\n");
        }
        self.console_when_saved(turn, change, format!("{} is kept no longer.\n", account.name));
    }

    /// The operator's `password`: the name gets a new one, which the operator tells the player.
    pub(super) fn reset_password(&mut self, turn: &mut Turn<'_>, typed: &str) {
        let account = self.store.accounts().get(&names::key(typed));
        let Some(name) = account.and_then(|account| Name::check_kept(&account.name).ok()) else {
            return turn.console(format!("{} is not kept.\n", printable(typed)));
        };
        let password = passwords::invent();
        let job = Job::Hash { whose: Whose::Operator { name, password: password.clone() }, password };
        if !self.threads.as_mut().is_some_and(|threads| threads.submit_password(job)) {
            turn.console("The server is too busy for that; try again later.\n");
        }
    }

    fn password_is_reset(&mut self, turn: &mut Turn<'_>, name: &Name, password: &str, hash: Option<String>) {
        let shown = name.shown();
        let (hash, now) = (hash.filter(|_| self.is_kept(name)), self.clock.now());
        let Some(((), change)) = self.store.change_accounts(|accounts| accounts.keep(name, hash?, now))
        else {
            return turn.console(format!("The password of {shown} could not be changed.\n"));
        };
        tracing::info!(name = shown, "the operator reset the password");
        let text = format!("The password of {shown} is {password} from now on; 'keep' changes it.\n");
        self.console_when_saved(turn, change, text);
    }
}
