//! Where log lines go, and which of them.

use std::backtrace::BacktraceStatus;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dolmen::patient;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod standard_error;

/// The target of the reactor's own log lines.
const REACTOR_TARGET: &str = "io_reactor";

/// Has the lines that wait written when it is dropped, as long as somebody reads some of them every two seconds.
#[must_use]
#[derive(Debug)]
pub struct Flush(Option<standard_error::Writer>);

impl Flush {
    /// Writes what is read within a second, for an end that is not to wait for a slow reader.
    pub fn hurry(mut self) {
        self.0.iter_mut().for_each(standard_error::Writer::hurry);
    }
}

/// Sends log lines to standard error, without ever waiting for who reads it. `trace_reactor` is the value of
/// `trace io_reactor`.
///
/// A logger that was set before stays.
pub fn start(trace_reactor: u8) -> Flush {
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(REACTOR_TARGET, reactor_level(trace_reactor));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Log).with_ansi(false);
    let flush = standard_error::Writer::start();
    // It fails only if a logger was set before, by a program that this is a part of.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    Flush(flush)
}

/// Shows a text on standard error, as it is and among the log lines.
pub fn tell(text: &str) {
    standard_error::write(text.as_bytes());
}

/// Has a panic's message written whole, also where standard error is non-blocking.
pub fn report_panics() {
    /// How long the message of a panic waits for somebody who reads.
    const PATIENCE: Duration = Duration::from_secs(2);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let mut text = format!("\nthread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
        match backtrace.status() {
            BacktraceStatus::Captured => text.push_str(&format!("{backtrace}\n")),
            _ => text
                .push_str("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"),
        }
        let deadline = Instant::now() + PATIENCE;
        let _ = patient::write_all(&mut io::stderr(), text.as_bytes(), Some(deadline), |_| {});
    }));
}

/// The log lines that are kept back for somebody who shows them; `None`: they go to standard error.
static KEPT: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// How much is kept at most: whoever shows it has gone.
const MOST_KEPT_BYTES: usize = 1 << 20;

/// Keeps log lines until they are [`take`]n, or writes them to standard error again, those
/// first that are kept.
pub(crate) fn keep(keep: bool) {
    let mut kept = kept();
    if keep {
        kept.get_or_insert_default();
    } else if let Some(lines) = kept.take() {
        standard_error::write(&lines);
    }
}

/// Takes what is kept.
pub(crate) fn take() -> Option<String> {
    let mut kept = kept();
    let lines = kept.as_mut().filter(|lines| !lines.is_empty())?;
    Some(String::from_utf8_lossy(&std::mem::take(lines)).into_owned())
}

fn kept() -> MutexGuard<'static, Option<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where log lines are written to.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *kept() {
            Some(lines) if lines.len() < MOST_KEPT_BYTES => lines.write(bytes),
            _ => {
                standard_error::write(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reactor_level(trace: u8) -> Level {
    match trace {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    }
}
