//! The keys of the configuration file: one row for each; no other code knows them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::BadValue;
use super::{Config, MOTD_LIMIT_BYTES};

/// One key: its name, how its value is set, and how it is shown.
pub(super) struct Key {
    /// The name, in small letters, words separated by one space.
    pub name: &'static str,
    /// Whether a file may contain the key more than once.
    pub repeatable: bool,
    /// Sets the value in the configuration. `base` is the folder where relative paths start.
    pub set: fn(config: &mut Config, value: &str, base: &Path) -> Result<(), BadValue>,
    /// The values in force, one for each line of the file.
    pub show: fn(config: &Config) -> Vec<String>,
}

/// Every key, in the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "port",
        repeatable: true,
        set: |config, value, _| config.add_port(value.parse()?),
        show: |config| config.ports.iter().map(ToString::to_string).collect(),
    },
    Key {
        name: "mud name",
        repeatable: false,
        set: |config, value, _| {
            let length = value.chars().count();
            if !(1..=60).contains(&length) || value.chars().any(char::is_control) {
                return Err(BadValue::new("this is not a name", "a name has 1 to 60 printable characters"));
            }
            value.clone_into(&mut config.mud_name);
            Ok(())
        },
        show: |config| vec![config.mud_name.clone()],
    },
    Key {
        name: "max users",
        repeatable: false,
        set: |config, value, _| number(value, 1, 1_000_000).map(|n| config.max_users = n),
        show: |config| vec![config.max_users.to_string()],
    },
    Key {
        name: "line length",
        repeatable: false,
        set: |config, value, _| number(value, 80, 65_536).map(|n| config.line_length_bytes = n),
        show: |config| vec![config.line_length_bytes.to_string()],
    },
    Key {
        name: "output limit",
        repeatable: false,
        set: |config, value, _| number(value, 16_384, 67_108_864).map(|n| config.output_limit_bytes = n),
        show: |config| vec![config.output_limit_bytes.to_string()],
    },
    Key {
        name: "motd file",
        repeatable: false,
        set: |config, value, base| {
            config.motd = read_motd(value, base)?;
            config.motd_file = (!value.is_empty()).then(|| absolute(base, value));
            Ok(())
        },
        show: |config| vec![shown(config.motd_file.as_deref())],
    },
    Key {
        name: "console history",
        repeatable: false,
        set: |config, value, base| {
            config.console_history = (!value.is_empty()).then(|| absolute(base, value));
            Ok(())
        },
        show: |config| vec![shown(config.console_history.as_deref())],
    },
    Key {
        name: "io_reactor_max_events",
        repeatable: false,
        set: |config, value, _| number(value, 1, 65_536).map(|n| config.reactor_max_events = n),
        show: |config| vec![config.reactor_max_events.to_string()],
    },
    Key {
        name: "io_reactor_pool_size",
        repeatable: false,
        set: |config, value, _| number(value, 1, 65_536).map(|n| config.reactor_pool_size = n),
        show: |config| vec![config.reactor_pool_size.to_string()],
    },
    Key {
        name: "trace io_reactor",
        repeatable: false,
        set: |config, value, _| number(value, 0, 3).map(|n| config.trace_reactor = n as u8),
        show: |config| vec![config.trace_reactor.to_string()],
    },
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
    let nearest = KEYS
        .iter()
        .map(|key| (strsim::damerau_levenshtein(key.name, unknown), key.name))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        // Beyond a third of the word it is not a typing error, and a guess would mislead.
        Some((distance, name)) if distance <= (name.chars().count() / 3).max(2) => {
            format!("did you mean '{name}'?")
        }
        _ => {
            let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            format!("the keys are: {}", names.join(", "))
        }
    }
}

fn number(value: &str, least: usize, most: usize) -> Result<usize, BadValue> {
    let correction = || format!("it is a whole number from {least} to {most}");
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadValue::new(format!("'{value}' is not a number"), correction()));
    }
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(BadValue::new(format!("{value} is out of range"), correction())),
    }
}

/// A path as the file has it: empty where there is none.
fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn absolute(base: &Path, value: &str) -> PathBuf {
    let path = base.join(value);
    // It fails only where there is no current folder; then the path stays unchanged.
    std::path::absolute(&path).unwrap_or(path)
}

fn read_motd(value: &str, base: &Path) -> Result<Option<String>, BadValue> {
    if value.is_empty() {
        return Ok(None);
    }
    let path = absolute(base, value);
    let bytes = read_at_most(&path, MOTD_LIMIT_BYTES + 1).map_err(|error| {
        BadValue::new(
            format!("cannot read {}: {error}", path.display()),
            "name a text file, or leave the value empty",
        )
    })?;
    if bytes.len() > MOTD_LIMIT_BYTES {
        return Err(BadValue::new(
            format!("{} is too long", path.display()),
            format!("at most {MOTD_LIMIT_BYTES} bytes are shown"),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(BadValue::new(format!("{} is not UTF-8 text", path.display()), "save it as UTF-8")),
    }
}

/// Not the whole file: the user may have named a disk image.
fn read_at_most(path: &Path, limit_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit_bytes as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
