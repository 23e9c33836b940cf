//! The thread that writes to standard error, so that an unread standard error does not stop the game.
//!
//! The waiting text is bounded. Beyond the bound whole texts are dropped, and their number is reported when the output
//! is read again.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dolmen::internal::blocking_write;

/// How much may wait for a reader.
const MOST_BYTES: usize = 1 << 20;

/// The end waits for the log as long as the reader takes some of it in each such time.
const STALLED: Duration = Duration::from_secs(2);

/// How long an immediate end waits for the log.
const BRIEF_TIMEOUT: Duration = Duration::from_secs(1);

static STATE: Mutex<State> = Mutex::new(State::new());
static CHANGED: Condvar = Condvar::new();

struct State {
    /// A thread writes the waiting text. Without a thread, the caller writes.
    threaded: bool,
    waiting: Vec<u8>,
    /// Bytes that the thread has written so far: the end waits while the number grows.
    written: u64,
    lost: u64,
    ending: bool,
    ended: bool,
}

impl State {
    const fn new() -> State {
        State { threaded: false, waiting: Vec::new(), written: 0, lost: 0, ending: false, ended: false }
    }

    /// The next text to write; empty when there is none.
    fn take(&mut self, piece: &mut Vec<u8>) {
        piece.clear();
        std::mem::swap(piece, &mut self.waiting);
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            piece.extend_from_slice(
                format!("({lost} log lines were lost: standard error was not read)\n").as_bytes(),
            );
        }
    }
}

/// The thread, which ends when this is dropped: it writes the waiting text first, as long as it is read.
#[derive(Debug)]
pub(super) struct Writer {
    thread: Option<JoinHandle<()>>,
    /// The end must not wait for a slow reader.
    brief: bool,
}

impl Writer {
    /// Starts the thread, unless there is one.
    pub(super) fn start() -> Option<Writer> {
        let mut state = state();
        if state.threaded {
            return None;
        }
        // Without a thread everything still works, except that a caller may block.
        let thread = dolmen::internal::spawn_thread("log", run).ok()?;
        *state = State { threaded: true, ..State::new() };
        Some(Writer { thread: Some(thread), brief: false })
    }

    /// The end waits for a second at most.
    pub(super) fn flush_briefly(&mut self) {
        self.brief = true;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = state();
        state.ending = true;
        CHANGED.notify_all();
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
            state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        // The thread has written its last text but has not ended yet.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Writes a text soon.
pub(super) fn write(text: &[u8]) {
    let mut state = state();
    if !state.threaded {
        drop(state);
        // A closed standard error is not a reason to fail.
        return drop(blocking_write::write_all(&mut io::stderr(), text, None, |_| {}));
    }
    if state.waiting.len() + text.len() > MOST_BYTES {
        state.lost += 1;
        return;
    }
    state.waiting.extend_from_slice(text);
    CHANGED.notify_all();
}

fn run() {
    let mut piece = Vec::new();
    let mut unwritable = Unwritable::default();
    loop {
        let idle = |state: &mut State| state.waiting.is_empty() && state.lost == 0 && !state.ending;
        let mut state = CHANGED.wait_while(state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.take(&mut piece);
        if piece.is_empty() {
            state.threaded = false;
            state.ended = true;
            CHANGED.notify_all();
            return;
        }
        drop(state);
        unwritable.write(&mut io::stderr(), &piece, |bytes| {
            self::state().written += bytes as u64;
            CHANGED.notify_all();
        });
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

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
        state.take(&mut piece);
        assert_eq!(piece, b"first\n(2 log lines were lost: standard error was not read)\n");
        state.take(&mut piece);
        assert_eq!(piece, b"");
    }
}
