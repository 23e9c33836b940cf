//! The thread that writes to standard output, so that a terminal that is held does not hold the reactor.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much may wait to be written.
const MOST_BYTES: usize = 4 << 20;

/// A drop waits for the output as long as some of it is taken in each such time.
const STALLED: Duration = Duration::from_secs(2);

pub(super) struct Output {
    shared: Arc<Shared>,
    /// The same place, if it can be written to without blocking: then the thread is only for what does not fit.
    direct: Option<File>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the thread is writing.
    writing: usize,
    ending: bool,
    ended: bool,
}

impl Output {
    /// Over standard output, or in a test something else.
    pub(super) fn start(sink: impl Write + Send + 'static, direct: Option<File>) -> io::Result<Output> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("console output".into()).spawn(move || writer.run(sink))?;
        Ok(Output { shared, direct })
    }

    /// Queues a text, all of it or, with `WouldBlock`, nothing.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.waiting.len() + text.len() > MOST_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = text.as_bytes();
        if let Some(mut direct) = self.direct.as_ref().filter(|_| state.waiting.len() + state.writing == 0) {
            while !left.is_empty() {
                match direct.write(left) {
                    Ok(count) if count > 0 => left = &left[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Full, or whatever else: the thread finds out.
                    _ => break,
                }
            }
        }
        if !left.is_empty() {
            state.waiting.extend_from_slice(left);
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Whether everything is where it belongs.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(super) fn is_done(&self) -> bool {
        let state = self.shared.state();
        state.waiting.len() + state.writing == 0
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ending = true;
        self.shared.changed.notify_all();
        while !state.ended {
            let left = state.waiting.len() + state.writing;
            let (now, waited) =
                self.shared.changed.wait_timeout(state, STALLED).unwrap_or_else(PoisonError::into_inner);
            state = now;
            if waited.timed_out() && state.waiting.len() + state.writing == left {
                tracing::warn!(target: "io_reactor", left, "nobody takes the console's output");
                return;
            }
        }
    }
}

impl Shared {
    fn run(&self, mut sink: impl Write) {
        let mut piece = Vec::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && !state.ending {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.waiting.is_empty() {
                break;
            }
            std::mem::swap(&mut piece, &mut state.waiting);
            state.writing = piece.len();
            drop(state);
            for part in piece.chunks(16 * 1024) {
                // Where standard output is closed nobody is there to miss it.
                let _ = sink.write_all(part).and_then(|()| sink.flush());
                self.state().writing -= part.len();
                self.changed.notify_all();
            }
            piece.clear();
        }
        self.state().ended = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Sink(mpsc::Sender<Vec<u8>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_drop_writes_everything_first() {
        let (sender, written) = mpsc::channel();
        let output = Output::start(Sink(sender), None).expect("a thread");
        let text: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        for line in text.split_inclusive('\n') {
            output.write(line).expect("there is room");
        }
        drop(output);
        assert_eq!(written.try_iter().flatten().collect::<Vec<u8>>(), text.as_bytes());
    }

    #[test]
    fn too_much_is_refused_whole() {
        let (sender, _written) = mpsc::channel();
        let output = Output::start(Sink(sender), None).expect("a thread");
        let error = output.write(&"x".repeat(MOST_BYTES + 1)).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
