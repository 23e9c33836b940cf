//! Watches: handles that the reactor waits for, and listeners whose connections the caller accepts.
//!
//! A watch is armed, reports once, and is armed again when that report has been delivered. So each wait reports a
//! handle that stays signalled, once, at no cost in between.

use std::net::SocketAddr;

use crate::error::{AddError, Error};
use crate::events::Record;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Kernel, Outcome};
use crate::token::{Key, Token, WatchId};

use super::failures::Failures;
use super::timers::Purpose;
use super::{Engine, SourceRef, next_retry_ns, not_found, refused};

pub(super) struct Watch<K: Kernel> {
    source: K::Source,
    token: Token,
    armed: Option<OpHandle>,
    /// A `Ready` record is in the outbox.
    undelivered: bool,
    /// The pause after the last failure to arm; 0 after a success.
    retry_ns: u64,
    failures: Failures,
    retry: Option<Key>,
    accepts: bool,
    closing: bool,
    listed: bool,
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn watch(&mut self, handle: K::Handle, token: Token) -> Result<WatchId, Error> {
        const ACTION: &str = "watch a handle";
        let source = self.submitter.kernel().add_handle(handle);
        let source = source.map_err(|fault| Error::from_fault(fault, ACTION, None))?;
        let id = self.insert_watch(source, token, false);
        // Armed here and not with the next wait, so that a handle that cannot be waited for is refused here.
        let watch = self.watches.get_mut(id.0).expect("it was just inserted");
        match self.submitter.watch(&watch.source, id.0.slot) {
            Started::Pending(handle) => watch.armed = Some(handle),
            Started::Completed(Completion { result: Err(fault), .. }) => {
                self.unwatch(id);
                return Err(Error::from_fault(fault, ACTION, None));
            }
            Started::Completed(completion) => self.watched(id.0, completion),
        }
        Ok(id)
    }

    pub(crate) fn listen_readiness(
        &mut self,
        listener: K::Listener,
        token: Token,
    ) -> Result<WatchId, AddError<K::Listener>> {
        let source = self
            .submitter
            .kernel()
            .add_readiness_listener(listener)
            .map_err(|(fault, listener)| refused(fault, "watch a listener", listener))?;
        Ok(self.insert_watch(source, token, true))
    }

    /// Accepts from a readiness listener.
    pub(crate) fn accept(&mut self, id: WatchId) -> Result<Option<(K::Stream, SocketAddr)>, Error> {
        const ACTION: &str = "accept from";
        let watch = self.watches.get(id.0).filter(|watch| watch.accepts && !watch.closing);
        let watch = watch.ok_or_else(|| not_found(ACTION, "readiness listener", id))?;
        let accepted =
            self.submitter.kernel().accept_now(&watch.source).map_err(|fault| {
                Error::from_fault(fault, ACTION, Some(format!("readiness listener {id}")))
            })?;
        self.stats.accepted += u64::from(accepted.is_some());
        Ok(accepted)
    }

    pub(crate) fn unwatch(&mut self, id: WatchId) -> bool {
        if self.watches.has_issued(id.0) {
            self.origin.removed.mark_watch(id);
        }
        let Some(watch) = self.watches.get_mut(id.0).filter(|watch| !watch.closing) else { return false };
        watch.closing = true;
        if let Some(timer) = watch.retry.take() {
            self.timers.cancel(timer);
        }
        if let Some(handle) = watch.armed {
            self.submitter.cancel(&watch.source, handle);
        }
        self.list_watch(id.0.slot);
        true
    }

    fn insert_watch(&mut self, source: K::Source, token: Token, accepts: bool) -> WatchId {
        let key = self.watches.insert(Watch {
            source,
            token,
            armed: None,
            undelivered: false,
            retry_ns: 0,
            failures: Failures::default(),
            retry: None,
            accepts,
            closing: false,
            listed: false,
        });
        self.list_watch(key.slot);
        WatchId(key)
    }

    pub(super) fn list_watch(&mut self, slot: u32) {
        if let Some((_, watch)) = self.watches.at_mut(slot) {
            if !std::mem::replace(&mut watch.listed, true) {
                self.run_queue.push_back(SourceRef::Watch(slot));
            }
        }
    }

    pub(super) fn serve_watch(&mut self, slot: u32) {
        let Some((key, watch)) = self.watches.at_mut(slot) else { return };
        watch.listed = false;
        if watch.armed.is_some() {
            return;
        }
        if watch.closing {
            let watch = self.watches.remove(key).expect("the watch is there");
            self.submitter.close(watch.source, Close::Orderly);
            return;
        }
        if watch.undelivered || watch.retry.is_some() || self.console.holds(key) {
            return;
        }
        match self.submitter.watch(&watch.source, slot) {
            Started::Pending(handle) => watch.armed = Some(handle),
            Started::Completed(completion) => self.watched(key, completion),
        }
    }

    pub(super) fn watch_completed(&mut self, completion: Completion<K>) {
        let (key, watch) = self.watches.at_mut(completion.owner).expect("a watch outlives its operation");
        assert_eq!(watch.armed.take(), Some(completion.handle), "armed once at a time");
        self.watched(key, completion);
    }

    fn watched(&mut self, key: Key, completion: Completion<K>) {
        let watch = self.watches.get_mut(key).expect("a watch outlives its operation");
        let token = watch.token;
        match completion.result {
            _ if watch.closing => self.list_watch(key.slot),
            Ok(Outcome::Ready) => {
                watch.retry_ns = 0;
                if self.console_watch_fired(key) {
                    return;
                }
                let watch = self.watches.get_mut(key).expect("the watch is there");
                watch.undelivered = true;
                self.outbox.push_back(Record::Ready { watch: WatchId(key), token });
            }
            Ok(_) => unreachable!("a watch returns readiness"),
            Err(fault) => {
                watch.retry_ns = next_retry_ns(watch.retry_ns);
                let retry_ns = watch.retry_ns;
                let due = watch.failures.note(self.submitter.now_ns());
                self.pause_watch(key, retry_ns);
                let error = fault.to_io();
                if let Some(failures) = due {
                    tracing::warn!(target: "io_reactor", watch = %key, %error, retry_ns, failures, "cannot watch");
                } else {
                    tracing::debug!(target: "io_reactor", watch = %key, %error, retry_ns, "cannot watch");
                }
            }
        }
    }

    /// Leaves a watch that is not armed unarmed for a while.
    pub(super) fn pause_watch(&mut self, key: Key, pause_ns: u64) {
        let timer = self.set_internal_timer(pause_ns, Purpose::WatchAgain(key));
        self.watches.get_mut(key).expect("the watch is there").retry = Some(timer);
    }

    pub(super) fn ready_delivered(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.get_mut(id.0) {
            watch.undelivered = false;
            self.list_watch(id.0.slot);
        }
    }

    pub(super) fn watch_again(&mut self, key: Key) {
        if let Some(watch) = self.watches.get_mut(key) {
            watch.retry = None;
            self.list_watch(key.slot);
        }
    }

    pub(super) fn remove_all_watches(&mut self) {
        for slot in self.watches.slots().collect::<Vec<_>>() {
            if let Some((key, _)) = self.watches.at_mut(slot) {
                self.unwatch(WatchId(key));
            }
        }
    }
}
