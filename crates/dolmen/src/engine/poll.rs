//! Polls: borrowed sockets that the caller reads and writes itself, and for which it only wants readiness events.
//!
//! Like a watch, a poll is pending in the kernel, reports once, and is submitted again when that report has been
//! delivered; so each wait reports a socket that stays ready, once. Unlike a watch it has an interest that may change
//! at any time, and it is released immediately when it is removed: the caller may close the socket next.

use crate::error::Error;
use crate::events::Record;
use crate::kernel::operation::OpHandle;
use crate::kernel::readiness::{BorrowedSocket, Readiness};
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Kernel, Outcome};
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::token::{Key, PollId, Token};

use super::{Engine, SourceRef, not_found};

pub(super) struct Poll<K: Kernel> {
    source: K::Source,
    token: Token,
    interest: Readiness,
    /// The interest ends when it has been reported.
    once: bool,
    pending: Option<OpHandle>,
    /// The kernel cannot wait for it, which is reported even without an interest.
    failed: bool,
    /// A `Polled` record is in the outbox.
    undelivered: bool,
    /// The wait in which that record was added.
    found_in: u64,
    closing: bool,
    listed: bool,
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn add_poll(
        &mut self,
        socket: BorrowedSocket,
        interest: Readiness,
        once: bool,
        token: Token,
    ) -> Result<PollId, Error> {
        let source = self.submitter.kernel().add_borrowed(socket, interest);
        let source = source.map_err(|fault| Error::from_fault(fault, "add a socket", None))?;
        let (pending, failed, undelivered, closing, listed) = (None, false, false, false, false);
        let poll = Poll {
            source,
            token,
            interest,
            once,
            pending,
            failed,
            undelivered,
            found_in: 0,
            closing,
            listed,
        };
        let key = self.polls.insert(poll);
        self.list_poll(key.slot);
        Ok(PollId(key))
    }

    /// From now on only what `interest` asks for is reported, even of what was found before.
    pub(crate) fn set_interest(&mut self, id: PollId, interest: Readiness) -> Result<(), Error> {
        const ACTION: &str = "change the interest of";
        let poll = self.polls.get_mut(id.0).filter(|poll| !poll.closing);
        let poll = poll.ok_or_else(|| not_found(ACTION, "poll", id))?;
        (poll.interest, poll.failed) = (interest, false);
        if poll.pending.is_some() && !mutant(Mutant::KeepInterest) {
            mark(Mark::InterestChanged);
            let changed = self.submitter.kernel().set_interest(&poll.source, interest);
            changed.map_err(|fault| Error::from_fault(fault, ACTION, Some(format!("poll {id}"))))?;
        }
        Ok(())
    }

    pub(crate) fn remove_poll(&mut self, id: PollId) -> bool {
        if self.polls.has_issued(id.0) {
            self.origin.removed.mark_poll(id);
        }
        let Some(poll) = self.polls.get_mut(id.0).filter(|poll| !poll.closing) else { return false };
        poll.closing = true;
        match poll.pending {
            Some(handle) => {
                mark(Mark::PollRemovedInFlight);
                self.submitter.cancel(&poll.source, handle);
            }
            None => self.serve_poll(id.0.slot),
        }
        true
    }

    fn list_poll(&mut self, slot: u32) {
        if let Some((_, poll)) = self.polls.at_mut(slot) {
            if !std::mem::replace(&mut poll.listed, true) {
                self.run_queue.push_back(SourceRef::Poll(slot));
            }
        }
    }

    pub(super) fn serve_poll(&mut self, slot: u32) {
        let Some((key, poll)) = self.polls.at_mut(slot) else { return };
        poll.listed = false;
        if poll.pending.is_some() {
            return;
        }
        if poll.closing {
            let poll = self.polls.remove(key).expect("the poll is there");
            self.submitter.close(poll.source, Close::Release);
            return;
        }
        if poll.undelivered {
            return;
        }
        match self.submitter.poll(&poll.source, slot, poll.interest) {
            Started::Pending(handle) => poll.pending = Some(handle),
            Started::Completed(completion) => self.polled(key, completion),
        }
    }

    pub(super) fn poll_completed(&mut self, completion: Completion<K>) {
        let (key, poll) = self.polls.at_mut(completion.owner).expect("a poll outlives its operation");
        assert_eq!(poll.pending.take(), Some(completion.handle), "pending once at a time");
        self.polled(key, completion);
    }

    fn polled(&mut self, key: Key, completion: Completion<K>) {
        let poll = self.polls.get_mut(key).expect("a poll outlives its operation");
        let token = poll.token;
        let ready = match completion.result {
            _ if poll.closing => return self.list_poll(key.slot),
            Ok(Outcome::Polled(ready)) => ready,
            Ok(_) => unreachable!("a poll returns readiness"),
            Err(fault) => {
                // A socket that cannot be waited for, most likely because it is closed: reported once, and then left
                // alone.
                tracing::warn!(target: "io_reactor", poll = %key, error = %fault.to_io(), "cannot poll");
                (poll.interest, poll.failed) = (Readiness::NONE, true);
                Readiness::ERROR
            }
        };
        poll.undelivered = true;
        poll.found_in = self.stats.waits;
        self.outbox.push_back(Record::Polled { poll: PollId(key), token, ready });
    }

    /// A `Polled` record is about to be delivered. Returns the part of it that is still wanted.
    pub(super) fn polled_delivered(&mut self, id: PollId, found: Readiness) -> Readiness {
        let Some(poll) = self.polls.get_mut(id.0) else { return Readiness::NONE };
        poll.undelivered = false;
        // It did not fit into the events of that wait. The caller has acted since, and may have handled it.
        let is_old = poll.found_in != self.stats.waits && !poll.failed && !mutant(Mutant::TrustOldReadiness);
        let ready = if is_old {
            match poll.interest {
                Readiness::NONE => Readiness::NONE,
                interest => {
                    let now = self.submitter.kernel().recheck(&poll.source, interest);
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
        let heard = !poll.interest.is_empty() || std::mem::take(&mut poll.failed);
        let wanted = if heard { ready & (poll.interest | Readiness::ENDS) } else { Readiness::NONE };
        let wanted = if mutant(Mutant::IgnoreInterest) { found } else { wanted };
        if wanted.is_empty() {
            mark(Mark::PollUnwanted);
        } else if poll.once && !mutant(Mutant::OnceContinues) {
            mark(Mark::PolledOnce);
            poll.interest = Readiness::NONE;
        }
        if !mutant(Mutant::ForgetPoll) {
            self.list_poll(id.0.slot);
        }
        wanted
    }

    pub(super) fn remove_all_polls(&mut self) {
        for slot in self.polls.slots().collect::<Vec<_>>() {
            if let Some((key, _)) = self.polls.at_mut(slot) {
                self.remove_poll(PollId(key));
            }
        }
    }
}
