//! Line mode: a thread in `ReadConsoleW`, so that the operator has the system's own editing and history.
//!
//! Any action while the operator types (printing above the line, another mode, the end) must first make that read
//! return, without losing typed input. A read can be given a control character that ends it early; we press that key
//! ourselves. The read returns with the text typed so far, and the next one continues with it (`nInitialChars`).
//!
//! The key is appended to the input, after everything typed before. So the line may have been finished by the time that
//! the key is read; then it ends one of the next reads, which continues immediately. The key is not a flag: the work to
//! do is in the queue of [`Commands`], and the thread checks it between any two reads.
//!
//! End is pressed before it, because older consoles put the control character over the text under the cursor.
//!
//! Microsoft Learn: "ReadConsole function", "CONSOLE_READCONSOLE_CONTROL structure".

use std::collections::VecDeque;
use std::io;
use std::os::windows::io::OwnedHandle;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, ENABLE_ECHO_INPUT, ENABLE_EXTENDED_FLAGS, ENABLE_INSERT_MODE, ENABLE_LINE_INPUT,
    ENABLE_PROCESSED_INPUT, ENABLE_QUICK_EDIT_MODE, ENABLE_WINDOW_INPUT, ENHANCED_KEY, LEFT_CTRL_PRESSED,
};

use super::super::{ConsoleMode, Inbox, Input, LONGEST_LINE_BYTES, Notice, width};
use super::sys;

/// The control character that ends a read. Ctrl-^, which no one types; typing it does no harm.
const WAKE: u16 = 0x1E;
const KEY_END: u16 = 0x23;
const KEY_6: u16 = 0x36;
const CTRL_Z: char = '\x1a';

/// How many bytes may be queued for printing.
const MOST_BYTES: usize = 4 << 20;

/// The thread's work between two reads.
#[derive(Debug)]
pub(super) enum Command {
    Print(String),
    /// Report when everything printed so far is on the screen.
    Flush,
    Prompt(String),
    Echo(bool),
    /// The number distinguishes requests.
    Mode(ConsoleMode, u64),
    /// Ctrl-C came: the typed text is discarded.
    Interrupted,
    Quit,
}

/// The queue to the thread.
pub(super) struct Commands {
    state: Mutex<State>,
    changed: Condvar,
    console: OwnedHandle,
    reported: ReportedSize,
}

/// The window's size as last reported, by the reader of the console at that time.
#[derive(Default)]
struct ReportedSize(AtomicU32);

impl ReportedSize {
    /// Records a size. Returns true when it differs from the previous one.
    fn change(&self, (columns, rows): (u16, u16)) -> bool {
        let size = u32::from(columns) << 16 | u32::from(rows);
        self.0.swap(size, Ordering::Relaxed) != size
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<Command>,
    bytes: usize,
    /// The thread is in a read, or will be before it checks here again.
    reading: bool,
    ended: bool,
}

impl Commands {
    pub(super) fn new(console: OwnedHandle) -> Arc<Commands> {
        Arc::new(Commands {
            state: Mutex::default(),
            changed: Condvar::new(),
            console,
            reported: ReportedSize::default(),
        })
    }

    pub(super) fn push(&self, command: Command) -> io::Result<()> {
        let mut state = self.state();
        if let Command::Print(text) = &command {
            if state.bytes + text.len() > MOST_BYTES {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.bytes += text.len();
        }
        state.queue.push_back(command);
        // Once for each read: the thread executes all commands between two of them. The key ends the read with the text
        // typed so far, which a cancel would lose [hc27].
        if std::mem::take(&mut state.reading) {
            sys::press(&self.console, &[(KEY_END, 0, ENHANCED_KEY), (KEY_6, WAKE, LEFT_CTRL_PRESSED)])?;
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Records that this size of the window is reported, or known without a report.
    pub(super) fn size_reported(&self, size: (u16, u16)) {
        self.reported.change(size);
    }

    /// Makes a thread that waits for room in the inbox check whether there is some.
    pub(super) fn recheck_room(&self) {
        let _state = self.state();
        self.changed.notify_all();
    }

    /// Waits for the thread's end, as long as it prints. Returns true when it has ended.
    pub(super) fn wait_for_end(&self, stalled: Duration) -> bool {
        let mut state = self.state();
        let mut last = (state.bytes, Instant::now());
        while !state.ended {
            if state.bytes != last.0 {
                last = (state.bytes, Instant::now());
            }
            if last.1.elapsed() > stalled {
                return false;
            }
            state = self.changed.wait_timeout(state, stalled).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's side.
pub(super) struct LineReader {
    pub(super) commands: Arc<Commands>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) console: OwnedHandle,
    /// Standard output, if it is a console.
    pub(super) screen: Option<OwnedHandle>,
    pub(super) original: CONSOLE_MODE,
    pub(super) mode: ConsoleMode,
    pub(super) echo: bool,
    pub(super) prompt: String,
    /// The line so far, as the last read left it.
    pub(super) typed: Vec<u16>,
    /// The beginning of the line, when it can no longer be edited: of a line that is longer than a read takes, or text
    /// that was typed without echo, and must not be shown later either.
    pub(super) before: Vec<u16>,
    /// The line was cut, and the rest of it is being discarded.
    pub(super) cutting: bool,
    /// The prompt and the line so far are on the screen.
    pub(super) shown: bool,
    /// Ctrl-C has ended a read, and discarded the line with it.
    pub(super) aborted: bool,
}

/// The most units that one read takes. Some consoles have a buffer of 64 KiB for everything.
const UNITS: usize = 8192;

impl LineReader {
    pub(super) fn run(mut self) {
        let mut buffer = vec![0u16; UNITS];
        while self.run_commands() {
            self.check_window_size();
            self.show();
            buffer[..self.typed.len()].copy_from_slice(&self.typed);
            let read = sys::read_line(&self.console, &mut buffer, self.typed.len(), 1 << WAKE);
            self.commands.state().reading = false;
            self.check_window_size();
            match read {
                Ok(0) => self.aborted(),
                Ok(count) => self.take(&buffer[..count]),
                Err(error) => {
                    tracing::warn!(target: "dolmen", %error, "the console cannot be read any more");
                    self.inbox.push(Input::End);
                    self.mode = ConsoleMode::Raw;
                }
            }
        }
        self.hide();
        self.commands.state().ended = true;
        self.commands.changed.notify_all();
    }

    /// Executes the queued commands. Returns true when it is time to read, false at the end.
    fn run_commands(&mut self) -> bool {
        loop {
            let mut state = self.commands.state();
            let command = loop {
                match state.queue.pop_front() {
                    Some(command) => break command,
                    None if self.mode == ConsoleMode::Line && self.inbox.has_room() => {
                        state.reading = true;
                        return true;
                    }
                    // Waits for a command, or for room in the inbox.
                    None => {
                        state = self.commands.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(state);
            match command {
                Command::Print(text) => {
                    self.hide();
                    let newline = self.mode == ConsoleMode::Line && !text.ends_with('\n') && !text.is_empty();
                    self.write(&text);
                    if newline {
                        self.write("\n");
                    }
                    self.commands.state().bytes -= text.len();
                    self.commands.changed.notify_all();
                }
                Command::Flush => self.inbox.push(Input::Drained),
                Command::Prompt(prompt) => {
                    self.hide();
                    self.prompt = prompt;
                }
                Command::Echo(echo) => {
                    self.hide();
                    if echo && !self.echo {
                        // The next read must not get it: the system computes where on the screen the line begins from
                        // all the text that it is given.
                        self.before.append(&mut self.typed);
                    }
                    self.echo = echo;
                    self.apply();
                }
                Command::Mode(mode, request) => self.set_mode(mode, request),
                Command::Interrupted => {
                    if !std::mem::take(&mut self.aborted) {
                        self.typed.clear();
                        self.before.clear();
                    }
                    if self.shown {
                        self.write("\n");
                        self.shown = false;
                    }
                }
                Command::Quit => return false,
            }
        }
    }

    fn set_mode(&mut self, mode: ConsoleMode, request: u64) {
        self.mode = mode;
        self.apply();
        // Between the two modes no thread reads the records that report it.
        self.check_window_size();
        if mode == ConsoleMode::Raw {
            self.shown = false;
            let mut typed = std::mem::take(&mut self.before);
            typed.append(&mut self.typed);
            if !typed.is_empty() {
                self.inbox.push(Input::Bytes(String::from_utf16_lossy(&typed)));
            }
            self.inbox.push(Input::Notice(Notice::RawMode(request)));
        }
    }

    /// While it edits a line, the system discards the record of a change of size. So the size is compared when the mode
    /// changes, when a read returns (the line is reported after its size), and before the next one, since output may
    /// also have come between the two.
    fn check_window_size(&self) {
        let size = self.screen.as_ref().and_then(sys::window_size);
        if let Some((columns, rows)) = size.filter(|&size| self.commands.reported.change(size)) {
            self.inbox.push(Input::Resized { columns, rows });
        }
    }

    /// Sets the console's mode to that of our state.
    fn apply(&self) {
        let mode = console_mode(self.original, self.mode, self.echo);
        if let Err(error) = sys::set_mode(&self.console, mode) {
            tracing::warn!(target: "dolmen", %error, "cannot set the console's mode");
        }
    }

    /// Takes the result of a read: a line, the line so far, or as much of a line as fits.
    fn take(&mut self, units: &[u16]) {
        self.typed.clear();
        if let Some((&WAKE, so_far)) = units.split_last() {
            // A line that fills the buffer could not continue.
            if so_far.len() < UNITS - 256 {
                return self.typed.extend_from_slice(so_far);
            }
            return self.before.extend_from_slice(so_far);
        }
        self.before.extend_from_slice(units);
        if units.last() != Some(&0x0A) {
            if self.before.len() > LONGEST_LINE_BYTES {
                self.line(false);
            }
            return;
        }
        // The line on which Enter was pressed stays on the screen.
        self.shown = false;
        if !self.echo {
            self.write("\n");
        }
        self.line(true);
    }

    /// Delivers the text in `before`.
    fn line(&mut self, ended: bool) {
        let text = String::from_utf16_lossy(&std::mem::take(&mut self.before));
        let mut text = text.trim_end_matches(['\r', '\n']).to_string();
        if std::mem::replace(&mut self.cutting, !ended) {
            return;
        }
        if text.starts_with(CTRL_Z) {
            return self.inbox.push(Input::End);
        }
        if text.len() <= LONGEST_LINE_BYTES && ended {
            return self.inbox.push(Input::Line(text));
        }
        let most = (0..=LONGEST_LINE_BYTES.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(most.unwrap_or(0));
        self.inbox.push(Input::LineCut(text));
    }

    /// A read that Ctrl-C has ended, and not the end of the input [hc29]. The event comes from the control handler.
    fn aborted(&mut self) {
        self.aborted = true;
        self.typed.clear();
        self.before.clear();
        if self.shown {
            self.write("\n");
            self.shown = false;
        }
    }

    /// Puts the prompt and the line so far on the screen, unless they are there.
    fn show(&mut self) {
        if !std::mem::replace(&mut self.shown, true) {
            let mut line = self.prompt.clone();
            line.push_str(&self.typed_shown());
            self.write(&line);
        }
    }

    /// The line so far, without the part that must not be shown.
    fn typed_shown(&self) -> String {
        if self.echo { String::from_utf16_lossy(&self.typed) } else { String::new() }
    }

    /// Removes them from the screen.
    fn hide(&mut self) {
        if !std::mem::take(&mut self.shown) {
            return;
        }
        let mut cells = width(self.prompt.rsplit('\n').next().unwrap_or_default());
        cells += width(&self.typed_shown());
        if let Some(screen) = &self.screen {
            if let Err(error) = sys::erase_back(screen, cells) {
                tracing::debug!(target: "dolmen", %error, "cannot take the line off the screen");
            }
        }
    }

    fn write(&self, text: &str) {
        if let Some(screen) = &self.screen {
            if let Err(error) = sys::write(screen, text) {
                tracing::debug!(target: "dolmen", %error, "cannot write to the console");
            }
        }
    }
}

/// The console's mode for a state. The operator's own settings are left alone.
pub(super) fn console_mode(original: CONSOLE_MODE, mode: ConsoleMode, echo: bool) -> CONSOLE_MODE {
    let kept = original & (ENABLE_EXTENDED_FLAGS | ENABLE_INSERT_MODE | ENABLE_QUICK_EDIT_MODE);
    match mode {
        ConsoleMode::Line if echo => kept | ENABLE_PROCESSED_INPUT | ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT,
        ConsoleMode::Line => kept | ENABLE_PROCESSED_INPUT | ENABLE_LINE_INPUT,
        ConsoleMode::Raw => kept | ENABLE_WINDOW_INPUT,
    }
}
