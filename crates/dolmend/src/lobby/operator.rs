//! What the operator may type at the console, taken apart.

use super::command::split_word;

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
    /// Shut the server down.
    Shutdown,
    /// What can be typed?
    Help,
    /// A command that lacks something: how it is used.
    Incomplete(&'static str),
    /// Something else: its first word.
    Unknown(&'a str),
}

/// What `help` shows on the console.
pub const HELP: &str = "\
  users        who is connected, and from where; who is the same
  say TEXT     tell everybody; broadcast is the same
  kick NAME    disconnect a player, or #NUMBER for one without a name
  stats        what was counted since the start
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
            ("help", Command::Help),
            ("reboot now", Command::Unknown("reboot")),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }
}
