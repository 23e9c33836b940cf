//! Polls: borrowed sockets that the caller reads and writes itself, and for which it only wants readiness events.
//!
//! Like a watch, a poll is pending in the kernel, reports once, and is submitted again when that report has been
//! delivered; so each wait reports a socket that stays ready, once. Unlike a watch it has an interest that may change
//! at any time, and it is released immediately when it is removed: the caller may close the socket next.

use crate::kernel::operation::OpHandle;
use crate::kernel::readiness::Readiness;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Kernel, Outcome};
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{Key, PollId, Token};

use super::context::Context;
use super::registration::{Registration, Served, SourceRef};

pub(super) struct Poll<K: Kernel> {
    source: K::Source,
    token: Token,
    interest: Readiness,
    /// The interest ends when it has been reported.
    once: bool,
    pending: Option<OpHandle>,
    /// The kernel cannot wait for it, which is reported even without an interest.
    failed: bool,
    /// The wait in which its undelivered record was added.
    found_in: u64,
    registration: Registration,
}

impl<K: Kernel> Poll<K> {
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn new(source: K::Source, interest: Readiness, once: bool, token: Token) -> Poll<K> {
        let registration = Registration::default();
        Poll { source, token, interest, once, pending: None, failed: false, found_in: 0, registration }
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn source(&self) -> &K::Source {
        &self.source
    }

    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn is_closing(&self) -> bool {
        self.registration.is_closing()
    }

    /// From now on only what `interest` asks for is reported, even of what was found before.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn set_interest(
        &mut self,
        cx: &mut Context<K>,
        interest: Readiness,
    ) -> Result<(), crate::kernel::Fault> {
        (self.interest, self.failed) = (interest, false);
        if self.pending.is_some() {
            mark(Mark::InterestChanged);
            cx.submitter.kernel().set_interest(&self.source, interest)?;
        }
        Ok(())
    }

    pub(super) fn list(&mut self, cx: &mut Context<K>, key: Key) {
        cx.list(&mut self.registration, SourceRef::Poll(key.slot));
    }

    /// Returns false if it was removed before.
    pub(super) fn remove(&mut self, cx: &mut Context<K>) -> bool {
        if !self.registration.close() {
            return false;
        }
        if let Some(handle) = self.pending {
            mark(Mark::PollRemovedInFlight);
            cx.submitter.cancel(&self.source, handle);
        }
        true
    }

    /// Whether the kernel has an operation of it.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn serve(&mut self, cx: &mut Context<K>, key: Key) -> Served {
        self.registration.unlist();
        if self.pending.is_some() {
            return Served::Alive;
        }
        if self.registration.is_closing() {
            return Served::Ended { silent: true };
        }
        if !self.registration.is_undelivered() {
            match cx.submitter.poll(&self.source, key.slot, self.interest) {
                Started::Pending(handle) => self.pending = Some(handle),
                Started::Completed(completion) => self.polled(cx, key, completion),
            }
        }
        Served::Alive
    }

    /// The poll has left the table.
    pub(super) fn finish(self, cx: &mut Context<K>) {
        cx.submitter.close(self.source, Close::Release);
    }

    pub(super) fn poll_completed(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        assert_eq!(self.pending.take(), Some(completion.handle), "pending once at a time");
        self.polled(cx, key, completion);
    }

    fn polled(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let ready = match completion.result {
            _ if self.registration.is_closing() => return self.list(cx, key),
            Ok(Outcome::Polled(ready)) => ready,
            Ok(_) => unreachable!("a poll returns readiness"),
            Err(fault) => {
                // A socket that cannot be waited for, most likely because it is closed: reported once, and then left
                // alone.
                tracing::warn!(target: "dolmen", poll = %key, error = %fault.to_io(), "cannot poll");
                (self.interest, self.failed) = (Readiness::NONE, true);
                Readiness::ERROR
            }
        };
        self.registration.record_added();
        self.found_in = cx.stats.waits;
        cx.outbox.push_back(Record::Polled { poll: PollId(key), token: self.token, ready });
    }

    /// A `Polled` record is about to be delivered. Returns the part of it that is still wanted.
    pub(super) fn deliver(&mut self, cx: &mut Context<K>, key: Key, found: Readiness) -> Readiness {
        self.registration.record_delivered();
        // It did not fit into the events of that wait. The caller has acted since, and may have handled it.
        let is_old = self.found_in != cx.stats.waits && !self.failed;
        let ready = if is_old {
            match self.interest {
                Readiness::NONE => Readiness::NONE,
                interest => {
                    let now = cx.submitter.kernel().recheck(&self.source, interest);
                    if now.is_empty() {
                        mark(Mark::PollNoLongerReady);
                    }
                    now
                }
            }
        } else {
            found
        };
        // An end is found whatever the interest is; but a caller without any interest gets no report.
        let is_reported = !self.interest.is_empty() || std::mem::take(&mut self.failed);
        let wanted = if is_reported { ready & (self.interest | Readiness::ENDS) } else { Readiness::NONE };
        if wanted.is_empty() {
            mark(Mark::PollUnwanted);
        } else if self.once {
            mark(Mark::PolledOnce);
            self.interest = Readiness::NONE;
        }
        self.list(cx, key);
        wanted
    }
}
