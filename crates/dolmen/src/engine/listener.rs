//! Listeners that deliver accepted streams.
//!
//! A listener keeps a number of accepts posted, and posts again each one that completes. When the system has no file
//! descriptor left, the listener reports that once, and retries after pauses that grow. A process that stays at the
//! limit accepts one connection whenever it closes one, and fails again; that is reported at most once a second. A
//! connection that failed before it was accepted is skipped; after many in a row there is a short pause, because a
//! network that is down may make every attempt fail in this way.

use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{Key, ListenerId, Token};

use super::config::{RETRY_FIRST_NS, next_retry_ns};
use super::context::Context;
use super::registration::{MOST_UNDELIVERED, Registration, Served, SourceRef};
use super::timers::Purpose;

/// A failure is not reported again within this time, even if a connection was accepted in between.
const REPORT_AGAIN_NS: u64 = 1_000_000_000;

/// After this many failed attempts in a row there is a pause.
const MOST_TRANSIENTS: u32 = 64;

pub(super) struct Listener<K: Kernel> {
    source: K::Source,
    token: Token,
    accepts: Vec<OpHandle>,
    /// The pause after the last failure; 0 after a success.
    retry_ns: u64,
    /// A failure was reported, and nothing has been accepted since.
    reported: bool,
    /// When a failure was last reported.
    reported_at_ns: Option<u64>,
    /// How many attempts in a row have failed.
    transients: u32,
    /// Runs during such a pause, in which no accept is posted.
    retry: Option<Key>,
    registration: Registration,
}

impl<K: Kernel> Listener<K> {
    pub(super) fn new(source: K::Source, token: Token) -> Listener<K> {
        Listener {
            source,
            token,
            accepts: Vec::with_capacity(K::ACCEPTS),
            retry_ns: 0,
            reported: false,
            reported_at_ns: None,
            transients: 0,
            retry: None,
            registration: Registration::default(),
        }
    }

    pub(super) fn list(&mut self, cx: &mut Context<K>, key: Key) {
        cx.list(&mut self.registration, SourceRef::Listener(key.slot));
    }

    pub(super) fn is_closing(&self) -> bool {
        self.registration.is_closing()
    }

    /// Returns false if it was removed before.
    pub(super) fn remove(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        if !self.registration.close() {
            return false;
        }
        if let Some(timer) = self.retry.take() {
            cx.timers.cancel(timer);
        }
        for &accept in &self.accepts {
            cx.submitter.cancel(&self.source, accept);
        }
        self.list(cx, key);
        true
    }

    pub(super) fn serve(&mut self, cx: &mut Context<K>, key: Key) -> Served {
        self.registration.unlist();
        if self.registration.is_closing() {
            if self.accepts.is_empty() {
                return Served::Ended { silent: true };
            }
            mark(Mark::ListenerCloseWaited);
            return Served::Alive;
        }
        // A kernel may complete each accept immediately; the rest of a burst waits until these have been delivered.
        const { assert!(K::ACCEPTS <= MOST_UNDELIVERED) };
        for _ in 0..K::ACCEPTS {
            let busy = self.accepts.len() + self.registration.undelivered();
            if busy >= K::ACCEPTS || self.retry.is_some() {
                break;
            }
            match cx.submitter.accept(&self.source, key.slot) {
                Started::Pending(handle) => self.accepts.push(handle),
                Started::Completed(completion) => self.accepted(cx, key, completion),
            }
        }
        Served::Alive
    }

    /// The listener has left the table.
    pub(super) fn finish(self, cx: &mut Context<K>, key: Key) {
        cx.submitter.close(self.source, Close::Orderly);
        tracing::debug!(target: "dolmen", listener = %key, "listener removed");
    }

    pub(super) fn accept_completed(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let at = self.accepts.iter().position(|&accept| accept == completion.handle);
        self.accepts.swap_remove(at.expect("the accept was posted"));
        self.accepted(cx, key, completion);
    }

    fn accepted(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        match completion.result {
            // Dropped, which closes it: a listener that is closing delivers nothing.
            _ if self.registration.is_closing() => {}
            Ok(Outcome::Accepted(stream, peer)) => {
                (self.retry_ns, self.reported, self.transients) = (0, false, 0);
                self.registration.record_added();
                cx.stats.accepted += 1;
                let (listener, token) = (ListenerId(key), self.token);
                cx.outbox.push_back(Record::Accepted { listener, token, stream: Some(stream), peer });
            }
            Ok(_) => unreachable!("an accept returns a stream"),
            // The peer is gone: skipped, with a pause after many in a row [hc10, p11].
            Err(Fault { kind: FaultKind::Transient | FaultKind::Reset, .. }) => {
                tracing::debug!(target: "dolmen", listener = %key, "a connection was gone before it was accepted");
                self.transients += 1;
                if self.transients >= MOST_TRANSIENTS && self.retry.is_none() {
                    self.transients = 0;
                    self.pause_accepts(cx, key, RETRY_FIRST_NS);
                }
            }
            Err(fault) => self.accept_failed(cx, key, fault),
        }
        self.list(cx, key);
    }

    /// An `Accepted` record is about to be delivered: another accept may be posted.
    pub(super) fn delivered(&mut self, cx: &mut Context<K>, key: Key) {
        self.registration.record_delivered();
        self.list(cx, key);
    }

    /// Reports the failure, unless one was reported lately, and tries again after a pause: a listener neither ends nor
    /// spins when there are no descriptors left [hc10, p11].
    fn accept_failed(&mut self, cx: &mut Context<K>, key: Key, fault: Fault) {
        if self.retry.is_some() {
            return; // Another accept of the same batch.
        }
        self.retry_ns = next_retry_ns(self.retry_ns);
        let (retry_ns, token) = (self.retry_ns, self.token);
        let now_ns = cx.now_ns();
        let lately = self.reported_at_ns.is_some_and(|at_ns| now_ns < at_ns + REPORT_AGAIN_NS);
        if lately {
            mark(Mark::FailureUnreported);
        }
        let report = !self.reported && !lately;
        if report {
            (self.reported, self.reported_at_ns) = (true, Some(now_ns));
            let (listener, code) = (ListenerId(key), fault.code);
            cx.outbox.push_back(Record::AcceptFailed { listener, token, code });
            tracing::warn!(target: "dolmen", listener = %key, error = %fault.to_io(), retry_ns, "accept failed");
        } else {
            tracing::debug!(target: "dolmen", listener = %key, error = %fault.to_io(), retry_ns, "accept failed");
        }
        self.pause_accepts(cx, key, retry_ns);
    }

    fn pause_accepts(&mut self, cx: &mut Context<K>, key: Key, pause_ns: u64) {
        self.retry = Some(cx.set_internal_timer(pause_ns, Purpose::AcceptAgain(key)));
    }

    pub(super) fn accept_again(&mut self, cx: &mut Context<K>, key: Key) {
        mark(Mark::AcceptRetried);
        self.retry = None;
        self.list(cx, key);
    }
}
