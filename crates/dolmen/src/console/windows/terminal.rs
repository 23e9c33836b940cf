//! A console as a driver: either the reactor (raw) or the thread (lines) reads it.

use std::io;
use std::os::windows::io::OwnedHandle;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::keys::Keys;
use super::super::line_reader::{Command, Commands, Host as _, LineReader};
use super::super::output::Output;
use super::super::{ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice};
use super::host::ConsoleHost;
use super::restore::Guard;
use super::{raw, sys};
use crate::kernel::thread;

/// A drop waits for the thread as long as it prints something in each such time.
const STALLED: Duration = Duration::from_secs(2);

/// How long the program waits for the keys to be pressed after a Ctrl-C. It is a matter of microseconds, unless the process
/// that has the console's window hangs.
const INTERRUPT_TIMEOUT: Duration = Duration::from_millis(50);

pub(super) struct Terminal {
    inbox: Arc<Inbox>,
    commands: Arc<Commands>,
    host: Arc<ConsoleHost>,
    output: Output,
    mode: ConsoleMode,
    /// How many changes of mode were requested.
    requests: u64,
    /// The thread has released the console for raw mode.
    raw: bool,
    keys: Keys,
    over: bool,
    /// The one that reads lines and prints, and the one that presses keys for it.
    threads: Vec<JoinHandle<()>>,
    /// Dropped last: after the threads have ended.
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
        let guard = Guard::new(&console, original)?;
        let host = ConsoleHost::new(console, original);
        host.set_mode(mode, true)?;
        let commands = Commands::new();
        if let Some(size) = host.window_size() {
            commands.size_reported(size);
        }
        // First the one that has nothing to do before the other reads.
        let presser = spawn_presser(&host, &commands)?;
        let reader = LineReader::new(Arc::clone(&host), &commands, inbox, mode);
        let reader = thread::spawn("console", move || reader.run()).inspect_err(|_| commands.end())?;
        let threads = vec![reader, presser];
        Ok(Terminal {
            inbox: Arc::clone(inbox),
            commands,
            host,
            output,
            mode,
            requests: 0,
            raw: mode == ConsoleMode::Raw,
            keys: Keys::default(),
            over: false,
            threads,
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
        self.host.console.try_clone()
    }

    fn ready(&mut self) {
        if !self.raw {
            return;
        }
        let mut keys = std::mem::take(&mut self.keys);
        let read = raw::read(&self.host.console, &mut keys, &self.inbox, || {
            self.size().inspect(|&size| {
                self.commands.size_reported(size);
            })
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
        match self.host.has_screen() {
            true => self.commands.push(Command::Print(text.to_owned())),
            false => self.output.write(text),
        }
    }

    fn answer(&mut self, text: &str) -> io::Result<()> {
        match self.host.has_screen() {
            true => self.commands.push(Command::Answer(text.to_owned())),
            false => self.output.answer(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.host.has_screen() {
            true => self.commands.push(Command::Flush),
            false => {
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
            // In raw mode as well: it may be one that has ended a read before.
            Notice::Interrupted => {
                let _ = self.commands.push(Command::Interrupted);
                // Wine does not end the read at Ctrl-C: what is typed next must not become a part of the same line.
                self.commands.wait_for_press(INTERRUPT_TIMEOUT);
            }
            Notice::Continued => {}
        }
    }

    fn size(&self) -> Option<(u16, u16)> {
        self.host.window_size()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.commands.push(Command::Quit);
        if !self.commands.wait_for_end(STALLED) {
            tracing::warn!(target: "dolmen", "the console's thread is left behind in a call that does not end");
            self.commands.abandon();
            return;
        }
        // The threads' last messages come before their end.
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // A line that Enter ended in the meantime has left keys of ours, which the next program would read.
        if let Err(error) = sys::discard_pressed_keys(&self.host.console) {
            tracing::debug!(target: "dolmen", %error, "cannot take keys back from the console");
        }
    }
}

fn spawn_presser(host: &Arc<ConsoleHost>, commands: &Arc<Commands>) -> io::Result<JoinHandle<()>> {
    let (host, commands) = (Arc::clone(host), Arc::clone(commands));
    thread::spawn("console keys", move || {
        commands.press_until_end(|| {
            if let Err(error) = host.end_read() {
                tracing::debug!(target: "dolmen", %error, "cannot end a read of the console");
            }
        });
    })
}
