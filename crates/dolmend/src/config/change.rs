//! The difference between two configurations, for a server that changes from one to the other while it runs.

use std::fmt;
use std::path::Path;

use super::{Config, keys};

/// A key with another value.
///
/// ```
/// use dolmend::config::Config;
/// use std::path::Path;
///
/// let old = Config::built_in()?;
/// let new = Config::from_text("my.conf", b"max users : 5\n", Path::new(""))?;
/// let changes: Vec<String> = old.changes_to(&new).iter().map(ToString::to_string).collect();
/// assert_eq!(changes, ["max users: 5 (was 1000)"]);
/// # Ok::<(), dolmend::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// The previous value; a list is separated by commas.
    pub old: String,
    /// The new value.
    pub new: String,
    /// It is read at the start only, so that the previous value stays in force.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_empty = |value: &str| if value.is_empty() { "(empty)".to_owned() } else { value.to_owned() };
        let (old, new) = (or_empty(&self.old), or_empty(&self.new));
        match self.needs_restart {
            true => write!(f, "{}: stays {old} until a restart, and is {new} then", self.key),
            false => write!(f, "{}: {new} (was {old})", self.key),
        }
    }
}

impl Config {
    /// The keys that have other values in `new`, in the order of the shipped file.
    pub fn changes_to(&self, new: &Config) -> Vec<Change> {
        let both = keys::KEYS.iter().map(|key| (key, (key.show)(self), (key.show)(new)));
        let changed = both.filter(|(_, old, new)| old != new);
        changed
            .map(|(key, old, new)| Change {
                key: key.name,
                old: old.join(", "),
                new: new.join(", "),
                needs_restart: key.needs_restart(),
            })
            .collect()
    }

    /// This configuration with the values of `old` for all keys that need a restart.
    pub(crate) fn without_restart(mut self, old: &Config) -> Config {
        for key in keys::KEYS.iter().filter(|key| key.needs_restart()) {
            for value in (key.show)(old) {
                // What was in force can be set: it is a good value, and its paths are absolute.
                let _ = (key.set)(&mut self, &value, Path::new(""));
            }
        }
        self
    }
}
