//! What clients say about themselves and ask for, between their lines.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use super::Server;
use crate::layer::Output;
use crate::telnet::mssp::Variables;
use crate::telnet::{ClientEvent, json_string};
use crate::world::{UserId, World};

impl<W: World> Server<W> {
    /// Passes on the facts and requests that a user's session has received.
    pub(super) fn client_events(&mut self, id: UserId) {
        while let Some(event) = self.users.get_mut(id).and_then(|user| user.session.next_event()) {
            self.client_event(id, event);
            self.carry_out();
        }
    }

    fn client_event(&mut self, id: UserId, event: ClientEvent) {
        match event {
            ClientEvent::WindowSize(size) => {
                let (world, mut turn) = self.turn();
                world.window_size(&mut turn, id, size);
            }
            ClientEvent::TerminalType => {
                let Some(client) = self.users.get(id).map(|user| user.session.client().clone()) else {
                    return;
                };
                tracing::debug!(user = %id, name = %client.name, terminal = %client.terminal, "client known");
                let (world, mut turn) = self.turn();
                world.terminal_type(&mut turn, id, &client);
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
                self.send_output(id, Output::Gmcp { package: "Char.Login.Default", data });
            }
            ClientEvent::TakesLogin => {}
            ClientEvent::Credentials { account, password } if self.world.takes_credentials() => {
                let (world, mut turn) = self.turn();
                world.credentials(&mut turn, id, &account, &password);
            }
            ClientEvent::Credentials { .. } => {
                let message = json_string("Please log in by typing your name.");
                let data = format!(r#"{{"success":false,"message":{message}}}"#);
                self.send_output(id, Output::Gmcp { package: "Char.Login.Result", data: &data });
            }
            ClientEvent::ServerStatus => {
                let variables = self.server_status().to_payload();
                self.send_output(id, Output::ServerStatus(&variables));
            }
            ClientEvent::Address(address) => self.name_peer(id, SocketAddr::new(address, 0)),
        }
    }

    /// The variables of MSSP.
    pub(super) fn server_status(&self) -> Variables {
        let mut variables = Variables::default();
        variables.set("NAME", [&self.mud_name]);
        variables.set("PLAYERS", [self.users.len()]);
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        variables.set("UPTIME", [started.as_secs()]);
        let ports: BTreeSet<u16> = self.ports.iter().map(|port| port.address.port()).collect();
        variables.set("PORT", ports);
        variables.set("CHARSET", ["UTF-8"]);
        variables.set("CODEBASE", [concat!("dolmend ", env!("CARGO_PKG_VERSION"))]);
        variables.set("CRAWL DELAY", ["-1"]);
        self.world.server_status(&mut variables);
        variables
    }
}
