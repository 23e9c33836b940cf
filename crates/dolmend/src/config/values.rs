//! The forms of values: numbers, times, rates, networks, switches, files.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::error::BadValue;

/// The longest time that a value may name.
const LONGEST_SECONDS: u64 = 7 * 24 * 60 * 60;

/// A rate with a burst: so many a second in the long run, and so many in one moment after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many a second.
    pub per_second: u32,
    /// How many in one moment.
    pub burst: u32,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} burst {}", self.per_second, self.burst)
    }
}

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
    let seconds_of_unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(BadValue::new(format!("'{value}' is not a time"), RIGHT)),
    };
    if number.is_empty() {
        return Err(BadValue::new(format!("'{value}' is not a time"), RIGHT));
    }
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

/// The networks of one line, separated by spaces or commas; `none` is no network, and stands alone.
pub(super) fn networks(value: &str) -> Result<Vec<IpNet>, BadValue> {
    let words = value.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    match words[..] {
        [] => Err(BadValue::new("no network is given", "write networks such as 10.0.0.0/8, or none")),
        [word] if word.eq_ignore_ascii_case("none") => Ok(Vec::new()),
        _ => words.into_iter().map(network).collect(),
    }
}

/// One network, or one address.
fn network(word: &str) -> Result<IpNet, BadValue> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(address.into());
    }
    if word.eq_ignore_ascii_case("none") {
        return Err(BadValue::new("'none' is given with networks", "it stands alone"));
    }
    let Ok(network) = word.parse::<IpNet>() else {
        return Err(BadValue::new(
            format!("'{word}' is not a network"),
            "a network is an address and the length of its prefix, such as 10.0.0.0/8 or 2001:db8::/32",
        ));
    };
    if network.trunc() != network {
        return Err(BadValue::new(
            format!("{network} names one address in a network"),
            format!("the network is {}, and the address alone has no prefix", network.trunc()),
        ));
    }
    Ok(network)
}

/// Adds the networks of one more line to the list. `none` stands alone: on another line it would be without effect, or
/// worse, with one.
pub(super) fn add_networks(list: &mut Networks, value: &str) -> Result<(), BadValue> {
    let networks = networks(value)?;
    if list.lines > 0 && (networks.is_empty() || list.networks.is_empty()) {
        return Err(BadValue::new("'none' is given with networks", "it stands alone"));
    }
    list.lines += 1;
    list.networks.extend(networks);
    Ok(())
}

/// The lines that [`add_networks`] reads.
pub(super) fn show_networks(list: &Networks) -> Vec<String> {
    match list.networks[..] {
        [] => vec!["none".into()],
        _ => list.networks.iter().map(ToString::to_string).collect(),
    }
}

/// A list of networks.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    networks: Vec<IpNet>,
    /// The lines of the file that set it.
    lines: usize,
}

/// The lines of the file do not matter.
impl PartialEq for Networks {
    fn eq(&self, other: &Networks) -> bool {
        self.networks == other.networks
    }
}

impl Eq for Networks {}

impl Networks {
    /// Whether one of the networks has the address. An IPv4 address that is written as an IPv6 one is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The networks, in the order of the file.
    pub fn as_slice(&self) -> &[IpNet] {
        &self.networks
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(networks: Vec<IpNet>) -> Networks {
        Networks { networks, lines: 1 }
    }
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
        for (value, seconds) in
            [("60", 60), ("60s", 60), ("2m", 120), ("2 M", 120), ("1h", 3600), ("168h", 604_800)]
        {
            assert_eq!(time(value), Ok(Some(Duration::from_secs(seconds))), "{value}");
        }
        assert_eq!(time("OFF"), Ok(None));
        for value in
            ["", "0", "s", "5d", "-1", "169h", "1.5m", "99999999999999999999", "18446744073709551615h"]
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

    #[test]
    fn networks_are_lists_or_none() {
        let mut list = Networks::default();
        add_networks(&mut list, "10.0.0.0/8, 192.0.2.7 2001:db8::/32").expect("good networks");
        assert_eq!(show_networks(&list), ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
        for (address, is_in) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::5", true),
            ("::1", false),
        ] {
            assert_eq!(list.contains(address.parse().expect("an address")), is_in, "{address}");
        }
        for (value, wrong) in [
            ("", "no network"),
            ("10.0.0.0/33", "not a network"),
            ("ten", "not a network"),
            ("10.1.2.3/8", "10.1.2.3/8 names one address"),
            ("10.0.0.0/8 none", "'none' is given with networks"),
            ("none", "'none' is given with networks"),
        ] {
            let error = add_networks(&mut list, value).expect_err(value);
            assert!(error.problem.contains(wrong), "{value}: {error}");
        }
        let mut empty = Networks::default();
        add_networks(&mut empty, "None").expect("no networks");
        assert_eq!(show_networks(&empty), ["none"]);
        assert!(add_networks(&mut empty, "10.0.0.0/8").is_err());
    }
}
