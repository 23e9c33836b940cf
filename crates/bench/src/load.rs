//! The load generator: raw sockets over epoll in one thread, the same for every contender.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// What a run has brought.
pub struct Outcome {
    /// Messages echoed, or deliveries of a broadcast, or connections.
    pub count: u64,
    pub seconds: f64,
    pub latency: Histogram,
}

struct Client {
    stream: TcpStream,
    sent_at: VecDeque<Instant>,
    /// Bytes of the message that is arriving.
    arrived: usize,
    /// Bytes of a message that the socket did not take.
    unsent: usize,
}

pub struct Epoll {
    fd: i32,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 2048] })
    }

    pub fn add(&self, stream: &TcpStream, key: usize, flags: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: flags as u32, u64: key as u64 };
        // SAFETY: the event is readable for the length of the call.
        let done = unsafe { libc::epoll_ctl(self.fd, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut event) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The keys of what is ready, after up to `timeout_ms`.
    pub fn wait(&mut self, timeout_ms: i32) -> impl Iterator<Item = usize> + '_ {
        let room = self.events.len() as i32;
        // SAFETY: there is room for that many events.
        let count = unsafe { libc::epoll_wait(self.fd, self.events.as_mut_ptr(), room, timeout_ms) };
        self.events[..count.max(0) as usize].iter().map(|event| event.u64 as usize)
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours.
        unsafe { libc::close(self.fd) };
    }
}

pub fn connect(server: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        })
        .collect()
}

/// Each connection keeps `depth` messages in flight.
pub fn echo(
    server: SocketAddr,
    connections: usize,
    depth: usize,
    message_bytes: usize,
    warm_up: Duration,
    duration: Duration,
    mut measured_from_now: impl FnMut(),
) -> io::Result<Outcome> {
    let message = vec![b'm'; message_bytes];
    let mut epoll = Epoll::new()?;
    let mut clients: Vec<Client> = connect(server, connections)?
        .into_iter()
        .map(|stream| Client { stream, sent_at: VecDeque::new(), arrived: 0, unsent: 0 })
        .collect();
    for (key, client) in clients.iter().enumerate() {
        epoll.add(&client.stream, key, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET)?;
    }
    let mut latency = Histogram::new();
    let mut buffer = vec![0; 65_536];
    let (mut count, mut started) = (0, None);
    let begun = Instant::now();
    for client in &mut clients {
        (0..depth).try_for_each(|_| client.send(&message))?;
    }
    loop {
        let ready: Vec<usize> = epoll.wait(100).collect();
        for key in ready {
            let client = &mut clients[key];
            client.flush(&message)?;
            loop {
                match client.stream.read(&mut buffer) {
                    Ok(0) => return Err(io::Error::other("the server has hung up")),
                    Ok(read) => {
                        client.arrived += read;
                        let now = Instant::now();
                        while client.arrived >= message_bytes {
                            client.arrived -= message_bytes;
                            let sent_at = client
                                .sent_at
                                .pop_front()
                                .ok_or_else(|| io::Error::other("too many bytes"))?;
                            if started.is_some() {
                                count += 1;
                                latency.record((now - sent_at).as_nanos() as u64);
                            }
                            client.send(&message)?;
                        }
                        if read < buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        let now = Instant::now();
        match started {
            None if now - begun >= warm_up => {
                measured_from_now();
                started = Some(Instant::now());
            }
            Some(at) if now - at >= duration => {
                return Ok(Outcome { count, seconds: (now - at).as_secs_f64(), latency });
            }
            _ => {}
        }
    }
}

impl Client {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.sent_at.push_back(Instant::now());
        self.unsent += message.len();
        self.flush(message)
    }

    fn flush(&mut self, message: &[u8]) -> io::Result<()> {
        while self.unsent > 0 {
            let some = self.unsent.min(message.len());
            match self.stream.write(&message[..some]) {
                Ok(sent) => self.unsent -= sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One says a line, and when all have heard it the next.
pub fn broadcast(
    server: SocketAddr,
    connections: usize,
    message_bytes: usize,
    warm_up: Duration,
    duration: Duration,
    mut measured_from_now: impl FnMut(),
) -> io::Result<Outcome> {
    let message = vec![b'm'; message_bytes];
    let mut epoll = Epoll::new()?;
    let streams = connect(server, connections)?;
    for (key, stream) in streams.iter().enumerate() {
        epoll.add(stream, key, libc::EPOLLIN)?;
    }
    // All have been accepted when the last one hears something, for accepts are in order.
    let mut latency = Histogram::new();
    let mut buffer = vec![0; 65_536];
    let (mut count, mut started) = (0, None);
    let begun = Instant::now();
    loop {
        let said = Instant::now();
        (&streams[streams.len() - 1]).write_all(&message)?;
        let mut missing = message_bytes * connections;
        while missing > 0 {
            if said.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other(format!("{missing} bytes of a broadcast are missing")));
            }
            let ready: Vec<usize> = epoll.wait(100).collect();
            for key in ready {
                match (&streams[key]).read(&mut buffer) {
                    Ok(0) => return Err(io::Error::other("the server has hung up")),
                    Ok(read) => missing -= read.min(missing),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let now = Instant::now();
        if started.is_some() {
            count += connections as u64;
            latency.record((now - said).as_nanos() as u64);
        }
        match started {
            None if now - begun >= warm_up => {
                measured_from_now();
                started = Some(Instant::now());
            }
            Some(at) if now - at >= duration => {
                return Ok(Outcome { count, seconds: (now - at).as_secs_f64(), latency });
            }
            _ => {}
        }
    }
}

/// Connect, one line and its echo, close: one after the other.
pub fn churn(
    server: SocketAddr,
    message_bytes: usize,
    duration: Duration,
    mut measured_from_now: impl FnMut(),
) -> io::Result<Outcome> {
    let message = vec![b'm'; message_bytes];
    let mut answer = vec![0; message_bytes];
    let mut latency = Histogram::new();
    let mut count = 0;
    measured_from_now();
    let begun = Instant::now();
    while begun.elapsed() < duration {
        let at = Instant::now();
        let mut stream = TcpStream::connect(server)?;
        // With a reset, so that no port is left waiting.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        drop(stream);
        latency.record(at.elapsed().as_nanos() as u64);
        count += 1;
    }
    Ok(Outcome { count, seconds: begun.elapsed().as_secs_f64(), latency })
}
