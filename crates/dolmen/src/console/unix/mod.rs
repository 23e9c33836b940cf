//! Standard input on Unix: terminals and pipes by readiness, files by a thread.
//!
//! Standard input's open file is shared with the shell, so its flags are not touched. The driver opens it once more,
//! without blocking, by its name under `/proc`; where that is refused (another user's terminal, a socket) each read
//! first asks with poll(2).

mod history_file;
mod modes;
mod plain;
mod reader;
mod restore;
mod signals;
mod stop;
mod terminal;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::output::Output;
use super::redirected::Redirected;
use super::worker::Worker;
use super::{ConsoleKind, ConsoleMode, Driver, Inbox};
use crate::error::{Error, ErrorKind};
use modes::Display;
use reader::{Readable, reopen};
pub use signals::ignore as ignore_signals;
pub(crate) use signals::signals;
pub use stop::prevent as prevent_stop;
use terminal::Terminal;

/// Opens standard input.
pub(crate) fn open(inbox: &Arc<Inbox>, mode: ConsoleMode) -> Result<Box<dyn Driver<OwnedFd>>, Error> {
    const ACTION: &str = "read the console";
    let failed = |error: io::Error| Error::from_io(ErrorKind::Os, ACTION, error);
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let direct = direct_output();
    let screen = direct.as_ref().and_then(|direct| direct.try_clone().ok()).map(OwnedFd::from);
    let output = Output::start(inbox, io::stdout(), direct).map_err(failed)?;
    if stdin.is_terminal() {
        let display = Display::new(io::stdout().is_terminal(), std::env::var_os("TERM").as_deref());
        let terminal = Terminal::open(stdin, inbox, mode, output, display, screen).map_err(failed)?;
        return Ok(Box::new(terminal));
    }
    let file = File::from(stdin);
    let kind = file.metadata().map_err(failed)?.file_type();
    // Anything but a pipe or a socket is always ready, and a read of it may block all the same: a thread reads it [hc31].
    if kind.is_fifo() || kind.is_socket() {
        let input = Readable::open(file.into(), mode, inbox);
        return Ok(Box::new(Redirected::new(ConsoleKind::Pipe, input, inbox, output)));
    }
    let kind = if kind.is_file() { ConsoleKind::File } else { ConsoleKind::Nothing };
    let input = Worker::start(file, mode, inbox).map_err(failed)?;
    Ok(Box::new(Redirected::new(kind, input, inbox, output)))
}

/// Standard output opened once more, without blocking, if it is a terminal. A pipe would also do, but no line is
/// typed on it for which the order of the output matters.
fn direct_output() -> Option<File> {
    io::stdout().is_terminal().then(|| reopen(OpenOptions::new().write(true), 1)).flatten()
}

/// Waits until a stream that was full may have room, for at most this time.
pub(crate) fn wait_for_room(stream: &impl AsFd, most: Duration) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    // The next write reports an error, and then the pause between two attempts prevents a spin.
    rustix::event::Timespec::try_from(most)
        .is_ok_and(|most| rustix::event::poll(&mut fds, Some(&most)).is_ok())
}
