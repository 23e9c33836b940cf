//! The problems of a configuration, described so that the user can correct them.
//!
//! A message repeats what is in the file, and a terminal shows the message. So characters that a terminal obeys, and
//! those that are not visible, are shown escaped, and long values are cut.

use std::fmt;

use crate::line::is_invisible;

/// How many problems are shown.
const MOST_PROBLEMS: usize = 20;

/// How much of each part of a message is shown.
const MOST_CHARACTERS: usize = 300;

/// One problem of a configuration file, and its correction.
///
/// It is shown as `FILE:LINE: problem; correction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// The line, counted from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// The problem.
    pub problem: String,
    /// The correction.
    pub correction: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(f, &self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        escaped(f, &self.problem)?;
        f.write_str("; ")?;
        escaped(f, &self.correction)
    }
}

/// All problems of a configuration file, in the order of its lines.
///
/// They are reported together: a user should not have to start a server five times to find five typing errors. It is
/// never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in the order of their lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(MOST_PROBLEMS).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        match self.problems.len().saturating_sub(MOST_PROBLEMS) {
            0 => Ok(()),
            1 => f.write_str("\nand one more problem; correct these first"),
            more => write!(f, "\nand {more} more problems; correct these first"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> ConfigError {
        ConfigError { problems: vec![problem] }
    }
}

/// Writes a text without the characters that a terminal obeys or does not show.
fn escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (place, character) in text.chars().enumerate() {
        if place == MOST_CHARACTERS {
            return f.write_str("…");
        }
        // The joiners and the soft hyphen belong to words, but not to keys and values.
        if character.is_control()
            || is_invisible(character)
            || matches!(character, '\u{ad}' | '\u{200c}' | '\u{200d}')
        {
            write!(f, "{}", character.escape_default())?;
        } else {
            write!(f, "{character}")?;
        }
    }
    Ok(())
}

/// Why one value was refused: the parser adds the file and the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// The problem.
    pub problem: String,
    /// The correction.
    pub correction: String,
}

impl BadValue {
    /// A refusal with both.
    pub fn new(problem: impl Into<String>, correction: impl Into<String>) -> BadValue {
        BadValue { problem: problem.into(), correction: correction.into() }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(f, &self.problem)?;
        f.write_str("; ")?;
        escaped(f, &self.correction)
    }
}

impl std::error::Error for BadValue {}
