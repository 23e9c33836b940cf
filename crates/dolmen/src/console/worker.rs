//! A thread that reads sources without readiness: files everywhere, pipes on Windows.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::decoder::Decoder;
use super::{ConsoleMode, Inbox, decoder, leave_decoder};
use crate::kernel::thread;

/// How long the thread pauses when a source has nothing, and does not block.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(super) struct Worker {
    shared: Arc<Shared>,
    /// Present until it has ended.
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    decoder: Mutex<Decoder>,
    inbox: Arc<Inbox>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Worker {
    pub(super) fn start(
        source: impl Read + Send + 'static,
        mode: ConsoleMode,
        inbox: &Arc<Inbox>,
    ) -> std::io::Result<Worker> {
        let decoder = Mutex::new(decoder(mode, inbox));
        let inbox = Arc::clone(inbox);
        let shared = Arc::new(Shared { decoder, inbox, ended: Mutex::new(false), end: Condvar::new() });
        let reader = Arc::clone(&shared);
        let thread = thread::spawn("console input", move || {
            reader.run(source);
            *lock(&reader.ended) = true;
            reader.end.notify_all();
        })?;
        Ok(Worker { shared, thread: Some(thread) })
    }

    pub(super) fn set_mode(&self, mode: ConsoleMode) {
        lock(&self.shared.decoder).set_mode(mode, |input| self.shared.inbox.push(input));
    }

    /// Keeps an unfinished line for the next reader. The thread has announced its end.
    pub(super) fn leave_leftover(&mut self) {
        let _ = self.thread.take().map(JoinHandle::join);
        let mut decoder = lock(&self.shared.decoder);
        let mode = decoder.mode();
        leave_decoder(std::mem::replace(&mut decoder, Decoder::new(mode, false)));
    }

    /// Waits for the thread for this time. Returns true when it has ended.
    pub(super) fn ended_within(&self, time: Duration) -> bool {
        let ended = self.shared.end.wait_timeout_while(lock(&self.shared.ended), time, |ended| !*ended);
        *ended.unwrap_or_else(PoisonError::into_inner).0
    }

    #[cfg_attr(not(windows), allow(dead_code))]
    pub(super) fn thread(&self) -> Option<&JoinHandle<()>> {
        self.thread.as_ref()
    }
}

impl Shared {
    fn run(&self, mut source: impl Read) {
        let mut buffer = [0; 8192];
        // Room first, and the decoder afterwards: a change of mode waits for the decoder and makes the room.
        loop {
            if !self.inbox.wait_for_room() {
                return;
            }
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    lock(&self.decoder).feed(&buffer[..count], |input| self.inbox.push(input));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A non-blocking source that gives no readiness either [hc51].
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK_AGAIN),
                // Cancelled: there is no end to report.
                Err(_) if self.inbox.is_closed() => return,
                Err(error) => {
                    tracing::debug!(target: "dolmen", %error, "the console input ends with an error");
                    break;
                }
            }
        }
        lock(&self.decoder).end(|input| self.inbox.push(input));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
