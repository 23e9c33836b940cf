//! This project's reactor.

use std::io;
use std::net::TcpListener;

use dolmen::{Event, Events, Reactor, Token};

use super::Mode;

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let mut reactor = Reactor::builder().max_events(1024).build().map_err(io::Error::other)?;
    let mut events = Events::with_capacity(1024);
    let mut everyone = Vec::new();
    reactor.listen(listener, Token(0)).map_err(io::Error::other)?;
    loop {
        reactor.wait(&mut events, None).map_err(io::Error::other)?;
        for event in events.drain() {
            match event {
                Event::Accepted { stream, .. } => {
                    stream.set_nodelay(true)?;
                    let conn = reactor.add(stream, Token(1)).map_err(io::Error::other)?;
                    if mode == Mode::Broadcast {
                        everyone.push(conn);
                    }
                }
                Event::Received { conn, data, .. } if mode == Mode::Echo => {
                    let _ = reactor.send(conn, data);
                }
                Event::Received { data, .. } => {
                    for &conn in &everyone {
                        let _ = reactor.send(conn, data);
                    }
                }
                Event::EndOfStream { conn, .. } => {
                    let _ = reactor.close(conn);
                }
                Event::Closed { conn, .. } if mode == Mode::Broadcast => {
                    everyone.retain(|&other| other != conn)
                }
                Event::Closed { .. } => everyone.clear(),
                _ => {}
            }
        }
    }
}
