//! The counters for Prometheus: `GET /metrics` on an address of its own, and nothing else.
//!
//! It is HTTP as far as that request needs it. Requests are short, few at a time and answered once; a client that is
//! slow or silent is ended, so that none can hold anything of the game's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dolmen::{ConnId, Event, ListenerId, MemberStats, Reactor, Stats};

use super::{METRICS_CLIENT, METRICS_PORT, METRICS_TIMEOUT, Server};
use crate::config::{PortKind, PortOptions, PortSpec};
use crate::ports::{self, OpenPort};
use crate::world::{Status, World};

/// Clients at a time.
pub(super) const MOST_CLIENTS: usize = 16;
/// The longest request.
const MOST_REQUEST_BYTES: usize = 8 << 10;
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The open port.
#[derive(Debug)]
pub(super) struct Metrics {
    listener: ListenerId,
    address: SocketAddr,
    clients: HashMap<ConnId, Client>,
}

/// A connection, until it is closed.
#[derive(Debug)]
struct Client {
    request: Vec<u8>,
    /// The request has its reply, which is being sent.
    answered: bool,
    until: Instant,
}

/// Opens the port of the metrics, which is not served yet.
///
/// # Errors
///
/// Why the port cannot be opened.
pub fn open(address: SocketAddr) -> Result<OpenPort, String> {
    let spec = PortSpec { address, kind: PortKind::Ascii, options: PortOptions::default() };
    let (mut opened, _) = ports::open(&[spec], false).map_err(|failed| {
        let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
        format!("metrics: {}", failed.join("; "))
    })?;
    opened.pop().ok_or_else(|| "metrics: no port was opened".into())
}

impl Metrics {
    /// Serves the open port.
    pub(super) fn serve(reactor: &mut Reactor, port: OpenPort) -> Result<Metrics, String> {
        let listener =
            reactor.listen(port.listener, METRICS_PORT).map_err(|error| format!("metrics: {error}"))?;
        Ok(Metrics { listener, address: port.address, clients: HashMap::new() })
    }

    /// Closes the port and its connections.
    pub(super) fn close(self, reactor: &mut Reactor) {
        reactor.remove_listener(self.listener);
        for client in self.clients.into_keys() {
            let _ = reactor.abort(client);
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn accept(&mut self, reactor: &mut Reactor, stream: TcpStream) {
        if self.clients.len() >= MOST_CLIENTS {
            return;
        }
        if let Ok(conn) = reactor.add(stream, METRICS_CLIENT) {
            let until = Instant::now() + REQUEST_TIMEOUT;
            self.clients.insert(conn, Client { request: Vec::new(), answered: false, until });
            reactor.add_timer(REQUEST_TIMEOUT, METRICS_TIMEOUT);
        }
    }

    /// Ends the clients whose time is over.
    fn time_out(&mut self, reactor: &mut Reactor) {
        let now = Instant::now();
        self.clients.retain(|&conn, client| {
            let stays = client.until > now;
            if !stays {
                let _ = reactor.abort(conn);
            }
            stays
        });
    }

    /// Takes a part of a request, and returns the reply if it is complete.
    fn receive(&mut self, conn: ConnId, data: &[u8], body: impl FnOnce() -> String) -> Option<String> {
        let client = self.clients.get_mut(&conn).filter(|client| !client.answered)?;
        let room = MOST_REQUEST_BYTES.saturating_sub(client.request.len());
        client.request.extend_from_slice(&data[..data.len().min(room)]);
        let reply = if is_complete(&client.request) {
            reply(&client.request, body)
        } else if data.len() > room {
            response("431 Request Header Fields Too Large", "The request is too long.\n")
        } else {
            return None;
        };
        client.answered = true;
        Some(reply)
    }
}

impl<W: World> Server<W> {
    /// Serves the counters on this port, which [`open_metrics`](super::open_metrics) has opened, and returns its address.
    ///
    /// # Errors
    ///
    /// The reactor's.
    pub fn serve_metrics(&mut self, port: OpenPort) -> Result<SocketAddr, String> {
        let metrics = Metrics::serve(&mut self.reactor, port)?;
        let address = metrics.address();
        self.operations.metrics = Some(metrics);
        Ok(address)
    }

    /// The events of this module's sources; returns the others.
    pub(super) fn metrics_event<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        // Their sources may outlive the port for the rest of a round.
        let is_ours = matches!(
            event,
            Event::Accepted { token: METRICS_PORT, .. }
                | Event::AcceptFailed { token: METRICS_PORT, .. }
                | Event::Received { token: METRICS_CLIENT, .. }
                | Event::EndOfStream { token: METRICS_CLIENT, .. }
                | Event::Closed { token: METRICS_CLIENT, .. }
                | Event::Timer { token: METRICS_TIMEOUT, .. }
        );
        if !is_ours {
            return Some(event);
        }
        let (status, stats) = (self.status(), self.reactor.stats());
        let crew = &self.crew;
        let metrics = self.operations.metrics.as_mut()?;
        let reactor = &mut self.reactor;
        match event {
            Event::Accepted { stream, .. } => metrics.accept(reactor, stream),
            Event::Received { conn, data, .. } => {
                if let Some(reply) =
                    metrics.receive(conn, data, || body(&status, &stats, &crew.members().collect::<Vec<_>>()))
                {
                    // If it fails the client is gone.
                    let _ = reactor.send(conn, reply.as_bytes());
                    let _ = reactor.close(conn);
                }
            }
            // Half a request, or the end after a reply: in the second case it is closing already.
            Event::EndOfStream { conn, .. } => drop(reactor.close(conn)),
            Event::Closed { conn, .. } => drop(metrics.clients.remove(&conn)),
            Event::Timer { .. } => metrics.time_out(reactor),
            _ => {}
        }
        None
    }
}

/// Whether the request has its empty line.
fn is_complete(request: &[u8]) -> bool {
    request.windows(2).any(|pair| pair == b"\n\n") || request.windows(4).any(|four| four == b"\r\n\r\n")
}

fn reply(request: &[u8], body: impl FnOnce() -> String) -> String {
    let line = request.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("GET"), Some(path), Some(version)) if version.starts_with("HTTP/1.") => {
            match path.split('?').next() {
                Some("/metrics") => response("200 OK", &body()),
                _ => response("404 Not Found", "The metrics are at /metrics.\n"),
            }
        }
        (Some(_), Some(_), Some(version)) if version.starts_with("HTTP/1.") => {
            response("405 Method Not Allowed", "Only GET is served.\n")
        }
        _ => response("400 Bad Request", "This is not an HTTP request.\n"),
    }
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Allow: GET\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// All counters, in Prometheus' text format.
fn body(status: &Status, stats: &Stats, members: &[MemberStats]) -> String {
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP dolmend_{name} {help}\n# TYPE dolmend_{name} {kind}\ndolmend_{name} {value}"
        );
    };
    let gauges = [
        ("uptime_seconds", "How long the server has been running.", status.uptime.as_secs()),
        ("users", "Users who are connected.", status.users as u64),
        ("leaving", "Connections without a user, whose last output is being sent.", status.leaving as u64),
        ("reactor_connections", "Connections of the game's own thread.", stats.connections as u64),
        ("reactor_timers", "Timers of the game's own thread.", stats.timers as u64),
        (
            "reactor_operations_in_flight",
            "Operations of the game's own thread that the kernel holds.",
            stats.operations_in_flight as u64,
        ),
        ("reactor_buffers_out", "Receive buffers of the game's own thread in use.", stats.buffers_out as u64),
        (
            "reactor_queued_bytes",
            "Output that waits for clients, in all threads.",
            (stats.queued_bytes + members.iter().map(|member| member.queued_bytes).sum::<usize>()) as u64,
        ),
    ];
    for (name, help, value) in gauges {
        put(name, "gauge", help, value);
    }
    let counters = [
        ("accepted_total", "Connections that were let in.", status.accepted),
        ("refused_total", "Connections that were turned away.", status.refused),
        ("too_slow_total", "Users who were disconnected because they read too slowly.", status.too_slow),
        ("lines_total", "Lines that were processed.", status.lines),
        ("received_bytes_total", "Bytes received from users.", status.received_bytes),
        ("sent_bytes_total", "Bytes passed to the reactor for users.", status.sent_bytes),
        (
            "compressed_plain_bytes_total",
            "Bytes that were compressed, before that.",
            status.compressed_plain_bytes,
        ),
        ("compressed_wire_bytes_total", "Bytes that compression made of them.", status.compressed_wire_bytes),
        ("waits_total", "Waits of the server.", status.waits),
        (
            "reactor_kernel_calls_total",
            "Calls of the game's own thread into the operating system.",
            stats.kernel_calls,
        ),
        ("reactor_events_total", "Events of the game's own thread.", stats.events),
        ("reactor_bytes_received_total", "Bytes received by the game's own thread.", stats.bytes_received),
        (
            "reactor_bytes_sent_total",
            "Bytes that the system has taken from the game's own thread.",
            stats.bytes_sent,
        ),
        ("reactor_accepted_total", "Connections accepted by all ports.", stats.accepted),
        (
            "reactor_sends_refused_total",
            "Sends of the game's own thread for which a queue had no room.",
            stats.sends_refused,
        ),
    ];
    for (name, help, value) in counters {
        put(name, "counter", help, value);
    }
    put_members(&mut text, members);
    text.push_str("# HELP dolmend_limit_reached_total How often each limit was reached.\n");
    text.push_str("# TYPE dolmend_limit_reached_total counter\n");
    for (limit, value) in status.limits.each() {
        text.push_str(&format!("dolmend_limit_reached_total{{limit=\"{limit}\"}} {value}\n"));
    }
    text
}

/// What each thread does for connections.
fn put_members(text: &mut String, members: &[MemberStats]) {
    type Value = fn(&MemberStats) -> u64;
    let rows: [(&str, &str, &str, Value); 9] = [
        ("member_links", "gauge", "Connections of an I/O thread.", |member| member.links as u64),
        ("member_queued_bytes", "gauge", "Output that waits for clients of an I/O thread.", |member| {
            member.queued_bytes as u64
        }),
        ("member_turns_total", "counter", "Waits of an I/O thread.", |member| member.turns),
        ("member_received_bytes_total", "counter", "Bytes received by an I/O thread.", |member| {
            member.received_bytes
        }),
        (
            "member_sent_bytes_total",
            "counter",
            "Bytes that the system has taken from an I/O thread.",
            |member| member.sent_bytes,
        ),
        (
            "member_sends_refused_total",
            "counter",
            "Sends of an I/O thread for which a queue had no room.",
            |member| member.sends_refused,
        ),
        (
            "member_kernel_calls_total",
            "counter",
            "Calls of an I/O thread into the operating system.",
            |member| member.kernel_calls,
        ),
        ("member_messages_total", "counter", "Messages of an I/O thread for the game.", |member| {
            member.messages
        }),
        ("member_replies_total", "counter", "Messages of the game for an I/O thread.", |member| {
            member.replies
        }),
    ];
    for (name, kind, help, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP dolmend_{name} {help}\n# TYPE dolmend_{name} {kind}");
        for member in members {
            let thread = member.member.map_or("game".into(), |number| number.to_string());
            let _ = writeln!(text, "dolmend_{name}{{member=\"{thread}\"}} {}", value(member));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(request: &str) -> String {
        let reply = reply(request.as_bytes(), || "counters\n".into());
        reply.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn one_request_is_served_and_the_others_are_refused() {
        for (request, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET /metrics?x=1 HTTP/1.0\n\n", "HTTP/1.1 200 OK"),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("\u{ff}\n\n", "HTTP/1.1 400 Bad Request"),
        ] {
            assert!(is_complete(request.as_bytes()), "{request}");
            assert_eq!(status_of(request), status, "{request}");
        }
        assert!(!is_complete(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"));
    }
}
