//! From a connection to a character: the name, its password, and taking a character over from a dead link.

use std::rc::Rc;

use super::guest::{Character, Question, Stage};
use super::{Lobby, NAME_PROMPT, plural};
use crate::duration::in_words;
use crate::names::{self, BadName, Name};
use crate::world::{Turn, UserId};

/// How long an older connection has time to answer before a name that is not kept can be taken over from it.
pub(super) const ANSWER_SECONDS: u64 = 25;

/// How long an answer counts: until then the older connection is not asked again.
pub(super) const ANSWERED_SECONDS: u64 = 60;

const PASSWORD_PROMPT: &str = "Password: ";

/// The word for screen readers at the prompt for a name.
const SCREEN_READER: &str = "screenreader";

impl Lobby {
    /// Logs a user in with a name and, for a kept name, its password: what a client sends that remembers both.
    pub(super) fn log_in(&mut self, turn: &mut Turn<'_>, user: UserId, name: &str, password: &str) {
        match self.guests.get_mut(&user) {
            Some(guest) if matches!(guest.stage, Stage::Naming | Stage::Password(_)) => {
                guest.by_client = true;
                guest.stage = Stage::Naming;
                // It was asked for one of these at the prompt.
                turn.answered(user);
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
        let name = Name::check_kept(typed).map_err(|reason| reason.to_string());
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
        while let Some(key) = self.store.accounts().similar(&name).map(|account| names::key(&account.name)) {
            if !self.free_if_expired(&key) {
                break;
            }
        }
        // It may have been reserved after a player has kept it.
        if name.is_reserved() && !self.is_kept(&name) {
            return Err(BadName::Reserved.to_string());
        }
        if let Some(account) = self.store.accounts().similar(&name) {
            let kept = Name::check_kept(&account.name).map_err(|reason| reason.to_string())?;
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
                self.check_dead_link(turn, user, owner, shown)?;
                self.take_over(turn, user, owner);
            }
            Some((other, _)) => {
                return Err(format!("{shown} looks too much like {}, who is here.", other.shown()));
            }
        }
        Ok(())
    }

    /// Whether the owner of a name that is not kept is a dead link of the same person. There is no password that could
    /// tell, so the older connection is asked, and has to leave the question unanswered. A telnet client answers by
    /// itself; the player of any other presses Enter.
    ///
    /// From another source there is no question at all, and neither from one that is exempt from limits: there, many
    /// players may have one address.
    fn check_dead_link(
        &mut self,
        turn: &mut Turn<'_>,
        user: UserId,
        owner: UserId,
        shown: &str,
    ) -> Result<(), String> {
        let taken = format!("Somebody here is called {shown} already.");
        let now = self.clock.now();
        let may_ask = self.from(user).is_some_and(|from| !from.is_exempt && self.from(owner) == Some(from));
        let Some(old) = self.guests.get_mut(&owner).filter(|_| may_ask) else { return Err(taken) };
        let asked = match old.question {
            Some(Question { asked, answered: false }) => asked,
            Some(Question { asked, .. }) if now < asked + ANSWERED_SECONDS => {
                return Err(format!("{taken} That player has just answered."));
            }
            _ => {
                old.question = Some(Question { asked: now, answered: false });
                let (time, text) = (in_words(ANSWER_SECONDS), "Somebody at your address wants your name");
                turn.send(owner, format!("{text}; press Enter within {time} to keep it.\n"));
                turn.probe(owner);
                now
            }
        };
        match (asked + ANSWER_SECONDS).saturating_sub(now) {
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
        let now = self.clock.now();
        let is_announced = self.from(user).is_none_or(|from| self.arrivals.show(from, now));
        self.set_stage(user, Stage::Playing(Character::new(name, is_announced)));
        turn.logged_on(user);
        self.report_login(turn, user, Ok(()));
        turn.send(user, format!("Hello, {shown}. {}; type 'help' for what you can do.\n", self.others()));
        if is_announced {
            self.show_others(turn, user, format!("{shown} has arrived.\n"));
        }
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

    /// Asks once more for the password of a name, unless the user has left.
    pub(super) fn ask_again(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name, text: &str) {
        if !self.guests.contains_key(&user) {
            return;
        }
        self.set_stage(user, Stage::Password(name));
        self.report_login(turn, user, Err(text));
        turn.send(user, format!("{text}\n"));
        turn.ask_password(user, PASSWORD_PROMPT);
    }

    /// The password of a kept name was right.
    pub(super) fn enter(&mut self, turn: &mut Turn<'_>, user: UserId, name: Name) {
        if !matches!(self.stage(user), Some(Stage::Verifying)) {
            return;
        }
        if let Err(reason) = self.may_enter(&name) {
            self.set_stage(user, Stage::Naming);
            self.report_login(turn, user, Err(&reason));
            return turn.send(user, format!("{reason}\n{NAME_PROMPT}"));
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

    /// Whether the password still counts: since the prompt for it, the operator may have banned the name, or the name may
    /// have been given up and be another player's.
    fn may_enter(&self, name: &Name) -> Result<(), String> {
        let (shown, now) = (name.shown(), self.clock.now());
        if let Some(ban) = self.store.bans().check_name(name, now) {
            return Err(format!("The name {shown} is banned {}.", ban.details(now)));
        }
        if self.is_kept(name) { Ok(()) } else { Err(format!("The name {shown} is kept no longer.")) }
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
