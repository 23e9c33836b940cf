//! A TCP proxy: whatever arrives at LISTEN goes to UPSTREAM, and back.
//!
//! ```text
//! $ cargo run --example proxy -- 127.0.0.1:7777 127.0.0.1:4000
//! listening 127.0.0.1:7777
//! ```
//!
//! Each of the two is an address (`127.0.0.1:4000`, `[::1]:4000`) or a name with a port (`localhost:4000`). The name
//! of UPSTREAM is looked up anew for each connection.
//!
//! Each side is read no faster than the other takes the bytes. The end of one direction is passed on while the other
//! one continues, and a failure of one side ends both.

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::ExitCode;

use dolmen::{ConnId, ErrorKind, Event, Events, Reactor, Token};

const USAGE: &str = "usage: proxy LISTEN UPSTREAM, for example: proxy 127.0.0.1:7777 localhost:4000";

const LISTENER: Token = Token(0);
const CLIENT: Token = Token(1);
const UPSTREAM: Token = Token(2);

/// One of the two connections of a pair.
struct Side {
    other: ConnId,
    /// Bytes for this side that its queue has no room for. The other side is paused meanwhile.
    waiting: Vec<u8>,
    /// The other side will send nothing more.
    is_last: bool,
}

#[derive(Default)]
struct Proxy {
    sides: HashMap<ConnId, Side>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (listen, upstream) = (arguments.next(), arguments.next());
    let (Some(listen), Some((host, port))) = (listen, upstream.as_deref().and_then(host_and_port)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&listen, host, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The port stands behind the last colon. Brackets around an IPv6 address may stay.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_bare_ipv6 = host.contains(':') && !host.ends_with(']');
    (!host.is_empty() && !is_bare_ipv6).then_some((host, port.parse().ok()?))
}

fn serve(address: &str, host: &str, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(256);
    reactor.listen(listener, LISTENER)?;
    let mut proxy = Proxy::default();
    loop {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            match event {
                Event::Accepted { stream, .. } => {
                    let Ok(client) = reactor.add(stream, CLIENT) else { continue };
                    let _ = reactor.set_nodelay(client, true);
                    match reactor.connect_host(host, port, UPSTREAM) {
                        Ok(server) => proxy.pair(client, server),
                        Err(_) => drop(reactor.abort(client)),
                    }
                }
                Event::Connected { conn, .. } => drop(reactor.set_nodelay(conn, true)),
                Event::Received { conn, data, .. } => proxy.pass_on(&mut reactor, conn, data),
                Event::Drained { conn, .. } => proxy.drained(&mut reactor, conn),
                Event::EndOfStream { conn, .. } => proxy.ended(&mut reactor, conn),
                Event::Closed { conn, .. } => proxy.closed(&mut reactor, conn),
                _ => {}
            }
        }
    }
}

/// Errors of the reactor's verbs mean that a connection is at its end, and its `Closed` event follows.
impl Proxy {
    fn pair(&mut self, client: ConnId, server: ConnId) {
        for (conn, other) in [(client, server), (server, client)] {
            self.sides.insert(conn, Side { other, waiting: Vec::new(), is_last: false });
        }
    }

    fn pass_on(&mut self, reactor: &mut Reactor, from: ConnId, data: &[u8]) {
        let Some(to) = self.sides.get(&from).map(|side| side.other) else { return };
        let refused = reactor.send(to, data).err().map(|error| error.kind());
        if let (Some(ErrorKind::QueueFull), Some(side)) = (refused, self.sides.get_mut(&to)) {
            side.waiting.extend_from_slice(data);
            let _ = reactor.pause(from);
        }
    }

    fn drained(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(side) = self.sides.get_mut(&conn) else { return };
        let _ = reactor.send(conn, &side.waiting);
        side.waiting.clear();
        let _ = reactor.resume(side.other);
        self.finish(reactor, conn);
    }

    fn ended(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(other) = self.sides.get(&conn).map(|side| side.other) else { return };
        self.sides.entry(other).and_modify(|side| side.is_last = true);
        self.finish(reactor, other);
    }

    /// Passes the end on, behind the last bytes. After both ends the connections are closed.
    fn finish(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(other) = self.sides.get(&conn).map(|side| side.other) else { return };
        let is_done = |conn| self.sides.get(conn).is_none_or(|side| side.is_last && side.waiting.is_empty());
        if is_done(&conn) {
            let _ = reactor.shutdown_write(conn);
            if is_done(&other) {
                [conn, other].iter().for_each(|&conn| drop(reactor.close(conn)));
            }
        }
    }

    /// One side has failed, was refused, or was closed after both ends.
    fn closed(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(Side { other, is_last, .. }) = self.sides.remove(&conn) else { return };
        match is_last && self.sides.get(&other).is_some_and(|side| side.is_last) {
            true => self.finish(reactor, other),
            false => drop(reactor.abort(other)),
        }
    }
}
