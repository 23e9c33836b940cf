//! Newcomers: whether they may come in, what a refused one is told, and players behind trusted proxies.
//!
//! Limits are checked before anything is allocated. A refused newcomer is told why; in a flood, when many such texts are
//! on their way already, without the care that a client needs which has sent something itself.

use std::io::Write as _;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use dolmen::{ConnId, ListenerId, Token};
use socket2::SockRef;

use super::keepalive::keep_alive;
use super::leaving::Leaving;
use super::output::Share;
use super::{FIRST_USER_TOKEN, LogKind, Server};
use crate::address::canonical_peer;
use crate::config::{PortKind, PortOptions};
use crate::layer::Output;
use crate::limits::{Backlog, Gate, Pass, Refusal, UserLimits};
use crate::proxy::{HEADER_TIMEOUT, HeaderReader, Progress};
use crate::session::{Options, Session};
use crate::telnet::Settings;
use crate::user::{User, about};
use crate::world::{Admission, ConnectInfo, Departure, UserId, World};

/// Connections of proxies that may be without a header at a time. One more, and the oldest is reset.
pub(super) const MOST_UNNAMED: usize = 256;

/// How many bytes the system takes before it has sent them. Otherwise it takes megabytes, and a slow reader's progress
/// would show only in leaps of that size.
#[cfg(target_os = "linux")]
const MOST_UNSENT_BYTES: u32 = 16 * 1024;

/// The connection of a newcomer.
enum Connection {
    /// It is not registered yet.
    New(TcpStream),
    Registered(ConnId),
}

/// A port that is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    pub id: ListenerId,
    pub address: SocketAddr,
    pub kind: PortKind,
    pub options: PortOptions,
}

/// A connection of a trusted proxy that has not named its player yet.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub conn: ConnId,
    /// The proxy.
    peer: SocketAddr,
    port: Port,
    header: HeaderReader,
    /// The slot of [`Server::wakeups`].
    pub wake_at: Option<Instant>,
}

impl<W: World> Server<W> {
    pub(super) fn accept(&mut self, listener: ListenerId, stream: TcpStream, peer: SocketAddr) {
        let Some(port) = self.ports.iter().find(|port| port.id == listener).copied() else { return };
        let id = UserId(self.next_user as u64);
        self.next_user += 1;
        let peer = canonical_peer(peer);
        if port.options.proxy && Gate::is_proxy(&self.limits, peer.ip()) {
            return self.await_header(id, stream, peer, port);
        }
        let pass = match self.admit(peer.ip()) {
            Ok(pass) => pass,
            Err(refusal) => {
                self.log_refusal(peer.ip(), &refusal);
                return self.turn_away(id, Connection::New(stream), peer, port, refusal.text());
            }
        };
        match self.register(id, stream, peer, port) {
            Some(conn) => self.welcome(id, conn, peer, port, pass),
            None => {
                self.status.refused += 1;
                self.gate.leave(pass);
            }
        }
    }

    /// Whether a newcomer may come in.
    fn admit(&mut self, address: IpAddr) -> Result<Pass, Refusal> {
        self.gate.admit(&self.limits, self.world.ban_of(address), address, self.now)
    }

    /// Registers a connection. `None` if that fails, which is logged.
    fn register(&mut self, id: UserId, stream: TcpStream, peer: SocketAddr, port: Port) -> Option<ConnId> {
        // Lines are short and must not be delayed. If a call fails the connection is already broken.
        let _ = stream.set_nodelay(true);
        if port.kind == PortKind::Telnet {
            // The mark of an urgent signal is a part of the stream. Taken out of it, it would leave an IAC behind, which
            // takes the next byte for a command.
            let _ = SockRef::from(&stream).set_out_of_band_inline(true);
        }
        keep_alive(&stream, self.limits.keepalive);
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT_BYTES);
        match self.reactor.add(stream, Token(FIRST_USER_TOKEN + id.0 as usize)) {
            Ok(conn) => Some(conn),
            Err(error) => {
                tracing::warn!(user = %id, %peer, %error, "turned away without a word");
                None
            }
        }
    }

    /// A user comes in, unless the world refuses.
    fn welcome(&mut self, id: UserId, conn: ConnId, peer: SocketAddr, port: Port, pass: Pass) {
        if self.leaving.is_full() {
            let oldest = self.leaving.take_oldest();
            self.reset_leaving(oldest);
        }
        let info = ConnectInfo { user: id, peer, kind: port.kind };
        if let Admission::Refuse(text) = self.world.connect(&info) {
            self.gate.leave(pass);
            tracing::info!(user = %id, %conn, %peer, "turned away by the world");
            return self.turn_away(id, Connection::Registered(conn), peer, port, &text);
        }
        tracing::info!(user = %id, %conn, %peer, kind = %port.kind, "connected");
        self.status.accepted += 1;
        let mut session = Session::new(self.session_options(port, peer));
        // It leaves with the greeting: the reactor sends nothing before the next wait.
        self.wire.clear();
        session.open(&mut self.wire);
        let limits = {
            let (kind, keepalive) = (port.kind, port.options.keepalive);
            UserLimits::new(pass, self.now, kind, keepalive, self.world.has_login())
        };
        let user = User {
            conn,
            info,
            session,
            limits,
            backlog: Backlog::default(),
            answered: false,
            in_queue: false,
            held: false,
            released_in: 0,
            paused_since: None,
            unflushed: false,
            ends: None,
        };
        self.users.insert(id, user);
        self.schedule_deadline(id);
        self.answering = Some(id);
        self.send_wire(id, Share::Answer);
        let (world, mut turn) = self.turn();
        world.logon(&mut turn, id);
        self.carry_out();
        self.answering = None;
    }

    /// What the sessions of a port are built from.
    fn session_options(&self, port: Port, peer: SocketAddr) -> Options {
        let config = &self.operations.config;
        let settings = Settings {
            encoding: port.options.encoding.unwrap_or(config.encoding),
            compress: config.mccp,
            // A header has said all that the proxy knows. Behind one without an address telnet is the player's own.
            trusted_proxy: !port.options.proxy && Gate::is_proxy(&self.limits, peer.ip()),
        };
        Options { kind: port.kind, line_length_bytes: config.line_length_bytes, settings }
    }

    /// Shows a text to a newcomer, and closes the connection. The care that a client needs which has sent something itself
    /// costs a connection for a while, and a flood must not take the places of all others.
    fn turn_away(&mut self, id: UserId, connection: Connection, peer: SocketAddr, port: Port, text: &str) {
        self.status.refused += 1;
        let conn = match connection {
            Connection::New(stream) if self.leaving.is_full_for_refused() => {
                return self.turn_away_in_passing(stream, peer, port, text);
            }
            Connection::New(stream) => match self.register(id, stream, peer, port) {
                Some(conn) => conn,
                None => return,
            },
            Connection::Registered(conn) => conn,
        };
        self.wire.clear();
        Session::new(self.session_options(port, peer)).send(Output::Text(text), &mut self.wire);
        // Neither call can fail in a way that matters: nothing is queued yet, and if the connection is closed the text
        // is of no use.
        let _ = self.reactor.send(conn, &self.wire);
        let _ = self.reactor.close(conn);
        self.leaving.insert(id, Leaving { conn, peer });
        let without_place = self.leaving.refuse(id);
        self.reset_leaving(without_place);
    }

    /// The same for a connection that is not registered, without care.
    fn turn_away_in_passing(&mut self, mut stream: TcpStream, peer: SocketAddr, port: Port, text: &str) {
        self.wire.clear();
        Session::new(self.session_options(port, peer)).send(Output::Text(text), &mut self.wire);
        // A new connection has room for a few bytes, so this does not block. It fails only if the peer has gone.
        let _ = stream.set_nonblocking(true);
        let _ = stream.write(&self.wire);
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// Resets a closing connection, for the place of another one.
    fn reset_leaving(&mut self, leaving: Option<(UserId, Leaving)>) {
        let Some((id, Leaving { conn, peer })) = leaving else { return };
        tracing::debug!(user = %id, %conn, %peer, "reset to make room");
        let _ = self.reactor.abort(conn);
    }

    fn log_refusal(&mut self, address: IpAddr, refusal: &Refusal) {
        self.status.limits.refuse(refusal);
        let kind = match refusal {
            Refusal::Banned(_) => LogKind::Banned,
            Refusal::Full => LogKind::Full,
            Refusal::AddressFull => LogKind::AddressFull,
            Refusal::TooOften => LogKind::TooOften,
        };
        if let Some(left_out) = self.may_log(kind, address) {
            tracing::warn!(%address, left_out, "refused: {refusal}");
        }
    }

    /// A trusted proxy has connected, and has to name its player.
    fn await_header(&mut self, id: UserId, stream: TcpStream, peer: SocketAddr, port: Port) {
        if self.unnamed.len() >= MOST_UNNAMED {
            if let Some((&oldest, _)) = self.unnamed.first_key_value() {
                self.reset_unnamed(oldest, "too many connections without a PROXY header");
            }
        }
        let Some(conn) = self.register(id, stream, peer, port) else {
            self.status.refused += 1;
            return;
        };
        let mut unnamed = Unnamed { conn, peer, port, header: HeaderReader::default(), wake_at: None };
        self.wakeups.schedule(id, &mut unnamed.wake_at, self.now + HEADER_TIMEOUT);
        self.unnamed.insert(id, unnamed);
    }

    /// Takes bytes of a proxy that has not named its player yet. Returns those behind the header; none of another
    /// connection are taken.
    pub(super) fn receive_header<'a>(&mut self, id: UserId, data: &'a [u8]) -> &'a [u8] {
        let Some(unnamed) = self.unnamed.get_mut(&id) else { return data };
        match unnamed.header.receive(data) {
            Ok(Progress::Incomplete) => &[],
            Ok(Progress::Complete { taken, player }) => {
                self.name_player(id, player);
                &data[taken..]
            }
            Err(error) => {
                self.reset_unnamed(id, error.text());
                &[]
            }
        }
    }

    /// The player behind a proxy is known, and comes in like any other newcomer. A proxy that speaks for itself, or
    /// does not know the player, is exempt from the limits of an address.
    fn name_player(&mut self, id: UserId, player: Option<SocketAddr>) {
        let Some(unnamed) = self.take_unnamed(id) else { return };
        let Unnamed { conn, peer: proxy, port, .. } = unnamed;
        let peer = player.map_or(proxy, canonical_peer);
        tracing::debug!(user = %id, %conn, %proxy, %peer, "named by a proxy");
        match self.admit(peer.ip()) {
            Ok(pass) => self.welcome(id, conn, peer, port, pass),
            Err(refusal) => {
                self.log_refusal(peer.ip(), &refusal);
                self.turn_away(id, Connection::Registered(conn), peer, port, refusal.text());
            }
        }
    }

    /// A trusted proxy has named the player of a connection by telnet. The limits of that address hold from now on.
    pub(super) fn name_peer(&mut self, id: UserId, peer: SocketAddr) {
        let Some(user) = self.users.get_mut(id) else { return };
        let peer = canonical_peer(peer);
        let ban = self.world.ban_of(peer.ip());
        match self.gate.readmit(user.limits.pass(), &self.limits, ban, peer.ip(), self.now) {
            Ok(pass) => {
                user.limits.set_pass(pass);
                user.info.peer = peer;
                about!(info, &*user, "named by a proxy");
                self.world.peer_named(id, peer);
            }
            Err(refusal) => {
                self.log_refusal(peer.ip(), &refusal);
                self.send_output(id, Output::Text(refusal.text()));
                self.depart(id, Departure::Disconnected);
                let without_place = self.leaving.refuse(id);
                self.reset_leaving(without_place);
            }
        }
    }

    /// Takes a connection out of those without a header.
    pub(super) fn take_unnamed(&mut self, id: UserId) -> Option<Unnamed> {
        let mut unnamed = self.unnamed.remove(&id)?;
        self.wakeups.cancel(id, &mut unnamed.wake_at);
        Some(unnamed)
    }

    /// Ends a connection of a proxy that does not name its player.
    pub(super) fn reset_unnamed(&mut self, id: UserId, why: &'static str) {
        let Some(Unnamed { conn, peer, .. }) = self.take_unnamed(id) else { return };
        self.status.limits.bad_headers += 1;
        if let Some(left_out) = self.may_log(LogKind::BadHeader(why), peer.ip()) {
            tracing::warn!(proxy = %peer, left_out, "ended a connection of a trusted proxy: {why}");
        }
        if self.reactor.abort(conn).is_ok() {
            self.leaving.insert(id, Leaving { conn, peer });
        }
    }
}
