//! The operator's console: standard input as one more source of the reactor, and the terminal's screen with it.
//!
//! # The contract
//!
//! What reads standard input is a [`Driver`], one for each system. It interprets nothing but input, and decides nothing
//! but how to get it: what it has read goes, as [`Input`], into an [`Inbox`] that the engine empties like its other
//! sources, one batch a turn. A driver never blocks the reactor's thread:
//!
//! * where readiness can be had (terminals and pipes on Linux, a raw console on Windows) it names a handle, the engine
//!   watches it like any other and calls [`Driver::ready`], which reads what is there;
//! * where it cannot (line editing on Windows, pipes on Windows, files on both) a thread reads, and puts a signal to the
//!   reactor's mailbox.
//!
//! The inbox has bounds: a driver reads nothing while it is full, so a long piped script waits in its pipe. The engine
//! leaves a script's input in the inbox while its output is not being taken, so a script's answers have bounds, too.
//!
//! # What was rejected
//!
//! Making standard input non-blocking: the flag belongs to the open file, which the shell shares and keeps. Ending a
//! blocked `ReadConsoleW` by cancelling it, closing its handle or sending it an Enter: each loses something typed, some
//! of it later. A line editor of our own as the normal case: the system's has the operator's habits and history.
//!
//! # The screen
//!
//! All output passes through one thread, because a terminal that is held (Ctrl-S, a selection) blocks its writers. The
//! thread waits for room where standard output is non-blocking: see [`patient`].

mod decoder;
#[cfg(unix)]
mod editor;
mod inbox;
#[cfg(any(windows, test))]
mod keys;
mod output;
#[doc(hidden)]
pub mod patient;
mod worker;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

// The one switch for the system.
#[cfg(unix)]
pub(crate) use unix::{open, signals, wait_for_room};
#[cfg(windows)]
pub(crate) use windows::{open, signals, wait_for_room};

use decoder::Decoder;
pub(crate) use inbox::{Inbox, Input};

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// How standard input is read. Matters to terminals above all; other kinds of input are cut the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsoleMode {
    /// Whole lines, edited with the means of the system: on Windows those of its consoles (arrow keys, history), on
    /// Linux those of the terminal (erase, kill word, kill line).
    Line,
    /// Each key as it is pressed, and nothing echoed.
    Raw,
}

/// What standard input turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsoleKind {
    /// A terminal, or a Windows console.
    Terminal,
    /// A pipe or a socket.
    Pipe,
    /// A file.
    File,
    /// `/dev/null`, `NUL`, or none at all: the end of the input comes at once.
    Nothing,
}

/// What came from the console: see [`Event::Console`](crate::Event::Console).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsoleInput<'a> {
    /// A line, without its end. What is not UTF-8 was replaced by U+FFFD.
    Line(&'a str),
    /// The first [`LONGEST_LINE_BYTES`](crate::LONGEST_LINE_BYTES) of a line that is longer, or a few bytes less so that
    /// no character is cut. The rest of the line was, or will be, thrown away.
    LineCut(&'a str),
    /// Keys, in [`ConsoleMode::Raw`]: whole characters, and VT sequences for keys that are none.
    Bytes(&'a str),
    /// Ctrl-C, or another `SIGINT`. What had been typed of the line is gone, but for Windows before version 8 and Wine.
    Interrupt,
    /// A terminal: Ctrl-D, or Ctrl-Z and Enter, on a line of its own; there may be more input. Anything else: there is
    /// no more, and this comes once.
    EndOfInput,
    /// The window has another size now. On Windows in line mode it is told of with the next line or output only.
    Resized {
        /// Characters in a row.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The program is asked to end. On Windows, for all but [`ShutdownReason::Break`], it will be ended when the time is
    /// up or the reactor was dropped and `main` has had its time, whatever comes first.
    Shutdown {
        /// Who asks.
        reason: ShutdownReason,
        /// How long the system will wait; `None`: as long as it takes.
        time_left: Option<Duration>,
    },
    /// The process had been stopped (Ctrl-Z on Linux) and goes on. The screen may show anything.
    Continued,
    /// Everything that was printed before [`Reactor::console_flush`](crate::Reactor::console_flush) has been written.
    Drained,
}

/// Why the program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShutdownReason {
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`: the terminal has gone.
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

/// The system's side of a console; see the [module documentation](self). `H` is what the kernel can watch.
///
/// Dropping it puts the terminal back into the state it was found in, and ends the threads.
pub(crate) trait Driver<H> {
    fn kind(&self) -> ConsoleKind;

    /// Whether [`Driver::handle`] is to be watched now. Not when a thread brings the input, or there is no more to come.
    fn watching(&self) -> bool;

    /// What is to be watched.
    fn handle(&self) -> io::Result<H>;

    /// The handle is readable: reads until there is nothing more or the inbox is full.
    fn ready(&mut self);

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()>;

    fn set_echo(&mut self, echo: bool) -> io::Result<()>;

    /// What stands before the line being typed.
    fn set_prompt(&mut self, prompt: &str) -> io::Result<()>;

    /// Shows a text above the line being typed. `WouldBlock` when too much waits to be shown already.
    fn print(&mut self, text: &str) -> io::Result<()>;

    /// Puts [`Input::Drained`] into the inbox when everything printed so far has been written.
    fn flush(&mut self) -> io::Result<()>;

    /// Whether nobody takes the output, so that the input which causes it had better wait. The inbox's reactor is woken
    /// when that is over. Not for a terminal: who holds it (Ctrl-S) still wants to be heard.
    fn is_behind(&self) -> bool {
        false
    }

    /// Whether the terminal is another process's at the moment (job control): what is typed is not for us, and nobody
    /// says when it will be. Then the handle is watched again after a while only.
    fn is_away(&self) -> bool {
        false
    }

    /// The inbox has been emptied somewhat. For a thread that waits for room by other means than the inbox's own.
    fn room(&mut self) {}

    /// Something that concerns the driver has come out of the inbox.
    fn notice(&mut self, notice: Notice);

    /// Columns and rows of the window.
    fn size(&self) -> Option<(u16, u16)>;
}

/// What the engine tells a driver of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Ctrl-C: the line being typed is void.
    Interrupted,
    /// The process was stopped and goes on: the terminal's mode may be another one.
    Continued,
    /// The thread that read lines has let go of the console in favour of raw mode; the number tells requests apart.
    #[cfg_attr(not(windows), allow(dead_code))]
    RawMode(u64),
}

/// Where requests to the whole process come from; dropping it leaves them to the system again.
pub(crate) trait SignalSource<H> {
    /// What is to be watched; `None` where a thread brings them.
    fn handle(&self) -> io::Result<Option<H>>;

    /// The handle is readable.
    fn ready(&mut self);

    /// Puts what has come already into the inbox, without waiting to be told that the handle is readable: a Ctrl-C comes
    /// before what was typed after it.
    fn look(&mut self) {}

    /// The engine has taken a request out of the inbox: the loop is alive.
    fn collected(&mut self) {}

    /// This is a forked process, which gets its own signals: from here on by another handle than the other process's.
    fn renew(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard input is one to a process, and so is who reads it.
pub(crate) struct Claim(());

static CLAIMED: AtomicBool = AtomicBool::new(false);

/// What was read ahead of standard input and not delivered when it was given up: who takes it again gets that first.
static UNHEARD: Mutex<Unheard> = Mutex::new(Unheard { inputs: Vec::new(), decoder: None });

struct Unheard {
    inputs: Vec<Input>,
    /// With a line that was not at its end.
    decoder: Option<Decoder>,
}

impl Claim {
    pub(crate) fn new() -> Result<Claim, Error> {
        if CLAIMED.swap(true, Ordering::AcqRel) {
            return Err(Error::plain(ErrorKind::AlreadyRegistered, "read the console"));
        }
        Ok(Claim(()))
    }

    /// Keeps what nobody has heard. `kind`: of what; a script's end is found again, and the key for it is not.
    pub(crate) fn keep(&self, inputs: impl Iterator<Item = Input>, kind: ConsoleKind) {
        let is_kept = |input: &Input| match input {
            Input::Line(_) | Input::LineCut(_) | Input::Bytes(_) | Input::Interrupt => true,
            Input::End => kind == ConsoleKind::Terminal,
            _ => false,
        };
        unheard().inputs.extend(inputs.filter(is_kept));
    }

    /// Puts what was kept into an inbox.
    pub(crate) fn hand_on(&self, inbox: &Inbox) {
        std::mem::take(&mut unheard().inputs).into_iter().for_each(|input| inbox.push(input));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Ordering::Release);
    }
}

/// A decoder for a pipe or a file: one that has the beginning of a line, if there is one.
fn decoder(mode: ConsoleMode, inbox: &Inbox) -> Decoder {
    match unheard().decoder.take() {
        Some(mut decoder) => {
            decoder.set_mode(mode, |input| inbox.push(input));
            decoder
        }
        None => Decoder::new(mode, false),
    }
}

/// Keeps a decoder for the next one who reads the same pipe or file.
fn keep_decoder(decoder: Decoder) {
    unheard().decoder = Some(decoder);
}

fn unheard() -> MutexGuard<'static, Unheard> {
    UNHEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many cells a terminal needs for a text. Good enough to find the way back to where a line began.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        0..0x20 | 0x7F..0xA0 => 0,
        0x300..0x370 | 0x200B..0x2010 | 0xFE00..0xFE10 => 0,
        0x1100..0x1160
        | 0x2E80..0xA4D0
        | 0xAC00..0xD7A4
        | 0xF900..0xFB00
        | 0xFE30..0xFE70
        | 0xFF00..0xFF61
        | 0x1F300..0x1F650
        | 0x1F900..0x1FA00
        | 0x20000..0x40000 => 2,
        _ => 1,
    }
}
