//! The kernel calls of an echoed message in a Rust program: the reference for the C library (`tests/c/scale.c` counts
//! the same for a C program).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use dolmen::{Event, Events, Reactor, Token};

#[test]
fn a_message_costs_three_calls() -> Result<(), Box<dyn std::error::Error>> {
    const MESSAGES: u32 = 1000;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut peer = TcpStream::connect(listener.local_addr()?)?;
    peer.set_nodelay(true)?;
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(16);
    reactor.add(listener.accept()?.0, Token(0))?;
    let before = reactor.stats().kernel_calls;
    for _ in 0..MESSAGES {
        peer.write_all(b"x")?;
        reactor.wait(&mut events, None)?;
        for event in events.drain() {
            if let Event::Received { conn, data, .. } = event {
                reactor.send(conn, data)?;
            }
        }
        reactor.flush();
        peer.read_exact(&mut [0])?;
    }
    let calls = f64::from(u32::try_from(reactor.stats().kernel_calls - before)?) / f64::from(MESSAGES);
    println!("{calls:.3} kernel calls a message");
    // The wait, the receive and the send.
    assert!(calls <= 3.05, "{calls} kernel calls a message");
    Ok(())
}
