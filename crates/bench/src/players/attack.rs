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
    /// Asks for much, and reads it slowly.
    SlowReader,
    /// Asks for much, and never reads.
    NoReader,
}

pub const ALL: [Kind; 5] = [Kind::Paste, Kind::Tell, Kind::Flood, Kind::SlowReader, Kind::NoReader];

const PASTED_BYTES: usize = 8 << 20;
const FLOOD_BYTES_A_SECOND: u64 = 100_000_000;
const SLOW_BYTES_A_SECOND: u64 = 100_000;

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

    /// What is sent, again and again.
    fn text(self) -> Vec<u8> {
        match self {
            Kind::Paste => format!("{}\r\n", "pasted ".repeat(11)).into_bytes(),
            Kind::Tell => b"tell p1 again and again\r\n".to_vec(),
            Kind::Flood => vec![b'x'; 65_536],
            Kind::SlowReader | Kind::NoReader => b"who\r\n".to_vec(),
        }
    }

    fn writes_at_most(self) -> (usize, u64) {
        match self {
            Kind::Paste => (PASTED_BYTES, u64::MAX),
            Kind::Flood => (usize::MAX, FLOOD_BYTES_A_SECOND),
            Kind::Tell | Kind::SlowReader | Kind::NoReader => (usize::MAX, u64::MAX),
        }
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
    stream: TcpStream,
    written: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    cut: Arc<AtomicBool>,
    threads: [JoinHandle<()>; 2],
}

impl Attack {
    pub fn start(kind: Kind, server: SocketAddr) -> io::Result<Attack> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        stream.write_all(b"attacker\r\n")?;
        let (written, read) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (stop, cut) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (most, rate) = kind.writes_at_most();
        let writer = Half { stream: stream.try_clone()?, rate, count: &written, stop: &stop, cut: &cut }
            .start(
                move |stream, text, done| match most.saturating_sub(done) {
                    0 => Ok(None),
                    left => stream
                        .write(&text[done % text.len()..][..left.min(text.len() - done % text.len())])
                        .map(Some),
                },
                kind.text(),
            );
        let reader = Half {
            stream: stream.try_clone()?,
            rate: kind.reads_at_most(),
            count: &read,
            stop: &stop,
            cut: &cut,
        }
        .start(|stream, buffer, _| stream.read(buffer).map(Some), vec![0; 16_384]);
        Ok(Attack { stream, written, read, stop, cut, threads: [writer, reader] })
    }

    /// Ends it, and says what came of it.
    pub fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let cut = self.cut.load(Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads {
            let _ = thread.join();
        }
        format!(
            "{} bytes taken from it, {} bytes read{}",
            self.written.load(Ordering::Relaxed),
            self.read.load(Ordering::Relaxed),
            if cut { ", cut" } else { "" }
        )
    }
}

/// One direction of an attack.
struct Half<'a> {
    stream: TcpStream,
    rate: u64,
    count: &'a Arc<AtomicU64>,
    stop: &'a Arc<AtomicBool>,
    cut: &'a Arc<AtomicBool>,
}

impl Half<'_> {
    fn start(
        self,
        step: impl Fn(&mut TcpStream, &mut [u8], usize) -> io::Result<Option<usize>> + Send + 'static,
        mut buffer: Vec<u8>,
    ) -> JoinHandle<()> {
        let (count, stop, cut) = (Arc::clone(self.count), Arc::clone(self.stop), Arc::clone(self.cut));
        let (mut stream, rate) = (self.stream, self.rate);
        std::thread::spawn(move || {
            system::yield_to_others();
            let begun = Instant::now();
            while !stop.load(Ordering::Relaxed) && rate > 0 {
                let done = count.load(Ordering::Relaxed);
                if done as f64 > begun.elapsed().as_secs_f64() * rate as f64 {
                    std::thread::park_timeout(Duration::from_millis(5));
                    continue;
                }
                match step(&mut stream, &mut buffer, done as usize) {
                    Ok(Some(0)) => break,
                    Ok(Some(bytes)) => _ = count.fetch_add(bytes as u64, Ordering::Relaxed),
                    Ok(None) => return,
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                    Err(_) => break,
                }
            }
            if rate > 0 && !stop.load(Ordering::Relaxed) {
                cut.store(true, Ordering::Relaxed);
            }
        })
    }
}
