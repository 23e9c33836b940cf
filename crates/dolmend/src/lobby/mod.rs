//! The world in the package: one room where players meet and talk.
//!
//! It is the example of a [`World`], and the game of a fresh installation. It removes control characters from the
//! players' text before it shows the text to others, whatever the server below let through: a world must not depend on
//! the server for the safety of a terminal.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | the state, and the calls of the server |
//! | `guest.rs` | a connected user, and the character that the user plays |
//! | `login.rs` | names, passwords, and taking a character over from a dead link |
//! | `logins.rs` | passwords that wait to be verified |
//! | `arrivals.rs` | how many arrivals are shown to the others |
//! | `keeping.rs` | keeping a name with a password |
//! | `passwords.rs` | hashing and verifying |
//! | `attempts.rs` | what wrong passwords lead to |
//! | `clock.rs` | the time of day, which never goes back |
//! | `saving.rs` | work in other threads, and those who wait for it |
//! | `talk.rs` | what players say to each other |
//! | `line.rs` | a line in colours, and plain |
//! | `notes.rs` | the note board |
//! | `command.rs` | the parser for players' lines |
//! | `operator.rs` | the parser for the operator's lines, and the operator's password |
//! | `moderation.rs` | the operator's commands about players |

mod arrivals;
mod attempts;
mod clock;
pub mod command;
mod guest;
mod keeping;
mod line;
mod login;
mod logins;
mod moderation;
mod notes;
pub mod operator;
mod passwords;
mod saving;
mod talk;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use crate::address::Source;
use crate::config::{Config, Limits, PortKind};
use crate::names::{Name, Registry};
use crate::store::Store;
use crate::world::{Admission, Channels, Client, Colours, ConnectInfo, Departure, Turn, UserId, World};
use arrivals::Arrivals;
use attempts::Attempts;
use clock::Clock;
use command::Command;
use guest::{Guest, Stage};
use logins::Logins;
use operator::Operator;
use saving::{Done, Retries, Threads, Waiting};
use talk::History;

/// The prompt at which a newcomer types a name.
const NAME_PROMPT: &str = "By what name shall we call you? ";

/// The lobby.
#[derive(Debug)]
pub struct Lobby {
    /// The text for a newcomer, up to the prompt.
    greeting: Arc<str>,
    /// Every connected user. In the order of arrival, which lists and broadcasts follow.
    guests: BTreeMap<UserId, Guest>,
    /// The owner of each name in the game.
    names: Registry<UserId>,
    /// The channels, by the keys of their names.
    channels: talk::Channels,
    /// What was said to everybody.
    history: History,
    /// What is kept.
    store: Store,
    /// The threads, once the server has started the world.
    threads: Option<Threads>,
    /// The users who are told something when it is on the disk.
    waiting: Vec<Waiting>,
    retries: Retries,
    /// Everything was saved at the end, or could not be.
    has_finished: bool,
    attempts: Attempts,
    arrivals: Arrivals,
    logins: Logins,
    operator: Operator,
    clock: Clock,
    /// What counts as an address, and which addresses are exempt.
    limits: Limits,
}

impl Lobby {
    /// An empty lobby, with name and texts from the configuration, that forgets everything at its end.
    pub fn new(config: &Config) -> Lobby {
        Lobby::with_store(config, Store::in_memory())
    }

    /// An empty lobby with the bans, notes and names of a store.
    pub fn with_store(config: &Config, store: Store) -> Lobby {
        Lobby {
            greeting: greeting(config),
            guests: BTreeMap::new(),
            names: Registry::default(),
            channels: talk::Channels::default(),
            history: History::default(),
            store,
            threads: None,
            waiting: Vec::new(),
            retries: Retries::default(),
            has_finished: false,
            attempts: Attempts::default(),
            arrivals: Arrivals::default(),
            logins: Logins::default(),
            operator: Operator::default(),
            clock: Clock::new(),
            limits: config.limits.clone(),
        }
    }

    /// A line of a user who has a name.
    fn play(&mut self, turn: &mut Turn<'_>, user: UserId, name: &Name, line: &str) {
        let command = command::parse(line);
        let speaks = matches!(
            command,
            Command::Say(_)
                | Command::Emote(_)
                | Command::Tell(..)
                | Command::Channel(..)
                | Command::Join(_)
                | Command::Post(_)
        );
        if let Some(reason) = self.muted(user, name).filter(|_| speaks) {
            return turn.send(user, reason);
        }
        match command {
            Command::Nothing => {}
            Command::Say(text) => self.say(turn, user, name, text),
            Command::Emote(text) => self.emote(turn, user, name, text),
            Command::Tell(to, text) => self.tell(turn, user, name, to, text),
            Command::Who => turn.send(user, self.who(user)),
            Command::History(channel) => self.show_history(turn, user, channel),
            Command::Ignore(whom) => self.ignore(turn, user, name, whom),
            Command::Channels => turn.send(user, self.list_channels(user)),
            Command::Join(channel) => self.join(turn, user, channel),
            Command::Leave(channel) => self.leave(turn, user, channel),
            Command::Channel(channel, text) => self.speak_on_channel(turn, user, name, channel, text),
            Command::Notes => turn.send(user, self.list_notes(self.indent(user))),
            Command::Read(number) => turn.send(user, self.read_note(number)),
            Command::Post(text) => self.post(turn, user, name, text),
            Command::Remove(number) => self.remove_note(turn, user, name, number),
            Command::Keep => self.keep(turn, user),
            Command::Unkeep => self.unkeep(turn, user, name),
            Command::ScreenReader(on) => {
                self.set_screen_reader(turn, user, on);
                let text = if on { "Lists have one item a line.\n" } else { "Lists are as for everybody.\n" };
                turn.send(user, text);
            }
            Command::Help => turn.send(user, command::help(self.has_screen_reader(user))),
            Command::Quit => {
                turn.send(user, format!("Good-bye, {}.\n", name.shown()));
                turn.disconnect(user);
            }
            Command::Incomplete(usage) => turn.send(user, format!("Usage: {usage}\n")),
            Command::Unknown(word) => turn.send(user, unknown(word)),
        }
    }

    fn has_screen_reader(&self, user: UserId) -> bool {
        self.guests.get(&user).is_some_and(|guest| guest.screen_reader)
    }

    /// What stands before an item of a list.
    fn indent(&self, user: UserId) -> &'static str {
        if self.has_screen_reader(user) { "" } else { "  " }
    }

    /// From where a user comes.
    fn from(&self, user: UserId) -> Option<attempts::From> {
        let address = self.guests.get(&user)?.info.peer.ip();
        let Limits { no_limits, trusted_proxies, ipv6_prefix, .. } = &self.limits;
        Some(attempts::From {
            source: Source::of(address, *ipv6_prefix).network(),
            is_exempt: no_limits.contains(address) || trusted_proxies.contains(address),
        })
    }

    /// A line in the log about a user.
    fn log(&self, user: UserId, deed: &str) {
        if let Some(guest) = self.guests.get(&user) {
            tracing::info!(%user, peer = %guest.info.peer, "{deed}");
        }
    }

    /// Shows a text to every user who has a name, except one.
    fn show_others(&self, turn: &mut Turn<'_>, except: UserId, text: impl Into<Arc<str>>) {
        let text = text.into();
        if self.operator.watches() {
            turn.chatter(&*text);
        }
        for (&user, guest) in &self.guests {
            if user != except && guest.character().is_some() {
                turn.send(user, Arc::clone(&text));
            }
        }
    }
}

impl World for Lobby {
    fn started(&mut self, channels: &Channels<'_>) {
        self.threads = Some(Threads::new(channels));
    }

    fn results(&mut self, turn: &mut Turn<'_>) {
        self.take_results(turn);
    }

    fn timer_expired(&mut self, turn: &mut Turn<'_>) {
        self.retry_writes(turn);
    }

    fn has_login(&self) -> bool {
        true
    }

    fn name_of(&self, user: UserId) -> Option<&str> {
        self.guests.get(&user)?.name()
    }

    fn ban_of(&self, address: IpAddr) -> Option<String> {
        let now = self.clock.now();
        let ban = self.store.bans().check_address(address, now)?;
        Some(format!("Your address is banned {}.\n", ban.details(now)))
    }

    fn serves(kind: PortKind) -> bool {
        kind != PortKind::Binary
    }

    fn connect(&mut self, info: &ConnectInfo) -> Admission {
        if !Lobby::serves(info.kind) {
            return Admission::Refuse("This place is for people; it has no use for a binary port.\n".into());
        }
        self.guests.insert(info.user, Guest::new(*info));
        Admission::Accept
    }

    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId) {
        turn.send(user, Arc::clone(&self.greeting));
    }

    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str) {
        let Some(guest) = self.guests.get_mut(&user) else { return };
        if guest.answer() && line.is_empty() && matches!(guest.stage, Stage::Playing(_)) {
            turn.send(user, "You keep your name.\n");
        }
        match &guest.stage {
            Stage::Playing(character) => {
                let name = Rc::clone(&character.name);
                self.play(turn, user, &name, line);
            }
            Stage::Naming => self.choose_name(turn, user, line),
            Stage::Password(name) => {
                let name = name.clone();
                self.try_password(turn, user, name, line);
            }
            Stage::Choosing(_) => self.choose_password(turn, user, line),
            Stage::Repeating(_, first) => {
                let first = first.clone();
                self.repeat_password(turn, user, &first, line);
            }
            Stage::Verifying | Stage::Gone => {}
        }
    }

    fn terminal_type(&mut self, turn: &mut Turn<'_>, user: UserId, client: &Client) {
        if let Some(guest) = self.guests.get_mut(&user) {
            guest.has_colours = client.colours != Colours::None;
            guest.takes_channels = client.channels;
        }
        if client.screen_reader {
            self.set_screen_reader(turn, user, true);
        }
    }

    fn client_answered(&mut self, _: &mut Turn<'_>, user: UserId) {
        self.guests.get_mut(&user).map(Guest::answer);
    }

    fn takes_credentials(&self) -> bool {
        true
    }

    fn credentials(&mut self, turn: &mut Turn<'_>, user: UserId, account: &str, password: &str) {
        self.log_in(turn, user, account, password);
    }

    fn peer_named(&mut self, user: UserId, peer: SocketAddr) {
        if let Some(guest) = self.guests.get_mut(&user) {
            guest.info.peer = peer;
        }
    }

    fn net_dead(&mut self, turn: &mut Turn<'_>, user: UserId, why: Departure) {
        self.logins.forget(user);
        let Some(character) = self.guests.remove(&user).and_then(|mut guest| guest.take_character()) else {
            return;
        };
        self.names.remove(character.name.key());
        self.note_use(turn, character.name.key(), None);
        character.channels.iter().for_each(|key| self.one_fewer(key));
        // At the end of the server every user leaves, and no one is left to see it.
        if why != Departure::Shutdown && character.was_announced {
            self.show_others(turn, user, format!("{} has left.\n", character.name.shown()));
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        self.has_finished = true;
        self.save_all()
    }

    fn console_opened(&mut self, turn: &mut Turn<'_>, at_terminal: bool) {
        self.operator.opened(turn, at_terminal);
    }

    fn console_commands(&self) -> &'static [&'static str] {
        operator::COMMANDS
    }

    fn reconfigured(&mut self, turn: &mut Turn<'_>, config: &Config) -> Result<(), String> {
        let bans = self.store.read_bans_again()?;
        for dropped in self.store.replace_bans(bans) {
            tracing::warn!("{dropped}");
            turn.console(format!("{dropped}.\n"));
        }
        self.store.set_ban_list(config.banned_networks.clone());
        self.greeting = greeting(config);
        self.limits = config.limits.clone();
        let count = self.disconnect_banned(turn);
        if count > 0 {
            tracing::info!(users = count, "disconnected those who are banned now");
            let gone = plural(count, "", "One user is", "users are");
            turn.console(format!("{gone} banned now, and disconnected.\n"));
        }
        Ok(())
    }

    fn console_line(&mut self, turn: &mut Turn<'_>, line: &str) {
        use operator::Command;
        let Some(line) = self.operator.line(turn, line) else { return };
        match operator::parse(line) {
            Command::Nothing => {}
            Command::Users => turn.console(self.users()),
            Command::Say(text) => {
                let text = printable(text);
                turn.broadcast(format!("The operator says: {text}\n"));
                turn.console(match turn.users().len() {
                    0 => "No one is connected.\n".to_string(),
                    1 => "Told one user.\n".to_string(),
                    count => format!("Told {count} users.\n"),
                });
            }
            Command::Tell(whom, text) => self.tell_by_operator(turn, whom, text),
            Command::Kick(whom, reason) => self.kick(turn, whom, reason),
            Command::Ban(words) => self.ban_command(turn, words),
            Command::Unban(target) => self.lift(turn, target, true),
            Command::Bans => turn.console(self.list_bans(true)),
            Command::Mute(words) => self.mute_command(turn, words),
            Command::Unmute(target) => self.lift(turn, target, false),
            Command::Mutes => turn.console(self.list_bans(false)),
            Command::Rename(old, new) => self.rename(turn, old, new),
            Command::Notes => turn.console(self.list_notes("  ")),
            Command::Unpost(number) => self.unpost(turn, number),
            Command::Unkeep(name) => self.unkeep_by_operator(turn, name),
            Command::ResetPassword(name) => self.reset_password(turn, name),
            Command::Stats => turn.console(turn.status().to_string().replace(' ', "\n") + "\n"),
            Command::Hush(on) => self.operator.hush(turn, on),
            Command::Password => self.operator.choose_password(turn),
            Command::Quit => self.operator.quit(turn),
            Command::Shutdown => turn.shutdown(),
            Command::Operate(operation) => turn.operate(operation),
            Command::Lock => self.operator.lock(turn),
            Command::Help => turn.console(operator::HELP),
            Command::HelpFor(word) => turn.console(match operator::help_for(word) {
                text if text.is_empty() => unknown(word),
                text => text,
            }),
            Command::HelpBan => turn.console(operator::HELP_BAN),
            Command::Incomplete(usage) => turn.console(format!("Usage: {usage}\n")),
            Command::Unknown(word) => turn.console(unknown(word)),
        }
    }
}

/// The text for a newcomer.
fn greeting(config: &Config) -> Arc<str> {
    let motd = match &config.motd {
        Some(text) if !text.trim().is_empty() => format!("\n{}\n", text.trim_end()),
        _ => String::new(),
    };
    format!("Welcome to {}!\n{motd}\n{NAME_PROMPT}", config.mud_name).into()
}

/// The answer to a command that there is not.
fn unknown(word: &str) -> String {
    format!("There is no command '{}' here; 'help' lists what there is.\n", printable(word))
}

/// A number of things: the words for none and for one, and those that follow a greater number.
fn plural(count: usize, none: &str, one: &str, many: &str) -> String {
    match count {
        0 => none.to_string(),
        1 => one.to_string(),
        _ => format!("{count} {many}"),
    }
}

/// A text without control characters.
fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.chars().filter(|character| !character.is_control()).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests;
