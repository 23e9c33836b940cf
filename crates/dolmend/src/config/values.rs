//! The forms of values: numbers, times, rates, switches, files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::BadValue;
use crate::duration;
use crate::limits::Rate;

/// The longest time that a value may name.
const LONGEST_SECONDS: u64 = 7 * 24 * 60 * 60;

/// A whole number in a range.
pub(super) fn number(value: &str, least: usize, most: usize) -> Result<usize, BadValue> {
    let correction = || format!("it is a whole number from {least} to {most}");
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadValue::new(format!("'{value}' is not a number"), correction()));
    }
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(BadValue::new(format!("{value} is out of range"), correction())),
    }
}

/// `50 burst 200`.
pub(super) fn rate(value: &str, most: usize) -> Result<Rate, BadValue> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [per_second, word, burst] = words[..] else { return Err(not_a_rate(value)) };
    if !word.eq_ignore_ascii_case("burst") {
        return Err(not_a_rate(value));
    }
    let (per_second, burst) = (number(per_second, 1, most)? as u32, number(burst, 1, most)? as u32);
    Ok(Rate { per_second, burst })
}

fn not_a_rate(value: &str) -> BadValue {
    BadValue::new(
        format!("'{value}' is not a rate with a burst"),
        "write how many a second and how many in one moment, such as 50 burst 200",
    )
}

/// A time such as `60`, `60s`, `2m` or `1h`; `off` is `None`.
pub(crate) fn time(value: &str) -> Result<Option<Duration>, BadValue> {
    const RIGHT: &str = "write seconds or a unit, from 1s to 168h, such as 60, 60s, 2m or 1h, or off";
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let seconds_of_unit = match unit.trim_start() {
        "" => Some(1),
        unit => duration::seconds_of(unit),
    };
    let Some(seconds_of_unit) = seconds_of_unit.filter(|_| !number.is_empty()) else {
        return Err(BadValue::new(format!("'{value}' is not a time"), RIGHT));
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds_of_unit));
    match seconds {
        Some(seconds) if (1..=LONGEST_SECONDS).contains(&seconds) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(BadValue::new(format!("{value} is out of range"), RIGHT)),
    }
}

/// The value that [`time`] reads.
pub(super) fn show_time(time: Option<Duration>) -> String {
    time.map_or("off".into(), |time| time.as_secs().to_string())
}

/// `on` or `off`.
pub(super) fn switch(value: &str) -> Result<bool, BadValue> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(BadValue::new(format!("'{value}' is not a switch"), "it is on or off")),
    }
}

/// The value that [`switch`] reads.
pub(super) fn show_switch(on: bool) -> String {
    if on { "on" } else { "off" }.into()
}

/// A path relative to the folder of the file that names it; an empty value names none.
pub(super) fn path(base: &Path, value: &str) -> Result<Option<PathBuf>, BadValue> {
    if value.chars().any(char::is_control) {
        return Err(BadValue::new("the path has control characters", "name a file without them"));
    }
    if value.is_empty() {
        return Ok(None);
    }
    let path = base.join(value);
    // It fails only where there is no current folder; then the path stays unchanged.
    Ok(Some(std::path::absolute(&path).unwrap_or(path)))
}

/// The value that [`path`] reads.
pub(super) fn show_path(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (value, seconds) in [
            ("60", 60),
            ("60s", 60),
            ("2m", 120),
            ("2 M", 120),
            ("1h", 3600),
            ("168h", 604_800),
            ("7d", 604_800),
        ] {
            assert_eq!(time(value), Ok(Some(Duration::from_secs(seconds))), "{value}");
        }
        assert_eq!(time("OFF"), Ok(None));
        for value in
            ["", "0", "s", "5y", "-1", "169h", "1.5m", "99999999999999999999", "18446744073709551615h"]
        {
            let error = time(value).expect_err(value);
            assert!(error.correction.contains("2m"), "{value}: {error}");
        }
        assert_eq!(show_time(Some(Duration::from_secs(120))), "120");
        assert_eq!(show_time(None), "off");
    }

    #[test]
    fn rates_have_a_burst() {
        assert_eq!(rate(" 50  Burst 200", 1000), Ok(Rate { per_second: 50, burst: 200 }));
        for (value, wrong) in [
            ("50", "is not a rate"),
            ("50 200", "is not a rate"),
            ("50 and 200", "is not a rate"),
            ("0 burst 1", "out of range"),
            ("50 burst 2000", "out of range"),
        ] {
            let error = rate(value, 1000).expect_err(value);
            assert!(error.problem.contains(wrong), "{value}: {error}");
        }
    }
}
