//! The configuration file.
//!
//! The format is the traditional one of such drivers: `key : value`, `#` for comments. The file in the package,
//! `dolmend.conf`, is compiled in and is the one source of defaults: it is read first, then the user's file over it,
//! then the command line over both. There is no second table of defaults that could drift away from it.
//!
//! A configuration is complete or it is refused. One run finds every problem, and each message names the file, the
//! line, the problem and the correction. An unknown key is an error, never a warning: a misspelt limit that is silently
//! not in force is worse than a server that does not start.
//!
//! | file | is |
//! |---|---|
//! | `keys` | the table of keys; a new key is a new row |
//! | `parse` | lines into keys and values |
//! | `values` | the forms of values: numbers, times, rates, switches, files |
//! | `networks` | lists of networks |
//! | `settings` | the limits and the log, each a part of [`Config`] |
//! | `listing` | the values for lists of games |
//! | `writable` | whether the server can write where the file says |
//! | `port` | `[ADDRESS:]PORT[:KIND] [OPTION=VALUE …]` |
//! | `file` | files that the user has named, read within bounds |
//! | `change` | the difference between two configurations |
//! | `error` | the messages for the user |

mod change;
mod error;
pub(crate) mod file;
mod keys;
mod listing;
mod networks;
mod parse;
mod port;
mod settings;
mod values;
mod writable;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::encoding::TextEncoding;

pub use crate::limits::Rate;
use crate::store::NetworkList;
pub use change::Change;
pub use error::{BadValue, ConfigError, Problem};
pub use listing::Listing;
pub use networks::Networks;
pub use port::{PortKind, PortOptions, PortSpec};
pub use settings::{Limits, LogFormat, LogLevel, LogSettings};
pub(crate) use values::time;

/// The annotated file in the package, in force where no other value is set.
pub const BUILT_IN: &str = include_str!("../../dolmend.conf");

/// The name of the built-in file in messages.
pub const BUILT_IN_NAME: &str = "built-in dolmend.conf";

/// The longest message of the day. With the greeting around it, it must always fit into
/// the smallest `output limit`.
pub const MOTD_LIMIT_BYTES: usize = 8192;

/// The longest configuration file.
const FILE_LIMIT_BYTES: usize = 256 << 10;

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The addresses to listen on. Never empty.
    pub ports: Vec<PortSpec>,
    /// Whether these are the built-in ports and the user has not asked for any. Then a port that this machine cannot
    /// have (it may lack IPv6) does not prevent the start.
    pub ports_are_built_in: bool,
    /// The name of the place, for the players.
    pub mud_name: String,
    /// What lists of games show.
    pub listing: Listing,
    /// Players at a time.
    pub max_users: usize,
    /// The longest line of input, in bytes.
    pub line_length_bytes: usize,
    /// The most output that may wait for one player, in bytes.
    pub output_limit_bytes: usize,
    /// How many threads serve connections; 0: the game's own does.
    pub io_threads: usize,
    /// The limits for each player and each address.
    pub limits: Limits,
    /// The file of the message of the day.
    pub motd_file: Option<PathBuf>,
    /// The message of the day.
    pub motd: Option<String>,
    /// The players' encoding, where their client does not say another.
    pub encoding: TextEncoding,
    /// Whether output may be compressed.
    pub mccp: bool,
    /// A file of networks that may not connect.
    pub ban_list: Option<PathBuf>,
    /// The networks that the file had when the configuration was read.
    pub banned_networks: NetworkList,
    /// Where bans, notes and names are kept; in memory without one.
    pub state_folder: Option<PathBuf>,
    /// The log.
    pub log: LogSettings,
    /// How often statistics are logged.
    pub stats: Option<Duration>,
    /// Where the metrics are served.
    pub metrics: Option<SocketAddr>,
    /// The file of the console's history.
    pub console_history: Option<PathBuf>,
    /// Events for each wait.
    pub reactor_max_events: usize,
    /// Receive buffers that the reactor keeps.
    pub reactor_pool_size: usize,
    /// Settings that are allowed, and probably a mistake.
    pub warnings: Vec<String>,
}

impl Config {
    /// The built-in configuration.
    ///
    /// # Errors
    ///
    /// If the built-in file is broken, which a test prevents.
    pub fn built_in() -> Result<Config, ConfigError> {
        // None of these values is ever in force: the built-in file sets every key, and a test checks this.
        let mut config = Config {
            ports: Vec::new(),
            ports_are_built_in: true,
            mud_name: String::new(),
            listing: Listing::default(),
            max_users: 0,
            line_length_bytes: 0,
            output_limit_bytes: 0,
            io_threads: 0,
            limits: Limits::unset(),
            motd_file: None,
            motd: None,
            encoding: TextEncoding::UTF_8,
            mccp: false,
            ban_list: None,
            banned_networks: NetworkList::default(),
            state_folder: None,
            log: LogSettings::unset(),
            stats: None,
            metrics: None,
            console_history: None,
            reactor_max_events: 0,
            reactor_pool_size: 0,
            warnings: Vec::new(),
        };
        parse::apply(&mut config, BUILT_IN_NAME, BUILT_IN.as_bytes(), Path::new(""))?;
        config.ports_are_built_in = true;
        Ok(config)
    }

    /// Reads a file over the built-in configuration.
    ///
    /// # Errors
    ///
    /// All problems of the file, or that it cannot be read.
    pub fn from_file(path: &Path) -> Result<Config, ConfigError> {
        let name = path.display().to_string();
        let refused = |problem: String| {
            let correction = "name a configuration file, or leave out -f to use the built-in one".into();
            ConfigError::from(Problem { file: name.clone(), line: None, problem, correction })
        };
        let text = file::read(path, FILE_LIMIT_BYTES)
            .map_err(|error| refused(format!("cannot be read: {error}")))?
            .ok_or_else(|| refused(format!("is longer than {} KiB", FILE_LIMIT_BYTES >> 10)))?;
        Config::from_text(&name, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads text over the built-in configuration. `name` stands for the file in messages,
    /// and `base` is the folder where relative paths start.
    ///
    /// # Errors
    ///
    /// All problems of the text.
    pub fn from_text(name: &str, text: &[u8], base: &Path) -> Result<Config, ConfigError> {
        let mut config = Config::built_in()?;
        parse::apply(&mut config, name, text, base)?;
        Ok(config)
    }

    /// Ports from the command line: they replace the ports of the file. An empty list leaves the file's ports in force.
    ///
    /// # Errors
    ///
    /// When two of the ports, or one of them and that of the metrics, cannot be open together.
    pub fn replace_ports(&mut self, ports: &[PortSpec]) -> Result<(), BadValue> {
        if !ports.is_empty() {
            self.ports.clear();
            self.ports_are_built_in = false;
        }
        ports.iter().try_for_each(|&port| self.add_port(port))?;
        self.check_metrics()
    }

    /// One more port to listen on.
    fn add_port(&mut self, port: PortSpec) -> Result<(), BadValue> {
        let collision = self.ports.iter().find_map(|other| PortSpec::collision(other.address, port.address));
        match collision {
            Some(problem) => Err(BadValue::new(problem, "keep one of them")),
            None => {
                self.ports.push(port);
                Ok(())
            }
        }
    }

    /// Whether the port of the metrics can be open beside those of the players.
    fn check_metrics(&self) -> Result<(), BadValue> {
        let Some(metrics) = self.metrics else { return Ok(()) };
        match self.ports.iter().find_map(|port| PortSpec::collision(port.address, metrics)) {
            Some(problem) => Err(BadValue::new(problem, "the metrics need a port of their own")),
            None => Ok(()),
        }
    }

    /// Whether the game serves ports of these kinds.
    ///
    /// # Errors
    ///
    /// The first port of a kind that `serves` denies.
    pub fn check_kinds(&self, serves: impl Fn(PortKind) -> bool) -> Result<(), BadValue> {
        let Some(port) = self.ports.iter().find(|port| !serves(port.kind)) else { return Ok(()) };
        let served: Vec<&str> =
            PortKind::ALL.into_iter().filter(|&kind| serves(kind)).map(PortKind::name).collect();
        Err(BadValue::new(
            format!("port {port}: this game has no use for a port of kind {}", port.kind),
            format!("the kinds that it serves are: {}", served.join(", ")),
        ))
    }

    /// The configuration in force, as a file that can be read again.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for key in keys::KEYS {
            for value in (key.show)(self) {
                let line = format!("{} : {value}", key.name);
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
