//! Standard input on Windows.
//!
//! * A console in raw mode is a handle that the engine watches; a wake reads *all* its records, in [`raw`].
//! * A console in line mode is read by a thread in `ReadConsoleW`, with the system's own editing, in
//!   [`line_reader`](super::line_reader).
//! * Pipes and files are read by a thread; a read in progress at the end is cancelled.
//!
//! The code pages are never touched: all text passes through the wide-character functions. [`restore`] restores the
//! console's mode at the end, in whichever way the process ends.
//!
//! Microsoft Learn: "Consoles", "GetFileType".

mod host;
mod raw;
mod restore;
mod signals;
mod sys;
mod terminal;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_NO_DATA;
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_DISK, FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use super::output::Output;
use super::redirected::{Redirected, RedirectedInput};
use super::worker::Worker;
use super::{ConsoleKind, ConsoleMode, Driver, Inbox, Input};
use crate::error::{Error, ErrorKind};
pub(crate) use signals::signals;
use terminal::Terminal;

/// Opens standard input.
pub(crate) fn open(inbox: &Arc<Inbox>, mode: ConsoleMode) -> Result<Box<dyn Driver<OwnedHandle>>, Error> {
    let failed = |error: io::Error| Error::from_io(ErrorKind::Os, "read the console", error);
    let output = Output::start(inbox, io::stdout(), None).map_err(failed)?;
    // A program without a standard input, such as a desktop program, has an invalid handle there.
    let Ok(stdin) = io::stdin().as_handle().try_clone_to_owned() else {
        inbox.push(Input::End);
        return Ok(Box::new(Redirected::new(ConsoleKind::Nothing, NoInput, inbox, output)));
    };
    if io::stdin().is_terminal() && sys::mode(&stdin).is_ok() {
        let terminal = Terminal::open(stdin, inbox, mode, output).map_err(failed)?;
        return Ok(Box::new(terminal));
    }
    // SAFETY: the handle is open.
    let kind = match unsafe { GetFileType(stdin.as_raw_handle()) } {
        FILE_TYPE_PIPE => ConsoleKind::Pipe,
        FILE_TYPE_DISK => ConsoleKind::File,
        _ => ConsoleKind::Nothing,
    };
    // Its handle always looks signalled, and a read may block: a thread reads it [hc31].
    let file = PipeOrFile { file: File::from(stdin), is_pipe: kind == ConsoleKind::Pipe };
    let input = Worker::start(file, mode, inbox).map_err(failed)?;
    Ok(Box::new(Redirected::new(kind, input, inbox, output)))
}

/// The system does not report when a pipe in the mode PIPE_NOWAIT has room again.
pub(crate) fn wait_for_room<S>(_stream: &S, _most: Duration) -> bool {
    false
}

/// A pipe or a file, whose reads may block.
struct PipeOrFile {
    file: File,
    is_pipe: bool,
}

impl Read for PipeOrFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read(buffer);
            match &read {
                // A write of zero bytes is not the end [hc17].
                Ok(0) if self.is_pipe && self.is_open() => {}
                // Nor is an empty pipe in the mode PIPE_NOWAIT [hc51].
                Err(error) if error.raw_os_error() == Some(ERROR_NO_DATA as i32) && self.is_open() => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                _ => return read,
            }
        }
    }
}

impl PipeOrFile {
    /// Whether a pipe still has a writer. Wine cannot tell for a Linux pipe, and then the end is taken as the end.
    fn is_open(&self) -> bool {
        // SAFETY: the handle is open; null pointers request no particular value.
        unsafe {
            PeekNamedPipe(self.file.as_raw_handle(), null_mut(), 0, null_mut(), null_mut(), null_mut()) != 0
        }
    }
}

/// No standard input: its end comes immediately.
struct NoInput;

impl<H> RedirectedInput<H> for NoInput {
    fn set_mode(&mut self, _mode: ConsoleMode, _inbox: &Inbox) {}

    fn end(&mut self, _inbox: &Inbox) {}
}
