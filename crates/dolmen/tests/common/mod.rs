//! Shared by the tests of the reactor: sockets in pairs, waits with a deadline, a watchdog, random numbers that are the
//! same each time.
#![allow(dead_code, unused_imports)] // Each test program uses a different part of it.

pub mod counting;
mod default_signals;
#[cfg(target_os = "linux")]
pub mod fork;
mod signal;
mod temporary;
#[cfg(windows)]
pub mod windows;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use dolmen::{
    Builder, CloseReason, ConnId, Event, Events, ListenerId, Reactor, Stats, TimerId, Token, WatchId,
};
pub use signal::Signal;
use socket2::SockRef;
pub use temporary::{Temp, pattern};

/// How long a test waits for an expected event, from the last event on. Only a failure takes that long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long a test waits for the absence of an event.
pub const SILENCE: Duration = Duration::from_millis(if cfg!(windows) { 150 } else { 50 });

/// The longest a test may take without progress: a machine under load may make a long test slow, and no test stop.
const LIMIT: Duration = Duration::from_secs(30);

/// A test that makes progress for so many times [`LIMIT`] does not end.
const MOST_LIMITS: usize = 10;

thread_local! {
    /// How many connections the test of this thread has made, and events it has seen.
    static PROGRESS: Arc<AtomicU64> = Arc::default();
}

pub fn note_progress(steps: usize) {
    PROGRESS.with(|progress| progress.fetch_add(steps as u64, Ordering::Relaxed));
}

/// Ends the whole test program when a test makes no progress for [`LIMIT`]; dropping it stops the watchdog.
pub struct Watchdog {
    _stop: mpsc::Sender<()>,
}

/// Starts a [`Watchdog`] over the current test.
pub fn watchdog() -> Watchdog {
    let (stop, stopped) = mpsc::channel::<()>();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let progress = PROGRESS.with(Arc::clone);
    thread::spawn(move || {
        let mut before = progress.load(Ordering::Relaxed);
        for _ in 0..MOST_LIMITS {
            if stopped.recv_timeout(LIMIT) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let now = progress.load(Ordering::Relaxed);
            if std::mem::replace(&mut before, now) == now {
                break;
            }
        }
        // Not eprintln: text captured by the test harness would be lost with the process.
        let _ = writeln!(std::io::stderr(), "\n{test} has not ended after {LIMIT:?} without progress");
        std::process::exit(101);
    });
    Watchdog { _stop: stop }
}

/// An event that outlives its `Events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The stream was dropped.
    Accepted(ListenerId, SocketAddr),
    AcceptFailed(ListenerId),
    Connected(ConnId),
    Received(ConnId, Vec<u8>),
    EndOfStream(ConnId),
    Drained(ConnId),
    Closed(ConnId, CloseReason),
    Ready(WatchId),
    Timer(TimerId, u64),
    Posted(Token, u64),
    Inbox(Token),
    Woken,
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Accepted { listener, peer, .. } => Seen::Accepted(listener, peer),
            Event::AcceptFailed { listener, .. } => Seen::AcceptFailed(listener),
            Event::Connected { conn, .. } => Seen::Connected(conn),
            Event::Received { conn, data, .. } => Seen::Received(conn, data.to_vec()),
            Event::EndOfStream { conn, .. } => Seen::EndOfStream(conn),
            Event::Drained { conn, .. } => Seen::Drained(conn),
            Event::Closed { conn, reason, .. } => Seen::Closed(conn, reason),
            Event::Ready { watch, .. } => Seen::Ready(watch),
            Event::Timer { timer, missed, .. } => Seen::Timer(timer, missed),
            Event::Posted { token, value, .. } => Seen::Posted(token, value),
            Event::Inbox { token, .. } => Seen::Inbox(token),
            Event::Woken => Seen::Woken,
            other => panic!("an event that the tests do not know: {other:?}"),
        }
    }
}

impl Seen {
    /// The connection of the event, if any.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Seen::Connected(conn)
            | Seen::Received(conn, _)
            | Seen::EndOfStream(conn)
            | Seen::Drained(conn)
            | Seen::Closed(conn, _) => Some(*conn),
            _ => None,
        }
    }
}

/// A reactor and its events.
pub struct Rig {
    pub reactor: Reactor,
    pub events: Events,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(&Reactor::builder())
    }

    pub fn with(builder: &Builder) -> Rig {
        Rig { reactor: builder.build().expect("a reactor"), events: Events::with_capacity(128) }
    }

    /// The same with events that have room for fewer or more.
    pub fn capacity(mut self, capacity: usize) -> Rig {
        self.events = Events::with_capacity(capacity);
        self
    }

    /// A registered connection, and its peer.
    pub fn connect(&mut self, token: Token) -> (ConnId, TcpStream) {
        let (ours, peer) = pair();
        (self.reactor.add(ours, token).expect("add"), peer)
    }

    /// Waits, handling all events, until `handle` has returned true. `what` names the expectation.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut handle: impl FnMut(&mut Reactor, Event<'_>) -> bool) {
        let mut deadline = Instant::now() + DEADLINE;
        let mut over = false;
        while !over {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} after {DEADLINE:?}: {:?}", self.reactor.stats());
            if self.reactor.wait(&mut self.events, Some(left)).expect("wait") > 0 {
                note_progress(self.events.len());
                deadline = Instant::now() + DEADLINE;
            }
            for event in self.events.drain() {
                over |= handle(&mut self.reactor, event);
            }
        }
    }

    /// Waits until an event like `last` has happened. Returns all events, in order.
    #[track_caller]
    pub fn seen_until(&mut self, what: &str, mut last: impl FnMut(&Seen) -> bool) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.until(what, |_, event| {
            seen.push(Seen::from(event));
            last(seen.last().expect("just pushed"))
        });
        seen
    }

    /// Waits until the reactor's counters have the expected values. No event may happen in the meantime.
    #[track_caller]
    pub fn until_stats(&mut self, what: &str, mut reached: impl FnMut(&Stats) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !reached(&self.reactor.stats()) {
            assert!(Instant::now() < deadline, "no {what} after {DEADLINE:?}: {:?}", self.reactor.stats());
            // The reactor's internal work ends no wait, so a long wait would miss it.
            self.reactor.wait(&mut self.events, Some(Duration::from_millis(1))).expect("wait");
            assert_eq!(
                self.events.drain().map(Seen::from).collect::<Vec<_>>(),
                [],
                "while waiting for {what}"
            );
        }
    }

    /// All events within a time.
    pub fn seen_for(&mut self, time: Duration) -> Vec<Seen> {
        let end = Instant::now() + time;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.reactor.wait(&mut self.events, Some(left)).expect("wait");
            seen.extend(self.events.drain().map(Seen::from));
            if left.is_zero() {
                return seen;
            }
        }
    }

    /// No more events may happen, and the reactor must sleep.
    #[track_caller]
    pub fn silent(&mut self) {
        let polls = self.reactor.stats().kernel_waits;
        assert_eq!(self.seen_for(SILENCE), [], "nothing was to happen any more");
        let polls = self.reactor.stats().kernel_waits - polls;
        // The reactor may have internal work left that causes no event, such as the end of five thousand connections,
        // one batch per poll. Spinning would be thousands of polls.
        assert!(polls <= 300, "{polls} polls in {SILENCE:?} of silence");
    }

    /// No event arrives, and the reactor polls the kernel a few times at most: it has no internal work left either.
    ///
    /// On Windows the timers of earlier waits, and one that fires early, each end a call without an event. On a busy machine
    /// several of them may coincide. A reactor that spins makes thousands of calls.
    #[track_caller]
    pub fn rests(&mut self) {
        let polls = self.reactor.stats().kernel_waits;
        self.silent();
        self.did_not_spin_since(polls);
    }

    #[track_caller]
    pub fn did_not_spin_since(&self, polls: u64) {
        const FEW: u64 = 10;
        let polls = self.reactor.stats().kernel_waits - polls;
        assert!(polls <= FEW, "it spins: {polls} polls");
    }

    /// Sends on all connections, whose peers do not read, until `wanted` operations are in flight.
    ///
    /// How much a system takes before a send has to wait differs: Linux splits a send, Windows takes any send whole
    /// while its buffer has room for a single byte.
    #[track_caller]
    pub fn fill_until_in_flight(&mut self, conns: &[ConnId], wanted: usize) {
        const PIECE: &[u8] = &[b'x'; 20_000];
        let deadline = Instant::now() + DEADLINE;
        while self.reactor.stats().operations_in_flight < wanted {
            assert!(Instant::now() < deadline, "the system takes everything: {:?}", self.reactor.stats());
            for &conn in conns {
                if self.reactor.queued_bytes(conn).expect("it is there") == 0 {
                    self.reactor.send(conn, PIECE).expect("send");
                }
            }
            self.reactor.wait(&mut self.events, Some(Duration::ZERO)).expect("wait");
            // Sends of which a part was taken are started again.
            self.reactor.flush();
        }
    }

    /// Waits until `conn` has received `count` bytes, and returns them. Nothing else may happen to it in the meantime.
    #[track_caller]
    pub fn receive(&mut self, conn: ConnId, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("bytes", |_, event| {
            match Seen::from(event) {
                Seen::Received(of, data) if of == conn => bytes.extend(data),
                other => {
                    assert_ne!(other.conn(), Some(conn), "{other:?} after {} of {count} bytes", bytes.len())
                }
            }
            bytes.len() >= count
        });
        assert_eq!(bytes.len(), count, "more bytes than were sent");
        bytes
    }

    /// Waits for the end of `conn`, and closes it at the end of stream. Returns all its events.
    #[track_caller]
    pub fn ended(&mut self, conn: ConnId) -> History {
        let mut history = History::default();
        self.until("end of the connection", |reactor, event| {
            if let Event::EndOfStream { conn: of, .. } = event {
                if of == conn {
                    reactor.close(conn).expect("an ended stream can be closed");
                }
            }
            history.add(conn, &Seen::from(event));
            history.closed.is_some()
        });
        history
    }
}

/// The events of one connection; refuses events in a wrong order.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub bytes: Vec<u8>,
    pub end_of_stream: bool,
    pub drained: usize,
    pub closed: Option<CloseReason>,
}

impl History {
    /// Records the event, if it belongs to `conn`.
    #[track_caller]
    pub fn add(&mut self, conn: ConnId, seen: &Seen) {
        if seen.conn() != Some(conn) {
            return;
        }
        assert_eq!(self.closed, None, "{seen:?} after Closed");
        match seen {
            Seen::Received(_, data) => {
                assert!(!self.end_of_stream, "bytes after the end of stream");
                assert!(!data.is_empty(), "an event without bytes");
                self.bytes.extend(data);
            }
            Seen::EndOfStream(_) => {
                assert!(!self.end_of_stream, "a second end of stream");
                self.end_of_stream = true;
            }
            Seen::Drained(_) => self.drained += 1,
            Seen::Closed(_, reason) => self.closed = Some(reason.clone()),
            _ => unreachable!("not about a connection"),
        }
    }
}

/// Two ends of a connection over the loopback interface. Neither delays small segments.
pub fn pair() -> (TcpStream, TcpStream) {
    note_progress(1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let peer = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (ours, from) = listener.accept().expect("accept");
    assert_eq!(from, peer.local_addr().expect("address"), "another program connected");
    for stream in [&ours, &peer] {
        stream.set_nodelay(true).expect("nodelay");
    }
    // A peer for which a test waits without success is a failure, not a hang.
    peer.set_read_timeout(Some(DEADLINE)).expect("timeout");
    peer.set_write_timeout(Some(DEADLINE)).expect("timeout");
    (ours, peer)
}

/// Two ends with small buffers, so that a little unread output fills them.
pub fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    // The window is agreed upon while connecting, so the receive buffers are set before.
    SockRef::from(&listener).set_recv_buffer_size(8 * 1024).expect("receive buffer");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.set_recv_buffer_size(8 * 1024).expect("receive buffer");
    socket.set_send_buffer_size(8 * 1024).expect("send buffer");
    socket.connect(&address.into()).expect("connect");
    let peer = TcpStream::from(socket);
    let (ours, _) = listener.accept().expect("accept");
    SockRef::from(&ours).set_send_buffer_size(8 * 1024).expect("send buffer");
    for stream in [&ours, &peer] {
        stream.set_nodelay(true).expect("nodelay");
    }
    peer.set_read_timeout(Some(DEADLINE)).expect("timeout");
    peer.set_write_timeout(Some(DEADLINE)).expect("timeout");
    (ours, peer)
}

/// A listener on a free port, and its address.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

/// Ends a stream with RST.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(stream);
}

/// Reads the available bytes until a read finds that the connection has been reset.
#[track_caller]
pub fn read_to_reset(mut stream: TcpStream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                let reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted);
                assert!(reset, "{error} after {} bytes", bytes.len());
                return bytes;
            }
        }
    }
    // Wine queries the socket's error itself, which takes it away from the reader. After a FIN the first write
    // succeeds, after a reset none does.
    let reset = cfg!(windows) && stream.write(b"?").is_err();
    assert!(reset, "an orderly end after {} bytes", bytes.len());
    bytes
}

/// Sends FIN.
pub fn finish(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("shutdown");
}

/// A read with a timeout from a stream that has nothing to read: a stream in non-blocking mode returns immediately.
#[track_caller]
pub fn assert_blocking(stream: &mut TcpStream) {
    let timeout = Duration::from_millis(50);
    stream.set_read_timeout(Some(timeout)).expect("timeout");
    let started = Instant::now();
    let error = stream.read(&mut [0; 1]).expect_err("there is nothing to read");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    // Systems round to their own ticks.
    assert!(started.elapsed() >= timeout / 2, "it does not block");
    stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
}

/// Random numbers (SplitMix64), the same for the same seed.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_ne_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}

/// How many descriptors or handles this process has. Not comparable while other tests run in it.
pub fn handle_count() -> usize {
    #[cfg(target_os = "linux")]
    return std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    #[cfg(windows)]
    return windows::handle_count();
}

/// Raises the limit of this process, in which both ends of the connections are.
#[cfg(target_os = "linux")]
pub fn allow_descriptors(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return;
    }
    let allowed = limit.maximum.is_none_or(|maximum| maximum >= count);
    assert!(allowed, "this test needs {count} file descriptors and may have {limit:?}; see `ulimit -Hn`");
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit }).expect("setrlimit");
}

/// Set in the environment of a [`child`].
const CHILD: &str = "DOLMEN_TEST_CHILD";

/// Whether this process is the child of a test that needs a process of its own.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the current test once more, alone in a process of its own, in which [`is_child`] returns true.
#[track_caller]
pub fn in_child() {
    let test = thread::current().name().expect("a test has its name").to_owned();
    let program = std::env::current_exe().expect("this program");
    let mut child = std::process::Command::new(program);
    // In a thread, as here, because the name would differ otherwise.
    child.args([&test, "--exact", "--nocapture", "--test-threads=2"]).env(CHILD, "1");
    let output = default_signals::with_default_signals(&mut child).output().expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in the child:\n{text}\n{errors}");
    print!("{text}");
}

/// The example program `name`, running with `argument`; ended when dropped.
pub struct Example {
    process: std::process::Child,
    /// Its output.
    pub stderr: std::io::BufReader<std::process::ChildStderr>,
}

impl Example {
    /// Starts it, with the command line of another program in front. Spaces separate arguments.
    #[track_caller]
    pub fn start(before: &[&str], name: &str, argument: &str) -> Example {
        let example = example(name);
        let arguments = argument.split(' ').map(std::ffi::OsString::from);
        let line = before.iter().map(std::ffi::OsString::from).chain([example.into()]);
        let mut line = line.chain(arguments);
        let program = line.next().expect("at least the example");
        let mut command = std::process::Command::new(&program);
        command.args(line).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut process = default_signals::with_default_signals(&mut command)
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let stderr = std::io::BufReader::new(process.stderr.take().expect("it is piped"));
        Example { process, stderr }
    }

    /// Waits for the line with its address. `Err` with its output if it ended instead.
    pub fn listening(&mut self) -> Result<SocketAddr, String> {
        let mut said = String::new();
        while std::io::BufRead::read_line(&mut self.stderr, &mut said).expect("text") > 0 {
            let address = said.lines().last().and_then(|line| line.strip_prefix("listening "));
            if let Some(address) = address {
                return Ok(address.trim().parse().expect("an address"));
            }
        }
        Err(said)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.process.wait().expect("wait")
    }

    /// Ends it. What it has printed can still be read.
    pub fn stop(&mut self) {
        self.process.kill().expect("kill");
        self.wait();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where cargo has put an example: beside the folder of the test programs. A plain `cargo test` has built it before;
/// with `--tests` or `--test …` this function builds it.
pub fn example(name: &str) -> std::path::PathBuf {
    let program = std::env::current_exe().expect("this program");
    let folder = program.ancestors().nth(2).expect("target/debug/deps/program");
    let example = folder.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if !example.is_file() {
        build_example(name, folder);
    }
    let here = example.is_file();
    assert!(here, "no {example:?}. To build it: cargo build -p dolmen --example {name}");
    example
}

/// Builds an example the way this program was built, where cargo is available: a program under Wine cannot run it.
fn build_example(name: &str, folder: &std::path::Path) {
    let Some(cargo) = std::env::var_os("CARGO").filter(|_| !cfg!(windows)) else { return };
    let name_of =
        |folder: &std::path::Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let profile = name_of(folder).filter(|profile| profile != "debug").unwrap_or_else(|| "dev".to_owned());
    let mut target_dir = folder.parent().expect("target or target/triple");
    let mut build = std::process::Command::new(cargo);
    build.args(["build", "--quiet", "--package", "dolmen", "--example", name, "--profile", &profile]);
    // Only a target triple has a name like this.
    if let Some(triple) = name_of(target_dir).filter(|name| name.split('-').count() >= 3) {
        build.args(["--target", &triple]);
        target_dir = target_dir.parent().expect("target");
    }
    let built = build.arg("--target-dir").arg(target_dir).output().expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
