//! The threads that write the log, one to standard error and one to the log file, so that neither a reader that does
//! not read nor a slow disk stops the game.
//!
//! The waiting text is bounded. Beyond the bound whole texts are dropped, and their number is reported when the output
//! is read again.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dolmen::internal::blocking_write;

/// How much may wait for a reader.
const MOST_BYTES: usize = 1 << 20;

/// The end waits for the log as long as the reader takes some of it in each such time.
const STALLED: Duration = Duration::from_secs(2);

/// How long an immediate end waits for the log.
const BRIEF_TIMEOUT: Duration = Duration::from_secs(1);

/// The texts for standard error.
pub(super) static STANDARD_ERROR: Queue = Queue::new("standard error was not read");
/// The texts for the log file.
pub(super) static LOG_FILE: Queue = Queue::new("the disk was too slow");

/// The texts for one destination.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Why texts are lost.
    full: &'static str,
}

struct State {
    /// A thread writes the waiting text. Without a thread, the caller writes.
    threaded: bool,
    waiting: Vec<u8>,
    /// Bytes that the thread has written so far: the end waits while the number grows.
    written: u64,
    lost: u64,
    ending: bool,
    ended: bool,
    /// Without one, the destination is standard error.
    file: Option<Arc<File>>,
}

impl State {
    const fn new() -> State {
        State {
            threaded: false,
            waiting: Vec::new(),
            written: 0,
            lost: 0,
            ending: false,
            ended: false,
            file: None,
        }
    }

    /// The next text to write; empty when there is none.
    fn take(&mut self, piece: &mut Vec<u8>, full: &str) {
        piece.clear();
        std::mem::swap(piece, &mut self.waiting);
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            piece.extend_from_slice(format!("({lost} log lines were lost: {full})\n").as_bytes());
        }
    }

    fn destination(&self) -> Destination {
        self.file.clone().map_or_else(|| Destination::StandardError(io::stderr()), Destination::File)
    }
}

/// What a thread writes to.
enum Destination {
    StandardError(io::Stderr),
    File(Arc<File>),
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Destination::StandardError(stream) => stream.write(bytes),
            Destination::File(file) => (&**file).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Destination::StandardError(stream) => stream.flush(),
            Destination::File(file) => (&**file).flush(),
        }
    }
}

impl blocking_write::Stream for Destination {
    fn wait_for_room(&self, most: Duration) -> bool {
        match self {
            Destination::StandardError(stream) => stream.wait_for_room(most),
            // A file has room, or fails.
            Destination::File(_) => false,
        }
    }
}

/// The thread, which ends when this is dropped: it writes the waiting text first, as long as it is read.
pub(super) struct Writer {
    queue: &'static Queue,
    thread: Option<JoinHandle<()>>,
    /// The end must not wait for a slow reader.
    brief: bool,
}

impl Writer {
    /// Starts the thread, unless there is one.
    pub(super) fn start(queue: &'static Queue) -> Option<Writer> {
        let mut state = queue.lock();
        if state.threaded {
            return None;
        }
        // Without a thread everything still works, except that a caller may block.
        let thread = dolmen::internal::spawn_thread("log", || queue.run()).ok()?;
        *state = State { threaded: true, file: state.file.take(), ..State::new() };
        Some(Writer { queue, thread: Some(thread), brief: false })
    }

    /// The end waits for a second at most.
    pub(super) fn flush_briefly(&mut self) {
        self.brief = true;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ending = true;
        self.queue.changed.notify_all();
        let limit = if self.brief { BRIEF_TIMEOUT } else { STALLED };
        let mut until = Instant::now() + limit;
        let mut written = state.written;
        while !state.ended {
            if !self.brief && state.written != written {
                written = state.written;
                until = Instant::now() + limit;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        // The thread has written its last text but has not ended yet.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Queue {
    const fn new(full: &'static str) -> Queue {
        Queue { state: Mutex::new(State::new()), changed: Condvar::new(), full }
    }

    /// From here on, texts go to this file. That includes those that wait, as after a rotation.
    pub(super) fn set_file(&self, file: File) {
        self.lock().file = Some(Arc::new(file));
    }

    /// Writes a text soon.
    pub(super) fn write(&self, text: &[u8]) {
        let mut state = self.lock();
        if !state.threaded {
            let mut destination = state.destination();
            drop(state);
            // A closed standard error is not a reason to fail.
            return drop(blocking_write::write_all(&mut destination, text, None, |_| {}));
        }
        if state.waiting.len() + text.len() > MOST_BYTES {
            state.lost += 1;
            return;
        }
        state.waiting.extend_from_slice(text);
        self.changed.notify_all();
    }

    /// The thread.
    fn run(&self) {
        let mut piece = Vec::new();
        let mut unwritable = Unwritable::default();
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && state.lost == 0 && !state.ending;
            let mut state =
                self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            state.take(&mut piece, self.full);
            if piece.is_empty() {
                state.threaded = false;
                state.ended = true;
                self.changed.notify_all();
                return;
            }
            let mut destination = state.destination();
            drop(state);
            unwritable.write(&mut destination, &piece, |bytes| {
                self.lock().written += bytes as u64;
                self.changed.notify_all();
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts text that could not be written, as where the disk is full; reported with the next text that can be written.
#[derive(Default)]
struct Unwritable {
    lines: usize,
    /// A line was cut off, and the next text begins another one.
    in_line: bool,
}

impl Unwritable {
    fn write(
        &mut self,
        stream: &mut impl blocking_write::Stream,
        piece: &[u8],
        mut written: impl FnMut(usize),
    ) {
        let notice = match self.lines {
            0 => String::new(),
            lines => {
                let end = if self.in_line { "\n" } else { "" };
                format!("{end}({lines} log lines were lost: they could not be written)\n")
            }
        };
        let whole = [notice.as_bytes(), piece].concat();
        let mut done = 0;
        let result = blocking_write::write_all(stream, &whole, None, |bytes| {
            done += bytes;
            written(bytes);
        });
        if done >= notice.len() {
            *self = Unwritable::default();
        }
        if result.is_err() {
            let rest = &whole[done.max(notice.len())..];
            self.lines += rest.iter().filter(|&&byte| byte == b'\n').count();
            self.in_line |= whole[..done].last().is_some_and(|&byte| byte != b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with this much room.
    struct Disk {
        room: usize,
        text: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.text.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl blocking_write::Stream for Disk {
        fn wait_for_room(&self, _: Duration) -> bool {
            false
        }
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_reported() {
        let mut disk = Disk { room: 9, text: Vec::new() };
        let mut unwritable = Unwritable::default();
        unwritable.write(&mut disk, b"first\nsecond\nthird\n", |_| {});
        unwritable.write(&mut disk, b"fourth\n", |_| {});
        disk.room = 1000;
        unwritable.write(&mut disk, b"fifth\n", |_| {});
        unwritable.write(&mut disk, b"sixth\n", |_| {});
        let expected = "first\nsec\n(3 log lines were lost: they could not be written)\nfifth\nsixth\n";
        assert_eq!(String::from_utf8_lossy(&disk.text), expected);
    }

    #[test]
    fn losses_are_reported_after_kept_lines() {
        let mut state = State { waiting: b"first\n".to_vec(), lost: 2, ..State::new() };
        let mut piece = b"written before".to_vec();
        state.take(&mut piece, STANDARD_ERROR.full);
        assert_eq!(piece, b"first\n(2 log lines were lost: standard error was not read)\n");
        state.take(&mut piece, STANDARD_ERROR.full);
        assert_eq!(piece, b"");
    }
}
