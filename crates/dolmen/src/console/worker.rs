//! Redirected input that a thread reads: files everywhere, pipes on Windows.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::byte_reader::{ByteSink, ReaderThread, read_to_sink};
use super::decoder::Decoder;
use super::redirected::RedirectedInput;
use super::{ConsoleMode, Inbox, decoder, leave_decoder};

/// How long an end waits for the thread. A read of a file ends; a read of a device may not, and its thread is left
/// behind.
const END_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    lines: Arc<Lines>,
    thread: ReaderThread,
}

/// The bytes become input. Room first, and the decoder afterwards: a change of mode waits for the decoder and makes the
/// room.
struct Lines {
    decoder: Mutex<Decoder>,
    inbox: Arc<Inbox>,
}

impl Worker {
    pub(super) fn start(
        source: impl Read + Send + 'static,
        mode: ConsoleMode,
        inbox: &Arc<Inbox>,
    ) -> io::Result<Worker> {
        let decoder = Mutex::new(decoder(mode, inbox));
        let lines = Arc::new(Lines { decoder, inbox: Arc::clone(inbox) });
        let theirs = Arc::clone(&lines);
        let read = move || read_to_sink(source, &mut [0; 8192], &*theirs);
        let thread = ReaderThread::start("console input", read)?;
        Ok(Worker { lines, thread })
    }
}

impl<H> RedirectedInput<H> for Worker {
    fn set_mode(&mut self, mode: ConsoleMode, inbox: &Inbox) {
        lock(&self.lines.decoder).set_mode(mode, |input| inbox.push(input));
    }

    fn end(&mut self, inbox: &Inbox) {
        inbox.close();
        if !self.thread.end(END_TIMEOUT) {
            tracing::warn!(target: "dolmen", "the console's thread is left behind in a read that does not end");
        }
    }
}

/// When the worker and its thread have ended.
impl Drop for Lines {
    fn drop(&mut self) {
        let mut decoder = lock(&self.decoder);
        let mode = decoder.mode();
        leave_decoder(std::mem::replace(&mut decoder, Decoder::new(mode, false)));
    }
}

impl ByteSink for Lines {
    fn wait_for_room(&self) -> bool {
        self.inbox.wait_for_room()
    }

    fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    fn put(&self, bytes: &[u8]) {
        lock(&self.decoder).feed(bytes, |input| self.inbox.push(input));
    }

    fn end(&self) {
        lock(&self.decoder).end(|input| self.inbox.push(input));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
