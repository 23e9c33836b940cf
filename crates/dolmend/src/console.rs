//! The operator's console, as far as the server needs one: the source of its input and the destination of its output.
//!
//! The reactor reads and writes. At a terminal it shows output above the line being typed. Log lines are shown there as
//! well, as they would tear that line apart otherwise. Answers go before both, and [`Chatter`] decides how much of the rest is
//! shown. A script waits while its replies are not read, and an end that it
//! has asked for waits until they have been written.

use std::io::IsTerminal as _;
use std::path::Path;

use dolmen::{ConsoleKind, ConsoleMode, Error, ErrorKind, Reactor, Token};

use crate::chatter::Chatter;
use crate::logging;

/// An open console.
#[derive(Debug)]
pub(crate) struct Console {
    kind: ConsoleKind,
    /// Log lines are shown here instead of on standard error.
    has_log: bool,
    /// Pieces of output that found no room, because the reader does not read.
    lost: u64,
    chatter: Chatter,
    /// The rest of the script is ignored.
    ignoring: bool,
    /// What is typed is shown, and so no password.
    shows_input: bool,
    flush: Flush,
}

/// Whether all output has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    NotAsked,
    Asked,
    Done,
}

impl Console {
    /// Starts to read standard input. The operator's terminal completes these commands, and keeps its history in this
    /// file.
    pub(crate) fn open(
        reactor: &mut Reactor,
        token: Token,
        commands: &'static [&'static str],
        history: Option<&Path>,
    ) -> Result<Console, Error> {
        let mut console = reactor.add_console(ConsoleMode::Line, token)?;
        console.set_completer(move |line| matching(commands, line))?;
        if let Some(Err(error)) = history.map(|history| console.set_history_file(history)) {
            tracing::warn!(%error, "the console has no history of earlier sessions");
        }
        let kind = console.kind();
        let has_log = kind == ConsoleKind::Terminal
            && std::io::stdout().is_terminal()
            && std::io::stderr().is_terminal();
        if has_log {
            logging::keep(true);
        }
        Ok(Console {
            kind,
            has_log,
            lost: 0,
            chatter: Chatter::default(),
            ignoring: false,
            shows_input: true,
            flush: Flush::NotAsked,
        })
    }

    /// Whether the console is a terminal with an operator.
    pub(crate) fn is_terminal(&self) -> bool {
        self.kind == ConsoleKind::Terminal
    }

    /// Whether what is typed is shown.
    pub(crate) fn shows_input(&self) -> bool {
        self.shows_input
    }

    /// From here on its input is ignored.
    pub(crate) fn ignore_rest_of_script(&mut self) {
        self.ignoring = true;
    }

    pub(crate) fn ignores_input(&self) -> bool {
        self.ignoring
    }

    /// Whether the server may end: all output has been written. If not, the reactor will report it.
    pub(crate) fn is_flushed(&mut self, reactor: &mut Reactor) -> bool {
        if self.flush == Flush::NotAsked {
            self.print_log(reactor);
            let asked = reactor.console().and_then(|mut console| console.flush());
            self.flush = if asked.is_ok() { Flush::Asked } else { Flush::Done };
        }
        self.flush == Flush::Done
    }

    /// The reactor has reported that all output has been written.
    pub(crate) fn drained(&mut self, reactor: &mut Reactor) {
        // The report may be the one that the chatter has asked for, and then more was printed after an end asked for its own.
        let mut is_last = !self.chatter.has_asked();
        let lost = match std::mem::take(&mut self.lost) {
            0 => None,
            lost => Some(format!("({lost} texts were lost: the console's output was not read)\n")),
        };
        for text in [lost, self.chatter.written()].into_iter().flatten() {
            self.put(reactor, |console| console.print(&text));
            is_last = false;
        }
        if self.flush == Flush::Asked {
            self.flush = if is_last { Flush::Done } else { Flush::NotAsked };
        }
    }

    /// Shows an answer to the operator, before the chatter that waits.
    pub(crate) fn answer(&mut self, reactor: &mut Reactor, text: &str) {
        self.chatter.shown(text);
        self.put(reactor, |console| console.answer(text));
        self.ask_for_report(reactor);
    }

    /// Shows what players do, unless the operator has hushed it or the terminal is too slow for it.
    pub(crate) fn chatter(&mut self, reactor: &mut Reactor, text: &str) {
        let shown = self.chatter.admit(text);
        self.print(reactor, shown);
    }

    /// Shows what was admitted.
    fn print(&mut self, reactor: &mut Reactor, text: &str) {
        if !text.is_empty() {
            self.put(reactor, |console| console.print(text));
        }
        self.ask_for_report(reactor);
    }

    /// Hushes the chatter and the log, or no longer.
    pub(crate) fn hush(&mut self, reactor: &mut Reactor, on: bool) {
        let text = self.chatter.hush(on);
        self.answer(reactor, &text);
    }

    fn put(
        &mut self,
        reactor: &mut Reactor,
        print: impl FnOnce(&mut dolmen::Console<'_>) -> Result<(), Error>,
    ) {
        match reactor.console().and_then(|mut console| print(&mut console)) {
            Ok(()) => {}
            // The terminal is held, and more text waits than anyone would read.
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                if self.lost == 0 {
                    // To report the loss when there is room again for all waiting text.
                    let _ = reactor.console().and_then(|mut console| console.flush());
                }
                self.lost += 1;
            }
            Err(error) => tracing::debug!(%error, "the text cannot be shown"),
        }
    }

    /// Asks the reactor to report when everything is written, if the chatter has to know it.
    fn ask_for_report(&mut self, reactor: &mut Reactor) {
        if self.chatter.asks() {
            // It fails only if there is no console any more.
            let _ = reactor.console().and_then(|mut console| console.flush());
        }
    }

    /// Asks for a line.
    pub(crate) fn ask(&mut self, reactor: &mut Reactor, prompt: &str, echo: bool) {
        self.shows_input = echo;
        let asked = reactor.console().and_then(|mut console| {
            console.set_echo(echo)?;
            console.set_prompt(prompt)
        });
        if let Err(error) = asked {
            tracing::warn!(%error, "the console cannot show a prompt");
        }
    }

    /// Shows the log lines kept so far.
    pub(crate) fn print_log(&mut self, reactor: &mut Reactor) {
        if let Some(text) = logging::take() {
            let shown = self.chatter.admit_log(&text);
            self.print(reactor, &shown);
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

/// The commands that a line may become. Commands are first words.
fn matching(commands: &[&str], line: &str) -> Vec<String> {
    let start = line.trim_start().to_lowercase();
    commands.iter().filter(|command| command.starts_with(&start)).map(|command| command.to_string()).collect()
}

/// Writes to standard output. If it is closed, the text is dropped.
pub(crate) fn print(text: &str) {
    let _ =
        dolmen::internal::blocking_write::write_all(&mut std::io::stdout(), text.as_bytes(), None, |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_word_is_completed() {
        let commands = ["say", "shutdown", "stats"];
        assert_eq!(matching(&commands, " SH"), ["shutdown"]);
        assert_eq!(matching(&commands, "s").len(), 3);
        assert!(matching(&commands, "say s").is_empty());
    }
}
