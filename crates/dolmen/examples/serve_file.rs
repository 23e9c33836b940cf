//! Sends a file to everyone who connects, and then ends the connection.
//!
//! ```sh
//! cargo run --example serve_file -- 127.0.0.1:4000 Cargo.toml
//! ```
//!
//! Prints `listening ADDRESS` on standard error. A reader that is slow costs one piece of the file in memory, and one that
//! has gone costs nothing more.

use std::fs::File;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use dolmen::{Event, Events, Reactor, Token};

const USAGE: &str = "usage: serve_file ADDR FILE, for example: serve_file 127.0.0.1:4000 Cargo.toml";

const PORT: Token = Token(0);
const READER: Token = Token(1);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(path)) = (arguments.next(), arguments.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&address, &path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve_file: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    // Opened once. Each reader gets the bytes that the file has when they are sent.
    let file = File::open(path).map_err(|error| format!("cannot open {path}: {error}\n{USAGE}"))?;
    let file = Arc::new(file);
    let mut reactor = Reactor::new()?;
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    reactor.listen(listener, PORT)?;
    let mut events = Events::with_capacity(128);
    loop {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            match event {
                Event::Accepted { stream, peer, .. } => match reactor.add(stream, READER) {
                    Ok(conn) => drop(reactor.send_file(conn, Arc::clone(&file), 0..u64::MAX, READER)?),
                    Err(refused) => eprintln!("{peer}: {refused}"),
                },
                // Everything is with the system. A failure is followed by `Closed`.
                Event::FileSent { conn, result: Ok(()), .. } => drop(reactor.close(conn)),
                Event::FileSent { conn, sent, result: Err(error), .. } => {
                    eprintln!("{conn}: {path} cannot be read behind byte {sent}: {error}");
                }
                Event::Closed { conn, reason, .. } => eprintln!("{conn}: {reason}"),
                // What readers send is of no interest, and their end of the stream is not the end of reading.
                _ => {}
            }
        }
    }
}
