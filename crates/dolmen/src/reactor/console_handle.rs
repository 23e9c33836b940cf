//! [`Console`]: the methods of the console that a reactor reads.

use std::fmt;
use std::path::Path;

use crate::console::{ConsoleKind, ConsoleMode};
use crate::engine::Engine;
use crate::error::Error;
use crate::kernel::Native;

/// The console of a reactor: standard input, and standard output with it. See
/// [`Reactor::add_console`](crate::Reactor::add_console) and [`Reactor::console`](crate::Reactor::console).
///
/// It borrows the reactor, so it is fetched where it is used, and not kept.
///
/// ```no_run
/// # use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let mut console = reactor.add_console(ConsoleMode::Line, Token(9))?;
/// console.print(&format!("standard input is a {}\n", console.kind()))?;
/// if let Some((columns, rows)) = console.size() {
///     console.print(&format!("{columns} columns, {rows} rows\n"))?;
/// }
/// console.set_echo(false)?;
/// console.set_prompt("password: ")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Console<'a> {
    engine: &'a mut Engine<Native>,
    kind: ConsoleKind,
}

impl<'a> Console<'a> {
    pub(crate) fn new(engine: &'a mut Engine<Native>, kind: ConsoleKind) -> Console<'a> {
        Console { engine, kind }
    }

    /// What kind of input standard input is.
    #[must_use]
    pub fn kind(&self) -> ConsoleKind {
        self.kind
    }

    /// The columns and rows of the window, if there is one.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        self.engine.console_size()
    }

    /// Switches between lines and keys from here on. No typed input is lost: an unfinished line comes as
    /// [`Bytes`](crate::ConsoleInput::Bytes) first.
    ///
    /// ```no_run
    /// # use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// // One key answers the question, without Enter.
    /// let mut console = reactor.console()?;
    /// console.print("Really shut down? (y/n)\n")?;
    /// console.set_mode(ConsoleMode::Raw)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) for an error that the system reports,
    /// [`NotFound`](crate::ErrorKind::NotFound) if the process has been forked meanwhile.
    pub fn set_mode(&mut self, mode: ConsoleMode) -> Result<(), Error> {
        self.engine.set_console_mode(mode)
    }

    /// Sets whether the terminal shows typed input; off for passwords. What was typed of a line before echo is switched
    /// on again is not shown later either. A line that was typed ahead, with echo, when the program switches echo off is not
    /// kept in the history; nor is the line that made the program switch. In raw mode nothing is echoed, and the setting
    /// waits for line mode.
    ///
    /// # Errors
    ///
    /// As for [`set_mode`](Console::set_mode).
    pub fn set_echo(&mut self, echo: bool) -> Result<(), Error> {
        self.engine.set_console_echo(echo)
    }

    /// Sets the text in front of the line being typed, in line mode at a terminal; empty at first.
    ///
    /// # Errors
    ///
    /// As for [`print`](Console::print).
    pub fn set_prompt(&mut self, prompt: &str) -> Result<(), Error> {
        self.engine.set_console_prompt(prompt)
    }

    /// Writes to standard output. At a terminal in line mode the text appears above the line being typed, which is
    /// shown again below it, and gets a line feed if it does not end with one. Never blocks: the text is queued. A drop
    /// of the reactor writes what is still queued, as long as the other side reads it. While the output is not read,
    /// the input of a pipe or a file is not delivered, so that a script whose replies are not read waits instead of
    /// being refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) while the output is not read; nothing was taken.
    /// Otherwise as for [`set_mode`](Console::set_mode).
    pub fn print(&mut self, text: &str) -> Result<(), Error> {
        self.engine.print_on_console(text)
    }

    /// Writes an answer to what the operator has typed: as [`print`](Console::print), but before all printed texts that
    /// still wait. Where output is slow, and there is much of it, the operator does not have to wait for all of it. Answers
    /// keep their order. An answer is not put into a line that has begun, nor into a printed text, unless the text is longer
    /// than 16 KiB: such a text counts as several, divided at its line ends.
    ///
    /// This is so for every kind of standard input, on Linux and on Windows. A text that has been handed to the system is
    /// never overtaken.
    ///
    /// ```no_run
    /// # use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     match event {
    ///         Event::Console { input: ConsoleInput::Line("users"), .. } => reactor.console()?.answer("3 users\n")?,
    ///         Event::Received { .. } => reactor.console()?.print("Ann says: hello\n")?,
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`print`](Console::print). Answers have a queue of their own: printed texts that wait do not fill it.
    pub fn answer(&mut self, text: &str) -> Result<(), Error> {
        self.engine.answer_on_console(text)
    }

    /// Requests one [`ConsoleInput::Drained`](crate::ConsoleInput::Drained) event when everything printed so far has
    /// been written: before an orderly end, for example. If no output is queued, the next wait delivers it.
    ///
    /// ```no_run
    /// # use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let mut console = reactor.console()?;
    /// console.print("Good-bye.\n")?;
    /// console.flush()?;
    /// 'written: loop {
    ///     reactor.wait(&mut events, None)?;
    ///     for event in &mut events {
    ///         if matches!(event, Event::Console { input: ConsoleInput::Drained, .. }) {
    ///             break 'written;
    ///         }
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`set_mode`](Console::set_mode).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.engine.flush_console()
    }

    /// Keeps the history of typed lines in a file, so that the next session has it: 1,000 lines at most, and only lines
    /// that were typed with echo. This call reads the file, or creates it, so it belongs before the loop. From then on a
    /// thread of the library appends to the file, and the loop never waits for the disk. The file's mode is `0600`. Two
    /// programs may use one file. A line is written after the program has handled it. A second call replaces the history by
    /// that of the other file, and ends the use of the first one even if it fails.
    ///
    /// A drop of the reactor, or [`remove_console`](crate::Reactor::remove_console), writes the last lines;
    /// `std::process::exit` may lose them. The call does nothing where the library does not edit the line: on Windows, whose
    /// consoles have their own history, at a terminal that knows no escape sequences (`TERM=dumb`), and for
    /// redirected input. So a program may make it in any case.
    ///
    /// ```no_run
    /// # use dolmen::{ConsoleMode, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// let mut console = reactor.add_console(ConsoleMode::Line, Token(9))?;
    /// // A server runs without a history as well.
    /// if let Err(error) = console.set_history_file("operator.history".as_ref()) {
    ///     console.print(&format!("{error}\n"))?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) if the file cannot be opened and read, or is not a regular file.
    /// Otherwise as for [`set_mode`](Console::set_mode).
    pub fn set_history_file(&mut self, path: &Path) -> Result<(), Error> {
        self.engine.set_console_history_file(path)
    }

    /// Sets the function that completes words when the operator presses Tab. It gets the line up to the cursor, and returns
    /// the candidates for the last word of it, each a whole word. One candidate replaces the word. Of several, the part
    /// that they have in common does, and a second Tab lists them above the line.
    ///
    /// A wait calls the function, so it must not block. Without one, Tab is a character of the line. The call does nothing
    /// where the library does not edit the line: see [`set_history_file`](Console::set_history_file).
    ///
    /// ```no_run
    /// # use dolmen::{ConsoleMode, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// const COMMANDS: [&str; 3] = ["kick", "say", "shutdown"];
    /// let mut console = reactor.add_console(ConsoleMode::Line, Token(9))?;
    /// console.set_completer(|line| {
    ///     // Commands are first words.
    ///     let candidates = COMMANDS.iter().filter(|command| command.starts_with(line));
    ///     candidates.map(|command| command.to_string()).collect()
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`set_mode`](Console::set_mode).
    pub fn set_completer(
        &mut self,
        completer: impl FnMut(&str) -> Vec<String> + 'static,
    ) -> Result<(), Error> {
        self.engine.set_console_completer(Box::new(completer))
    }
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("kind", &self.kind).finish_non_exhaustive()
    }
}
