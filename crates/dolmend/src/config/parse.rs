//! Lines of a configuration file into keys and values.

use std::path::Path;

use super::error::{BadValue, ConfigError, Problem};
use super::{Config, keys};

/// Reads `text` over `config`.
///
/// On an error `config` is half changed and must be discarded.
pub(super) fn apply(config: &mut Config, file: &str, text: &[u8], base: &Path) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    // The line in which each key appeared first.
    let mut seen = vec![None; keys::KEYS.len()];
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line_number = index + 1;
        if let Err(BadValue { problem, correction }) = apply_line(config, line, line_number, &mut seen, base)
        {
            problems.push(Problem { file: file.to_string(), line: Some(line_number), problem, correction });
        }
    }
    for (key, line) in keys::KEYS.iter().zip(&seen).filter(|(_, line)| line.is_some()) {
        let found = key.check.and_then(|check| check(&mut *config).err());
        for BadValue { problem, correction } in found.into_iter().flatten() {
            let problem = format!("{}: {problem}", key.name);
            problems.push(Problem { file: file.to_string(), line: *line, problem, correction });
        }
    }
    problems.sort_by_key(|problem| problem.line);
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

fn apply_line(
    config: &mut Config,
    line: &[u8],
    line_number: usize,
    seen: &mut [Option<usize>],
    base: &Path,
) -> Result<(), BadValue> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err(BadValue::new("this is not UTF-8 text", "save the file as UTF-8"));
    };
    let line = without_comment(line).trim();
    if line.is_empty() {
        return Ok(());
    }
    let Some((name, value)) = split(line) else {
        return Err(BadValue::new(format!("'{line}' has no colon"), "a line is `key : value`"));
    };
    let name = keys::normalised(name);
    let Some(position) = keys::position(&name) else {
        return Err(BadValue::new(format!("unknown key '{name}'"), keys::advice(&name)));
    };
    let key = &keys::KEYS[position];
    match seen[position] {
        Some(first) if key.clear.is_none() => {
            return Err(BadValue::new(
                format!("'{name}' was given in line {first} already"),
                "keep one of them",
            ));
        }
        Some(_) => {}
        None => {
            seen[position] = Some(line_number);
            // The ports of a file replace the built-in ones instead of joining them.
            if let Some(clear) = key.clear {
                clear(config);
            }
        }
    }
    (key.set)(config, value, base).map_err(|BadValue { problem, correction }| BadValue {
        problem: format!("{name}: {problem}"),
        correction,
    })
}

/// Removes a comment: `#` at the start, or surrounded by spaces inside the line. A `#` that touches a word belongs to
/// it, as in `mud name : The #1 MUD`. The colon behind the key is no word: no value begins with a comment.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (index, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            let after = line[index + 1..].chars().next();
            if line[..index].trim().is_empty() || after.is_none_or(char::is_whitespace) {
                return &line[..index];
            }
        }
        let is_behind_key = character == ':' && !line[..index].contains(':');
        before = if is_behind_key { ' ' } else { character };
    }
    line
}

/// The key and the value. Existing driver configurations contain `Port 4000:telnet`: there the colon belongs to the
/// value.
fn split(line: &str) -> Option<(&str, &str)> {
    if let Some((word, rest)) = line.split_once(char::is_whitespace) {
        let rest = rest.trim_start();
        if word.eq_ignore_ascii_case("port") && !rest.starts_with(':') {
            return Some((word, rest));
        }
    }
    let (name, value) = line.split_once(':')?;
    Some((name.trim_end(), value.trim_start()))
}
