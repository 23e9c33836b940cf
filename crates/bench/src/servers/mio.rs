//! mio: readiness, edge-triggered.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpListener;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{BUFFER_BYTES, Mode};

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    queued: Vec<u8>,
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) {
        if self.queued.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => self.queued.extend_from_slice(&bytes[sent..]),
                Err(_) => self.queued.extend_from_slice(bytes),
            }
        } else {
            self.queued.extend_from_slice(bytes);
        }
    }

    fn flush(&mut self) {
        while !self.queued.is_empty() {
            match self.stream.write(&self.queued) {
                Ok(sent) => drop(self.queued.drain(..sent)),
                Err(_) => return,
            }
        }
    }
}

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = [0; BUFFER_BYTES];
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    loop {
        poll.poll(&mut events, None)?;
        for event in events.iter() {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(connections.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    connections.push(Some(Connection { stream, queued: Vec::new() }));
                }
                continue;
            }
            let at = event.token().0;
            if event.is_writable() {
                connections[at].iter_mut().for_each(Connection::flush);
            }
            if !event.is_readable() {
                continue;
            }
            while let Some(connection) = &mut connections[at] {
                match connection.stream.read(&mut buffer) {
                    Ok(0) => connections[at] = None,
                    Ok(count) => {
                        match mode {
                            Mode::Echo => connection.send(&buffer[..count]),
                            Mode::Broadcast => {
                                connections
                                    .iter_mut()
                                    .flatten()
                                    .for_each(|other| other.send(&buffer[..count]));
                            }
                        }
                        // A short read has emptied the socket. On Windows only a refused read arms it again.
                        if cfg!(unix) && count < buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => connections[at] = None,
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(128);
    let waker = mio::Waker::new(poll.registry(), Token(0))?;
    let mut posts = start(Box::new(move || waker.wake().expect("it is woken")));
    loop {
        poll.poll(&mut events, None)?;
        posts.delivered();
    }
}
