//! A console as a driver: either the reactor (raw) or the thread (lines) reads it.

use std::io;
use std::os::windows::io::AsHandle as _;
use std::os::windows::io::OwnedHandle;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::keys::Keys;
use super::super::output::Output;
use super::super::{ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice};
use super::line::{Command, Commands, LineReader, console_mode};
use super::restore::Guard;
use super::{raw, sys};
use crate::kernel::thread;

/// A drop waits for the thread as long as it prints something in each such time.
const STALLED: Duration = Duration::from_secs(2);

pub(super) struct Terminal {
    inbox: Arc<Inbox>,
    commands: Arc<Commands>,
    console: OwnedHandle,
    /// Standard output, if it is a console: the thread writes its text, because it knows what is on the screen.
    screen: Option<OwnedHandle>,
    output: Output,
    mode: ConsoleMode,
    /// How many changes of mode were requested.
    requests: u64,
    /// The thread has released the console for raw mode.
    raw: bool,
    keys: Keys,
    over: bool,
    thread: Option<JoinHandle<()>>,
    /// Dropped last: after the thread has ended.
    _guard: Guard,
}

impl Terminal {
    pub(super) fn open(
        console: OwnedHandle,
        inbox: &Arc<Inbox>,
        mode: ConsoleMode,
        output: Output,
    ) -> io::Result<Terminal> {
        let original = sys::mode(&console)?;
        let stdout = io::stdout().as_handle().try_clone_to_owned().ok();
        let screen = stdout.filter(|stdout| sys::screen(stdout).is_ok());
        let guard = Guard::new(&console, original)?;
        sys::set_mode(&console, console_mode(original, mode, true))?;
        let commands = Commands::new(console.try_clone()?);
        if let Some(size) = screen.as_ref().and_then(sys::window_size) {
            commands.size_reported(size);
        }
        let reader = LineReader {
            commands: Arc::clone(&commands),
            inbox: Arc::clone(inbox),
            console: console.try_clone()?,
            screen: screen.as_ref().map(OwnedHandle::try_clone).transpose()?,
            original,
            mode,
            echo: true,
            prompt: String::new(),
            typed: Vec::new(),
            before: Vec::new(),
            cutting: false,
            shown: false,
            aborted: false,
        };
        let thread = Some(thread::spawn("console", move || reader.run())?);
        Ok(Terminal {
            inbox: Arc::clone(inbox),
            commands,
            console,
            screen,
            output,
            mode,
            requests: 0,
            raw: mode == ConsoleMode::Raw,
            keys: Keys::default(),
            over: false,
            thread,
            _guard: guard,
        })
    }
}

impl Driver<OwnedHandle> for Terminal {
    fn kind(&self) -> ConsoleKind {
        ConsoleKind::Terminal
    }

    fn watching(&self) -> bool {
        self.raw && !self.over
    }

    fn handle(&self) -> io::Result<OwnedHandle> {
        self.console.try_clone()
    }

    fn ready(&mut self) {
        if !self.raw {
            return;
        }
        let mut keys = std::mem::take(&mut self.keys);
        let read = raw::read(&self.console, &mut keys, &self.inbox, || {
            self.size().inspect(|&size| self.commands.size_reported(size))
        });
        self.keys = keys;
        if let Err(error) = read {
            tracing::warn!(target: "dolmen", %error, "the console cannot be read any more");
            self.over = true;
            self.inbox.push(Input::End);
        }
    }

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()> {
        if mode == self.mode {
            return Ok(());
        }
        // Input typed in raw mode is raw.
        self.ready();
        self.mode = mode;
        self.raw = false;
        self.requests += 1;
        self.commands.push(Command::Mode(mode, self.requests))
    }

    fn set_echo(&mut self, echo: bool) -> io::Result<()> {
        self.commands.push(Command::Echo(echo))
    }

    fn set_prompt(&mut self, prompt: &str) -> io::Result<()> {
        self.commands.push(Command::Prompt(prompt.to_owned()))
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        match self.screen {
            Some(_) => self.commands.push(Command::Print(text.to_owned())),
            None => self.output.write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.screen {
            Some(_) => self.commands.push(Command::Flush),
            None => {
                self.output.flush();
                Ok(())
            }
        }
    }

    fn room(&mut self) {
        self.commands.recheck_room();
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::RawMode(request) => self.raw = request == self.requests,
            Notice::Interrupted if self.mode == ConsoleMode::Line => {
                let _ = self.commands.push(Command::Interrupted);
            }
            Notice::Interrupted | Notice::Continued => {}
        }
    }

    fn size(&self) -> Option<(u16, u16)> {
        sys::window_size(self.screen.as_ref()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.commands.push(Command::Quit).is_err() || !self.commands.wait_for_end(STALLED) {
            tracing::warn!(target: "dolmen", "the console's thread is left behind in a call that does not end");
            return;
        }
        // The thread's last message comes before its end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
