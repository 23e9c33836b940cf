//! The operator: what may be typed at the console, and who may type it.

use super::command::split_word;
use crate::world::Turn;

/// A line of the operator, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing was typed.
    Nothing,
    /// Who is connected, from where?
    Users,
    /// Tell everybody something.
    Say(&'a str),
    /// Disconnect a player.
    Kick(&'a str),
    /// What was counted?
    Stats,
    /// Choose a password.
    Password,
    /// Leave the console.
    Quit,
    /// Shut the server down.
    Shutdown,
    /// What can be typed?
    Help,
    /// A command that lacks something: how it is used.
    Incomplete(&'static str),
    /// Something else: its first word.
    Unknown(&'a str),
}

/// What stands before a line of the operator.
const PROMPT: &str = "> ";
/// How often a password may be wrong in a row.
const MOST_TRIES: u32 = 3;

/// What the console is in the middle of.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Taking commands.
    #[default]
    Present,
    /// The operator has left, and Enter comes back.
    Away,
    /// Coming back takes the password: how often it was wrong.
    Asked(u32),
    /// A password is being chosen.
    Choosing,
    /// A password was chosen and is typed again.
    Repeating(String),
}

/// The operator at the console.
#[derive(Debug, Default)]
pub struct Operator {
    at_terminal: bool,
    state: State,
    password: Option<String>,
}

impl Operator {
    /// A console was opened.
    pub fn opened(&mut self, turn: &mut Turn<'_>, at_terminal: bool) {
        self.at_terminal = at_terminal;
        turn.ask(PROMPT, true);
    }

    /// Whether somebody is there to see what the players do.
    pub fn watches(&self) -> bool {
        self.at_terminal && self.state == State::Present
    }

    /// A line was typed. Gives it back if it is a command.
    pub fn line<'a>(&mut self, turn: &mut Turn<'_>, line: &'a str) -> Option<&'a str> {
        match std::mem::take(&mut self.state) {
            State::Present => return Some(line),
            State::Away if self.password.is_some() => self.ask(turn, State::Asked(0), "Password: "),
            State::Away => self.come_back(turn),
            State::Asked(_) if self.password.as_deref() == Some(line) => self.come_back(turn),
            State::Asked(wrong) if wrong + 1 < MOST_TRIES => {
                turn.console("That is not the password.\n");
                self.ask(turn, State::Asked(wrong + 1), "Password: ");
            }
            State::Asked(_) => {
                turn.console("That is not the password.\n");
                self.leave(turn);
            }
            State::Choosing if line.is_empty() => {
                self.password = None;
                turn.console("There is no password any more.\n");
                turn.ask(PROMPT, true);
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
                turn.ask(PROMPT, true);
            }
        }
        None
    }

    /// The command `passwd`.
    pub fn choose_password(&mut self, turn: &mut Turn<'_>) {
        if self.at_terminal {
            self.ask(turn, State::Choosing, "New password (nothing for none): ");
        } else {
            turn.console("A password is for a terminal.\n");
        }
    }

    /// The command `quit`. The end of a script; a terminal is left.
    pub fn quit(&mut self, turn: &mut Turn<'_>) {
        if self.at_terminal {
            turn.console("Good-bye.\n");
            self.leave(turn);
        } else {
            turn.end_console();
        }
    }

    fn leave(&mut self, turn: &mut Turn<'_>) {
        self.state = State::Away;
        turn.ask("Press Enter to come back. ", false);
    }

    fn come_back(&mut self, turn: &mut Turn<'_>) {
        // First, so that nothing is typed unseen in answer to the welcome.
        turn.ask(PROMPT, true);
        turn.console("Welcome back; type 'help' for what you can do.\n");
    }

    fn ask(&mut self, turn: &mut Turn<'_>, state: State, prompt: &str) {
        self.state = state;
        turn.ask(prompt, false);
    }
}

/// What `help` shows on the console.
pub const HELP: &str = "  users        who is connected, and from where; who is the same
  say TEXT     tell everybody; broadcast is the same
  kick NAME    disconnect a player, or #NUMBER for one without a name
  stats        what was counted since the start
  passwd       choose a password for this console, until the server ends
  quit         leave the console; Enter comes back to it
  shutdown     tell everybody and end the server
  help         this list
";

/// Takes a line apart. Command words may be written in capitals.
pub fn parse(line: &str) -> Command<'_> {
    let (word, rest) = split_word(line.trim());
    match (word.to_lowercase().as_str(), rest) {
        ("", _) => Command::Nothing,
        ("users" | "who", _) => Command::Users,
        ("say" | "broadcast", "") => Command::Incomplete("say TEXT"),
        ("say" | "broadcast", text) => Command::Say(text),
        ("kick", "") => Command::Incomplete("kick NAME"),
        ("kick", name) => Command::Kick(name),
        ("stats", _) => Command::Stats,
        ("passwd", _) => Command::Password,
        ("quit", _) => Command::Quit,
        ("shutdown", _) => Command::Shutdown,
        ("help" | "?", _) => Command::Help,
        _ => Command::Unknown(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        for (line, command) in [
            ("", Command::Nothing),
            ("users", Command::Users),
            ("WHO", Command::Users),
            ("say back in ten minutes", Command::Say("back in ten minutes")),
            ("broadcast  hi", Command::Say("hi")),
            ("say ", Command::Incomplete("say TEXT")),
            ("kick Ann", Command::Kick("Ann")),
            ("kick", Command::Incomplete("kick NAME")),
            ("stats", Command::Stats),
            (" shutdown ", Command::Shutdown),
            ("passwd", Command::Password),
            ("QUIT", Command::Quit),
            ("help", Command::Help),
            ("reboot now", Command::Unknown("reboot")),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }
}
