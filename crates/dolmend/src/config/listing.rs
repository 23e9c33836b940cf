//! What the lists of games show about this one, and its crawlers ask for (MSSP).

use super::error::BadValue;
use crate::line::is_invisible;

/// The facts that only the operator knows. An absent one is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The name or address under which players reach the server.
    pub host_name: Option<String>,
    /// The operator's mail address.
    pub contact: Option<String>,
    /// The game's page.
    pub website: Option<String>,
    /// The language of the game, by its English name.
    pub language: Option<String>,
}

/// The longest name in the DNS (RFC 1035).
const MOST_HOST_NAME_BYTES: usize = 253;

/// The longest mail address (RFC 5321), and no page needs a longer one either.
const MOST_BYTES: usize = 254;

/// The longest name of a language.
const MOST_LANGUAGE_CHARS: usize = 60;

/// `mud.example.org`, or an address.
pub(super) fn host_name(value: &str) -> Result<Option<String>, BadValue> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = value.len() <= MOST_HOST_NAME_BYTES && value.split('.').all(is_label);
    let is_address = value.parse::<std::net::IpAddr>().is_ok();
    checked(value, is_name || is_address, "a host name", "write it without a port, such as mud.example.org")
}

/// A mail address.
pub(super) fn contact(value: &str) -> Result<Option<String>, BadValue> {
    let parts = value.split_once('@');
    let is_address =
        parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    checked(value, is_address && is_word(value), "a mail address", "write it as admin@example.org")
}

/// The address of a page.
pub(super) fn website(value: &str) -> Result<Option<String>, BadValue> {
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let is_page =
        host.is_some_and(|host| host.starts_with(|first: char| first.is_alphanumeric() || first == '['));
    checked(
        value,
        is_page && is_word(value),
        "the address of a page",
        "write it whole, as https://example.org/",
    )
}

/// The name of a language.
pub(super) fn language(value: &str) -> Result<Option<String>, BadValue> {
    let is_name = value.chars().count() <= MOST_LANGUAGE_CHARS && value.chars().all(is_seen);
    checked(value, is_name, "a language", "write its English name, such as English or Brazilian Portuguese")
}

fn checked(value: &str, is_good: bool, what: &str, right: &str) -> Result<Option<String>, BadValue> {
    match value {
        "" => Ok(None),
        _ if is_good => Ok(Some(value.to_owned())),
        _ => Err(BadValue::new(
            format!("'{value}' is not {what}"),
            format!("{right}, or leave the value empty"),
        )),
    }
}

fn is_word(value: &str) -> bool {
    value.len() <= MOST_BYTES
        && value.chars().all(|character| !character.is_whitespace() && is_seen(character))
}

fn is_seen(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

/// The line that is read back.
pub(super) fn show(value: &Option<String>) -> Vec<String> {
    vec![value.clone().unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Result<Option<String>, BadValue>;

    #[test]
    fn each_is_checked_and_may_be_empty() {
        let cases: [(Check, &[&str], &[&str]); 4] = [
            (
                host_name,
                &["mud.example.org", "localhost", "192.0.2.7", "2001:db8::7", "xn--mnchen-3ya.de"],
                &[
                    "mud.example.org:4000",
                    "mud example",
                    "-a.org",
                    "a..org",
                    ".",
                    "мад.рф",
                    "a\u{200b}.org",
                    "[::1]",
                ],
            ),
            (
                contact,
                &["admin@example.org", "é@example.org"],
                &["admin", "@example.org", "a@", "a@b@c", "a b@c.d"],
            ),
            (
                website,
                &["https://example.org/", "http://[::1]:4080/"],
                &["example.org", "https://", "ftp://x.org", "https://a b"],
            ),
            (
                language,
                &["English", "Brazilian Portuguese", "Français"],
                &["\u{202e}hsilgnE", "a\u{2028}b", "\u{1b}[31m"],
            ),
        ];
        for (check, good, bad) in cases {
            assert_eq!(check(""), Ok(None));
            for value in good {
                assert_eq!(check(value), Ok(Some(value.to_string())));
            }
            for value in bad.iter().map(|bad| bad.to_string()).chain(["x".repeat(300)]) {
                assert!(check(&value).is_err_and(|error| error.problem.contains(" is not ")), "{value:?}");
            }
        }
    }
}
