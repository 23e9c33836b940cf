//! The loop: connections, the console and signals on one side, a world on the other.
//!
//! The reactor has every source, so the loop blocks in one place only. A round takes the events of one
//! wait, and then gives each user with a waiting line one turn. A user with more lines goes to the end of the queue and
//! the next wait does not block. So a thousand pasted lines take a thousand rounds, and the lines of all other users
//! are processed in the next round.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | the round |
//! | `actions.rs` | what the world asks for |
//! | `newcomers.rs` | arrivals and their limits, players behind proxies |
//! | `connections.rs` | input, turns, departures |
//! | `output.rs` | output |
//! | `leaving.rs` | connections whose last output is being sent |
//! | `limiting.rs` | the limits of users: budgets of addresses, deadlines |
//! | `clients.rs` | what clients say about themselves, and ask for |
//! | `users.rs` | the users who are present, and the queue for turns |
//! | `operator.rs` | the console and signals |
//! | `operations.rs` | what concerns the server itself: the lock, names in the log, what an end waits for |
//! | `reload.rs` | the configuration in force, and another one while the server runs |
//! | `metrics.rs` | the counters for Prometheus |
//! | `countdown.rs` | an end that was announced |
//! | `shutdown.rs` | the phases of an end, a state machine that only decides |

mod actions;
mod clients;
mod connections;
mod countdown;
mod leaving;
mod limiting;
mod metrics;
mod newcomers;
mod operations;
mod operator;
mod output;
mod reload;
mod shutdown;
#[cfg(test)]
mod tests;
mod threads;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dolmen::{Crew, CrewBuilder, Error, Event, Events, MemberStats, Poster, Reactor, TimerId, Token};

use crate::address::Source;
use crate::config::{Config, PortKind};
use crate::console::Console;
use crate::endpoint::{Endpoint, Order, Rules, Traffic};
use crate::limits::{Gate, LONGEST_ANSWER_BYTES, Limits, Repeats, Wakeups};
use crate::ports::OpenPort;
use crate::world::{Action, Channels, Departure, Status, Turn, UserId, World};
use leaving::{Departing, MAX_CLOSING_CONNECTIONS};
use limiting::{LimitTimer, LogKind};
use newcomers::{Port, Unnamed};
use operations::Operations;
use operator::output_of;
use shutdown::{OUTPUT_DRAIN, Shutdown};
use users::Users;

pub use metrics::open as open_metrics;

/// The token of the console, and of requests to end the process.
const CONSOLE: Token = Token(0);
/// The token of posts that ask for an orderly end.
pub const SHUTDOWN: Token = Token(1);
/// The timer of the world's heart beat.
const HEART_BEAT: Token = Token(2);
/// The timer of the statistics in the log.
const STATS: Token = Token(3);
/// The token of every port; the listener's id identifies the port.
const PORT: Token = Token(4);
/// The timer that ends the wait for output that is not read.
const OUTPUT_TIMEOUT: Token = Token(5);
/// The timer of limits that are over for a user.
const LIMITS: Token = Token(6);
/// The timer of an announced end.
const COUNTDOWN: Token = Token(7);
/// The timer of the report what an end waits for.
const WAITING: Token = Token(8);
/// The token of the port of the metrics.
const METRICS_PORT: Token = Token(9);
/// The token of every connection to it; the connection's id identifies it.
const METRICS_CLIENT: Token = Token(10);
/// The timer that ends these connections.
const METRICS_TIMEOUT: Token = Token(11);
/// The timer of the report about log lines that were left out.
const LEFT_OUT: Token = Token(12);
/// The timer that the world has set.
const WORLD_TIMER: Token = Token(13);
/// The timer that starts threads that the system has refused before.
const THREADS: Token = Token(14);
/// The token of the world's channels.
const WORLD: Token = Token(15);
/// The token of the crew, whose connections have the tokens of their users.
const CREW: Token = Token(16);

/// What the reactor of a thread has open besides connections.
const DESCRIPTORS_OF_A_THREAD: usize = 4;

/// How long a good-bye may take: clients that read have received all of it by then, and the server does not wait for
/// others. As a shutdown says good-bye to every user, it is bounded by this too.
const DRAIN: Duration = Duration::from_secs(5);

/// A server with a world.
pub struct Server<W> {
    reactor: Reactor,
    /// All connections but those to the port of the metrics.
    crew: Crew<Endpoint>,
    /// `None` only while a round iterates over them.
    events: Option<Events>,
    world: W,
    /// The timer that the world has set last. It may have expired.
    world_timer: Option<TimerId>,
    ports: Vec<Port>,
    console: Option<Console>,
    shutdown: Shutdown,
    users: Users,
    limits: Limits,
    /// What the endpoints see to.
    rules: Arc<Rules>,
    traffic: Arc<Traffic>,
    gate: Gate,
    /// Connections of trusted proxies that have not named their player, in the order of their arrival.
    unnamed: BTreeMap<UserId, Unnamed>,
    wakeups: Wakeups<UserId>,
    limit_timer: LimitTimer,
    repeats: Repeats<(LogKind, Source)>,
    /// The user whose command is being carried out.
    answering: Option<UserId>,
    /// The number of the world's call whose actions are being carried out.
    call: u64,
    /// The time of this round.
    now: Instant,
    leaving: Departing,
    /// The world's actions that are still to be carried out.
    actions: Vec<Action>,
    /// The actions being carried out, kept so that a line costs no allocation here.
    doing: Vec<Action>,
    next_user: usize,
    started: Instant,
    started_at: SystemTime,
    status: Status,
    operations: Operations,
}

impl<W> fmt::Debug for Server<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("shutdown", &self.shutdown)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl<W: World> Server<W> {
    /// A server for these ports. It serves no one before [`run`](Server::run).
    ///
    /// # Errors
    ///
    /// The reactor's errors: in most cases the system is out of a resource.
    pub fn new(config: &Config, ports: Vec<OpenPort>, mut world: W) -> Result<Server<W>, Error> {
        let settings = Reactor::builder()
            .max_events(config.reactor_max_events)
            .pool_size(config.reactor_pool_size)
            .high_water_mark(4 * config.output_limit_bytes + LONGEST_ANSWER_BYTES)
            .linger(DRAIN);
        let mut reactor = settings.build()?;
        let crew = CrewBuilder::new(CREW)
            .threads(config.io_threads)
            .reply_limit(4 * config.output_limit_bytes + LONGEST_ANSWER_BYTES)
            .reactors(settings)
            .linger(DRAIN)
            .build(&reactor)?;
        let mut listening = Vec::new();
        for OpenPort { listener, address, kind, options } in ports {
            listening.push(Port { id: reactor.listen(listener, PORT)?, address, kind, options });
        }
        world.started(&Channels::new(&reactor, WORLD));
        if let Some(period) = world.heart_beat_interval() {
            reactor.add_interval(period, HEART_BEAT);
        }
        let operations = Operations::new(config, &listening);
        let limits = Limits::from(config);
        let rules = Rules::new(&limits, config.output_limit_bytes, config.line_length_bytes);
        let mut server = Server {
            reactor,
            crew,
            events: Some(Events::with_capacity(config.reactor_max_events)),
            world,
            world_timer: None,
            ports: listening,
            console: None,
            shutdown: Shutdown::default(),
            users: Users::default(),
            limits,
            rules: Arc::new(rules),
            traffic: Arc::default(),
            gate: Gate::default(),
            unnamed: BTreeMap::new(),
            wakeups: Wakeups::default(),
            limit_timer: LimitTimer::default(),
            repeats: Repeats::default(),
            answering: None,
            call: 0,
            now: Instant::now(),
            leaving: Departing::default(),
            actions: Vec::new(),
            doing: Vec::new(),
            next_user: 1,
            started: Instant::now(),
            started_at: SystemTime::now(),
            status: Status::default(),
            operations,
        };
        server.apply(config.clone());
        Ok(server)
    }

    /// How many connections a server with this configuration may hold at a time, and what threads have open.
    pub fn most_connections(config: &Config) -> usize {
        let unnamed = if config.limits.trusted_proxies.is_empty() { 0 } else { newcomers::MOST_UNNAMED };
        let metrics = if config.metrics.is_some() { metrics::MOST_CLIENTS } else { 0 };
        config.max_users
            + MAX_CLOSING_CONNECTIONS
            + unnamed
            + metrics
            + DESCRIPTORS_OF_A_THREAD * config.io_threads
    }

    /// The addresses on which the server listens, and their protocols.
    pub fn listening(&self) -> impl Iterator<Item = (SocketAddr, PortKind)> {
        self.ports.iter().map(|port| (port.address, port.kind))
    }

    /// Other limits, from now on: for those who are present too. No one is disconnected because there are fewer places.
    pub fn set_limits(&mut self, limits: Limits) {
        let old = std::mem::replace(&mut self.limits, limits);
        let rates = |limits: &Limits| (limits.accept_rate, limits.user_rates());
        let rates_change = rates(&old) != rates(&self.limits);
        if rates_change {
            self.gate.change_rates(&self.limits, self.now);
        }
        self.set_rules();
        for id in self.users.roster().to_vec() {
            if rates_change {
                // Who has waited under the old rate may have a turn.
                self.users.enqueue(id);
                self.adjust_reading(id);
            }
            self.schedule_deadline(id);
        }
    }

    /// Gives the endpoints what they are to see to, if it is new.
    fn set_rules(&mut self) {
        let config = &self.operations.config;
        let rules = Rules::new(&self.limits, config.output_limit_bytes, config.line_length_bytes);
        if rules == *self.rules {
            return;
        }
        self.rules = Arc::new(rules);
        let users = self.users.roster().iter().filter_map(|&id| self.users.get(id)).map(|user| user.link);
        let links: Vec<_> = users.chain(self.unnamed.values().map(|unnamed| unnamed.link)).collect();
        let order = Order::Rules(Arc::clone(&self.rules));
        // One that refuses has ended, or gets it when there is room.
        self.crew.broadcast(&mut self.reactor, links, &order);
    }

    /// The interface for other threads: a post with [`SHUTDOWN`] ends the server in order.
    pub fn poster(&self) -> Poster {
        self.reactor.poster()
    }

    /// Takes commands from standard input. At its end, unless it is a terminal, the server shuts down.
    ///
    /// # Errors
    ///
    /// The reactor's errors.
    pub fn open_console(&mut self) -> Result<(), Error> {
        let commands = self.world.console_commands();
        let history = self.operations.config.console_history.as_deref();
        let console = Console::open(&mut self.reactor, CONSOLE, commands, history)?;
        let at_terminal = console.is_terminal();
        self.console = Some(console);
        let (world, mut turn) = self.turn();
        world.console_opened(&mut turn, at_terminal);
        self.carry_out();
        Ok(())
    }

    /// Makes requests to end the process (Ctrl-C, SIGTERM and the like) end the server in order, and a second one
    /// immediately.
    ///
    /// # Errors
    ///
    /// The reactor's errors.
    pub fn stop_on_signals(&mut self) -> Result<(), Error> {
        self.reactor.add_signals(CONSOLE)
    }

    /// Whether the server has ended without an orderly end, because of a second request.
    pub fn was_forced(&self) -> bool {
        self.shutdown.was_forced()
    }

    /// Whether the server has ended with unread output, for which dropping it would wait.
    pub fn left_output_unread(&self) -> bool {
        self.shutdown.left_output_unread()
    }

    /// Lets the world save, after [`run`](Server::run).
    ///
    /// # Errors
    ///
    /// Those of [`World::finish`].
    pub fn finish_world(&mut self) -> Result<(), String> {
        self.world.finish()
    }

    /// The world.
    pub fn world(&self) -> &W {
        &self.world
    }

    /// The counters so far.
    pub fn status(&self) -> Status {
        let mut status = Status {
            uptime: self.started.elapsed(),
            users: self.users.len(),
            leaving: self.leaving.len(),
            ..self.status
        };
        self.traffic.put(&mut status);
        status
    }

    /// Serves until an orderly end.
    ///
    /// # Errors
    ///
    /// Only the errors of the reactor's wait, which are rare.
    pub fn run(&mut self) -> Result<(), Error> {
        while self.step(None)? {}
        Ok(())
    }

    /// One round: one wait of at most `timeout` (`None`: until an event arrives), and one turn for each user with a
    /// waiting line. False when the server has ended.
    ///
    /// # Errors
    ///
    /// As for [`run`](Server::run).
    pub fn step(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        if self.shutdown.has_stopped() {
            return Ok(false);
        }
        self.set_limit_timer();
        let more = self.users.waiting() > 0;
        let timeout = if more { Some(Duration::ZERO) } else { timeout };
        if let Some(console) = &mut self.console {
            console.print_log(&mut self.reactor);
        }
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(1));
        let waited = self.reactor.wait(&mut events, timeout);
        self.status.waits += 1;
        self.now = Instant::now();
        for event in events.drain() {
            if let Some(event) = self.crew.handle(&mut self.reactor, event) {
                self.handle(event);
            }
        }
        self.events = Some(events);
        waited?;

        while let Some(event) = self.crew.take_event(&mut self.reactor) {
            self.crew_event(event);
        }
        self.wake_users();
        self.give_turns();
        self.advance_shutdown();
        // The endpoints on this thread mark prompts, and send what they hold back until the end of the round.
        self.crew.end_round(&mut self.reactor);
        self.forget_names();
        if self.shutdown.has_stopped() {
            self.report_left_out();
            if let Some(console) = &mut self.console {
                console.print_log(&mut self.reactor);
            }
        }
        Ok(!self.shutdown.has_stopped())
    }

    fn handle(&mut self, event: Event<'_>) {
        let Some(event) = self.operate_on(event) else { return };
        match event {
            Event::Accepted { listener, stream, peer, .. } => self.accept(listener, stream, peer),
            Event::AcceptFailed { listener, error, .. } => {
                let port = self.ports.iter().find(|port| port.id == listener).map(|port| port.address);
                tracing::warn!(port = ?port, %error, "cannot accept for now");
            }
            Event::Timer { token: HEART_BEAT, .. } => {
                let (world, mut turn) = self.turn();
                world.heart_beat(&mut turn);
                self.carry_out();
            }
            Event::Timer { token: WORLD_TIMER, .. } => {
                let (world, mut turn) = self.turn();
                world.timer_expired(&mut turn);
                self.carry_out();
            }
            Event::Inbox { token: WORLD, .. } => {
                let (world, mut turn) = self.turn();
                world.results(&mut turn);
                self.carry_out();
            }
            Event::Timer { token: LIMITS, .. } => self.limit_timer_fired(),
            Event::Timer { token: LEFT_OUT, .. } => self.report_left_out(),
            Event::Timer { token: STATS, .. } => self.log_stats(),
            Event::Timer { token: THREADS, .. } => self.set_threads(),
            Event::Timer { token: OUTPUT_TIMEOUT, .. } => self.shutdown.output_timed_out(),
            Event::Console { input, .. } => self.console_input(input),
            Event::Posted { token: SHUTDOWN, .. } => {
                tracing::info!("asked to stop");
                self.shut_down();
            }
            // There are no other registrations.
            _ => {}
        }
    }

    /// The world, and a turn for it.
    fn turn(&mut self) -> (&mut W, Turn<'_>) {
        let status = self.status();
        (&mut self.world, Turn::new(self.users.roster(), status, &mut self.actions))
    }

    /// Begins an orderly end: no more arrivals, and every user gets a message and is disconnected.
    fn shut_down(&mut self) {
        if !self.shutdown.begin() {
            return;
        }
        for port in self.ports.drain(..) {
            self.reactor.remove_listener(port.id);
        }
        for id in self.unnamed.keys().copied().collect::<Vec<_>>() {
            self.reset_unnamed(id, "the server shuts down");
        }
        tracing::info!(users = self.users.len(), "shutting down");
        self.end_begins();
        let (world, mut turn) = self.turn();
        world.shutdown(&mut turn);
        // All earlier output is sent before the users are disconnected.
        self.carry_out();
        for id in self.users.roster().to_vec() {
            self.depart(id, Departure::Shutdown);
        }
        self.carry_out();
    }

    /// Moves an end on, as far as connections and output allow.
    fn advance_shutdown(&mut self) {
        let output = || output_of(self.console.as_mut(), &mut self.reactor);
        if self.shutdown.advance(self.leaving.is_empty(), output) {
            self.reactor.add_timer(OUTPUT_DRAIN, OUTPUT_TIMEOUT);
        }
    }

    /// A figure of the reactors of all threads.
    fn of_members(&self, figure: impl Fn(&MemberStats) -> u64) -> u64 {
        self.crew.members().map(|member| figure(&member)).sum()
    }

    fn log_stats(&mut self) {
        let stats = self.reactor.stats();
        tracing::info!(
            "stats {} kernel_calls={} events={} queued_bytes={}",
            self.status(),
            stats.kernel_calls + self.of_members(|member| member.kernel_calls),
            stats.events,
            stats.queued_bytes as u64 + self.of_members(|member| member.queued_bytes as u64)
        );
    }
}
