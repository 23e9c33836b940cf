//! Lengths of time, as an operator types them and as a player reads them.

/// The units, from the longest, in seconds.
const UNITS: [(&str, char, u64); 5] = [
    ("week", 'w', 604_800),
    ("day", 'd', 86_400),
    ("hour", 'h', 3_600),
    ("minute", 'm', 60),
    ("second", 's', 1),
];

/// The longest ban that ends: longer ones had better not.
const MAX_SECONDS: u64 = 10 * 365 * 86_400;

/// The seconds of the unit with this letter.
pub(crate) fn seconds_of(letter: &str) -> Option<u64> {
    let unit = letter.parse::<char>().ok()?;
    UNITS.iter().find(|(_, letter, _)| unit.eq_ignore_ascii_case(letter)).map(|(.., seconds)| *seconds)
}

/// A length of time such as `90s`, `30m`, `2h`, `2d` or `1w`, in seconds. `None` for anything else, a nought and more
/// than ten years.
pub fn parse_duration(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let (number, unit) = text.split_at(text.len() - unit.len_utf8());
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<u64>().ok()?.checked_mul(seconds_of(unit)?)?;
    (1..=MAX_SECONDS).contains(&seconds).then_some(seconds)
}

/// A length of time in words, in its largest unit and, if it is not whole, the next: `1 day and 2 hours`.
pub fn in_words(seconds: u64) -> String {
    let mut parts = Vec::new();
    let mut left = seconds;
    for (name, _, unit) in UNITS {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
        // Not "1 week and 3 seconds".
        if parts.len() == 2 || (parts.len() == 1 && count == 0) {
            break;
        }
    }
    match parts.len() {
        0 => "0 seconds".to_string(),
        _ => parts.join(" and "),
    }
}
