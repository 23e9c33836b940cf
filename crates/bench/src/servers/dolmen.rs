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
                    let _ = reactor.broadcast(everyone.iter().copied(), data);
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

/// Posts of a `Poster`.
#[cfg(target_os = "linux")]
pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let mut events = Events::with_capacity(128);
    let poster = reactor.poster();
    let mut posts = start(Box::new(move || poster.post(0, Token(0)).expect("there is room for one")));
    loop {
        reactor.wait(&mut events, None).map_err(io::Error::other)?;
        for event in events.drain() {
            if let Event::Posted { .. } = event {
                posts.delivered();
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub fn timers(mut timers: super::Timers) -> io::Result<()> {
    use std::time::Instant;
    let mut reactor = Reactor::builder().max_events(1024).build().map_err(io::Error::other)?;
    let mut events = Events::with_capacity(1024);
    let mut due = Vec::with_capacity(timers.count);
    for at in 0..timers.count {
        let delay = timers.delay();
        due.push(Instant::now() + delay);
        reactor.add_timer(delay, Token(at));
    }
    loop {
        reactor.wait(&mut events, None).map_err(io::Error::other)?;
        for event in events.drain() {
            if let Event::Timer { token, .. } = event {
                timers.fired(due[token.0]);
                let delay = timers.delay();
                due[token.0] = Instant::now() + delay;
                reactor.add_timer(delay, token);
            }
        }
    }
}

/// Sets `count` timers, each after the one before has fired, while a thousand other timers are set.
pub fn set_timers(count: usize) -> io::Result<()> {
    use std::time::Duration;
    let mut reactor = Reactor::new().map_err(io::Error::other)?;
    let mut events = Events::with_capacity(128);
    for _ in 0..1000 {
        reactor.add_timer(Duration::from_secs(3600), Token(0));
    }
    for _ in 0..count {
        reactor.add_timer(Duration::ZERO, Token(1));
        while reactor.wait(&mut events, None).map_err(io::Error::other)? == 0 {}
    }
    Ok(())
}
