//! Standard input on Windows.
//!
//! * A console in raw mode is a handle that the engine watches; a wake reads *all* its records, in [`raw`].
//! * A console in line mode is read by a thread in `ReadConsoleW`, with the system's own editing, in [`line`].
//! * Pipes and files are read by a thread; a read in progress at the end is cancelled with `CancelSynchronousIo`.
//!
//! The code pages are never touched: all text passes through the wide-character functions. [`restore`] restores the
//! console's mode at the end, in whichever way the process ends.
//!
//! Microsoft Learn: "Consoles", "GetFileType", "CancelSynchronousIo".

mod line;
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
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::ERROR_NO_DATA;
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_DISK, FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::IO::CancelSynchronousIo;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use super::output::Output;
use super::worker::Worker;
use super::{ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice};
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
        return Ok(Box::new(Redirected {
            kind: ConsoleKind::Nothing,
            worker: None,
            inbox: Arc::clone(inbox),
            output,
        }));
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
    let source = Source { file: File::from(stdin), is_pipe: kind == ConsoleKind::Pipe };
    let worker = Some(Worker::start(source, mode, inbox).map_err(failed)?);
    Ok(Box::new(Redirected { kind, worker, inbox: Arc::clone(inbox), output }))
}

/// The system does not report when a pipe in the mode PIPE_NOWAIT has room again.
pub(crate) fn wait_for_room<S>(_stream: &S, _most: Duration) -> bool {
    false
}

/// A pipe or a file.
struct Source {
    file: File,
    is_pipe: bool,
}

impl Read for Source {
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

impl Source {
    /// Whether a pipe still has a writer. Wine cannot tell for a Linux pipe, and then the end is taken as the end.
    fn is_open(&self) -> bool {
        // SAFETY: the handle is open; null pointers request no particular value.
        unsafe {
            PeekNamedPipe(self.file.as_raw_handle(), null_mut(), 0, null_mut(), null_mut(), null_mut()) != 0
        }
    }
}

/// Standard input that is not a console.
struct Redirected {
    kind: ConsoleKind,
    worker: Option<Worker>,
    inbox: Arc<Inbox>,
    output: Output,
}

impl Driver<OwnedHandle> for Redirected {
    fn kind(&self) -> ConsoleKind {
        self.kind
    }

    fn watching(&self) -> bool {
        false
    }

    fn handle(&self) -> io::Result<OwnedHandle> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn ready(&mut self) {}

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()> {
        if let Some(worker) = &self.worker {
            worker.set_mode(mode);
        }
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

impl Drop for Redirected {
    fn drop(&mut self) {
        /// A thread that cannot be cancelled is left behind; it ends with the process.
        const END_TIMEOUT: Duration = Duration::from_secs(1);
        let Some(worker) = &mut self.worker else { return };
        self.inbox.close();
        let started = Instant::now();
        // Cancelling reaches a read in progress, and not one that is about to begin: hence more than once [hc32].
        while !worker.ended_within(Duration::from_millis(1)) {
            if started.elapsed() > END_TIMEOUT {
                return;
            }
            if let Some(thread) = worker.thread() {
                // SAFETY: the thread's handle is open while `worker` holds it.
                unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
            }
        }
        worker.leave_leftover();
    }
}
