//! The console's part of the loop: the operator's lines, the end of a script, and signals.

use std::io::IsTerminal as _;

use dolmen::{ConsoleInput, Reactor, ShutdownReason};

use super::Server;
use super::shutdown::{Output, Signalled};
use crate::console::{self, Console};
use crate::logging;
use crate::world::World;

/// The message to the source of a request to stop.
const STOPPING: &str = "stopping; a second request stops immediately\n";

impl<W: World> Server<W> {
    /// Input from the operator, or a request to end the program.
    pub(super) fn console_input(&mut self, input: ConsoleInput<'_>) {
        let ignored = self.console.as_ref().is_some_and(Console::ignores_input);
        match input {
            ConsoleInput::Line(_) | ConsoleInput::LineCut(_) | ConsoleInput::EndOfInput if ignored => {}
            ConsoleInput::Line(_) if self.shutdown.has_begun() && self.has_operator() => {
                self.answer("The server is shutting down; Ctrl-C stops it immediately.\n");
            }
            ConsoleInput::Line(line) => {
                self.log_command(line);
                let (world, mut turn) = self.turn();
                world.console_line(&mut turn, line);
                self.carry_out();
            }
            ConsoleInput::LineCut(line) => {
                // Half a command may be another command.
                let text = format!("A line of more than {} bytes is not a command.\n", line.len());
                self.answer(&text);
            }
            ConsoleInput::EndOfInput if self.is_locked() && self.has_operator() => {
                tracing::warn!("Ctrl-D at the locked console");
                self.answer("The console is locked.\n");
            }
            ConsoleInput::EndOfInput if self.has_operator() => {
                tracing::info!("the console input has ended; 'shutdown' ends the server");
            }
            ConsoleInput::EndOfInput => {
                tracing::info!("the console input has ended");
                self.shut_down();
            }
            ConsoleInput::Drained => {
                if let Some(console) = &mut self.console {
                    console.drained(&mut self.reactor);
                }
            }
            ConsoleInput::Interrupt | ConsoleInput::Shutdown { reason: ShutdownReason::Break, .. }
                if self.is_locked() =>
            {
                tracing::warn!("Ctrl-C at the locked console");
                self.answer("The console is locked.\n");
            }
            ConsoleInput::Interrupt => self.asked_to_stop("Ctrl-C"),
            ConsoleInput::Shutdown { reason: ShutdownReason::HangUp, .. } if self.hang_up_is_reload() => {
                tracing::info!("asked to reload: hang-up");
                self.reload();
            }
            ConsoleInput::Shutdown { reason, .. } => self.asked_to_stop(&reason.to_string()),
            // The reactor has shown the line being typed again.
            _ => {}
        }
    }

    /// Whether there is a terminal with an operator.
    fn has_operator(&self) -> bool {
        self.console.as_ref().is_some_and(Console::is_terminal)
    }

    /// Whether keys that end a program have no effect.
    fn is_locked(&self) -> bool {
        self.operations.locked && !self.shutdown.has_begun()
    }

    /// Whether `SIGHUP` asks for a reload, as it does of a service. At a terminal that is gone it asks for the end, and
    /// such a terminal is none any more.
    fn hang_up_is_reload(&self) -> bool {
        let is_gone = self.has_operator() && !std::io::stdin().is_terminal();
        self.operations.source.is_some() && !is_gone && !self.shutdown.has_begun()
    }

    /// The log has what the operator does, and no passwords.
    fn log_command(&self, line: &str) {
        let is_shown = self.console.as_ref().is_none_or(Console::shows_input);
        if is_shown && !line.trim().is_empty() {
            tracing::info!(target: logging::OPERATOR_TARGET, command = line.trim(), "operator");
        }
    }

    /// A signal asks for the end.
    fn asked_to_stop(&mut self, who: &str) {
        if self.shutdown.signalled() == Signalled::Begin {
            tracing::info!("asked to stop: {who}");
            // The message is for the source of the request.
            match &mut self.console {
                Some(console) if console.is_terminal() => console.answer(&mut self.reactor, STOPPING),
                _ => logging::write(STOPPING),
            }
            self.shut_down();
        }
    }

    /// Shows an answer to the operator.
    pub(super) fn answer(&mut self, text: &str) {
        match &mut self.console {
            Some(console) => console.answer(&mut self.reactor, text),
            None => console::print(text),
        }
    }

    /// Shows the operator what players do.
    pub(super) fn chatter(&mut self, text: &str) {
        match &mut self.console {
            Some(console) => console.chatter(&mut self.reactor, text),
            None => console::print(text),
        }
    }
}

/// The state of the console's output, for which an end waits.
pub(super) fn output_of(console: Option<&mut Console>, reactor: &mut Reactor) -> Output {
    match console {
        None => Output::Written,
        Some(console) => match console.is_flushed(reactor) {
            true => Output::Written,
            false => Output::Unread { by_script: !console.is_terminal() },
        },
    }
}
