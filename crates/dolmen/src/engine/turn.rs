//! A wait, in turns: serve the registrations that have changed, collect from every source, deliver.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::kernel::Kernel;
use crate::kernel::arrivals::Foreign;
use crate::kernel::buffer::Buffer;
use crate::kernel::mailbox::Arrival;
use crate::kernel::readiness::Readiness;
use crate::kernel::submitter::Completion;
use crate::marks::{Mark, mark};
use crate::record::{Batch, Record};
use crate::token::{ConnId, Key, PollId, TimerId};

use super::Engine;
use super::config::saturating_ns;
use super::published::Published;
use super::timers::Purpose;

/// The least number of further collections when a full batch from the kernel produced no event.
pub(crate) const MIN_EVENTLESS_WAITS: usize = 4;

/// What turns leave for each other.
pub(super) struct Turn<K: Kernel> {
    /// How many of the outbox's records, counted from the front, were there after the last collection.
    undelivered_from_last_collection: usize,
    /// Their slots are released with the next wait.
    retired: Vec<Retired>,
    /// A `Woken` record is in the outbox.
    woken: bool,
    /// The completions of the current collection; empty between two.
    completions: Vec<Completion<K>>,
    /// The kernel may have had more than the last collection took.
    full: bool,
    /// Figures for another thread, stored before each wait that may block.
    published: Option<Arc<Published>>,
}

/// A registration that has ended, with its last record delivered.
enum Retired {
    Connection(u32),
    Timer(Key),
    Lookup(u32),
    File(u32),
}

impl<K: Kernel> Default for Turn<K> {
    fn default() -> Turn<K> {
        Turn {
            undelivered_from_last_collection: 0,
            retired: Vec::new(),
            woken: false,
            completions: Vec::new(),
            full: false,
            published: None,
        }
    }
}

/// When a wait ends without an event.
#[derive(Clone, Copy)]
enum End {
    /// After one collection that does not block.
    Immediately,
    At(u64),
    Never,
}

impl End {
    fn after(timeout: Option<Duration>, now_ns: impl FnOnce() -> u64) -> End {
        match timeout {
            None => End::Never,
            Some(Duration::ZERO) => End::Immediately,
            Some(timeout) => End::At(now_ns().saturating_add(saturating_ns(timeout))),
        }
    }
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn wait(
        &mut self,
        events: &mut Batch<K::Stream>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error> {
        self.wait_in_turns(events, timeout, false)
    }

    /// As [`Engine::wait`], but blocks at most once: if that one call of the kernel ends without an event, the wait
    /// returns with no events. For callers that must notice that a signal handler has run [hc49].
    ///
    /// The kernel does not say why it returned, and a handler may run at any moment before the next call. So the engine
    /// does not wait in it again, even if one of the engine's own timers has ended the call.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(crate) fn wait_once(
        &mut self,
        events: &mut Batch<K::Stream>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error> {
        self.wait_in_turns(events, timeout, true)
    }

    fn wait_in_turns(
        &mut self,
        events: &mut Batch<K::Stream>,
        timeout: Option<Duration>,
        once: bool,
    ) -> Result<usize, Error> {
        self.begin_wait(events)?;
        let batch = events.capacity().min(self.cx.config.max_events);
        let end = End::after(timeout, || self.cx.now_ns());
        let (mut collected, mut blocked, mut full) = (false, false, false);
        let mut tries_left = None;
        loop {
            self.serve_pending();
            // Closing a connection removes its records from the outbox.
            let undelivered = self.turn.undelivered_from_last_collection.min(self.cx.outbox.len());
            self.turn.undelivered_from_last_collection = undelivered;
            // The engine collects again as soon as less than a batch is left of what the last collection has found
            // [hc19, p03].
            if undelivered < batch {
                let block_ns = if full || self.has_work() { Some(0) } else { self.until(end) };
                if block_ns != Some(0) {
                    blocked = true;
                    self.publish();
                }
                full = self.collect(batch, block_ns)?;
                collected = true;
                self.console_after_fork();
            }
            self.deliver(events);
            // Completions that bring no event, as all do of removed registrations, may have taken the room of those
            // that do. So the engine asks the kernel again, until everything that it had by now can have arrived.
            if events.is_empty() && full {
                // In that time each operation in flight has its turn, after a signal and the like.
                let left = tries_left
                    .get_or_insert_with(|| self.cx.submitter.in_flight() / batch + MIN_EVENTLESS_WAITS);
                if *left > 0 {
                    *left -= 1;
                    continue;
                }
            }
            // All records left from earlier collections may have been removed meanwhile: then nothing was collected yet
            // [hc25].
            let over = !events.is_empty() || (once && blocked) || (collected && self.is_over(end));
            if over {
                self.cx.stats.events += events.len() as u64;
                tracing::trace!(target: "dolmen", events = events.len(), "wait");
                return Ok(events.len());
            }
        }
    }

    /// Publishes figures for another thread from now on.
    pub(crate) fn publish_to(&mut self, published: Arc<Published>) {
        self.turn.published = Some(published);
    }

    fn publish(&self) {
        if let Some(published) = &self.turn.published {
            published.store(&self.cx.stats, self.cx.submitter.calls());
        }
    }

    /// Takes back the events of the last wait, and finds out whether this is a forked process.
    fn begin_wait(&mut self, events: &mut Batch<K::Stream>) -> Result<(), Error> {
        events.reset(&self.cx.removed);
        if self.process.is_copy() {
            self.begin_in_child()?;
        }
        self.console_after_fork();
        self.release_retired();
        self.cx.stats.waits += 1;
        if self.cx.timers.len() > 0 {
            self.cx.wait_began_ns = self.cx.now_ns();
        }
        Ok(())
    }

    /// The first wait in a forked process.
    #[cold]
    fn begin_in_child(&mut self) -> Result<(), Error> {
        self.console_after_fork();
        self.files_after_fork();
        // Before the mailbox is read: a wake that came while the kernel belonged to another process is only there.
        let settled = self.cx.submitter.kernel().after_fork();
        settled.map_err(|fault| Error::from_fault(fault, "wait for events", None))?;
        // Collected or not, posts belong to the process in which they were made [hc47]. A report of an inbox is stale here:
        // see `kernel/mailbox/channel.rs`.
        self.process.settle();
        self.cx.outbox.retain(|record| !matches!(record, Record::Posted { .. }));
        self.lookups_after_fork();
        Ok(())
    }

    /// By the clock, as a wait of the kernel may return early [hc22, p04].
    fn is_over(&self, end: End) -> bool {
        match end {
            End::Immediately => true,
            End::At(deadline_ns) => self.cx.now_ns() >= deadline_ns,
            End::Never => false,
        }
    }

    /// Whether something is left to do or to deliver, so that blocking would be wrong.
    fn has_work(&self) -> bool {
        !self.cx.outbox.is_empty()
            || !self.cx.run_queue.is_empty()
            || self.cx.submitter.has_packets()
            || self.mailbox.waiting()
            || self.lookups.has_answers()
            || self.console.has_work()
            || self.files.has_results()
    }

    /// How long to block: until the end, the next timer, or the next attempt to watch the signals after a fork,
    /// whichever comes first, and indefinitely without any of them. Computed anew for each call, so that an interrupted
    /// one does not lengthen the wait [hc24, p02].
    fn until(&mut self, end: End) -> Option<u64> {
        let deadline_ns = match end {
            End::Immediately => return Some(0),
            End::At(deadline_ns) => Some(deadline_ns),
            End::Never => None,
        };
        let first = [deadline_ns, self.next_deadline_ns()].into_iter().flatten().min()?;
        self.cx.submitter.kernel().expect_end(first);
        let left_ns = first.saturating_sub(self.cx.now_ns());
        Some(left_ns)
    }

    /// When the next timer, or the next attempt to watch the signals after a fork, ends a wait in any case.
    fn next_deadline_ns(&self) -> Option<u64> {
        let again = self.console.signal_retry_ns().map(|ns| self.cx.now_ns().saturating_add(ns));
        [self.cx.timers.next_ns(), again].into_iter().flatten().min()
    }

    /// For how long a wait without a timeout would block from now on, if the kernel reported nothing. For a caller that
    /// blocks elsewhere, on the kernel's own handle.
    ///
    /// Such a caller may be edge-triggered: what the last collection has left in the kernel makes no further edge.
    pub(crate) fn next_timeout_ns(&self) -> Option<u64> {
        // In a forked process the handle is still the other one's.
        if self.process.is_copy() || self.turn.full || self.has_work() {
            return Some(0);
        }
        let now_ns = self.cx.now_ns();
        self.next_deadline_ns().map(|first_ns| first_ns.saturating_sub(now_ns))
    }

    /// Serves every registration in the run queue. Those that are added while this runs have their turn next time.
    pub(super) fn serve_pending(&mut self) {
        for _ in 0..self.cx.run_queue.len() {
            let source = self.cx.run_queue.pop_front().expect("it was not empty");
            self.serve(source);
        }
    }

    /// Collects from every source once, up to a batch each. Returns whether the kernel may have more.
    pub(super) fn collect(&mut self, batch: usize, block_ns: Option<u64>) -> Result<bool, Error> {
        self.cx.stats.kernel_waits += 1;
        let mut completions = std::mem::take(&mut self.turn.completions);
        let waited = self.cx.submitter.wait(batch, block_ns, |completion| completions.push(completion));
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.turn.completions = completions;
        for foreign in self.cx.submitter.take_foreign() {
            self.cx.stats.foreign_completions += 1;
            let Foreign { key, bytes, overlapped } = foreign;
            tracing::debug!(target: "dolmen", key, bytes, "a foreign completion");
            if self.reports_foreign {
                self.cx.outbox.push_back(Record::Foreign { key, bytes, overlapped });
            }
        }
        let full = waited.map_err(|fault| Error::from_fault(fault, "wait for events", None))?;

        let mailbox = Arc::clone(&self.mailbox);
        let outbox = &mut self.cx.outbox;
        let woken = mailbox.collect(batch, |arrival| {
            outbox.push_back(match arrival {
                Arrival::Post { token, value } => Record::Posted { token, value },
                Arrival::Inbox { token, report } => Record::Inbox { token, report },
            });
        });
        // A `Woken` record that is not delivered yet covers this wake as well [p12].
        if woken && !std::mem::replace(&mut self.turn.woken, true) {
            self.cx.outbox.push_back(Record::Woken);
        }
        self.collect_answers(batch);
        self.collect_console(batch);
        self.collect_files(batch);
        if self.cx.timers.len() > 0 {
            self.expire_timers(batch);
        }
        self.turn.undelivered_from_last_collection = self.cx.outbox.len();
        self.turn.full = full;
        Ok(full)
    }

    fn expire_timers(&mut self, batch: usize) {
        let now_ns = self.cx.now_ns();
        // The engine's own timers produce no record, and do not count towards the batch.
        let mut records = 0;
        for _ in 0..self.cx.timers.len() {
            if records == batch {
                break;
            }
            let Some(expired) = self.cx.timers.expire(now_ns) else { break };
            if let Purpose::User(token) = expired.purpose {
                let timer = TimerId(expired.key);
                let (missed, last) = (expired.missed, expired.last);
                self.cx.outbox.push_back(Record::Timer { timer, token, missed, last });
                records += 1;
            } else {
                self.timer_expired(expired.purpose);
                self.cx.timers.release(expired.key);
            }
        }
    }

    /// Fills the caller's events from the outbox.
    fn deliver(&mut self, events: &mut Batch<K::Stream>) {
        while events.len() < events.capacity() {
            let outbox = &mut self.cx.outbox;
            let record = outbox.pop_front();
            let Some(record) = record else { break };
            self.turn.undelivered_from_last_collection =
                self.turn.undelivered_from_last_collection.saturating_sub(1);
            // The registration was removed while the record waited in the outbox [p07].
            if record.is_stale(&self.cx.removed) {
                mark(Mark::StaleDiscarded);
                self.discard(record);
                continue;
            }
            self.retire(&record);
            // By kind, since each move of a record copies all of it.
            match record {
                Record::Received { conn, token, buffer } => {
                    if let Some(mut buffer) = self.deliver_received(conn, buffer) {
                        buffer.terminate();
                        events.push(Record::Received { conn, token, buffer });
                    }
                }
                Record::Polled { poll, token, ready } => {
                    let ready = self.deliver_polled(poll, ready);
                    if !ready.is_empty() {
                        events.push(Record::Polled { poll, token, ready });
                    }
                }
                Record::Drained { conn, .. } => {
                    let connection = self.connections.get_mut(conn.0);
                    if connection.is_some_and(|connection| connection.drained_delivered()) {
                        events.push(record);
                    }
                }
                record => {
                    self.note_delivery(&record);
                    events.push(record);
                }
            }
        }
        if !self.cx.outbox.is_empty() {
            mark(Mark::OutboxOverflow);
        }
    }

    /// Lets the connection continue. Returns the bytes, unless they stay there.
    fn deliver_received(&mut self, conn: ConnId, buffer: Buffer) -> Option<Buffer> {
        match self.connections.get_mut(conn.0) {
            Some(connection) => connection.deliver(&mut self.cx, conn.0, buffer),
            // Gone already: its `Closed` is further back in the outbox.
            None => Some(buffer),
        }
    }

    /// Lets the poll continue. Returns the part of what it has found that is still wanted.
    fn deliver_polled(&mut self, poll: PollId, found: Readiness) -> Readiness {
        match self.polls.get_mut(poll.0) {
            Some(source) => source.deliver(&mut self.cx, poll.0, found),
            None => Readiness::NONE,
        }
    }

    /// Lets the record's source continue.
    fn note_delivery(&mut self, record: &Record<K::Stream>) {
        match record {
            Record::Ready { watch, .. } => {
                if let Some(source) = self.watches.get_mut(watch.0) {
                    source.delivered(&mut self.cx, watch.0);
                }
            }
            Record::Accepted { listener, .. } => {
                if let Some(source) = self.listeners.get_mut(listener.0) {
                    source.delivered(&mut self.cx, listener.0);
                }
            }
            Record::Datagram { udp, .. } => {
                if let Some(source) = self.udps.get_mut(udp.0) {
                    source.delivered(&mut self.cx, udp.0);
                }
            }
            Record::UdpFailed { udp, .. } => {
                if let Some(source) = self.udps.get_mut(udp.0) {
                    source.failure_delivered();
                }
            }
            Record::Woken => {
                // It covers every wake up to this moment.
                self.mailbox.forget_wakes();
                self.turn.woken = false;
            }
            _ => {}
        }
    }

    /// A registration's last record leaves the outbox.
    ///
    /// A removal is recorded by slot (see [`removed`](crate::removed)), up to a generation. If the slot were reused
    /// while this record is still in the caller's events, removing the new registration would hide it. So the slot is
    /// released with the next wait.
    fn retire(&mut self, record: &Record<K::Stream>) {
        match record {
            Record::Closed { conn, .. } | Record::Released { conn, .. } => {
                self.turn.retired.push(Retired::Connection(conn.0.slot))
            }
            Record::Timer { timer, last: true, .. } => self.turn.retired.push(Retired::Timer(timer.0)),
            Record::Resolved { lookup, .. } | Record::Named { lookup, .. } => {
                self.lookups.note_delivery();
                self.turn.retired.push(Retired::Lookup(lookup.0.slot));
            }
            Record::FileSent { op, .. } => {
                self.files.vacate(op.0);
                self.turn.retired.push(Retired::File(op.0.slot));
            }
            Record::FileRead { op, .. } | Record::FileWritten { op, .. } => {
                self.files.note_delivery();
                self.turn.retired.push(Retired::File(op.0.slot));
            }
            _ => {}
        }
    }

    fn release_retired(&mut self) {
        for retired in self.turn.retired.drain(..) {
            match retired {
                Retired::Connection(slot) => self.connections.release(slot),
                Retired::Timer(key) => self.cx.timers.release(key),
                Retired::Lookup(slot) => self.lookups.release(slot),
                Retired::File(slot) => self.files.release(slot),
            }
        }
    }

    /// Disposes of a record that is not to be delivered.
    pub(super) fn discard(&mut self, record: Record<K::Stream>) {
        self.retire(&record);
        drop(record);
    }
}
