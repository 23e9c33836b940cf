//! Listeners that deliver accepted streams.
//!
//! A listener keeps a number of accepts posted, and each that completes is posted again. When the system has no file
//! descriptor left, that is told once, and tried again after pauses that grow; a connection that came to nothing before
//! it was accepted is passed over.

use crate::error::AddError;
use crate::events::Record;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::token::{Key, ListenerId, Token};

use super::timers::Purpose;
use super::{Engine, Subject, next_retry_ns, refused};

pub(super) struct Listener<K: Kernel> {
    source: K::Source,
    token: Token,
    accepts: Vec<OpHandle>,
    /// How many `Accepted` records are in the outbox.
    undelivered: usize,
    /// The pause after the last failure; 0 after a success.
    retry_ns: u64,
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
                self.attention.push_back(Subject::Listener(slot));
            }
        }
    }

    pub(super) fn attend_listener(&mut self, slot: u32) {
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
        // A kernel may answer each accept at once; the rest of a burst waits until these have been delivered.
        for _ in 0..K::ACCEPTS {
            let (_, listener) = self.listeners.at_mut(slot).expect("the listener is there");
            if listener.accepts.len() + listener.undelivered >= K::ACCEPTS || listener.retry.is_some() {
                return;
            }
            match self.submitter.accept(&listener.source, slot) {
                Started::Pending(handle) => listener.accepts.push(handle),
                Started::Over(completion) => self.accepted(key, completion),
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
            // Dropped, and so hung up on: nobody is there to greet it.
            _ if listener.closing => {}
            Ok(Outcome::Accepted(stream, peer)) => {
                listener.retry_ns = 0;
                listener.undelivered += 1;
                self.stats.accepted += 1;
                self.outbox.push_back(Record::Accepted { listener: id, token, stream: Some(stream), peer });
            }
            Ok(_) => unreachable!("an accept answers with a stream"),
            Err(Fault { kind: FaultKind::Transient | FaultKind::Reset, .. }) => {
                tracing::debug!(target: "io_reactor", listener = %key, "a connection was gone before it was accepted");
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

    fn accept_failed(&mut self, key: Key, fault: Fault) {
        let listener = self.listeners.get_mut(key).expect("the listener is there");
        if listener.retry.is_some() {
            return; // Another accept of the same lot.
        }
        let first = listener.retry_ns == 0;
        listener.retry_ns = if mutant(Mutant::NoAcceptPause) { 1 } else { next_retry_ns(listener.retry_ns) };
        let (retry_ns, token) = (listener.retry_ns, listener.token);
        let timer = self.set_internal_timer(retry_ns, Purpose::AcceptAgain(key));
        self.listeners.get_mut(key).expect("the listener is there").retry = Some(timer);
        if first {
            self.outbox.push_back(Record::AcceptFailed {
                listener: ListenerId(key),
                token,
                code: fault.code,
            });
        }
        tracing::warn!(target: "io_reactor", listener = %key, error = %fault.to_io(), retry_ns, "accept failed");
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
