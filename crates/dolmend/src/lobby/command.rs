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
    /// What was said, here or on a channel.
    History(&'a str),
    /// Hear a player no longer, or again; with no name, list them.
    Ignore(&'a str),
    /// List the channels.
    Channels,
    /// Hear a channel.
    Join(&'a str),
    /// Hear a channel no longer.
    Leave(&'a str),
    /// Speak on a channel: its name and the text.
    Channel(&'a str, &'a str),
    /// List the notes.
    Notes,
    /// Read a note.
    Read(&'a str),
    /// Pin a note to the board.
    Post(&'a str),
    /// Remove a note.
    Remove(&'a str),
    /// Keep the name with a password, or choose another.
    Keep,
    /// Keep the name no longer.
    Unkeep,
    /// Write for a screen reader, or not.
    ScreenReader(bool),
    /// List the commands.
    Help,
    /// Leave.
    Quit,
    /// An incomplete command: its usage.
    Incomplete(&'static str),
    /// An unknown command: its first word.
    Unknown(&'a str),
}

/// The commands and what they do, for `help`.
const COMMANDS: &[(&str, &str)] = &[
    ("say TEXT", "everybody hears it; 'TEXT is short for it"),
    ("tell NAME TEXT", "only NAME hears it"),
    ("emote TEXT", "everybody sees you do it; :TEXT is short for it"),
    ("who", "who is here"),
    ("history [CHANNEL]", "what was said, here or on a channel"),
    ("ignore [NAME]", "hear NAME no longer, or again"),
    ("channels", "the channels"),
    ("join CHANNEL", "hear a channel; 'leave CHANNEL' ends that"),
    ("#CHANNEL TEXT", "speak on a channel"),
    ("notes", "the notes on the board"),
    ("read NUMBER", "read a note"),
    ("post TEXT", "pin a note to the board, under a name that you keep"),
    ("remove NUMBER", "remove a note of yours"),
    ("keep", "keep your name with a password, or choose another one"),
    ("unkeep", "let others have your name"),
    ("screenreader [off]", "lists for a program that reads the screen aloud"),
    ("help", "this list"),
    ("quit", "good-bye"),
];

/// The output of `help`: in two columns, or for a screen reader.
pub fn help(screen_reader: bool) -> String {
    let line = |(usage, meaning): &(&str, &str)| match screen_reader {
        true => format!("{usage}: {meaning}\n"),
        false => format!("  {usage:<20}{meaning}\n"),
    };
    COMMANDS.iter().map(line).collect()
}

/// Parses a line. Command words may be written in capitals.
pub fn parse(line: &str) -> Command<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Command::Nothing;
    }
    for (sign, word) in [("'", "say"), (":", "emote"), ("#", "#")] {
        if let Some(rest) = line.strip_prefix(sign) {
            return parse_words(word, rest.trim());
        }
    }
    let (word, rest) = split_word(line);
    match parse_words(&word.to_lowercase(), rest) {
        Command::Unknown(_) => Command::Unknown(word),
        command => command,
    }
}

fn parse_words<'a>(word: &str, rest: &'a str) -> Command<'a> {
    match (word, rest) {
        ("say", "") => Command::Incomplete("say TEXT"),
        ("say", text) => Command::Say(text),
        ("emote", "") => Command::Incomplete("emote TEXT"),
        ("emote", text) => Command::Emote(text),
        ("tell", rest) => match split_word(rest) {
            ("", _) | (_, "") => Command::Incomplete("tell NAME TEXT"),
            (name, text) => Command::Tell(name, text),
        },
        ("who", _) => Command::Who,
        ("history", channel) => Command::History(channel),
        ("ignore", name) => Command::Ignore(name),
        ("channels", _) => Command::Channels,
        ("join", "") => Command::Incomplete("join CHANNEL"),
        ("join", channel) => Command::Join(channel),
        ("leave", "") => Command::Incomplete("leave CHANNEL"),
        ("leave", channel) => Command::Leave(channel),
        ("#", rest) => match split_word(rest) {
            ("", _) | (_, "") => Command::Incomplete("#CHANNEL TEXT"),
            (channel, text) => Command::Channel(channel, text),
        },
        ("notes", _) => Command::Notes,
        ("read", "") => Command::Incomplete("read NUMBER"),
        ("read", number) => Command::Read(number),
        ("post", "") => Command::Incomplete("post TEXT"),
        ("post", text) => Command::Post(text),
        ("remove", "") => Command::Incomplete("remove NUMBER"),
        ("remove", number) => Command::Remove(number),
        ("keep", _) => Command::Keep,
        ("unkeep", _) => Command::Unkeep,
        ("screenreader", "" | "on") => Command::ScreenReader(true),
        ("screenreader", "off") => Command::ScreenReader(false),
        ("screenreader", _) => Command::Incomplete("screenreader [on|off]"),
        ("help" | "?", _) => Command::Help,
        ("quit", _) => Command::Quit,
        _ => Command::Unknown(rest),
    }
}

/// The first word, and the rest.
pub fn split_word(line: &str) -> (&str, &str) {
    match line.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (line, ""),
    }
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
            ("history", Command::History("")),
            ("history Chat", Command::History("Chat")),
            ("ignore", Command::Ignore("")),
            ("ignore Bob", Command::Ignore("Bob")),
            ("channels", Command::Channels),
            ("join chat", Command::Join("chat")),
            ("leave", Command::Incomplete("leave CHANNEL")),
            ("#chat hello  all", Command::Channel("chat", "hello  all")),
            ("#chat", Command::Incomplete("#CHANNEL TEXT")),
            ("notes", Command::Notes),
            ("read 3", Command::Read("3")),
            ("post Hello, all", Command::Post("Hello, all")),
            ("remove", Command::Incomplete("remove NUMBER")),
            ("keep", Command::Keep),
            ("unkeep", Command::Unkeep),
            ("screenreader", Command::ScreenReader(true)),
            ("screenreader off", Command::ScreenReader(false)),
            ("screenreader maybe", Command::Incomplete("screenreader [on|off]")),
            ("Quit", Command::Quit),
            ("sayhi", Command::Unknown("sayhi")),
            ("é x", Command::Unknown("é")),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }

    #[test]
    fn each_command_of_the_help_is_one() {
        for (usage, _) in COMMANDS {
            let usage = usage.replace(['[', ']'], "");
            assert!(!matches!(parse(&usage), Command::Unknown(_) | Command::Incomplete(_)), "{usage}");
        }
        assert!(help(false).lines().all(|line| line.chars().count() <= 79));
        assert!(help(true).lines().all(|line| !line.contains("  ")));
    }
}
