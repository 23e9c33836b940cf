//! The destination of log lines, and the choice of them.

use std::backtrace::BacktraceStatus;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dolmen::internal::blocking_write;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod standard_error;

/// The target of the reactor's log lines.
const REACTOR_TARGET: &str = "dolmen";
/// The targets of the driver's own log lines begin with this. They have to be named: a filter takes a target for the
/// beginning of others.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");

/// When dropped, has the waiting lines written, as long as the reader takes some of them every two seconds.
#[must_use]
#[derive(Debug)]
pub struct Flush(Option<standard_error::Writer>);

impl Flush {
    /// Writes the lines that are read within a second, for an end that must not wait for a slow reader.
    pub fn flush_briefly(mut self) {
        self.0.iter_mut().for_each(standard_error::Writer::flush_briefly);
    }
}

/// Sends log lines to standard error, without ever waiting for its reader. `trace_reactor` is the value of `trace
/// io_reactor`.
///
/// A logger that was set before is kept.
pub fn start(trace_reactor: u8) -> Flush {
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(REACTOR_TARGET, reactor_level(trace_reactor))
        .with_target(OWN_TARGET, LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Log).with_ansi(false);
    let flush = standard_error::Writer::start();
    // It fails only if the program that contains this library has set a logger before.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    Flush(flush)
}

/// Has a write to a file that has reached its size limit (`ulimit -f`) fail, as one to a full disk does: `SIGXFSZ` would end
/// the server.
#[cfg(unix)]
pub fn survive_full_files() {
    let caught = std::sync::Arc::default();
    // A process for which it is refused goes on as before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, caught);
}

/// Only Unix has such a signal.
#[cfg(not(unix))]
pub fn survive_full_files() {}

/// Writes a text to standard error unchanged, in order with the log lines.
pub fn write(text: &str) {
    standard_error::write(text.as_bytes());
}

/// Has a panic's message written whole, also where standard error is non-blocking.
pub fn report_panics() {
    /// How long the message of a panic waits for a reader.
    const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let mut text = format!("\nthread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
        match backtrace.status() {
            BacktraceStatus::Captured => text.push_str(&format!("{backtrace}\n")),
            _ => text
                .push_str("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"),
        }
        let deadline = Instant::now() + MESSAGE_TIMEOUT;
        let _ = blocking_write::write_all(&mut io::stderr(), text.as_bytes(), Some(deadline), |_| {});
    }));
}

/// The log lines kept for the console; `None`: they go to standard error.
static KEPT: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// How much is kept at most, for the case that the console no longer takes them.
const MOST_KEPT_BYTES: usize = 1 << 20;

/// Keeps log lines until they are [`take`]n, or writes them to standard error again, the kept ones first.
pub(crate) fn keep(keep: bool) {
    let mut kept = kept();
    if keep {
        kept.get_or_insert_default();
    } else if let Some(lines) = kept.take() {
        standard_error::write(&lines);
    }
}

/// Takes the kept lines.
pub(crate) fn take() -> Option<String> {
    let mut kept = kept();
    let lines = kept.as_mut().filter(|lines| !lines.is_empty())?;
    Some(String::from_utf8_lossy(&std::mem::take(lines)).into_owned())
}

fn kept() -> MutexGuard<'static, Option<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer of log lines.
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
