//! polling: readiness, one-shot.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use polling::{Event, Events, Poller};

use super::{BUFFER_BYTES, Mode};

const LISTENER: usize = usize::MAX - 1;

struct Connection {
    stream: TcpStream,
    queued: Vec<u8>,
}

impl Connection {
    fn send(&mut self, poller: &Poller, key: usize, bytes: &[u8]) {
        let sent = if self.queued.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        if sent < bytes.len() {
            self.queued.extend_from_slice(&bytes[sent..]);
            let _ = poller.modify(&self.stream, Event::all(key));
        }
    }
}

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poller = Poller::new()?;
    let mut events = Events::with_capacity(std::num::NonZeroUsize::new(1024).expect("not zero"));
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = [0; BUFFER_BYTES];
    // SAFETY: sources are deleted from the poller before they are dropped.
    unsafe { poller.add(&listener, Event::readable(LISTENER))? };
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            if event.key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    // SAFETY: as above.
                    unsafe { poller.add(&stream, Event::readable(connections.len()))? };
                    connections.push(Some(Connection { stream, queued: Vec::new() }));
                }
                poller.modify(&listener, Event::readable(LISTENER))?;
                continue;
            }
            let Some(connection) = &mut connections[event.key] else { continue };
            if event.writable {
                let sent = connection.stream.write(&connection.queued).unwrap_or(0);
                connection.queued.drain(..sent);
            }
            if event.readable {
                match connection.stream.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => {
                        poller.delete(&connection.stream)?;
                        connections[event.key] = None;
                        continue;
                    }
                    Ok(count) if mode == Mode::Echo => connection.send(&poller, event.key, &buffer[..count]),
                    Ok(count) => {
                        for (key, other) in connections.iter_mut().enumerate() {
                            if let Some(other) = other {
                                other.send(&poller, key, &buffer[..count]);
                            }
                        }
                    }
                }
            }
            if let Some(connection) = &connections[event.key] {
                let write = !connection.queued.is_empty();
                poller.modify(&connection.stream, Event::new(event.key, true, write))?;
            }
        }
    }
}

pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    let poller = std::sync::Arc::new(Poller::new()?);
    let mut events = Events::new();
    let notified = std::sync::Arc::clone(&poller);
    let mut posts = start(Box::new(move || notified.notify().expect("it is notified")));
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        posts.delivered();
    }
}
