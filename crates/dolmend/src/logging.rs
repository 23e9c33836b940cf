//! The log: its lines, where they go, and which of them are written.
//!
//! | file | is |
//! |---|---|
//! | `form` | the form of a line: text, JSON, or for the journal |
//! | `names` | the names of players, which lines about them get |
//! | `repetition` | the bound for lines that say the same |
//! | `writer` | the threads that write |
//!
//! Everything can be changed while the server runs. The log file is opened anew then, which is what a rotated file needs.

use std::backtrace::BacktraceStatus;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use dolmen::internal::blocking_write;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::config::{LogFormat, LogLevel, LogSettings};
use form::Form;
use writer::{LOG_FILE, STANDARD_ERROR, Writer};

mod form;
pub(crate) mod names;
mod repetition;
mod writer;

/// The target of the reactor's log lines.
const REACTOR_TARGET: &str = "dolmen";
/// The targets of the driver's own log lines begin with this. They have to be named: a filter takes a target for the
/// beginning of others.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");
/// The target of the lines with the operator's commands.
pub(crate) const OPERATOR_TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::operator");

/// When dropped, has the waiting lines written, as long as the reader takes some of them every two seconds.
#[must_use]
pub struct Flush(Vec<Writer>);

impl Flush {
    /// Writes the lines that are read within a second, for an end that must not wait for a slow reader.
    pub fn flush_briefly(mut self) {
        self.0.iter_mut().for_each(Writer::flush_briefly);
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        for (metadata, left_out) in repetition::take_all() {
            let mut line = String::new();
            if form::write_left_out(
                &mut tracing_subscriber::fmt::format::Writer::new(&mut line),
                metadata,
                left_out,
            )
            .is_ok()
            {
                let _ = Log.write(line.as_bytes());
            }
        }
    }
}

/// The filter in force.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Lines go to the log file.
static TO_FILE: AtomicBool = AtomicBool::new(false);

/// Starts the log with these settings. Nothing of it ever waits for a reader or a disk.
///
/// A logger that was set before is kept.
///
/// # Errors
///
/// The log file cannot be opened.
pub fn start(settings: &LogSettings) -> io::Result<Flush> {
    apply_opened(settings, LogFile::open(settings)?);
    let flush = Flush([&STANDARD_ERROR, &LOG_FILE].into_iter().filter_map(Writer::start).collect());
    let (filter, handle) = reload::Layer::new(filter(settings));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(|| Log).with_ansi(false).event_format(form::Lines);
    // It fails only if the program that contains this library has set a logger before.
    if tracing_subscriber::registry().with(filter).with(repetition::Bounded).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(flush)
}

/// The log file of some settings, before it is in use.
#[derive(Debug, Default)]
pub(crate) struct LogFile {
    /// `None` is standard error.
    file: Option<File>,
    /// The path, if the file did not exist before.
    made: Option<PathBuf>,
}

impl LogFile {
    /// Opens the log file of these settings, if they have one, also if it is in use: it may have been rotated.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub(crate) fn open(settings: &LogSettings) -> io::Result<LogFile> {
        let Some(path) = settings.file.as_deref() else { return Ok(LogFile::default()) };
        match OpenOptions::new().append(true).create_new(true).open(path) {
            Ok(file) => Ok(LogFile { file: Some(file), made: Some(path.to_path_buf()) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                Ok(LogFile { file: Some(file), made: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Closes the file. One that was made for it is removed: the settings do not come into force.
    pub(crate) fn discard(self) {
        drop(self.file);
        if let Some(path) = self.made {
            // What is left otherwise is an empty file.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Brings settings into force, with the file that was opened for them.
pub(crate) fn apply_opened(settings: &LogSettings, opened: LogFile) {
    let file = opened.file;
    form::set(match settings.format {
        LogFormat::Json => Form::Json,
        LogFormat::Text if file.is_none() && is_journal() => Form::Journal,
        LogFormat::Text => Form::Text,
    });
    TO_FILE.store(file.is_some(), Ordering::Release);
    if let Some(file) = file {
        LOG_FILE.set_file(file);
    }
    set_level(settings, settings.level);
}

/// Writes lines of this level and more important ones; otherwise as the settings say.
pub(crate) fn set_level(settings: &LogSettings, level: LogLevel) {
    let filter = filter(&LogSettings { level, ..settings.clone() });
    repetition::set_bounded(level < LogLevel::Debug && settings.trace_reactor == 0);
    if let Some(handle) = FILTER.get() {
        // It fails only if the subscriber is gone.
        let _ = handle.reload(filter);
    }
}

fn filter(settings: &LogSettings) -> Targets {
    let own = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let reactor = match settings.trace_reactor {
        0 => LevelFilter::WARN.min(own),
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(LevelFilter::INFO.min(own))
        .with_target(REACTOR_TARGET, reactor)
        .with_target(OWN_TARGET, own)
}

/// Whether standard error is a connection to the journal: then `JOURNAL_STREAM` names its device and inode,
/// systemd.exec(5). It is inherited, so a name alone proves nothing.
#[cfg(target_os = "linux")]
fn is_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Only Linux has a journal.
#[cfg(not(target_os = "linux"))]
fn is_journal() -> bool {
    false
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

/// Writes a text to standard error unchanged, in order with the log lines there.
pub fn write(text: &str) {
    STANDARD_ERROR.write(text.as_bytes());
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
        STANDARD_ERROR.write(&lines);
    }
}

/// Takes the kept lines.
pub(crate) fn take() -> Option<String> {
    let mut kept = kept();
    let lines = kept.as_mut().filter(|lines| !lines.is_empty())?;
    Some(String::from_utf8_lossy(&std::mem::take(lines)).into_owned())
}

/// Whether this is a line with a command of the operator.
fn is_of_operator(metadata: &Metadata<'_>) -> bool {
    metadata.target() == OPERATOR_TARGET
}

/// Whether log lines are shown on the operator's terminal.
fn is_shown_on_console() -> bool {
    !TO_FILE.load(Ordering::Acquire) && kept().is_some()
}

fn kept() -> MutexGuard<'static, Option<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer of log lines.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if TO_FILE.load(Ordering::Acquire) {
            LOG_FILE.write(bytes);
            return Ok(bytes.len());
        }
        match &mut *kept() {
            Some(lines) if lines.len() < MOST_KEPT_BYTES => lines.write(bytes),
            _ => {
                STANDARD_ERROR.write(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discarded_log_file_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("my.log");
        let settings = LogSettings {
            file: Some(path.clone()),
            level: LogLevel::Info,
            format: LogFormat::Text,
            trace_reactor: 0,
        };
        LogFile::open(&settings).expect("it is made").discard();
        assert!(!path.exists());
        std::fs::write(&path, "a line\n").expect("written");
        LogFile::open(&settings).expect("it is opened").discard();
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "a line\n");
    }
}
