//! Where the program runs.

use std::fmt;

/// The system, with its version.
#[allow(dead_code)] // A build knows either the first two or the last.
pub enum Machine {
    Windows(String),
    Wine(String),
    /// A system for which this program was compiled only to run its own tests.
    Other,
}

impl Machine {
    pub fn this() -> Machine {
        #[cfg(windows)]
        return match crate::sys::wine_version() {
            Some(version) => Machine::Wine(version),
            None => Machine::Windows(crate::sys::windows_version()),
        };
        #[cfg(not(windows))]
        Machine::Other
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::Windows(version) => write!(f, "Windows {version}"),
            Machine::Wine(version) => write!(f, "Wine {version}"),
            Machine::Other => write!(f, "{}, which is not Windows", std::env::consts::OS),
        }
    }
}
