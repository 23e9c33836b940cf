//! The game's side of the server: the calls that a world gets, and the actions it may take.
//!
//! A [`World`] sees no sockets and no loop. The server calls it with a [`Turn`]; the world puts actions into the
//! turn and returns, and the server carries them out afterwards, in order. So a world is plain code that a test can
//! call, and none of its actions can call it again before it has returned.
//!
//! The order of calls for one user is always: [`connect`](World::connect), then [`logon`](World::logon), then any
//! number of [`process_input`](World::process_input), then [`net_dead`](World::net_dead) exactly once, whatever the
//! cause. For a user that `connect` refused there is no further call.

mod status;
mod turn;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dolmen::{Inbox, Reactor, Sender, Token};

use crate::config::{Config, PortKind};
pub use crate::operation::Operation;
pub use crate::telnet::mssp::Variables;
pub use crate::telnet::{Client, Colours, WindowSize};
pub use status::Status;
pub use turn::{Action, Turn};

/// A user, for as long as the server runs: the server never reuses a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Who is connecting, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The number that the user has from now on.
    pub user: UserId,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// The protocol of the connection.
    pub kind: PortKind,
}

/// A world's reply to a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The user may come in.
    Accept,
    /// The user is refused. The text is shown before the connection is closed.
    Refuse(String),
}

/// Why a user has departed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The world disconnected the user: in most cases, because the user quit.
    Disconnected,
    /// The client closed the connection, after all its lines were processed.
    PeerClosed,
    /// The connection broke.
    Lost,
    /// More output waited than the limit and the user read nothing, or there was no room for output that cannot be left out.
    TooSlow,
    /// The client does not speak telnet: a web browser, a scanner.
    Stranger,
    /// The user gave no name in time.
    LoginTimeout,
    /// The user sent no line for too long.
    Idle,
    /// The server shuts down.
    Shutdown,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Departure::Disconnected => "disconnected by the world",
            Departure::PeerClosed => "closed by the client",
            Departure::Lost => "connection lost",
            Departure::TooSlow => "output limit reached",
            Departure::Stranger => "not a player",
            Departure::LoginTimeout => "no name in time",
            Departure::Idle => "idle for too long",
            Departure::Shutdown => "server shutdown",
        })
    }
}

/// Makes channels for the results of a world's own threads.
#[derive(Debug)]
pub struct Channels<'a> {
    reactor: &'a Reactor,
    token: Token,
}

impl<'a> Channels<'a> {
    /// Channels of this reactor, whose events have this token. A server makes it; a test of a world may, too.
    pub fn new(reactor: &'a Reactor, token: Token) -> Channels<'a> {
        Channels { reactor, token }
    }

    /// A channel for `capacity` values that wait. The sender is for another thread, which may clone it. The world keeps
    /// the inbox, and drains it in [`World::results`].
    pub fn open<T: Send + 'static>(&self, capacity: usize) -> (Sender<T>, Inbox<T>) {
        self.reactor.channel(capacity, self.token)
    }
}

/// A game.
///
/// No method may block: while it runs, no other user is served. What takes long belongs into a
/// [worker](crate::worker::Worker).
pub trait World {
    /// The server was made, and serves no one yet. A world that has threads opens its channels here.
    fn started(&mut self, channels: &Channels<'_>) {
        let _ = channels;
    }

    /// The server has ended, and every user has departed: the last call. What is to outlive the process is saved here, as
    /// the process may end without destructors. It may take its time. The program makes this call, by
    /// [`Server::finish_world`](crate::server::Server::finish_world) after [`run`](crate::server::Server::run).
    ///
    /// # Errors
    ///
    /// A text for the operator: what is lost, and why.
    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Values wait in an inbox of the world's: drain it.
    fn results(&mut self, turn: &mut Turn<'_>) {
        let _ = turn;
    }

    /// The name of a user, for the log.
    fn name_of(&self, user: UserId) -> Option<&str> {
        let _ = user;
        None
    }

    /// The text for a newcomer from this address, if the address is banned. It is asked first, before anything is
    /// allocated for the connection.
    fn ban_of(&self, address: IpAddr) -> Option<String> {
        let _ = address;
        None
    }

    /// Whether users have to log on, that is, whether the world calls [`Turn::logged_on`]. Then those who do not are
    /// disconnected after the login timeout. Without it the timeout does not apply.
    fn has_login(&self) -> bool {
        false
    }

    /// Whether this game has a use for ports of this kind. A reload with others is refused; before a start the program
    /// asks [`Config::check_kinds`].
    fn serves(kind: PortKind) -> bool
    where
        Self: Sized,
    {
        let _ = kind;
        true
    }

    /// A user connects. No text has been sent yet.
    fn connect(&mut self, info: &ConnectInfo) -> Admission;

    /// The connection is established: greet the user.
    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId);

    /// A user sent a line. It holds no line end and no control characters; it may be empty.
    ///
    /// In one round the server processes at most one line of each user, so a user who pastes a book delays no one.
    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str);

    /// A user of a port of kind `binary` sent bytes, in pieces as they arrived. There are no lines, no turns and no
    /// strangers on such a port; the limit on bytes holds. A world without a use for it refuses these users in
    /// [`connect`](World::connect).
    fn process_bytes(&mut self, turn: &mut Turn<'_>, user: UserId, bytes: &[u8]) {
        let _ = (turn, user, bytes);
    }

    /// The size of a user's window is known, or has changed.
    fn window_size(&mut self, turn: &mut Turn<'_>, user: UserId, size: WindowSize) {
        let _ = (turn, user, size);
    }

    /// A user's client has said what it is, or more of it: its name, its colours, its encoding, and whether its screen
    /// is read aloud. Clients that say nothing exist, so no game should wait for it.
    fn terminal_type(&mut self, turn: &mut Turn<'_>, user: UserId, client: &Client) {
        let _ = (turn, user, client);
    }

    /// A user's client has given the sign of life for which [`Turn::probe`] has asked.
    fn client_answered(&mut self, turn: &mut Turn<'_>, user: UserId) {
        let _ = (turn, user);
    }

    /// A user's client sent a message of GMCP. `data` is JSON as the client made it, or nothing. Those
    /// that the server handles (`Core.Hello`, `Core.Ping`, `Core.KeepAlive`, `Core.Supports.*`, `Char.Login.Credentials`)
    /// do not arrive here.
    fn gmcp(&mut self, turn: &mut Turn<'_>, user: UserId, package: &str, data: &str) {
        let _ = (turn, user, package, data);
    }

    /// A trusted proxy has named the address of a user after [`connect`](World::connect).
    fn peer_named(&mut self, user: UserId, peer: SocketAddr) {
        let _ = (user, peer);
    }

    /// Whether clients may log in by [`credentials`](World::credentials).
    fn takes_credentials(&self) -> bool {
        false
    }

    /// A user's client sent a name and a password, which it had kept. Reply by [`Turn::login_result`].
    fn credentials(&mut self, turn: &mut Turn<'_>, user: UserId, account: &str, password: &str) {
        let _ = (account, password);
        turn.login_result(user, Err("Please log in by typing your name."));
    }

    /// The server's status for lists of games (MSSP). NAME, PLAYERS (those who are logged on), UPTIME, PORT, CHARSET,
    /// CODEBASE, CRAWL DELAY and the colours are set already, and so are HOSTNAME, CONTACT, WEBSITE and LANGUAGE where the
    /// configuration has them. All of them may be changed, and others added.
    fn server_status(&self, variables: &mut Variables) {
        let _ = variables;
    }

    /// A user has departed. Text sent to them now is lost.
    fn net_dead(&mut self, turn: &mut Turn<'_>, user: UserId, why: Departure);

    /// The interval of [`heart_beat`](World::heart_beat). Without one, the server sleeps until an event arrives.
    fn heart_beat_interval(&self) -> Option<Duration> {
        None
    }

    /// A heart beat is due.
    fn heart_beat(&mut self, turn: &mut Turn<'_>) {
        let _ = turn;
    }

    /// The time of [`Turn::set_timer`] is over.
    fn timer_expired(&mut self, turn: &mut Turn<'_>) {
        let _ = turn;
    }

    /// A console was opened: a terminal, or a script.
    fn console_opened(&mut self, turn: &mut Turn<'_>, at_terminal: bool) {
        let _ = (turn, at_terminal);
    }

    /// The commands of the console. The key Tab completes them at a terminal, where the library edits the line.
    fn console_commands(&self) -> &'static [&'static str] {
        &[]
    }

    /// The operator typed a line at the console.
    fn console_line(&mut self, turn: &mut Turn<'_>, line: &str) {
        let _ = line;
        turn.console("This world has no console commands.\n");
    }

    /// Another configuration comes into force, unless the world returns why it cannot; then it must not have changed
    /// anything, nor asked for anything.
    fn reconfigured(&mut self, turn: &mut Turn<'_>, config: &Config) -> Result<(), String> {
        let _ = (turn, config);
        Ok(())
    }

    /// The server begins to shut down: the last opportunity to send a text. Every user is disconnected afterwards.
    fn shutdown(&mut self, turn: &mut Turn<'_>) {
        turn.broadcast("\nThe server is shutting down. Good-bye.\n");
    }
}
