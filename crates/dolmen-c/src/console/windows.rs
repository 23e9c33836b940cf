//! Windows: a console is watched, and reported while it has key presses. Each wait peeks at a pipe until it finds the
//! pipe empty; then a thread waits for it. Each wait checks a file.
//!
//! Only a read waits for a pipe, and a read of zero bytes consumes nothing: it returns when there are bytes, or at the
//! end. A thread makes this read, and is started when a wait first finds the pipe empty. While the read pends, other
//! calls on the same handle may wait as well: Windows serialises the use of a handle that is not overlapped.
//!
//! Input that is delivered in events is read ahead by a thread, whatever its kind.
//!
//! Microsoft Learn: "ReadFile", "PeekNamedPipe", "CancelSynchronousIo", "Synchronous and Asynchronous I/O".

mod keys;
mod worker;

use std::os::windows::io::BorrowedHandle;
use std::ptr::null_mut;
use std::sync::Arc;

use dolmen::raw::Readiness;
use dolmen::{Reactor, Waker, WatchId};
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED, GetLastError, HANDLE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_CURRENT, FILE_TYPE_CHAR, FILE_TYPE_DISK, FILE_TYPE_PIPE, FILE_TYPE_UNKNOWN, GetFileSizeEx,
    GetFileType, SetFilePointerEx,
};
use windows_sys::Win32::System::Console::{GetConsoleMode, GetStdHandle, STD_INPUT_HANDLE};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use super::{Read, State};
use crate::boundary::Failure;
use crate::platform::Native;
use crate::reactor::CONSOLE;
use crate::types::*;
use keys::has_key;
use worker::{Claim, Reader, Waiter};

pub(crate) struct Stdin {
    handle: HANDLE,
    kind: console_type_t,
    waker: Waker,
    input: Input,
    /// `None` for a console, which may be queried at any time. Dropped after the input.
    claim: Option<Arc<Claim>>,
}

enum Input {
    Console {
        watch: WatchId,
    },
    /// Read ahead, to be delivered in events.
    Buffered(Reader),
    /// `None`: it has never been found empty.
    Pipe(Option<Waiter>),
    /// A pipe that cannot be peeked at, such as a Linux pipe under Wine: nothing reports whether it has bytes.
    Opaque,
    File,
    /// NUL, or another device that is not a console.
    Device,
}

impl Stdin {
    pub(crate) fn open(reactor: &mut Reactor, buffered: bool) -> Result<Stdin, Failure> {
        let handle = standard_input()?;
        let waker = reactor.waker();
        if is_console(handle) {
            // SAFETY: the process's own standard input, used here only to be duplicated.
            let watch = reactor.watch(unsafe { BorrowedHandle::borrow_raw(handle) }, CONSOLE)?;
            let kind = console_type_t::CONSOLE_TYPE_REAL;
            return Ok(Stdin { handle, kind, waker, input: Input::Console { watch }, claim: None });
        }
        // From here on a query may have to wait for another thread's read.
        let claim = Claim::take().ok_or_else(|| {
            Failure::new("standard input is registered with another reactor: call io_reactor_remove_console() there first")
        })?;
        // SAFETY: only asks.
        let (kind, input) = match unsafe { GetFileType(handle) } {
            FILE_TYPE_UNKNOWN => return Err(unreadable()),
            FILE_TYPE_PIPE if peek(handle).is_some() => {
                (console_type_t::CONSOLE_TYPE_PIPE, Input::Pipe(None))
            }
            FILE_TYPE_PIPE => (console_type_t::CONSOLE_TYPE_PIPE, Input::Opaque),
            FILE_TYPE_CHAR => (console_type_t::CONSOLE_TYPE_FILE, Input::Device),
            _ => (console_type_t::CONSOLE_TYPE_FILE, Input::File),
        };
        let input = if buffered {
            let pipe = matches!(input, Input::Pipe(_));
            Input::Buffered(Reader::start(handle, pipe, &claim, reactor.waker())?)
        } else {
            input
        };
        Ok(Stdin { handle, kind, waker, input, claim: Some(claim) })
    }
}

impl Stdin {
    /// The kind for a caller that reads it by itself, without opening anything. The reference's driver starts a thread
    /// that reads standard input of any kind but none, and takes its end for the operator's: NUL must be none. A pipe is
    /// not peeked at, which might have to wait for another thread's read.
    pub(crate) fn find_kind() -> console_type_t {
        let Ok(handle) = standard_input() else { return console_type_t::CONSOLE_TYPE_NONE };
        if is_console(handle) {
            return console_type_t::CONSOLE_TYPE_REAL;
        }
        // SAFETY: only asks.
        match unsafe { GetFileType(handle) } {
            FILE_TYPE_DISK => console_type_t::CONSOLE_TYPE_FILE,
            FILE_TYPE_PIPE => console_type_t::CONSOLE_TYPE_PIPE,
            _ => console_type_t::CONSOLE_TYPE_NONE,
        }
    }
}

fn standard_input() -> Result<HANDLE, Failure> {
    // SAFETY: only asks.
    let handle = unsafe { GetStdHandle(STD_INPUT_HANDLE) };
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(Failure::new("there is no standard input"));
    }
    Ok(handle)
}

fn is_console(handle: HANDLE) -> bool {
    let mut mode = 0;
    // SAFETY: `mode` is writable; the call refuses a handle that is not a console.
    unsafe { GetConsoleMode(handle, &mut mode) != 0 }
}

fn unreadable() -> Failure {
    Failure::new("standard input can not be read")
}

impl super::Stdin<Native> for Stdin {
    fn kind(&self) -> console_type_t {
        self.kind
    }

    fn is_due(&self) -> bool {
        match &self.input {
            Input::Console { .. } => false,
            Input::Buffered(reader) => reader.has_chunk(),
            Input::Pipe(waiter) => waiter.as_ref().is_none_or(|waiter| !waiter.is_waiting()),
            Input::Opaque | Input::File | Input::Device => true,
        }
    }

    fn check(&mut self, _reported: Option<Readiness>) -> State {
        match &self.input {
            Input::Console { .. } if has_key(self.handle) => State::Input,
            Input::Console { .. } => State::Nothing,
            Input::Buffered(_) => unreachable!("the library reads it"),
            // At registration the pipe could be peeked at: if it no longer can, it is closed.
            Input::Pipe(_) => peek(self.handle).unwrap_or(State::End),
            Input::Opaque => State::Input,
            Input::File if is_at_end(self.handle) => State::End,
            Input::File => State::Input,
            Input::Device => State::End,
        }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Read {
        let Input::Buffered(reader) = &mut self.input else { unreachable!("the caller reads it") };
        match reader.take() {
            None => Read::Nothing,
            Some(chunk) if chunk.is_empty() => Read::End,
            Some(chunk) => {
                buffer.extend_from_slice(&chunk);
                reader.reuse(chunk);
                Read::Bytes
            }
        }
    }

    fn arm(&mut self, _reactor: &mut Reactor) -> Result<(), Failure> {
        match &mut self.input {
            Input::Pipe(Some(waiter)) => waiter.wait_again(),
            Input::Pipe(none) => {
                let claim = self.claim.as_ref().expect("a pipe is claimed");
                *none = Some(Waiter::start(self.handle, claim, self.waker.clone())?);
            }
            // The engine arms a console's watch again, and a reader goes on by itself.
            _ => {}
        }
        Ok(())
    }

    fn stop(&mut self, reactor: &mut Reactor) {
        if let Input::Console { watch } = self.input {
            reactor.remove_watch(watch);
        }
    }

    fn close(mut self, reactor: &mut Reactor) {
        super::Stdin::stop(&mut self, reactor);
    }
}

/// The state of a pipe. `None`: it cannot be peeked at.
fn peek(handle: HANDLE) -> Option<State> {
    let mut available = 0;
    // SAFETY: the call returns only the number of bytes, and `available` is writable.
    let peeked = unsafe { PeekNamedPipe(handle, null_mut(), 0, null_mut(), &mut available, null_mut()) };
    if peeked != 0 {
        return Some(if available > 0 { State::Input } else { State::Nothing });
    }
    // SAFETY: reads a variable of this thread.
    match unsafe { GetLastError() } {
        ERROR_BROKEN_PIPE | ERROR_PIPE_NOT_CONNECTED => Some(State::End),
        _ => None,
    }
}

/// Whether a file has been read to its end.
fn is_at_end(handle: HANDLE) -> bool {
    let (mut place, mut size) = (0, 0);
    // SAFETY: both are writable, and nothing is moved.
    let asked = unsafe {
        SetFilePointerEx(handle, 0, &mut place, FILE_CURRENT) != 0 && GetFileSizeEx(handle, &mut size) != 0
    };
    // A file that cannot be queried counts as at its end: its reads fail.
    !asked || place >= size
}
