//! Watches: handles that the reactor waits for, and listeners whose connections the caller accepts.
//!
//! A watch is armed, reports once, and is armed again when that report has been delivered. So each wait reports a
//! handle that stays signalled, once, at no cost in between.

use std::net::SocketAddr;

use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, Kernel, Outcome};
use crate::record::Record;
use crate::token::{Key, Token, WatchId};

use super::config::next_retry_ns;
use super::context::Context;
use super::failures::Failures;
use super::registration::{Registration, Served, SourceRef};
use super::timers::Purpose;

pub(super) struct Watch<K: Kernel> {
    source: K::Source,
    token: Token,
    armed: Option<OpHandle>,
    /// The pause after the last failure to arm; 0 after a success.
    retry_ns: u64,
    failures: Failures,
    retry: Option<Key>,
    accepts: bool,
    registration: Registration,
}

impl<K: Kernel> Watch<K> {
    /// A watch over a handle, or over a listener from which the caller accepts.
    pub(super) fn new(source: K::Source, token: Token, accepts: bool) -> Watch<K> {
        Watch {
            source,
            token,
            armed: None,
            retry_ns: 0,
            failures: Failures::default(),
            retry: None,
            accepts,
            registration: Registration::default(),
        }
    }

    /// Whether the caller may accept from it.
    pub(super) fn is_listener(&self) -> bool {
        self.accepts && !self.registration.is_closing()
    }

    /// Accepts from a readiness listener.
    pub(super) fn accept(&mut self, cx: &mut Context<K>) -> Result<Option<(K::Stream, SocketAddr)>, Fault> {
        let accepted = cx.submitter.kernel().accept_now(&self.source)?;
        cx.stats.accepted += u64::from(accepted.is_some());
        Ok(accepted)
    }

    pub(super) fn list(&mut self, cx: &mut Context<K>, key: Key) {
        cx.list(&mut self.registration, SourceRef::Watch(key.slot));
    }

    /// Returns false if it was removed before.
    pub(super) fn remove(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        if !self.registration.close() {
            return false;
        }
        if let Some(timer) = self.retry.take() {
            cx.timers.cancel(timer);
        }
        if let Some(handle) = self.armed {
            cx.submitter.cancel(&self.source, handle);
        }
        self.list(cx, key);
        true
    }

    /// Arms the watch for the first time, so that a handle that cannot be waited for is refused by the call that adds
    /// it.
    pub(super) fn start(&mut self, cx: &mut Context<K>, key: Key) -> Result<Served, Fault> {
        self.list(cx, key);
        match cx.submitter.watch(&self.source, key.slot) {
            Started::Pending(handle) => self.armed = Some(handle),
            Started::Completed(Completion { result: Err(fault), .. }) => return Err(fault),
            Started::Completed(completion) => return Ok(self.watched(cx, key, completion)),
        }
        Ok(Served::Alive)
    }

    /// Arms the watch again, if it is not, and unless it `is_held`: the console has no room for what it would read.
    pub(super) fn serve(&mut self, cx: &mut Context<K>, key: Key, is_held: bool) -> Served {
        self.registration.unlist();
        if self.armed.is_some() {
            return Served::Alive;
        }
        if self.registration.is_closing() {
            return Served::Ended { silent: true };
        }
        if self.registration.is_undelivered() || self.retry.is_some() || is_held {
            return Served::Alive;
        }
        match cx.submitter.watch(&self.source, key.slot) {
            Started::Pending(handle) => self.armed = Some(handle),
            Started::Completed(completion) => return self.watched(cx, key, completion),
        }
        Served::Alive
    }

    /// The watch has left the table.
    pub(super) fn finish(self, cx: &mut Context<K>) {
        cx.submitter.close(self.source, Close::Orderly);
    }

    pub(super) fn watch_completed(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        completion: Completion<K>,
    ) -> Served {
        assert_eq!(self.armed.take(), Some(completion.handle), "armed once at a time");
        self.watched(cx, key, completion)
    }

    fn watched(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) -> Served {
        match completion.result {
            _ if self.registration.is_closing() => self.list(cx, key),
            Ok(Outcome::Ready) => {
                self.retry_ns = 0;
                return Served::Fired;
            }
            Ok(_) => unreachable!("a watch returns readiness"),
            Err(fault) => {
                self.retry_ns = next_retry_ns(self.retry_ns);
                let retry_ns = self.retry_ns;
                let due = self.failures.note(cx.now_ns());
                self.pause(cx, key, retry_ns);
                let error = fault.to_io();
                if let Some(failures) = due {
                    tracing::warn!(target: "dolmen", watch = %key, %error, retry_ns, failures, "cannot watch");
                } else {
                    tracing::debug!(target: "dolmen", watch = %key, %error, retry_ns, "cannot watch");
                }
            }
        }
        Served::Alive
    }

    pub(super) fn report(&mut self, cx: &mut Context<K>, key: Key) {
        self.registration.record_added();
        cx.outbox.push_back(Record::Ready { watch: WatchId(key), token: self.token });
    }

    /// Leaves a watch that is not armed unarmed for a while.
    pub(super) fn pause(&mut self, cx: &mut Context<K>, key: Key, pause_ns: u64) {
        self.retry = Some(cx.set_internal_timer(pause_ns, Purpose::WatchAgain(key)));
    }

    pub(super) fn delivered(&mut self, cx: &mut Context<K>, key: Key) {
        self.registration.record_delivered();
        self.list(cx, key);
    }

    pub(super) fn watch_again(&mut self, cx: &mut Context<K>, key: Key) {
        self.retry = None;
        self.list(cx, key);
    }
}
