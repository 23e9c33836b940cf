//! A pool of receive buffers.
//!
//! A buffer leaves the pool when a packet needs one, and returns when the [`Events`](crate::Events) that carried its
//! bytes is refilled, cleared or dropped. The pool never refuses. A wait takes only as many buffers as its events have
//! room for, so the number of buffers out is bounded by the events that the caller keeps plus those lent to a kernel in
//! advance. A buffer that returns to a pool of `size` buffers is freed instead of kept.

use crate::kernel::buffer::Buffer;

pub(crate) struct BufferPool {
    free: Vec<Buffer>,
    /// How many buffers are kept, and how many may be lent in advance to receives that have nothing to read yet.
    size: usize,
    /// How many received bytes a buffer holds. One more is allocated; see [`Buffer::terminate`].
    buffer_bytes: usize,
    out: usize,
}

impl BufferPool {
    pub(crate) fn new(size: usize, buffer_bytes: usize) -> BufferPool {
        BufferPool { free: Vec::with_capacity(size), size, buffer_bytes, out: 0 }
    }

    /// Takes a buffer for bytes that have arrived: one that has come back, if there is one [p15].
    pub(crate) fn take(&mut self) -> Buffer {
        self.out += 1;
        self.free.pop().unwrap_or_else(|| Buffer::with_capacity(self.buffer_bytes + 1))
    }

    /// Takes a buffer for bytes that may arrive later: only while at least half of the pool is left for bytes that have
    /// arrived.
    #[cfg_attr(not(windows), allow(dead_code))] // A readiness kernel does not use it.
    pub(crate) fn take_in_advance(&mut self) -> Option<Buffer> {
        (self.out < self.size / 2).then(|| self.take())
    }

    pub(crate) fn give_back(&mut self, mut buffer: Buffer) {
        debug_assert!(self.out > 0, "a buffer came back to a pool that had none out");
        self.out -= 1;
        if self.free.len() < self.size {
            // Old bytes in a recycled buffer look like new ones; overwrite them, so that a mistake shows in the tests.
            if cfg!(debug_assertions) {
                poison(&mut buffer);
            }
            buffer.clear();
            self.free.push(buffer);
        }
    }

    pub(crate) fn out(&self) -> usize {
        self.out
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }
}

fn poison(buffer: &mut Buffer) {
    let len = buffer.len();
    buffer.clear();
    for _ in 0..len {
        buffer.extend(&[0xDD]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_size_buffers_and_frees_the_rest() {
        let mut pool = BufferPool::new(4, 64);
        let taken: Vec<Buffer> = (0..10).map(|_| pool.take()).collect();
        assert_eq!(pool.out(), 10);
        taken.into_iter().for_each(|buffer| pool.give_back(buffer));
        assert_eq!((pool.out(), pool.free()), (0, 4));
    }

    #[test]
    fn buffers_in_advance_leave_half_of_the_pool() {
        let mut pool = BufferPool::new(4, 64);
        let advance: Vec<Buffer> = std::iter::from_fn(|| pool.take_in_advance()).collect();
        assert_eq!(advance.len(), 2);
        assert_eq!(pool.take().capacity(), 65, "bytes that have arrived always get a buffer");
    }
}
