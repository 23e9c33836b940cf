//! The two threads that can use standard input: one waits for a pipe, the other reads ahead.
//!
//! Either may be in a call that by itself ends only with more input. CancelSynchronousIo ends the call, or, if the
//! handle is overlapped, an event for which the thread waits together with its read. While the call lasts, other calls
//! on the same handle may block: so standard input has one [`Claim`] in a process, and a thread that could not be ended
//! keeps it.

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

/// The right to query standard input; there is one in a process.
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

/// How often the thread checks a pipe that does not let a read wait (PIPE_NOWAIT).
const NO_WAIT_PAUSE_MS: u32 = 10;

/// Waits for a pipe, and wakes the reactor when it has bytes or is at its end.
pub(super) struct Waiter {
    worker: Worker,
}

impl Waiter {
    /// The thread waits already when this returns.
    pub(super) fn start(stdin: HANDLE, claim: &Arc<Claim>, waker: Waker) -> io::Result<Waiter> {
        let worker = Worker::start("io_reactor stdin", stdin, claim, move |stdin, shared| {
            loop {
                let idle = |state: &mut State| !state.waiting && !state.stop;
                let state = shared.changed.wait_while(shared.lock(), idle);
                if state.unwrap_or_else(PoisonError::into_inner).stop {
                    return;
                }
                // A read of zero bytes waits and takes nothing from the caller [hc50]. The result does not matter, even
                // if it is an error: the reactor's thread checks the pipe itself.
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
    /// `pipe`: it is one of the system's own pipes.
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

/// A thread that uses standard input, ended when this is dropped.
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
    /// The chunks read; an empty chunk is the end.
    chunks: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn start(
        name: &str,
        stdin: HANDLE,
        claim: &Arc<Claim>,
        run: impl FnOnce(&StdinHandle, &Shared) + Send + 'static,
    ) -> io::Result<Worker> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let stop = Arc::new(event()?);
        let input = StdinHandle { handle: SendHandle(stdin), done: event()?, stop: Arc::clone(&stop) };
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
        // The thread may be about to start a read, so cancel again until it has ended.
        for _ in 0..100 {
            // SAFETY: the thread's handle is open while we hold it.
            unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
            let ended = self.ended.recv_timeout(Duration::from_millis(10));
            if ended == Err(mpsc::RecvTimeoutError::Disconnected) {
                let _ = thread.join();
                return;
            }
        }
        // The thread is left in a read that the system does not let us end. It touches only what it shares with us.
        tracing::warn!(target: "io_reactor", "the thread at standard input can not be stopped");
    }
}

/// Standard input, as the thread uses it.
struct StdinHandle {
    handle: SendHandle,
    /// Set when an overlapped read is done.
    done: OwnedHandle,
    stop: Arc<OwnedHandle>,
}

#[derive(Clone, Copy)]
struct SendHandle(HANDLE);

// SAFETY: a handle is a number, and the system takes it from any thread.
unsafe impl Send for SendHandle {}

impl StdinHandle {
    /// The next bytes; none at the end.
    fn read_chunk(&self, chunk: &mut Vec<u8>, pipe: bool) {
        loop {
            chunk.resize(CHUNK_BYTES, 0);
            let read = self.read(chunk, pipe);
            chunk.truncate(read.unwrap_or(0));
            if read == Err(ERROR_NO_DATA) && self.pause() {
                continue;
            }
            // A write of zero bytes into a pipe arrives as a read of zero bytes, and is not the pipe's end [hc17]. A
            // file cannot be peeked at, nor, under Wine, a Linux pipe.
            // SAFETY: with null pointers the call only checks whether the pipe still has a writer.
            let is_open = || unsafe {
                PeekNamedPipe(self.handle.0, null_mut(), 0, null_mut(), null_mut(), null_mut()) != 0
            };
            if read.is_err() || !chunk.is_empty() || !is_open() {
                return;
            }
        }
    }

    /// Pauses, for a pipe that does not let a read wait. False when it is time to stop.
    fn pause(&self) -> bool {
        // SAFETY: the event is open while we hold it.
        unsafe { WaitForSingleObject(self.stop.as_raw_handle(), NO_WAIT_PAUSE_MS) == WAIT_TIMEOUT }
    }

    /// Reads once. With `overlapped` the handle may be an overlapped one, and must not be that of a file, which would
    /// be read from its start each time.
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
        // SAFETY: there is room for `len` bytes. The buffer and `operation` stay where they are, as this function does
        // not return before the operation has completed.
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
            // The read was never started. A warning, such as for a message that continues, is not a failure: see below.
            return Err(error);
        }
        // SAFETY: `operation` was started on this handle. The call waits until it is over.
        let succeeded = unsafe { GetOverlappedResult(self.handle.0, &operation, &mut count, 1) };
        outcome(succeeded, count)
    }
}

/// The result of a read. A message longer than the buffer returns a warning, and the next read returns its rest.
fn outcome(succeeded: i32, count: u32) -> Result<usize, u32> {
    // SAFETY: reads a variable of this thread.
    match if succeeded == 0 { unsafe { GetLastError() } } else { 0 } {
        0 | ERROR_MORE_DATA => Ok(count as usize),
        error => Err(error),
    }
}

fn event() -> io::Result<OwnedHandle> {
    // Reset by hand only: once set, it stays set.
    // SAFETY: no pointers but null ones, which mean "no attributes" and "no name".
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made and is not used elsewhere.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}
