//! The load generator: raw sockets over epoll in one thread, the same for every contender.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::meter::Meter;

/// The result of a run.
pub struct Outcome {
    /// Messages echoed, or deliveries of a broadcast, or connections.
    pub count: u64,
    pub seconds: f64,
    pub latency: Histogram,
}

/// The time of the measurement.
#[derive(Clone, Copy)]
pub struct Window {
    pub warm_up: Duration,
    pub duration: Duration,
}

/// The messages of the connections of [`echo`].
#[derive(Clone, Copy)]
pub struct Traffic {
    pub connections: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    /// So many messages are sent together, when as many have come back.
    pub batch: usize,
    pub message_bytes: usize,
    /// Further connections with as many messages of 16 KiB each in flight, which are not counted.
    pub bulk: usize,
}

const BULK_DEPTH: usize = 4;
const BULK_BYTES: usize = 16_384;

struct Client {
    stream: TcpStream,
    sent_at: VecDeque<Instant>,
    /// Bytes of the message that is arriving.
    arrived: usize,
    /// Bytes that the socket has not taken yet.
    unsent: usize,
    message_bytes: usize,
    /// Messages that have come back since the last were sent.
    returned: usize,
    batch: usize,
    counted: bool,
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

    pub fn remove(&self, stream: &TcpStream) -> io::Result<()> {
        // SAFETY: no event is needed to remove a descriptor.
        let done = unsafe {
            libc::epoll_ctl(self.fd, libc::EPOLL_CTL_DEL, stream.as_raw_fd(), std::ptr::null_mut())
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The keys of the ready sockets, after up to `timeout_ms`.
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
            // They end with a reset: tens of thousands of sockets in TIME_WAIT would slow down the next connects.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            Ok(stream)
        })
        .collect()
}

/// Each connection keeps some messages in flight.
pub fn echo(server: SocketAddr, traffic: Traffic, window: Window, meter: &mut Meter) -> io::Result<Outcome> {
    let message = vec![b'm'; traffic.message_bytes.max(BULK_BYTES)];
    let mut epoll = Epoll::new()?;
    let mut clients: Vec<Client> = connect(server, traffic.connections + traffic.bulk)?
        .into_iter()
        .enumerate()
        .map(|(key, stream)| Client::new(stream, key < traffic.connections, traffic))
        .collect();
    for (key, client) in clients.iter().enumerate() {
        epoll.add(&client.stream, key, libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET)?;
    }
    let mut latency = Histogram::new();
    let mut buffer = vec![0; 65_536];
    let (mut count, mut started) = (0, None);
    let begun = Instant::now();
    for client in &mut clients {
        let depth = if client.counted { traffic.depth } else { BULK_DEPTH };
        (0..depth / client.batch).try_for_each(|_| client.send(&message))?;
    }
    let mut last = Instant::now();
    loop {
        let ready: Vec<usize> = epoll.wait(100).collect();
        if !ready.is_empty() {
            last = Instant::now();
        } else if last.elapsed() > RESPONSE_TIMEOUT {
            return Err(io::Error::other("nothing came back for ten seconds"));
        }
        for key in ready {
            count += clients[key].read(&mut buffer, &message, started.is_some().then_some(&mut latency))?;
        }
        let now = Instant::now();
        match started {
            None if now - begun >= window.warm_up => {
                meter.start()?;
                count = 0;
                started = Some(Instant::now());
            }
            Some(at) if now - at >= window.duration => {
                meter.stop()?;
                return Ok(Outcome { count, seconds: (now - at).as_secs_f64(), latency });
            }
            _ => {}
        }
    }
}

/// How long a server may be silent.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    fn new(stream: TcpStream, counted: bool, traffic: Traffic) -> Client {
        let (message_bytes, batch) =
            if counted { (traffic.message_bytes, traffic.batch) } else { (BULK_BYTES, 1) };
        let sent_at = VecDeque::new();
        Client { stream, sent_at, arrived: 0, unsent: 0, message_bytes, returned: 0, batch, counted }
    }

    /// Reads the available bytes and sends again for each echoed message. Returns how many messages count.
    fn read(
        &mut self,
        buffer: &mut [u8],
        message: &[u8],
        mut latency: Option<&mut Histogram>,
    ) -> io::Result<u64> {
        let mut count = 0;
        self.flush(message)?;
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server has hung up")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error),
            };
            self.arrived += read;
            let now = Instant::now();
            while self.arrived >= self.message_bytes {
                self.arrived -= self.message_bytes;
                let sent_at = self.sent_at.pop_front().ok_or_else(|| io::Error::other("too many bytes"))?;
                if self.counted {
                    count += 1;
                    if let Some(latency) = &mut latency {
                        latency.record((now - sent_at).as_nanos() as u64);
                    }
                }
                self.returned += 1;
                if self.returned == self.batch {
                    self.returned = 0;
                    self.send(message)?;
                }
            }
            if read < buffer.len() {
                return Ok(count);
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        self.sent_at.extend(std::iter::repeat_n(now, self.batch));
        self.unsent += self.message_bytes * self.batch;
        self.flush(message)
    }

    fn flush(&mut self, message: &[u8]) -> io::Result<()> {
        while self.unsent > 0 {
            // All bytes are the same.
            let some = self.unsent.min(self.message_bytes * self.batch);
            match self.stream.write(&message[..some]) {
                Ok(sent) => self.unsent -= sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Connections that are polled for input; the key of each is its index.
fn connect_polled(server: SocketAddr, connections: usize) -> io::Result<(Epoll, Vec<TcpStream>)> {
    let epoll = Epoll::new()?;
    let streams = connect(server, connections)?;
    for (key, stream) in streams.iter().enumerate() {
        epoll.add(stream, key, libc::EPOLLIN)?;
    }
    Ok((epoll, streams))
}

/// One connection sends a line; when all have received it, the next follows. `next` makes a line, and returns how many bytes
/// each connection receives of it.
pub fn broadcast(
    server: SocketAddr,
    connections: usize,
    mut next: impl FnMut(&mut Vec<u8>) -> usize,
    window: Window,
    meter: &mut Meter,
) -> io::Result<Outcome> {
    let mut line = Vec::new();
    let (mut epoll, streams) = connect_polled(server, connections)?;
    // The last one sends: accepts are in order, so all are accepted by then.
    let mut latency = Histogram::new();
    let mut buffer = vec![0; 65_536];
    let (mut count, mut started) = (0, None);
    let begun = Instant::now();
    loop {
        let mut missing = next(&mut line) * connections;
        let said = Instant::now();
        (&streams[streams.len() - 1]).write_all(&line)?;
        while missing > 0 {
            if said.elapsed() > RESPONSE_TIMEOUT {
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
            None if now - begun >= window.warm_up => {
                meter.start()?;
                started = Some(Instant::now());
            }
            Some(at) if now - at >= window.duration => {
                meter.stop()?;
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
    window: Window,
    meter: &mut Meter,
) -> io::Result<Outcome> {
    let message = vec![b'm'; message_bytes];
    let mut answer = vec![0; message_bytes];
    let mut latency = Histogram::new();
    let mut count = 0;
    meter.start()?;
    let begun = Instant::now();
    while begun.elapsed() < window.duration {
        let at = Instant::now();
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        // With a reset, as above.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        drop(stream);
        latency.record(at.elapsed().as_nanos() as u64);
        count += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    meter.stop()?;
    Ok(Outcome { count, seconds, latency })
}

/// Each connection sends a line a second, spread evenly over the second.
pub fn paced(
    server: SocketAddr,
    connections: usize,
    message_bytes: usize,
    window: Window,
    meter: &mut Meter,
) -> io::Result<Outcome> {
    let message = vec![b'm'; message_bytes];
    let (mut epoll, streams) = connect_polled(server, connections)?;
    let gap = Duration::from_secs(1) / connections as u32;
    let mut sent_at = vec![Instant::now(); connections];
    let mut buffer = vec![0; 65_536];
    let (mut latency, mut count, mut started) = (Histogram::new(), 0, None);
    let begun = Instant::now();
    for turn in 0_u32.. {
        let key = turn as usize % connections;
        sent_at[key] = Instant::now();
        (&streams[key]).write_all(&message)?;
        // Reads echoes until the next line is due. It does not sleep in the last millisecond.
        let due = begun + gap * (turn + 1);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let ready: Vec<usize> = epoll.wait(left.as_millis() as i32).collect();
            for key in ready {
                let read = (&streams[key]).read(&mut buffer)?;
                if read == 0 {
                    return Err(io::Error::other("the server has hung up"));
                }
                if started.is_some() {
                    count += (read / message_bytes) as u64;
                    latency.record(sent_at[key].elapsed().as_nanos() as u64);
                }
            }
            if left.is_zero() {
                break;
            }
        }
        match started {
            None if begun.elapsed() >= window.warm_up => {
                meter.start()?;
                started = Some(Instant::now());
            }
            Some(at) if at.elapsed() >= window.duration => {
                meter.stop()?;
                return Ok(Outcome { count, seconds: at.elapsed().as_secs_f64(), latency });
            }
            _ => {}
        }
    }
    unreachable!("the window ends before the numbers do")
}
