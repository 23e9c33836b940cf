//! What players say to each other: to all, to one, and on channels; what was said; and whom a player does not hear.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::line::{Line, Part};
use super::{Lobby, plural, printable};
use crate::names::{self, Name};
use crate::world::{Turn, UserId};

/// How many lines of a conversation are remembered.
const MAX_HISTORY: usize = 50;

/// How many channels there may be, and how many of them for one player.
const MAX_CHANNELS: usize = 200;
const MAX_CHANNELS_EACH: usize = 10;

/// How many players one player may ignore.
const MAX_IGNORED: usize = 100;

/// A line that was said.
#[derive(Debug)]
struct Said {
    /// The key of the speaker.
    speaker: String,
    line: Line,
}

/// What was said, from the oldest line.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Said>);

impl History {
    fn push(&mut self, speaker: &str, line: Line) {
        if self.0.len() >= MAX_HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(Said { speaker: speaker.to_string(), line });
    }
}

/// A channel. It is there as long as somebody hears it.
#[derive(Debug)]
pub(super) struct Channel {
    name: String,
    members: usize,
    history: History,
}

/// The channels, by the keys of their names.
pub(super) type Channels = BTreeMap<String, Channel>;

impl Lobby {
    pub(super) fn say(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name, text: &str) {
        let text = printable(text);
        turn.send(user, format!("You say: {text}\n"));
        let line = Line::of(&[Part::Name(name.shown()), Part::Text(" says: "), Part::Text(&text)]);
        let hearers = self.speak(turn, user, name, line);
        self.show_apart(turn, hearers.into_iter().chain([user]), "say", name, &text);
    }

    /// Tells the clients that show channels apart what was said on one.
    fn show_apart(
        &self,
        turn: &mut Turn<'_>,
        hearers: impl IntoIterator<Item = UserId>,
        channel: &str,
        name: &Name,
        text: &str,
    ) {
        let takes = |user: &UserId| self.guests.get(user).is_some_and(|guest| guest.takes_channels);
        turn.channel(hearers.into_iter().filter(takes), channel, name.shown(), text);
    }

    pub(super) fn emote(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name, text: &str) {
        let line = Line::of(&[Part::Name(name.shown()), Part::Text(" "), Part::Text(&printable(text))]);
        if let Some(guest) = self.guests.get(&user) {
            turn.send(user, Arc::clone(line.text(guest)));
        }
        self.speak(turn, user, name, line);
    }

    /// Shows the others a line of a player's, and remembers it. Returns who hears it.
    fn speak(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name, line: Line) -> Vec<UserId> {
        let mut hearers = Vec::new();
        if self.operator.watches() {
            turn.chatter(&*line.plain);
        }
        for (&other, guest) in &self.guests {
            let hears = guest.character().is_some_and(|character| !character.ignored.contains(name.key()));
            if other != user && hears {
                turn.send(other, Arc::clone(line.text(guest)));
                hearers.push(other);
            }
        }
        self.history.push(name.key(), line);
        hearers
    }

    pub(super) fn tell(&self, turn: &mut Turn<'_>, user: UserId, name: &Name, to: &str, text: &str) {
        let text = printable(text);
        let other = self.names.get(&names::key(to)).copied();
        let guest = other.and_then(|other| self.guests.get(&other));
        match (other, guest.and_then(|guest| guest.character())) {
            (Some(other), _) if other == user => turn.send(user, format!("You tell yourself: {text}\n")),
            (Some(_), Some(character)) if character.ignored.contains(name.key()) => {
                turn.send(user, format!("{} does not listen to you.\n", character.name.shown()));
            }
            (Some(other), Some(character)) => {
                let said = [Part::Text(": "), Part::Text(&text)];
                let (you, them) = (Part::Name(name.shown()), Part::Name(character.name.shown()));
                let to_you = Line::of(&[&[Part::Text("You tell "), them], &said[..]].concat());
                let to_them = Line::of(&[&[you, Part::Text(" tells you")], &said[..]].concat());
                for (who, line) in [(user, to_you), (other, to_them)] {
                    if let Some(guest) = self.guests.get(&who) {
                        turn.send(who, Arc::clone(line.text(guest)));
                    }
                }
                self.show_apart(turn, [user, other], "tell", name, &text);
            }
            _ => turn.send(user, format!("Nobody here is called {}.\n", printable(to))),
        }
    }

    /// The list of players, for one of them.
    pub(super) fn who(&self, user: UserId) -> String {
        let plain = self.has_screen_reader(user);
        let mut list = format!("{} here:\n", self.here());
        for (id, guest) in &self.guests {
            let Some(name) = guest.name() else { continue };
            list.push_str(&match (plain, *id == user) {
                (false, false) => format!("  {name}\n"),
                (false, true) => format!("  {name} (you)\n"),
                (true, false) => format!("{name}\n"),
                (true, true) => format!("{name}, you\n"),
            });
        }
        list
    }

    pub(super) fn join(&mut self, turn: &mut Turn<'_>, user: UserId, typed: &str) {
        // A reserved word is fine for a channel.
        let Ok(name) = Name::check_kept(typed) else {
            return turn.send(user, "The name of a channel has the same letters as that of a player.\n");
        };
        let channel = name.shown().to_lowercase();
        let key = names::key(&channel);
        let room = self.channels.len() < MAX_CHANNELS || self.channels.contains_key(&key);
        let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.character_mut()) else {
            return;
        };
        if character.channels.contains(&key) {
            return turn.send(user, format!("You hear {channel} already.\n"));
        }
        if !room || character.channels.len() >= MAX_CHANNELS_EACH {
            return turn.send(user, "There is no room for another channel; leave one first.\n");
        }
        character.channels.insert(key.clone());
        let entry = self.channels.entry(key);
        let channel =
            entry.or_insert_with(|| Channel { name: channel, members: 0, history: History::default() });
        channel.members += 1;
        let name = &channel.name;
        turn.send(user, format!("You hear the channel {name}; '#{name} TEXT' speaks on it.\n"));
    }

    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, user: UserId, typed: &str) {
        let key = names::key(typed);
        let character = self.guests.get_mut(&user).and_then(|guest| guest.character_mut());
        if character.is_some_and(|character| character.channels.remove(&key)) {
            let left = self.channels.get(&key).map_or_else(String::new, |channel| channel.name.clone());
            self.one_fewer(&key);
            turn.send(user, format!("You hear {left} no longer.\n"));
        } else {
            turn.send(user, format!("You do not hear {}.\n", printable(typed)));
        }
    }

    /// A player has left a channel, or the game.
    pub(super) fn one_fewer(&mut self, key: &str) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.members -= 1;
        if channel.members == 0 {
            self.channels.remove(key);
        }
    }

    pub(super) fn list_channels(&self, user: UserId) -> String {
        let Some(character) = self.guests.get(&user).and_then(|guest| guest.character()) else {
            return String::new();
        };
        if self.channels.is_empty() {
            return "There are no channels; 'join NAME' makes one.\n".to_string();
        }
        let indent = self.indent(user);
        let mut list = format!("{}:\n", plural(self.channels.len(), "", "There is one channel", "channels"));
        for (key, channel) in &self.channels {
            let heard = if character.channels.contains(key) { ", which you hear" } else { "" };
            let players = plural(channel.members, "nobody", "one player", "players");
            list.push_str(&format!("{indent}{}: {players}{heard}\n", channel.name));
        }
        list
    }

    pub(super) fn speak_on_channel(
        &mut self,
        turn: &mut Turn<'_>,
        user: UserId,
        name: &Name,
        typed: &str,
        text: &str,
    ) {
        let key = names::key(typed);
        let hears = self.guests.get(&user).and_then(|guest| guest.character());
        if !hears.is_some_and(|character| character.channels.contains(&key)) {
            let typed = printable(typed);
            return turn.send(user, format!("You do not hear {typed}; 'join {typed}' first.\n"));
        }
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let text = printable(text);
        let line = Line::of(&[
            Part::Channel(&format!("[{}]", channel.name)),
            Part::Text(" "),
            Part::Name(name.shown()),
            Part::Text(": "),
            Part::Text(&text),
        ]);
        channel.history.push(name.key(), line.clone());
        let (channel, mut hearers) = (channel.name.clone(), Vec::new());
        if self.operator.watches() {
            turn.chatter(&*line.plain);
        }
        for (&other, guest) in &self.guests {
            let hears = guest.character().is_some_and(|character| {
                character.channels.contains(&key) && !character.ignored.contains(name.key())
            });
            if hears {
                turn.send(other, Arc::clone(line.text(guest)));
                hearers.push(other);
            }
        }
        self.show_apart(turn, hearers, &channel, name, &text);
    }

    /// What was said here, or on a channel.
    pub(super) fn show_history(&self, turn: &mut Turn<'_>, user: UserId, typed: &str) {
        let Some(guest) = self.guests.get(&user) else { return };
        let Some(character) = guest.character() else { return };
        let key = names::key(typed);
        let history = match self.channels.get(&key).filter(|_| character.channels.contains(&key)) {
            Some(channel) => &channel.history,
            None if typed.is_empty() => &self.history,
            None => return turn.send(user, format!("You do not hear {}.\n", printable(typed))),
        };
        let lines = history.0.iter().filter(|said| !character.ignored.contains(&said.speaker));
        let lines: String = lines.map(|said| &**said.line.text(guest)).collect();
        turn.send(user, if lines.is_empty() { "Nothing was said yet.\n".to_string() } else { lines });
    }

    pub(super) fn ignore(&mut self, turn: &mut Turn<'_>, user: UserId, own: &Name, typed: &str) {
        let indent = self.indent(user);
        let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.character_mut()) else {
            return;
        };
        if typed.is_empty() {
            if character.ignored.is_empty() {
                return turn.send(user, "You hear everybody.\n");
            }
            let mut list = "You do not hear:\n".to_string();
            for key in &character.ignored {
                let present = self.names.name(key).map_or(key.as_str(), Name::shown);
                list.push_str(&format!("{indent}{present}\n"));
            }
            return turn.send(user, list);
        }
        let key = names::key(typed);
        if key == own.key() {
            return turn.send(user, "You cannot help hearing yourself.\n");
        }
        let typed = printable(typed);
        if character.ignored.remove(&key) {
            return turn.send(user, format!("You hear {typed} again.\n"));
        }
        if character.ignored.len() >= MAX_IGNORED {
            return turn.send(user, "You ignore too many; hear one of them again first.\n");
        }
        if Name::check_kept(&typed).is_err() {
            return turn.send(user, format!("Nobody can be called {typed}.\n"));
        }
        character.ignored.insert(key);
        turn.send(user, format!("You do not hear {typed} any more; the same again undoes it.\n"));
    }
}
