//! What is wrong with a configuration, said so that it can be put right.

use std::fmt;

/// One thing that is wrong with a configuration file, and what would be right.
///
/// It is shown as `FILE:LINE: what is wrong; what is right`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// The line, counted from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}; {}", self.file, self.wrong, self.right),
            None => write!(f, "{}: {}; {}", self.file, self.wrong, self.right),
        }
    }
}

/// Everything that is wrong with a configuration file, in the order of its lines.
///
/// All of it is reported at once: nobody should have to start a server five times
/// to learn of five typing errors. It is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in the order of their lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Why one value was refused: the parser adds the file and the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl BadValue {
    /// A refusal that says both.
    pub fn new(wrong: impl Into<String>, right: impl Into<String>) -> BadValue {
        BadValue { wrong: wrong.into(), right: right.into() }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.wrong, self.right)
    }
}

impl std::error::Error for BadValue {}
