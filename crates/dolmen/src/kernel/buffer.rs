//! A block of bytes that can be lent to a kernel.

use std::fmt;
use std::mem::{self, ManuallyDrop};

use super::buffer_pool::BufferPool;

/// A heap block that keeps its address while it is lent out, and that returns itself to where it came from when it is
/// dropped, wherever that happens: in a packet that no code takes, in an event, or at the end of the reactor.
///
/// A packet brings a receive's buffer from the kernel. Until then the operation holds it, if the kernel needed it in
/// advance, and the kernel may write to it.
///
/// One word, because every connection and every operation has room for one and most have none: ten thousand idle
/// players have two of these each.
pub struct Buffer {
    block: ManuallyDrop<Box<Block>>,
}

/// What a buffer points to.
pub(super) struct Block {
    bytes: Vec<u8>,
    origin: Origin,
}

/// Where a block returns to.
enum Origin {
    Pool(BufferPool),
    /// The code that made it; it is freed.
    Caller,
}

impl Block {
    pub(super) fn with_capacity(capacity: usize) -> Box<Block> {
        Box::new(Block { bytes: Vec::with_capacity(capacity), origin: Origin::Caller })
    }

    /// Empties it. Old bytes in a block that is used again look like new ones, so tests overwrite them, and a mistake
    /// shows.
    pub(super) fn recycle(&mut self) {
        if cfg!(debug_assertions) {
            self.bytes.fill(0xDD);
        }
        self.bytes.clear();
    }
}

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Buffer {
        Buffer { block: ManuallyDrop::new(Block::with_capacity(capacity)) }
    }

    /// A block that returns to the pool.
    pub(super) fn from_pool(mut block: Box<Block>, pool: BufferPool) -> Buffer {
        block.origin = Origin::Pool(pool);
        Buffer { block: ManuallyDrop::new(block) }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.block.bytes.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.block.bytes.len()
    }

    /// The contents.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.block.bytes
    }

    /// Appends; grows (and moves) the block where it must, so it is never called while the block is lent.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.block.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn clear(&mut self) {
        self.block.bytes.clear();
    }

    /// Where a kernel writes, and how much room it has there. The previous contents no longer count. One byte is
    /// reserved for [`Buffer::terminate`].
    pub(super) fn as_target(&mut self) -> (*mut u8, usize) {
        let bytes = &mut self.block.bytes;
        bytes.clear();
        (bytes.as_mut_ptr(), bytes.capacity().saturating_sub(1))
    }

    /// Puts a zero byte after the contents without adding it to them: C programs often treat bytes as a string. They
    /// get the address of the contents, from which they reach that byte, so the block is exposed together with it.
    pub(crate) fn terminate(&mut self) {
        let bytes = &mut self.block.bytes;
        if let Some(behind) = bytes.spare_capacity_mut().first_mut() {
            behind.write(0);
        }
        bytes.as_mut_ptr().expose_provenance();
    }

    /// Marks the bytes that a kernel wrote as the contents.
    ///
    /// # Safety
    ///
    /// The first `len` bytes have been initialised through the pointer from [`Buffer::as_target`].
    pub(super) unsafe fn set_filled(&mut self, len: usize) {
        let bytes = &mut self.block.bytes;
        assert!(len <= bytes.capacity(), "a kernel reported more bytes than it had room for");
        // SAFETY: `len` is within the capacity (asserted) and the caller guarantees the contents.
        unsafe { bytes.set_len(len) };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the buffer is being dropped, so this is the last use of the field.
        let mut block = unsafe { ManuallyDrop::take(&mut self.block) };
        if let Origin::Pool(pool) = mem::replace(&mut block.origin, Origin::Caller) {
            pool.put_back(block);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buffer").field(&self.as_slice()).finish()
    }
}
