//! Newcomers: whether they may come in, the text to a refused one, and players behind trusted proxies.
//!
//! Limits are checked before anything is allocated. A refused newcomer gets a text that says why; in a flood, when many of them are
//! on their way already, without the care that a client needs which has sent something itself.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use dolmen::{LinkId, ListenerId};
use socket2::SockRef;

use super::connections::token_of;
use super::leaving::Leaving;
use super::{LogKind, Server};
use crate::address::canonical_peer;
use crate::config::{PortKind, PortOptions};
use crate::endpoint::{Endpoint, Order, Share, Turn};
use crate::keepalive::keep_alive;
use crate::layer::Output;
use crate::limits::{Gate, Pass, Refusal, StreamLimits, UserLimits};
use crate::proxy::HEADER_TIMEOUT;
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
    Registered(LinkId),
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
    pub link: LinkId,
    /// The proxy.
    peer: SocketAddr,
    port: Port,
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
        let link = self.register(id, stream, peer, port, false);
        self.welcome(id, link, peer, port, pass);
    }

    /// Whether a newcomer may come in.
    fn admit(&mut self, address: IpAddr) -> Result<Pass, Refusal> {
        self.gate.admit(&self.limits, self.world.ban_of(address), address, self.now)
    }

    /// Gives a connection to the crew. With `proxied`, a trusted proxy names the player first.
    fn register(
        &mut self,
        id: UserId,
        stream: TcpStream,
        peer: SocketAddr,
        port: Port,
        proxied: bool,
    ) -> LinkId {
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
        let limits = StreamLimits::new(self.now, port.kind, port.options.keepalive);
        let options = self.session_options(port, peer);
        let (rules, traffic) = (Arc::clone(&self.rules), Arc::clone(&self.traffic));
        let endpoint = Endpoint::new(options, limits, rules, traffic, proxied);
        self.crew.add(&mut self.reactor, stream, endpoint, token_of(id))
    }

    /// A user comes in, unless the world refuses.
    fn welcome(&mut self, id: UserId, link: LinkId, peer: SocketAddr, port: Port, pass: Pass) {
        if self.leaving.is_full() {
            let oldest = self.leaving.take_oldest();
            self.reset_leaving(oldest);
        }
        let info = ConnectInfo { user: id, peer, kind: port.kind };
        if let Admission::Refuse(text) = self.world.connect(&info) {
            self.gate.leave(pass);
            tracing::info!(user = %id, conn = %link, %peer, "turned away by the world");
            return self.turn_away(id, Connection::Registered(link), peer, port, &text);
        }
        tracing::info!(user = %id, conn = %link, %peer, kind = %port.kind, "connected");
        self.status.accepted += 1;
        let user = User {
            link,
            info,
            limits: UserLimits::new(pass, self.now, self.world.has_login()),
            lines: VecDeque::new(),
            events: VecDeque::new(),
            wants_line: true,
            has_spoken: false,
            in_queue: false,
            held: false,
            released_in: 0,
            unsent_texts: 0,
            is_throttled: false,
            ends: None,
        };
        self.users.insert(id, user);
        self.schedule_deadline(id);
        self.order(id, Order::Welcome);
        self.answering = Some(id);
        let (world, mut turn) = self.turn();
        world.logon(&mut turn, id);
        self.carry_out();
        self.answering = None;
        self.ask_for_line(id);
        self.order(id, Order::Next(Turn::Event));
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
        let link = match connection {
            Connection::New(stream) if self.leaving.is_full_for_refused() => {
                return self.turn_away_in_passing(stream, peer, port, text);
            }
            Connection::New(stream) => self.register(id, stream, peer, port, false),
            Connection::Registered(link) => link,
        };
        let (call, share) = (self.call, Share::Answer);
        let text = Order::Text { text: text.into(), call, share, is_shared: false };
        // Neither call can fail in a way that matters: nothing is on its way yet, and if the connection is closed the text
        // is of no use.
        let _ = self.crew.send(&mut self.reactor, link, text);
        let _ = self.crew.close(&mut self.reactor, link);
        self.leaving.insert(id, Leaving { link, peer });
        let without_place = self.leaving.refuse(id);
        self.reset_leaving(without_place);
    }

    /// The same for a connection that is not registered, without care.
    fn turn_away_in_passing(&mut self, mut stream: TcpStream, peer: SocketAddr, port: Port, text: &str) {
        let mut wire = Vec::new();
        Session::new(self.session_options(port, peer)).send(Output::Text(text), &mut wire);
        // A new connection has room for a few bytes, so this does not block. It fails only if the peer has gone.
        let _ = stream.set_nonblocking(true);
        let _ = stream.write(&wire);
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// Resets a closing connection, for the place of another one.
    fn reset_leaving(&mut self, leaving: Option<(UserId, Leaving)>) {
        let Some((id, Leaving { link, peer })) = leaving else { return };
        tracing::debug!(user = %id, conn = %link, %peer, "reset to make room");
        let _ = self.crew.abort(&mut self.reactor, link);
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
            tracing::warn!(%address, unlogged = left_out, "refused: {refusal}");
        }
    }

    /// A trusted proxy has connected, and has to name its player.
    fn await_header(&mut self, id: UserId, stream: TcpStream, peer: SocketAddr, port: Port) {
        if self.unnamed.len() >= MOST_UNNAMED {
            if let Some((&oldest, _)) = self.unnamed.first_key_value() {
                self.reset_unnamed(oldest, "too many connections without a PROXY header");
            }
        }
        let link = self.register(id, stream, peer, port, true);
        let mut unnamed = Unnamed { link, peer, port, wake_at: None };
        self.wakeups.schedule(id, &mut unnamed.wake_at, self.now + HEADER_TIMEOUT);
        self.unnamed.insert(id, unnamed);
    }

    /// The player behind a proxy is known, and comes in like any other newcomer. A proxy that speaks for itself, or
    /// does not know the player, is exempt from the limits of an address.
    pub(super) fn name_player(&mut self, id: UserId, player: Option<SocketAddr>) {
        let Some(unnamed) = self.take_unnamed(id) else { return };
        let Unnamed { link, peer: proxy, port, .. } = unnamed;
        let peer = player.map_or(proxy, canonical_peer);
        tracing::debug!(user = %id, conn = %link, %proxy, %peer, "named by a proxy");
        match self.admit(peer.ip()) {
            Ok(pass) => self.welcome(id, link, peer, port, pass),
            Err(refusal) => {
                self.log_refusal(peer.ip(), &refusal);
                self.turn_away(id, Connection::Registered(link), peer, port, refusal.text());
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
                self.send(id, refusal.text().into());
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
        let Some(Unnamed { link, peer, .. }) = self.take_unnamed(id) else { return };
        self.status.limits.bad_headers += 1;
        if let Some(left_out) = self.may_log(LogKind::BadHeader(why), peer.ip()) {
            tracing::warn!(proxy = %peer, unlogged = left_out, "ended a connection of a trusted proxy: {why}");
        }
        if self.crew.abort(&mut self.reactor, link).is_ok() {
            self.leaving.insert(id, Leaving { link, peer });
            // A thread may take a while to report its end, and a flood must not take the places of players meanwhile.
            let without_place = self.leaving.refuse(id);
            self.reset_leaving(without_place);
        }
    }
}
