//! The contents of the epoll instance: adding and removing descriptors, and moving all of them to a new instance.
//!
//! Epoll identifies an open file by the number with which it was added. If a number is closed here while its file is
//! open elsewhere, the entry stays in the instance and is reported, but cannot be removed any more: that is the purpose
//! of a new instance. When the number refers to that file again, the entry is taken over.
//!
//! Manual pages: epoll(7), "Questions and answers"; epoll_ctl(2).

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::super::readiness::Readiness;
use super::super::{Fault, FaultKind, Kernel};
use super::descriptor::new_epoll;
use super::fault::fault;
use super::polled::polled_flags;
use super::table::{Entry, Source};
use super::{
    BELL, BELL_FLAGS, Epoll, LISTENER_FLAGS, SIGNAL, SIGNAL_FLAGS, STREAM_FLAGS, UDP_FLAGS, watch_flags,
};

/// After how long the move to a new instance is retried, and how long a wait that has found nothing else pauses
/// meanwhile.
const STALE_RETRY: Duration = Duration::from_millis(100);
const STALE_SLEEP: Duration = Duration::from_millis(10);

impl Epoll {
    pub(super) fn deregister_polled(&mut self, source: &Source) {
        if self.table.entry(source).is_borrowed() {
            self.deregister(source.0);
        }
    }

    /// Whether the epoll instance and the eventfd belong to another process.
    pub(super) fn is_copy(&self) -> bool {
        self.signal.process.is_copy()
    }

    /// Whether a closed descriptor must be removed from the epoll instance. A copy must not: the instance is the other
    /// process's [hc47].
    pub(super) fn keeps_registrations(&self) -> bool {
        !self.retiring && !self.is_copy()
    }

    /// A copy whose sockets continue to belong to the other process.
    pub(super) fn is_dropped_copy(&self) -> bool {
        self.retiring && self.is_copy()
    }

    /// Removes a borrowed socket from epoll, if it is registered.
    pub(super) fn deregister(&mut self, index: u32) {
        let keeps_registrations = self.keeps_registrations();
        let polled = self.table.polled(index);
        polled.found = Readiness::NONE;
        if std::mem::take(&mut polled.registered).is_empty() || !keeps_registrations {
            return;
        }
        // SAFETY: as in `Entry::fd`. If it is closed all the same, the call reports that.
        let fd = unsafe { BorrowedFd::borrow_raw(polled.fd) };
        self.calls += 1;
        epoll::delete(&self.epoll, fd).unwrap_or_else(
            |errno| tracing::debug!(target: "dolmen", %errno, "deregistering a borrowed socket"),
        );
    }

    pub(super) fn register(&mut self, entry: Entry, flags: EventFlags) -> Result<Source, (Fault, Entry)> {
        if let Err(fault) = self.after_fork() {
            return Err((fault, entry));
        }
        let index = self.table.reserve();
        let data = self.table.event_data(index);
        if let Err(errno) = self.add(entry.fd(), data, flags) {
            self.table.give_back(index);
            return Err((fault(errno), entry));
        }
        Ok(self.table.fill(index, entry))
    }

    /// Epoll may know the descriptor although none of our sources has it: it was closed before it was deregistered, its
    /// file is still open under another number, and now has this one again.
    pub(super) fn add(
        &mut self,
        fd: BorrowedFd<'_>,
        data: EventData,
        flags: EventFlags,
    ) -> Result<(), Errno> {
        self.calls += 1;
        match epoll::add(&self.epoll, fd, data, flags) {
            Err(Errno::EXIST) if !self.has_registered(fd.as_raw_fd()) => {
                self.calls += 1;
                epoll::modify(&self.epoll, fd, data, flags)
            }
            added => added,
        }
    }

    pub(super) fn has_registered(&self, fd: RawFd) -> bool {
        let is_bell = self.bell.as_ref().is_some_and(|bell| bell.fd.as_raw_fd() == fd);
        self.table.has_registered(fd) || self.signal.fd.as_raw_fd() == fd || is_bell
    }

    /// Moves everything that is registered to a new epoll instance, and leaves stale registrations behind.
    ///
    /// The edges that this causes only repeat the known state, and so cost a call each at most.
    ///
    /// An outer loop that waits on the old instance must register the new one, so [`Epoll::generation`] changes. Giving
    /// the new one the old number would only hide that: the outer registration belongs to the open file, and ends with
    /// it.
    pub(super) fn rebuild_epoll(&mut self) -> Result<(), Errno> {
        let epoll = new_epoll()?;
        epoll::add(&epoll, &self.signal.fd, EventData::new_u64(SIGNAL), SIGNAL_FLAGS)?;
        self.calls += 2;
        if let Some(bell) = &self.bell {
            self.calls += 1;
            epoll::add(&epoll, &bell.fd, EventData::new_u64(BELL), BELL_FLAGS)?;
        }
        let mut lost = Vec::new();
        // Our own first: it has its number for certain, while a borrowed one may be closed and its number ours by now.
        for borrowed in [false, true] {
            let of_this_kind = |(_, entry): &(u32, &Entry)| entry.is_borrowed() == borrowed;
            for (index, entry) in self.table.iter().filter(of_this_kind) {
                let flags = match entry {
                    Entry::Dial { registered: false, .. } => continue,
                    Entry::Stream { .. } | Entry::Dial { .. } => STREAM_FLAGS,
                    Entry::Listener { .. } => LISTENER_FLAGS,
                    Entry::Udp(_) => UDP_FLAGS,
                    Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. } => {
                        watch_flags(watch.is_some())
                    }
                    Entry::Polled(polled) if polled.registered.is_empty() => continue,
                    Entry::Polled(polled) => polled_flags(polled.registered),
                };
                let data = self.table.event_data(index);
                self.calls += 1;
                match epoll::add(&epoll, entry.fd(), data, flags) {
                    Ok(()) => {}
                    Err(errno) if !borrowed || fault(errno).kind == FaultKind::Exhausted => {
                        return Err(errno);
                    }
                    // Closed and not removed, whatever has its number now. An error is reported for it.
                    Err(_) => lost.push(index),
                }
            }
        }
        self.epoll = epoll;
        self.rebuilt += 1;
        for index in lost {
            let polled = self.table.polled(index);
            (polled.registered, polled.found) = (Readiness::NONE, Readiness::ERROR);
            self.ready.push_if_ready(&mut self.table, index);
        }
        Ok(())
    }

    /// Epoll has reported a file that is closed here and open elsewhere. It takes a descriptor to end that. Without
    /// one, every wait reports it, so a wait that has found nothing else sleeps for a moment instead of returning
    /// immediately.
    pub(super) fn drop_stale_registrations(&mut self, nothing_else: bool, timeout_ns: Option<u64>) {
        let now = Instant::now();
        if self.stale_retry_at.is_none_or(|until| now >= until) {
            let result = self.rebuild_epoll();
            tracing::debug!(target: "dolmen", ?result, "left behind a closed descriptor that is open elsewhere");
            self.stale_retry_at = result.is_err().then(|| now + STALE_RETRY);
        }
        if self.stale_retry_at.is_some() && nothing_else {
            // A wake is seen after it.
            std::thread::sleep(
                timeout_ns.map_or(STALE_SLEEP, |ns| STALE_SLEEP.min(Duration::from_nanos(ns))),
            );
        }
    }
}
