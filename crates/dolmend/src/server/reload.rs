//! Another configuration, while the server runs and the players stay.
//!
//! First everything that can fail is done: the configuration is read, ports and the log file are opened. If one step
//! fails, those before it are taken back, and the old configuration stays in force whole. What follows cannot fail.

use std::fs::File;
use std::net::SocketAddr;

use dolmen::ListenerId;

use super::metrics::Metrics;
use super::newcomers::Port;
use super::{PORT, Server};
use crate::config::{Change, Config, PortKind, PortSpec};
use crate::limits::Limits;
use crate::ports::{self, OpenPort};
use crate::world::World;
use crate::{descriptors, logging, notify};

impl<W: World> Server<W> {
    /// Brings the configuration into force, as it is now.
    pub(super) fn reload(&mut self) {
        if self.shutdown.has_begun() {
            return self.answer("The server is shutting down.\n");
        }
        notify::reloading();
        let text = match self.try_reload() {
            Ok(report) => report,
            Err(problem) => {
                for line in problem.lines() {
                    tracing::error!("not reloaded: {line}");
                }
                format!("Nothing has changed, because the new configuration is refused:\n{problem}\n")
            }
        };
        self.answer(&text);
        // Some users may not be welcome any more.
        self.carry_out();
        self.tell_ready();
    }

    /// Tells the service manager that the server serves.
    pub(crate) fn tell_ready(&self) {
        let ports: Vec<String> = self.ports.iter().map(|port| port.address.to_string()).collect();
        notify::ready(&format!("serving {}", ports.join(" ")));
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let Some(source) = &self.operations.source else {
            return Err("this server has no configuration that could be read again".into());
        };
        let wanted = source()?;
        let changes = self.operations.config.changes_to(&wanted);
        let new = wanted.without_restart(&self.operations.config);
        let log = logging::open(&new.log)
            .map_err(|error| format!("{}: {error}", new.log.file.clone().unwrap_or_default().display()))?;
        let metrics = self.open_metrics(&new)?;
        let opened = match self.change_ports(&new) {
            Ok(opened) => opened,
            Err(problem) => {
                if let Some(Some(metrics)) = metrics {
                    metrics.close(&mut self.reactor);
                }
                return Err(problem);
            }
        };
        self.bring_into_force(new, log, metrics);
        Ok(report(&changes, &opened))
    }

    /// What cannot fail.
    fn bring_into_force(&mut self, new: Config, log: Option<File>, metrics: Option<Option<Metrics>>) {
        logging::apply_opened(&new.log, log);
        if let Some(metrics) = metrics {
            if let Some(old) = std::mem::replace(&mut self.operations.metrics, metrics) {
                old.close(&mut self.reactor);
            }
        }
        if new.stats != self.operations.config.stats {
            if let Some(timer) = self.operations.stats.take() {
                self.reactor.remove_timer(timer);
            }
            if let Some(period) = new.stats {
                self.log_stats_every(period);
            }
        }
        self.set_limits(Limits::from(&new));
        self.line_length_bytes = new.line_length_bytes;
        self.encoding = new.encoding;
        self.mccp = new.mccp;
        descriptors::make_room_for(Server::<W>::most_connections(&new));
        self.operations.config = new;
    }

    /// The port of the metrics: `None` if it stays as it is.
    fn open_metrics(&mut self, new: &Config) -> Result<Option<Option<Metrics>>, String> {
        if new.metrics == self.operations.config.metrics {
            return Ok(None);
        }
        new.metrics.map(|address| Metrics::open(&mut self.reactor, address)).transpose().map(Some)
    }

    /// Opens the new ports, lets the world take the configuration, and closes the ports that are no longer wanted; or
    /// changes nothing. Returns the new ones.
    fn change_ports(&mut self, new: &Config) -> Result<Vec<(SocketAddr, PortKind)>, String> {
        let mut missing = new.ports.clone();
        let mut surplus = Vec::new();
        for &(spec, id) in &self.operations.ports {
            let real = self.ports.iter().find(|port| port.id == id).map(|port| port.address);
            let is_it = |other: &PortSpec| other.address == spec.address || Some(other.address) == real;
            match missing.iter().position(is_it) {
                Some(place) => drop(missing.remove(place)),
                None => surplus.push((spec, id)),
            }
        }
        // Ports that this machine cannot have are not asked for again.
        if new.ports_are_built_in && self.operations.config.ports_are_built_in {
            missing.clear();
        }
        let opened = self.open_ports(&missing).map_err(|problem| problem + advice(&missing, &surplus))?;
        let (world, mut turn) = self.turn();
        if let Err(problem) = world.reconfigured(&mut turn, new) {
            for port in opened {
                self.reactor.remove_listener(port.id);
            }
            return Err(problem);
        }
        for (_, id) in surplus {
            self.close_port(id);
        }
        let reported = opened.iter().map(|port| (port.address, port.kind)).collect();
        for (spec, port) in missing.into_iter().zip(opened) {
            self.operations.ports.push((spec, port.id));
            self.ports.push(port);
        }
        self.set_kinds(new);
        Ok(reported)
    }

    /// All of them, or none.
    fn open_ports(&mut self, specs: &[PortSpec]) -> Result<Vec<Port>, String> {
        let (opened, _) = ports::open(specs, false).map_err(|failed| {
            let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
            failed.join("\n")
        })?;
        let mut registered: Vec<Port> = Vec::new();
        for OpenPort { listener, address, kind, options } in opened {
            match self.reactor.listen(listener, PORT) {
                Ok(id) => registered.push(Port { id, address, kind, options }),
                Err(error) => {
                    for port in registered {
                        self.reactor.remove_listener(port.id);
                    }
                    return Err(format!("{address}: {error}"));
                }
            }
        }
        Ok(registered)
    }

    fn close_port(&mut self, id: ListenerId) {
        self.operations.ports.retain(|&(_, other)| other != id);
        self.ports.retain(|port| port.id != id);
        self.reactor.remove_listener(id);
    }

    /// A port whose address stays may have another kind and other options, for newcomers.
    fn set_kinds(&mut self, new: &Config) {
        for (spec, id) in &mut self.operations.ports {
            let Some(port) = self.ports.iter_mut().find(|port| port.id == *id) else { continue };
            if let Some(wanted) = new.ports.iter().find(|wanted| wanted.address == port.address) {
                *spec = *wanted;
                (port.kind, port.options) = (wanted.kind, wanted.options);
            }
        }
    }
}

/// What to do when a new port cannot be opened beside an old one, as 0.0.0.0:4000 beside 127.0.0.1:4000. The old ones
/// are closed last: they could not be opened again for certain.
fn advice(missing: &[PortSpec], surplus: &[(PortSpec, ListenerId)]) -> &'static str {
    let same = |new: &PortSpec| surplus.iter().any(|(old, _)| old.address.port() == new.address.port());
    if missing.iter().any(same) {
        "\nIf it is in use by a port of this server that is to be closed: reload without the new port, and then with it. \
         On Windows a wider port opens only when those who came through the narrower one have left."
    } else {
        ""
    }
}

/// The answer to the operator; each change is in the log as well.
fn report(changes: &[Change], opened: &[(SocketAddr, PortKind)]) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        tracing::info!("reloaded: {line}");
        text.push_str(&line);
        text.push('\n');
    };
    match changes.len() {
        0 => line("no key has changed; files were read again".into()),
        _ => changes.iter().for_each(|change| line(change.to_string())),
    }
    for (address, kind) in opened {
        line(format!("listening {address} {kind}"));
    }
    text
}
