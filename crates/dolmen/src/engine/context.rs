//! The services that all sources share. The context knows no source: a source changes itself and this, and the engine
//! has the tables.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::kernel::Kernel;
use crate::kernel::submitter::Submitter;
use crate::record::Record;
use crate::stats::Stats;
use crate::token::Key;

use super::config::Config;
use super::failures::Failures;
use super::registration::{Registration, SourceRef};
use super::send_queue::SendQueues;
use super::send_reports::SendReports;
use super::timers::{Purpose, Timers};
use crate::kernel::buffer_pool::BufferPool;
use crate::removed::Removed;

pub(super) struct Context<K: Kernel> {
    pub(super) submitter: Submitter<K>,
    pub(super) config: Config,
    pub(super) timers: Timers,
    pub(super) send_queues: SendQueues,
    pub(super) send_reports: SendReports,
    pub(super) pool: BufferPool,
    /// What was removed, shared with the caller's events.
    pub(super) removed: Rc<Removed>,
    /// What the next waits deliver, first in, first out.
    pub(super) outbox: VecDeque<Record<K::Stream>>,
    /// Registrations to serve before the kernel is polled again.
    pub(super) run_queue: VecDeque<SourceRef>,
    /// When the caller's wait began. Set only while there are timers.
    pub(super) wait_began_ns: u64,
    /// Sends and receives for which the system had no memory.
    pub(super) transfer_failures: Failures,
    pub(super) stats: Stats,
}

impl<K: Kernel> Context<K> {
    pub(super) fn over(kernel: K, config: Config) -> Context<K> {
        let pool = BufferPool::new(config.pool_size, config.buffer_bytes);
        Context {
            submitter: Submitter::new(kernel, config.options(), pool.clone()),
            config,
            timers: Timers::new(),
            send_queues: SendQueues::new(),
            send_reports: SendReports::default(),
            pool,
            removed: Rc::new(Removed::default()),
            outbox: VecDeque::new(),
            run_queue: VecDeque::new(),
            wait_began_ns: 0,
            transfer_failures: Failures::default(),
            stats: Stats::default(),
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.submitter.now_ns()
    }

    /// Puts a registration in the run queue, unless it is there.
    pub(super) fn list(&mut self, registration: &mut Registration, source: SourceRef) {
        if registration.list() {
            self.run_queue.push_back(source);
        }
    }

    /// Sets a timer of the engine itself.
    pub(super) fn set_internal_timer(&mut self, after_ns: u64, purpose: Purpose) -> Key {
        self.timers.insert(self.now_ns().saturating_add(after_ns), 0, purpose)
    }

    /// Takes records out of the outbox that are not to be delivered.
    pub(super) fn drop_records(&mut self, is_dropped: impl Fn(&Record<K::Stream>) -> bool) {
        self.outbox.retain(|record| !is_dropped(record));
    }
}
