//! The queue between the engine and the threads that look names up.
//!
//! A job is in one of three places: it waits, a worker has it, or its answer waits for the engine. The engine can forget
//! it in each of them. A worker's look-up cannot be interrupted, so the worker's answer is then dropped.
//!
//! A worker holds this queue, the job and the resolver while it looks a name up, and nothing of the reactor: it may be
//! left behind in a look-up that takes minutes. The mailbox is in the queue only until the reactor is dropped.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Answer, Query, SharedResolver};
use crate::kernel::mailbox::Mailbox;
use crate::marks::{Mark, mark};
use crate::token::Key;

/// How many workers a reactor has at most. Two, so that one name whose servers do not answer does not delay the others.
pub(crate) const MOST_WORKERS: usize = 2;

pub(crate) struct Jobs {
    state: Mutex<State>,
    /// A job waits, or the reactor is gone.
    more: Condvar,
    resolver: SharedResolver,
}

struct State {
    waiting: VecDeque<Job>,
    answers: VecDeque<(Key, Answer)>,
    workers: [Worker; MOST_WORKERS],
    /// `None`: the reactor is gone.
    mailbox: Option<Arc<Mailbox>>,
}

/// One look-up.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) key: Key,
    pub(crate) query: Arc<Query>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    Absent,
    /// Also while it starts.
    Idle,
    /// `None`: the engine has forgotten the job.
    Busy(Option<Key>),
}

impl Jobs {
    pub(crate) fn new(mailbox: Arc<Mailbox>, resolver: SharedResolver) -> Arc<Jobs> {
        let state = State {
            waiting: VecDeque::new(),
            answers: VecDeque::new(),
            workers: [Worker::Absent; MOST_WORKERS],
            mailbox: Some(mailbox),
        };
        Arc::new(Jobs { state: Mutex::new(state), more: Condvar::new(), resolver })
    }

    /// No change below calls other code, so a panic cannot leave the state half-changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job. Returns the number of the worker to start for it, if one is needed.
    pub(crate) fn push(&self, job: Job) -> Option<usize> {
        let mut state = self.lock();
        state.waiting.push_back(job);
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
    pub(super) fn take(&self, worker: usize, idle: Duration) -> Option<Job> {
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

    /// As [`Jobs::take`], for a worker that does not wait.
    #[cfg(dolmen_sim)]
    pub(crate) fn take_now(&self, worker: usize) -> Option<Job> {
        let mut state = self.lock();
        let job = state.take(worker);
        if job.is_none() {
            state.workers[worker] = Worker::Absent;
        }
        job
    }

    /// Looks up what a worker has taken, and leaves the answer for the engine. Returns whether the engine still wants it.
    pub(crate) fn look_up(&self, worker: usize, job: &Job) -> bool {
        // Only a resolver of a test's own panics, and it must not leave its worker busy for good.
        let looked_up = catch_unwind(AssertUnwindSafe(|| job.query.answer(&*self.resolver.0)));
        let answer =
            looked_up.unwrap_or_else(|_| job.query.failed(io::Error::other("the resolver has panicked")));
        self.answer(worker, job.key, answer)
    }

    fn answer(&self, worker: usize, key: Key, answer: Answer) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.workers[worker], Worker::Idle);
        let Some(mailbox) = state.mailbox.clone() else {
            mark(Mark::AnsweredAfterDrop);
            return false;
        };
        if before == Worker::Busy(None) {
            mark(Mark::AnsweredAfterCancel);
            return false;
        }
        state.answers.push_back((key, answer));
        drop(state);
        mailbox.notify();
        true
    }

    /// The engine takes the next answer.
    pub(crate) fn pop_answer(&self) -> Option<(Key, Answer)> {
        self.lock().answers.pop_front()
    }

    /// Whether an answer waits for the engine.
    pub(crate) fn is_answered(&self) -> bool {
        !self.lock().answers.is_empty()
    }

    /// From here on the job has no answer.
    pub(crate) fn forget(&self, key: Key) {
        let mut state = self.lock();
        let before = state.waiting.len() + state.answers.len();
        state.waiting.retain(|job| job.key != key);
        state.answers.retain(|&(of, _)| of != key);
        if state.waiting.len() + state.answers.len() < before {
            mark(Mark::CancelledWaiting);
        }
        for worker in &mut state.workers {
            if *worker == Worker::Busy(Some(key)) {
                *worker = Worker::Busy(None);
            }
        }
    }

    /// The reactor is being dropped. Returns which of the workers are in a look-up; the others end.
    pub(crate) fn close(&self) -> [bool; MOST_WORKERS] {
        let mut state = self.lock();
        state.mailbox = None;
        let left = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.answers));
        let busy = state.workers.map(|worker| matches!(worker, Worker::Busy(_)));
        drop(state);
        self.more.notify_all();
        drop(left);
        busy
    }
}

impl State {
    fn take(&mut self, worker: usize) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.workers[worker] = Worker::Busy(Some(job.key));
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::num::NonZeroU32;

    use super::*;
    use crate::kernel::mailbox::NullSignal;
    use crate::kernel::names::Resolver;

    const MOMENT: Duration = Duration::from_millis(1);

    struct Nothing;

    impl Resolver for Nothing {
        fn addresses(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(Vec::new())
        }

        fn name(&self, _: IpAddr) -> io::Result<String> {
            Ok(String::new())
        }
    }

    fn jobs() -> Arc<Jobs> {
        Jobs::new(Mailbox::new(Box::new(NullSignal), 1), SharedResolver(Arc::new(Nothing)))
    }

    fn job(slot: u32) -> Job {
        let query = Arc::new(Query::Addresses { host: "mud.example".to_owned(), port: 7 });
        Job { key: Key { slot, generation: NonZeroU32::MIN }, query }
    }

    #[test]
    fn a_worker_is_started_only_for_a_job_that_no_idle_one_takes() {
        let jobs = jobs();
        assert_eq!(jobs.push(job(0)), Some(0));
        assert_eq!(jobs.push(job(1)), Some(1), "the first worker takes the first job");
        assert_eq!(jobs.push(job(2)), None, "there are two at most");
        let first = jobs.take(0, MOMENT).expect("a job waits");
        let second = jobs.take(1, MOMENT).expect("a job waits");
        assert!(jobs.look_up(0, &first) && jobs.look_up(1, &second));
        assert_eq!(jobs.take(0, MOMENT).map(|job| job.key.slot), Some(2));
        assert_eq!(jobs.push(job(3)), None, "the second worker is idle");
        assert_eq!(jobs.take(1, MOMENT).map(|job| job.key.slot), Some(3));
    }

    #[test]
    fn a_worker_that_was_idle_for_too_long_ends_and_the_next_job_starts_one() {
        let jobs = jobs();
        assert_eq!(jobs.push(job(0)), Some(0));
        let first = jobs.take(0, MOMENT).expect("a job waits");
        assert!(jobs.look_up(0, &first));
        assert!(jobs.take(0, MOMENT).is_none());
        assert_eq!(jobs.push(job(1)), Some(0));
        assert!(!jobs.not_started(0), "it was the only one");
        assert_eq!(jobs.push(job(2)), Some(0));
        assert_eq!(jobs.take(0, MOMENT).map(|job| job.key.slot), Some(1));
        assert_eq!(jobs.push(job(3)), Some(1));
        assert!(jobs.not_started(1), "the first one does it");
    }

    #[test]
    fn a_worker_ends_with_the_reactor_and_its_answer_is_dropped() {
        let jobs = jobs();
        jobs.push(job(0));
        jobs.push(job(1));
        let first = jobs.take(0, MOMENT).expect("a job waits");
        assert_eq!(jobs.close(), [true, false]);
        assert!(!jobs.look_up(0, &first) && !jobs.is_answered());
        assert!(jobs.take(0, Duration::from_secs(3_600)).is_none() && jobs.take(1, MOMENT).is_none());
    }
}
