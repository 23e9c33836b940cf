//! The parser for a player's line.

/// A parsed line of a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// An empty line.
    Nothing,
    /// Say something to all players.
    Say(&'a str),
    /// Say something to one player: the name and the text.
    Tell(&'a str, &'a str),
    /// Do something that all players see.
    Emote(&'a str),
    /// List the players.
    Who,
    /// List the commands.
    Help,
    /// Leave.
    Quit,
    /// An incomplete command: its usage.
    Incomplete(&'static str),
    /// An unknown command: its first word.
    Unknown(&'a str),
}

/// The output of `help`.
pub const HELP: &str = concat!(
    "  say TEXT         everybody hears it; 'TEXT is short for it\n",
    "  tell NAME TEXT   only NAME hears it\n",
    "  emote TEXT       everybody sees you do it; :TEXT is short for it\n",
    "  who              who is here\n",
    "  help             this list\n",
    "  quit             good-bye\n",
);

/// Parses a line. Command words may be written in capitals.
pub fn parse(line: &str) -> Command<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Command::Nothing;
    }
    if let Some(text) = line.strip_prefix('\'') {
        return say(text.trim());
    }
    if let Some(text) = line.strip_prefix(':') {
        return emote(text.trim());
    }
    let (word, rest) = split_word(line);
    match word.to_lowercase().as_str() {
        "say" => say(rest),
        "emote" => emote(rest),
        "tell" => match split_word(rest) {
            ("", _) | (_, "") => Command::Incomplete("tell NAME TEXT"),
            (name, text) => Command::Tell(name, text),
        },
        "who" => Command::Who,
        "help" | "?" => Command::Help,
        "quit" => Command::Quit,
        _ => Command::Unknown(word),
    }
}

/// The first word, and the rest.
pub fn split_word(line: &str) -> (&str, &str) {
    match line.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (line, ""),
    }
}

fn say(text: &str) -> Command<'_> {
    if text.is_empty() { Command::Incomplete("say TEXT") } else { Command::Say(text) }
}

fn emote(text: &str) -> Command<'_> {
    if text.is_empty() { Command::Incomplete("emote TEXT") } else { Command::Emote(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        for (line, command) in [
            ("", Command::Nothing),
            ("  \t", Command::Nothing),
            ("say hello  there ", Command::Say("hello  there")),
            ("SAY hi", Command::Say("hi")),
            ("'hi", Command::Say("hi")),
            ("' hi", Command::Say("hi")),
            ("say", Command::Incomplete("say TEXT")),
            ("'", Command::Incomplete("say TEXT")),
            ("tell Ann  how are you", Command::Tell("Ann", "how are you")),
            ("tell", Command::Incomplete("tell NAME TEXT")),
            ("tell Ann", Command::Incomplete("tell NAME TEXT")),
            ("tell Ann ", Command::Incomplete("tell NAME TEXT")),
            ("emote waves", Command::Emote("waves")),
            (":waves", Command::Emote("waves")),
            (":", Command::Incomplete("emote TEXT")),
            (" who ", Command::Who),
            ("?", Command::Help),
            ("Quit", Command::Quit),
            ("sayhi", Command::Unknown("sayhi")),
            ("é x", Command::Unknown("é")),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }
}
