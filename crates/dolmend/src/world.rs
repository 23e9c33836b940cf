//! The game's side of the server: the calls that a world gets, and the actions it may take.
//!
//! A [`World`] sees no sockets and no loop. The server calls it with a [`Turn`]; the world puts actions into the
//! turn and returns, and the server carries them out afterwards, in order. So a world is plain code that a test can
//! call, and none of its actions can call it again before it has returned.
//!
//! The order of calls for one user is always: [`connect`](World::connect), then [`logon`](World::logon), then any
//! number of [`process_input`](World::process_input), then [`net_dead`](World::net_dead) exactly once, whatever the
//! cause. For a user that `connect` refused there is no further call.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use dolmen::{Inbox, Reactor, Sender, Token};

use crate::config::{Config, PortKind};
use crate::limits::LimitCounts;
pub use crate::operation::Operation;
use crate::telnet::json_string;
pub use crate::telnet::mssp::Variables;
pub use crate::telnet::{Client, Colours, WindowSize};

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
    /// The user read nothing, and more output waited than the limit.
    TooSlow,
    /// The client does not speak telnet: a web browser, a scanner.
    Stranger,
    /// The user gave no name in time.
    LoginTimeout,
    /// The user sent nothing for too long.
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

/// The server's counters since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// How long the server has been running.
    pub uptime: Duration,
    /// Current users.
    pub users: usize,
    /// Connections without a user: their last output is being sent.
    pub leaving: usize,
    /// Connections that were let in since the start.
    pub accepted: u64,
    /// Connections that were turned away since the start.
    pub refused: u64,
    /// Users who were disconnected because they read too slowly, since the start.
    pub too_slow: u64,
    /// How often each limit was reached.
    pub limits: LimitCounts,
    /// Lines that were processed.
    pub lines: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes passed to the reactor for sending.
    pub sent_bytes: u64,
    /// Bytes that were compressed, before that.
    pub compressed_plain_bytes: u64,
    /// Bytes that compression made of them.
    pub compressed_wire_bytes: u64,
    /// Waits of the server.
    pub waits: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "uptime_s={} users={} leaving={} accepted={} refused={} too_slow={} lines={} received_bytes={} sent_bytes={} \
             compressed_plain_bytes={} compressed_wire_bytes={} waits={} {}",
            self.uptime.as_secs(),
            self.users,
            self.leaving,
            self.accepted,
            self.refused,
            self.too_slow,
            self.lines,
            self.received_bytes,
            self.sent_bytes,
            self.compressed_plain_bytes,
            self.compressed_wire_bytes,
            self.waits,
            self.limits,
        )
    }
}

/// An action that a world asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show a text to a user.
    Send {
        /// Who sees it.
        user: UserId,
        /// The text; lines end in a line feed.
        text: Rc<str>,
    },
    /// Send bytes to a user of a port of kind `binary`.
    SendBytes {
        /// Who gets them.
        user: UserId,
        /// The bytes, which are sent unchanged.
        bytes: Rc<[u8]>,
    },
    /// Ask a user for a line.
    Prompt {
        /// Who is asked.
        user: UserId,
        /// The text before what is typed.
        text: Rc<str>,
    },
    /// Ask a user for a line that the client does not show.
    AskPassword {
        /// Who is asked.
        user: UserId,
        /// The text before what is typed.
        prompt: String,
    },
    /// Send a message of GMCP.
    Gmcp {
        /// Whose client gets it.
        user: UserId,
        /// The name of the message.
        package: Rc<str>,
        /// JSON, or nothing.
        data: Rc<str>,
    },
    /// What the user was asked is answered, and not by a line.
    Answered {
        /// The user.
        user: UserId,
    },
    /// Ask a user's client for a sign of life.
    Probe {
        /// The user.
        user: UserId,
    },
    /// A program reads the user's screen aloud, or does not.
    ScreenReader {
        /// Whose screen.
        user: UserId,
        /// Whether it is read.
        on: bool,
    },
    /// Disconnect a user, after all earlier output.
    Disconnect {
        /// The user to disconnect.
        user: UserId,
    },
    /// Process no further lines of a user, or process them again.
    Hold {
        /// Whose lines.
        user: UserId,
        /// Whether they wait.
        on: bool,
    },
    /// A user has a name, or another one: the time for that is not limited any more.
    LoggedOn {
        /// The user.
        user: UserId,
    },
    /// Show an answer on the operator's console.
    Console {
        /// The text; lines end in a line feed.
        text: String,
    },
    /// Show on the operator's console what players do.
    Chatter {
        /// The text; lines end in a line feed.
        text: String,
    },
    /// Show the operator neither what players do nor the log, or show both again.
    Hush {
        /// Whether it is not shown.
        on: bool,
    },
    /// Ask the operator for a line.
    Ask {
        /// The prompt in front of the line.
        prompt: String,
        /// Whether the typed text is shown.
        echo: bool,
    },
    /// Do the same as at the end of the console's input.
    EndConsole,
    /// Shut the server down in order.
    Shutdown,
    /// Do something else with the server.
    Operate(Operation),
}

/// One call of a world: the data it may read, and the actions it asks for.
#[derive(Debug)]
pub struct Turn<'a> {
    users: &'a [UserId],
    status: Status,
    actions: &'a mut Vec<Action>,
}

impl<'a> Turn<'a> {
    /// A turn with these users. The world's actions are appended to `actions`.
    pub fn new(users: &'a [UserId], status: Status, actions: &'a mut Vec<Action>) -> Turn<'a> {
        Turn { users, status, actions }
    }

    /// Shows a text to a user; lines end in a line feed. It has no effect if the user has departed.
    ///
    /// Colours (SGR sequences, such as `"\x1b[1;31m"`) become the nearest that the user's client shows, or nothing.
    ///
    /// Make an `Rc<str>` once to send the same text to many users.
    pub fn send(&mut self, user: UserId, text: impl Into<Rc<str>>) {
        self.actions.push(Action::Send { user, text: text.into() });
    }

    /// Sends bytes to a user of a port of kind `binary`, unchanged. It has no effect for users of other ports, or if the
    /// user has departed.
    pub fn send_bytes(&mut self, user: UserId, bytes: impl Into<Rc<[u8]>>) {
        self.actions.push(Action::SendBytes { user, bytes: bytes.into() });
    }

    /// Asks a user for a line: `text` stays unfinished, and the cursor behind it. Whatever follows, also in this call,
    /// begins on a line of its own.
    ///
    /// Whatever a call of the world leaves unfinished is a prompt, also a text that was sent otherwise. It is marked for
    /// clients that know marks, and shown again behind other output, until the user has sent a line.
    pub fn prompt(&mut self, user: UserId, text: impl Into<Rc<str>>) {
        self.actions.push(Action::Prompt { user, text: text.into() });
    }

    /// Asks a user for a line that the client does not show. It arrives as any other, by
    /// [`World::process_input`]. On a port without telnet it is shown.
    pub fn ask_password(&mut self, user: UserId, prompt: impl Into<String>) {
        self.actions.push(Action::AskPassword { user, prompt: prompt.into() });
    }

    /// What the user was asked last is answered, and not by a line: by [`World::credentials`]. The prompt is not shown
    /// again behind other output, and what is typed is shown again where it was hidden.
    pub fn answered(&mut self, user: UserId) {
        self.actions.push(Action::Answered { user });
    }

    /// Sends a message of GMCP, such as `Room.Info` and JSON. It has no effect if the client does not take any.
    pub fn gmcp(&mut self, user: UserId, package: impl Into<Rc<str>>, data: impl Into<Rc<str>>) {
        self.actions.push(Action::Gmcp { user, package: package.into(), data: data.into() });
    }

    /// Tells users' clients, by GMCP, what a player has said on a channel, so that they can show it in a window of its
    /// own. The line itself is sent as usual. Clients that want it have said so: [`Client::channels`].
    pub fn channel(
        &mut self,
        users: impl IntoIterator<Item = UserId>,
        channel: &str,
        player: &str,
        text: &str,
    ) {
        let mut users = users.into_iter().peekable();
        if users.peek().is_none() {
            return;
        }
        let [channel, player, text] = [channel, player, text].map(json_string);
        let data: Rc<str> = format!(r#"{{"channel":{channel},"talker":{player},"text":{text}}}"#).into();
        let package: Rc<str> = "Comm.Channel.Text".into();
        for user in users {
            self.gmcp(user, Rc::clone(&package), Rc::clone(&data));
        }
    }

    /// Asks a user's client for a sign of life, which it gives without its player:
    /// [`World::client_answered`]. It has no effect for a client that does not speak telnet.
    pub fn probe(&mut self, user: UserId) {
        self.actions.push(Action::Probe { user });
    }

    /// Reports to a user's client how the login by [`World::credentials`] ended: with success, or why not.
    pub fn login_result(&mut self, user: UserId, result: Result<(), &str>) {
        let data = match result {
            Ok(()) => r#"{"success":true}"#.to_string(),
            Err(why) => format!(r#"{{"success":false,"message":{}}}"#, json_string(why)),
        };
        self.gmcp(user, "Char.Login.Result", data);
    }

    /// A program reads the user's screen aloud, or does not: the user has said so in words. Prompts are then not shown
    /// again behind other output.
    pub fn set_screen_reader(&mut self, user: UserId, on: bool) {
        self.actions.push(Action::ScreenReader { user, on });
    }

    /// Shows a text to every user, including those who are still logging on.
    pub fn broadcast(&mut self, text: impl Into<Rc<str>>) {
        let text = text.into();
        self.actions.extend(self.users.iter().map(|&user| Action::Send { user, text: Rc::clone(&text) }));
    }

    /// Disconnects a user, after all earlier output. The world gets [`World::net_dead`] as for any other departure.
    pub fn disconnect(&mut self, user: UserId) {
        self.actions.push(Action::Disconnect { user });
    }

    /// Processes no further lines of a user until [`release`](Turn::release), not even the end of their connection: the
    /// world waits for a result of its own, such as a verified password, and the lines that the user has sent already
    /// belong after it. What is more than the server keeps is left in the network.
    pub fn hold(&mut self, user: UserId) {
        self.actions.push(Action::Hold { user, on: true });
    }

    /// Processes the lines of a user again. It has no effect on one who is not held.
    pub fn release(&mut self, user: UserId) {
        self.actions.push(Action::Hold { user, on: false });
    }

    /// A user has given a name, or whatever this world asks for, or has another name. Where [`World::has_login`] says so,
    /// those for whom this is not called are disconnected after the login timeout. The log takes the name from [`World::name_of`] here.
    pub fn logged_on(&mut self, user: UserId) {
        self.actions.push(Action::LoggedOn { user });
    }

    /// Shows an answer on the operator's console, before [`chatter`](Turn::chatter) that waits.
    pub fn console(&mut self, text: impl Into<String>) {
        self.actions.push(Action::Console { text: text.into() });
    }

    /// Shows on the operator's console what players do and say. Where the terminal is too slow for it, or the operator has
    /// hushed it, lines are left out, and the console reports how many.
    pub fn chatter(&mut self, text: impl Into<String>) {
        self.actions.push(Action::Chatter { text: text.into() });
    }

    /// Shows the operator neither [`chatter`](Turn::chatter) nor the log, except warnings and errors, or shows both again.
    /// The console answers, with the number of lines that were left out.
    pub fn hush(&mut self, on: bool) {
        self.actions.push(Action::Hush { on });
    }

    /// Asks the operator for a line: from here on `prompt` stands before the typed text, which is shown only with
    /// `echo`. For a terminal; otherwise it has no effect.
    pub fn ask(&mut self, prompt: impl Into<String>, echo: bool) {
        self.actions.push(Action::Ask { prompt: prompt.into(), echo });
    }

    /// Does the same as at the end of the console's input: a script ends, and the server with it; a terminal stays.
    pub fn end_console(&mut self) {
        self.actions.push(Action::EndConsole);
    }

    /// Shuts the server down in order.
    pub fn shutdown(&mut self) {
        self.actions.push(Action::Shutdown);
    }

    /// Asks something of the server itself.
    pub fn operate(&mut self, operation: Operation) {
        self.actions.push(Action::Operate(operation));
    }

    /// The connected users, in the order of their arrival.
    pub fn users(&self) -> &[UserId] {
        self.users
    }

    /// The server's counters, as of the beginning of this turn.
    pub fn status(&self) -> &Status {
        &self.status
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
    /// the process may end without destructors. It may take its time.
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

    /// A user's client sent a message of GMCP. `data` is JSON as the client made it, or nothing. Messages about the
    /// connection, which are those of `Core` and `Char.Login`, do not arrive here.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_keep_their_order_and_a_broadcast_reaches_everyone() {
        let users = [UserId(1), UserId(2)];
        let mut actions = Vec::new();
        let mut turn = Turn::new(&users, Status::default(), &mut actions);
        turn.send(UserId(2), "a\n");
        turn.broadcast("b\n");
        turn.disconnect(UserId(1));
        turn.shutdown();
        let send = |user, text: &str| Action::Send { user: UserId(user), text: text.into() };
        assert_eq!(
            actions,
            [
                send(2, "a\n"),
                send(1, "b\n"),
                send(2, "b\n"),
                Action::Disconnect { user: UserId(1) },
                Action::Shutdown
            ]
        );
    }
}
