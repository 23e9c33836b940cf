//! The two threads that can use standard input: one waits for a pipe, the other reads ahead.
//!
//! Either may be in a call that by itself ends only with more input. [`ReaderThread`] cancels the call, or, if the handle
//! is overlapped, an event ends it, for which the thread waits together with its read. While the call lasts, other calls
//! on the same handle may block: so standard input has one [`Claim`] in a process, and a thread that could not be ended
//! keeps it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dolmen::Waker;
use dolmen::raw::{ByteSink, ReaderThread, read_to_sink};
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_IO_PENDING, ERROR_MORE_DATA, ERROR_NO_DATA, GetLastError,
    HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
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

/// How long an end waits for a thread.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for a pipe, and wakes the reactor when it has bytes or is at its end.
pub(super) struct Waiter {
    shared: Arc<Shared<bool>>,
    thread: ThreadAtStdin,
}

impl Waiter {
    /// The thread waits already when this returns.
    pub(super) fn start(stdin: HANDLE, claim: &Arc<Claim>, waker: Waker) -> io::Result<Waiter> {
        // Whether the thread has been asked to wait and has not finished.
        let shared = Arc::new(Shared::new(true));
        let theirs = Arc::clone(&shared);
        let thread = ThreadAtStdin::start(stdin, claim, move |stdin| {
            while theirs.wait_until(|waiting| *waiting) {
                // A read of zero bytes waits and takes nothing from the caller [hc50]. The result does not matter, even
                // if it is an error: the reactor's thread checks the pipe itself.
                while stdin.read_once(&mut [], true) == Err(ERROR_NO_DATA) && stdin.pause() {}
                let mut state = theirs.lock();
                state.data = false;
                if state.stop {
                    return;
                }
                drop(state);
                waker.wake();
            }
        })?;
        Ok(Waiter { shared, thread })
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.shared.lock().data
    }

    pub(super) fn wait_again(&self) {
        self.shared.lock().data = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.stop();
        self.thread.end();
    }
}

/// Reads ahead, and wakes the reactor for each chunk.
pub(super) struct Reader {
    chunks: Arc<Chunks>,
    thread: ThreadAtStdin,
}

struct Chunks {
    shared: Shared<Queue>,
    waker: Waker,
}

#[derive(Default)]
struct Queue {
    /// The chunks read; an empty chunk is the end.
    read: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Reader {
    /// `pipe`: it is one of the system's own pipes.
    pub(super) fn start(stdin: HANDLE, pipe: bool, claim: &Arc<Claim>, waker: Waker) -> io::Result<Reader> {
        let chunks = Arc::new(Chunks { shared: Shared::new(Queue::default()), waker });
        let theirs = Arc::clone(&chunks);
        let thread = ThreadAtStdin::start(stdin, claim, move |stdin| {
            read_to_sink(ChunkSource { stdin, pipe }, &mut [0; CHUNK_BYTES], &*theirs);
        })?;
        Ok(Reader { chunks, thread })
    }

    pub(super) fn has_chunk(&self) -> bool {
        !self.chunks.shared.lock().data.read.is_empty()
    }

    /// The next bytes; an empty chunk is the end.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunks.shared.lock().data.read.pop_front();
        self.chunks.shared.changed.notify_one();
        chunk
    }

    pub(super) fn reuse(&mut self, mut chunk: Vec<u8>) {
        chunk.clear();
        self.chunks.shared.lock().data.spare.push(chunk);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.chunks.shared.stop();
        self.thread.end();
    }
}

impl ByteSink for Chunks {
    fn wait_for_room(&self) -> bool {
        self.shared.wait_until(|queue| queue.read.len() < AHEAD)
    }

    fn is_closed(&self) -> bool {
        self.shared.lock().stop
    }

    fn put(&self, bytes: &[u8]) {
        let mut state = self.shared.lock();
        if state.stop {
            return;
        }
        let mut chunk = state.data.spare.pop().unwrap_or_default();
        chunk.extend_from_slice(bytes);
        state.data.read.push_back(chunk);
        drop(state);
        self.waker.wake();
    }

    fn end(&self) {
        self.put(&[]);
    }
}

/// What the reactor's thread and the one at standard input share.
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    stop: bool,
    data: T,
}

impl<T> Shared<T> {
    fn new(data: T) -> Shared<T> {
        Shared { state: Mutex::new(State { stop: false, data }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the data to be so. False: it is time to stop.
    fn wait_until(&self, condition: impl Fn(&T) -> bool) -> bool {
        let other = |state: &mut State<T>| !condition(&state.data) && !state.stop;
        let state = self.changed.wait_while(self.lock(), other);
        !state.unwrap_or_else(PoisonError::into_inner).stop
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
    }
}

/// A thread that uses standard input.
struct ThreadAtStdin {
    thread: ReaderThread,
    /// Ends a read of an overlapped handle.
    stop: Arc<OwnedHandle>,
}

impl ThreadAtStdin {
    fn start(
        stdin: HANDLE,
        claim: &Arc<Claim>,
        run: impl FnOnce(&StdinHandle) + Send + 'static,
    ) -> io::Result<ThreadAtStdin> {
        let stop = Arc::new(event()?);
        let stdin = StdinHandle { handle: SendHandle(stdin), done: event()?, stop: Arc::clone(&stop) };
        let claim = Arc::clone(claim);
        let thread = ReaderThread::start("io_reactor stdin", move || {
            let _claim = claim;
            run(&stdin);
        })?;
        Ok(ThreadAtStdin { thread, stop })
    }

    /// Ends it, after it was told to stop.
    fn end(&mut self) {
        // SAFETY: the event is open while we hold it.
        unsafe { SetEvent(self.stop.as_raw_handle()) };
        if !self.thread.end(END_TIMEOUT) {
            // The thread is left in a read that the system does not let us end. It touches only what it shares with us.
            tracing::warn!(target: "io_reactor", "the thread at standard input can not be stopped");
        }
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
    /// Whether it is a pipe that still has a writer. A file cannot be peeked at, nor, under Wine, a Linux pipe.
    fn has_writer(&self) -> bool {
        // SAFETY: with null pointers the call only checks the pipe.
        unsafe { PeekNamedPipe(self.handle.0, null_mut(), 0, null_mut(), null_mut(), null_mut()) != 0 }
    }

    /// Pauses, for a pipe that does not let a read wait. False when it is time to stop.
    fn pause(&self) -> bool {
        // SAFETY: the event is open while we hold it.
        unsafe { WaitForSingleObject(self.stop.as_raw_handle(), NO_WAIT_PAUSE_MS) == WAIT_TIMEOUT }
    }

    /// Reads once. With `overlapped` the handle may be an overlapped one, and must not be that of a file, which would
    /// be read from its start each time.
    fn read_once(&self, buffer: &mut [u8], overlapped: bool) -> Result<usize, u32> {
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

/// Standard input as a stream of bytes.
struct ChunkSource<'a> {
    stdin: &'a StdinHandle,
    /// It is one of the system's own pipes.
    pipe: bool,
}

impl Read for ChunkSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stdin.read_once(buffer, self.pipe) {
                // A write of zero bytes into a pipe arrives as a read of zero bytes, and is not the pipe's end [hc17].
                Ok(0) if self.stdin.has_writer() => {}
                Ok(count) => return Ok(count),
                Err(ERROR_NO_DATA) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(ERROR_BROKEN_PIPE | ERROR_HANDLE_EOF) => return Ok(0),
                Err(error) => return Err(io::Error::from_raw_os_error(error as i32)),
            }
        }
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
