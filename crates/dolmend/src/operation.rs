//! What a world may ask of the server itself, in most cases for the operator.

use std::time::Duration;

use crate::config::LogLevel;

/// A request to the server: an [`Action::Operate`](crate::world::Action::Operate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Lock the console, or unlock it: while it is locked, neither Ctrl-C nor Ctrl-Z works there.
    Lock(bool),
    /// Read the configuration again, and bring it into force.
    Reload,
    /// Log lines of this level and more important ones, until the next reload.
    LogLevel(LogLevel),
    /// Shut down after this time, which is announced to the players.
    ShutdownIn(Duration),
    /// Do not shut down after all.
    CancelShutdown,
}
