//! Players who paste, flood and read slowly, each in threads of low priority: they stand for machines elsewhere.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::system;

/// What the attacker does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends a long text, as a person does who pastes a file.
    Paste,
    /// Tells somebody lines without a pause.
    Tell,
    /// Sends a line without an end, a hundred megabytes a second.
    Flood,
    /// Reads slowly what accomplices send it.
    SlowReader,
    /// Never reads what accomplices send it.
    NoReader,
}

pub const ALL: [Kind; 5] = [Kind::Paste, Kind::Tell, Kind::Flood, Kind::SlowReader, Kind::NoReader];

const PASTED_BYTES: usize = 8 << 20;
const FLOOD_BYTES_A_SECOND: u64 = 100_000_000;
const SLOW_BYTES_A_SECOND: u64 = 100_000;

/// How long a logon may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each may send ten commands a second: together 200 KB.
const ACCOMPLICES: usize = 20;
const TOLD_BYTES: usize = 1000;

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Paste => "a paste of 8 MiB",
            Kind::Tell => "a flood of tells",
            Kind::Flood => "a flood of 100 MB/s",
            Kind::SlowReader => "a reader of 100 KB/s",
            Kind::NoReader => "one who never reads",
        }
    }

    /// The attacker's name among the players.
    fn player(self) -> &'static str {
        match self {
            Kind::Paste => "paster",
            Kind::Tell => "teller",
            Kind::Flood => "flooder",
            Kind::SlowReader => "slow",
            Kind::NoReader => "deaf",
        }
    }

    /// What the attacker sends, again and again.
    fn text(self) -> Vec<u8> {
        match self {
            Kind::Paste => format!("{}\r\n", "pasted ".repeat(11)).into_bytes(),
            Kind::Tell => b"tell p1 again and again\r\n".to_vec(),
            Kind::Flood => vec![b'x'; 65_536],
            Kind::SlowReader | Kind::NoReader => Vec::new(),
        }
    }

    /// How much of it, and at which rate.
    fn writes_at_most(self) -> (usize, u64) {
        match self {
            Kind::Paste => (PASTED_BYTES, u64::MAX),
            Kind::Flood => (usize::MAX, FLOOD_BYTES_A_SECOND),
            Kind::Tell => (usize::MAX, u64::MAX),
            Kind::SlowReader | Kind::NoReader => (0, 0),
        }
    }

    fn accomplices(self) -> usize {
        if matches!(self, Kind::SlowReader | Kind::NoReader) { ACCOMPLICES } else { 0 }
    }

    fn reads_at_most(self) -> u64 {
        match self {
            Kind::SlowReader => SLOW_BYTES_A_SECOND,
            Kind::NoReader => 0,
            Kind::Paste | Kind::Tell | Kind::Flood => u64::MAX,
        }
    }
}

/// An attack that goes on.
pub struct Attack {
    attacker: Client,
    accomplices: Vec<Client>,
}

impl Attack {
    pub fn start(kind: Kind, server: SocketAddr) -> io::Result<Attack> {
        let (most, rate) = kind.writes_at_most();
        let name = kind.player();
        let attacker = Client::start(server, name, kind.text(), most, rate, kind.reads_at_most())?;
        let told = format!("tell {name} {}\r\n", "x".repeat(TOLD_BYTES));
        let accomplice = |number| {
            Client::start(
                server,
                &format!("{name}{number}"),
                told.clone().into_bytes(),
                usize::MAX,
                u64::MAX,
                u64::MAX,
            )
        };
        Ok(Attack {
            attacker,
            accomplices: (0..kind.accomplices()).map(accomplice).collect::<io::Result<_>>()?,
        })
    }

    /// How many players it has.
    pub fn players(&self) -> usize {
        1 + self.accomplices.len()
    }

    /// Ends it, and says what came of it.
    pub fn stop(self) -> String {
        let cut = self.accomplices.into_iter().filter_map(|client| client.stop().2.then_some(())).count();
        let (written, read, is_cut) = self.attacker.stop();
        let is_cut = if is_cut { ", cut" } else { "" };
        let others = if cut > 0 { format!(", {cut} accomplices cut") } else { String::new() };
        format!("{written} bytes taken from it, {read} bytes read{is_cut}{others}")
    }
}

/// One connection of an attack, with a thread for each direction.
struct Client {
    stream: TcpStream,
    shared: Arc<Shared>,
    threads: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Shared {
    written: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
    cut: AtomicBool,
}

impl Client {
    fn start(
        server: SocketAddr,
        name: &str,
        text: Vec<u8>,
        most: usize,
        write_rate: u64,
        read_rate: u64,
    ) -> io::Result<Client> {
        let mut stream = TcpStream::connect(server)?;
        // It ends with a reset: otherwise the server carries out first what it has been sent, a command at a time.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        stream.write_all(format!("{name}\r\n").as_bytes())?;
        log_on(&mut stream)?;
        let shared = Arc::<Shared>::default();
        let write =
            move |stream: &mut TcpStream, text: &mut [u8], done: usize| match most.saturating_sub(done) {
                0 => Ok(None),
                left => {
                    let rest = &text[done % text.len()..];
                    stream.write(&rest[..left.min(rest.len())]).map(Some)
                }
            };
        let read = |stream: &mut TcpStream, buffer: &mut [u8], _| stream.read(buffer).map(Some);
        let threads = [
            transfer(stream.try_clone()?, &shared, write_rate, |shared| &shared.written, write, text),
            transfer(stream.try_clone()?, &shared, read_rate, |shared| &shared.read, read, vec![0; 16_384]),
        ];
        Ok(Client { stream, shared, threads })
    }

    /// Ends it: bytes written, bytes read, and whether it had been cut.
    fn stop(self) -> (u64, u64, bool) {
        let cut = self.shared.cut.load(Ordering::Relaxed);
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads {
            let _ = thread.join();
        }
        (self.shared.written.load(Ordering::Relaxed), self.shared.read.load(Ordering::Relaxed), cut)
    }
}

/// Reads up to the welcome.
fn log_on(stream: &mut TcpStream) -> io::Result<()> {
    let (mut all, mut buffer, begun) = (Vec::new(), [0; 4096], Instant::now());
    while !String::from_utf8_lossy(&all).contains("Hello, ") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => {}
            _ => return Err(io::Error::other("the attacker could not log on")),
        }
    }
    Ok(())
}

/// Transfers in one direction up to a rate, until it is stopped.
fn transfer(
    mut stream: TcpStream,
    shared: &Arc<Shared>,
    rate: u64,
    count: impl Fn(&Shared) -> &AtomicU64 + Send + 'static,
    step: impl Fn(&mut TcpStream, &mut [u8], usize) -> io::Result<Option<usize>> + Send + 'static,
    mut buffer: Vec<u8>,
) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        system::yield_to_others();
        let begun = Instant::now();
        while !shared.stop.load(Ordering::Relaxed) && rate > 0 {
            let done = count(&shared).load(Ordering::Relaxed);
            if done as f64 > begun.elapsed().as_secs_f64() * rate as f64 {
                std::thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            match step(&mut stream, &mut buffer, done as usize) {
                Ok(Some(0)) => break,
                Ok(Some(bytes)) => _ = count(&shared).fetch_add(bytes as u64, Ordering::Relaxed),
                Ok(None) => return,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(_) => break,
            }
        }
        if rate > 0 && !shared.stop.load(Ordering::Relaxed) {
            shared.cut.store(true, Ordering::Relaxed);
        }
    })
}
