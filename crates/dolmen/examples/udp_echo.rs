//! `udp_echo ADDR`: sends every datagram back to its sender.
//!
//! ```console
//! $ cargo run -p dolmen --example udp_echo 127.0.0.1:0
//! listening 127.0.0.1:40513
//! ```

use std::net::UdpSocket;
use std::process::ExitCode;

use dolmen::{ErrorKind, Event, Events, Reactor, Token};

const USAGE: &str = "usage: udp_echo ADDR, for example: udp_echo 127.0.0.1:7777";

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("udp_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let socket =
        UdpSocket::bind(address).map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    let own = socket.local_addr()?;
    eprintln!("listening {own}");

    // A datagram that is longer than a buffer is cut; these hold any.
    let mut reactor = Reactor::builder().buffer_size(65_535).pool_size(64).build()?;
    let mut events = Events::with_capacity(64);
    reactor.udp(socket, Token(0))?;
    let mut dropped = 0_u64;
    loop {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            match event {
                // A forged sender could make an echo server answer itself, and others answer each other, without
                // end. Do not run one that strangers can reach.
                Event::Datagram { from, .. } if from.port() == own.port() => {}
                Event::Datagram { udp, from, data, .. } => match reactor.send_to(udp, data, from) {
                    // The network takes less than it brings: this one is lost, as it might be on the way.
                    Err(error) if error.kind() == ErrorKind::QueueFull => {
                        dropped += 1;
                        if dropped.is_power_of_two() {
                            eprintln!("{dropped} datagrams dropped");
                        }
                    }
                    sent => sent?,
                },
                // The socket continues by itself.
                Event::UdpFailed { error, .. } => eprintln!("{error}"),
                _ => {}
            }
        }
    }
}
