//! Standard input that is not a terminal: a pipe, a file or nothing.

use std::io;
use std::sync::Arc;

use super::output::Output;
use super::{ConsoleKind, ConsoleMode, Driver, Inbox, Notice};

/// How the bytes of redirected input are read: by readiness, or by a thread.
pub(super) trait RedirectedInput<H> {
    /// As [`Driver::watching`].
    fn watching(&self) -> bool {
        false
    }

    /// As [`Driver::handle`].
    fn handle(&self) -> io::Result<H> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`Driver::ready`].
    fn ready(&mut self, _inbox: &Inbox) {}

    fn set_mode(&mut self, mode: ConsoleMode, inbox: &Inbox);

    /// Reads no more, and keeps an unfinished line for the next reader.
    fn end(&mut self, inbox: &Inbox);
}

/// The driver for redirected input.
pub(super) struct Redirected<H> {
    kind: ConsoleKind,
    input: Box<dyn RedirectedInput<H>>,
    inbox: Arc<Inbox>,
    output: Output,
}

impl<H> Redirected<H> {
    pub(super) fn new(
        kind: ConsoleKind,
        input: impl RedirectedInput<H> + 'static,
        inbox: &Arc<Inbox>,
        output: Output,
    ) -> Redirected<H> {
        Redirected { kind, input: Box::new(input), inbox: Arc::clone(inbox), output }
    }
}

impl<H> Driver<H> for Redirected<H> {
    fn kind(&self) -> ConsoleKind {
        self.kind
    }

    fn watching(&self) -> bool {
        self.input.watching()
    }

    fn handle(&self) -> io::Result<H> {
        self.input.handle()
    }

    fn ready(&mut self) {
        self.input.ready(&self.inbox);
    }

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()> {
        self.input.set_mode(mode, &self.inbox);
        Ok(())
    }

    fn set_echo(&mut self, _echo: bool) -> io::Result<()> {
        Ok(())
    }

    fn set_prompt(&mut self, _prompt: &str) -> io::Result<()> {
        Ok(())
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        self.output.write(text)
    }

    fn answer(&mut self, text: &str) -> io::Result<()> {
        self.output.answer(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush();
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.output.is_behind()
    }

    fn notice(&mut self, _notice: Notice) {}

    fn size(&self) -> Option<(u16, u16)> {
        None
    }
}

impl<H> Drop for Redirected<H> {
    fn drop(&mut self) {
        self.input.end(&self.inbox);
    }
}
