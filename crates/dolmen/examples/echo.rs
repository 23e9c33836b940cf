//! `echo ADDR`: sends every connection's bytes back to it.
//!
//! ```console
//! $ cargo run -p dolmen --example echo 127.0.0.1:0
//! listening 127.0.0.1:40513
//! ```

use std::collections::HashMap;
use std::net::TcpListener;

use dolmen::{ConnId, ErrorKind, Event, Events, Reactor, Token};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result {
    let address = std::env::args().nth(1).ok_or("usage: echo ADDR, for example: echo 127.0.0.1:7777")?;
    let listener = TcpListener::bind(address)?;
    eprintln!("listening {}", listener.local_addr()?);

    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(128);
    reactor.listen(listener, Token(0))?;
    let mut owed = HashMap::new();
    loop {
        // Blocks until something happens; nothing polls.
        reactor.wait(&mut events, None)?;
        for event in events.drain() {
            // A failure here concerns one connection, and a `Closed` event follows.
            if let Err(error) = handle(&mut reactor, &mut owed, event) {
                eprintln!("{error}");
            }
        }
    }
}

/// `owed`: the bytes that a slowly reading connection is still owed; we do not read from it meanwhile.
fn handle(reactor: &mut Reactor, owed: &mut HashMap<ConnId, Vec<u8>>, event: Event<'_>) -> Result {
    match event {
        Event::Accepted { stream, .. } => {
            stream.set_nodelay(true)?;
            reactor.add(stream, Token(0))?;
        }
        Event::Received { conn, data, .. } => match reactor.send(conn, data) {
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                owed.insert(conn, data.to_vec());
                reactor.pause(conn)?;
            }
            sent => sent?,
        },
        Event::Drained { conn, .. } => {
            reactor.send(conn, &owed.remove(&conn).unwrap_or_default())?;
            reactor.resume(conn)?;
        }
        Event::EndOfStream { conn, .. } => reactor.close(conn)?,
        Event::Closed { conn, .. } => drop(owed.remove(&conn)),
        Event::AcceptFailed { error, .. } => eprintln!("not accepting for now: {error}"),
        _ => {}
    }
    Ok(())
}
