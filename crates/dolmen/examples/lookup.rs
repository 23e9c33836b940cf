//! Looks a host up, its addresses back to names, and tries ports of it.
//!
//! ```text
//! cargo run --example lookup -- localhost 22 80
//! ```
//!
//! prints a line for each address, name and port, and ends. A look-up of a name takes as long as the system takes; a port
//! that does not answer counts as timed out after two seconds. The exit status is 1 if the host has no address, or if
//! none of the ports is open.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use dolmen::{CloseReason, Event, Events, Reactor, Token};

const HOST: Token = Token(0);
const NAME: Token = Token(1);
/// The token of a connection is this and its port.
const PORTS: usize = 2;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let host = args.next();
    let ports: Result<Vec<u16>, _> = args.map(|port| port.parse()).collect();
    let (Some(host), Ok(ports)) = (host, ports) else {
        eprintln!("usage: lookup HOST PORT...");
        return ExitCode::from(2);
    };
    match look_up(&host, &ports) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lookup: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the host has an address and, if there are ports, one of them is open.
fn look_up(host: &str, ports: &[u16]) -> Result<bool, Box<dyn std::error::Error>> {
    let mut reactor = Reactor::builder().connect_timeout(Duration::from_secs(2)).build()?;
    let mut events = Events::with_capacity(64);
    reactor.resolve(host, 0, HOST)?;
    for &port in ports {
        // All at the same time; each looks the host up by itself, as the reactor remembers nothing.
        reactor.connect_host(host, port, Token(PORTS + usize::from(port)))?;
    }
    let mut names = HashMap::new();
    let mut left = 1 + ports.len();
    let (mut is_found, mut is_open) = (false, ports.is_empty());
    while left > 0 {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            left -= 1;
            match event {
                Event::Resolved { result: Ok(addresses), .. } => {
                    is_found = true;
                    for address in addresses {
                        left += usize::from(ask_name(&mut reactor, &mut names, address.ip())?);
                    }
                }
                Event::Resolved { result: Err(error), .. } => say(&format!("{host}: {error}"))?,
                Event::Named { lookup, result, .. } => {
                    let ip = names[&lookup];
                    match result {
                        Ok(name) => say(&format!("{ip} is {name}"))?,
                        Err(error) => say(&format!("{ip} has no name ({error})"))?,
                    }
                }
                Event::Connected { conn, token, peer, .. } => {
                    say(&format!("port {}: open at {peer}", token.0 - PORTS))?;
                    reactor.remove(conn);
                    is_open = true;
                }
                Event::Closed { token, reason, .. } => {
                    say(&format!("port {}: {}", token.0 - PORTS, verdict(reason)))?;
                }
                // A peer that greets was removed with `Connected`.
                _ => unreachable!("nothing else was asked for"),
            }
        }
    }
    Ok(is_found && is_open)
}

/// Asks for the name of an address. Returns whether a `Named` event comes.
fn ask_name(
    reactor: &mut Reactor,
    names: &mut HashMap<dolmen::LookupId, IpAddr>,
    ip: IpAddr,
) -> io::Result<bool> {
    say(&format!("address {ip}"))?;
    match reactor.lookup_name(ip, NAME) {
        Ok(lookup) => Ok(names.insert(lookup, ip).is_none()),
        // More addresses than look-ups may wait.
        Err(error) => say(&format!("{ip}: {error}")).map(|()| false),
    }
}

fn verdict(reason: CloseReason) -> String {
    match reason.to_io().map(|error| error.kind()) {
        Some(io::ErrorKind::ConnectionRefused) => "refused".to_owned(),
        Some(io::ErrorKind::TimedOut) => "timed out".to_owned(),
        _ => reason.to_string(),
    }
}

/// As `println`, which panics when no one reads any more.
fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
