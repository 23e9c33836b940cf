//! The thread that writes to standard output, so that a terminal that is held does not block the reactor.
//!
//! It takes a step of the [`queue`] at a time, so that an answer to the operator can go before the texts that still wait.

pub(super) mod queue;

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::blocking_write::{self, Stream};
use super::{Inbox, Input};
use crate::kernel::thread;
use queue::{Lane, Queue, STEP_BYTES};

/// How much output may wait.
pub(super) const MOST_BYTES: usize = queue::MOST_BYTES;

/// The output is behind from the first size on, until it falls to the second.
const BEHIND_BYTES: usize = 256 << 10;
const CAUGHT_UP_BYTES: usize = 64 << 10;

/// A drop waits for the output as long as the reader takes some of it in each such time.
const STALLED: Duration = Duration::from_secs(2);

pub(super) struct Output {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    /// The same output, if it can be written to without blocking: then the thread writes only what does not fit.
    direct: Option<File>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Queue,
    /// The rest of a batch whose beginning has been written.
    begun: Vec<u8>,
    /// Kept, so that a text that is written immediately costs no allocation.
    scratch: Vec<u8>,
    /// Bytes that the thread is writing.
    writing: usize,
    /// More is queued than should be.
    behind: bool,
    /// A report is due when everything is written.
    flushing: bool,
    /// The reactor waits until no more than a step is left.
    is_short_awaited: bool,
    ending: bool,
    ended: bool,
}

impl Output {
    /// Starts the thread over standard output, or in a test over a substitute.
    pub(super) fn start(
        inbox: &Arc<Inbox>,
        sink: impl Stream + Send + 'static,
        direct: Option<File>,
    ) -> io::Result<Output> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        // Without a share in the inbox: a thread that cannot write must not keep others from reading.
        let (writer, notified) = (Arc::clone(&shared), Arc::downgrade(inbox));
        let thread = Some(thread::spawn("console output", move || writer.run(sink, &notified))?);
        Ok(Output { shared, inbox: Arc::clone(inbox), direct, thread })
    }

    /// Queues a text, all of it or, with `WouldBlock`, nothing [hc35].
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        self.queue(Lane::Others, text)
    }

    /// The same for an answer to the operator: it goes before the texts of [`write`](Output::write) that have not begun.
    pub(super) fn answer(&self, text: &str) -> io::Result<()> {
        self.queue(Lane::Answers, text)
    }

    fn queue(&self, lane: Lane, text: &str) -> io::Result<()> {
        let mut state = self.shared.state();
        if !state.waiting.has_room(lane, text) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let direct = self.direct.as_ref().filter(|_| state.left() == 0);
        state.waiting.push(lane, text);
        if let Some(direct) = direct {
            state.write_what_fits(direct);
        }
        if state.left() > 0 {
            state.behind |= state.left() > BEHIND_BYTES;
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Queues the last text of all. There is no bound, because nothing follows.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(super) fn write_last(&self, text: &str) {
        self.shared.state().waiting.push(Lane::Others, text);
        self.shared.changed.notify_all();
    }

    /// Whether no more than a step is left to write. If not, the inbox's reactor is woken, once, when that is so.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(super) fn is_short(&self) -> bool {
        let mut state = self.shared.state();
        let is_short = state.left() <= STEP_BYTES;
        state.is_short_awaited = !is_short;
        is_short
    }

    /// Whether nothing is left to write.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(super) fn is_written(&self) -> bool {
        self.shared.state().left() == 0
    }

    /// Notifies the inbox, once, when everything queued so far is written.
    pub(super) fn flush(&self) {
        let mut state = self.shared.state();
        state.flushing = state.left() > 0;
        if !state.flushing {
            drop(state);
            self.inbox.push(Input::Drained);
        }
    }

    /// Whether more is queued than should be.
    pub(super) fn is_behind(&self) -> bool {
        self.shared.state().behind
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ending = true;
        self.shared.changed.notify_all();
        while !state.ended {
            let left = state.left();
            let (now, waited) =
                self.shared.changed.wait_timeout(state, STALLED).unwrap_or_else(PoisonError::into_inner);
            state = now;
            if waited.timed_out() && state.left() == left {
                tracing::warn!(target: "dolmen", left, "the console's output is not being read");
                return;
            }
        }
        drop(state);
        // The thread's last message comes before its end.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl State {
    /// How much is not written yet.
    fn left(&self) -> usize {
        self.waiting.bytes() + self.begun.len() + self.writing
    }

    /// Moves what is to be written next into `batch`, which is empty. Nothing is moved if nothing waits.
    fn take(&mut self, batch: &mut Vec<u8>) {
        if self.begun.is_empty() {
            self.waiting.take(batch);
        } else {
            std::mem::swap(&mut self.begun, batch);
        }
    }

    /// Writes to a stream that does not block, until it is full or nothing waits.
    fn write_what_fits(&mut self, mut stream: &File) {
        let mut batch = std::mem::take(&mut self.scratch);
        loop {
            batch.clear();
            self.take(&mut batch);
            let mut left = &batch[..];
            while !left.is_empty() {
                match stream.write(left) {
                    Ok(count) if count > 0 => left = &left[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Full, or another error: the thread finds out.
                    _ => break,
                }
            }
            self.begun.extend_from_slice(left);
            if batch.is_empty() || !self.begun.is_empty() {
                break;
            }
        }
        self.scratch = batch;
    }
}

impl Shared {
    fn run(&self, mut sink: impl Stream, inbox: &Weak<Inbox>) {
        let mut batch = Vec::new();
        let mut lost = Lost::default();
        loop {
            let mut state = self.state();
            while state.left() == 0 && !state.ending {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.left() == 0 {
                break;
            }
            state.take(&mut batch);
            state.writing = batch.len();
            drop(state);
            let mut left = batch.len();
            let written = blocking_write::write_all(&mut sink, &batch, None, |bytes| {
                left -= bytes;
                self.written(bytes, inbox);
            });
            lost.note(written, left);
            if left > 0 {
                self.written(left, inbox);
            }
            batch.clear();
        }
        self.state().ended = true;
        self.changed.notify_all();
    }

    fn written(&self, bytes: usize, inbox: &Weak<Inbox>) {
        let mut state = self.state();
        state.writing -= bytes;
        let left = state.left();
        let caught_up = left <= CAUGHT_UP_BYTES && std::mem::take(&mut state.behind);
        let short = left <= STEP_BYTES && std::mem::take(&mut state.is_short_awaited);
        let drained = left == 0 && std::mem::take(&mut state.flushing);
        drop(state);
        self.changed.notify_all();
        let Some(inbox) = inbox.upgrade() else { return };
        if caught_up || short {
            inbox.wake();
        }
        if drained {
            inbox.push(Input::Drained);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes lost since the last successful write.
#[derive(Default)]
struct Lost(usize);

impl Lost {
    /// Records the result of a write, and logs where losses begin and how much was lost. Not if the reader is gone: it
    /// misses nothing.
    fn note(&mut self, written: io::Result<()>, left: usize) {
        match written {
            Ok(()) if self.0 > 0 => {
                let bytes = std::mem::take(&mut self.0);
                tracing::warn!(target: "dolmen", bytes, "console output was lost");
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                tracing::debug!(target: "dolmen", bytes = left, %error, "console output has no reader");
            }
            Err(error) => {
                if self.0 == 0 {
                    tracing::warn!(target: "dolmen", %error, "console output cannot be written, and is lost");
                }
                self.0 += left;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::mailbox::{Mailbox, NullSignal};
    use std::io::Write;
    use std::sync::mpsc;
    use std::time::Instant;

    fn inbox() -> Arc<Inbox> {
        Inbox::new(Mailbox::new(Box::new(NullSignal), 1))
    }

    /// Waits for what the thread does.
    #[track_caller]
    fn until(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < deadline, "the thread does nothing");
            std::thread::yield_now();
        }
    }

    struct Sink(mpsc::Sender<Vec<u8>>);

    impl Stream for Sink {
        fn wait_for_room(&self, _: Duration) -> bool {
            false
        }
    }

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
        let output = Output::start(&inbox(), Sink(sender), None).expect("a thread");
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
        let output = Output::start(&inbox(), Sink(sender), None).expect("a thread");
        let error = output.write(&"x".repeat(queue::MOST_BYTES + 1)).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    /// Takes what it is given when the test allows it.
    struct Held(mpsc::Receiver<()>);

    impl Stream for Held {
        fn wait_for_room(&self, _: Duration) -> bool {
            false
        }
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flush_is_reported_once_when_everything_is_written() {
        let (take, taken) = mpsc::channel();
        let inbox = inbox();
        let output = Output::start(&inbox, Held(taken), None).expect("a thread");
        output.flush();
        assert_eq!(inbox.pop(), Some(Input::Drained), "nothing is queued");
        output.write("text").expect("there is room");
        output.flush();
        output.flush();
        assert_eq!(inbox.pop(), None, "it has not been taken");
        take.send(()).expect("it is written");
        until(|| !inbox.is_empty());
        assert_eq!((inbox.pop(), inbox.pop()), (Some(Input::Drained), None));
    }

    /// Takes a batch when the test allows it, and shows it to the test.
    struct Shown(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Stream for Shown {
        fn wait_for_room(&self, _: Duration) -> bool {
            false
        }
    }

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_follows_what_is_being_written_and_precedes_what_waits() {
        let (take, taken) = mpsc::channel();
        let (sender, shown) = mpsc::channel();
        let output = Output::start(&inbox(), Shown(taken, sender), None).expect("a thread");
        output.write("first\n").expect("there is room");
        until(|| output.shared.state().writing > 0);
        output.write("second\n").expect("there is room");
        output.answer("answer\n").expect("there is room");
        output.write("third\n").expect("there is room");
        drop(take);
        drop(output);
        assert_eq!(shown.iter().flatten().collect::<Vec<u8>>(), b"first\nanswer\nsecond\nthird\n");
    }

    #[test]
    fn output_that_is_not_read_is_behind_until_most_of_it_is_read() {
        let (take, taken) = mpsc::channel();
        let inbox = inbox();
        let output = Output::start(&inbox, Held(taken), None).expect("a thread");
        output.write(&"x".repeat(BEHIND_BYTES)).expect("there is room");
        assert!(!output.is_behind());
        output.write("x").expect("there is room");
        assert!(output.is_behind());
        drop(take);
        until(|| !output.is_behind());
        assert!(output.shared.state().left() <= CAUGHT_UP_BYTES);
    }
}
