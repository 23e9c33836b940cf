//! The operator's console, as far as the server needs one: where its input comes from and its
//! output goes to.
//!
//! Reading and writing are the reactor's business. At a terminal it shows output above the line
//! being typed, log lines too, which would tear that line apart otherwise. A script waits while
//! nobody reads its answers, and an end that it has asked for waits until they are out.

use std::io::IsTerminal as _;

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
    /// What follows in the script is not for anybody any more.
    deaf: bool,
    flush: Flush,
}

/// Whether all output is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    NotAsked,
    Asked,
    Done,
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
        Ok(Console { kind, has_log, lost: 0, deaf: false, flush: Flush::NotAsked })
    }

    /// Whether somebody sits there.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind == ConsoleKind::Terminal
    }

    /// From here on nobody obeys it.
    pub(crate) fn turn_deaf(&mut self) {
        self.deaf = true;
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Whether the end may come: all output is out. If not, the reactor will tell.
    pub(crate) fn is_flushed(&mut self, reactor: &mut Reactor) -> bool {
        if self.flush == Flush::NotAsked {
            self.print_log(reactor);
            self.flush = if reactor.console_flush().is_ok() { Flush::Asked } else { Flush::Done };
        }
        self.flush == Flush::Done
    }

    /// The reactor has told that all output is out.
    pub(crate) fn drained(&mut self, reactor: &mut Reactor) {
        match std::mem::take(&mut self.lost) {
            0 if self.flush == Flush::Asked => self.flush = Flush::Done,
            0 => {}
            lost => {
                self.print(reactor, &format!("({lost} texts were not shown: nobody took them)\n"));
                if self.flush == Flush::Asked {
                    self.flush = Flush::NotAsked;
                }
            }
        }
    }

    /// Shows a text.
    pub(crate) fn print(&mut self, reactor: &mut Reactor, text: &str) {
        match reactor.console_print(text) {
            Ok(()) => {}
            // The terminal is held, and what waits to be shown is more than anybody would read.
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                if self.lost == 0 {
                    // To say so when there is room again for all that waits.
                    let _ = reactor.console_flush();
                }
                self.lost += 1;
            }
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
    let _ = dolmen::patient::write_all(&mut std::io::stdout(), text.as_bytes(), None, |_| {});
}
