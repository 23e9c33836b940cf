//! Another configuration, while the server runs and the players stay.
//!
//! First everything that can fail is done, and can be undone: the configuration is read, ports and the log file are opened.
//! Then the world takes the configuration or refuses it. If one step fails, those before it are taken back, and the old
//! configuration stays in force whole. What follows cannot fail.
//!
//! The server's parts have no copies of a configuration's values. They read the one in force, or
//! [`apply`](Server::apply) brings the values to them, at the start as well.

use std::net::SocketAddr;

use dolmen::ListenerId;

use super::metrics::{self, Metrics};
use super::newcomers::Port;
use super::{PORT, STATS, Server};
use crate::config::{Change, Config, PortSpec};
use crate::limits::Limits;
use crate::logging::{self, LogFile};
use crate::ports::{self, OpenPort};
use crate::world::World;
use crate::{descriptors, notify};

/// What a new configuration has had opened. It is brought into force or discarded.
struct Opened {
    /// The new ports, in the order of `missing`.
    ports: Vec<Port>,
    /// The specifications of the new ports.
    missing: Vec<PortSpec>,
    /// The open ports that stay, as they are to be.
    kept: Vec<(PortSpec, ListenerId)>,
    /// The ports that are to be closed.
    surplus: Vec<ListenerId>,
    /// `None` if the port of the metrics stays as it is.
    metrics: Option<Option<Metrics>>,
    log: LogFile,
}

impl Opened {
    /// What is new, in the words and the order of the start. The real addresses: 0 may be configured as the port.
    fn addresses(&self) -> Vec<String> {
        let ports = self.ports.iter().map(|port| format!("listening {} {}", port.address, port.kind));
        let metrics = self.metrics.iter().flatten();
        ports
            .chain(metrics.map(|metrics| format!("metrics   http://{}/metrics", metrics.address())))
            .collect()
    }
}

impl<W: World> Server<W> {
    /// Brings the configuration into force, as it is now.
    pub(super) fn reload(&mut self) {
        if self.shutdown.has_begun() {
            return self.answer("The server is shutting down.\n");
        }
        notify::reloading();
        self.operations.refused_reload = None;
        let text = match self.try_reload() {
            Ok(report) => report,
            Err(problem) => {
                for line in problem.lines() {
                    tracing::error!("not reloaded: {line}");
                }
                self.operations.refused_reload = problem.lines().next().map(str::to_owned);
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
        let refused = self.operations.refused_reload.as_deref();
        let refused = refused.map_or(String::new(), |problem| format!("reload refused: {problem}; "));
        notify::ready(&format!("{refused}serving {}", ports.join(" ")));
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let Some(source) = &self.operations.source else {
            return Err("this server has no configuration that could be read again".into());
        };
        let wanted = source()?;
        wanted.check_kinds(W::serves).map_err(|problem| problem.to_string())?;
        let changes = self.operations.config.changes_to(&wanted);
        let new = wanted.without_restart(&self.operations.config);
        let mut warnings = new.warnings.clone();
        let opened = self.open_for(&new)?;
        let (world, mut turn) = self.turn();
        if let Err(problem) = world.reconfigured(&mut turn, &new) {
            self.close_ports(opened.ports);
            self.close_metrics(opened.metrics.flatten());
            opened.log.discard();
            return Err(problem);
        }
        let addresses = opened.addresses();
        self.bring_into_force(new, opened);
        if self.crew.threads() < self.operations.config.io_threads {
            warnings.push("not all `io threads` could be started; the log says why".into());
        }
        Ok(report(&changes, addresses, &warnings))
    }

    /// Opens whatever is new, or nothing.
    fn open_for(&mut self, new: &Config) -> Result<Opened, String> {
        let Matched { kept, surplus, missing } = self.compare_ports(new);
        let ports = self.open_ports(&missing).map_err(|problem| problem + advice(&missing, &surplus))?;
        let surplus = surplus.into_iter().map(|(_, id)| id).collect();
        let metrics = match self.open_metrics(new) {
            Ok(metrics) => metrics,
            Err(problem) => {
                self.close_ports(ports);
                let is_own = |new: SocketAddr| {
                    let own = self.operations.config.metrics.into_iter();
                    own.chain(self.ports.iter().map(|port| port.address)).any(|old| old.port() == new.port())
                };
                let advice = if new.metrics.is_some_and(is_own) { ADVICE } else { "" };
                return Err(problem + advice);
            }
        };
        // Last, because it makes the file.
        match LogFile::open(&new.log) {
            Ok(log) => Ok(Opened { ports, missing, kept, surplus, metrics, log }),
            Err(error) => {
                self.close_ports(ports);
                self.close_metrics(metrics.flatten());
                Err(format!("{}: {error}", new.log.file.clone().unwrap_or_default().display()))
            }
        }
    }

    /// What cannot fail.
    fn bring_into_force(&mut self, new: Config, opened: Opened) {
        logging::apply_opened(&new.log, opened.log);
        if let Some(metrics) = opened.metrics {
            let old = std::mem::replace(&mut self.operations.metrics, metrics);
            self.close_metrics(old);
        }
        for id in opened.surplus {
            self.close_port(id);
        }
        for (spec, port) in opened.missing.into_iter().zip(opened.ports) {
            self.operations.ports.push((spec, port.id));
            self.ports.push(port);
        }
        self.set_kinds(opened.kept);
        self.apply(new);
    }

    /// Has the server act by this configuration. Its ports are open already, and so is its log.
    pub(super) fn apply(&mut self, config: Config) {
        self.set_limits(Limits::from(&config));
        // A timer that stays the same goes on, however often the configuration is read again.
        if config.stats != self.operations.config.stats || self.operations.stats.is_none() {
            if let Some(timer) = self.operations.stats.take() {
                self.reactor.remove_timer(timer);
            }
            self.operations.stats = config.stats.map(|period| self.reactor.add_interval(period, STATS));
        }
        descriptors::make_room_for(Server::<W>::most_connections(&config));
        self.operations.config = config;
        self.set_rules();
        self.set_threads();
    }

    /// The port of the metrics: `None` if it stays as it is.
    fn open_metrics(&mut self, new: &Config) -> Result<Option<Option<Metrics>>, String> {
        if new.metrics == self.operations.config.metrics {
            return Ok(None);
        }
        let port = new.metrics.map(metrics::open).transpose()?;
        port.map(|port| Metrics::serve(&mut self.reactor, port)).transpose().map(Some)
    }

    fn close_metrics(&mut self, metrics: Option<Metrics>) {
        if let Some(metrics) = metrics {
            metrics.close(&mut self.reactor);
        }
    }

    /// The ports of a configuration beside the open ones.
    fn compare_ports(&self, new: &Config) -> Matched {
        let mut matched = self.match_ports(new);
        // Ports that this machine cannot have are not asked for again.
        if new.ports_are_built_in && self.operations.config.ports_are_built_in {
            matched.missing.clear();
        }
        matched
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
                    self.close_ports(registered);
                    return Err(format!("{address}: {error}"));
                }
            }
        }
        Ok(registered)
    }

    /// Closes ports that were not brought into force.
    fn close_ports(&mut self, ports: Vec<Port>) {
        for port in ports {
            self.reactor.remove_listener(port.id);
        }
    }

    fn close_port(&mut self, id: ListenerId) {
        self.operations.ports.retain(|&(_, other)| other != id);
        self.ports.retain(|port| port.id != id);
        self.reactor.remove_listener(id);
    }

    /// Which of the wanted ports are open already. One that has not changed comes before one with another kind, because
    /// several may have the address with port 0.
    fn match_ports(&self, new: &Config) -> Matched {
        let (mut kept, mut surplus) = (Vec::new(), self.operations.ports.clone());
        let mut missing = new.ports.clone();
        for has_changed in [false, true] {
            surplus.retain(|&(spec, id)| {
                let real = self.ports.iter().find(|port| port.id == id).map(|port| port.address);
                let is_it = |wanted: &PortSpec| match has_changed {
                    false => *wanted == spec,
                    true => wanted.address == spec.address || Some(wanted.address) == real,
                };
                let place = missing.iter().position(is_it);
                kept.extend(place.map(|place| (missing.remove(place), id)));
                place.is_none()
            });
        }
        Matched { kept, surplus, missing }
    }

    /// A port that stays may have another kind and other options, for newcomers.
    fn set_kinds(&mut self, kept: Vec<(PortSpec, ListenerId)>) {
        for (wanted, id) in kept {
            for (spec, _) in self.operations.ports.iter_mut().filter(|(_, other)| *other == id) {
                *spec = wanted;
            }
            for port in self.ports.iter_mut().filter(|port| port.id == id) {
                (port.kind, port.options) = (wanted.kind, wanted.options);
            }
        }
    }
}

/// The open ports and the wanted ones.
struct Matched {
    /// Those that stay, as they are wanted.
    kept: Vec<(PortSpec, ListenerId)>,
    /// Those that are wanted no longer.
    surplus: Vec<(PortSpec, ListenerId)>,
    /// Those that are still to be opened.
    missing: Vec<PortSpec>,
}

/// What to do about a port that one of this server's own is in the way of.
const ADVICE: &str = "\nIf it is in use by a port of this server that is to be closed: put another port in its place, such \
    as 'port : 127.0.0.1:0', and reload; then put this one in, and reload. On Windows a wider port opens only when those \
    who came through the narrower one have left.";

/// What to do when a new port cannot be opened beside an old one, as 0.0.0.0:4000 beside 127.0.0.1:4000. The old ones
/// are closed last: they could not be opened again for certain.
fn advice(missing: &[PortSpec], surplus: &[(PortSpec, ListenerId)]) -> &'static str {
    let same = |new: &PortSpec| surplus.iter().any(|(old, _)| old.address.port() == new.address.port());
    if missing.iter().any(same) { ADVICE } else { "" }
}

/// The answer to the operator; each change is in the log as well.
fn report(changes: &[Change], addresses: Vec<String>, warnings: &[String]) -> String {
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
    addresses.into_iter().for_each(line);
    for warning in warnings {
        tracing::warn!("{warning}");
        text.push_str(&format!("Warning: {warning}\n"));
    }
    text
}
