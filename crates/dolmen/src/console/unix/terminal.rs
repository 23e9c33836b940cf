//! Standard input that is a terminal: the kernel edits its line, and our editor does while there is output to show.
//!
//! termios(3), tty_ioctl(4).

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize,
    tcsetattr,
};

use super::super::decoder::Decoder;
use super::super::editor::{EditKeys, Editor};
use super::super::output::Output;
use super::super::{ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice, width};
use super::reader::{Reader, state_of};
use super::restore::Guard;

/// Standard input that is a terminal.
pub(super) struct Terminal {
    reader: Reader,
    inbox: Arc<Inbox>,
    output: Output,
    /// Standard output is a terminal too, so that the line on it must be kept whole.
    screen: bool,
    mode: ConsoleMode,
    echo: bool,
    prompt: String,
    decoder: Decoder,
    /// Edits the line that was taken out of the kernel, and further lines typed meanwhile.
    editor: Option<Editor>,
    original: Termios,
    /// The input has ended.
    over: bool,
    /// The terminal belonged to another process when it was last checked.
    away: bool,
    /// Restores the terminal when dropped, and whenever the process ends otherwise.
    guard: Guard,
}

impl Terminal {
    pub(super) fn open(
        stdin: OwnedFd,
        inbox: &Arc<Inbox>,
        mode: ConsoleMode,
        output: Output,
    ) -> io::Result<Terminal> {
        let reader = Reader::new(stdin);
        let original = tcgetattr(&reader.fd)?;
        let guard = Guard::new(&reader.fd, &original)?;
        let mut terminal = Terminal {
            inbox: Arc::clone(inbox),
            output,
            screen: io::stdout().is_terminal(),
            mode,
            echo: true,
            prompt: String::new(),
            decoder: Decoder::new(mode, true),
            editor: None,
            original,
            over: false,
            away: false,
            guard,
            reader,
        };
        terminal.apply()?;
        Ok(terminal)
    }

    /// The terminal settings for the state we are in.
    fn settings(&self) -> Termios {
        let mut settings = self.original.clone();
        if self.mode == ConsoleMode::Raw {
            // Output stays cooked: raw mode concerns keys only.
            let output = settings.output_modes;
            settings.make_raw();
            settings.output_modes = output;
            return settings;
        }
        let line = LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        settings.local_modes |= line | LocalModes::ECHO | LocalModes::ECHOE | LocalModes::ECHOK;
        settings.input_modes |= InputModes::ICRNL;
        settings.input_modes &= !(InputModes::INLCR | InputModes::IGNCR);
        if !self.echo {
            settings.local_modes &= !LocalModes::ECHO;
            // The end of the line is not secret, and the next output belongs on a new line.
            settings.local_modes |= LocalModes::ECHONL;
        }
        if self.editor.is_some() {
            settings.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL);
            // Enter stays a return. So, whenever it is read, it shows that it was pressed while only the editor could
            // show it. The settings cannot be changed in the same moment as the input is read.
            settings.input_modes &= !InputModes::ICRNL;
            settings.special_codes[SpecialCodeIndex::VMIN] = 1;
            settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        }
        settings
    }

    /// Applies the settings of our state. This discards no typed input [hc27].
    fn apply(&mut self) -> io::Result<()> {
        // From the background this would stop the process; it is done again when the process continues.
        if is_foreground(self.reader.fd.as_fd()) {
            tcsetattr(&self.reader.fd, OptionalActions::Now, &self.settings())?;
        }
        Ok(())
    }

    /// Whether an unfinished line is shown.
    fn shows_line(&self) -> bool {
        self.screen && self.mode == ConsoleMode::Line
    }

    /// Takes the text typed so far out of the kernel. The editor keeps the terminal until the line ends [hc27].
    fn borrow_line(&mut self) -> io::Result<()> {
        if self.editor.is_none() {
            self.ready();
        }
        if self.editor.is_none() && self.mode == ConsoleMode::Line {
            self.editor = Some(Editor::new(self.edit_keys()));
            self.apply()?;
            // The kernel has shown everything so far.
            self.read(false);
        }
        Ok(())
    }

    /// Returns the next line to the kernel, if none has begun. Not before all output is on the screen: the kernel shows
    /// typed input immediately, and it would appear in between.
    fn return_line(&mut self) -> io::Result<()> {
        let is_idle = |terminal: &Terminal| {
            terminal.editor.as_ref().is_some_and(Editor::is_idle) && terminal.output.is_done()
        };
        if !is_idle(self) {
            return Ok(());
        }
        // Input typed since the editor took the line has not been shown.
        self.read(true);
        if is_idle(self) {
            self.editor = None;
            self.apply()?;
        }
        Ok(())
    }

    fn edit_keys(&self) -> EditKeys {
        let code = |index| self.original.special_codes[index];
        EditKeys {
            erase: code(SpecialCodeIndex::VERASE),
            kill: code(SpecialCodeIndex::VKILL),
            erase_word: code(SpecialCodeIndex::VWERASE),
            end: code(SpecialCodeIndex::VEOF),
            literal: code(SpecialCodeIndex::VLNEXT),
        }
    }

    /// Reads the available input. `shows`: text that passes through the editor has not been shown yet.
    fn read(&mut self, shows: bool) {
        let mut buffer = [0; 8192];
        while !self.over && self.inbox.has_room() && is_foreground(self.reader.fd.as_fd()) {
            match self.reader.read(&mut buffer) {
                Ok(None) => return,
                Ok(Some(0)) if self.hung_up() => self.end(),
                // Ctrl-D, after which more may follow. In raw mode it would have been a key [hc29].
                Ok(Some(0)) => {
                    self.inbox.push(Input::End);
                    self.new_line();
                }
                Ok(Some(count)) => self.typed(&buffer[..count], shows),
                // The process was put into the background just now, and its group is orphaned, so it was not stopped.
                Err(_) if !is_foreground(self.reader.fd.as_fd()) && !self.hung_up() => {
                    self.away = true;
                    return;
                }
                // The error of a read from a terminal that is gone.
                Err(error) => {
                    tracing::debug!(target: "dolmen", %error, "the terminal has gone");
                    self.end();
                }
            }
        }
    }

    fn typed(&mut self, bytes: &[u8], shows: bool) {
        if self.mode == ConsoleMode::Raw {
            return self.decoder.feed(bytes, |input| self.inbox.push(input));
        }
        if self.editor.is_none() {
            if bytes.ends_with(b"\n") {
                self.decoder.feed(bytes, |input| {
                    let line = matches!(input, Input::Line(_) | Input::LineCut(_));
                    self.inbox.push(input);
                    if line && self.screen {
                        let _ = self.output.write(&self.prompt);
                    }
                });
                return;
            }
            // Half a line: it was typed while the line was returning to the kernel, or the mode was changed, or Ctrl-D
            // was typed. The editor handles its end. How much of it was shown depends on the moment, so all of it is
            // shown once more.
            self.editor = Some(Editor::new(self.edit_keys()));
            let _ = self.apply();
            self.edit(bytes, false);
            if self.screen {
                let _ = self.output.write(&format!("{}{}", self.erase(), self.line()));
            }
            return;
        }
        self.edit(bytes, shows);
    }

    /// Passes keys through the editor, one line at a time. `shows`: they have not been shown yet.
    fn edit(&mut self, bytes: &[u8], shows: bool) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            match piece.split_last() {
                // Not everything was shown: the kernel would not have left the return.
                Some((b'\r', text)) if !shows => {
                    self.edit_piece(text, false);
                    if self.screen {
                        let _ = self.output.write(&format!("{}{}", self.erase(), self.line()));
                    }
                    self.edit_piece(b"\r", true);
                }
                _ => self.edit_piece(piece, shows),
            }
        }
    }

    fn edit_piece(&mut self, piece: &[u8], shows: bool) {
        let Some(editor) = &mut self.editor else { return };
        let mut screen = String::new();
        let mut ended = false;
        editor.feed(piece, &mut screen, |input| {
            ended |= !matches!(input, Input::LineCut(_));
            self.inbox.push(input);
        });
        if !self.echo {
            screen.retain(|c| c == '\n');
        }
        if self.screen && shows {
            let _ = self.output.write(&screen);
        }
        if ended && self.screen {
            let _ = self.output.write(&self.prompt);
        }
    }

    /// No more input will come.
    fn end(&mut self) {
        self.over = true;
        if let Some(mut editor) = self.editor.take() {
            let typed = editor.take();
            self.decoder.feed(&typed, |input| self.inbox.push(input));
        }
        self.decoder.end(|input| self.inbox.push(input));
    }

    fn hung_up(&self) -> bool {
        state_of(self.reader.fd.as_fd()).is_ok_and(|flags| flags.contains(PollFlags::HUP))
    }

    /// The text that erases the line being typed from the screen: back to where it began, and clear from there.
    fn erase(&self) -> String {
        let typed = self.editor.as_ref().filter(|_| self.echo).map(Editor::shown).unwrap_or_default();
        let last_line = self.prompt.rsplit('\n').next().unwrap_or_default();
        let cells = width(last_line) + width(&typed);
        let columns = self.size().map_or(80, |(columns, _)| usize::from(columns)).max(1);
        // A cursor that has just filled a row stays on it.
        match cells.saturating_sub(1) / columns {
            0 => "\r\x1b[J".into(),
            rows => format!("\r\x1b[{rows}A\x1b[J"),
        }
    }

    /// The prompt, and the line being typed.
    fn line(&self) -> String {
        let typed = self.editor.as_ref().filter(|_| self.echo).map(Editor::shown).unwrap_or_default();
        format!("{}{typed}", self.prompt)
    }

    fn new_line(&self) {
        if self.shows_line() {
            let _ = self.output.write(&format!("\n{}", self.prompt));
        }
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
        // A shell does not notify a process that it brings to the foreground without having stopped it.
        let away = !is_foreground(self.reader.fd.as_fd());
        if std::mem::replace(&mut self.away, away) && !away {
            let _ = self.apply();
        }
        self.read(true);
        // While lines are being pasted the end of each is not a reason to change modes: only when nothing is left.
        let _ = self.return_line();
    }

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()> {
        if mode == self.mode {
            return Ok(());
        }
        self.ready();
        let typed = self.editor.take().map(|mut editor| editor.take()).unwrap_or_default();
        self.mode = mode;
        self.decoder.set_mode(mode, |input| self.inbox.push(input));
        self.decoder.feed(&typed, |input| self.inbox.push(input));
        self.apply()?;
        if mode == ConsoleMode::Raw {
            // The part of a line that the kernel had is readable from here on.
            self.ready();
        } else if self.screen {
            let _ = self.output.write(&self.prompt);
        }
        Ok(())
    }

    fn set_echo(&mut self, echo: bool) -> io::Result<()> {
        if echo && !self.echo {
            // The user typed this part of the line assuming that it would not be shown.
            self.borrow_line()?;
            self.editor.iter_mut().for_each(Editor::hide);
        }
        self.echo = echo;
        self.apply()?;
        self.return_line()
    }

    fn set_prompt(&mut self, prompt: &str) -> io::Result<()> {
        if !self.shows_line() {
            prompt.clone_into(&mut self.prompt);
            return Ok(());
        }
        self.borrow_line()?;
        let erase = self.erase();
        let before = std::mem::replace(&mut self.prompt, prompt.to_owned());
        let shown = self.output.write(&format!("{erase}{}", self.line()));
        if shown.is_err() {
            self.prompt = before;
        }
        self.return_line()?;
        shown
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        if !self.shows_line() {
            return self.output.write(text);
        }
        self.borrow_line()?;
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let printed = self.output.write(&format!("{}{text}{end}{}", self.erase(), self.line()));
        self.return_line()?;
        printed
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush();
        Ok(())
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Interrupted => {
                if let Some(editor) = &mut self.editor {
                    editor.take();
                }
                let _ = self.return_line();
                self.new_line();
            }
            Notice::Continued => {
                let _ = self.apply();
                if self.shows_line() && is_foreground(self.reader.fd.as_fd()) {
                    // The screen may show anything; text typed before is there, unless the key was Ctrl-Z.
                    let _ = self.borrow_line();
                    let _ = self.output.write(&format!("\n{}", self.line()));
                    let _ = self.return_line();
                }
            }
            Notice::RawMode(_) => {}
        }
    }

    fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.reader.fd).ok()?;
        (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The prompt of a line that will not be read.
        if self.shows_line() && !self.prompt.is_empty() {
            let _ = self.output.write("\r\x1b[J");
        }
        self.guard.restore();
    }
}

/// Whether the terminal is ours to read and to set up. Also true where there is no job control.
pub(super) fn is_foreground(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == rustix::process::getpgrp())
}
