//! `console_chat ADDR`: a chat room whose host sits at the console. A guest's line is shown to all others, and the
//! host's lines to all guests; the host sees the guests' lines above the line being typed.
//!
//! ```console
//! $ cargo run -p dolmen --example console_chat 127.0.0.1:0
//! listening 127.0.0.1:40513
//! say>
//! ```

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::ExitCode;

use dolmen::{ConnId, ConsoleInput, ConsoleMode, Error, ErrorKind, Event, Events, Reactor, Token};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: console_chat ADDR, for example: console_chat 127.0.0.1:7777";

const CONSOLE: Token = Token(0);
const GUEST: Token = Token(1);

/// The unfinished line of each guest.
type Guests = HashMap<ConnId, Vec<u8>>;

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match chat(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("console_chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn chat(address: &str) -> Result {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(128);
    let mut console = reactor.add_console(ConsoleMode::Line, CONSOLE)?;
    console.print(&format!("listening {}\n", listener.local_addr()?))?;
    console.set_prompt("say> ")?;
    reactor.listen(listener, GUEST)?;

    let mut guests = Guests::new();
    loop {
        reactor.wait(&mut events, None)?;
        for event in events.drain() {
            match event {
                Event::Console { input, .. } => match input {
                    ConsoleInput::Line(line) => tell(&mut reactor, &guests, None, &format!("host: {line}\n")),
                    ConsoleInput::EndOfInput | ConsoleInput::Interrupt | ConsoleInput::Shutdown { .. } => {
                        return Ok(());
                    }
                    _ => {}
                },
                Event::Accepted { stream, peer, .. } => {
                    guests.insert(reactor.add(stream, GUEST)?, Vec::new());
                    show(&mut reactor, &format!("{peer} is here\n"))?;
                }
                Event::Received { conn, data, .. } => {
                    let lines = lines(&mut guests, conn, data);
                    for line in lines {
                        let line = format!("{conn}: {line}\n");
                        tell(&mut reactor, &guests, Some(conn), &line);
                        show(&mut reactor, &line)?;
                    }
                }
                Event::EndOfStream { conn, .. } => drop(reactor.close(conn)),
                Event::Closed { conn, .. } => {
                    guests.remove(&conn);
                    show(&mut reactor, &format!("{conn} has left\n"))?;
                }
                _ => {}
            }
        }
    }
}

/// The lines that these bytes finish.
fn lines(guests: &mut Guests, conn: ConnId, data: &[u8]) -> Vec<String> {
    const LONGEST: usize = 4096;
    let Some(pending) = guests.get_mut(&conn) else { return Vec::new() };
    pending.extend_from_slice(data);
    let mut lines = Vec::new();
    while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
        let line: Vec<u8> = pending.drain(..=end).collect();
        // What a guest sends must not move the host's cursor.
        lines.push(String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect());
    }
    pending.truncate(LONGEST);
    lines
}

/// Shows the host a text. A host who holds the terminal (Ctrl-S) for long misses what does not fit into the queue.
fn show(reactor: &mut Reactor, text: &str) -> std::result::Result<(), Error> {
    reactor.console()?.print(text).or_else(|error| match error.kind() {
        ErrorKind::QueueFull => Ok(()),
        _ => Err(error),
    })
}

fn tell(reactor: &mut Reactor, guests: &Guests, except: Option<ConnId>, text: &str) {
    for &conn in guests.keys().filter(|&&conn| Some(conn) != except) {
        // A guest who does not read misses some lines.
        let _ = reactor.send(conn, text.as_bytes());
    }
}
