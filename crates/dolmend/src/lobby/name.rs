//! Names of players.

use std::fmt;

/// The longest name, in characters.
const LONGEST_CHARS: usize = 20;

/// Names that could be mistaken for something else: the operator, the server, or a word that commands use.
const RESERVED: &[&str] = &[
    "admin",
    "administrator",
    "all",
    "anonymous",
    "console",
    "dolmen",
    "everybody",
    "everyone",
    "god",
    "guest",
    "help",
    "host",
    "me",
    "moderator",
    "myself",
    "nobody",
    "none",
    "operator",
    "quit",
    "root",
    "server",
    "somebody",
    "someone",
    "staff",
    "system",
    "the", // Every message of the lobby itself begins with it.
    "who",
    "wizard",
    "you",
];

/// Why a name is refused. Its text is for the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// The name is empty.
    Empty,
    /// It has too many characters.
    TooLong,
    /// It contains a character that is not allowed, or does not begin with a letter.
    NotLetters,
    /// It could be mistaken for a person or thing of the game.
    Reserved,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadName::Empty => f.write_str("Everybody here has a name."),
            BadName::TooLong => write!(f, "A name has at most {LONGEST_CHARS} letters."),
            BadName::NotLetters => f.write_str(
                "A name begins with a letter and has letters, digits, and ' or - between them, with no spaces.",
            ),
            BadName::Reserved => f.write_str("That name is reserved."),
        }
    }
}

/// Checks a typed name, and returns it as it will be shown.
pub fn check(typed: &str) -> Result<&str, BadName> {
    let name = typed.trim();
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.chars().count() > LONGEST_CHARS {
        return Err(BadName::TooLong);
    }
    let joins = |character: char| character == '\'' || character == '-';
    let mut before = None;
    for character in name.chars() {
        let fits = if joins(character) || character.is_numeric() {
            before.is_some_and(|other| !(joins(character) && joins(other)))
        } else {
            character.is_alphabetic()
        };
        if !fits {
            return Err(BadName::NotLetters);
        }
        before = Some(character);
    }
    if before.is_some_and(joins) {
        return Err(BadName::NotLetters);
    }
    if RESERVED.contains(&key(name).as_str()) {
        return Err(BadName::Reserved);
    }
    Ok(name)
}

/// The form in which two equal names compare equal.
pub fn key(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_scripts_are_fine() {
        for name in
            ["a", "Ann", "Åsa", "Ольга", "美咲", "O'Neil", "Jean-Luc", "R2D2", "नेहा", "abcdefghijklmnopqrst"]
        {
            assert_eq!(check(name), Ok(name));
        }
        assert_eq!(check("  Ann \t"), Ok("Ann"));
    }

    #[test]
    fn others_are_refused_for_a_reason() {
        for (name, reason) in [
            ("", BadName::Empty),
            ("   ", BadName::Empty),
            ("abcdefghijklmnopqrstu", BadName::TooLong),
            ("two words", BadName::NotLetters),
            ("1up", BadName::NotLetters),
            ("-x", BadName::NotLetters),
            ("x-", BadName::NotLetters),
            ("x--y", BadName::NotLetters),
            ("a\u{1b}[31m", BadName::NotLetters),
            ("a\u{202e}b", BadName::NotLetters),
            ("a\u{200b}b", BadName::NotLetters),
            ("\u{fffd}", BadName::NotLetters),
            ("😀", BadName::NotLetters),
            ("Root", BadName::Reserved),
            ("OPERATOR", BadName::Reserved),
        ] {
            assert_eq!(check(name), Err(reason), "{name:?}");
        }
    }

    #[test]
    fn case_does_not_make_another_name() {
        assert_eq!(key("ÅSA"), key("åsa"));
        assert_ne!(key("Asa"), key("Åsa"));
    }

    #[test]
    fn every_reserved_name_is_spelt_as_it_is_compared() {
        for name in RESERVED {
            assert_eq!(key(name), *name);
        }
    }
}
