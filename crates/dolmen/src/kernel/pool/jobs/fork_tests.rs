use std::num::NonZeroU32;

#[path = "../../../../tests/common/fork.rs"]
#[allow(unsafe_code)] // It forks.
mod fork;

use super::*;
use crate::kernel::mailbox::NullSignal;

struct Nothing;

impl Job for Nothing {
    type Done = ();

    fn run(self) {}
}

/// Never takes a job.
struct Nobody;

impl Workers<Nothing> for Nobody {
    fn start(&mut self, _: usize, _: &Arc<Pool<Nothing>>) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &Pool<Nothing>) {}

    fn forget(&mut self) {}
}

type Call = fn(&mut Jobs<Nothing>, Key, &Arc<Mailbox>);

/// The lock is held at the fork, and stays held: a call that takes it would not return.
#[test]
fn hc47_no_call_in_a_forked_process_locks_the_other_ones_pool() {
    let mailbox = Mailbox::new(Box::new(NullSignal), 1);
    let key = |slot| Key { slot, generation: NonZeroU32::MIN };
    let begun = || {
        let mut jobs = Jobs::new(Box::new(Nobody));
        jobs.begin(key(0), Nothing, &mailbox).map_err(|(error, _)| error).expect("it waits");
        jobs
    };
    let calls: [Call; 6] = [
        |jobs, key, _| jobs.forget(key),
        |jobs, _, _| assert!(jobs.pop_done().is_none()),
        |jobs, _, _| assert!(!jobs.note_left()),
        |jobs, _, _| assert!(jobs.after_fork() && !jobs.after_fork()),
        |jobs, _, _| jobs.end(),
        |jobs, key, mailbox| {
            assert!(jobs.begin(key, Nothing, mailbox).is_ok());
            assert!(jobs.after_fork(), "the engine still has to know of it");
            jobs.forget(key);
        },
    ];
    for call in calls {
        let mut jobs = begun();
        let pool = Arc::clone(jobs.pool.as_ref().expect("it was made for the job"));
        let held = pool.lock();
        fork::fork(|| call(&mut jobs, key(0), &mailbox)).ends_well();
        drop(held);
        assert!(!jobs.after_fork(), "this is no forked process");
        jobs.end();
    }
}
