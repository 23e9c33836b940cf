//! The operator's console: standard input as one more source of the reactor, and the terminal's screen with it.
//!
//! # The contract
//!
//! Standard input is read by a [`Driver`], one for each system. It interprets only input, and decides only how to get
//! it: it puts what it has read, as [`Input`], into an [`Inbox`] that the engine empties like its other sources, one
//! batch a turn. A driver never blocks the reactor's thread (after a Ctrl-C on Windows it may wait for another thread of
//! its own, for 50 ms at most):
//!
//! * where readiness is available (terminals and pipes on Linux, a raw console on Windows) the driver names a handle,
//!   and the engine watches it like any other and calls [`Driver::ready`], which reads the available input;
//! * where it is not (line editing on Windows, pipes on Windows, files on both) a thread reads, and signals the
//!   reactor's mailbox.
//!
//! The inbox is bounded: a driver reads nothing while it is full, so a long piped script waits in its pipe. While a
//! script's output is not read, the engine leaves the script's input in the inbox, so the output of a script is
//! bounded, too.
//!
//! # What was rejected
//!
//! Making standard input non-blocking: the flag belongs to the open file, which the shell shares and keeps. Ending a
//! blocked `ReadConsoleW` by cancelling it, closing its handle or sending it an Enter: each loses typed input, some of
//! it later. Our own line editor on Windows: the operator is used to the system's, and it has a history. The kernel's
//! editing on Linux terminals: it has neither history nor cursor keys, and to print above its line, the text must be
//! taken out of it. So there [`editor`] has the line, except where it could not draw.
//!
//! # The screen
//!
//! The reactor never waits for output, because a terminal that is held (Ctrl-S, a selection) blocks its writers: a thread
//! writes everything that cannot be written immediately. It waits for room where standard output is non-blocking: see
//! [`blocking_write`]. An answer to the operator goes before the texts that still wait ([`output`]).

#[doc(hidden)]
pub mod blocking_write;
pub(crate) mod byte_reader;
mod claim;
mod decoder;
#[cfg(unix)]
mod editor;
mod encoding;
mod inbox;
#[cfg(any(windows, test))]
mod keys;
#[cfg(any(windows, dolmen_sim))]
pub(crate) mod line_reader;
mod output;
mod redirected;
mod width;
mod worker;

/// How much output may wait to be written.
pub(crate) const MOST_OUTPUT_BYTES: usize = output::MOST_BYTES;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

// The only switch between the systems.
#[cfg(unix)]
pub use unix::{ignore_signals, prevent_stop};
#[cfg(unix)]
pub(crate) use unix::{open, signals, wait_for_room};
#[cfg(windows)]
pub(crate) use windows::{open, signals, wait_for_room};

pub(crate) use claim::Claim;
use claim::{decoder, leave_decoder};
pub(crate) use inbox::{Inbox, Input};
use width::width;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How standard input is read. Matters to terminals above all; other kinds of input are split in the same way.
///
/// ```no_run
/// # use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let mut console = reactor.add_console(ConsoleMode::Raw, Token(9))?;
/// console.set_mode(ConsoleMode::Line)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsoleMode {
    /// Whole lines, with editing and history: on Windows those of its consoles, on Linux those of the library. On a
    /// Linux terminal that knows no escape sequences (`TERM` is `dumb` or not set), or whose echo was off, the kernel
    /// edits the lines.
    Line,
    /// Each key as it is pressed, without echo.
    Raw,
}

/// The kind of standard input.
///
/// ```
/// # use dolmen::ConsoleKind;
/// assert_eq!(ConsoleKind::Terminal.to_string(), "terminal");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsoleKind {
    /// A terminal, or a Windows console.
    Terminal,
    /// A pipe or a socket.
    Pipe,
    /// A file.
    File,
    /// `/dev/null`, `NUL`, or none at all: the end of the input comes immediately.
    Nothing,
}

/// Input from the console: see [`Event::Console`](crate::Event::Console).
///
/// ```
/// # use dolmen::ConsoleInput;
/// match ConsoleInput::Line("shutdown now") {
///     ConsoleInput::Line(line) => assert!(line.starts_with("shutdown")),
///     ConsoleInput::Interrupt | ConsoleInput::EndOfInput | ConsoleInput::Shutdown { .. } => println!("the end"),
///     _ => {}
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsoleInput<'a> {
    /// A line, without its end. Bytes that are not UTF-8 were replaced by U+FFFD.
    Line(&'a str),
    /// The first [`LONGEST_LINE_BYTES`](crate::LONGEST_LINE_BYTES) of a line that is longer, or a few bytes less so
    /// that no character is cut. The rest of the line is discarded.
    LineCut(&'a str),
    /// Keys, in [`ConsoleMode::Raw`]: whole characters, and VT sequences for keys that are not characters.
    Bytes(&'a str),
    /// Ctrl-C, or another `SIGINT`. The unfinished line is discarded, except on Windows before version 8 and on Wine.
    Interrupt,
    /// At a terminal: Ctrl-D, or Ctrl-Z and Enter, on a line of its own; more input may follow. Otherwise no more input
    /// follows, and this comes once.
    EndOfInput,
    /// The window has a new size. On Windows in line mode this is reported only with the next line or output.
    Resized {
        /// Characters in a row.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The program is asked to end. On Windows, for all reasons except [`ShutdownReason::Break`], the system ends it
    /// when the time is up, or when the reactor was dropped and `main` has had its time, whichever comes first.
    Shutdown {
        /// The reason.
        reason: ShutdownReason,
        /// How long the system will wait; `None`: without limit.
        time_left: Option<Duration>,
    },
    /// The process was stopped (Ctrl-Z on Linux) and continues. The screen may show anything.
    Continued,
    /// Everything that was printed before [`Console::flush`](crate::Console::flush) has been written.
    Drained,
}

/// Why the program is asked to end.
///
/// ```
/// # use dolmen::ShutdownReason;
/// assert_eq!(ShutdownReason::Terminate.to_string(), "terminate");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShutdownReason {
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`: the terminal is gone.
    HangUp,
    /// Ctrl-Break on Windows.
    Break,
    /// The console window is being closed (Windows).
    Close,
    /// The user logs off (Windows).
    LogOff,
    /// The system shuts down (Windows).
    SystemShutdown,
}

/// A line from the console that is longer than this, in bytes of UTF-8, is cut.
pub const LONGEST_LINE_BYTES: usize = 64 * 1024;

impl fmt::Display for ConsoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConsoleKind::Terminal => "terminal",
            ConsoleKind::Pipe => "pipe",
            ConsoleKind::File => "file",
            ConsoleKind::Nothing => "nothing",
        })
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShutdownReason::Terminate => "terminate",
            ShutdownReason::HangUp => "hang-up",
            ShutdownReason::Break => "break",
            ShutdownReason::Close => "console closed",
            ShutdownReason::LogOff => "log-off",
            ShutdownReason::SystemShutdown => "system shutdown",
        })
    }
}

/// The system's side of a console; see the [module documentation](self). `H` is a handle that the kernel can watch.
///
/// Dropping it restores the terminal to its original state, and ends the threads.
pub(crate) trait Driver<H> {
    fn kind(&self) -> ConsoleKind;

    /// Whether [`Driver::handle`] must be watched now. Not if a thread reads the input, or after its end.
    fn watching(&self) -> bool;

    /// The handle to watch.
    fn handle(&self) -> io::Result<H>;

    /// The handle is readable: reads until nothing is left or the inbox is full.
    fn ready(&mut self);

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()>;

    fn set_echo(&mut self, echo: bool) -> io::Result<()>;

    /// Sets the text in front of the line being typed.
    fn set_prompt(&mut self, prompt: &str) -> io::Result<()>;

    /// Shows a text above the line being typed. `WouldBlock` when too much output is queued already.
    fn print(&mut self, text: &str) -> io::Result<()>;

    /// The same for an answer to the operator: it is shown before the texts of [`Driver::print`] that still wait.
    fn answer(&mut self, text: &str) -> io::Result<()> {
        self.print(text)
    }

    /// Puts [`Input::Drained`] into the inbox when everything printed so far has been written.
    fn flush(&mut self) -> io::Result<()>;

    /// Reads the history of typed lines from a file and keeps it there. Nothing where the system has the history.
    fn set_history_file(&mut self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Sets the function that completes words. Nothing where the system edits the line.
    fn set_completer(&mut self, _completer: Completer) {}

    /// Whether the output is not being read, so that the input which causes it should wait. The driver wakes the
    /// inbox's reactor when that is over. Not for a terminal: the input of an operator who holds it (Ctrl-S) must still
    /// be delivered.
    fn is_behind(&self) -> bool {
        false
    }

    /// Whether the terminal belongs to another process at the moment (job control): the input is not for us, and no
    /// notification says when it will be. The handle is then watched again only after a while.
    fn is_away(&self) -> bool {
        false
    }

    /// The engine has taken something out of the inbox. For a thread that waits for room by other means than the
    /// inbox's own.
    fn room(&mut self) {}

    /// A notice for the driver has come out of the inbox.
    fn notice(&mut self, notice: Notice);

    /// The window has a new size: the line being typed is broken into other rows.
    fn resized(&mut self) {}

    /// Columns and rows of the window.
    fn size(&self) -> Option<(u16, u16)>;
}

/// What the engine reports to a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Ctrl-C or Ctrl-Break: the line being typed is discarded.
    Interrupted,
    /// The process was stopped and continues: the terminal's mode may have changed.
    Continued,
    /// The thread that read lines has released the console for raw mode; the number distinguishes requests.
    #[cfg_attr(not(windows), allow(dead_code))]
    RawMode(u64),
}

/// Returns the candidates for the last word of a line.
pub(crate) type Completer = Box<dyn FnMut(&str) -> Vec<String>>;

/// The source of requests to the whole process; after a drop the system handles them again.
pub(crate) trait SignalSource<H> {
    /// The handle to watch; `None` where a thread reports them.
    fn handle(&self) -> io::Result<Option<H>>;

    /// The handle is readable.
    fn ready(&mut self);

    /// Puts the requests that have already come into the inbox, without waiting for the handle to be reported as
    /// readable: a Ctrl-C precedes the input that was typed after it.
    fn collect_now(&mut self) {}

    /// The engine has taken a request out of the inbox: the loop is alive.
    fn collected(&mut self) {}

    /// This is a forked process, which gets its own signals: from here on with a handle different from the other
    /// process's.
    fn renew(&mut self) -> io::Result<()> {
        Ok(())
    }
}
