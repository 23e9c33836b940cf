//! The queue of sources with an operation that can make progress, in the order in which they are served.

use std::collections::VecDeque;

use rustix::event::epoll::EventFlags;

use super::polled::readiness;
use super::table::{Entry, Table};

#[derive(Default)]
pub(super) struct ReadyQueue {
    /// Slots whose `queued` is set.
    indices: VecDeque<u32>,
    /// Used by `recheck_leftovers`, kept for its memory.
    leftovers: Vec<libc::pollfd>,
}

impl ReadyQueue {
    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Puts a source at the end if it can make progress and is not in the queue.
    pub(super) fn push_if_ready(&mut self, table: &mut Table, index: u32) {
        let slot = table.slot(index);
        if !slot.queued && slot.is_ready() {
            slot.queued = true;
            self.indices.push_back(index);
        }
    }

    pub(super) fn pop(&mut self, table: &mut Table) -> Option<u32> {
        let index = self.indices.pop_front()?;
        table.slot(index).queued = false;
        Some(index)
    }

    pub(super) fn remove(&mut self, table: &mut Table, index: u32) {
        if std::mem::take(&mut table.slot(index).queued) {
            self.indices.retain(|&queued| queued != index);
        }
    }

    /// Checks again the borrowed sockets that an earlier wait has found ready and that did not fit: the caller, who may
    /// read from them at any time, may have done so since. Makes one call, and only if there are any. Returns how many
    /// are ready.
    pub(super) fn recheck_leftovers(&mut self, table: &mut Table, calls: &mut u64) -> usize {
        self.leftovers.clear();
        for &index in &self.indices {
            if let Some(Entry::Polled(polled)) = &table.slot(index).entry {
                self.leftovers.push(polled.pollfd());
            }
        }
        if self.leftovers.is_empty() {
            return 0;
        }
        // A file is always ready, and so is a descriptor that is known to be closed.
        if self.leftovers.iter().any(|leftover| leftover.fd >= 0) {
            *calls += 1;
            let count = self.leftovers.len() as libc::nfds_t;
            // SAFETY: the structures are ours, and as many as we say.
            if unsafe { libc::poll(self.leftovers.as_mut_ptr(), count, 0) } < 0 {
                // The call failed, so the state is not known; epoll reports them again.
                self.leftovers.iter_mut().for_each(|leftover| leftover.revents = 0);
            }
        }
        let (mut at, mut ready) = (0, 0);
        for _ in 0..self.indices.len() {
            let index = self.indices.pop_front().expect("as many as there were");
            let slot = table.slot(index);
            if let Some(Entry::Polled(polled)) = &mut slot.entry {
                let leftover = self.leftovers[at];
                at += 1;
                if leftover.fd >= 0 {
                    let flags = EventFlags::from_bits_truncate(u32::from(leftover.revents as u16));
                    polled.found = readiness(polled.fd, polled.interest, flags, calls);
                }
                if polled.poll.is_none() || polled.unreported().is_empty() {
                    slot.queued = false;
                    continue;
                }
                ready += 1;
            }
            self.indices.push_back(index);
        }
        ready
    }
}
