//! A long run on real sockets: well- and ill-behaved clients against the echo server, whose memory and handles are
//! watched; or the heart beats of C drivers.

mod client;
pub mod heart_beats;
mod watch;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::install::Installer;
use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps};
use crate::{targets, wine};
use client::{Counts, Worker};
use watch::{Sample, Series};

/// Run well- and ill-behaved clients against the echo server for a while, and watch its memory and handles
///
/// They talk, flood, read slowly, half-close, reset and vanish, by a seed. It fails on a wrong echo, on a server that
/// grows or ends, and on handles that are left when all clients have closed. Linux only; the server may be the Windows
/// one.
#[derive(clap::Args)]
pub struct Options {
    /// How long
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Run the Windows build of the server, under Wine
    #[arg(long)]
    windows: bool,
    /// The seed of the clients' choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many clients at a time [default: 8, and 200 for heart beats]
    #[arg(long)]
    clients: Option<u64>,
    #[command(flatten)]
    heart_beats: heart_beats::Options,
}

const CLIENTS: u64 = 8;
const CLIENTS_OF_HEART_BEATS: u64 = 200;

/// How much more memory the server may have at the end than after its warm-up.
const GROWTH_KIB: u64 = 4 * 1024;

/// How many more handles it may have after all clients have closed than before the first.
const HANDLES_LEFT: u64 = 4;

/// How long the server has to release its last clients.
const SETTLE: Duration = Duration::from_secs(20);

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    if options.heart_beats.heart_beats {
        let clients = options.clients.unwrap_or(CLIENTS_OF_HEART_BEATS);
        return heart_beats::run(&options.heart_beats, options.windows, clients);
    }
    let mut steps = Steps::new(false);
    let name = if options.windows { "soak, Windows under Wine" } else { "soak, native" };
    let _stopped = steps.step_or_skip(name, || soak(options));
    steps.finish()
}

fn soak(options: &Options) -> Result<Outcome> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Outcome::Skipped(
            "it reads the server's memory and handles from Linux's /proc".to_owned(),
        ));
    }
    let mut server = Server::start(options.windows)?;
    let address = server.address;
    println!("    the server listens on {address}; seed {}", options.seed);
    // The first connection makes objects that are not growth.
    Worker::new(address, options.seed, &Arc::default())
        .talk()
        .map_err(|error| format!("the first client: {error}"))?;
    let before = server.settled(u64::MAX)?;

    let stop = Arc::new(AtomicBool::new(false));
    let counts = Arc::new(Counts::default());
    let (failed, failures) = mpsc::channel();
    let workers: Vec<_> = (0..options.clients.unwrap_or(CLIENTS))
        .map(|n| {
            let (stop, failed) = (Arc::clone(&stop), failed.clone());
            let mut worker = Worker::new(address, options.seed.wrapping_mul(1_000_003) + n, &counts);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = worker.something() {
                        let _ = failed.send(format!("client {n}: {error}"));
                        return;
                    }
                }
            })
        })
        .collect();

    let started = Instant::now();
    let time = Duration::from_secs(60 * options.minutes);
    let mut series = Series::default();
    let mut failure = None;
    while started.elapsed() < time && failure.is_none() {
        // A second, or less after a failure.
        failure = failures.recv_timeout(Duration::from_secs(1)).ok();
        match server.sample() {
            Ok(sample) => series.push(sample, counts.messages()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().map_err(|_| "a client panicked".to_owned())?;
    }
    let failure = failure.or_else(|| failures.try_recv().ok());
    println!("{}\n{counts}", series.plot());
    if let Some(failure) = failure {
        return Err(format!("after {:.0} s: {failure}", started.elapsed().as_secs_f64()));
    }
    Worker::new(address, options.seed, &counts)
        .talk()
        .map_err(|error| format!("the last client: {error}"))?;
    let after = server.settled(before.handles + HANDLES_LEFT)?;
    println!("    before: {before}; after, with all clients closed: {after}");
    if after.handles > before.handles + HANDLES_LEFT {
        return Err(format!("{} handles are left of {} before", after.handles, before.handles));
    }
    if let Some(growth) = series.growth_kib().filter(|&growth| growth > GROWTH_KIB) {
        return Err(format!("the server's memory has grown by {growth} KiB since it had warmed up"));
    }
    Ok(Outcome::Passed)
}

/// `examples/echo`, ended when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    windows: bool,
}

impl Server {
    fn start(windows: bool) -> Result<Server> {
        let target = if windows { targets::WINDOWS_GNU } else { targets::LINUX };
        let installer = Installer { allowed: true };
        installer.target(None, target)?;
        if windows {
            wine::set_up()?;
        }
        Run::new(&format!("cargo build --release --package dolmen --example echo --target {target}"))
            .run()?;
        let folder = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
        let program: PathBuf = [&folder, target, "release", "examples"].iter().collect();
        let mut command = if windows {
            let mut command = Command::new("sh");
            command.arg("xtask/wine/runner.sh").arg(program.join("echo.exe"));
            command
        } else {
            Command::new(program.join("echo"))
        };
        let process =
            command.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = process.spawn().map_err(|error| format!("the echo server: {error}"))?;
        let mut stderr = BufReader::new(process.stderr.take().expect("it is piped"));
        // The server owns it from here on, so that it is ended in any case.
        let mut server = Server { process, address: SocketAddr::from(([127, 0, 0, 1], 0)), windows };
        let mut line = String::new();
        stderr.read_line(&mut line).map_err(|error| format!("the echo server: {error}"))?;
        let address = line.trim().strip_prefix("listening ").and_then(|address| address.parse().ok());
        server.address = address.ok_or_else(|| format!("the echo server said: {line}"))?;
        // Its later output does not matter, and must not block it.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while stderr.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
        Ok(server)
    }

    fn sample(&mut self) -> Result<Sample> {
        if let Ok(Some(status)) = self.process.try_wait() {
            return Err(format!("the server has ended: {status}"));
        }
        Sample::of(self.process.id(), self.windows)
    }

    /// A sample after it has released its clients: when it has at most so many handles, or when their number no longer
    /// falls.
    fn settled(&mut self, handles: u64) -> Result<Sample> {
        let (started, mut last, mut same) = (Instant::now(), self.sample()?, 0);
        while started.elapsed() < SETTLE && (last.handles > handles || same < 10) {
            thread::park_timeout(Duration::from_millis(100));
            let next = self.sample()?;
            same = if next.handles == last.handles { same + 1 } else { 0 };
            last = next;
        }
        Ok(last)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
