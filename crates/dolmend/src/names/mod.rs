//! Names of players: which are allowed, and which look like others.
//!
//! A name is normalised (NFKC), so that full-width and ligature forms become the plain letters, and a letter with its
//! accents is the same however it was typed. Then it is checked. Letters and combining marks of every script are
//! welcome; characters that cannot be seen are not, and neither is a mix of scripts such as Latin and Cyrillic.
//!
//! Two names that look alike must not be two players. UTS 39 calls what a name looks like its *skeleton*: Cyrillic `А`
//! and Latin `A` have the same. Players do not distinguish case, but looks depend on it: `I` looks like `l`, and `i`
//! does not. So a name has two skeletons, one as it is written and one in small letters, and it is too similar to
//! another if any of the two are equal. Its key, by which it is found, is the name itself without differences of case.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | the check, and the texts of a refusal |
//! | `characters.rs` | which characters are invisible, and which scripts go together |
//! | `reserved.rs` | names that no player may have, and what could be taken for them |
//! | `registry.rs` | a map by names that finds similar ones |

mod characters;
mod registry;
mod reserved;

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::confusable_detection::skeleton;
use unicode_width::UnicodeWidthStr as _;

use characters::Class;
pub use registry::Registry;

/// The widest name, in columns of a terminal: 20 Latin letters, or 10 Chinese ones.
const MAX_WIDTH: usize = 20;

/// The longest name, in characters. Combining marks have no width.
const MAX_CHARS: usize = 40;

/// How many combining marks may follow each other. No language needs more; a tower of them covers other lines.
const MAX_MARKS: usize = 4;

/// Why a name is refused. Its text is for the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadName {
    /// The name is empty.
    Empty,
    /// It is too wide, or has too many characters.
    TooLong,
    /// It contains a character that is not allowed, or does not begin with a letter.
    NotLetters,
    /// It contains a character that cannot be seen.
    Invisible,
    /// It has more combining marks on a letter than any language.
    TooManyMarks,
    /// It mixes scripts whose letters look alike.
    MixedScripts,
    /// It could be mistaken for a person or thing of the game.
    Reserved,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadName::Empty => f.write_str("Everybody here has a name."),
            BadName::TooLong => write!(f, "A name has at most {MAX_WIDTH} letters, or half as many wide ones."),
            BadName::NotLetters => f.write_str(
                "A name begins with a letter and has letters, digits, and ' or - between them, with no spaces.",
            ),
            BadName::Invisible => {
                f.write_str("That name contains a character that cannot be seen. Please type it again without it.")
            }
            BadName::TooManyMarks => {
                write!(f, "A letter of a name has at most {MAX_MARKS} accents or other marks.")
            }
            BadName::MixedScripts => f.write_str(
                "That name mixes letters of different scripts, which can look alike. Please use one script only.",
            ),
            BadName::Reserved => f.write_str("That name is reserved."),
        }
    }
}

/// A name that passed the check.
///
/// ```
/// use dolmend::names::{BadName, Name};
///
/// assert_eq!(Name::check(" A\u{301}nna ")?.shown(), "\u{c1}nna");
/// assert_eq!(Name::check("Opеrator"), Err(BadName::MixedScripts)); // The е is Cyrillic.
/// # Ok::<(), BadName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    shown: String,
    key: String,
    /// The skeletons: in small letters, and as the name is written.
    looks: [String; 2],
}

impl Name {
    /// Checks a name that a player is to get. For one that a player may have, [`check_kept`](Name::check_kept).
    ///
    /// # Errors
    ///
    /// The reason why it is refused.
    pub fn check(typed: &str) -> Result<Name, BadName> {
        let name = Name::check_kept(typed)?;
        if name.is_reserved() { Err(BadName::Reserved) } else { Ok(name) }
    }

    /// Checks a name that may belong to a player already: a word that was reserved since takes it from no one.
    ///
    /// # Errors
    ///
    /// The reason why it is refused; never [`BadName::Reserved`].
    pub fn check_kept(typed: &str) -> Result<Name, BadName> {
        let shown = normalised(typed)?;
        check_characters(&shown)?;
        if !characters::scripts_go_together(&shown) {
            return Err(BadName::MixedScripts);
        }
        let key = key(&shown);
        Ok(Name { looks: [folded(skeleton(&key)), folded(skeleton(&shown))], key, shown })
    }

    /// The name as it is shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The form in which equal names compare equal: see [`key`].
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether no player may take this name, as it could be mistaken for a person or thing of the game.
    pub fn is_reserved(&self) -> bool {
        reserved::is_reserved(self)
    }

    /// What the name looks like.
    fn looks(&self) -> impl Iterator<Item = &str> {
        self.looks.iter().map(String::as_str)
    }
}

/// The form in which equal names compare equal, of a name that someone typed to mean a player.
pub fn key(typed: &str) -> String {
    // Longer ones are not names, and are equal to none.
    let typed: String = typed.trim().chars().take(4 * MAX_CHARS).collect();
    // A capital letter may have a form that is not normal.
    folded(straight(&typed).nfkc()).nfkc().collect()
}

/// The typed characters in normal form.
fn normalised(typed: &str) -> Result<String, BadName> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(BadName::Empty);
    }
    // One character becomes up to 18 others.
    if typed.chars().count() > 4 * MAX_CHARS {
        return Err(BadName::TooLong);
    }
    if typed.chars().any(characters::is_invisible) {
        return Err(BadName::Invisible);
    }
    Ok(straight(typed).nfkc().collect())
}

/// With the straight apostrophe and hyphen for those that telephones write.
fn straight(typed: &str) -> impl Iterator<Item = char> + '_ {
    typed.chars().map(|character| match character {
        '\u{2019}' | '\u{2bc}' => '\'',
        '\u{2010}' | '\u{2011}' => '-',
        other => other,
    })
}

fn check_characters(name: &str) -> Result<(), BadName> {
    let mut before = Class::Start;
    let mut marks = 0;
    for character in name.chars() {
        let class = characters::class(character);
        let fits = match class {
            Class::Letter => true,
            Class::Mark => matches!(before, Class::Letter | Class::Mark),
            Class::Digit => before != Class::Start,
            Class::Joiner => !matches!(before, Class::Start | Class::Joiner),
            Class::Invisible => return Err(BadName::Invisible),
            Class::Start | Class::Other => false,
        };
        if !fits {
            return Err(BadName::NotLetters);
        }
        marks = if class == Class::Mark { marks + 1 } else { 0 };
        if marks > MAX_MARKS {
            return Err(BadName::TooManyMarks);
        }
        before = class;
    }
    if before == Class::Joiner {
        return Err(BadName::NotLetters);
    }
    match name.width() {
        0 => Err(BadName::Invisible),
        width if width > MAX_WIDTH || name.chars().count() > MAX_CHARS => Err(BadName::TooLong),
        _ => Ok(()),
    }
}

/// Without differences of case. By way of the capital letters: both small forms of sigma have the same.
fn folded(characters: impl Iterator<Item = char>) -> String {
    characters.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
