//! The loop: connections, the console and signals on one side, a world on the other.
//!
//! The reactor has every source, so the loop blocks in one place only and never polls. A round takes the events of one
//! wait, and then gives each user with a waiting line one turn. A user with more lines goes to the end of the queue and
//! the next wait does not block. So a thousand pasted lines take a thousand rounds, and the lines of all other users
//! are processed in the next round.
//!
//! A user departs in one place, `depart`, whatever the cause: there the world gets `net_dead`, once, because the user
//! is taken out of the table first. The rest is a connection being closed, which the reactor finishes on its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dolmen::{
    CloseReason, ConnId, ConsoleInput, Error, ErrorKind, Event, Events, ListenerId, Poster, Reactor, Token,
};

use crate::config::{Config, PortKind};
use crate::console::{self, Console};
use crate::logging;
use crate::ports::OpenPort;
use crate::session::Session;
use crate::user::User;
use crate::world::{Action, Admission, ConnectInfo, Departure, Status, Turn, UserId, World};

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

/// How long a good-bye may take: clients that read have received all of it by then, and the server does not wait for
/// others. As a shutdown says good-bye to every user, it is bounded by this too.
const DRAIN: Duration = Duration::from_secs(5);

/// How long an end waits until the console's last output is read, unless a script asked for the end.
const OUTPUT_DRAIN: Duration = Duration::from_secs(2);

/// Connections that may be closing at a time while others arrive: those that get the message that the place is full,
/// and those of users who left. When even more connect, the server closes a new connection without a message if
/// `max_users` users are present. Otherwise it lets the new user in, and resets the connection that has been closing
/// for the longest time.
const MAX_CLOSING_CONNECTIONS: usize = 256;

/// The message to the source of a request to stop.
const STOPPING: &str = "stopping; a second request stops immediately\n";

/// The phase of the server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Players got the last message, and the last output is being sent.
    Draining,
    Stopped,
}

/// A connection without a user: its last output is being sent.
#[derive(Debug)]
struct Leaving {
    conn: ConnId,
    peer: SocketAddr,
}

/// A server with a world.
pub struct Server<W> {
    reactor: Reactor,
    /// `None` only while a round iterates over them.
    events: Option<Events>,
    world: W,
    ports: Vec<(ListenerId, SocketAddr, PortKind)>,
    console: Option<Console>,
    /// A signal asked for the end: it must not wait for the reader of a script's replies.
    shutdown_is_urgent: bool,
    /// The timer of [`OUTPUT_TIMEOUT`] is set.
    waits_for_output: bool,
    /// The console's last output was not read in time.
    left_output_unread: bool,
    /// Whether the server ended without waiting for an orderly end.
    forced: bool,
    users: HashMap<UserId, User>,
    /// The users in the order of their arrival.
    roster: Vec<UserId>,
    /// The users that get a turn, in this order.
    queue: VecDeque<UserId>,
    /// In the order of their arrival, which is roughly the order of their departure.
    leaving: BTreeMap<UserId, Leaving>,
    /// The world's actions that are still to be carried out.
    actions: Vec<Action>,
    /// The actions being carried out, and a buffer for wire bytes: both are kept so that a line costs no allocation
    /// here.
    doing: Vec<Action>,
    wire: Vec<u8>,
    next_user: usize,
    phase: Phase,
    started: Instant,
    status: Status,
    max_users: usize,
    line_length_bytes: usize,
}

impl<W> fmt::Debug for Server<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("phase", &self.phase)
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
    pub fn new(config: &Config, ports: Vec<OpenPort>, world: W) -> Result<Server<W>, Error> {
        let mut reactor = Reactor::builder()
            .max_events(config.reactor_max_events)
            .pool_size(config.reactor_pool_size)
            .high_water(config.output_limit_bytes)
            .linger(DRAIN)
            .build()?;
        let mut listening = Vec::new();
        for OpenPort { listener, address, kind } in ports {
            listening.push((reactor.listen(listener, PORT)?, address, kind));
        }
        if let Some(period) = world.heart_beat_interval() {
            reactor.interval(HEART_BEAT, period);
        }
        Ok(Server {
            reactor,
            events: Some(Events::with_capacity(config.reactor_max_events)),
            world,
            ports: listening,
            console: None,
            shutdown_is_urgent: false,
            waits_for_output: false,
            left_output_unread: false,
            forced: false,
            users: HashMap::new(),
            roster: Vec::new(),
            queue: VecDeque::new(),
            leaving: BTreeMap::new(),
            actions: Vec::new(),
            doing: Vec::new(),
            wire: Vec::new(),
            next_user: 1,
            phase: Phase::Running,
            started: Instant::now(),
            status: Status::default(),
            max_users: config.max_users,
            line_length_bytes: config.line_length_bytes,
        })
    }

    /// How many connections a server with this configuration may hold at a time.
    pub fn most_connections(config: &Config) -> usize {
        config.max_users + MAX_CLOSING_CONNECTIONS
    }

    /// The addresses on which the server listens, and their protocols.
    pub fn listening(&self) -> impl Iterator<Item = (SocketAddr, PortKind)> {
        self.ports.iter().map(|&(_, address, kind)| (address, kind))
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
        let console = Console::open(&mut self.reactor, CONSOLE)?;
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
        self.reactor.signals(CONSOLE)
    }

    /// Whether the server has ended without an orderly end, because of a second request.
    pub fn was_forced(&self) -> bool {
        self.forced
    }

    /// Whether the server has ended with unread output, for which dropping it would wait.
    pub fn left_output_unread(&self) -> bool {
        self.left_output_unread
    }

    /// Writes a line of statistics to the log at this interval.
    pub fn log_stats_every(&mut self, period: Duration) {
        self.reactor.interval(STATS, period);
    }

    /// The world.
    pub fn world(&self) -> &W {
        &self.world
    }

    /// The counters so far.
    pub fn status(&self) -> Status {
        Status {
            uptime: self.started.elapsed(),
            users: self.users.len(),
            leaving: self.leaving.len(),
            ..self.status
        }
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
        if self.phase == Phase::Stopped {
            return Ok(false);
        }
        let more = !self.queue.is_empty();
        let timeout = if more { Some(Duration::ZERO) } else { timeout };
        if let Some(console) = &mut self.console {
            console.print_log(&mut self.reactor);
        }
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(1));
        let waited = self.reactor.wait(&mut events, timeout);
        self.status.waits += 1;
        for event in events.drain() {
            self.handle(event);
        }
        self.events = Some(events);
        waited?;

        self.give_turns();
        if self.phase == Phase::Draining && self.leaving.is_empty() && self.output_is_flushed() {
            self.phase = Phase::Stopped;
        }
        if let Some(console) = self.console.as_mut().filter(|_| self.phase == Phase::Stopped) {
            console.print_log(&mut self.reactor);
        }
        Ok(self.phase != Phase::Stopped)
    }

    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Accepted { listener, stream, peer, .. } => self.accept(listener, stream, peer),
            Event::AcceptFailed { listener, error, .. } => {
                let port = self.ports.iter().find(|(id, ..)| *id == listener).map(|(_, address, _)| *address);
                tracing::warn!(port = ?port, %error, "cannot accept for now");
            }
            Event::Received { token, data, .. } => self.receive(user_of(token), data),
            Event::EndOfStream { token, .. } => self.end_of_input(user_of(token)),
            Event::Closed { token, reason, .. } => self.closed(user_of(token), reason),
            Event::Timer { token: HEART_BEAT, .. } => {
                let (world, mut turn) = self.turn();
                world.heart_beat(&mut turn);
                self.carry_out();
            }
            Event::Timer { token: STATS, .. } => self.log_stats(),
            Event::Timer { token: OUTPUT_TIMEOUT, .. } => self.left_output_unread = true,
            Event::Console { input, .. } => self.console_input(input),
            Event::Posted { token: SHUTDOWN, .. } => {
                tracing::info!("asked to stop");
                self.shut_down();
            }
            // A refused send ends the connection, so no connection waits for room; and there are no other
            // registrations.
            _ => {}
        }
    }

    // Arrivals.

    fn accept(&mut self, listener: ListenerId, stream: TcpStream, peer: SocketAddr) {
        let Some(kind) = self.ports.iter().find(|(id, ..)| *id == listener).map(|(_, _, kind)| *kind) else {
            return;
        };
        let number = self.next_user;
        let user = UserId(number as u64);
        self.next_user += 1;
        let full = self.users.len() >= self.max_users;
        if full && self.leaving.len() >= MAX_CLOSING_CONNECTIONS {
            self.status.refused += 1;
            tracing::debug!(%user, %peer, "turned away without a word");
            return;
        }
        // Lines are short and must not be delayed. If the call fails the connection is already broken.
        let _ = stream.set_nodelay(true);
        let conn = match self.reactor.add(stream, Token(FIRST_USER_TOKEN + number)) {
            Ok(conn) => conn,
            Err(error) => {
                self.status.refused += 1;
                tracing::warn!(%user, %peer, %error, "turned away without a word");
                return;
            }
        };
        if full {
            self.turn_away(user, conn, peer, kind, "The place is full. Please try again later.\n");
            return;
        }
        if self.leaving.len() >= MAX_CLOSING_CONNECTIONS {
            self.reset_oldest_closing();
        }
        let info = ConnectInfo { user, peer, kind };
        if let Admission::Refuse(text) = self.world.connect(&info) {
            self.turn_away(user, conn, peer, kind, &text);
            return;
        }
        tracing::info!(%user, %conn, %peer, %kind, "connected");
        self.status.accepted += 1;
        let session = Session::new(kind, self.line_length_bytes);
        let state = User { conn, info, session, in_queue: false, paused: false, ends: None };
        self.users.insert(user, state);
        self.roster.push(user);
        let (world, mut turn) = self.turn();
        world.logon(&mut turn, user);
        self.carry_out();
    }

    fn turn_away(&mut self, user: UserId, conn: ConnId, peer: SocketAddr, kind: PortKind, text: &str) {
        self.status.refused += 1;
        tracing::info!(%user, %conn, %peer, "turned away");
        self.wire.clear();
        Session::new(kind, self.line_length_bytes).encode(text, &mut self.wire);
        // Neither call can fail in a way that matters: nothing is queued yet, and if the connection is closed the text
        // is of no use.
        let _ = self.reactor.send(conn, &self.wire);
        let _ = self.reactor.close(conn);
        self.leaving.insert(user, Leaving { conn, peer });
    }

    /// Resets the connection that has been closing for the longest time.
    fn reset_oldest_closing(&mut self) {
        let Some((id, Leaving { conn, peer })) = self.leaving.pop_first() else { return };
        tracing::debug!(user = %id, %conn, %peer, "reset to make room");
        let _ = self.reactor.abort(conn);
    }

    // Input.

    fn receive(&mut self, id: Option<UserId>, data: &[u8]) {
        let Some((id, user)) = id.and_then(|id| Some((id, self.users.get_mut(&id)?))) else { return };
        self.status.received_bytes += data.len() as u64;
        self.wire.clear();
        user.session.receive(data, &mut self.wire);
        if user.session.is_behind() && !user.paused {
            user.paused = true;
            let _ = self.reactor.pause(user.conn);
        }
        enqueue(&mut self.queue, id, user);
        if !self.wire.is_empty() {
            self.send_wire(id);
            self.carry_out();
        }
    }

    fn end_of_input(&mut self, id: Option<UserId>) {
        let Some((id, user)) = id.and_then(|id| Some((id, self.users.get_mut(&id)?))) else { return };
        user.session.finish();
        user.ends = Some(Departure::PeerClosed);
        enqueue(&mut self.queue, id, user);
    }

    fn closed(&mut self, id: Option<UserId>, reason: CloseReason) {
        let Some(id) = id else { return };
        if let Some(Leaving { conn, peer }) = self.leaving.remove(&id) {
            tracing::debug!(user = %id, %conn, %peer, %reason, "connection closed");
            return;
        }
        // The lines that arrived whole before the connection broke are still processed. An incomplete line is not: half
        // a command may be another command.
        if let Some(user) = self.users.get_mut(&id) {
            tracing::info!(user = %id, conn = %user.conn, peer = %user.info.peer, %reason, "connection lost");
            user.ends = Some(Departure::Lost);
            enqueue(&mut self.queue, id, user);
        }
    }

    /// One line for each user who is in the queue now.
    fn give_turns(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(id) = self.queue.pop_front() else { return };
            let Some(user) = self.users.get_mut(&id) else { continue };
            user.in_queue = false;
            if let Some(line) = user.session.next_line() {
                if user.paused && user.session.has_caught_up() {
                    user.paused = false;
                    let _ = self.reactor.resume(user.conn);
                }
                enqueue(&mut self.queue, id, user);
                self.status.lines += 1;
                if line.dropped_chars > 0 {
                    let text =
                        format!("Your line was too long: {} characters were cut off.\n", line.dropped_chars);
                    self.actions.push(Action::Send { user: id, text: text.into() });
                }
                let (world, mut turn) = self.turn();
                world.process_input(&mut turn, id, &line.text);
            } else if let Some(why) = user.ends {
                self.depart(id, why);
            }
            self.carry_out();
        }
    }

    // The console.

    /// Whether no output is left for which an end would have to wait. A script that has asked for the end gets all of
    /// its replies, however long that takes; in all other cases the wait is bounded.
    fn output_is_flushed(&mut self) -> bool {
        let Some(console) = &mut self.console else { return true };
        if self.left_output_unread || console.is_flushed(&mut self.reactor) {
            return true;
        }
        let bounded = self.shutdown_is_urgent || console.is_terminal();
        if bounded && !std::mem::replace(&mut self.waits_for_output, true) {
            self.reactor.timer(OUTPUT_TIMEOUT, OUTPUT_DRAIN);
        }
        false
    }

    /// Input from the operator, or a request to end the program.
    fn console_input(&mut self, input: ConsoleInput<'_>) {
        let ignored = self.console.as_ref().is_some_and(Console::ignores_input);
        match input {
            ConsoleInput::Line(_) | ConsoleInput::LineCut(_) | ConsoleInput::EndOfInput if ignored => {}
            ConsoleInput::Line(line) => {
                let (world, mut turn) = self.turn();
                world.console_line(&mut turn, line);
                self.carry_out();
            }
            ConsoleInput::LineCut(line) => {
                // Half a command may be another command.
                let text = format!("A line of more than {} bytes is not a command.\n", line.len());
                self.print(&text);
            }
            ConsoleInput::EndOfInput if self.console.as_ref().is_some_and(Console::is_terminal) => {
                tracing::info!("the console input has ended; 'shutdown' ends the server");
            }
            ConsoleInput::EndOfInput => {
                tracing::info!("the console input has ended");
                self.shut_down();
            }
            ConsoleInput::Drained => {
                if let Some(console) = &mut self.console {
                    console.drained(&mut self.reactor);
                }
            }
            ConsoleInput::Interrupt => self.asked_to_stop("Ctrl-C"),
            ConsoleInput::Shutdown { reason, .. } => self.asked_to_stop(&reason.to_string()),
            // The reactor has shown the line being typed again.
            _ => {}
        }
    }

    /// The first request begins an orderly end, or bounds one that waits for a script's reader; the second ends the
    /// server immediately.
    fn asked_to_stop(&mut self, who: &str) {
        if !self.shutdown_is_urgent && self.phase != Phase::Stopped {
            tracing::info!("asked to stop: {who}");
            // The message is for the source of the request.
            match &mut self.console {
                Some(console) if console.is_terminal() => console.print(&mut self.reactor, STOPPING),
                _ => logging::write(STOPPING),
            }
            self.shutdown_is_urgent = true;
            self.shut_down();
        } else {
            self.forced = true;
            self.phase = Phase::Stopped;
        }
    }

    fn print(&mut self, text: &str) {
        match &mut self.console {
            Some(console) => console.print(&mut self.reactor, text),
            None => console::print(text),
        }
    }

    // Output, and other actions of the world.

    /// The world, and a turn for it.
    fn turn(&mut self) -> (&mut W, Turn<'_>) {
        let status = self.status();
        (&mut self.world, Turn::new(&self.roster, status, &mut self.actions))
    }

    /// Carries out the world's actions, and the actions that result from them.
    fn carry_out(&mut self) {
        while !self.actions.is_empty() {
            let mut doing = std::mem::replace(&mut self.actions, std::mem::take(&mut self.doing));
            for action in doing.drain(..) {
                match action {
                    Action::Send { user, text } => self.send(user, &text),
                    Action::Disconnect { user } => self.depart(user, Departure::Disconnected),
                    Action::Console { text } => self.print(&text),
                    Action::Ask { prompt, echo } => {
                        if let Some(console) = &mut self.console {
                            console.ask(&mut self.reactor, &prompt, echo);
                        }
                    }
                    Action::EndConsole => {
                        self.console_input(ConsoleInput::EndOfInput);
                        if let Some(console) = self.console.as_mut().filter(|console| !console.is_terminal())
                        {
                            console.ignore_rest_of_script();
                        }
                    }
                    Action::Shutdown => self.shut_down(),
                }
            }
            self.doing = doing;
        }
    }

    fn send(&mut self, id: UserId, text: &str) {
        let Some(user) = self.users.get_mut(&id) else { return };
        self.wire.clear();
        user.session.encode(text, &mut self.wire);
        self.send_wire(id);
    }

    /// Sends the bytes in `wire`. A user whose queue has no room for them is disconnected: output with a hole in it
    /// would be worse, and keeping it would let one client fill the memory [hc35].
    fn send_wire(&mut self, id: UserId) {
        let Some(user) = self.users.get(&id) else { return };
        match self.reactor.send(user.conn, &self.wire) {
            Ok(()) => self.status.sent_bytes += self.wire.len() as u64,
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull | ErrorKind::TooLarge) => {
                self.status.too_slow += 1;
                tracing::warn!(user = %id, conn = %user.conn, peer = %user.info.peer, "output limit reached");
                self.depart(id, Departure::TooSlow);
            }
            // The connection has ended, and its `Closed` event follows.
            Err(_) => {}
        }
    }

    // Departures.

    /// Removes a user, informs the world, and closes the connection. The caller carries out the resulting actions of
    /// the world later.
    fn depart(&mut self, id: UserId, why: Departure) {
        let Some(user) = self.users.remove(&id) else { return };
        if let Ok(place) = self.roster.binary_search(&id) {
            self.roster.remove(place);
        }
        tracing::info!(user = %id, conn = %user.conn, peer = %user.info.peer, %why, "departed");
        let let_go = match why {
            Departure::TooSlow => self.reactor.abort(user.conn),
            _ => self.reactor.close(user.conn),
        };
        // An error means that the connection has been closed already, and that this was reported.
        if let_go.is_ok() {
            self.leaving.insert(id, Leaving { conn: user.conn, peer: user.info.peer });
        }
        let (world, mut turn) = self.turn();
        world.net_dead(&mut turn, id, why);
    }

    /// Begins an orderly end: no more arrivals, and every user gets a message and is disconnected.
    fn shut_down(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Draining;
        for (listener, ..) in self.ports.drain(..) {
            self.reactor.remove_listener(listener);
        }
        tracing::info!(users = self.users.len(), "shutting down");
        let (world, mut turn) = self.turn();
        world.shutdown(&mut turn);
        // All earlier output is sent before the users are disconnected.
        self.carry_out();
        for id in self.roster.clone() {
            self.depart(id, Departure::Shutdown);
        }
        self.carry_out();
    }

    fn log_stats(&mut self) {
        let stats = self.reactor.stats();
        tracing::info!(
            "stats {} kernel_calls={} events={} queued_bytes={}",
            self.status(),
            stats.kernel_calls,
            stats.events,
            stats.queued_bytes
        );
    }
}

/// Tokens of connections begin here; those below are the server's own.
const FIRST_USER_TOKEN: usize = 16;

/// The user whose connection has this token.
fn user_of(token: Token) -> Option<UserId> {
    token.0.checked_sub(FIRST_USER_TOKEN).map(|number| UserId(number as u64))
}

/// Puts a user with something to do into the queue, once.
fn enqueue(queue: &mut VecDeque<UserId>, id: UserId, user: &mut User) {
    if !user.in_queue && user.wants_turn() {
        user.in_queue = true;
        queue.push_back(id);
    }
}
