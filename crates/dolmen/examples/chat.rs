//! A chat server: names, rooms, and an end for those who say nothing for too long.
//!
//! ```text
//! $ cargo run --example chat -- 127.0.0.1:7777
//! listening 127.0.0.1:7777
//! ```
//!
//! `/name Ann` and `/join garden` are commands, `/quit` ends, and everything else goes to the others in the room. A
//! second argument is how many seconds of silence end a connection; 300 if there is none.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use dolmen::{ConnId, Event, Events, Reactor, TimerId, Token};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: chat ADDR [SECONDS], for example: chat 127.0.0.1:7777";

const LISTENER: Token = Token(0);
const GUEST: Token = Token(1);

/// A longer line is cut.
const LONGEST_LINE_BYTES: usize = 1_000;

struct Guest {
    name: String,
    room: String,
    /// What has arrived of the next line.
    line: Vec<u8>,
    /// Goes off when the guest has said nothing for too long.
    silence: TimerId,
}

struct Chat {
    reactor: Reactor,
    guests: HashMap<ConnId, Guest>,
    patience: Duration,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let seconds = arguments.next().map_or(Ok(300), |seconds| seconds.parse());
    let (Some(address), Ok(seconds)) = (address, seconds) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&address, Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, patience: Duration) -> Result {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    let mut reactor = Reactor::new()?;
    reactor.listen(listener, LISTENER)?;
    let mut chat = Chat { reactor, guests: HashMap::new(), patience };
    let mut events = Events::with_capacity(128);
    loop {
        chat.reactor.wait(&mut events, None)?;
        for event in &mut events {
            // A failure here concerns one connection.
            chat.handle(event).unwrap_or_else(|error| eprintln!("{error}"));
        }
    }
}

impl Chat {
    fn handle(&mut self, event: Event<'_>) -> Result {
        match event {
            Event::Accepted { stream, peer, .. } => {
                let conn = self.reactor.add(stream, GUEST)?;
                self.welcome(conn, peer);
            }
            Event::Received { conn, data, .. } => self.received(conn, data),
            Event::EndOfStream { conn, .. } => self.leave(conn, "has left"),
            // A reset, for example. Of a guest who has left, it is the end of the close.
            Event::Closed { conn, .. } => self.leave(conn, "is gone"),
            Event::Timer { timer, .. } => {
                let silent = self.guests.iter().find(|(_, guest)| guest.silence == timer);
                if let Some(conn) = silent.map(|(&conn, _)| conn) {
                    self.tell(conn, "Good-bye: you were silent for too long.");
                    self.leave(conn, "has fallen asleep");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn welcome(&mut self, conn: ConnId, peer: SocketAddr) {
        let silence = self.reactor.add_timer(self.patience, GUEST);
        let (name, room) = (format!("guest{}", peer.port()), "hall".to_owned());
        self.tell(conn, &format!("Welcome, {name}. You are in the {room}."));
        self.guests.insert(conn, Guest { name, room, line: Vec::new(), silence });
        self.tell_others(conn, "is here");
    }

    fn received(&mut self, conn: ConnId, data: &[u8]) {
        for &byte in data {
            // Missing once the guest has left.
            let Some(guest) = self.guests.get_mut(&conn) else { return };
            if byte != b'\n' {
                guest.line.push(byte);
                guest.line.truncate(LONGEST_LINE_BYTES);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut guest.line)).trim().to_owned();
            // They would reach the terminals of the others.
            let line: String = line.chars().filter(|char| !char.is_control()).collect();
            self.reactor.set_timer(guest.silence, self.patience);
            self.run(conn, &line);
        }
    }

    fn run(&mut self, conn: ConnId, line: &str) {
        let Some(guest) = self.guests.get_mut(&conn) else { return };
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            ("/quit", _) => self.leave(conn, "has left"),
            ("/name", name) if !name.is_empty() => {
                let old = std::mem::replace(&mut guest.name, name.to_owned());
                self.tell_others(conn, &format!("was {old}"));
            }
            ("/join", room) if !room.is_empty() => {
                self.tell_others(conn, "goes elsewhere");
                self.guests.entry(conn).and_modify(|guest| guest.room = room.to_owned());
                self.tell(conn, &format!("You are in the {room}."));
                self.tell_others(conn, "is here");
            }
            (word, _) if word.starts_with('/') => self.tell(conn, "/name NAME, /join ROOM or /quit"),
            _ => self.tell_others(conn, &format!("says: {line}")),
        }
    }

    /// Sends a line that begins with the guest's name to the others in the room.
    fn tell_others(&mut self, of: ConnId, what: &str) {
        let Some(guest) = self.guests.get(&of) else { return };
        let line = format!("{} {what}\n", guest.name);
        for (&conn, other) in &self.guests {
            if conn != of && other.room == guest.room {
                // Whatever does not fit into the queue of a guest who does not read is left out.
                let _ = self.reactor.send(conn, line.as_bytes());
            }
        }
    }

    fn tell(&mut self, conn: ConnId, line: &str) {
        let _ = self.reactor.send(conn, format!("{line}\n").as_bytes());
    }

    /// The first time for a guest: what was said last still arrives.
    fn leave(&mut self, conn: ConnId, how: &str) {
        self.tell_others(conn, how);
        if let Some(guest) = self.guests.remove(&conn) {
            self.reactor.remove_timer(guest.silence);
            let _ = self.reactor.close(conn);
        }
    }
}
