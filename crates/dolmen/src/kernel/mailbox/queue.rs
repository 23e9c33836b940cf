//! A bounded queue between threads, whose entries can be withdrawn. Kept behind a lock.

use std::collections::VecDeque;

pub(super) struct Queue<T> {
    /// Each with its number, in ascending order, with gaps.
    entries: VecDeque<(u64, T)>,
    /// The number of the next entry.
    next: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { entries: VecDeque::new(), next: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entry's number, with which it can be withdrawn. The caller has checked that there is room.
    pub(super) fn push(&mut self, entry: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.entries.push_back((number, entry));
        number
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.entries.pop_front().map(|(_, entry)| entry)
    }

    /// Takes all entries out, and leaves the empty memory of `with` for those to come.
    pub(super) fn swap(&mut self, with: &mut VecDeque<(u64, T)>) {
        std::mem::swap(&mut self.entries, with);
    }

    /// Takes an entry out again. `None` if it has been popped.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<T> {
        let at = self.entries.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        self.entries.remove(at).map(|(_, entry)| entry)
    }
}
