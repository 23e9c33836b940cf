//! The thread that reads standard input where the system reports no readiness for it: files everywhere, pipes on
//! Windows. The C library's console uses it as well.
//!
//! A read that only further input ends is cancelled on Windows. Elsewhere nothing cancels it: a read of a file ends by
//! itself, and a thread at a device that never returns is left behind.
//!
//! Microsoft Learn: "CancelSynchronousIo".

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::kernel::thread;

/// How long the thread pauses when a source has nothing, and does not block.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A thread that may be in a blocking read when it is to end.
#[derive(Debug)]
pub struct ReaderThread {
    /// Present until it has ended.
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends.
    ended: mpsc::Receiver<()>,
}

impl ReaderThread {
    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// The system's, where it cannot start one.
    pub fn start(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<ReaderThread> {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(name, move || {
            // Dropped after the body, and so after everything that the body owns.
            let _end = end;
            body();
        })?;
        Ok(ReaderThread { thread: Some(thread), ended })
    }

    /// Ends the thread's read, and waits until the thread has ended, for at most this time. False: it is left behind,
    /// and touches only its own data. The caller has set the sign by which the thread knows that it is to end.
    pub fn end(&mut self, timeout: Duration) -> bool {
        // A cancel reaches a read in progress, and not one that is about to begin: hence more than once [hc32].
        let pause = if cfg!(windows) { Duration::from_millis(1) } else { timeout };
        let started = Instant::now();
        loop {
            self.cancel_read();
            if self.ended.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                let _ = self.thread.take().map(JoinHandle::join);
                return true;
            }
            if started.elapsed() >= timeout {
                return false;
            }
        }
    }

    #[cfg(windows)]
    fn cancel_read(&self) {
        use std::os::windows::io::AsRawHandle as _;
        if let Some(thread) = &self.thread {
            // SAFETY: the thread's handle is open while we hold it.
            unsafe { windows_sys::Win32::System::IO::CancelSynchronousIo(thread.as_raw_handle()) };
        }
    }

    #[cfg(not(windows))]
    #[allow(clippy::unused_self)] // As on Windows.
    fn cancel_read(&self) {}
}

/// The destination of the bytes that a thread reads.
pub trait ByteSink {
    /// Waits until there is room for more. False: the thread is to end.
    fn wait_for_room(&self) -> bool;

    /// Whether the thread is to end.
    fn is_closed(&self) -> bool;

    /// Takes at most as many bytes as the reader's buffer holds.
    fn put(&self, bytes: &[u8]);

    /// The source has ended.
    fn end(&self);
}

/// Reads a source to its end, a buffer's length at a time, or until the sink is closed.
pub fn read_to_sink(mut source: impl Read, buffer: &mut [u8], sink: &impl ByteSink) {
    while sink.wait_for_room() {
        match source.read(buffer) {
            Ok(0) => return sink.end(),
            Ok(count) => sink.put(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A non-blocking source that gives no readiness either [hc51].
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK_AGAIN),
            // Cancelled: there is no end to report.
            Err(_) if sink.is_closed() => return,
            Err(error) => {
                tracing::debug!(target: "dolmen", %error, "the console input ends with an error");
                return sink.end();
            }
        }
    }
}
