//! A TCP proxy: whatever arrives at LISTEN goes to UPSTREAM, and back.
//!
//! ```text
//! $ cargo run --example proxy -- 127.0.0.1:7777 127.0.0.1:4000
//! listening 127.0.0.1:7777
//! ```
//!
//! Each is an address or a name, with a port. Each side is read no faster than the other takes the bytes. The end of one
//! direction is passed on while the other one continues, and a failure of one side ends both.

use std::collections::HashMap;
use std::net::TcpListener;

use dolmen::{ConnId, ErrorKind, Event, Events, Reactor, Token};

/// One of the two connections of a pair.
struct Side {
    other: ConnId,
    /// Bytes for this side that its queue has no room for. The other side is paused meanwhile.
    waiting: Vec<u8>,
    /// The other side will send nothing more.
    is_last: bool,
}

struct Proxy(HashMap<ConnId, Side>);

fn main() {
    if let Err(error) = serve() {
        eprintln!("proxy: {error}\nusage: proxy LISTEN UPSTREAM, such as 127.0.0.1:7777 localhost:4000");
        std::process::exit(2);
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (listen, upstream) = arguments.next().zip(arguments.next()).ok_or("two addresses are needed")?;
    let upstream = upstream.rsplit_once(':').filter(|(host, _)| host.ends_with(']') || !host.contains(':'));
    let (host, port) = upstream.ok_or("UPSTREAM is not a host, or an [address], with a port")?;
    let port = port.parse().map_err(|_| "the port of UPSTREAM is not a number")?;
    let listener = TcpListener::bind(&listen).map_err(|error| format!("{listen}: {error}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(256);
    reactor.listen(listener, Token(0))?;
    let mut proxy = Proxy(HashMap::new());
    loop {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            match event {
                Event::Accepted { stream, .. } => {
                    let Ok(client) = reactor.add(stream, Token(0)) else { continue };
                    let _ = reactor.set_nodelay(client, true);
                    match reactor.connect_host(host, port, Token(0)) {
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
        let side = |other| Side { other, waiting: Vec::new(), is_last: false };
        self.0.extend([(client, side(server)), (server, side(client))]);
    }

    fn pass_on(&mut self, reactor: &mut Reactor, from: ConnId, data: &[u8]) {
        let Some(to) = self.0.get(&from).map(|side| side.other) else { return };
        let refused = reactor.send(to, data).err().map(|error| error.kind());
        if let (Some(ErrorKind::QueueFull), Some(side)) = (refused, self.0.get_mut(&to)) {
            side.waiting.extend_from_slice(data);
            let _ = reactor.pause(from);
        }
    }

    fn drained(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(side) = self.0.get_mut(&conn) else { return };
        let _ = reactor.send(conn, &side.waiting);
        side.waiting.clear();
        let _ = reactor.resume(side.other);
        self.finish(reactor, conn);
    }

    fn ended(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(other) = self.0.get(&conn).map(|side| side.other) else { return };
        self.0.entry(other).and_modify(|side| side.is_last = true);
        self.finish(reactor, other);
    }

    /// Passes the end on, behind the last bytes. After both ends the connections are closed.
    fn finish(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(other) = self.0.get(&conn).map(|side| side.other) else { return };
        let is_done = |conn| self.0.get(conn).is_none_or(|side| side.is_last && side.waiting.is_empty());
        if is_done(&conn) {
            let _ = reactor.shutdown_write(conn);
            if is_done(&other) {
                [conn, other].iter().for_each(|&conn| drop(reactor.close(conn)));
            }
        }
    }

    /// One side has failed, was refused, or was closed after both ends.
    fn closed(&mut self, reactor: &mut Reactor, conn: ConnId) {
        let Some(Side { other, is_last, .. }) = self.0.remove(&conn) else { return };
        match is_last && self.0.get(&other).is_some_and(|side| side.is_last) {
            true => self.finish(reactor, other),
            false => drop(reactor.abort(other)),
        }
    }
}
