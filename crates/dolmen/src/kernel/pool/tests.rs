use std::num::NonZeroU32;

use super::*;
use crate::kernel::mailbox::NullSignal;

const MOMENT: Duration = Duration::from_millis(1);

struct Double(u32);

impl Job for Double {
    type Done = u32;

    fn run(self) -> u32 {
        2 * self.0
    }
}

fn pool() -> Arc<Pool<Double>> {
    Pool::new(Mailbox::new(Box::new(NullSignal), 1))
}

fn key(slot: u32) -> Key {
    Key { slot, generation: NonZeroU32::MIN }
}

fn push(pool: &Pool<Double>, number: u32) -> Option<usize> {
    pool.push(key(number), Double(number))
}

fn take(pool: &Pool<Double>, worker: usize) -> Option<u32> {
    pool.take(worker, MOMENT).map(|job| job.0)
}

#[test]
fn a_worker_is_started_only_for_a_job_that_no_idle_one_takes() {
    let pool = pool();
    assert_eq!(push(&pool, 0), Some(0));
    assert_eq!(push(&pool, 1), Some(1), "the first worker takes the first job");
    assert_eq!(push(&pool, 2), None, "there are two at most");
    assert_eq!([take(&pool, 0), take(&pool, 1)], [Some(0), Some(1)]);
    assert!(pool.finish(0, 0) && pool.finish(1, 2));
    assert_eq!(take(&pool, 0), Some(2));
    assert_eq!(push(&pool, 3), None, "the second worker is idle");
    assert_eq!(take(&pool, 1), Some(3));
    assert_eq!([pool.pop_done(), pool.pop_done()], [Some((key(0), 0)), Some((key(1), 2))]);
}

#[test]
fn a_worker_that_was_idle_for_too_long_ends_and_the_next_job_starts_one() {
    let pool = pool();
    assert_eq!(push(&pool, 0), Some(0));
    assert_eq!(take(&pool, 0), Some(0));
    assert!(pool.finish(0, 0));
    assert_eq!(take(&pool, 0), None);
    assert_eq!(push(&pool, 1), Some(0));
    assert!(!pool.not_started(0), "it was the only one");
    assert_eq!(push(&pool, 2), Some(0));
    assert_eq!(take(&pool, 0), Some(1));
    assert_eq!(push(&pool, 3), Some(1));
    assert!(pool.not_started(1), "the first one does it");
}

#[test]
fn a_worker_ends_with_the_reactor_and_its_result_is_dropped() {
    let pool = pool();
    push(&pool, 0);
    push(&pool, 1);
    assert_eq!(take(&pool, 0), Some(0));
    pool.close();
    assert_eq!(pool.until_idle(Duration::ZERO), [true, false]);
    assert!(!pool.finish(0, 0) && !pool.has_done());
    assert!(pool.take(0, Duration::from_secs(3_600)).is_none() && take(&pool, 1).is_none());
}
