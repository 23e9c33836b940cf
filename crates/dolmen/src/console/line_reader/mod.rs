//! Lines from a Windows console: a thread in `ReadConsoleW`, so that the operator has the system's own editing and history.
//!
//! Any action while the operator types (printing above the line, another mode, the end) must first make that read
//! return, without losing typed input. A read can be given a control character that ends it early; we press that key
//! ourselves. The read returns with the text typed so far, and the next one continues with it (`nInitialChars`).
//!
//! The key is appended to the input, after everything typed before. So the line may have been finished by the time that
//! the key is read; then it ends one of the next reads, which continues immediately. The key is not a flag: the work to
//! do is in the queue of [`Commands`], and the thread checks it between any two reads. Nor is it certain to arrive: it is
//! pressed again until the read has returned.
//!
//! What the consoles of the different versions of Windows do with these keys is written down, as a program, in the
//! simulated console host (`sim/console_host`). This file makes no system call: it reads a [`Host`], and the simulation
//! runs it unchanged over the simulated one.
//!
//! Microsoft Learn: "ReadConsole function", "CONSOLE_READCONSOLE_CONTROL structure".

mod commands;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use super::{ConsoleMode, Inbox, Input, LONGEST_LINE_BYTES, Notice, width};
use commands::Next;
#[cfg(dolmen_sim)]
pub(crate) use commands::Press;
pub(crate) use commands::{Command, Commands};

/// The control character that ends a read: Ctrl-^, which no one types.
pub(crate) const WAKE: u16 = 0x1E;

/// The keys that end a read with the text typed so far, which a cancel would lose [hc27].
///
/// End comes first: with the cursor in the text, some editions of the console cut off what stands behind it, and one puts
/// the control character over it. It comes twice, because a console that is held (Ctrl-S, Pause) is released by the first
/// key, and drops it [hc54].
pub(crate) fn read_ends() -> &'static [PressedKey] {
    &[END, END, CTRL_CIRCUMFLEX]
}

const CTRL_CIRCUMFLEX: PressedKey = PressedKey { key: KEY_6, unit: WAKE, ctrl: true };
const END: PressedKey = PressedKey { key: KEY_END, unit: 0, ctrl: false };
const KEY_END: u16 = 0x23;
const KEY_6: u16 = 0x36;

/// A key that the program presses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PressedKey {
    /// The virtual key code.
    pub(crate) key: u16,
    /// Its character, as a UTF-16 unit; 0 if it has none.
    pub(crate) unit: u16,
    pub(crate) ctrl: bool,
}

const CTRL_Z: char = '\x1a';

/// The most units that one read takes. Some consoles have a buffer of 64 KiB for everything.
const UNITS: usize = 8192;

/// A console of Windows, as far as the reader of lines uses it.
pub(crate) trait Host {
    /// Reads a line with its end, or as much of it as fits, or the line so far when [`WAKE`] ends the read: then `WAKE` is
    /// the last unit. The first `kept` units of the buffer are the line so far. `None`: Ctrl-C or Ctrl-Break has ended the
    /// read, and the line is lost.
    fn read_line(&self, buffer: &mut [u16], kept: usize) -> io::Result<Option<usize>>;

    /// Sets the modes of the input.
    fn set_mode(&self, mode: ConsoleMode, echo: bool) -> io::Result<()>;

    /// Writes to the screen, if there is one. Blocks while the operator holds it.
    fn write(&self, text: &str) -> io::Result<()>;

    /// Erases the `cells` before the cursor, and moves the cursor to where they began.
    fn erase_back(&self, cells: usize) -> io::Result<()>;

    /// Whether the cursor stands in the first column.
    fn is_at_line_start(&self) -> bool;

    /// Columns and rows of the window, if there is a screen.
    fn window_size(&self) -> Option<(u16, u16)>;
}

/// What the thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read,
    /// Waits for a command, or for room in the inbox.
    Wait,
    End,
}

/// The thread's side.
pub(crate) struct LineReader<H> {
    host: H,
    commands: Arc<Commands>,
    inbox: Arc<Inbox>,
    mode: ConsoleMode,
    echo: bool,
    prompt: String,
    /// What a read fills.
    buffer: Vec<u16>,
    /// The line so far, as the last read left it.
    typed: Vec<u16>,
    /// The beginning of the line, when it can no longer be edited: of a line that is longer than a read takes, or text
    /// that was typed without echo, and must not be shown later either.
    before: Vec<u16>,
    /// The row on the screen begins with the beginning of the line.
    shows_beginning: bool,
    /// The line was cut, and the rest of it is being discarded.
    cutting: bool,
    /// The last read filled the buffer, and the rest of the line may wait for the next one. That comes before any command:
    /// one that changes the mode would divide the line.
    goes_on: bool,
    /// The prompt and the line so far are on the screen.
    shown: bool,
    /// How many reads Ctrl-C and Ctrl-Break have ended, and discarded the line, whose commands have not come yet.
    interrupted_reads: u32,
}

impl<H: Host> LineReader<H> {
    pub(crate) fn new(
        host: H,
        commands: &Arc<Commands>,
        inbox: &Arc<Inbox>,
        mode: ConsoleMode,
    ) -> LineReader<H> {
        LineReader {
            host,
            commands: Arc::clone(commands),
            inbox: Arc::clone(inbox),
            mode,
            echo: true,
            prompt: String::new(),
            buffer: vec![0; UNITS],
            typed: Vec::new(),
            before: Vec::new(),
            shows_beginning: false,
            cutting: false,
            goes_on: false,
            shown: false,
            interrupted_reads: 0,
        }
    }

    /// Reads until the command to end.
    #[cfg_attr(not(windows), allow(dead_code))] // The simulation takes the steps itself.
    pub(crate) fn run(mut self) {
        let line = self.inbox.take_line();
        match self.mode {
            ConsoleMode::Line => self.typed = line.encode_utf16().collect(),
            ConsoleMode::Raw if line.is_empty() => {}
            ConsoleMode::Raw => self.inbox.push(Input::Bytes(line)),
        }
        loop {
            match self.step() {
                Step::Read => self.read(),
                Step::Wait => self.wait(),
                Step::End => break,
            }
        }
    }

    /// Executes the queued commands.
    pub(crate) fn step(&mut self) -> Step {
        if std::mem::take(&mut self.goes_on) {
            self.commands.begin_read();
            return Step::Read;
        }
        loop {
            match self.commands.next(self.may_read()) {
                Next::Execute(Command::Quit) => {
                    self.hide();
                    // Not what was typed without echo, which nobody may see, nor a line too long to go on with.
                    if self.echo && self.before.is_empty() {
                        self.inbox.leave_line(String::from_utf16_lossy(&self.typed));
                    }
                    self.commands.end();
                    return Step::End;
                }
                Next::Execute(command) => self.execute(command),
                Next::Read => return Step::Read,
                Next::Wait => return Step::Wait,
            }
        }
    }

    pub(crate) fn wait(&self) {
        self.commands.wait(|| self.may_read());
    }

    pub(crate) fn may_read(&self) -> bool {
        self.mode == ConsoleMode::Line && self.inbox.has_room()
    }

    /// One read. Returns when there is a line, or the keys that end a read were pressed.
    pub(crate) fn read(&mut self) {
        self.check_window_size();
        self.show();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer[..self.typed.len()].copy_from_slice(&self.typed);
        let read = self.host.read_line(&mut buffer, self.typed.len());
        self.commands.has_read();
        self.check_window_size();
        match read {
            // Not the end of the input [hc29]. The event comes from the control handler.
            Ok(None) => {
                self.interrupted_reads += 1;
                self.discard();
            }
            // A popup of the console has ended the read, and the line is lost.
            Ok(Some(0)) => self.discard(),
            Ok(Some(count)) => self.take(&buffer[..count.min(UNITS)]),
            Err(error) => {
                tracing::warn!(target: "dolmen", %error, "the console cannot be read any more");
                self.inbox.push(Input::End);
                self.mode = ConsoleMode::Raw;
            }
        }
        self.buffer = buffer;
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Print(text) => self.print(&text, false),
            Command::Answer(text) => self.print(&text, true),
            Command::Flush => self.inbox.push(Input::Drained),
            Command::Prompt(prompt) => {
                self.hide();
                self.prompt = prompt;
            }
            Command::Echo(echo) => {
                self.hide();
                if echo && !self.echo {
                    // The next read must not get it: the system computes where on the screen the line begins from all
                    // the text that it is given.
                    self.before.append(&mut self.typed);
                }
                self.echo = echo;
                self.apply();
            }
            Command::Mode(mode, request) => self.set_mode(mode, request),
            Command::Interrupted => match self.interrupted_reads.checked_sub(1) {
                Some(left) => self.interrupted_reads = left,
                None if self.mode == ConsoleMode::Line => self.discard(),
                None => {}
            },
            Command::Quit => {}
        }
    }

    fn print(&mut self, text: &str, is_answer: bool) {
        self.hide();
        self.write(text);
        if self.mode == ConsoleMode::Line && !text.ends_with('\n') && !text.is_empty() {
            self.write("\n");
        }
        self.commands.printed(text.len(), is_answer);
    }

    fn set_mode(&mut self, mode: ConsoleMode, request: u64) {
        self.mode = mode;
        self.apply();
        // Between the two modes no thread reads the records that report it.
        self.check_window_size();
        if mode == ConsoleMode::Raw {
            self.shown = false;
            self.shows_beginning = false;
            self.cutting = false;
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
        let size = self.host.window_size();
        if let Some((columns, rows)) = size.filter(|&size| self.commands.size_reported(size)) {
            self.inbox.push(Input::Resized { columns, rows });
        }
    }

    /// Sets the console's mode to that of our state.
    fn apply(&self) {
        if self.commands.is_abandoned() {
            return;
        }
        if let Err(error) = self.host.set_mode(self.mode, self.echo) {
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
            self.shows_beginning = self.echo;
            return self.before.extend_from_slice(so_far);
        }
        self.shows_beginning = self.echo;
        self.before.extend_from_slice(units);
        if units.last() != Some(&0x0A) {
            self.goes_on = units.len() == UNITS;
            if self.before.len() > LONGEST_LINE_BYTES {
                self.lines(false);
            }
            return;
        }
        // The line on which Enter was pressed stays on the screen.
        self.shown = false;
        self.shows_beginning = false;
        // Some editions of the console go to the next line in any case, and others only with echo.
        if !self.echo && !self.host.is_at_line_start() {
            self.write("\n");
        }
        self.lines(true);
    }

    /// Delivers the text in `before`. The list of commands (F7) of the old console may put a line with its end into the one
    /// that is being typed.
    fn lines(&mut self, ended: bool) {
        let text = String::from_utf16_lossy(&std::mem::take(&mut self.before));
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r')).peekable();
        while let Some(line) = lines.next() {
            self.line(line, ended || lines.peek().is_some());
        }
    }

    fn line(&mut self, text: &str, ended: bool) {
        if std::mem::replace(&mut self.cutting, !ended) {
            return;
        }
        if text.starts_with(CTRL_Z) {
            return self.inbox.push(Input::End);
        }
        if text.len() <= LONGEST_LINE_BYTES && ended {
            return self.inbox.push(Input::Line(text.to_owned()));
        }
        let most = (0..=LONGEST_LINE_BYTES.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        self.inbox.push(Input::LineCut(text[..most.unwrap_or(0)].to_owned()));
    }

    /// Discards the line so far, as the system does at Ctrl-C.
    fn discard(&mut self) {
        self.typed.clear();
        self.before.clear();
        self.shows_beginning = false;
        self.cutting = false;
        if self.shown {
            self.write("\n");
            self.shown = false;
        }
    }

    /// Puts the prompt and the line so far on the screen, unless they are there.
    fn show(&mut self) {
        if !std::mem::replace(&mut self.shown, true) {
            let mut line = self.prompt.clone();
            line.push_str(&Shown::after(&self.prompt, &self.typed_shown()).text);
            self.write(&line);
        }
    }

    /// The line so far, without the part that must not be shown.
    fn typed_shown(&self) -> String {
        if self.echo { String::from_utf16_lossy(&self.typed) } else { String::new() }
    }

    /// Removes them from the screen. The beginning of a line that is too long to be edited stays.
    fn hide(&mut self) {
        if !std::mem::take(&mut self.shown) {
            return;
        }
        if std::mem::take(&mut self.shows_beginning) {
            return self.write("\n");
        }
        let cells = Shown::after(&self.prompt, &self.typed_shown()).last_row_cells;
        if let Err(error) = self.host.erase_back(cells) {
            tracing::debug!(target: "dolmen", %error, "cannot take the line off the screen");
        }
    }

    fn write(&self, text: &str) {
        if let Err(error) = self.host.write(text) {
            tracing::debug!(target: "dolmen", %error, "cannot write to the console");
        }
    }
}

/// A line as the console's own editing shows it behind a prompt.
struct Shown {
    text: String,
    /// The cells of it and of the last row of the prompt.
    last_row_cells: usize,
}

impl Shown {
    /// A tab goes to the next multiple of eight columns, and other control characters are shown as `^X`.
    fn after(prompt: &str, typed: &str) -> Shown {
        let start = width(prompt.rsplit('\n').next().unwrap_or_default());
        let (mut text, mut cells) = (String::new(), 0);
        for piece in typed.split_inclusive(|c: char| c.is_ascii_control()) {
            let plain = piece.trim_end_matches(|c: char| c.is_ascii_control());
            text.push_str(plain);
            cells += width(plain);
            match piece[plain.len()..].chars().next() {
                Some('\t') => {
                    let gap = 8 - (start + cells) % 8;
                    text.push_str(&" ".repeat(gap));
                    cells += gap;
                }
                Some(c) => {
                    text.extend(['^', char::from(c as u8 ^ 0x40)]);
                    cells += 2;
                }
                None => {}
            }
        }
        Shown { text, last_row_cells: start + cells }
    }
}
