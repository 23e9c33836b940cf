//! Well- and ill-behaved clients. A seed decides what they send, and so what they expect to receive.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::process::Result;

/// How long a client waits for an expected event.
const IO_TIMEOUT: Duration = Duration::from_secs(20);

/// The most idle connections that a client keeps.
const HELD: usize = 40;

/// The counters of all clients together.
#[derive(Default)]
pub struct Counts {
    messages: AtomicU64,
    bytes: AtomicU64,
    connections: AtomicU64,
    half_closes: AtomicU64,
    resets: AtomicU64,
    vanished: AtomicU64,
    floods: AtomicU64,
    no_port: AtomicU64,
}

impl Counts {
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "    {} messages, {} MB echoed; {} connections: {} half-closed, {} reset, {} closed immediately, {} floods; \
             {} times no port was free",
            of(&self.messages),
            of(&self.bytes) / 1_000_000,
            of(&self.connections),
            of(&self.half_closes),
            of(&self.resets),
            of(&self.vanished),
            of(&self.floods),
            of(&self.no_port)
        )
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// One client, repeatedly.
pub struct Worker {
    address: SocketAddr,
    random: Random,
    counts: Arc<Counts>,
    /// Open connections, mostly idle.
    held: Vec<TcpStream>,
}

impl Worker {
    pub fn new(address: SocketAddr, seed: u64, counts: &Arc<Counts>) -> Worker {
        Worker { address, random: Random(seed), counts: Arc::clone(counts), held: Vec::new() }
    }

    /// A random action.
    pub fn something(&mut self) -> Result<()> {
        match self.random.below(100) {
            0..40 => self.talk(),
            40..60 => self.talk_on_a_held_one(),
            60..70 => self.hold(),
            70..80 => self.half_close(),
            80..88 => self.reset(),
            88..94 => self.vanish(),
            _ => self.flood(),
        }
    }

    /// `None` where a busy machine has no free port for a while: the server is not at fault.
    fn connect(&mut self) -> Result<Option<TcpStream>> {
        let stream = match TcpStream::connect(self.address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                count(&self.counts.no_port, 1);
                return Ok(None);
            }
            Err(error) => return Err(format!("cannot connect: {error}")),
        };
        count(&self.counts.connections, 1);
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(IO_TIMEOUT)));
        set.and_then(|()| stream.set_write_timeout(Some(IO_TIMEOUT))).map_err(|error| error.to_string())?;
        Ok(Some(stream))
    }

    /// Lines, each after the echo of the last one, and an orderly end.
    pub fn talk(&mut self) -> Result<()> {
        let Some(mut stream) = self.connect()? else { return self.talk_on_a_held_one() };
        for _ in 0..1 + self.random.below(60) {
            self.exchange(&mut stream)?;
        }
        finish(&stream)?;
        expect(&mut stream, &[], "the end")
    }

    fn exchange(&mut self, stream: &mut TcpStream) -> Result<()> {
        let most = if self.random.below(10) == 0 { 20_000 } else { 200 };
        let line = self.random.bytes(1 + self.random.clone().below(most));
        write(stream, &line)?;
        let mut answer = vec![0; line.len()];
        stream.read_exact(&mut answer).map_err(|error| format!("no echo: {error}"))?;
        self.echoed(&line, &answer)
    }

    fn echoed(&self, said: &[u8], heard: &[u8]) -> Result<()> {
        if said != heard {
            return Err(format!("a wrong echo of {} bytes", said.len()));
        }
        count(&self.counts.messages, 1);
        count(&self.counts.bytes, said.len() as u64);
        Ok(())
    }

    fn talk_on_a_held_one(&mut self) -> Result<()> {
        if self.held.is_empty() {
            return self.hold();
        }
        let at = self.random.below(self.held.len());
        let mut stream = self.held.swap_remove(at);
        for _ in 0..1 + self.random.below(20) {
            self.exchange(&mut stream)?;
        }
        self.held.push(stream);
        Ok(())
    }

    fn hold(&mut self) -> Result<()> {
        if self.held.len() >= HELD {
            let at = self.random.below(self.held.len());
            drop(self.held.swap_remove(at));
        }
        let stream = self.connect()?;
        self.held.extend(stream);
        Ok(())
    }

    /// Everything in one write, FIN, and only then the echo.
    fn half_close(&mut self) -> Result<()> {
        let Some(mut stream) = self.connect()? else { return Ok(()) };
        let said = self.random.bytes(self.random.clone().below(60_000));
        write(&mut stream, &said)?;
        finish(&stream)?;
        count(&self.counts.half_closes, 1);
        expect(&mut stream, &said, "the echo after FIN")?;
        self.echoed(&said, &said)
    }

    /// Closing with an unread echo resets.
    fn reset(&mut self) -> Result<()> {
        let Some(mut stream) = self.connect()? else { return Ok(()) };
        let said = self.random.bytes(1 + self.random.clone().below(30_000));
        write(&mut stream, &said)?;
        stream.peek(&mut [0]).map_err(|error| format!("no echo: {error}"))?;
        count(&self.counts.resets, 1);
        Ok(())
    }

    /// Connects and closes immediately; with or without bytes in flight.
    fn vanish(&mut self) -> Result<()> {
        let Some(mut stream) = self.connect()? else { return Ok(()) };
        if self.random.below(2) == 0 {
            write(&mut stream, b"bye")?;
        }
        count(&self.counts.vanished, 1);
        Ok(())
    }

    /// More than all queues in between hold, read in small pieces.
    fn flood(&mut self) -> Result<()> {
        let Some(mut stream) = self.connect()? else { return Ok(()) };
        let said = self.random.bytes(500_000 + self.random.clone().below(1_500_000));
        let piece = 1 + self.random.below(16_000);
        count(&self.counts.floods, 1);
        let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
        thread::scope(|scope| {
            let written = scope.spawn(|| write(&mut writer, &said).and_then(|()| finish(&writer)));
            let mut heard = vec![0; said.len()];
            for part in heard.chunks_mut(piece) {
                stream.read_exact(part).map_err(|error| format!("no echo of a flood: {error}"))?;
            }
            written.join().map_err(|_| "a writer panicked".to_owned())??;
            self.echoed(&said, &heard)
        })?;
        expect(&mut stream, &[], "the end of a flood")
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).map_err(|error| format!("cannot write: {error}"))
}

fn finish(stream: &TcpStream) -> Result<()> {
    stream.shutdown(Shutdown::Write).map_err(|error| format!("cannot shut down: {error}"))
}

/// The rest of the stream has these bytes, and then an orderly end.
fn expect(stream: &mut TcpStream, bytes: &[u8], what: &str) -> Result<()> {
    let mut rest = Vec::with_capacity(bytes.len());
    stream.read_to_end(&mut rest).map_err(|error| format!("not {what}: {error}"))?;
    if rest == bytes {
        Ok(())
    } else {
        Err(format!("not {what}: {} bytes instead of {}", rest.len(), bytes.len()))
    }
}

/// Random numbers (SplitMix64), the same for the same seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_ne_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}
