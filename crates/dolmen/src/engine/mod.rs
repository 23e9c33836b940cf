//! All policy, and no system call: the engine keeps the reactor's promises in one place, over any kernel.
//!
//! [`Engine`] owns the sources, in tables, and a [`Context`] with the services that all of them share. A source's state
//! machine is an `impl` of its own over the context: it never frees its slot and never touches a table, but returns what
//! the engine is to do. The engine looks each source up once, where a call, a completion or a timer enters.
//!
//! The engine works in turns (`turn.rs`). A turn ([`Engine::wait`]) first serves every registration that has changed
//! (sends queued, a receive to be posted again, a close begun), then collects completions from the kernel, and converts
//! those, the posts and the expired timers into records in one queue, the `outbox`. From there they move into the
//! caller's events, first in, first out.
//!
//! # Fairness
//!
//! Each of the kernel, the mailbox and the timers puts at most one batch of records, as many as the caller's events
//! have room for, into the outbox. The engine collects again only when less than a batch is left of the records that
//! were in the outbox after the last collection. So every source that is ready at the time of one is delivered within a
//! handful of waits, however busy the others are. Records that serving adds in between do not count: otherwise a
//! kernel that completes receives immediately could keep the outbox full indefinitely and starve all others. Those
//! records are bounded, too: a connection's next receive is posted when its last record has been delivered, so no
//! connection has two in the outbox, and a listener has no more than the accepts it may post.
//!
//! # Two-phase close
//!
//! A registration ends in two steps: the engine cancels its pending operations, and when they have completed, closes
//! its source and frees its slot. Until then it is `Closing`, and everything that arrives for it is discarded.

#[cfg(any(feature = "c-api", dolmen_sim))]
mod borrowed_verbs;
mod config;
mod connecting;
mod connection;
mod console;
mod context;
mod datagram_queue;
mod datagram_verbs;
mod datagrams;
mod dial;
mod failures;
mod files;
mod listener;
mod lookups;
mod poll;
mod published;
mod registration;
mod send_queue;
mod send_reports;
mod table;
#[cfg(all(test, dolmen_sim))]
mod tests;
mod timers;
mod turn;
mod verbs;
mod watch;

use std::rc::Rc;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::kernel::fork::Process;
use crate::kernel::mailbox::Mailbox;
use crate::kernel::names::SharedResolver;
use crate::kernel::operation::OpKind;
use crate::kernel::submitter::Completion;
use crate::kernel::{Fault, Kernel};
use crate::marks::{Mark, mark};
use crate::stats::Stats;
use crate::token::{ConnId, Key, ListenerId, PollId, UdpId, WatchId};
use connection::Connection;
use console::Console;
use context::Context;
use datagrams::Datagrams;
use dial::Dial;
use files::Files;
use listener::Listener;
use lookups::Lookups;
use poll::Poll;
use registration::{Served, SourceRef};
use timers::Purpose;
use turn::Turn;
use watch::Watch;

pub(crate) use config::Config;
#[cfg(all(test, dolmen_sim))]
pub(crate) use datagrams::MOST_DATAGRAMS;
pub(crate) use published::Published;
pub(crate) use table::Table;
#[cfg(dolmen_sim)]
pub(crate) use turn::MIN_EVENTLESS_WAITS;

/// How long a drop waits for the kernel to complete everything. It takes milliseconds; this is a limit for what should
/// be impossible.
const TEARDOWN_NS: u64 = 5_000_000_000;

pub(crate) struct Engine<K: Kernel> {
    // Sources (in the tables) are closed by hand in `Drop`, before the submitter in the context is dropped.
    cx: Context<K>,
    connections: Table<Connection<K>>,
    dials: Table<Dial<K>>,
    listeners: Table<Listener<K>>,
    watches: Table<Watch<K>>,
    polls: Table<Poll<K>>,
    udps: Table<Datagrams<K>>,
    console: Console<K::Handle>,
    lookups: Lookups,
    files: Files<K::File>,
    mailbox: Arc<Mailbox>,
    turn: Turn<K>,
    /// Foreign completions are reported, and not only counted.
    reports_foreign: bool,
    process: Process,
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let kernel =
            K::new(config.options()).map_err(|fault| Error::from_fault(fault, "create the reactor", None))?;
        Ok(Engine::over(kernel, config))
    }

    /// Makes an engine over an existing kernel.
    pub(crate) fn over(kernel: K, config: Config) -> Self {
        let mailbox = Mailbox::new(kernel.signal(), config.post_capacity);
        let lookups = Lookups::new(kernel.name_workers(), SharedResolver::system());
        let files = Files::new(kernel.file_workers());
        Engine {
            cx: Context::over(kernel, config),
            connections: Table::new(),
            dials: Table::new(),
            listeners: Table::new(),
            watches: Table::new(),
            polls: Table::new(),
            udps: Table::new(),
            console: Console::new(),
            lookups,
            files,
            mailbox,
            turn: Turn::default(),
            reports_foreign: false,
            process: Process::current(),
        }
    }

    /// How many bytes one connection may have queued.
    pub(crate) fn high_water_bytes(&self) -> usize {
        self.cx.config.high_water_bytes
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.cx.now_ns()
    }

    #[cfg(any(dolmen_sim, all(unix, feature = "c-api")))]
    pub(crate) fn kernel(&mut self) -> &mut K {
        self.cx.submitter.kernel()
    }

    /// The kernel, to look at.
    pub(crate) fn native(&self) -> &K {
        self.cx.submitter.native()
    }

    /// Whether this mailbox is its own.
    pub(crate) fn has(&self, mailbox: &Arc<Mailbox>) -> bool {
        Arc::ptr_eq(&self.mailbox, mailbox)
    }

    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// How many waits there have been.
    pub(crate) fn waits(&self) -> u64 {
        self.cx.stats.waits
    }

    /// The counters so far, and what the reactor holds at this moment [p17].
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            kernel_calls: self.cx.submitter.calls(),
            connections: self.connections.len(),
            listeners: self.listeners.len(),
            watches: self.watches.len() + self.polls.len(),
            datagram_sockets: self.udps.len(),
            timers: self.cx.timers.len(),
            lookups: self.lookups.unreported(),
            file_operations: self.files.unreported(),
            operations_in_flight: self.cx.submitter.in_flight(),
            buffers_out: self.cx.pool.out(),
            buffers_free: self.cx.pool.free(),
            signals_failed: self.mailbox.signals_failed(),
            unknown_completions: self.cx.submitter.unknown(),
            ..self.cx.stats
        }
    }
}

impl<K: Kernel> Engine<K> {
    /// How many sources have not been closed.
    fn sources(&self) -> usize {
        self.connections.len()
            + self.dials.len()
            + self.listeners.len()
            + self.watches.len()
            + self.polls.len()
            + self.udps.len()
    }
}

/// Where serving, completions and the engine's own timers reach their sources.
impl<K: Kernel> Engine<K> {
    fn serve(&mut self, source: SourceRef) {
        match source {
            SourceRef::Connection(slot) => self.serve_connection(slot),
            SourceRef::Listener(slot) => self.serve_listener(slot),
            SourceRef::Watch(slot) => self.serve_watch(slot),
            SourceRef::Poll(slot) => self.serve_poll(slot),
            SourceRef::Dial(slot) => self.serve_dial(slot),
            SourceRef::Udp(slot) => self.serve_udp(slot),
        }
    }

    fn serve_connection(&mut self, slot: u32) {
        let Some((key, connection)) = self.connections.at_mut(slot) else { return };
        let silent = match connection.serve(&mut self.cx, key) {
            Served::Dial => return self.dial_next(key),
            Served::Ended { silent } => silent,
            Served::Piece => return self.read_piece(key),
            Served::Alive | Served::Fired => return,
        };
        // After `Closed` was delivered, the slot may be reused; without that event, immediately.
        let ended = if silent { self.connections.remove(key) } else { self.connections.vacate(key) };
        let mut ended = ended.expect("it has just been served");
        self.remove_dials(ended.take_dials());
        if let Some(lookup) = ended.take_lookup() {
            self.lookups.cancel(lookup);
        }
        self.remove_file_sends(&ended.take_ended_files());
        ended.finish(&mut self.cx, key);
    }

    fn serve_listener(&mut self, slot: u32) {
        let Some((key, listener)) = self.listeners.at_mut(slot) else { return };
        if let Served::Ended { .. } = listener.serve(&mut self.cx, key) {
            let ended = self.listeners.remove(key);
            ended.expect("it has just been served").finish(&mut self.cx, key);
        }
    }

    fn serve_watch(&mut self, slot: u32) {
        let Some((key, watch)) = self.watches.at_mut(slot) else { return };
        match watch.serve(&mut self.cx, key, self.console.holds(key)) {
            Served::Alive | Served::Dial | Served::Piece => {}
            Served::Fired => self.watch_fired(key),
            Served::Ended { .. } => {
                self.watches.remove(key).expect("it has just been served").finish(&mut self.cx);
            }
        }
    }

    fn serve_poll(&mut self, slot: u32) {
        let Some((key, poll)) = self.polls.at_mut(slot) else { return };
        if let Served::Ended { .. } = poll.serve(&mut self.cx, key) {
            self.polls.remove(key).expect("it has just been served").finish(&mut self.cx);
        }
    }

    fn serve_udp(&mut self, slot: u32) {
        let Some((key, datagrams)) = self.udps.at_mut(slot) else { return };
        if let Served::Ended { .. } = datagrams.serve(&mut self.cx, key) {
            self.udps.remove(key).expect("it has just been served").finish(&mut self.cx, key);
        }
    }

    /// The console's watches and the signals' bring input instead of a record.
    fn watch_fired(&mut self, key: Key) {
        if !self.console_watch_fired(key) {
            self.watches.get_mut(key).expect("it has just fired").report(&mut self.cx, key);
        }
    }

    fn list_watch(&mut self, key: Key) {
        if let Some(watch) = self.watches.get_mut(key) {
            watch.list(&mut self.cx, key);
        }
    }

    fn complete(&mut self, completion: Completion<K>) {
        const OUTLIVES: &str = "a source outlives its operations";
        let slot = completion.owner;
        match completion.kind {
            OpKind::Receive => {
                let (key, connection) = self.connections.at_mut(slot).expect(OUTLIVES);
                connection.receive_completed(&mut self.cx, key, completion);
            }
            OpKind::Send => {
                let (key, connection) = self.connections.at_mut(slot).expect(OUTLIVES);
                connection.send_completed(&mut self.cx, key, completion);
            }
            OpKind::Transmit => {
                let (key, connection) = self.connections.at_mut(slot).expect(OUTLIVES);
                connection.transmit_completed(&mut self.cx, key, completion);
            }
            OpKind::Accept => {
                let (key, listener) = self.listeners.at_mut(slot).expect(OUTLIVES);
                listener.accept_completed(&mut self.cx, key, completion);
                // The caller may bind to the address again when the next event is there.
                if listener.is_closing() {
                    self.serve_listener(slot);
                }
            }
            OpKind::Connect => {
                let (key, dial) = self.dials.at_mut(slot).expect(OUTLIVES);
                let dialled = dial.connect_completed(&mut self.cx, key, completion);
                self.dialled(key, dialled);
            }
            OpKind::Watch => {
                let (key, watch) = self.watches.at_mut(slot).expect(OUTLIVES);
                if watch.watch_completed(&mut self.cx, key, completion) == Served::Fired {
                    self.watch_fired(key);
                }
            }
            OpKind::Poll => {
                let (key, poll) = self.polls.at_mut(slot).expect(OUTLIVES);
                poll.poll_completed(&mut self.cx, key, completion);
            }
            OpKind::ReceiveFrom => {
                let (key, datagrams) = self.udps.at_mut(slot).expect(OUTLIVES);
                datagrams.receive_completed(&mut self.cx, key, completion);
                if datagrams.is_closing() {
                    self.serve_udp(slot);
                }
            }
            OpKind::SendTo => {
                let (key, datagrams) = self.udps.at_mut(slot).expect(OUTLIVES);
                datagrams.send_completed(&mut self.cx, key, completion);
                if datagrams.is_closing() {
                    self.serve_udp(slot);
                }
            }
        }
    }

    /// One of the engine's own timers has gone off; its source may have ended since.
    fn timer_expired(&mut self, purpose: Purpose) {
        let cx = &mut self.cx;
        match purpose {
            Purpose::User(_) => unreachable!("the caller's timers become records"),
            Purpose::Linger(key) => {
                let connection = self.connections.get_mut(key);
                connection.into_iter().for_each(|connection| connection.linger_expired(cx, key));
            }
            Purpose::TransferAgain(key, direction) => {
                let connection = self.connections.get_mut(key);
                connection.into_iter().for_each(|connection| connection.transfer_again(cx, key, direction));
            }
            Purpose::DialNext(key) => {
                let connection = self.connections.get_mut(key);
                connection.into_iter().for_each(|connection| connection.attempt_slow(cx, key));
            }
            Purpose::ConnectTimeout(key) => {
                let connection = self.connections.get_mut(key);
                connection.into_iter().for_each(|connection| connection.connect_timed_out(cx, key));
            }
            Purpose::DialAgain(key) => {
                let dial = self.dials.get_mut(key);
                dial.into_iter().for_each(|dial| dial.dial_again(cx, key));
            }
            Purpose::AcceptAgain(key) => {
                let listener = self.listeners.get_mut(key);
                listener.into_iter().for_each(|listener| listener.accept_again(cx, key));
            }
            Purpose::WatchAgain(key) => {
                let watch = self.watches.get_mut(key);
                watch.into_iter().for_each(|watch| watch.watch_again(cx, key));
            }
            Purpose::DatagramsAgain(key, direction) => {
                let datagrams = self.udps.get_mut(key);
                datagrams.into_iter().for_each(|datagrams| datagrams.transfer_again(cx, key, direction));
            }
        }
    }
}

/// Teardown: nothing is freed before the kernel has released it.
impl<K: Kernel> Drop for Engine<K> {
    fn drop(&mut self) {
        self.mailbox.close();
        self.lookups.end();
        self.files.end();
        // What was delivered stays delivered: these removals do not affect events that the caller already has.
        self.cx.removed = Rc::default();
        self.remove_console_and_signals();
        self.cx.submitter.kernel().retire();
        let deadline_ns = self.cx.now_ns().saturating_add(TEARDOWN_NS);
        if self.cx.submitter.in_flight() > 0 {
            mark(Mark::DroppedInFlight);
        }
        for key in self.connections.keys() {
            self.remove(ConnId(key));
        }
        self.remove_dials(self.dials.keys());
        for key in self.listeners.keys() {
            self.remove_listener(ListenerId(key));
        }
        for key in self.watches.keys() {
            self.remove_watch(WatchId(key));
        }
        for key in self.polls.keys() {
            self.remove_poll(PollId(key));
        }
        for key in self.udps.keys() {
            self.remove_udp(UdpId(key));
        }
        loop {
            self.serve_pending();
            if self.sources() == 0 {
                break;
            }
            if !self.cx.run_queue.is_empty() {
                continue;
            }
            // The rest waits for the kernel to complete operations [hc32, p14].
            let left = self.cx.submitter.in_flight();
            let left_ns = deadline_ns.saturating_sub(self.cx.now_ns());
            if left == 0 || left_ns == 0 || self.collect(self.cx.config.max_events, Some(left_ns)).is_err() {
                tracing::error!(target: "dolmen", left, "the kernel did not complete all operations");
                break;
            }
        }
        while let Some(record) = self.cx.outbox.pop_front() {
            self.discard(record);
        }
    }
}

/// The error for an id that names no live registration.
fn not_found(action: &'static str, what: &'static str, id: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, action, format_args!("{what} {id}"))
}

fn refused<S>(fault: Fault, action: &'static str, source: S) -> crate::error::AddError<S> {
    crate::error::AddError { error: Error::from_fault(fault, action, None), source }
}
