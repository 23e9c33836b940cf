//! GMCP: messages between the client's program and the game, each a name and JSON.
//!
//! What concerns the connection is handled here: `Core` and the login. All else is for the world.

use serde_json::Value;

use super::byte::option;
use super::client::{Client, ClientEvent};
use super::engine::subnegotiation;
use crate::layer::{Message, Outward};
use crate::line::is_invisible;

/// The longest name of a message.
const MOST_NAME_BYTES: usize = 128;

/// The longest text that is kept of what a client says about itself.
const MOST_CHARS: usize = 64;

/// How many packages of a client are remembered.
const MOST_PACKAGES: usize = 64;

/// The messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Gmcp {
    /// The packages that the client has named, in small letters, without versions.
    packages: Vec<String>,
}

impl Gmcp {
    pub(super) fn send(&self, package: &str, data: &str, outward: &mut Outward) {
        let space = if data.is_empty() { "" } else { " " };
        subnegotiation(option::GMCP, [package, space, data].concat().as_bytes(), outward);
    }

    /// Takes a message of the client.
    pub(super) fn receive(
        &mut self,
        payload: &[u8],
        client: &mut Client,
        inward: &mut dyn FnMut(Message<'_>),
        outward: &mut Outward,
    ) {
        let text = String::from_utf8_lossy(payload);
        let (package, data) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        let data = data.trim();
        if package.is_empty()
            || package.len() > MOST_NAME_BYTES
            || !package.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return;
        }
        match package.to_ascii_lowercase().as_str() {
            "core.hello" => {
                let Ok(hello) = serde_json::from_str::<Value>(data) else { return };
                client.name = short(&hello["client"]).unwrap_or_else(|| client.name.clone());
                client.version = short(&hello["version"]).unwrap_or_default();
                inward(Message::Client(ClientEvent::TerminalType));
            }
            "core.ping" => self.send("Core.Ping", "", outward),
            "core.keepalive" => {}
            change @ ("core.supports.set" | "core.supports.add" | "core.supports.remove") => {
                let took_login = self.takes_login();
                self.change_packages(change, data);
                let channels =
                    self.packages.iter().any(|package| ["comm", "comm.channel"].contains(&package.as_str()));
                if std::mem::replace(&mut client.channels, channels) != channels {
                    inward(Message::Client(ClientEvent::TerminalType));
                }
                if self.takes_login() && !took_login {
                    inward(Message::Client(ClientEvent::TakesLogin));
                }
            }
            "char.login.credentials" => {
                let Ok(login) = serde_json::from_str::<Value>(data) else { return };
                let (Some(account), Some(password)) = (login["account"].as_str(), login["password"].as_str())
                else {
                    return;
                };
                let (account, password) = (account.to_owned(), password.to_owned());
                inward(Message::Client(ClientEvent::Credentials { account, password }));
            }
            _ => inward(Message::Client(ClientEvent::Gmcp {
                package: package.to_owned(),
                data: data.to_owned(),
            })),
        }
    }

    fn takes_login(&self) -> bool {
        self.packages.iter().any(|package| package == "char.login")
    }

    /// A list such as `["Char 1", "Char.Login 1"]`.
    fn change_packages(&mut self, change: &str, data: &str) {
        let Ok(Value::Array(list)) = serde_json::from_str::<Value>(data) else { return };
        if change == "core.supports.set" {
            self.packages.clear();
        }
        for name in list.iter().filter_map(Value::as_str) {
            let name = name.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            self.packages.retain(|package| *package != name);
            if change != "core.supports.remove"
                && self.packages.len() < MOST_PACKAGES
                && name.len() <= MOST_NAME_BYTES
            {
                self.packages.push(name);
            }
        }
    }
}

/// A text that a client says about itself, without control characters, and without those that are not seen.
fn short(value: &Value) -> Option<String> {
    let seen = |character: &char| !character.is_control() && !is_invisible(*character);
    Some(value.as_str()?.chars().filter(seen).take(MOST_CHARS).collect())
}

/// A text as JSON.
pub fn string(text: &str) -> String {
    Value::from(text).to_string()
}
