//! A thread for work that must not delay the game: a password to verify, a file to write.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dolmen::{ErrorKind, SendError, Sender};

/// How long a worker waits before it hands in a result again for which the inbox had no room.
const FULL_INBOX: Duration = Duration::from_millis(10);

/// A thread that takes jobs of the game in order, and hands the results in through one of the world's
/// [channels](crate::world::Channels).
///
/// The queue of jobs is bounded. A world that is refused says so to the player: *try later* is better than a queue that
/// grows.
pub struct Worker<J> {
    jobs: SyncSender<J>,
    thread: JoinHandle<()>,
}

impl<J: Send + 'static> Worker<J> {
    /// Starts a thread with this name. `max_waiting` jobs may wait in addition to the one in progress.
    ///
    /// # Errors
    ///
    /// The system's error: it has no room for another thread.
    pub fn start<R: Send + 'static>(
        name: &str,
        max_waiting: usize,
        results: Sender<R>,
        work: impl FnMut(J) -> R + Send + 'static,
    ) -> io::Result<Worker<J>> {
        let (jobs, queue) = sync_channel(max_waiting);
        // No signal handler runs there [hc49].
        let thread = dolmen::internal::spawn_thread(name, move || run(&queue, &results, work))?;
        Ok(Worker { jobs, thread })
    }

    /// Queues a job. One for which there is no room comes back.
    ///
    /// # Errors
    ///
    /// The job, if the queue is full or the thread has ended by a panic.
    pub fn submit(&self, job: J) -> Result<(), J> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job) => {
                job
            }
        })
    }

    /// Waits until every queued job is done. A worker that is only dropped finishes by itself, if the process lives long
    /// enough.
    pub fn finish(self) {
        drop(self.jobs);
        // A panic was reported when it happened.
        let _ = self.thread.join();
    }
}

impl<J> fmt::Debug for Worker<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("thread", &self.thread.thread().name()).finish_non_exhaustive()
    }
}

fn run<J, R: Send + 'static>(queue: &Receiver<J>, results: &Sender<R>, mut work: impl FnMut(J) -> R) {
    while let Ok(job) = queue.recv() {
        let mut result = work(job);
        while let Err(SendError { value, error, .. }) = results.send(result) {
            if matches!(error.kind(), ErrorKind::ReactorGone | ErrorKind::InboxGone) {
                // The game has ended. What is queued is still done: it may be a file to write.
                break;
            }
            result = value;
            thread::sleep(FULL_INBOX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dolmen::{Reactor, Token};
    use std::sync::mpsc;

    #[test]
    fn jobs_are_done_in_order_and_a_full_queue_refuses() {
        let reactor = Reactor::new().expect("a reactor");
        let (results, mut inbox) = reactor.channel(8, Token(1));
        let (go, gate) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let worker = Worker::start("test", 2, results, move |job: u32| {
            begun.send(()).expect("the test waits");
            gate.recv().expect("the test lets it go");
            job * 10
        })
        .expect("a thread");
        worker.submit(1).expect("there is room");
        has_begun.recv().expect("it works");
        worker.submit(2).expect("there is room");
        worker.submit(3).expect("there is room");
        assert_eq!(worker.submit(4), Err(4));
        (0..3).for_each(|_| go.send(()).expect("it waits"));
        worker.finish();
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [10, 20, 30]);
    }

    #[test]
    fn what_is_queued_is_done_although_no_one_takes_the_results() {
        let reactor = Reactor::new().expect("a reactor");
        let (results, inbox) = reactor.channel(8, Token(1));
        let (done, all_done) = mpsc::channel();
        let worker = Worker::start("test", 8, results, move |job: u32| done.send(job)).expect("a thread");
        drop(inbox);
        (0..5).for_each(|job| worker.submit(job).expect("there is room"));
        worker.finish();
        assert_eq!(all_done.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}
