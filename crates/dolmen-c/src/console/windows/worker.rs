//! The two threads that can be at standard input: one waits for a pipe, the other reads ahead.
//!
//! Either may be in a call that only more input ends. It is ended by CancelSynchronousIo, or, if the handle is an
//! overlapped one, by an event that the thread waits for beside its read. While it lasts, calls about the same handle may
//! block: so standard input has one [`Claim`] in a process, which a thread that could not be ended keeps.

use std::collections::VecDeque;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use dolmen::Waker;
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, ERROR_MORE_DATA, ERROR_NO_DATA, GetLastError, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{CancelIoEx, CancelSynchronousIo, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects, WaitForSingleObject,
};

use crate::sink::CHUNK_BYTES;

/// How many chunks are read ahead of the caller.
const AHEAD: usize = 4;

/// The right to ask about standard input, of which there is one.
pub(super) struct Claim(());

static CLAIMED: AtomicBool = AtomicBool::new(false);

impl Claim {
    /// `None`: another reactor has it.
    pub(super) fn take() -> Option<Arc<Claim>> {
        (!CLAIMED.swap(true, Ordering::Acquire)).then(|| Arc::new(Claim(())))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Ordering::Release);
    }
}

/// How often a pipe is looked at that does not let a read wait (PIPE_NOWAIT).
const NO_WAIT_PAUSE_MS: u32 = 10;

/// Waits for a pipe, and wakes the reactor when there are bytes in it or its end has come.
pub(super) struct Waiter {
    worker: Worker,
}

impl Waiter {
    /// Waits already when this returns.
    pub(super) fn start(stdin: HANDLE, claim: &Arc<Claim>, waker: Waker) -> io::Result<Waiter> {
        let worker = Worker::start("io_reactor stdin", stdin, claim, move |stdin, shared| {
            loop {
                let idle = |state: &mut State| !state.waiting && !state.stop;
                let state = shared.changed.wait_while(shared.lock(), idle);
                if state.unwrap_or_else(PoisonError::into_inner).stop {
                    return;
                }
                // Whatever it says, be it an error: the reactor's thread looks for itself.
                while stdin.read(&mut [], true) == Err(ERROR_NO_DATA) && stdin.pause() {}
                let mut state = shared.lock();
                state.waiting = false;
                if state.stop {
                    return;
                }
                drop(state);
                waker.wake();
            }
        })?;
        let waiter = Waiter { worker };
        waiter.wait_again();
        Ok(waiter)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.worker.shared.lock().waiting
    }

    pub(super) fn wait_again(&self) {
        self.worker.shared.lock().waiting = true;
        self.worker.shared.changed.notify_one();
    }
}

/// Reads ahead, and wakes the reactor for each chunk.
pub(super) struct Reader {
    worker: Worker,
}

impl Reader {
    /// `pipe`: it is one of the system's own.
    pub(super) fn start(stdin: HANDLE, pipe: bool, claim: &Arc<Claim>, waker: Waker) -> io::Result<Reader> {
        let worker = Worker::start("io_reactor stdin", stdin, claim, move |stdin, shared| {
            loop {
                let full = |state: &mut State| state.chunks.len() >= AHEAD && !state.stop;
                let state = shared.changed.wait_while(shared.lock(), full);
                let mut state = state.unwrap_or_else(PoisonError::into_inner);
                if state.stop {
                    return;
                }
                let mut chunk = state.spare.pop().unwrap_or_default();
                drop(state);
                stdin.read_chunk(&mut chunk, pipe);
                let end = chunk.is_empty();
                let mut state = shared.lock();
                if state.stop {
                    return;
                }
                state.chunks.push_back(chunk);
                drop(state);
                waker.wake();
                if end {
                    return;
                }
            }
        })?;
        Ok(Reader { worker })
    }

    pub(super) fn has_chunk(&self) -> bool {
        !self.worker.shared.lock().chunks.is_empty()
    }

    /// The next bytes; an empty chunk is the end.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let chunk = self.worker.shared.lock().chunks.pop_front();
        self.worker.shared.changed.notify_one();
        chunk
    }

    pub(super) fn reuse(&mut self, chunk: Vec<u8>) {
        self.worker.shared.lock().spare.push(chunk);
    }
}

/// A thread at standard input, which is ended when this is dropped.
struct Worker {
    shared: Arc<Shared>,
    stop: Arc<OwnedHandle>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends.
    ended: mpsc::Receiver<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// The waiter has been asked to wait and has not finished.
    waiting: bool,
    /// What the reader has read; an empty chunk is the end.
    chunks: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn start(
        name: &str,
        stdin: HANDLE,
        claim: &Arc<Claim>,
        run: impl FnOnce(&Input, &Shared) + Send + 'static,
    ) -> io::Result<Worker> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let stop = Arc::new(event()?);
        let input = Input { handle: SendHandle(stdin), done: event()?, stop: Arc::clone(&stop) };
        let (theirs, claim) = (Arc::clone(&shared), Arc::clone(claim));
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let (_end, _claim) = (end, claim);
            run(&input, &theirs);
        })?;
        Ok(Worker { shared, stop, thread: Some(thread), ended })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        // SAFETY: the event is open while we hold it.
        unsafe { SetEvent(self.stop.as_raw_handle()) };
        let Some(thread) = self.thread.take() else { return };
        // The thread may be about to read: so again, until it has noticed.
        for _ in 0..100 {
            // SAFETY: the thread's handle is open while we hold it.
            unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
            let ended = self.ended.recv_timeout(Duration::from_millis(10));
            if ended == Err(mpsc::RecvTimeoutError::Disconnected) {
                let _ = thread.join();
                return;
            }
        }
        // Left behind, in a read that the system does not let us end. It touches nothing but what it shares with us.
        tracing::warn!(target: "io_reactor", "the thread at standard input can not be stopped");
    }
}

/// Standard input, as the thread uses it.
struct Input {
    handle: SendHandle,
    /// Set when an overlapped read is done.
    done: OwnedHandle,
    stop: Arc<OwnedHandle>,
}

#[derive(Clone, Copy)]
struct SendHandle(HANDLE);

// SAFETY: a handle is a number, and the system takes it from any thread.
unsafe impl Send for SendHandle {}

impl Input {
    /// The next bytes; none at the end.
    fn read_chunk(&self, chunk: &mut Vec<u8>, pipe: bool) {
        loop {
            chunk.resize(CHUNK_BYTES, 0);
            let read = self.read(chunk, pipe);
            chunk.truncate(read.unwrap_or(0));
            if read == Err(ERROR_NO_DATA) && self.pause() {
                continue;
            }
            // A write of zero bytes into a pipe reads as one, and is not its end. Of a file there is nothing to peek at,
            // nor, under Wine, of a pipe of Linux's.
            // SAFETY: null pointers ask for nothing but whether the pipe has a writer still.
            let is_open = || unsafe {
                PeekNamedPipe(self.handle.0, null_mut(), 0, null_mut(), null_mut(), null_mut()) != 0
            };
            if read.is_err() || !chunk.is_empty() || !is_open() {
                return;
            }
        }
    }

    /// A while, for a pipe that does not let a read wait. False when it is time to stop.
    fn pause(&self) -> bool {
        // SAFETY: the event is open while we hold it.
        unsafe { WaitForSingleObject(self.stop.as_raw_handle(), NO_WAIT_PAUSE_MS) == WAIT_TIMEOUT }
    }

    /// Reads once; or says why not. With `overlapped` the handle may be an overlapped one, and must not be a file's, which
    /// would be read from its start each time.
    fn read(&self, buffer: &mut [u8], overlapped: bool) -> Result<usize, u32> {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let mut count = 0;
        if !overlapped {
            // SAFETY: there is room for `len` bytes; without an OVERLAPPED the call is over when it returns.
            let read = unsafe { ReadFile(self.handle.0, buffer.as_mut_ptr(), len, &mut count, null_mut()) };
            return outcome(read, count);
        }
        // The lowest bit keeps the completion away from a port that the handle's owner may have associated it with.
        let done = self.done.as_raw_handle().map_addr(|handle| handle | 1);
        let mut operation = OVERLAPPED { hEvent: done, ..OVERLAPPED::default() };
        // SAFETY: there is room for `len` bytes. The buffer and `operation` stay where they are, as this function does not
        // return before the operation is over.
        let read = unsafe { ReadFile(self.handle.0, buffer.as_mut_ptr(), len, null_mut(), &mut operation) };
        // SAFETY: reads a variable of this thread.
        let error = if read == 0 { unsafe { GetLastError() } } else { 0 };
        if error == ERROR_IO_PENDING {
            let handles = [self.done.as_raw_handle(), self.stop.as_raw_handle()];
            // SAFETY: both handles are open while we hold them.
            if unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) } != WAIT_OBJECT_0 {
                // SAFETY: `operation` is pending on the handle, or over, which the call says.
                unsafe { CancelIoEx(self.handle.0, &operation) };
            }
        } else if error != 0 && error != ERROR_MORE_DATA {
            // It was never begun. A warning, such as that of a message with more to it, is no failure: see below.
            return Err(error);
        }
        // SAFETY: `operation` was started on this handle. The call waits until it is over.
        let succeeded = unsafe { GetOverlappedResult(self.handle.0, &operation, &mut count, 1) };
        outcome(succeeded, count)
    }
}

/// What a read has brought. A message that is longer than the buffer comes with a warning, and its rest with the next read.
fn outcome(succeeded: i32, count: u32) -> Result<usize, u32> {
    // SAFETY: reads a variable of this thread.
    match if succeeded == 0 { unsafe { GetLastError() } } else { 0 } {
        0 | ERROR_MORE_DATA => Ok(count as usize),
        error => Err(error),
    }
}

fn event() -> io::Result<OwnedHandle> {
    // Set by hand: what has been noticed once stays so.
    // SAFETY: no pointers but null ones, which mean "no attributes" and "no name".
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made and is not used elsewhere.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}
