//! The world in the package: one room where players meet and talk.
//!
//! It is the example of a [`World`], and the game of a fresh installation. It removes control characters from the
//! players' text before it shows the text to others, whatever the server below let through: a world must not depend on
//! the server for the safety of a terminal.

pub mod command;
pub mod name;
pub mod operator;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::config::Config;
use crate::world::{Admission, ConnectInfo, Departure, Operation, Turn, UserId, World};
use command::Command;
use operator::Operator;

/// The prompt at which a newcomer types a name.
const NAME_PROMPT: &str = "By what name shall we call you? ";

/// A connected user.
#[derive(Debug)]
struct Guest {
    info: ConnectInfo,
    /// `None` until the user has chosen a name.
    name: Option<Rc<str>>,
}

/// The text for a newcomer, up to the prompt.
fn greeting(config: &Config) -> Rc<str> {
    let motd = match &config.motd {
        Some(text) if !text.trim().is_empty() => format!("\n{}\n", text.trim_end()),
        _ => String::new(),
    };
    format!("Welcome to {}!\n{motd}\n{NAME_PROMPT}", config.mud_name).into()
}

/// The lobby.
#[derive(Debug)]
pub struct Lobby {
    /// The text for a newcomer, up to the prompt.
    greeting: Rc<str>,
    /// Every connected user. In the order of arrival, which lists and broadcasts follow.
    guests: BTreeMap<UserId, Guest>,
    /// The owner of each name, by the key of the name.
    names: HashMap<String, UserId>,
    operator: Operator,
}

impl Lobby {
    /// An empty lobby, with name and texts from the configuration.
    pub fn new(config: &Config) -> Lobby {
        Lobby {
            greeting: greeting(config),
            guests: BTreeMap::new(),
            names: HashMap::new(),
            operator: Operator::default(),
        }
    }

    /// A line of a user who has no name yet.
    fn choose_name(&mut self, turn: &mut Turn<'_>, user: UserId, typed: &str) {
        // A user who came to the wrong place must be able to leave.
        if typed.trim().eq_ignore_ascii_case("quit") {
            turn.send(user, "Good-bye.\n");
            turn.disconnect(user);
            return;
        }
        let name = match name::check(typed) {
            Ok(name) => name,
            Err(reason) => {
                turn.send(user, format!("{reason}\n{NAME_PROMPT}"));
                return;
            }
        };
        let key = name::key(name);
        if self.names.contains_key(&key) {
            turn.send(user, format!("Somebody here is called {name} already.\n{NAME_PROMPT}"));
            return;
        }
        let Some(guest) = self.guests.get_mut(&user) else { return };
        let name: Rc<str> = name.into();
        guest.name = Some(Rc::clone(&name));
        self.names.insert(key, user);
        turn.operate(Operation::Name { user, name: guest.name.as_deref().unwrap_or_default().to_owned() });

        let others = match self.names.len() - 1 {
            0 => "You are alone here".to_string(),
            1 => "One other is here".to_string(),
            count => format!("{count} others are here"),
        };
        turn.send(user, format!("Hello, {name}. {others}; type 'help' for what you can do.\n"));
        self.show_others(turn, user, format!("{name} has arrived.\n"));
    }

    /// A line of a user who has a name.
    fn play(&mut self, turn: &mut Turn<'_>, user: UserId, name: &str, line: &str) {
        match command::parse(line) {
            Command::Nothing => {}
            Command::Say(text) => {
                let text = printable(text);
                turn.send(user, format!("You say: {text}\n"));
                self.show_others(turn, user, format!("{name} says: {text}\n"));
            }
            Command::Emote(text) => {
                let text = printable(text);
                let line: Rc<str> = format!("{name} {text}\n").into();
                turn.send(user, Rc::clone(&line));
                self.show_others(turn, user, line);
            }
            Command::Tell(to, text) => self.tell(turn, user, name, to, text),
            Command::Who => turn.send(user, self.who(user)),
            Command::Help => turn.send(user, command::HELP),
            Command::Quit => {
                turn.send(user, format!("Good-bye, {name}.\n"));
                turn.disconnect(user);
            }
            Command::Incomplete(usage) => turn.send(user, format!("Usage: {usage}\n")),
            Command::Unknown(word) => {
                let word = printable(word);
                turn.send(user, format!("There is no command '{word}' here; 'help' lists what there is.\n"));
            }
        }
    }

    fn tell(&self, turn: &mut Turn<'_>, user: UserId, name: &str, to: &str, text: &str) {
        let text = printable(text);
        match self.names.get(&name::key(to)).map(|other| (*other, self.guests.get(other))) {
            Some((other, _)) if other == user => turn.send(user, format!("You tell yourself: {text}\n")),
            Some((other, Some(Guest { name: Some(to), .. }))) => {
                turn.send(user, format!("You tell {to}: {text}\n"));
                turn.send(other, format!("{name} tells you: {text}\n"));
            }
            _ => turn.send(user, format!("Nobody here is called {}.\n", printable(to))),
        }
    }

    /// The list of users who have a name, for one of them.
    fn who(&self, user: UserId) -> String {
        let mut list = match self.names.len() {
            1 => "One is here:\n".to_string(),
            count => format!("{count} are here:\n"),
        };
        for (id, guest) in &self.guests {
            if let Some(name) = &guest.name {
                let you = if *id == user { " (you)" } else { "" };
                list.push_str(&format!("  {name}{you}\n"));
            }
        }
        list
    }

    /// Shows a text to every user who has a name, except one.
    fn show_others(&self, turn: &mut Turn<'_>, except: UserId, text: impl Into<Rc<str>>) {
        let text = text.into();
        if self.operator.watches() {
            turn.chatter(&*text);
        }
        for (&user, guest) in &self.guests {
            if user != except && guest.name.is_some() {
                turn.send(user, Rc::clone(&text));
            }
        }
    }

    /// The connected users, for the operator.
    fn users(&self) -> String {
        let mut list = match self.guests.len() {
            0 => return "Nobody is connected.\n".to_string(),
            1 => "One is connected:\n".to_string(),
            count => format!("{count} are connected:\n"),
        };
        for (user, guest) in &self.guests {
            let name = guest.name.as_deref().unwrap_or("(no name yet)");
            list.push_str(&format!("  {user} {name} from {} ({})\n", guest.info.peer, guest.info.kind));
        }
        list
    }

    fn kick(&self, turn: &mut Turn<'_>, whom: &str) {
        let number = whom.strip_prefix('#').and_then(|number| number.parse().ok()).map(UserId);
        let user = number.or_else(|| self.names.get(&name::key(whom)).copied());
        match user.filter(|user| self.guests.contains_key(user)) {
            Some(user) => {
                turn.send(user, "\nThe operator has disconnected you.\n");
                turn.disconnect(user);
                turn.console(format!("{} was disconnected.\n", printable(whom)));
            }
            None => turn.console(format!("Nobody here is called {}.\n", printable(whom))),
        }
    }
}

impl World for Lobby {
    fn connect(&mut self, info: &ConnectInfo) -> Admission {
        self.guests.insert(info.user, Guest { info: *info, name: None });
        Admission::Accept
    }

    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId) {
        turn.send(user, Rc::clone(&self.greeting));
    }

    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str) {
        match self.guests.get(&user).map(|guest| guest.name.clone()) {
            Some(Some(name)) => self.play(turn, user, &name, line),
            Some(None) => self.choose_name(turn, user, line),
            None => {}
        }
    }

    fn net_dead(&mut self, turn: &mut Turn<'_>, user: UserId, why: Departure) {
        let Some(name) = self.guests.remove(&user).and_then(|guest| guest.name) else { return };
        self.names.remove(&name::key(&name));
        // At the end of the server every user leaves, and no one is left to see it.
        if why != Departure::Shutdown {
            self.show_others(turn, user, format!("{name} has left.\n"));
        }
    }

    fn console_opened(&mut self, turn: &mut Turn<'_>, at_terminal: bool) {
        self.operator.opened(turn, at_terminal);
    }

    fn console_commands(&self) -> &'static [&'static str] {
        &operator::COMMANDS
    }

    fn reconfigured(&mut self, config: &Config) {
        self.greeting = greeting(config);
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
            Command::Kick(whom) => self.kick(turn, whom),
            Command::Stats => turn.console(turn.status().to_string().replace(' ', "\n") + "\n"),
            Command::Hush(on) => self.operator.hush(turn, on),
            Command::Password => self.operator.choose_password(turn),
            Command::Quit => self.operator.quit(turn),
            Command::Shutdown => turn.shutdown(),
            Command::Operate(operation) => turn.operate(operation),
            Command::Lock => self.operator.lock(turn),
            Command::Help => turn.console(operator::HELP),
            Command::Incomplete(usage) => turn.console(format!("Usage: {usage}\n")),
            Command::Unknown(word) => {
                let word = printable(word);
                turn.console(format!("There is no command '{word}' here; 'help' lists what there is.\n"));
            }
        }
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
