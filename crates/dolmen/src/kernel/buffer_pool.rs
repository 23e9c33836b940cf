//! A pool of receive buffers.
//!
//! A buffer leaves the pool when a packet needs one, and returns by itself when it is dropped: in most cases when the
//! [`Events`](crate::Events) that carried its bytes is refilled, cleared or dropped. The pool never refuses. A wait
//! takes only as many buffers as its events have room for, so the number of buffers out is bounded by the events that
//! the caller keeps plus those lent to a kernel in advance. A buffer that returns to a pool of `size` buffers is freed
//! instead of kept.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::buffer::{Block, Buffer};

/// A handle: its clones are one pool. Each buffer that is out has one, so a pool lasts as long as its buffers.
#[derive(Clone)]
pub(crate) struct BufferPool {
    shared: Rc<Shared>,
}

struct Shared {
    #[expect(clippy::vec_box, reason = "a buffer is one word")]
    free: RefCell<Vec<Box<Block>>>,
    /// How many buffers are kept, and how many may be lent in advance to receives that have nothing to read yet.
    size: usize,
    /// How many received bytes a buffer holds. One more is allocated; see [`Buffer::terminate`].
    buffer_bytes: usize,
    out: Cell<usize>,
}

impl BufferPool {
    pub(crate) fn new(size: usize, buffer_bytes: usize) -> BufferPool {
        let free = RefCell::new(Vec::with_capacity(size));
        BufferPool { shared: Rc::new(Shared { free, size, buffer_bytes, out: Cell::new(0) }) }
    }

    /// Takes a buffer for bytes that have arrived: one that has come back, if there is one [p15].
    pub(crate) fn take(&self) -> Buffer {
        let Shared { free, buffer_bytes, out, .. } = &*self.shared;
        out.set(out.get() + 1);
        let block = free.borrow_mut().pop().unwrap_or_else(|| Block::with_capacity(buffer_bytes + 1));
        Buffer::from_pool(block, self.clone())
    }

    /// Takes a buffer for bytes that may arrive later: only while at least half of the pool is left for bytes that have
    /// arrived.
    #[cfg_attr(not(windows), allow(dead_code))] // A readiness kernel does not use it.
    pub(crate) fn take_in_advance(&self) -> Option<Buffer> {
        (self.out() < self.shared.size / 2).then(|| self.take())
    }

    /// A buffer that was taken is dropped.
    pub(super) fn put_back(&self, mut block: Box<Block>) {
        let Shared { free, size, out, .. } = &*self.shared;
        debug_assert!(out.get() > 0, "a buffer came back to a pool that had none out");
        out.set(out.get() - 1);
        let mut free = free.borrow_mut();
        if free.len() < *size {
            block.recycle();
            free.push(block);
        }
    }

    pub(crate) fn out(&self) -> usize {
        self.shared.out.get()
    }

    pub(crate) fn free(&self) -> usize {
        self.shared.free.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_size_buffers_and_frees_the_rest() {
        let pool = BufferPool::new(4, 64);
        let taken: Vec<Buffer> = (0..10).map(|_| pool.take()).collect();
        assert_eq!(pool.out(), 10);
        drop(taken);
        assert_eq!((pool.out(), pool.free()), (0, 4));
    }

    #[test]
    fn buffers_in_advance_leave_half_of_the_pool() {
        let pool = BufferPool::new(4, 64);
        let advance: Vec<Buffer> = std::iter::from_fn(|| pool.take_in_advance()).collect();
        assert_eq!(advance.len(), 2);
        assert_eq!(pool.take().capacity(), 65, "bytes that have arrived always get a buffer");
    }

    #[test]
    fn a_buffer_outlives_every_other_handle_of_its_pool() {
        let pool = BufferPool::new(4, 64);
        let mut buffer = pool.take();
        drop(pool);
        buffer.extend(b"still here");
        assert_eq!(buffer.as_slice(), b"still here");
    }

    /// A header beside the bytes must not take the room of some of them.
    #[test]
    fn a_buffer_is_one_word_and_has_room_for_all_its_bytes() {
        assert_eq!(size_of::<Option<Buffer>>(), size_of::<usize>());
        let mut buffer = BufferPool::new(1, 4096).take();
        assert_eq!(buffer.as_target().1, 4096);
    }
}
