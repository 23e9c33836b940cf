//! The operator: the commands of the console, and its password.

use std::time::Duration;

use super::command::split_word;
use super::passwords;
use crate::config;
use crate::world::{Operation, Turn};

/// A parsed line of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// An empty line.
    Nothing,
    /// List the connected users and their addresses.
    Users,
    /// Send a text to all users.
    Say(&'a str),
    /// Send a text to one user: the user, and the text.
    Tell(&'a str, &'a str),
    /// Disconnect a player: who, and perhaps why.
    Kick(&'a str, &'a str),
    /// Let an address, a network or a name not in: the target, and perhaps for how long and why.
    Ban(&'a str),
    /// Let it in again.
    Unban(&'a str),
    /// List who may not come in.
    Bans,
    /// Let a name or an address not speak.
    Mute(&'a str),
    /// Let it speak again.
    Unmute(&'a str),
    /// List who may not speak.
    Mutes,
    /// Give a player another name: the old one and the new one.
    Rename(&'a str, &'a str),
    /// List the notes on the board.
    Notes,
    /// Remove a note.
    Unpost(&'a str),
    /// Keep a name no longer.
    Unkeep(&'a str),
    /// Give a kept name a new password.
    ResetPassword(&'a str),
    /// Show the counters.
    Stats,
    /// Show neither players' messages nor the log, or show them again.
    Hush(bool),
    /// Choose a password.
    Password,
    /// Leave the console.
    Quit,
    /// Lock the console.
    Lock,
    /// Shut the server down.
    Shutdown,
    /// Something that the server itself does.
    Operate(Operation),
    /// List the commands.
    Help,
    /// Explain one command.
    HelpFor(&'a str),
    /// Explain bans.
    HelpBan,
    /// An incomplete command: its usage.
    Incomplete(&'static str),
    /// An unknown command: its first word.
    Unknown(&'a str),
}

/// The prompt for the operator.
const PROMPT: &str = "> ";
/// The prompt that reminds of what is not shown.
const HUSHED_PROMPT: &str = "hushed> ";
/// The longest time between two tries of a password.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The state of the dialogue at the console.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Taking commands.
    #[default]
    Present,
    /// The operator has left; Enter starts the return.
    Away,
    /// The return needs the password.
    Asked,
    /// The operator is choosing a password.
    Choosing,
    /// The operator has chosen a password and types it again.
    Repeating(String),
}

/// The operator at the console.
#[derive(Debug, Default)]
pub struct Operator {
    at_terminal: bool,
    state: State,
    password: Option<String>,
    /// Wrong passwords since the right one.
    wrong: u32,
    /// Before this time of the server, no password is checked.
    locked_until: Duration,
    hushed: bool,
}

impl Operator {
    /// The console was opened.
    pub fn opened(&mut self, turn: &mut Turn<'_>, at_terminal: bool) {
        self.at_terminal = at_terminal;
        turn.ask(self.prompt(), true);
    }

    /// Whether the operator is present to see the players' actions.
    pub fn watches(&self) -> bool {
        self.at_terminal && self.state == State::Present
    }

    /// A line was typed. Returns it if it is a command.
    pub fn line<'a>(&mut self, turn: &mut Turn<'_>, line: &'a str) -> Option<&'a str> {
        match std::mem::take(&mut self.state) {
            State::Present => return Some(line),
            State::Away if self.password.is_some() => self.ask(turn, State::Asked, "Password: "),
            State::Away => self.come_back(turn),
            State::Asked => self.try_password(turn, line),
            State::Choosing if line.is_empty() => {
                self.password = None;
                turn.console("There is no password any more.\n");
                turn.ask(self.prompt(), true);
            }
            State::Choosing if passwords::check(line).is_err() => {
                let problem = passwords::check(line).err().unwrap_or_default();
                turn.console(format!("{problem} Nothing is changed.\n"));
                turn.ask(self.prompt(), true);
            }
            State::Choosing => self.ask(turn, State::Repeating(line.to_string()), "The same again: "),
            State::Repeating(password) => {
                let same = password == line;
                if same {
                    self.password = Some(password);
                }
                turn.console(if same {
                    "The password is set.\n"
                } else {
                    "These differ. Nothing is changed.\n"
                });
                turn.ask(self.prompt(), true);
            }
        }
        None
    }

    /// A password was typed. After each wrong one the next is checked later, whether it is right or not.
    fn try_password(&mut self, turn: &mut Turn<'_>, line: &str) {
        let now = turn.status().uptime;
        let left = self.locked_until.saturating_sub(now);
        if !left.is_zero() {
            turn.console(format!("Too early; try again in {} s.\n", left.as_secs() + 1));
        } else if self.password.as_deref() == Some(line) {
            self.wrong = 0;
            turn.operate(Operation::Lock(false));
            return self.come_back(turn);
        } else {
            self.wrong += 1;
            self.locked_until = now + delay_after(self.wrong);
            tracing::warn!(wrong = self.wrong, "wrong password at the console");
            turn.console("That is not the password.\n");
        }
        self.ask(turn, State::Asked, "Password: ");
    }

    /// The command `lock`.
    pub fn lock(&mut self, turn: &mut Turn<'_>) {
        if !self.at_terminal {
            turn.console("There is no terminal to lock.\n");
        } else if self.password.is_none() {
            turn.console("Choose a password first, with 'passwd'.\n");
        } else {
            self.leave(turn);
        }
    }

    /// The command `hush`.
    pub fn hush(&mut self, turn: &mut Turn<'_>, on: bool) {
        self.hushed = on;
        turn.hush(on);
        turn.ask(self.prompt(), true);
    }

    fn prompt(&self) -> &'static str {
        if self.hushed { HUSHED_PROMPT } else { PROMPT }
    }

    /// The command `passwd`.
    pub fn choose_password(&mut self, turn: &mut Turn<'_>) {
        if self.at_terminal {
            self.ask(turn, State::Choosing, "New password (nothing for none): ");
        } else {
            turn.console("A password is for a terminal.\n");
        }
    }

    /// The command `quit`. It ends a script, and leaves a terminal.
    pub fn quit(&mut self, turn: &mut Turn<'_>) {
        if self.at_terminal {
            if self.password.is_none() {
                turn.console("Good-bye.\n");
            }
            self.leave(turn);
        } else {
            turn.end_console();
        }
    }

    /// The console is locked if there is a password.
    fn leave(&mut self, turn: &mut Turn<'_>) {
        self.state = State::Away;
        if self.password.is_some() {
            turn.console("The console is locked.\n");
            turn.operate(Operation::Lock(true));
        }
        turn.ask("Press Enter to come back. ", false);
    }

    fn come_back(&mut self, turn: &mut Turn<'_>) {
        // First, so that the operator's next input is visible after the welcome.
        turn.ask(self.prompt(), true);
        turn.console("Welcome back; type 'help' for what you can do.\n");
    }

    fn ask(&mut self, turn: &mut Turn<'_>, state: State, prompt: &str) {
        self.state = state;
        turn.ask(prompt, false);
    }
}

/// The time to the next try, after so many wrong passwords.
fn delay_after(wrong: u32) -> Duration {
    Duration::from_secs(1 << wrong.saturating_sub(1).min(6)).min(LONGEST_DELAY)
}

/// The output of `help` on the console.
pub const HELP: &str = concat!(
    "  users            who is connected, and from where; who is the same\n",
    "  say TEXT         tell everybody; broadcast is the same\n",
    "  tell NAME TEXT   tell one player, or #NUMBER\n",
    "  kick NAME [WHY]  disconnect a player, or #NUMBER for one without a name\n",
    "  ban WHAT         let in no longer; unban WHAT, bans: see help ban\n",
    "  mute WHAT        let speak no longer; unmute WHAT, mutes\n",
    "  rename A B       give player A the name B\n",
    "  notes            the notes on the board; unpost N removes one\n",
    "  unkeep NAME      let others have a kept name\n",
    "  password NAME    give a kept name a new password, which is shown\n",
    "  stats            counters since the start\n",
    "  hush             show neither players nor the log, except warnings; hush off shows them\n",
    "  loglevel LEVEL   log error, warn, info, debug or trace, until the next reload\n",
    "  reload           read the configuration again, and open the log file anew\n",
    "  passwd           choose a password for this console, until the server ends\n",
    "  lock             lock the console: only the password opens it\n",
    "  quit             leave the console; Enter comes back, with the password if there is one\n",
    "  shutdown [TIME]  tell everybody and end the server, after 60, 60s or 2m; shutdown cancel\n",
    "  help             this list\n",
);

/// The words of a line of the help.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

/// The lines of [`HELP`] about this command: its own, or else those that mention it. Nothing for a word that is no command.
pub fn help_for(word: &str) -> String {
    let word = word.to_lowercase();
    if !COMMANDS.contains(&&*word) {
        return String::new();
    }
    let own = |line: &&&str| words(line).next() == Some(&word);
    let mentions = |line: &&&str| words(line).any(|other| other == word);
    let lines: Vec<&str> = HELP.split_inclusive('\n').collect();
    match lines.iter().find(own) {
        Some(line) => (*line).to_string(),
        None => lines.iter().filter(mentions).copied().collect(),
    }
}

/// The output of `help ban` on the console.
pub const HELP_BAN: &str = "ban WHAT [LENGTH] [REASON], mute WHAT [LENGTH] [REASON]
WHAT is an address, a network such as 192.0.2.0/24, a name, or #NUMBER for the
address of a user. An IPv6 address means its network, as long as `ipv6 prefix`.
LENGTH is a number and s, m, h, d or w, such as 2d; without one it lasts until
unban WHAT or unmute WHAT.
";

/// The first words of the commands, for completion.
pub const COMMANDS: &[&str] = &[
    "ban",
    "bans",
    "broadcast",
    "help",
    "hush",
    "kick",
    "lock",
    "loglevel",
    "mute",
    "mutes",
    "notes",
    "passwd",
    "password",
    "quit",
    "reload",
    "rename",
    "say",
    "shutdown",
    "stats",
    "tell",
    "unban",
    "unkeep",
    "unmute",
    "unpost",
    "users",
    "who",
];

/// Parses a line. Command words may be written in capitals.
pub fn parse(line: &str) -> Command<'_> {
    let (word, rest) = split_word(line.trim());
    match (word.to_lowercase().as_str(), rest) {
        ("", _) => Command::Nothing,
        ("users" | "who", _) => Command::Users,
        ("say" | "broadcast", "") => Command::Incomplete("say TEXT"),
        ("say" | "broadcast", text) => Command::Say(text),
        ("tell", words) => match split_word(words) {
            ("", _) | (_, "") => Command::Incomplete("tell NAME TEXT"),
            (whom, text) => Command::Tell(whom, text),
        },
        ("kick", "") => Command::Incomplete("kick NAME [REASON]"),
        ("kick", words) => {
            let (name, reason) = split_word(words);
            Command::Kick(name, reason)
        }
        ("ban", "") => Command::Incomplete("ban ADDRESS|NETWORK|NAME|#NUMBER [LENGTH] [REASON]"),
        ("ban", words) => Command::Ban(words),
        ("unban", "") => Command::Incomplete("unban ADDRESS|NETWORK|NAME"),
        ("unban", target) => Command::Unban(target),
        ("bans", _) => Command::Bans,
        ("mute", "") => Command::Incomplete("mute NAME|ADDRESS|NETWORK|#NUMBER [LENGTH] [REASON]"),
        ("mute", words) => Command::Mute(words),
        ("unmute", "") => Command::Incomplete("unmute NAME|ADDRESS|NETWORK"),
        ("unmute", target) => Command::Unmute(target),
        ("mutes", _) => Command::Mutes,
        ("rename", words) => match split_word(words) {
            ("", _) | (_, "") => Command::Incomplete("rename OLD NEW"),
            (old, new) => Command::Rename(old, new),
        },
        ("notes", _) => Command::Notes,
        ("unpost", "") => Command::Incomplete("unpost NUMBER"),
        ("unpost", number) => Command::Unpost(number),
        ("unkeep", "") => Command::Incomplete("unkeep NAME"),
        ("unkeep", name) => Command::Unkeep(name),
        ("password", "") => Command::Incomplete("password NAME"),
        ("password", name) => Command::ResetPassword(name),
        ("stats", _) => Command::Stats,
        ("hush", "" | "on") => Command::Hush(true),
        ("hush", "off") => Command::Hush(false),
        ("hush", _) => Command::Incomplete("hush [on|off]"),
        ("passwd", _) => Command::Password,
        ("quit", _) => Command::Quit,
        ("lock", _) => Command::Lock,
        ("reload", _) => Command::Operate(Operation::Reload),
        ("loglevel", level) => match level.parse() {
            Ok(level) => Command::Operate(Operation::LogLevel(level)),
            Err(_) => Command::Incomplete("loglevel error|warn|info|debug|trace"),
        },
        ("shutdown", "" | "now") => Command::Shutdown,
        ("shutdown", "cancel") => Command::Operate(Operation::CancelShutdown),
        ("shutdown", time) => match config::time(time) {
            Ok(Some(time)) => Command::Operate(Operation::ShutdownIn(time)),
            _ => Command::Incomplete("shutdown [TIME|cancel], with a time such as 60, 60s or 2m"),
        },
        ("help" | "?", "ban" | "mute") => Command::HelpBan,
        ("help" | "?", "") => Command::Help,
        ("help" | "?", word) => Command::HelpFor(word),
        _ => Command::Unknown(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_that_is_completed_is_one() {
        for word in COMMANDS {
            assert!(!matches!(parse(word), Command::Unknown(_)), "{word}");
            assert!(HELP.contains(word), "{word}");
        }
    }

    #[test]
    fn each_command_of_the_help_is_completed() {
        for line in HELP.lines() {
            let word = line.split_whitespace().next().expect("a command");
            assert!(COMMANDS.contains(&word), "{word}");
        }
    }

    #[test]
    fn each_command_has_a_help_of_its_own_that_is_short() {
        for word in COMMANDS {
            let help = help_for(word);
            assert!((1..=2).contains(&help.lines().count()) && help.contains(word), "{word}: {help}");
        }
        assert!(help_for("HUSH").starts_with("  hush "));
        assert!(help_for("unban").starts_with("  ban WHAT"));
        assert_eq!(help_for("frobnicate"), "");
    }

    #[test]
    fn each_line_of_the_help_is_indented() {
        assert!(HELP.lines().all(|line| line.starts_with("  ") && line.len() <= 90), "{HELP}");
    }

    #[test]
    fn the_time_between_two_tries_grows_to_a_minute() {
        let delays: Vec<u64> = (1..=9).map(|wrong| delay_after(wrong).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn lines_are_understood() {
        for (line, command) in [
            ("", Command::Nothing),
            ("users", Command::Users),
            ("WHO", Command::Users),
            ("say back in ten minutes", Command::Say("back in ten minutes")),
            ("broadcast  hi", Command::Say("hi")),
            ("say ", Command::Incomplete("say TEXT")),
            ("kick Ann", Command::Kick("Ann", "")),
            ("kick Ann because of that", Command::Kick("Ann", "because of that")),
            ("kick", Command::Incomplete("kick NAME [REASON]")),
            ("tell Ann  come here", Command::Tell("Ann", "come here")),
            ("tell Ann", Command::Incomplete("tell NAME TEXT")),
            ("help hush", Command::HelpFor("hush")),
            ("stats", Command::Stats),
            ("ban 192.0.2.1 2d spam", Command::Ban("192.0.2.1 2d spam")),
            ("unban Ann", Command::Unban("Ann")),
            ("bans", Command::Bans),
            ("mute Ann", Command::Mute("Ann")),
            ("mute", Command::Incomplete("mute NAME|ADDRESS|NETWORK|#NUMBER [LENGTH] [REASON]")),
            ("unmute Ann", Command::Unmute("Ann")),
            ("mutes", Command::Mutes),
            ("rename Ann Bob", Command::Rename("Ann", "Bob")),
            ("rename Ann", Command::Incomplete("rename OLD NEW")),
            ("notes", Command::Notes),
            ("unpost 3", Command::Unpost("3")),
            ("unkeep Ann", Command::Unkeep("Ann")),
            ("password Ann", Command::ResetPassword("Ann")),
            ("password", Command::Incomplete("password NAME")),
            ("hush", Command::Hush(true)),
            ("hush on", Command::Hush(true)),
            ("hush off", Command::Hush(false)),
            ("hush now", Command::Incomplete("hush [on|off]")),
            (" shutdown ", Command::Shutdown),
            ("shutdown 2m", Command::Operate(Operation::ShutdownIn(Duration::from_secs(120)))),
            ("shutdown cancel", Command::Operate(Operation::CancelShutdown)),
            (
                "shutdown soon",
                Command::Incomplete("shutdown [TIME|cancel], with a time such as 60, 60s or 2m"),
            ),
            ("lock", Command::Lock),
            ("RELOAD", Command::Operate(Operation::Reload)),
            ("loglevel debug", Command::Operate(Operation::LogLevel(config::LogLevel::Debug))),
            ("loglevel", Command::Incomplete("loglevel error|warn|info|debug|trace")),
            ("passwd", Command::Password),
            ("QUIT", Command::Quit),
            ("help", Command::Help),
            ("help ban", Command::HelpBan),
            ("reboot now", Command::Unknown("reboot")),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }
}
