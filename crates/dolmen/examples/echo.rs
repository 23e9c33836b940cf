//! `echo ADDR`: sends every connection's bytes back to it.
//!
//! ```console
//! $ cargo run -p dolmen --example echo 127.0.0.1:0
//! listening 127.0.0.1:40513
//! ```

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::ExitCode;

use dolmen::{ConnId, Error, ErrorKind, Event, Events, Reactor, Token};

const USAGE: &str = "usage: echo ADDR, for example: echo 127.0.0.1:7777";

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
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
            match handle(&mut reactor, &mut owed, event) {
                Err(error) if matches!(error.kind(), ErrorKind::SendClosed | ErrorKind::NotFound) => {}
                Err(error) => eprintln!("{error}"),
                Ok(()) => {}
            }
        }
    }
}

/// `owed`: the bytes that a slowly reading connection is still owed; we do not read from it meanwhile.
fn handle(reactor: &mut Reactor, owed: &mut HashMap<ConnId, Vec<u8>>, event: Event<'_>) -> Result<(), Error> {
    match event {
        Event::Accepted { stream, .. } => {
            let conn = reactor.add(stream, Token(0))?;
            reactor.set_nodelay(conn, true)?;
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
