//! The operator's commands about players: who is here, and who may not be, or not speak.

use std::fmt::Write as _;

use super::command::split_word;
use super::{Lobby, plural, printable};
use crate::address::canonical;
use crate::duration::{in_words, parse_duration};
use crate::names::{self, BadName, Name};
use crate::store::{Ban, Bans, Table, Target};
use crate::world::{Turn, UserId};

/// The longest list of bans that is shown.
const MAX_SHOWN: usize = 200;

/// The length of a ban, in seconds. As for `shutdown`, a number alone is seconds. What begins like a length is one: a slip
/// of the finger must not become a ban without an end.
fn ban_seconds(typed: &str) -> Result<u64, String> {
    let seconds = parse_duration(typed).or_else(|| parse_duration(&format!("{typed}s")));
    seconds.ok_or_else(|| {
        format!(
            "'{}' is not a length of time: write a number and s, m, h, d or w, such as 90s or 2d, up to ten years. A \
             reason does not begin with a digit.",
            printable(typed)
        )
    })
}

impl Lobby {
    /// The connected users, for the operator.
    pub(super) fn users(&self) -> String {
        let mut list = match self.guests.len() {
            0 => return "Nobody is connected.\n".to_string(),
            count => format!("{} connected:\n", plural(count, "", "One is", "are")),
        };
        for (user, guest) in &self.guests {
            let name = guest.name().unwrap_or("(no name yet)");
            list.push_str(&format!("  {user} {name} from {} ({})\n", guest.info.peer, guest.info.kind));
        }
        list
    }

    /// The user that the operator means: a name, or `#NUMBER`.
    fn user_called(&self, whom: &str) -> Option<UserId> {
        let number = whom.strip_prefix('#').and_then(|number| number.parse().ok()).map(UserId);
        let user = number.or_else(|| self.names.get(&names::key(whom)).copied());
        user.filter(|user| self.guests.contains_key(user))
    }

    /// `tell NAME TEXT`.
    pub(super) fn tell_by_operator(&self, turn: &mut Turn<'_>, whom: &str, text: &str) {
        let Some(user) = self.user_called(whom) else {
            return turn.console(format!("Nobody here is called {}.\n", printable(whom)));
        };
        turn.send(user, format!("The operator tells you: {}\n", printable(text)));
        turn.console(format!("Told {}.\n", printable(whom)));
    }

    /// `kick NAME REASON`.
    pub(super) fn kick(&mut self, turn: &mut Turn<'_>, whom: &str, reason: &str) {
        let Some(user) = self.user_called(whom) else {
            return turn.console(format!("Nobody here is called {}.\n", printable(whom)));
        };
        self.log(user, "the operator disconnected");
        turn.send(
            user,
            match &*printable(reason) {
                "" => "\nThe operator has disconnected you.\n".to_string(),
                reason => format!("\nThe operator has disconnected you: {reason}.\n"),
            },
        );
        turn.disconnect(user);
        turn.console(format!("{} was disconnected.\n", printable(whom)));
    }

    /// `rename OLD NEW`. A kept name keeps its password.
    pub(super) fn rename(&mut self, turn: &mut Turn<'_>, whom: &str, typed: &str) {
        let old = self
            .user_called(whom)
            .and_then(|user| Some((user, self.guests.get(&user)?.character()?.name.clone())));
        let Some((user, old)) = old else {
            return turn.console(format!("Nobody here is called {}.\n", printable(whom)));
        };
        let new = match Name::check_kept(typed) {
            // The player may have a name that was reserved since.
            Ok(new) if new.is_reserved() && new.key() != old.key() => Err(BadName::Reserved),
            checked => checked,
        };
        let new = match new {
            Ok(new) => new,
            Err(reason) => return turn.console(format!("{reason}\n")),
        };
        // The own name in another case is similar to itself, and perhaps to others.
        let present = self.names.all_similar(&new).map(|(name, _)| name);
        let kept = self.store.accounts().all_similar(&new).map(|(name, _)| name);
        if present.chain(kept).any(|name| name.key() != old.key()) {
            return turn.console(format!("{} is taken, or looks like a name that is.\n", new.shown()));
        }
        // If it is kept.
        self.store.change_accounts(|accounts| accounts.rename(old.key(), &new));
        self.log(user, &format!("the operator renamed to {}", new.shown()));
        self.names.remove(old.key());
        self.names.insert(new.clone(), user);
        if let Some(character) = self.guests.get_mut(&user).and_then(|guest| guest.character_mut()) {
            character.name = new.clone().into();
        }
        turn.logged_on(user);
        let text = format!("{} is called {} now.\n", old.shown(), new.shown());
        turn.send(user, format!("The operator calls you {} now.\n", new.shown()));
        self.show_others(turn, user, text.as_str());
        turn.console(text);
        self.save(turn);
    }

    /// The target of a ban: an address, a network, a name, or `#NUMBER` for the address of a user.
    fn target(&self, typed: &str) -> Result<Target, String> {
        if let Some(number) = typed.strip_prefix('#') {
            let from = number.parse().ok().and_then(|number| self.from(UserId(number)));
            return match from {
                Some(from) => Ok(Target::Network(from.source)),
                None => Err(format!("Nobody has the number {}.", printable(typed))),
            };
        }
        // What a name looks like depends on its case.
        let present = self.names.name(&names::key(typed)).map_or(typed, Name::shown);
        Target::parse(present, self.limits.ipv6_prefix).map_err(|problem| problem.to_string())
    }

    /// A ban from the operator's words: `TARGET [LENGTH] [REASON]`.
    fn ban_of(&self, words: &str) -> Result<Ban, String> {
        let (typed, rest) = split_word(words);
        let target = self.target(typed)?;
        let since = self.clock.now();
        let (length, reason) = split_word(rest);
        let (until, reason) = if length.starts_with(|first: char| first.is_ascii_digit()) {
            (Some(since + ban_seconds(length)?), reason)
        } else {
            (None, rest)
        };
        Ok(Ban { target, reason: printable(reason).into_owned(), since, until })
    }

    /// The answer if the operator has also written the file of the bans or mutes, and the server would overwrite that.
    fn edited(&self, table: Table) -> Option<String> {
        let is_edited = self.store.was_edited(table);
        is_edited.then(|| {
            format!(
                "Somebody has changed {table}.jsonl since it was read; 'reload' first. Nothing is changed.\n"
            )
        })
    }

    /// The command `ban`.
    pub(super) fn ban_command(&mut self, turn: &mut Turn<'_>, words: &str) {
        if let Some(text) = self.edited(Table::Bans) {
            return turn.console(text);
        }
        let ban = match self.ban_of(words) {
            Ok(ban) => ban,
            Err(problem) => return turn.console(format!("{problem}\n")),
        };
        let text = format!("{} is banned {}.\n", ban.target, ban.details(ban.since));
        tracing::info!(target_ = %ban.target, reason = ban.reason, until = ban.until, "the operator banned");
        let now = ban.since;
        match self.store.change_bans(|bans| bans.add(ban, now)) {
            Ok(((), change)) => {
                let gone = match self.disconnect_banned(turn) {
                    0 => String::new(),
                    count => format!("{} disconnected.\n", plural(count, "", "One user was", "users were")),
                };
                self.console_when_saved(turn, change, text + &gone);
            }
            Err(problem) => turn.console(format!("{problem}\n")),
        }
    }

    /// Disconnects those who are banned, and returns how many there were.
    pub(super) fn disconnect_banned(&self, turn: &mut Turn<'_>) -> usize {
        let (bans, now) = (self.store.bans(), self.clock.now());
        let mut count = 0;
        for (&user, guest) in &self.guests {
            let name = guest.character().and_then(|character| bans.check_name(&character.name, now));
            if let Some(ban) = name.or_else(|| bans.check_address(guest.info.peer.ip(), now)) {
                tracing::info!(%user, peer = %guest.info.peer, ban = %ban.target, "disconnected: banned");
                turn.send(user, format!("\nYou are banned {}.\n", ban.details(now)));
                turn.disconnect(user);
                count += 1;
            }
        }
        count
    }

    /// The command `mute`.
    pub(super) fn mute_command(&mut self, turn: &mut Turn<'_>, words: &str) {
        if let Some(text) = self.edited(Table::Mutes) {
            return turn.console(text);
        }
        let ban = match self.ban_of(words) {
            Ok(ban) => ban,
            Err(problem) => return turn.console(format!("{problem}\n")),
        };
        let text = format!("{} is muted {}.\n", ban.target, ban.details(ban.since));
        tracing::info!(target_ = %ban.target, reason = ban.reason, until = ban.until, "the operator muted");
        let since = ban.since;
        match self.store.change_mutes(|mutes| mutes.add(ban, since)) {
            Ok(((), change)) => self.console_when_saved(turn, change, text),
            Err(problem) => turn.console(format!("{problem}\n")),
        }
    }

    /// The commands `unban` and `unmute`.
    pub(super) fn lift(&mut self, turn: &mut Turn<'_>, typed: &str, is_ban: bool) {
        if let Some(text) = self.edited(if is_ban { Table::Bans } else { Table::Mutes }) {
            return turn.console(text);
        }
        let target = match self.target(typed) {
            Ok(target) => target,
            Err(problem) => return turn.console(format!("{problem}\n")),
        };
        let remove = |bans: &mut Bans| bans.remove(&target).ok_or(());
        let removed = if is_ban { self.store.change_bans(remove) } else { self.store.change_mutes(remove) };
        let (banned, list) = if is_ban { ("banned", "bans") } else { ("muted", "mutes") };
        match removed {
            Ok((ban, change)) => {
                tracing::info!(target_ = %ban.target, "the operator lifted: no longer {banned}");
                let text = format!("{} is no longer {banned}.\n", ban.target);
                self.console_when_saved(turn, change, text);
            }
            // `ipv6 prefix` may have been another one, or a wider network is meant.
            Err(()) => turn.console(match self.ban_around(&target, is_ban) {
                Some(network) => format!("{target} is not {banned}, but is in {network}, which is.\n"),
                None => format!("{target} is not {banned}; '{list}' lists who is.\n"),
            }),
        }
    }

    /// The ban of a network around this one.
    fn ban_around(&self, target: &Target, is_ban: bool) -> Option<String> {
        let bans = if is_ban { self.store.bans() } else { self.store.mutes() };
        let Target::Network(network) = target else { return None };
        Some(bans.check_address(network.addr(), self.clock.now())?.target.to_string())
    }

    /// The commands `bans` and `mutes`.
    pub(super) fn list_bans(&self, is_ban: bool) -> String {
        let (bans, word) = if is_ban { (self.store.bans(), "ban") } else { (self.store.mutes(), "mute") };
        let now = self.clock.now();
        let mut list = String::new();
        let current = || bans.iter().filter(|ban| !ban.has_expired(now));
        for ban in current().take(MAX_SHOWN) {
            // The operator who writes a ban into the file need not know the time.
            let since = match ban.since {
                0 => String::new(),
                since => format!(", since {}", in_words(now.saturating_sub(since))),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(list, "  {} {}{since}", ban.target, ban.details(now));
        }
        let more = current().count().saturating_sub(MAX_SHOWN);
        if more > 0 {
            let _ = writeln!(list, "  and {more} more");
        }
        if is_ban && !bans.list().is_empty() {
            let _ = writeln!(
                list,
                "  and {} of the ban list",
                plural(bans.list().len(), "", "one network", "networks")
            );
        }
        if list.is_empty() { format!("There are no {word}s.\n") } else { list }
    }

    /// Why this user may not speak, if so.
    pub(super) fn muted(&self, user: UserId, name: &Name) -> Option<String> {
        let now = self.clock.now();
        let mutes = self.store.mutes();
        let by_address = || mutes.check_address(canonical(self.guests.get(&user)?.info.peer.ip()), now);
        let mute = mutes.check_name(name, now).or_else(by_address)?;
        Some(format!("The operator has muted you {}.\n", mute.details(now)))
    }
}
