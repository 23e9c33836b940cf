//! MSSP: the server's status, for lists of games and their crawlers.

use super::byte::IAC;

const VAR: u8 = 1;
const VAL: u8 = 2;

/// The line with which a crawler without telnet asks.
pub const REQUEST: &str = "MSSP-REQUEST";

/// Variables, each with one value or several.
///
/// ```
/// use dolmend::telnet::mssp::Variables;
///
/// let mut variables = Variables::default();
/// variables.set("NAME", ["Dolmen"]);
/// variables.set("PORT", ["4000", "4001"]);
/// assert_eq!(variables.to_text(), "\nMSSP-REPLY-START\nNAME\tDolmen\nPORT\t4000\t4001\nMSSP-REPLY-END\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    list: Vec<(String, Vec<String>)>,
}

impl Variables {
    /// Sets a variable. The bytes that the protocol does not allow, and control characters, are left out.
    pub fn set<V: ToString>(&mut self, name: &str, values: impl IntoIterator<Item = V>) {
        let plain =
            |text: String| -> String { text.chars().filter(|character| !character.is_control()).collect() };
        let values: Vec<String> = values.into_iter().map(|value| plain(value.to_string())).collect();
        let name = plain(name.to_owned());
        self.list.retain(|(other, _)| *other != name);
        if !values.is_empty() {
            self.list.push((name, values));
        }
    }

    /// The form for telnet's subnegotiation.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        for (name, values) in &self.list {
            payload.push(VAR);
            payload.extend(name.bytes());
            for value in values {
                payload.push(VAL);
                payload.extend(value.bytes());
            }
        }
        // UTF-8 has no byte 255, and control characters are left out.
        debug_assert!(!payload.contains(&IAC));
        payload
    }

    /// The form for plain text: tabs between name and values.
    pub fn to_text(&self) -> String {
        let mut text = String::from("\nMSSP-REPLY-START\n");
        for (name, values) in &self.list {
            text.push_str(name);
            for value in values {
                text.push('\t');
                text.push_str(value);
            }
            text.push('\n');
        }
        text + "MSSP-REPLY-END\n"
    }
}
