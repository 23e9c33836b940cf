//! From a connection to a character: the name, its password, and taking a character over from a dead link.

use std::rc::Rc;

use super::attempts::{BAN_SECONDS, Wait, Wrong};
use super::guest::{Character, Stage};
use super::passwords::{self, Job};
use super::{Lobby, NAME_PROMPT, plural};
use crate::duration::in_words;
use crate::names::Name;
use crate::store::{Ban, Target};
use crate::world::{Turn, UserId};

/// How long a link must have been silent before a name that is not kept can be taken over from the same address.
pub(super) const SILENT_SECONDS: u64 = 30;

const PASSWORD_PROMPT: &str = "Password: ";

/// The word for screen readers at the prompt for a name.
const SCREEN_READER: &str = "screenreader";

impl Lobby {
    /// Logs a user in with a name and, for a kept name, its password: what a client sends that remembers both.
    pub(super) fn log_in(&mut self, turn: &mut Turn<'_>, user: UserId, name: &str, password: &str) {
        match self.guests.get_mut(&user) {
            Some(guest) if matches!(guest.stage, Stage::Naming) => {
                guest.by_client = true;
                let password = (!password.is_empty()).then_some(password);
                self.take_name(turn, user, name, password);
            }
            _ => turn.login_result(user, Err("Please go on by typing.")),
        }
    }

    /// Reports to a client that has sent a name and a password how the login ended.
    fn report_login(&mut self, turn: &mut Turn<'_>, user: UserId, result: Result<(), &str>) {
        if self.guests.get_mut(&user).is_some_and(|guest| std::mem::take(&mut guest.by_client)) {
            turn.login_result(user, result);
        }
    }

    fn stage(&self, user: UserId) -> Option<&Stage> {
        self.guests.get(&user).map(|guest| &guest.stage)
    }

    pub(super) fn set_stage(&mut self, user: UserId, stage: Stage) {
        if let Some(guest) = self.guests.get_mut(&user) {
            guest.stage = stage;
        }
    }

    /// A line of a user who has no name yet.
    pub(super) fn choose_name(&mut self, turn: &mut Turn<'_>, user: UserId, typed: &str) {
        match typed.trim().to_lowercase().as_str() {
            // A user who came to the wrong place must be able to leave.
            "quit" => {
                turn.send(user, "Good-bye.\n");
                turn.disconnect(user);
            }
            SCREEN_READER => {
                self.set_screen_reader(turn, user, true);
                turn.send(user, format!("Lists will have one item a line.\n{NAME_PROMPT}"));
            }
            _ => self.take_name(turn, user, typed, None),
        }
    }

    /// Gives the user a name, if that is possible.
    fn take_name(&mut self, turn: &mut Turn<'_>, user: UserId, typed: &str, password: Option<&str>) {
        let name = Name::check(typed).map_err(|reason| reason.to_string());
        if let Err(reason) = name.and_then(|name| self.claim(turn, user, name, password)) {
            self.report_login(turn, user, Err(&reason));
            turn.send(user, format!("{reason}\n{NAME_PROMPT}"));
        }
    }

    /// Gives the user this name, or verifies its password, or asks for that. The error is the reason for the user.
    fn claim(
        &mut self,
        turn: &mut Turn<'_>,
        user: UserId,
        name: Name,
        password: Option<&str>,
    ) -> Result<(), String> {
        let now = self.clock.now();
        let shown = name.shown();
        if let Some(ban) = self.store.bans().check_name(&name, now) {
            return Err(format!("The name {shown} is banned {}.", ban.details(now)));
        }
        if let Some(account) = self.store.accounts().similar(&name) {
            let kept = Name::check(&account.name).map_err(|reason| reason.to_string())?;
            if kept.key() != name.key() {
                return Err(format!(
                    "{shown} looks too much like {}, which belongs to another player.",
                    kept.shown()
                ));
            }
            if let Some(password) = password {
                self.try_password(turn, user, kept, password);
                return Ok(());
            }
            let text = format!(
                "{} is kept. If it is yours, type its password; if not, press Enter.\n",
                kept.shown()
            );
            turn.send(user, text);
            turn.ask_password(user, PASSWORD_PROMPT);
            self.set_stage(user, Stage::Password(kept));
            return Ok(());
        }
        match self.names.similar(&name).map(|(other, &owner)| (other.clone(), owner)) {
            None => self.arrive(turn, user, name),
            Some((other, owner)) if other.key() == name.key() => {
                self.check_dead_link(user, owner, shown)?;
                self.take_over(turn, user, owner);
            }
            Some((other, _)) => {
                return Err(format!("{shown} looks too much like {}, who is here.", other.shown()));
            }
        }
        Ok(())
    }

    /// Whether the owner of a name that is not kept is a dead link of the same person.
    fn check_dead_link(&self, user: UserId, owner: UserId, shown: &str) -> Result<(), String> {
        let taken = format!("Somebody here is called {shown} already.");
        let Some(old) = self.guests.get(&owner).filter(|_| self.address(user) == self.address(owner)) else {
            return Err(taken);
        };
        let silent = self.clock.now().saturating_sub(old.heard);
        match SILENT_SECONDS.saturating_sub(silent) {
            0 => Ok(()),
            left => Err(format!(
                "{taken}\nIf that is a dead connection of yours, type the name again in {}.",
                in_words(left)
            )),
        }
    }

    fn arrive(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name) {
        let shown = name.shown().to_string();
        self.names.insert(name.clone(), user);
        self.set_stage(user, Stage::Playing(Character::new(name)));
        turn.logged_on(user);
        self.report_login(turn, user, Ok(()));
        turn.send(user, format!("Hello, {shown}. {}; type 'help' for what you can do.\n", self.others()));
        self.show_others(turn, user, format!("{shown} has arrived.\n"));
    }

    fn others(&self) -> String {
        match self.names.len().saturating_sub(1) {
            0 => "You are alone here".to_string(),
            1 => "One other is here".to_string(),
            count => format!("{count} others are here"),
        }
    }

    /// Moves a character to another connection, and closes the old one.
    fn take_over(&mut self, turn: &mut Turn<'_>, user: UserId, old: UserId) {
        let Some(character) = self.guests.get_mut(&old).and_then(|guest| guest.take_character()) else {
            return;
        };
        let name = Rc::clone(&character.name);
        let screen_reader = self.guests.get(&old).is_some_and(|guest| guest.screen_reader);
        self.names.insert((*name).clone(), user);
        self.set_stage(user, Stage::Playing(character));
        turn.logged_on(user);
        self.report_login(turn, user, Ok(()));
        if screen_reader {
            self.set_screen_reader(turn, user, true);
        }
        self.log(user, "took over from an older connection");
        turn.send(old, "\nYou have come in by another connection; this one is closed.\n");
        turn.disconnect(old);
        let text = format!(
            "Welcome back, {}. Your older connection was closed. {}; type 'help' for what you can do.\n",
            name.shown(),
            self.others()
        );
        turn.send(user, text);
    }

    /// A line of a user who was asked for the password of a kept name.
    pub(super) fn try_password(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name, password: &str) {
        if password.is_empty() {
            self.set_stage(user, Stage::Naming);
            return turn.send(user, NAME_PROMPT);
        }
        let Some(account) = self.store.accounts().get(name.key()) else {
            // It was given up in the meantime.
            self.set_stage(user, Stage::Naming);
            return turn.send(user, NAME_PROMPT);
        };
        let hash = account.hash.clone();
        let Some(address) = self.address(user) else { return };
        let now = self.clock.now();
        let refused = match self.attempts.begin(address, name.key(), now) {
            Ok(()) => {
                let job = Job::Verify { user, hash, password: password.to_string() };
                if self.threads.as_mut().is_some_and(|threads| threads.submit_password(job)) {
                    // What the user has typed already comes after the password.
                    turn.hold(user);
                    self.verifying.insert(user, (address, name));
                    return self.set_stage(user, Stage::Verifying);
                }
                self.attempts.cancel(address, name.key());
                "Too many players are coming in; please try again later.".to_string()
            }
            Err(Wait::Seconds(seconds)) => {
                format!("After wrong passwords you have to wait for {}.", in_words(seconds))
            }
            Err(Wait::Another) => "Another password is being checked; please try again.".to_string(),
        };
        self.ask_again(turn, user, name, &refused);
    }

    fn ask_again(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name, text: &str) {
        self.set_stage(user, Stage::Password(name));
        self.report_login(turn, user, Err(text));
        turn.send(user, format!("{text}\n"));
        turn.ask_password(user, PASSWORD_PROMPT);
    }

    /// A password was verified. The user may have left meanwhile.
    pub(super) fn verified(&mut self, turn: &mut Turn<'_>, user: UserId, is_right: bool) {
        turn.release(user);
        let Some((address, name)) = self.verifying.remove(&user) else { return };
        let now = self.clock.now();
        if is_right {
            self.attempts.right(address, name.key());
            return self.enter(turn, user, name);
        }
        let wrong = self.attempts.wrong(address, name.key(), now);
        tracing::warn!(%user, player = name.shown(), address = %address, "wrong password");
        let is_here = matches!(self.stage(user), Some(Stage::Verifying));
        match wrong {
            Wrong::Wait(seconds) if is_here => {
                let text = format!(
                    "That is not the password. The next try is possible in {}; Enter alone chooses another name.",
                    in_words(seconds)
                );
                self.ask_again(turn, user, name, &text);
            }
            Wrong::Wait(_) => {}
            Wrong::Ban => {
                let ban = Ban {
                    target: Target::Network(address),
                    reason: "too many wrong passwords".to_string(),
                    since: now,
                    until: Some(now + BAN_SECONDS),
                };
                tracing::warn!(%user, player = name.shown(), address = %address, seconds = BAN_SECONDS, "banned for wrong passwords");
                // A full table is the operator's, who sees it in the log.
                if let Err(problem) = self.ban(turn, ban) {
                    tracing::warn!("cannot ban {address}: {problem}");
                }
            }
        }
    }

    /// The password of a kept name was right.
    fn enter(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name) {
        if !matches!(self.stage(user), Some(Stage::Verifying)) {
            return;
        }
        match self.names.similar(&name).map(|(other, &owner)| (other.key() == name.key(), owner)) {
            None => self.arrive(turn, user, name),
            Some((true, owner)) => self.take_over(turn, user, owner),
            // The look-alike came before the name was kept.
            Some((false, _)) => {
                self.set_stage(user, Stage::Naming);
                self.report_login(turn, user, Err("Somebody here has a name that looks like yours."));
                turn.send(user, format!("Somebody here has a name that looks like yours.\n{NAME_PROMPT}"));
            }
        }
    }

    /// The command `keep`.
    pub(super) fn keep(&mut self, turn: &mut Turn<'_>, user: UserId) {
        let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.take_character()) else {
            return;
        };
        let is_kept = self.store.accounts().get(character.name.key()).is_some();
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
        let is_kept = self.store.accounts().get(character.name.key()).is_some();
        self.set_stage(user, Stage::Playing(character));
        if first != again {
            return turn.send(user, "These differ. Nothing is changed.\n");
        }
        let (Some(address), now) = (self.address(user), self.clock.now()) else { return };
        if !is_kept && !self.attempts.may_keep(address, now) {
            return turn.send(user, "Enough names were kept from your address today. Nothing is changed.\n");
        }
        let job = Job::Hash { user, password: again.to_string() };
        if self.threads.as_mut().is_some_and(|threads| threads.submit_password(job)) {
            turn.hold(user);
        } else {
            turn.send(user, "The server is too busy for that; please try again later. Nothing is changed.\n");
        }
    }

    /// A new password has a hash.
    pub(super) fn hashed(&mut self, turn: &mut Turn<'_>, user: UserId, hash: Option<String>) {
        turn.release(user);
        let Some(name) =
            self.guests.get(&user).and_then(|guest| guest.character()).map(|it| Rc::clone(&it.name))
        else {
            return;
        };
        let now = self.clock.now();
        let (accounts, change) = self.store.change_accounts();
        if !hash.is_some_and(|hash| accounts.keep(&name, hash, now)) {
            return turn.send(user, "The server has no room for another kept name. Nothing is changed.\n");
        }
        self.log(user, "set the password of the name");
        let text = format!("The name {} is yours: from now on it needs your password.\n", name.shown());
        self.send_when_saved(turn, user, change, text);
    }

    /// The command `unkeep`.
    pub(super) fn unkeep(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name) {
        let (accounts, change) = self.store.change_accounts();
        if accounts.remove(name.key()).is_none() {
            return turn.send(user, "Your name is not kept.\n");
        }
        self.log(user, "gave the name up");
        self.send_when_saved(turn, user, change, format!("The name {} is kept no longer.\n", name.shown()));
    }

    /// Whether a program reads the screen of this user aloud.
    pub(super) fn set_screen_reader(&mut self, turn: &mut Turn<'_>, user: UserId, on: bool) {
        turn.set_screen_reader(user, on);
        if let Some(guest) = self.guests.get_mut(&user) {
            guest.screen_reader = on;
        }
    }

    /// The number of players, in a sentence.
    pub(super) fn here(&self) -> String {
        plural(self.names.len(), "Nobody is", "One is", "are")
    }
}
