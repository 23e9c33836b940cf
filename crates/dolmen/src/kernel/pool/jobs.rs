//! The engine's end of a pool: made for the first job, and of one process.
//!
//! A forked process has no workers, and a worker of the other process may have held the pool's lock at the fork. So a
//! pool of another process is never locked, whatever is called first in the new one.

#[cfg(all(test, target_os = "linux", not(loom), not(miri)))]
mod fork_tests;

use std::io;
use std::sync::Arc;

use super::{Job, Pool, Workers};
use crate::kernel::fork::Process;
use crate::kernel::mailbox::Mailbox;
use crate::token::Key;

pub(crate) struct Jobs<J: Job> {
    pool: Option<Arc<Pool<J>>>,
    workers: Box<dyn Workers<J>>,
    /// The last collection has left results.
    results_left: bool,
    /// Of the pool and the workers.
    process: Process,
    /// Another process's jobs were forgotten, and the engine does not know of it yet.
    lost: bool,
}

impl<J: Job> Jobs<J> {
    pub(crate) fn new(workers: Box<dyn Workers<J>>) -> Jobs<J> {
        Jobs { pool: None, workers, results_left: false, process: Process::current(), lost: false }
    }

    /// The pool, if there is one in this process.
    fn pool(&self) -> Option<&Pool<J>> {
        self.pool.as_deref().filter(|_| !self.process.is_copy())
    }

    /// In a forked process, forgets the other one's pool and workers.
    #[inline]
    fn settle(&mut self) {
        if self.process.is_copy() {
            self.begin_anew();
        }
    }

    #[cold]
    fn begin_anew(&mut self) {
        self.process.settle();
        std::mem::forget(self.pool.take());
        self.workers.forget();
        self.results_left = false;
        self.lost = true;
    }

    /// Hands a job to the workers, or returns it.
    ///
    /// # Errors
    ///
    /// There is no worker, and the system has no room for one.
    pub(crate) fn begin(&mut self, key: Key, job: J, mailbox: &Arc<Mailbox>) -> Result<(), (io::Error, J)> {
        self.settle();
        let pool = self.pool.get_or_insert_with(|| Pool::new(Arc::clone(mailbox)));
        let Some(worker) = pool.push(key, job) else { return Ok(()) };
        let Err(error) = self.workers.start(worker, pool) else { return Ok(()) };
        if pool.not_started(worker) {
            // Another one does it later.
            tracing::warn!(target: "dolmen", %error, "cannot start a second thread for calls that block");
            return Ok(());
        }
        let job = pool.forget(key).expect("there is no worker that could have taken it");
        Err((error, job))
    }

    /// From here on the job has no result.
    pub(crate) fn forget(&self, key: Key) {
        if let Some(pool) = self.pool() {
            drop(pool.forget(key));
        }
    }

    /// The next result.
    pub(crate) fn pop_done(&mut self) -> Option<(Key, J::Done)> {
        let done = self.pool().and_then(Pool::pop_done);
        self.results_left &= done.is_some();
        done
    }

    /// The engine takes no more results in this turn. Returns whether it has left some.
    pub(crate) fn note_left(&mut self) -> bool {
        self.results_left = self.pool().is_some_and(Pool::has_done);
        self.results_left
    }

    /// The engine knows that there are no results.
    pub(crate) fn note_none(&mut self) {
        self.results_left = false;
    }

    /// Whether there are results to be collected that the mailbox does not announce any more.
    pub(crate) fn has_results(&self) -> bool {
        self.results_left
    }

    /// Whether this is a forked process, in which nothing has come of the jobs of the other one. Says so once.
    #[inline]
    pub(crate) fn after_fork(&mut self) -> bool {
        self.settle();
        std::mem::take(&mut self.lost)
    }

    /// The reactor is being dropped: what waits is dropped, and the workers end, or are left behind in their calls.
    pub(crate) fn end(&mut self) {
        self.settle();
        if let Some(pool) = self.pool.take() {
            pool.close();
            self.workers.end(&pool);
        }
    }
}
