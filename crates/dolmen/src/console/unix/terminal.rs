//! Standard input that is a terminal. The line editor has it in line mode: the terminal sends each key as it is pressed
//! and shows nothing by itself. Where the editor could not draw, the kernel edits the lines.
//!
//! While the process is in the background, the terminal is another's: output is plain text there, and nothing else is
//! touched.
//!
//! termios(3), tty_ioctl(4), "Bracketed Paste Mode" in xterm's ctlseqs.

#[cfg(test)]
mod tests;
mod texts;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::termios::tcgetwinsize;

use super::super::decoder::Decoder;
use super::super::editor::{Editor, Window};
use super::super::output::Output;
use super::super::output::queue::{Lane, Queue};
use super::super::{Completer, ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice};
use super::history_file::HistoryFile;
use super::modes::{Display, Modes, is_foreground};
use super::plain::PlainLine;
use super::reader::{Reader, state_of};
use super::restore::{self, Guard};
use super::signals::interrupts;

/// Standard input that is a terminal.
pub(super) struct Terminal {
    reader: Reader,
    inbox: Arc<Inbox>,
    output: Output,
    /// Texts for which the screen is not ready. What has been drawn cannot be overtaken, so no more than a step of it
    /// waits in `output`, and an answer goes before the texts here.
    waiting: Queue,
    /// A report is due when they have been written.
    flushing: bool,
    display: Display,
    modes: Modes,
    mode: ConsoleMode,
    echo: bool,
    lines: Lines,
    history_file: Option<HistoryFile>,
    /// Keys in raw mode, and the lines that the kernel has edited.
    decoder: Decoder,
    /// How many interrupts the line has seen.
    interrupts: u32,
    /// The input has ended.
    over: bool,
    /// The terminal belonged to another process when it was last checked.
    away: bool,
    /// Restores the terminal when dropped, and whenever the process ends otherwise.
    guard: Guard,
}

/// What edits a line.
enum Lines {
    Editor(Box<Editor>),
    Kernel(PlainLine),
}

impl Terminal {
    /// `screen`: standard output for writes in a signal handler, which must not block.
    pub(super) fn open(
        stdin: OwnedFd,
        inbox: &Arc<Inbox>,
        mode: ConsoleMode,
        output: Output,
        display: Display,
        screen: Option<OwnedFd>,
    ) -> io::Result<Terminal> {
        let reader = Reader::new(stdin);
        let modes = Modes::of(&reader.fd, display)?;
        let guard = Guard::new(&reader.fd, &modes.original, screen)?;
        let window = Window::new(size_of(&reader.fd));
        let lines = match modes.edits() {
            true => Lines::Editor(Box::new(Editor::new(modes.special_keys(), window))),
            false => Lines::Kernel(PlainLine::default()),
        };
        let mut terminal = Terminal {
            inbox: Arc::clone(inbox),
            output,
            waiting: Queue::default(),
            flushing: false,
            display,
            modes,
            mode,
            echo: true,
            lines,
            history_file: None,
            decoder: Decoder::new(mode, true),
            interrupts: interrupts(),
            over: false,
            away: !is_foreground(reader.fd.as_fd()),
            guard,
            reader,
        };
        terminal.apply()?;
        terminal.take_line();
        let _ = terminal.show_line();
        Ok(terminal)
    }

    /// Takes the line that the last reader has left. It stays where it is while the kernel edits: nobody could erase it.
    fn take_line(&mut self) {
        let Lines::Editor(editor) = &mut self.lines else { return };
        let line = self.inbox.take_line();
        match self.mode {
            ConsoleMode::Line => editor.set_line(&line),
            ConsoleMode::Raw if line.is_empty() => {}
            ConsoleMode::Raw => self.inbox.push(Input::Bytes(line)),
        }
    }

    /// Applies the settings of our state.
    fn apply(&self) -> io::Result<()> {
        self.modes.apply(&self.reader.fd, self.mode, self.echo)
    }

    /// Whether a line is being typed on the screen.
    fn has_line(&self) -> bool {
        self.mode == ConsoleMode::Line && !self.away && self.display != Display::Elsewhere
    }

    /// Changes what the editor shows, in one write: all of it, or (there is no room) nothing.
    fn draw(&mut self, change: impl FnOnce(&mut Editor, &mut String)) -> io::Result<()> {
        let window = Window::new(self.size());
        let Lines::Editor(editor) = &mut self.lines else { return Ok(()) };
        let (before, mut screen) = (editor.screen(), String::new());
        editor.resize(window, &mut screen);
        change(editor, &mut screen);
        if screen.is_empty() {
            return Ok(());
        }
        self.output.write(&screen).inspect_err(|_| editor.set_screen(before))
    }

    /// Writes what a plain line shows.
    fn write_plain(&mut self, change: impl FnOnce(&mut PlainLine) -> String) -> io::Result<()> {
        let Lines::Kernel(line) = &mut self.lines else { return Ok(()) };
        let before = line.clone();
        let text = change(line);
        self.output.write(&text).inspect_err(|_| *line = before)
    }

    /// Shows the line from here on, if there is one.
    fn show_line(&mut self) -> io::Result<()> {
        if !self.has_line() {
            return Ok(());
        }
        if let Lines::Kernel(_) = self.lines {
            return self.write_plain(PlainLine::show);
        }
        restore::set_pasting(true);
        self.draw(|editor, screen| {
            screen.push_str(restore::PASTE_ON);
            editor.set_shown(true);
            editor.draw(screen);
        })
    }

    /// The line stays where it is, and is not drawn from here on.
    fn leave_line(&mut self) {
        if let Lines::Editor(editor) = &mut self.lines {
            editor.set_shown(false);
            if restore::set_pasting(false) && !self.away {
                self.write_in_any_case(restore::PASTE_OFF);
            }
        }
    }

    /// The last text of all is that pasted text is no longer marked. If it has to wait, and the process may end first, the
    /// guard writes it as well.
    fn stop_pasting(&self) {
        if !self.has_line() || !matches!(self.lines, Lines::Editor(_)) {
            return;
        }
        self.write_in_any_case(restore::PASTE_OFF);
        if self.output.is_written() {
            restore::set_pasting(false);
        }
    }

    /// A command is short, and so it is queued where a text would be refused.
    fn write_in_any_case(&self, command: &str) {
        if self.output.write(command).is_err() {
            self.output.write_last(command);
        }
    }

    /// Whether the terminal is another process's now. A shell does not notify a process that it brings to the foreground
    /// without having stopped it.
    fn check_away(&mut self) -> bool {
        let away = !is_foreground(self.reader.fd.as_fd());
        if std::mem::replace(&mut self.away, away) != away {
            if let Lines::Editor(editor) = &mut self.lines {
                editor.forget_screen(false);
            }
            if away {
                self.leave_line();
            } else {
                let _ = self.apply();
                let _ = self.show_line();
            }
        }
        away
    }

    /// Reads the available input.
    fn read(&mut self) {
        let mut buffer = [0; 8192];
        while !self.over && self.inbox.has_room() && is_foreground(self.reader.fd.as_fd()) {
            match self.reader.read(&mut buffer) {
                Ok(None) => return,
                Ok(Some(0)) if self.hung_up() => self.end(),
                // Ctrl-D, after which more may follow. In raw mode it would have been a key [hc29].
                Ok(Some(0)) => {
                    self.inbox.push(Input::End);
                    if self.has_line() {
                        let _ = self.write_plain(PlainLine::show);
                    }
                }
                Ok(Some(count)) => self.typed(&mut buffer[..count]),
                // The process was put into the background just now, and its group is orphaned, so it was not stopped.
                Err(_) if !is_foreground(self.reader.fd.as_fd()) && !self.hung_up() => {
                    self.away = true;
                    return self.leave_line();
                }
                // The error of a read from a terminal that is gone.
                Err(error) => {
                    tracing::debug!(target: "dolmen", %error, "the terminal has gone");
                    self.end();
                }
            }
        }
    }

    fn typed(&mut self, bytes: &mut [u8]) {
        // The kernel has discarded what was typed before a Ctrl-C and not read. The line so far is discarded here, before
        // what was typed after it [hc29].
        self.discard_interrupted_line();
        let inbox = Arc::clone(&self.inbox);
        match &self.lines {
            _ if self.mode == ConsoleMode::Raw => self.decoder.feed(bytes, |input| inbox.push(input)),
            Lines::Editor(_) => {
                // Without room the line is drawn with the next key.
                let _ = self.draw(|editor, screen| editor.feed(bytes, screen, |input| inbox.push(input)));
            }
            Lines::Kernel(_) => {
                // Half a line: it was typed in raw mode, where Enter is a return.
                if !bytes.ends_with(b"\n") {
                    bytes.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
                }
                let mut has_ended = false;
                self.decoder.feed(bytes, |input| {
                    has_ended = true;
                    inbox.push(input);
                });
                if has_ended && self.has_line() {
                    let _ = self.write_plain(PlainLine::next);
                }
            }
        }
    }

    /// Discards the line if Ctrl-C was pressed since the last look.
    fn discard_interrupted_line(&mut self) {
        let interrupts = interrupts();
        if std::mem::replace(&mut self.interrupts, interrupts) == interrupts || self.mode == ConsoleMode::Raw
        {
            return;
        }
        let _ = self.draw(|editor, screen| editor.interrupt(screen));
        if let Lines::Kernel(_) = self.lines {
            self.decoder.take_unfinished();
            if self.has_line() {
                let _ = self.write_plain(PlainLine::show);
            }
        }
    }

    /// No more input will come. Half a line is not a command: the operator has not ended it.
    fn end(&mut self) {
        self.over = true;
        if self.mode == ConsoleMode::Line {
            self.decoder.take_unfinished();
        }
        self.decoder.end(|input| self.inbox.push(input));
    }

    fn hung_up(&self) -> bool {
        state_of(self.reader.fd.as_fd()).is_ok_and(|flags| flags.contains(PollFlags::HUP))
    }
}

impl Driver<OwnedFd> for Terminal {
    fn kind(&self) -> ConsoleKind {
        ConsoleKind::Terminal
    }

    fn watching(&self) -> bool {
        !self.over
    }

    fn is_away(&self) -> bool {
        self.away
    }

    fn handle(&self) -> io::Result<OwnedFd> {
        self.reader.fd.try_clone()
    }

    fn ready(&mut self) {
        self.check_away();
        self.show_waiting();
        self.read();
    }

    fn room(&mut self) {
        self.show_waiting();
        let collected = self.inbox.is_empty();
        if let Lines::Editor(editor) = &mut self.lines {
            let lines = editor.settle_lines(collected);
            self.history_file.iter().for_each(|file| lines.iter().for_each(|line| file.append(line)));
        }
    }

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()> {
        if mode == self.mode {
            return Ok(());
        }
        self.ready();
        self.mode = mode;
        let inbox = Arc::clone(&self.inbox);
        if mode == ConsoleMode::Raw {
            self.decoder.set_mode(mode, |input| inbox.push(input));
            if let Lines::Editor(editor) = &mut self.lines {
                let typed = editor.take();
                self.decoder.feed(&typed, |input| inbox.push(input));
            }
            self.leave_line();
            self.apply()?;
            // The part of a line that the kernel had is readable from here on.
            self.ready();
            return Ok(());
        }
        let unfinished = match self.lines {
            Lines::Editor(_) => self.decoder.take_unfinished(),
            Lines::Kernel(_) => Vec::new(),
        };
        self.decoder.set_mode(mode, |input| inbox.push(input));
        self.apply()?;
        let _ = self.draw(|editor, screen| editor.feed(&unfinished, screen, |input| inbox.push(input)));
        self.show_line()
    }

    fn set_echo(&mut self, echo: bool) -> io::Result<()> {
        if echo && !self.echo {
            // The user typed this part of the line assuming that it would not be shown.
            self.ready();
        }
        self.echo = echo;
        self.apply()?;
        self.draw(|editor, screen| {
            editor.set_echo(echo);
            editor.draw(screen);
        })
    }

    fn set_prompt(&mut self, prompt: &str) -> io::Result<()> {
        self.check_away();
        let has_line = self.has_line();
        match &mut self.lines {
            Lines::Editor(editor) => {
                let before = std::mem::replace(editor.prompt_mut(), prompt.to_owned());
                let drawn = self.draw(|editor, screen| editor.draw(screen));
                if let (Err(_), Lines::Editor(editor)) = (&drawn, &mut self.lines) {
                    *editor.prompt_mut() = before;
                }
                drawn
            }
            Lines::Kernel(line) if !has_line => {
                line.set_prompt(prompt);
                Ok(())
            }
            Lines::Kernel(_) => self.write_plain(|line| {
                line.set_prompt(prompt);
                line.show()
            }),
        }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        self.put(Lane::Others, text)
    }

    fn answer(&mut self, text: &str) -> io::Result<()> {
        self.put(Lane::Answers, text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushing = true;
        self.show_waiting();
        Ok(())
    }

    fn set_history_file(&mut self, path: &Path) -> io::Result<()> {
        if let Lines::Editor(editor) = &mut self.lines {
            // The lines for the previous file are written first: it may be the same one.
            self.history_file = None;
            let (file, lines) = HistoryFile::open(path)?;
            editor.read_history(&lines);
            self.history_file = Some(file);
        }
        Ok(())
    }

    fn set_completer(&mut self, completer: Completer) {
        if let Lines::Editor(editor) = &mut self.lines {
            editor.set_completer(completer);
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Interrupted => self.discard_interrupted_line(),
            Notice::Continued => {
                let was_away = self.away;
                if !self.check_away() && !was_away {
                    let _ = self.apply();
                    // The screen may show anything; what was typed before is the editor's, and is shown again.
                    if let (Lines::Editor(editor), ConsoleMode::Line) = (&mut self.lines, self.mode) {
                        editor.forget_screen(true);
                    }
                    let _ = self.show_line();
                }
            }
            Notice::RawMode(_) => {}
        }
    }

    fn resized(&mut self) {
        let _ = self.draw(|editor, screen| editor.draw(screen));
    }

    fn size(&self) -> Option<(u16, u16)> {
        size_of(&self.reader.fd)
    }
}

fn size_of(terminal: &OwnedFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.check_away();
        if let (Lines::Editor(editor), ConsoleMode::Line) = (&self.lines, self.mode) {
            if let Some(line) = editor.unfinished() {
                self.inbox.leave_line(line.to_owned());
            }
        }
        if let Lines::Editor(editor) = &mut self.lines {
            let lines = editor.settle_last_lines();
            self.history_file.iter().for_each(|file| lines.iter().for_each(|line| file.append(line)));
        }
        // It will not be read here.
        let _ = self.draw(|editor, screen| {
            editor.erase(screen);
            editor.set_shown(false);
        });
        while self.waiting.bytes() > 0 {
            let text = self.take_waiting();
            self.output.write_last(&text);
        }
        self.stop_pasting();
        self.guard.restore();
    }
}
