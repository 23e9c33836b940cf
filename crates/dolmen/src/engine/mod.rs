//! All policy, and no system call: the engine keeps the reactor's promises in one place, over any kernel.
//!
//! The engine works in turns. A turn ([`Engine::wait`]) first serves every registration that has changed (sends
//! queued, a receive to be posted again, a close begun), then polls the kernel for completions, and converts those, the
//! posts and the expired timers into records in one queue, the `outbox`. From there they move into the caller's events,
//! first in, first out.
//!
//! # Fairness
//!
//! Each of the kernel, the mailbox and the timers puts at most one batch of records, as many as the caller's events
//! have room for, into the outbox. The engine polls them again only when less than a batch is left of the records that
//! were in the outbox at the last poll. So every source that is ready at the time of a poll is delivered within a
//! handful of waits, however busy the others are. Records that serving adds in between do not count: otherwise a
//! kernel that completes receives immediately could keep the outbox full indefinitely and starve all others. Those
//! records are bounded, too: a connection's next receive is posted when its last record has been delivered, so no
//! connection has two in the outbox, and a listener has no more than the accepts it may post.
//!
//! # Two-phase close
//!
//! A registration ends in two steps: the engine cancels its pending operations, and when they have completed, closes
//! its source and frees its slot. Until then it is `Closing`, and everything that arrives for it is discarded.

pub(crate) mod buffer_pool;
pub(crate) mod removed;

mod connection;
mod console;
mod failures;
mod listener;
mod poll;
mod send_queue;
mod table;
mod timers;
mod watch;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::events::{Events, Origin, Record};
use crate::kernel::fork::Process;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::BorrowedSocket;
use crate::kernel::submitter::{Completion, Submitter};
use crate::kernel::{Fault, Kernel, Options};
use crate::mailbox::Mailbox;
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::stats::Stats;
use crate::token::{Key, TimerId, Token};
use buffer_pool::BufferPool;
use connection::{Borrowed, Connection};
use console::Console;
use failures::Failures;
use listener::Listener;
use poll::Poll;
use removed::Removed;
use send_queue::SendQueues;
use table::Table;
use timers::{Purpose, Timers};
use watch::Watch;

/// The settings of [`Builder`](crate::Builder), checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) max_events: usize,
    pub(crate) pool_size: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) high_water_bytes: usize,
    pub(crate) low_water_bytes: usize,
    /// The most bytes that one send passes to the kernel. Windows locks in memory what it is given.
    pub(crate) max_send_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) post_capacity: usize,
    pub(crate) skip_on_success: bool,
}

impl Config {
    pub(crate) const DEFAULT: Config = Config {
        max_events: 128,
        pool_size: 256,
        buffer_bytes: 4096,
        max_connections: usize::MAX,
        high_water_bytes: 256 * 1024,
        low_water_bytes: 64 * 1024,
        max_send_bytes: 64 * 1024,
        linger: Duration::from_secs(5),
        post_capacity: 65_536,
        skip_on_success: true,
    };

    fn options(&self) -> Options {
        Options { max_packets: self.max_events, skip_on_success: self.skip_on_success }
    }
}

/// How long a drop waits for the kernel to complete everything. It takes milliseconds; this is a limit for what should
/// be impossible.
const TEARDOWN_NS: u64 = 5_000_000_000;

/// The first and the longest pause after a failing accept or watch, and when there was no memory for a send or a
/// receive.
const RETRY_FIRST_NS: u64 = 10_000_000;
const RETRY_LONGEST_NS: u64 = 1_000_000_000;

/// The least number of further polls when a full batch from the kernel produced no event.
pub(crate) const MIN_EVENTLESS_POLLS: usize = 4;

pub(crate) struct Engine<K: Kernel> {
    // Sources (in the tables) are closed by hand in `Drop`, before the submitter is dropped.
    submitter: Submitter<K>,
    config: Config,
    connections: Table<Connection<K>>,
    /// Indexed by the slot of the connection, up to the last borrowed one.
    borrowed: Vec<Borrowed>,
    listeners: Table<Listener<K>>,
    watches: Table<Watch<K>>,
    polls: Table<Poll<K>>,
    console: Console<K::Handle>,
    timers: Timers,
    send_queues: SendQueues,
    mailbox: Arc<Mailbox>,
    origin: Origin,
    /// Registrations to serve before the kernel is polled again.
    run_queue: VecDeque<SourceRef>,
    outbox: VecDeque<Record<K::Stream>>,
    /// How many of the outbox's records, counted from the front, were there at the last poll of the kernel.
    undelivered_from_last_poll: usize,
    /// Their slots are released with the next wait.
    retired: Vec<Retired>,
    /// When the caller's wait began. Set only while there are timers.
    wait_began_ns: u64,
    /// A `Woken` record is in the outbox.
    woken: bool,
    /// The completions of the current poll; empty between polls.
    completions: Vec<Completion<K>>,
    /// Sends and receives for which the system had no memory.
    transfer_failures: Failures,
    stats: Stats,
    process: Process,
}

/// A registration in the run queue, by its slot. If the slot has been reused meanwhile, the new registration is
/// served once without need.
#[derive(Clone, Copy, Debug)]
enum SourceRef {
    Connection(u32),
    Listener(u32),
    Watch(u32),
    Poll(u32),
}

/// A registration that has ended, with its last record delivered.
enum Retired {
    Connection(u32),
    Timer(Key),
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let kernel =
            K::new(config.options()).map_err(|fault| Error::from_fault(fault, "create the reactor", None))?;
        Ok(Engine::over(kernel, config))
    }

    /// Makes an engine over an existing kernel.
    pub(crate) fn over(kernel: K, config: Config) -> Self {
        let pool = Rc::new(RefCell::new(BufferPool::new(config.pool_size, config.buffer_bytes)));
        let mailbox = Mailbox::new(kernel.signal(), config.post_capacity);
        let submitter = Submitter::new(kernel, config.options(), Rc::clone(&pool));
        Engine {
            submitter,
            config,
            connections: Table::new(),
            borrowed: Vec::new(),
            listeners: Table::new(),
            watches: Table::new(),
            polls: Table::new(),
            console: Console::new(),
            timers: Timers::new(),
            send_queues: SendQueues::new(),
            mailbox,
            origin: Origin { pool, removed: Rc::new(Removed::default()) },
            run_queue: VecDeque::new(),
            outbox: VecDeque::new(),
            undelivered_from_last_poll: 0,
            retired: Vec::new(),
            wait_began_ns: 0,
            woken: false,
            completions: Vec::new(),
            transfer_failures: Failures::default(),
            stats: Stats::default(),
            process: Process::current(),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.submitter.now_ns()
    }

    pub(crate) fn is_stream(&self, socket: BorrowedSocket) -> std::io::Result<bool> {
        self.submitter.is_stream(socket).map_err(Fault::to_io)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn kernel(&mut self) -> &mut K {
        self.submitter.kernel()
    }

    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// The counters so far, and what the reactor holds at this moment [p17].
    pub(crate) fn stats(&self) -> Stats {
        let pool = self.origin.pool.borrow();
        Stats {
            kernel_calls: self.submitter.calls(),
            connections: self.connections.len(),
            listeners: self.listeners.len(),
            watches: self.watches.len() + self.polls.len(),
            timers: self.timers.len(),
            operations_in_flight: self.submitter.in_flight(),
            buffers_out: pool.out(),
            buffers_free: pool.free(),
            signals_failed: self.mailbox.signals_failed(),
            unknown_completions: self.submitter.unknown(),
            ..self.stats
        }
    }

    pub(crate) fn wait(
        &mut self,
        events: &mut Events<K::Stream>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error> {
        self.wait_in_turns(events, timeout, false)
    }

    /// As [`Engine::wait`], but blocks at most once: if that one call of the kernel ends without an event, the wait
    /// returns with no events. For callers that must notice that a signal handler has run [hc49].
    ///
    /// The kernel does not say why it returned, and a handler may run at any moment before the next poll. So the engine
    /// does not poll it again, even if one of the engine's own timers has ended the call.
    pub(crate) fn wait_once(
        &mut self,
        events: &mut Events<K::Stream>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error> {
        self.wait_in_turns(events, timeout, true)
    }

    fn wait_in_turns(
        &mut self,
        events: &mut Events<K::Stream>,
        timeout: Option<Duration>,
        once: bool,
    ) -> Result<usize, Error> {
        events.reset(&self.origin);
        self.console_after_fork();
        if self.process.is_copy() {
            // Collected or not, posts belong to the process in which they were made.
            self.process.settle();
            self.outbox.retain(|record| !matches!(record, Record::Posted { .. }));
        }
        // Before the mailbox is read: a wake that came while the kernel belonged to another process is only there.
        let settled = self.submitter.kernel().after_fork();
        settled.map_err(|fault| Error::from_fault(fault, "wait for events", None))?;
        self.release_retired();
        self.stats.waits += 1;
        if self.timers.len() > 0 {
            self.wait_began_ns = self.submitter.now_ns();
        }
        let batch = events.capacity().min(self.config.max_events);
        let deadline_ns = timeout
            .filter(|timeout| !timeout.is_zero())
            .map(|timeout| self.submitter.now_ns().saturating_add(saturating_ns(timeout)));
        let (mut polled, mut blocked, mut full) = (false, false, false);
        let mut polls_left = None;
        loop {
            self.serve_pending();
            // Closing a connection removes its records from the outbox.
            self.undelivered_from_last_poll = self.undelivered_from_last_poll.min(self.outbox.len());
            // Each source is polled again as soon as less than a batch is left of what the last poll has found
            // [hc19, p03].
            if self.undelivered_from_last_poll < batch {
                let poll_only = timeout.is_some() && deadline_ns.is_none();
                let block =
                    if poll_only || full || self.has_work() { Some(0) } else { self.until(deadline_ns) };
                blocked |= block != Some(0);
                full = self.poll(batch, block)?;
                polled = true;
                self.console_after_fork();
            }
            self.deliver(events);
            // Completions that bring no event, as all do of removed registrations, may have taken the room of those
            // that do. So the engine polls the kernel again, until everything that it had by now can have arrived.
            if events.is_empty() && full && !mutant(Mutant::CountEventlessPackets) {
                // In that time each operation in flight has its turn, after a signal and the like.
                let left = polls_left
                    .get_or_insert_with(|| self.submitter.in_flight() / batch + MIN_EVENTLESS_POLLS);
                if *left > 0 {
                    *left -= 1;
                    continue;
                }
            }
            let over = !events.is_empty()
                || (once && blocked)
                // All records left from earlier polls may have been removed meanwhile: then nothing has been polled
                // yet [hc25].
                || polled
                    && match deadline_ns {
                        // By the clock, as a wait of the kernel may return early [hc22, p04].
                        Some(deadline) => self.submitter.now_ns() >= deadline,
                        None => timeout.is_some(),
                    };
            if over {
                self.stats.events += events.len() as u64;
                tracing::trace!(target: "io_reactor", events = events.len(), "wait");
                return Ok(events.len());
            }
        }
    }

    /// Starts sending whatever is queued, without waiting for anything.
    pub(crate) fn flush(&mut self) {
        self.serve_pending();
    }

    pub(crate) fn timer(&mut self, token: Token, after: Duration) -> TimerId {
        self.set_timer(after, 0, token)
    }

    pub(crate) fn interval(&mut self, token: Token, period: Duration) -> TimerId {
        self.set_timer(period, saturating_ns(period).max(1), token)
    }

    pub(crate) fn interval_after(&mut self, token: Token, delay: Duration, period: Duration) -> TimerId {
        self.set_timer(delay, saturating_ns(period).max(1), token)
    }

    pub(crate) fn cancel_timer(&mut self, timer: TimerId) -> bool {
        if self.timers.has_issued(timer.0) {
            self.origin.removed.mark_timer(timer);
        }
        // The engine's own timers are in the same table, and the caller must not cancel them.
        self.timers.is_callers(timer.0) && self.timers.cancel(timer.0)
    }

    fn set_timer(&mut self, after: Duration, period_ns: u64, token: Token) -> TimerId {
        let deadline_ns = self.submitter.now_ns().saturating_add(saturating_ns(after));
        TimerId(self.timers.insert(deadline_ns, period_ns, Purpose::User(token)))
    }

    /// Sets a timer of the engine itself.
    fn set_internal_timer(&mut self, after_ns: u64, purpose: Purpose) -> Key {
        self.timers.insert(self.submitter.now_ns().saturating_add(after_ns), 0, purpose)
    }

    /// Whether something is left to do or to deliver, so that blocking would be wrong.
    fn has_work(&self) -> bool {
        !self.outbox.is_empty()
            || !self.run_queue.is_empty()
            || self.submitter.has_packets()
            || self.mailbox.waiting()
            || self.console.has_work()
    }

    /// How long to block: until a deadline, the next timer, or the next attempt to watch the signals after a fork, whichever
    /// comes first, and indefinitely without any of them. Computed anew for each poll, so that an interrupted poll does not
    /// lengthen the wait [hc24, p02].
    fn until(&mut self, deadline_ns: Option<u64>) -> Option<u64> {
        let again = self.console.signal_retry_ns().map(|ns| self.submitter.now_ns().saturating_add(ns));
        let first = [deadline_ns, self.timers.next_ns(), again].into_iter().flatten().min()?;
        self.submitter.kernel().expect_end(first);
        let left_ns = first.saturating_sub(self.submitter.now_ns());
        Some(if mutant(Mutant::TruncateTimeout) { left_ns / 1_000_000 * 1_000_000 } else { left_ns })
    }

    /// Serves every registration in the run queue. Those that are added while this runs have their turn next time.
    fn serve_pending(&mut self) {
        for _ in 0..self.run_queue.len() {
            match self.run_queue.pop_front().expect("it was not empty") {
                SourceRef::Connection(slot) => self.serve_connection(slot),
                SourceRef::Listener(slot) => self.serve_listener(slot),
                SourceRef::Watch(slot) => self.serve_watch(slot),
                SourceRef::Poll(slot) => self.serve_poll(slot),
            }
        }
    }

    /// Polls every source once, for up to a batch each. Returns whether the kernel may have more.
    fn poll(&mut self, batch: usize, block_ns: Option<u64>) -> Result<bool, Error> {
        self.stats.polls += 1;
        let mut completions = std::mem::take(&mut self.completions);
        let waited = self.submitter.wait(batch, block_ns, |completion| completions.push(completion));
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        for foreign in self.submitter.take_foreign() {
            self.stats.foreign_completions += 1;
            tracing::debug!(target: "io_reactor", key = foreign.key, bytes = foreign.bytes, "a foreign completion");
        }
        let full = waited.map_err(|fault| Error::from_fault(fault, "wait for events", None))?;

        let mailbox = Arc::clone(&self.mailbox);
        let outbox = &mut self.outbox;
        let woken = mailbox.collect(batch, |token, value| outbox.push_back(Record::Posted { token, value }));
        // A `Woken` record that is not delivered yet covers this wake as well [p12].
        if woken && !std::mem::replace(&mut self.woken, true) {
            self.outbox.push_back(Record::Woken);
        }
        self.collect_console(batch);
        if self.timers.len() > 0 {
            self.expire_timers(batch);
        }
        self.undelivered_from_last_poll = self.outbox.len();
        Ok(full)
    }

    fn complete(&mut self, completion: Completion<K>) {
        match completion.kind {
            OpKind::Receive => self.receive_completed(completion),
            OpKind::Send => self.send_completed(completion),
            OpKind::Accept => self.accept_completed(completion),
            OpKind::Watch => self.watch_completed(completion),
            OpKind::Poll => self.poll_completed(completion),
        }
    }

    fn expire_timers(&mut self, batch: usize) {
        let now_ns = self.submitter.now_ns() + if mutant(Mutant::EarlyTimer) { 1_000_000 } else { 0 };
        // The engine's own timers produce no record, and do not count towards the batch.
        let mut records = 0;
        for _ in 0..self.timers.len() {
            if records == batch {
                break;
            }
            let Some(expired) = self.timers.expire(now_ns) else { break };
            match expired.purpose {
                Purpose::User(token) => {
                    let timer = TimerId(expired.key);
                    let (missed, last) = (expired.missed, expired.last);
                    self.outbox.push_back(Record::Timer { timer, token, missed, last });
                    records += 1;
                    continue;
                }
                Purpose::Linger(key) => self.linger_expired(key),
                Purpose::AcceptAgain(key) => self.accept_again(key),
                Purpose::TransferAgain(key, direction) => self.transfer_again(key, direction),
                Purpose::WatchAgain(key) => self.watch_again(key),
            }
            self.timers.release(expired.key);
        }
    }

    /// Fills the caller's events from the outbox.
    fn deliver(&mut self, events: &mut Events<K::Stream>) {
        while events.len() < events.capacity() {
            let record =
                if mutant(Mutant::NewestFirst) { self.outbox.pop_back() } else { self.outbox.pop_front() };
            let Some(record) = record else { break };
            self.undelivered_from_last_poll = self.undelivered_from_last_poll.saturating_sub(1);
            // The registration was removed while the record waited in the outbox [p07].
            if record.is_stale(&self.origin.removed) {
                mark(Mark::StaleDiscarded);
                self.discard(record);
                continue;
            }
            self.retire(&record);
            match record {
                Record::Received { conn, token, buffer } => {
                    if let Some(mut buffer) = self.deliver_received(conn, buffer) {
                        buffer.terminate();
                        events.push(Record::Received { conn, token, buffer });
                    }
                }
                Record::Ready { watch, .. } => {
                    self.ready_delivered(watch);
                    events.push(record);
                }
                Record::Polled { poll, token, ready } => {
                    let ready = self.polled_delivered(poll, ready);
                    if !ready.is_empty() {
                        events.push(Record::Polled { poll, token, ready });
                    }
                }
                Record::Accepted { listener, .. } => {
                    self.accepted_delivered(listener);
                    events.push(record);
                }
                Record::Woken => {
                    // It covers every wake up to this moment.
                    self.mailbox.forget_wakes();
                    self.woken = false;
                    events.push(record);
                }
                record => events.push(record),
            }
        }
        if !self.outbox.is_empty() {
            mark(Mark::OutboxOverflow);
        }
    }

    /// A registration's last record leaves the outbox.
    ///
    /// A removal is recorded by slot (see [`removed`]), up to a generation. If the slot were reused while this record
    /// is still in the caller's events, removing the new registration would hide it. So the slot is released with the
    /// next wait.
    fn retire(&mut self, record: &Record<K::Stream>) {
        match record {
            Record::Closed { conn, .. } => self.retired.push(Retired::Connection(conn.0.slot)),
            Record::Timer { timer, last: true, .. } => self.retired.push(Retired::Timer(timer.0)),
            _ => {}
        }
    }

    fn release_retired(&mut self) {
        for retired in self.retired.drain(..) {
            match retired {
                Retired::Connection(slot) => self.connections.release(slot),
                Retired::Timer(key) => self.timers.release(key),
            }
        }
    }

    /// Disposes of a record that is not to be delivered.
    fn discard(&mut self, record: Record<K::Stream>) {
        self.retire(&record);
        if let Record::Received { buffer, .. } = record {
            self.origin.pool.borrow_mut().give_back(buffer);
        }
    }
}

/// Teardown: nothing is freed before the kernel has released it.
impl<K: Kernel> Drop for Engine<K> {
    fn drop(&mut self) {
        self.mailbox.close();
        // What was delivered stays delivered: these removals do not affect events that the caller already has.
        self.origin.removed = Rc::default();
        self.remove_console_and_signals();
        self.submitter.kernel().retire();
        let deadline_ns = self.submitter.now_ns().saturating_add(TEARDOWN_NS);
        if self.submitter.in_flight() > 0 {
            mark(Mark::DroppedInFlight);
        }
        self.remove_all_connections();
        self.remove_all_listeners();
        self.remove_all_watches();
        self.remove_all_polls();
        loop {
            self.serve_pending();
            let sources =
                self.connections.len() + self.listeners.len() + self.watches.len() + self.polls.len();
            if sources == 0 {
                break;
            }
            if !self.run_queue.is_empty() {
                continue;
            }
            // The rest waits for the kernel to complete operations [hc32, p14].
            let left = self.submitter.in_flight();
            let left_ns = deadline_ns.saturating_sub(self.submitter.now_ns());
            if left == 0 || left_ns == 0 || self.poll(self.config.max_events, Some(left_ns)).is_err() {
                tracing::error!(target: "io_reactor", left, "the kernel did not complete all operations");
                break;
            }
        }
        while let Some(record) = self.outbox.pop_front() {
            self.discard(record);
        }
    }
}

/// The pause before the next attempt, doubling from `RETRY_FIRST_NS` on.
fn next_retry_ns(last_ns: u64) -> u64 {
    (last_ns * 2).clamp(RETRY_FIRST_NS, RETRY_LONGEST_NS)
}

/// A time that the clock cannot express never comes, instead of being taken for a short one [hc23].
fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The error for an id that names no live registration.
fn not_found(action: &'static str, what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, action, format_args!("{what} {id}"))
}

fn refused<S>(fault: Fault, action: &'static str, source: S) -> crate::error::AddError<S> {
    crate::error::AddError { error: Error::from_fault(fault, action, None), source }
}
