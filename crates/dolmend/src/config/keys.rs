//! The keys of the configuration file: one row for each; no other code knows them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::BadValue;
use super::networks::{add_networks, show_networks};
use super::values::{number, path, rate, show_path, show_switch, show_time, switch, time};
use super::{Config, MOTD_LIMIT_BYTES, file, listing, writable};
use crate::encoding::TextEncoding;
use crate::line::is_invisible;
use crate::store::{BadListLine, NetworkList};

/// The longest list of networks. The game waits while a reload reads it.
pub(super) const BAN_LIST_LIMIT_BYTES: usize = 16 << 20;

/// The most threads for connections. More than the machine has processors are of no use.
const MOST_IO_THREADS: usize = 64;

/// One key: its name, how its value is set, and how it is shown.
pub(super) struct Key {
    /// The name, in small letters, words separated by one space.
    pub name: &'static str,
    /// For a key that a file may contain more than once: removes the values of the configuration below, which the
    /// file's replace.
    pub clear: Option<fn(config: &mut Config)>,
    /// Sets the value in the configuration. `base` is the folder where relative paths start.
    pub set: fn(config: &mut Config, value: &str, base: &Path) -> Result<(), BadValue>,
    /// The values in force, one for each line of the file.
    pub show: fn(config: &Config) -> Vec<String>,
    /// Looks at what the value names, once for a file that sets the key: whether the server could start with it.
    pub check: Option<Check>,
}

/// Every problem of what a value names. What it reads is kept in the configuration.
type Check = fn(config: &mut Config) -> Result<(), Vec<BadValue>>;

impl Key {
    /// Whether the value is read at the start only.
    pub(super) fn needs_restart(&self) -> bool {
        NEED_RESTART.contains(&self.name)
    }
}

/// The keys of what the server makes once: the reactor, the console, and what is kept in the folder.
const NEED_RESTART: [&str; 5] =
    ["output limit", "state folder", "console history", "io_reactor_max_events", "io_reactor_pool_size"];

/// A key with one value.
const fn one(
    name: &'static str,
    set: fn(&mut Config, &str, &Path) -> Result<(), BadValue>,
    show: fn(&Config) -> Vec<String>,
) -> Key {
    Key { name, clear: None, set, show, check: None }
}

/// A key whose value names something outside the file.
const fn checked(key: Key, check: Check) -> Key {
    Key { check: Some(check), ..key }
}

/// Every key, in the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "port",
        clear: Some(|config| {
            config.ports.clear();
            config.ports_are_built_in = false;
        }),
        set: |config, value, _| config.add_port(value.parse()?),
        show: |config| config.ports.iter().map(ToString::to_string).collect(),
        check: None,
    },
    one("mud name", |config, value, _| set_name(config, value), |config| vec![config.mud_name.clone()]),
    one("motd file", set_motd, |config| vec![show_path(config.motd_file.as_deref())]),
    one(
        "encoding",
        |config, value, _| encoding(value).map(|encoding| config.encoding = encoding),
        |config| vec![config.encoding.name().to_ascii_lowercase()],
    ),
    one(
        "host name",
        |config, value, _| listing::host_name(value).map(|name| config.listing.host_name = name),
        |config| listing::show(&config.listing.host_name),
    ),
    one(
        "contact",
        |config, value, _| listing::contact(value).map(|contact| config.listing.contact = contact),
        |config| listing::show(&config.listing.contact),
    ),
    one(
        "website",
        |config, value, _| listing::website(value).map(|page| config.listing.website = page),
        |config| listing::show(&config.listing.website),
    ),
    one(
        "language",
        |config, value, _| listing::language(value).map(|language| config.listing.language = language),
        |config| listing::show(&config.listing.language),
    ),
    one(
        "mccp",
        |config, value, _| switch(value).map(|on| config.mccp = on),
        |config| vec![show_switch(config.mccp)],
    ),
    one(
        "max users",
        |config, value, _| number(value, 1, 1_000_000).map(|n| config.max_users = n),
        |config| vec![config.max_users.to_string()],
    ),
    one(
        "max users per address",
        |config, value, _| number(value, 1, 1_000_000).map(|n| config.limits.max_users_per_address = n),
        |config| vec![config.limits.max_users_per_address.to_string()],
    ),
    one(
        "ipv6 prefix",
        |config, value, _| number(value, 32, 128).map(|n| config.limits.ipv6_prefix = n as u8),
        |config| vec![config.limits.ipv6_prefix.to_string()],
    ),
    Key {
        name: "no limits",
        clear: Some(|config| config.limits.no_limits = Default::default()),
        set: |config, value, _| add_networks(&mut config.limits.no_limits, value),
        show: |config| show_networks(&config.limits.no_limits),
        check: None,
    },
    one(
        "accept rate",
        |config, value, _| rate(value, 100_000).map(|rate| config.limits.accept_rate = rate),
        |config| vec![config.limits.accept_rate.to_string()],
    ),
    one(
        "command rate",
        |config, value, _| number(value, 1, 10_000).map(|n| config.limits.command_rate.per_second = n as u32),
        |config| vec![config.limits.command_rate.per_second.to_string()],
    ),
    one(
        "command burst",
        |config, value, _| number(value, 1, 10_000).map(|n| config.limits.command_rate.burst = n as u32),
        |config| vec![config.limits.command_rate.burst.to_string()],
    ),
    one(
        "command bytes",
        |config, value, _| {
            number(value, 1024, 67_108_864).map(|n| config.limits.command_bytes_per_second = n)
        },
        |config| vec![config.limits.command_bytes_per_second.to_string()],
    ),
    one(
        "line length",
        |config, value, _| number(value, 80, 65_536).map(|n| config.line_length_bytes = n),
        |config| vec![config.line_length_bytes.to_string()],
    ),
    one(
        "output limit",
        |config, value, _| number(value, 16_384, 67_108_864).map(|n| config.output_limit_bytes = n),
        |config| vec![config.output_limit_bytes.to_string()],
    ),
    one(
        "login timeout",
        |config, value, _| time(value).map(|time| config.limits.login_timeout = time),
        |config| vec![show_time(config.limits.login_timeout)],
    ),
    one(
        "idle timeout",
        |config, value, _| time(value).map(|time| config.limits.idle_timeout = time),
        |config| vec![show_time(config.limits.idle_timeout)],
    ),
    one(
        "keepalive",
        |config, value, _| time(value).map(|time| config.limits.keepalive = time),
        |config| vec![show_time(config.limits.keepalive)],
    ),
    Key {
        name: "trusted proxies",
        clear: Some(|config| config.limits.trusted_proxies = Default::default()),
        set: |config, value, _| add_networks(&mut config.limits.trusted_proxies, value),
        show: |config| show_networks(&config.limits.trusted_proxies),
        check: Some(warn_of_open_proxies),
    },
    checked(
        one(
            "ban list",
            |config, value, base| path(base, value).map(|path| config.ban_list = path),
            |config| vec![show_path(config.ban_list.as_deref())],
        ),
        read_ban_list,
    ),
    checked(
        one(
            "state folder",
            |config, value, base| path(base, value).map(|path| config.state_folder = path),
            |config| vec![show_path(config.state_folder.as_deref())],
        ),
        |config| writable(config.state_folder.as_deref(), writable::folder),
    ),
    checked(
        one(
            "log file",
            |config, value, base| log_file(base, value).map(|path| config.log.file = path),
            |config| vec![show_path(config.log.file.as_deref())],
        ),
        |config| writable(config.log.file.as_deref(), writable::file),
    ),
    one(
        "log level",
        |config, value, _| value.parse().map(|level| config.log.level = level),
        |config| vec![config.log.level.to_string()],
    ),
    one(
        "log format",
        |config, value, _| value.parse().map(|format| config.log.format = format),
        |config| vec![config.log.format.to_string()],
    ),
    one(
        "stats",
        |config, value, _| time(value).map(|time| config.stats = time),
        |config| vec![show_time(config.stats)],
    ),
    checked(
        one(
            "metrics",
            |config, value, _| address(value).map(|address| config.metrics = address),
            |config| vec![config.metrics.map(|address| address.to_string()).unwrap_or_default()],
        ),
        |config| config.check_metrics().map_err(|problem| vec![problem]),
    ),
    one(
        "console history",
        |config, value, base| path(base, value).map(|path| config.console_history = path),
        |config| vec![show_path(config.console_history.as_deref())],
    ),
    checked(
        one(
            "io threads",
            |config, value, _| number(value, 0, MOST_IO_THREADS).map(|n| config.io_threads = n),
            |config| vec![config.io_threads.to_string()],
        ),
        warn_of_many_threads,
    ),
    one(
        "io_reactor_max_events",
        |config, value, _| number(value, 1, 65_536).map(|n| config.reactor_max_events = n),
        |config| vec![config.reactor_max_events.to_string()],
    ),
    one(
        "io_reactor_pool_size",
        |config, value, _| number(value, 1, 65_536).map(|n| config.reactor_pool_size = n),
        |config| vec![config.reactor_pool_size.to_string()],
    ),
    one(
        "trace io_reactor",
        |config, value, _| number(value, 0, 3).map(|n| config.log.trace_reactor = n as u8),
        |config| vec![config.log.trace_reactor.to_string()],
    ),
];

/// The position of a key in [`KEYS`]; the name as [`normalised`] returns it.
pub(super) fn position(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

/// A key in the form for comparison: small letters, one space between words.
pub(super) fn normalised(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// The hint for an unknown key.
pub(super) fn advice(unknown: &str) -> String {
    /// Longer than any misspelt key: the comparison takes time, and a line may be long.
    const LONGEST: usize = 60;
    let nearest = KEYS
        .iter()
        .filter(|_| unknown.len() <= LONGEST)
        .map(|key| (strsim::damerau_levenshtein(key.name, unknown), key.name))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        // Beyond a third of the word it is not a typing error, and a guess would mislead.
        Some((distance, name)) if distance <= (name.chars().count() / 3).max(2) => {
            format!("did you mean '{name}'?")
        }
        _ => "'dolmend --print-config' shows all keys".into(),
    }
}

fn set_name(config: &mut Config, value: &str) -> Result<(), BadValue> {
    let length = value.chars().count();
    if !(1..=60).contains(&length) || value.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err(BadValue::new("this is not a name", "a name has 1 to 60 printable characters"));
    }
    value.clone_into(&mut config.mud_name);
    Ok(())
}

/// An encoding in which a line end is a line end: not UTF-16.
fn encoding(value: &str) -> Result<TextEncoding, BadValue> {
    TextEncoding::for_label(value.as_bytes()).ok_or_else(|| {
        BadValue::new(
            format!("'{value}' is not an encoding for players"),
            "it is a name of the WHATWG's list in which ASCII keeps its bytes, such as utf-8, iso-8859-1, windows-1251, koi8-r or big5",
        )
    })
}

fn address(value: &str) -> Result<Option<SocketAddr>, BadValue> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| {
        BadValue::new(
            format!("'{value}' is not an address with a port"),
            "write it as 127.0.0.1:9100 or [::1]:9100",
        )
    })
}

/// Opening a pipe would wait for its reader.
fn log_file(base: &Path, value: &str) -> Result<Option<PathBuf>, BadValue> {
    const RIGHT: &str =
        "name a file in a folder that exists, make the folder, or leave the value empty for standard error";
    let Some(path) = path(base, value)? else { return Ok(None) };
    if value.ends_with(std::path::is_separator) {
        return Err(BadValue::new(format!("'{value}' names a folder"), RIGHT));
    }
    if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(BadValue::new(format!("{} is not a file", path.display()), RIGHT));
    }
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(BadValue::new(format!("{} is in no folder that exists", path.display()), RIGHT));
    }
    Ok(Some(path))
}

/// Reads the list. It depends on another key, which may stand below it in the file.
fn read_ban_list(config: &mut Config) -> Result<(), Vec<BadValue>> {
    const RIGHT: &str = "name a file of networks, or leave the value empty";
    config.banned_networks = NetworkList::default();
    let Some(path) = config.ban_list.as_deref() else { return Ok(()) };
    let text = file::read_text(path, BAN_LIST_LIMIT_BYTES, RIGHT).map_err(|problem| vec![problem])?;
    let list = NetworkList::parse(&text, config.limits.ipv6_prefix).map_err(|lines| {
        let bad_line = |BadListLine { line, problem, correction }| {
            BadValue::new(format!("{}:{line}: {problem}", path.display()), correction)
        };
        lines.into_iter().map(bad_line).collect::<Vec<_>>()
    })?;
    config.banned_networks = list;
    Ok(())
}

/// A network of everyone may be right behind a firewall, and is a hole without one.
fn warn_of_open_proxies(config: &mut Config) -> Result<(), Vec<BadValue>> {
    let networks = config.limits.trusted_proxies.as_slice();
    if let Some(everyone) = networks.iter().find(|network| network.prefix_len() == 0) {
        config.warnings.push(format!(
            "trusted proxies: {everyone} is everyone, and who connects directly can claim any address; \
             name the networks of the proxies"
        ));
    }
    Ok(())
}

/// More threads than processors cost, and are of no use.
fn warn_of_many_threads(config: &mut Config) -> Result<(), Vec<BadValue>> {
    let processors = std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZeroUsize::get);
    if config.io_threads > processors {
        config.warnings.push(format!(
            "io threads: {} are of no more use than {processors}, the number of this machine's processors; \
             set it to that or fewer",
            config.io_threads
        ));
    }
    Ok(())
}

/// Whether the server will be able to write there.
fn writable(path: Option<&Path>, check: fn(&Path) -> Result<(), BadValue>) -> Result<(), Vec<BadValue>> {
    path.map_or(Ok(()), check).map_err(|problem| vec![problem])
}

fn set_motd(config: &mut Config, value: &str, base: &Path) -> Result<(), BadValue> {
    config.motd_file = path(base, value)?;
    let read = |path| file::read_text(path, MOTD_LIMIT_BYTES, "name a text file, or leave the value empty");
    config.motd = config.motd_file.as_deref().map(read).transpose()?;
    Ok(())
}
