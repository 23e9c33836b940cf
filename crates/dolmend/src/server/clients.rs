//! What clients say about themselves and ask for, between their lines.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use super::Server;
use crate::config::PortKind;
use crate::encoding::TextEncoding;
use crate::endpoint::{Order, Turn};
use crate::telnet::mssp::Variables;
use crate::telnet::{Client, ClientEvent, json_string};
use crate::user::{User, about};
use crate::world::{UserId, World};

impl<W: World> Server<W> {
    /// Passes on the next fact or request that a user's session has received. Each has cost a command: a client that
    /// repeats them is slowed down like a player who types.
    pub(super) fn run_event(&mut self, id: UserId) {
        let Some((event, client)) = self.users.get_mut(id).and_then(|user| user.events.pop_front()) else {
            return;
        };
        self.users.enqueue(id);
        self.answering = Some(id);
        self.client_event(id, event, client.as_deref());
        self.carry_out();
        self.answering = None;
        self.order(id, Order::Next(Turn::Event));
    }

    fn client_event(&mut self, id: UserId, event: ClientEvent, client: Option<&Client>) {
        match event {
            ClientEvent::WindowSize(size) => {
                let (world, mut turn) = self.turn();
                world.window_size(&mut turn, id, size);
            }
            ClientEvent::TerminalType => {
                let (Some(user), Some(client)) = (self.users.get(id), client) else { return };
                about!(debug, user, client = %client.name, terminal = %client.terminal, "client known");
                let (world, mut turn) = self.turn();
                world.terminal_type(&mut turn, id, client);
            }
            ClientEvent::Alive => {
                let (world, mut turn) = self.turn();
                world.client_answered(&mut turn, id);
            }
            ClientEvent::Gmcp { package, data } => {
                let (world, mut turn) = self.turn();
                world.gmcp(&mut turn, id, &package, &data);
            }
            ClientEvent::TakesLogin if self.world.takes_credentials() => {
                let data = r#"{"type":["password-credentials"]}"#;
                self.send_gmcp(id, "Char.Login.Default".into(), data.into());
            }
            ClientEvent::TakesLogin => {}
            ClientEvent::Credentials { account, password } if self.world.takes_credentials() => {
                let (world, mut turn) = self.turn();
                world.credentials(&mut turn, id, &account, &password);
            }
            ClientEvent::Credentials { .. } => {
                let message = json_string("Please log in by typing your name.");
                let data = format!(r#"{{"success":false,"message":{message}}}"#);
                self.send_gmcp(id, "Char.Login.Result".into(), data.into());
            }
            ClientEvent::ServerStatus => {
                let variables = self.server_status().to_payload();
                let (call, share) = (self.call, self.share_of_protocols(id));
                self.order(id, Order::ServerStatus { variables: variables.into(), call, share });
            }
            ClientEvent::Address(address) if self.may_be_named(id) => {
                self.name_peer(id, SocketAddr::new(address, 0));
            }
            ClientEvent::Address(address) => {
                if let Some(user) = self.users.get(id) {
                    about!(warn, user, %address, "ignored: a proxy names the address of a player who is in already");
                }
            }
        }
    }

    /// Whether a proxy may still name the address of a user: before the first line, and before the name.
    fn may_be_named(&self, id: UserId) -> bool {
        let is_in = |user: &User| self.world.has_login() && user.limits.is_logged_on();
        self.users.get(id).is_some_and(|user| !user.has_spoken && !is_in(user))
    }

    /// The variables of MSSP.
    pub(super) fn server_status(&self) -> Variables {
        let config = &self.operations.config;
        let mut variables = Variables::default();
        variables.set("NAME", [&config.mud_name]);
        // A crawler is none itself.
        variables.set("PLAYERS", [self.users.logged_on()]);
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        variables.set("UPTIME", [started.as_secs()]);
        variables.set("HOSTNAME", &config.listing.host_name);
        let telnet = || self.ports.iter().filter(|port| port.kind == PortKind::Telnet);
        variables.set("PORT", telnet().map(|port| port.address.port()).collect::<BTreeSet<_>>());
        variables
            .set("CHARSET", charsets(config.encoding, telnet().filter_map(|port| port.options.encoding)));
        variables.set("CODEBASE", [concat!("dolmend ", env!("CARGO_PKG_VERSION"))]);
        variables.set("CONTACT", &config.listing.contact);
        variables.set("WEBSITE", &config.listing.website);
        variables.set("LANGUAGE", &config.listing.language);
        variables.set("CRAWL DELAY", ["-1"]);
        // Each client gets the colours that it has.
        variables.set("XTERM 256 COLORS", ["1"]);
        variables.set("XTERM TRUE COLORS", ["1"]);
        self.world.server_status(&mut variables);
        variables
    }
}

/// The encodings of players whose clients name none, and UTF-8, which a client may always choose.
fn charsets(configured: TextEncoding, of_ports: impl Iterator<Item = TextEncoding>) -> Vec<&'static str> {
    let mut names = Vec::new();
    for encoding in std::iter::once(configured).chain(of_ports).chain([TextEncoding::UTF_8]) {
        if !names.contains(&encoding.name()) {
            names.push(encoding.name());
        }
    }
    names
}
