//! The threads that look names up.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::jobs::{Jobs, MOST_WORKERS};
use crate::kernel::thread;

/// How long a thread waits for the next look-up before it ends.
const IDLE: Duration = Duration::from_secs(30);

/// Starts and ends workers. The simulation has some that are not threads.
pub(crate) trait Workers {
    /// Starts a worker with a number for which there is none.
    ///
    /// # Errors
    ///
    /// The system has no room for another thread.
    fn start(&mut self, worker: usize, jobs: &Arc<Jobs>) -> io::Result<()>;

    /// Waits for the ends of the workers that are not busy, after [`Jobs::close`]. The busy ones are left behind.
    fn end(&mut self, busy: [bool; MOST_WORKERS]);

    /// This is a forked process, which has none of them.
    fn forget(&mut self);
}

#[derive(Default)]
pub(crate) struct Threads {
    handles: [Option<JoinHandle<()>>; MOST_WORKERS],
}

impl Workers for Threads {
    fn start(&mut self, worker: usize, jobs: &Arc<Jobs>) -> io::Result<()> {
        // One that was idle for too long has left the queue, and has nothing more to do.
        join(self.handles[worker].take());
        let jobs = Arc::clone(jobs);
        self.handles[worker] = Some(thread::spawn("dolmen names", move || run(worker, &jobs))?);
        Ok(())
    }

    fn end(&mut self, busy: [bool; MOST_WORKERS]) {
        for (handle, busy) in self.handles.iter_mut().zip(busy) {
            let handle = handle.take();
            if !busy {
                join(handle);
            }
        }
    }

    fn forget(&mut self) {
        // The handles name threads of another process: to detach them would be wrong, too.
        std::mem::forget(std::mem::take(self));
    }
}

fn join(handle: Option<JoinHandle<()>>) {
    if let Some(handle) = handle {
        // A panic would have been reported by itself.
        let _ = handle.join();
    }
}

fn run(worker: usize, jobs: &Jobs) {
    while let Some(job) = jobs.take(worker, IDLE) {
        jobs.look_up(worker, &job);
    }
}
