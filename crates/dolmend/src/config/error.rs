//! The problems of a configuration, described so that the user can correct them.

use std::fmt;

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
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}; {}", self.file, self.problem, self.correction),
            None => write!(f, "{}: {}; {}", self.file, self.problem, self.correction),
        }
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
        write!(f, "{}; {}", self.problem, self.correction)
    }
}

impl std::error::Error for BadValue {}
