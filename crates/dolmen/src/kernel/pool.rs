//! A few threads for calls that block: a queue of jobs, and the results for the engine.
//!
//! A job is in one of three places: it waits, a worker has it, or its result waits for the engine. The engine can forget
//! it in each of them. A call in progress cannot be interrupted, so its result is then dropped by the worker.
//!
//! A worker holds the pool and one job, and nothing of the reactor: it may be left behind in a call that takes minutes.
//! The mailbox is in the pool only until the reactor is dropped.
//!
//! The pool does not bound its queue: the engine does, which knows what was not reported yet.

pub(crate) mod jobs;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::kernel::mailbox::Mailbox;
use crate::kernel::thread;
use crate::marks::{Mark, mark};
use crate::token::Key;

/// How many workers a pool has at most. Two, so that one call that hangs does not stop the others.
pub(crate) const MOST_WORKERS: usize = 2;

/// How long a thread waits for the next job before it ends.
const IDLE: Duration = Duration::from_secs(30);

/// Something to do that blocks.
pub(crate) trait Job {
    type Done;

    /// Does it. Must not panic.
    fn run(self) -> Self::Done;
}

pub(crate) struct Pool<J: Job> {
    state: Mutex<State<J>>,
    /// A job waits, or the reactor is gone.
    more: Condvar,
    /// The reactor is gone, and a worker has ended its call.
    ended: Condvar,
}

struct State<J: Job> {
    waiting: VecDeque<(Key, J)>,
    done: VecDeque<(Key, J::Done)>,
    workers: [Worker; MOST_WORKERS],
    /// `None`: the reactor is gone.
    mailbox: Option<Arc<Mailbox>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    Absent,
    /// Also while it starts.
    Idle,
    /// `None`: the engine has forgotten the job.
    Busy(Option<Key>),
}

impl<J: Job> Pool<J> {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Arc<Pool<J>> {
        let state = State {
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            workers: [Worker::Absent; MOST_WORKERS],
            mailbox: Some(mailbox),
        };
        Arc::new(Pool { state: Mutex::new(state), more: Condvar::new(), ended: Condvar::new() })
    }

    /// No change below calls other code, so a panic cannot leave the state half-changed.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job. Returns the number of the worker to start for it, if one is needed.
    pub(crate) fn push(&self, key: Key, job: J) -> Option<usize> {
        let mut state = self.lock();
        state.waiting.push_back((key, job));
        let idle = state.workers.iter().filter(|&&worker| worker == Worker::Idle).count();
        if state.waiting.len() <= idle {
            drop(state);
            self.more.notify_one();
            return None;
        }
        let absent = state.workers.iter().position(|&worker| worker == Worker::Absent)?;
        state.workers[absent] = Worker::Idle;
        Some(absent)
    }

    /// The worker could not be started. Returns whether there is another one, which will do its work.
    pub(crate) fn not_started(&self, worker: usize) -> bool {
        let mut state = self.lock();
        state.workers[worker] = Worker::Absent;
        state.workers.iter().any(|&worker| worker != Worker::Absent)
    }

    /// A worker takes the next job, and waits for one for as long as `idle`. After `None` it ends.
    fn take(&self, worker: usize, idle: Duration) -> Option<J> {
        let mut state = self.lock();
        let mut waited = false;
        loop {
            state.mailbox.as_ref()?;
            if let Some(job) = state.take(worker) {
                return Some(job);
            }
            // With the queue locked: the next job starts another worker.
            if waited {
                state.workers[worker] = Worker::Absent;
                return None;
            }
            let waiting = self.more.wait_timeout(state, idle);
            let (locked, timeout) = waiting.unwrap_or_else(PoisonError::into_inner);
            (state, waited) = (locked, timeout.timed_out());
        }
    }

    /// As [`Pool::take`], for a worker that does not wait.
    #[cfg(dolmen_sim)]
    pub(crate) fn take_now(&self, worker: usize) -> Option<J> {
        let mut state = self.lock();
        let job = state.take(worker);
        if job.is_none() {
            state.workers[worker] = Worker::Absent;
        }
        job
    }

    /// A worker leaves a result for the engine. Returns false if it is not wanted any more.
    pub(crate) fn finish(&self, worker: usize, done: J::Done) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.workers[worker], Worker::Idle);
        let Some(mailbox) = state.mailbox.clone() else {
            mark(Mark::JobDoneAfterDrop);
            drop(state);
            self.ended.notify_all();
            return false;
        };
        let Worker::Busy(Some(key)) = before else {
            mark(Mark::JobDoneAfterCancel);
            drop(state);
            // Here, and not with the queue locked.
            drop(done);
            return false;
        };
        state.done.push_back((key, done));
        drop(state);
        mailbox.notify();
        true
    }

    /// The engine takes the next result.
    pub(crate) fn pop_done(&self) -> Option<(Key, J::Done)> {
        self.lock().done.pop_front()
    }

    /// Whether a result waits for the engine.
    pub(crate) fn has_done(&self) -> bool {
        !self.lock().done.is_empty()
    }

    /// From here on the job has no result. Returns the job if no worker had begun it.
    pub(crate) fn forget(&self, key: Key) -> Option<J> {
        let mut state = self.lock();
        if let Some(at) = state.waiting.iter().position(|&(of, _)| of == key) {
            mark(Mark::JobCancelledWaiting);
            return state.waiting.remove(at).map(|(_, job)| job);
        }
        let done = state.done.iter().position(|&(of, _)| of == key);
        let done = done.and_then(|at| state.done.remove(at));
        if done.is_some() {
            mark(Mark::JobCancelledDone);
        }
        for worker in &mut state.workers {
            if *worker == Worker::Busy(Some(key)) {
                *worker = Worker::Busy(None);
            }
        }
        drop(state);
        drop(done);
        None
    }

    /// The reactor is being dropped: what waits is dropped, and the workers end after their calls.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.mailbox = None;
        let left = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.done));
        drop(state);
        self.more.notify_all();
        drop(left);
    }

    /// Waits until no worker is in a call. Returns which still are when the time is up.
    fn until_idle(&self, patience: Duration) -> [bool; MOST_WORKERS] {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let busy = state.workers.map(|worker| matches!(worker, Worker::Busy(_)));
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !busy.contains(&true) {
                return busy;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<J: Job> State<J> {
    fn take(&mut self, worker: usize) -> Option<J> {
        let (key, job) = self.waiting.pop_front()?;
        self.workers[worker] = Worker::Busy(Some(key));
        Some(job)
    }
}

/// Starts and ends workers. The simulation has some that are not threads.
pub(crate) trait Workers<J: Job> {
    /// Starts a worker with a number for which there is none.
    ///
    /// # Errors
    ///
    /// The system has no room for another thread.
    fn start(&mut self, worker: usize, pool: &Arc<Pool<J>>) -> io::Result<()>;

    /// Waits for the workers to end, after [`Pool::close`]. Those that are in a call for too long are left behind.
    fn end(&mut self, pool: &Pool<J>);

    /// This is a forked process, which has none of them.
    fn forget(&mut self);
}

/// Workers that are threads.
pub(crate) struct Threads {
    /// Of each thread, for debuggers.
    name: &'static str,
    /// How long a drop waits for calls in progress. Their threads are then left behind.
    patience: Duration,
    handles: [Option<JoinHandle<()>>; MOST_WORKERS],
}

impl Threads {
    pub(crate) fn new(name: &'static str, patience: Duration) -> Threads {
        Threads { name, patience, handles: Default::default() }
    }
}

impl<J: Job<Done: Send> + Send + 'static> Workers<J> for Threads {
    fn start(&mut self, worker: usize, pool: &Arc<Pool<J>>) -> io::Result<()> {
        // One that was idle for too long has left the queue, and has nothing more to do.
        join(self.handles[worker].take());
        let pool = Arc::clone(pool);
        self.handles[worker] = Some(thread::spawn(self.name, move || serve(worker, &pool))?);
        Ok(())
    }

    fn end(&mut self, pool: &Pool<J>) {
        let busy = pool.until_idle(self.patience);
        for (handle, busy) in self.handles.iter_mut().zip(busy) {
            let handle = handle.take();
            if busy {
                tracing::info!(target: "dolmen", thread = self.name, "a thread is left behind in its call");
            } else {
                join(handle);
            }
        }
    }

    fn forget(&mut self) {
        // The handles name threads of another process: to detach them would be wrong, too.
        std::mem::forget(std::mem::take(&mut self.handles));
    }
}

fn join(handle: Option<JoinHandle<()>>) {
    if let Some(handle) = handle {
        // A panic would have been reported by itself.
        let _ = handle.join();
    }
}

fn serve<J: Job>(worker: usize, pool: &Pool<J>) {
    while let Some(job) = pool.take(worker, IDLE) {
        pool.finish(worker, job.run());
    }
}
