//! Listeners that deliver accepted streams.
//!
//! A listener keeps a number of accepts posted, and posts again each one that completes. When the system has no file
//! descriptor left, the listener reports that once, and retries after pauses that grow. A process that stays at the
//! limit accepts one connection whenever it closes one, and fails again; that is reported at most once a second. A
//! connection that failed before it was accepted is skipped; after many in a row there is a short pause, because a
//! network that is down may make every attempt fail in this way.

use crate::error::AddError;
use crate::events::Record;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::token::{Key, ListenerId, Token};

use super::timers::Purpose;
use super::{Engine, RETRY_FIRST_NS, SourceRef, next_retry_ns, refused};

/// A failure is not reported again within this time, even if a connection was accepted in between.
const REPORT_AGAIN_NS: u64 = 1_000_000_000;

/// After this many failed attempts in a row there is a pause.
const MOST_TRANSIENTS: u32 = 64;

pub(super) struct Listener<K: Kernel> {
    source: K::Source,
    token: Token,
    accepts: Vec<OpHandle>,
    /// How many `Accepted` records are in the outbox.
    undelivered: usize,
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
    closing: bool,
    listed: bool,
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn listen(
        &mut self,
        listener: K::Listener,
        token: Token,
    ) -> Result<ListenerId, AddError<K::Listener>> {
        let source = self
            .submitter
            .kernel()
            .add_listener(listener)
            .map_err(|(fault, listener)| refused(fault, "add a listener", listener))?;
        let key = self.listeners.insert(Listener {
            source,
            token,
            accepts: Vec::with_capacity(K::ACCEPTS),
            undelivered: 0,
            retry_ns: 0,
            reported: false,
            reported_at_ns: None,
            transients: 0,
            retry: None,
            closing: false,
            listed: false,
        });
        self.list_listener(key.slot);
        tracing::debug!(target: "io_reactor", listener = %key, token = token.0, "listener added");
        Ok(ListenerId(key))
    }

    pub(crate) fn remove_listener(&mut self, id: ListenerId) -> bool {
        if self.listeners.has_issued(id.0) {
            self.origin.removed.mark_listener(id);
        }
        let Some(listener) = self.listeners.get_mut(id.0).filter(|listener| !listener.closing) else {
            return false;
        };
        listener.closing = true;
        if let Some(timer) = listener.retry.take() {
            self.timers.cancel(timer);
        }
        for &accept in &listener.accepts {
            self.submitter.cancel(&listener.source, accept);
        }
        self.list_listener(id.0.slot);
        true
    }

    fn list_listener(&mut self, slot: u32) {
        if let Some((_, listener)) = self.listeners.at_mut(slot) {
            if !std::mem::replace(&mut listener.listed, true) {
                self.run_queue.push_back(SourceRef::Listener(slot));
            }
        }
    }

    pub(super) fn serve_listener(&mut self, slot: u32) {
        let Some((key, listener)) = self.listeners.at_mut(slot) else { return };
        listener.listed = false;
        if listener.closing {
            if !listener.accepts.is_empty() {
                mark(Mark::ListenerCloseWaited);
            } else {
                let listener = self.listeners.remove(key).expect("the listener is there");
                self.submitter.close(listener.source, Close::Orderly);
                tracing::debug!(target: "io_reactor", listener = %key, "listener removed");
            }
            return;
        }
        // A kernel may complete each accept immediately; the rest of a burst waits until these have been delivered.
        for _ in 0..K::ACCEPTS {
            let (_, listener) = self.listeners.at_mut(slot).expect("the listener is there");
            if listener.accepts.len() + listener.undelivered >= K::ACCEPTS || listener.retry.is_some() {
                return;
            }
            match self.submitter.accept(&listener.source, slot) {
                Started::Pending(handle) => listener.accepts.push(handle),
                Started::Completed(completion) => self.accepted(key, completion),
            }
        }
    }

    pub(super) fn accept_completed(&mut self, completion: Completion<K>) {
        let (key, listener) =
            self.listeners.at_mut(completion.owner).expect("a listener outlives its accepts");
        let at = listener.accepts.iter().position(|&accept| accept == completion.handle);
        listener.accepts.swap_remove(at.expect("the accept was posted"));
        self.accepted(key, completion);
    }

    fn accepted(&mut self, key: Key, completion: Completion<K>) {
        let listener = self.listeners.get_mut(key).expect("a listener outlives its accepts");
        let (id, token) = (ListenerId(key), listener.token);
        match completion.result {
            // Dropped, which closes it: a listener that is closing delivers nothing.
            _ if listener.closing => {}
            Ok(Outcome::Accepted(stream, peer)) => {
                (listener.retry_ns, listener.reported, listener.transients) = (0, false, 0);
                listener.undelivered += 1;
                self.stats.accepted += 1;
                self.outbox.push_back(Record::Accepted { listener: id, token, stream: Some(stream), peer });
            }
            Ok(_) => unreachable!("an accept returns a stream"),
            // The peer is gone: skipped, with a pause after many in a row [hc10, p11].
            Err(Fault { kind: FaultKind::Transient | FaultKind::Reset, .. }) => {
                tracing::debug!(target: "io_reactor", listener = %key, "a connection was gone before it was accepted");
                listener.transients += 1;
                if listener.transients >= MOST_TRANSIENTS && listener.retry.is_none() {
                    listener.transients = 0;
                    self.pause_accepts(key, RETRY_FIRST_NS);
                }
            }
            Err(fault) => self.accept_failed(key, fault),
        }
        self.list_listener(key.slot);
    }

    /// An `Accepted` record is about to be delivered: another accept may be posted.
    pub(super) fn accepted_delivered(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id.0) {
            listener.undelivered -= 1;
            self.list_listener(id.0.slot);
        }
    }

    /// Reports the failure, unless one was reported lately, and tries again after a pause: a listener neither ends nor
    /// spins when there are no descriptors left [hc10, p11].
    fn accept_failed(&mut self, key: Key, fault: Fault) {
        let listener = self.listeners.get_mut(key).expect("the listener is there");
        if listener.retry.is_some() {
            return; // Another accept of the same batch.
        }
        listener.retry_ns = if mutant(Mutant::NoAcceptPause) { 1 } else { next_retry_ns(listener.retry_ns) };
        let (retry_ns, token) = (listener.retry_ns, listener.token);
        let now_ns = self.submitter.now_ns();
        let lately = listener.reported_at_ns.is_some_and(|at_ns| now_ns < at_ns + REPORT_AGAIN_NS);
        if lately {
            mark(Mark::FailureUnreported);
        }
        let report = !listener.reported && (!lately || mutant(Mutant::ReportEachFailure));
        if report {
            (listener.reported, listener.reported_at_ns) = (true, Some(now_ns));
            let (listener, code) = (ListenerId(key), fault.code);
            self.outbox.push_back(Record::AcceptFailed { listener, token, code });
            tracing::warn!(target: "io_reactor", listener = %key, error = %fault.to_io(), retry_ns, "accept failed");
        } else {
            tracing::debug!(target: "io_reactor", listener = %key, error = %fault.to_io(), retry_ns, "accept failed");
        }
        self.pause_accepts(key, retry_ns);
    }

    fn pause_accepts(&mut self, key: Key, pause_ns: u64) {
        let timer = self.set_internal_timer(pause_ns, Purpose::AcceptAgain(key));
        self.listeners.get_mut(key).expect("the listener is there").retry = Some(timer);
    }

    pub(super) fn accept_again(&mut self, key: Key) {
        if let Some(listener) = self.listeners.get_mut(key) {
            mark(Mark::AcceptRetried);
            listener.retry = None;
            self.list_listener(key.slot);
        }
    }

    pub(super) fn remove_all_listeners(&mut self) {
        for slot in self.listeners.slots().collect::<Vec<_>>() {
            if let Some((key, _)) = self.listeners.at_mut(slot) {
                self.remove_listener(ListenerId(key));
            }
        }
    }
}
