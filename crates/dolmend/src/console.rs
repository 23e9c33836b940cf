//! The operator's console, as far as the server needs one: where its input comes from and its
//! output goes to.
//!
//! Reading is the reactor's business. At a terminal output goes through the reactor too, which
//! shows it above the line being typed, and so do log lines: on a terminal they would tear that
//! line apart. A script's output goes straight to standard output: it must be there, all of it,
//! before the server ends, and a script that nobody reads may wait.

use std::io::{IsTerminal as _, Write as _};

use dolmen::{ConsoleKind, ConsoleMode, Error, ErrorKind, Reactor, Token};

use crate::logging;

/// A console that is open.
#[derive(Debug)]
pub(crate) struct Console {
    kind: ConsoleKind,
    /// Log lines come to us instead of standard error.
    has_log: bool,
    /// Pieces of output that found no room, because nobody takes it.
    lost: u64,
}

impl Console {
    /// Begins to read standard input.
    pub(crate) fn open(reactor: &mut Reactor, token: Token) -> Result<Console, Error> {
        let kind = reactor.console(token, ConsoleMode::Line)?;
        let has_log = kind == ConsoleKind::Terminal
            && std::io::stdout().is_terminal()
            && std::io::stderr().is_terminal();
        if has_log {
            logging::keep(true);
        }
        Ok(Console { kind, has_log, lost: 0 })
    }

    /// Whether somebody sits there.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind == ConsoleKind::Terminal
    }

    /// Shows a text.
    pub(crate) fn print(&mut self, reactor: &mut Reactor, text: &str) {
        if !self.is_terminal() {
            return print(text);
        }
        match reactor.console_print(text) {
            Ok(()) => {}
            // The terminal is held, and what waits to be shown is more than anybody would read.
            Err(error) if error.kind() == ErrorKind::QueueFull => self.lost += 1,
            Err(error) => tracing::debug!(%error, "nothing can be shown"),
        }
    }

    /// Asks for a line.
    pub(crate) fn ask(&mut self, reactor: &mut Reactor, prompt: &str, echo: bool) {
        let asked = reactor.console_echo(echo).and_then(|()| reactor.console_prompt(prompt));
        if let Err(error) = asked {
            tracing::warn!(%error, "the console cannot be set up");
        }
    }

    /// Shows the log lines that have come up.
    pub(crate) fn print_log(&mut self, reactor: &mut Reactor) {
        if let Some(text) = logging::take() {
            self.print(reactor, &text);
        }
        if self.lost > 0 && reactor.console_print("").is_ok() {
            let lost = std::mem::take(&mut self.lost);
            self.print(reactor, &format!("({lost} texts were not shown: nobody took them)\n"));
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.has_log {
            logging::keep(false);
        }
    }
}

/// Writes to standard output. Where it is closed nobody is there to miss it.
pub(crate) fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}
