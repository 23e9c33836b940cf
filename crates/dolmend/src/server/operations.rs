//! What concerns the server itself, and no user: its configuration, the console's lock, the names in the log, an
//! announced end, and what an end waits for.

use std::fmt;
use std::time::{Duration, Instant};

use dolmen::{Event, ListenerId, TimerId};

use super::countdown::{self, Countdown};
use super::metrics::Metrics;
use super::newcomers::Port;
use super::{COUNTDOWN, DRAIN, Server, WAITING};
use crate::config::{Config, PortSpec};
use crate::logging::{self, names};
use crate::notify;
use crate::world::{Operation, UserId, World};

/// After this time an end reports what it waits for, and again each time it is over.
const WAITING_INTERVAL: Duration = Duration::from_secs(1);

/// How many connections such a report names.
const MOST_NAMED: usize = 5;

/// Reads the configuration again.
pub(super) type Source = Box<dyn Fn() -> Result<Config, String>>;

/// The server's own state.
pub(super) struct Operations {
    /// The configuration in force.
    pub config: Config,
    pub source: Option<Source>,
    /// The open ports of the configuration.
    pub ports: Vec<(PortSpec, ListenerId)>,
    pub metrics: Option<Metrics>,
    pub stats: Option<TimerId>,
    /// The timer that tries again to start threads, while the system refuses some.
    pub thread_retry: Option<TimerId>,
    /// The problem of the last reload, if it was refused.
    pub refused_reload: Option<String>,
    /// The operator has locked the console.
    pub locked: bool,
    countdown: Option<Countdown>,
    /// When an end began, and the timer of its reports.
    ending: Option<(Instant, TimerId)>,
    /// Users whose connection is closed, but whose last line may not be logged yet.
    pub closed: Vec<UserId>,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations")
            .field("ports", &self.ports)
            .field("locked", &self.locked)
            .finish_non_exhaustive()
    }
}

impl Operations {
    pub(super) fn new(config: &Config, listening: &[Port]) -> Operations {
        Operations {
            config: config.clone(),
            source: None,
            ports: matched(&config.ports, listening),
            metrics: None,
            stats: None,
            thread_retry: None,
            refused_reload: None,
            locked: false,
            countdown: None,
            ending: None,
            closed: Vec::new(),
        }
    }
}

/// The configured port of each listener. Both are in the same order, and ports that this machine cannot have are missing.
fn matched(specs: &[PortSpec], listening: &[Port]) -> Vec<(PortSpec, ListenerId)> {
    let mut listening = listening.iter().peekable();
    let mut ports = Vec::new();
    for spec in specs {
        let is_it = |port: &&Port| {
            port.address.ip() == spec.address.ip() && [0, port.address.port()].contains(&spec.address.port())
        };
        if let Some(port) = listening.next_if(is_it) {
            ports.push((*spec, port.id));
        }
    }
    ports
}

impl<W: World> Server<W> {
    /// Reads the configuration by `source` when the operator or `SIGHUP` asks for it.
    pub fn reload_by(&mut self, source: impl Fn() -> Result<Config, String> + 'static) {
        self.operations.source = Some(Box::new(source));
    }

    /// The events of the server's own sources; returns the others.
    pub(super) fn operate_on<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        match event {
            Event::Timer { token: COUNTDOWN, .. } => self.count_down(),
            Event::Timer { token: WAITING, .. } => self.report_waiting(),
            event => return self.metrics_event(event),
        }
        None
    }

    pub(super) fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::Lock(on) => self.lock(on),
            Operation::Reload => self.reload(),
            Operation::LogLevel(level) => {
                logging::set_level(&self.operations.config.log, level);
                self.answer(&format!(
                    "The log has {level} and what is more important, until the next reload.\n"
                ));
            }
            Operation::ShutdownIn(time) => self.announce_end(time),
            Operation::CancelShutdown => self.cancel_end(),
        }
    }

    fn lock(&mut self, on: bool) {
        self.operations.locked = on;
        #[cfg(unix)]
        dolmen::internal::prevent_stop(on);
        tracing::info!("the console is {}", if on { "locked" } else { "unlocked" });
    }

    /// The log forgets the names of users who are gone.
    pub(super) fn forget_names(&mut self) {
        let users = &self.users;
        self.operations.closed.retain(|&id| {
            let stays = users.get(id).is_some();
            if !stays {
                names::forget(id.0);
            }
            stays
        });
    }

    fn announce_end(&mut self, time: Duration) {
        let left = time.as_secs();
        if left == 0 {
            return self.shut_down();
        }
        self.forget_countdown();
        tracing::info!(seconds = left, "shutting down later");
        self.answer(&format!("Shutting down in {left} s; 'shutdown cancel' prevents it.\n"));
        self.tell_and_wait(left);
    }

    fn count_down(&mut self) {
        match self.operations.countdown.take() {
            Some(Countdown { next: 0, .. }) => self.shut_down(),
            Some(Countdown { next, .. }) => self.tell_and_wait(next),
            None => {}
        }
    }

    fn tell_and_wait(&mut self, left: u64) {
        self.tell_everyone(&countdown::text(left));
        let next = countdown::next_mark(left);
        let timer = self.reactor.add_timer(countdown::until(left, next), COUNTDOWN);
        self.operations.countdown = Some(Countdown { next, timer });
    }

    fn cancel_end(&mut self) {
        if self.forget_countdown() {
            tracing::info!("not shutting down after all");
            self.tell_everyone("\nThe server does not shut down after all.\n");
            self.answer("Cancelled.\n");
        } else {
            self.answer("No shutdown was announced.\n");
        }
    }

    fn forget_countdown(&mut self) -> bool {
        let countdown = self.operations.countdown.take();
        countdown.is_some_and(|countdown| self.reactor.remove_timer(countdown.timer))
    }

    fn tell_everyone(&mut self, text: &str) {
        let (_, mut turn) = self.turn();
        turn.broadcast(text);
        self.carry_out();
    }

    /// An orderly end begins.
    pub(super) fn end_begins(&mut self) {
        self.forget_countdown();
        notify::stopping("telling the players");
        let timer = self.reactor.add_interval(WAITING_INTERVAL, WAITING);
        self.operations.ending = Some((Instant::now(), timer));
        if let Some(console) = self.console.as_mut().filter(|console| console.is_terminal()) {
            console.ask(&mut self.reactor, "", true);
        }
    }

    /// Reports what the end waits for.
    fn report_waiting(&mut self) {
        let Some((began, _)) = self.operations.ending else { return };
        let mut text = match self.leaving.len() {
            0 => "Waiting until the console's output is read".to_owned(),
            1 => "Waiting for one connection to close".to_owned(),
            count => format!("Waiting for {count} connections to close"),
        };
        for (id, leaving) in self.leaving.iter().take(MOST_NAMED) {
            let name = names::with(id.0, |name| format!(" {name}")).unwrap_or_default();
            text.push_str(&format!(", {id}{name} {}", leaving.peer));
        }
        if self.leaving.len() > MOST_NAMED {
            text.push_str(", …");
        }
        text.push_str(&bound(began.elapsed()));
        notify::status(&text);
        tracing::info!("{text}");
        if self.console.as_ref().is_some_and(|console| console.is_terminal()) {
            self.answer(&format!("{text}\n"));
        }
    }
}

/// How much longer an end waits for connections, after this time.
fn bound(elapsed: Duration) -> String {
    match DRAIN.saturating_sub(elapsed).as_millis().div_ceil(1000) {
        // The last of them are being closed, or the console's output is not read.
        0 => String::new(),
        left => format!("; {left} s at most"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_an_end_is_said_once_for_each_second() {
        let shown = |milliseconds| bound(Duration::from_millis(milliseconds));
        assert_eq!(shown(1), "; 5 s at most");
        let each_second = [1003, 2003, 3003, 4003, 5003].map(shown);
        assert_eq!(each_second, ["; 4 s at most", "; 3 s at most", "; 2 s at most", "; 1 s at most", ""]);
    }
}
