//! Windows: a console is watched, and told of while it has key presses; a pipe or a file is read by a thread.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr::null_mut;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use dolmen::{Event, Reactor, Waker, WatchId};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, FILE_TYPE_UNKNOWN, GetFileType, ReadFile};
use windows_sys::Win32::System::Console::{
    GetConsoleMode, GetStdHandle, INPUT_RECORD, KEY_EVENT, PeekConsoleInputW, ReadConsoleInputW,
    STD_INPUT_HANDLE,
};
use windows_sys::Win32::System::IO::CancelSynchronousIo;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use super::CHUNK_BYTES;
use crate::boundary::Failure;
use crate::reactor::{CONSOLE, Sink};
use crate::types::*;

pub(crate) struct Console {
    pub(crate) context: *mut c_void,
    kind: console_type_t,
    source: Source,
    /// What the last event points to.
    chunk: Vec<u8>,
}

enum Source {
    Keys { stdin: HANDLE, watch: WatchId },
    Bytes(Reader),
}

impl Console {
    pub(crate) fn open(reactor: &mut Reactor, context: *mut c_void) -> Result<Console, Failure> {
        // SAFETY: only asks.
        let stdin = unsafe { GetStdHandle(STD_INPUT_HANDLE) };
        if stdin.is_null() || stdin == INVALID_HANDLE_VALUE {
            return Err(Failure::new("there is no standard input"));
        }
        let mut mode = 0;
        // SAFETY: `mode` is writable; what is no console is refused by the call.
        let (kind, source) = if unsafe { GetConsoleMode(stdin, &mut mode) } != 0 {
            // SAFETY: the process's own standard input, used here only to be duplicated.
            let watch = reactor.watch(unsafe { BorrowedHandle::borrow_raw(stdin) }, CONSOLE)?;
            (console_type_t::CONSOLE_TYPE_REAL, Source::Keys { stdin, watch })
        } else {
            // SAFETY: only asks.
            let kind = match unsafe { GetFileType(stdin) } {
                FILE_TYPE_UNKNOWN => return Err(Failure::new("standard input can not be read")),
                FILE_TYPE_PIPE => console_type_t::CONSOLE_TYPE_PIPE,
                _ => console_type_t::CONSOLE_TYPE_FILE,
            };
            (kind, Source::Bytes(Reader::start(stdin, reactor.waker())?))
        };
        Ok(Console { context, kind, source, chunk: Vec::new() })
    }

    pub(crate) fn kind(&self) -> console_type_t {
        self.kind
    }

    /// Whether there is something to deliver without asking the system.
    pub(crate) fn has_input(&self) -> bool {
        match &self.source {
            Source::Keys { .. } => false,
            Source::Bytes(reader) => !reader.queue.lock().chunks.is_empty(),
        }
    }

    pub(crate) fn deliver(&mut self, sink: &mut Sink<'_>) {
        let Source::Bytes(reader) = &mut self.source else { return };
        let Some(mut chunk) = reader.queue.take() else { return };
        if chunk.is_empty() {
            return sink.push(io_event_t::plain(self.context, EVENT_CLOSE));
        }
        let bytes_transferred = chunk.len() as c_int;
        chunk.push(0);
        self.chunk = chunk;
        let buffer = self.chunk.as_mut_ptr().cast();
        sink.push(io_event_t { context: self.context, event_type: EVENT_READ, bytes_transferred, buffer });
    }

    /// Lets go of it.
    pub(crate) fn close(self, reactor: &mut Reactor) {
        if let Source::Keys { watch, .. } = self.source {
            reactor.unwatch(watch);
        }
    }

    /// The reactor has told of it.
    pub(crate) fn ready(&mut self, _reactor: &mut Reactor, _event: &Event<'_>, sink: &mut Sink<'_>) {
        if let Source::Keys { stdin, .. } = &self.source {
            if has_key(*stdin) {
                sink.push(io_event_t::plain(self.context, EVENT_READ));
            }
        }
    }
}

/// Whether the console has a key press. What stands before the first one is taken out: it would keep the handle
/// signalled, and nobody reads it (hard case 26).
fn has_key(stdin: HANDLE) -> bool {
    // SAFETY: all-zero bytes are a valid record.
    let mut records: [INPUT_RECORD; 64] = unsafe { std::mem::zeroed() };
    loop {
        let mut count = 0;
        // SAFETY: there is room for the number of records given.
        let peeked =
            unsafe { PeekConsoleInputW(stdin, records.as_mut_ptr(), records.len() as u32, &mut count) };
        if peeked == 0 || count == 0 {
            return false;
        }
        let others = records[..count as usize].iter().take_while(|record| !is_key(record)).count();
        if others > 0 {
            let mut taken = 0;
            // SAFETY: as above. It does not block, as these records are there and nobody else reads.
            unsafe { ReadConsoleInputW(stdin, records.as_mut_ptr(), others as u32, &mut taken) };
            if taken == 0 {
                return false;
            }
        }
        if others < count as usize {
            return true;
        }
    }
}

fn is_key(record: &INPUT_RECORD) -> bool {
    const ALT: u16 = 0x12;
    if record.EventType != KEY_EVENT as u16 {
        return false;
    }
    // SAFETY: the type says that it is this one, and that one's character is plain bits.
    let (key, character) = unsafe {
        let key = record.Event.KeyEvent;
        (key, key.uChar.UnicodeChar)
    };
    // A character that was typed as a number arrives with Alt going up.
    key.bKeyDown != 0 || (key.wVirtualKeyCode == ALT && character != 0)
}

/// Reads in a thread, as nothing else can be waited for.
struct Reader {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends.
    ended: mpsc::Receiver<()>,
}

struct Queue {
    chunks: Mutex<Chunks>,
    /// There is room, or it is time to stop.
    changed: Condvar,
}

#[derive(Default)]
struct Chunks {
    /// An empty one is the end.
    chunks: VecDeque<Vec<u8>>,
    stop: bool,
}

/// How many chunks are read ahead of the caller.
const AHEAD: usize = 4;

#[derive(Clone, Copy)]
struct SendHandle(HANDLE);

// SAFETY: a handle is a number, and the system takes it from any thread.
unsafe impl Send for SendHandle {}

impl Reader {
    fn start(stdin: HANDLE, waker: Waker) -> Result<Reader, Failure> {
        let queue = Arc::new(Queue { chunks: Mutex::default(), changed: Condvar::new() });
        let (theirs, stdin) = (Arc::clone(&queue), SendHandle(stdin));
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("io_reactor console".to_owned()).spawn(move || {
            let _end = end;
            theirs.fill(stdin, &waker);
        })?;
        Ok(Reader { queue, thread: Some(thread), ended })
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Chunks> {
        // Nothing that is done under the lock leaves the queue half done.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Vec<u8>> {
        let chunk = self.lock().chunks.pop_front();
        self.changed.notify_one();
        chunk
    }

    /// The thread.
    fn fill(&self, stdin: SendHandle, waker: &Waker) {
        loop {
            let full = |chunks: &mut Chunks| chunks.chunks.len() >= AHEAD && !chunks.stop;
            let chunks = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
            if chunks.stop {
                return;
            }
            drop(chunks);
            let chunk = read(stdin);
            let end = chunk.is_empty();
            let mut chunks = self.lock();
            if chunks.stop {
                return;
            }
            chunks.chunks.push_back(chunk);
            drop(chunks);
            waker.wake();
            if end {
                return;
            }
        }
    }
}

/// The next bytes; none at the end.
fn read(stdin: SendHandle) -> Vec<u8> {
    // With room for the zero that follows.
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 1);
    loop {
        chunk.resize(CHUNK_BYTES, 0);
        let mut count = 0;
        // SAFETY: there is room for that many bytes; without an OVERLAPPED the call is over when it returns.
        let read =
            unsafe { ReadFile(stdin.0, chunk.as_mut_ptr(), CHUNK_BYTES as u32, &mut count, null_mut()) };
        chunk.truncate(count as usize);
        // A write of zero bytes into a pipe reads as one, and is not its end. Of a file there is nothing to peek at, nor,
        // under Wine, of a pipe of Linux's.
        // SAFETY: null pointers ask for nothing but whether the pipe has a writer still.
        let is_open =
            || unsafe { PeekNamedPipe(stdin.0, null_mut(), 0, null_mut(), null_mut(), null_mut()) } != 0;
        if read == 0 || count > 0 || !is_open() {
            return chunk;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.lock().stop = true;
        self.queue.changed.notify_one();
        let Some(thread) = self.thread.take() else { return };
        // The thread may be just about to read: so again, until it has noticed.
        for _ in 0..100 {
            // SAFETY: the thread's handle is open while we hold it.
            unsafe { CancelSynchronousIo(thread.as_raw_handle()) };
            let ended = self.ended.recv_timeout(Duration::from_millis(10));
            if ended == Err(mpsc::RecvTimeoutError::Disconnected) {
                let _ = thread.join();
                return;
            }
        }
        // Left behind, in a read that the system does not let us end. It touches nothing but its own queue.
        tracing::warn!(target: "io_reactor", "the thread that reads standard input can not be stopped");
    }
}
