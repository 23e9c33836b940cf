//! A block of bytes that can be lent to a kernel.

/// A heap block that keeps its address while it is lent out.
///
/// The engine owns a buffer, or an operation does; it is in an operation's hands that the kernel may write to it.
///
/// One word, because every connection and every operation has room for one and most have none: of ten thousand idle
/// players there are two of these each.
pub(crate) struct Buffer {
    #[expect(clippy::box_collection, reason = "see above")]
    bytes: Box<Vec<u8>>,
}

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Buffer {
        Buffer { bytes: Box::new(Vec::with_capacity(capacity)) }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends; grows (and moves) the block where it must, so never while it is lent.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Where a kernel writes, and how much room it has there. What was in the buffer no longer counts. One byte is kept
    /// for [`Buffer::terminate`].
    pub(super) fn as_target(&mut self) -> (*mut u8, usize) {
        self.bytes.clear();
        (self.bytes.as_mut_ptr(), self.bytes.capacity().saturating_sub(1))
    }

    /// Puts a zero byte behind the contents, which do not grow by it: C programs like to take bytes for a string. They are
    /// given the address of the contents, from which they reach that byte, so the block is exposed with it.
    pub(crate) fn terminate(&mut self) {
        if let Some(behind) = self.bytes.spare_capacity_mut().first_mut() {
            behind.write(0);
        }
        self.bytes.as_mut_ptr().expose_provenance();
    }

    /// Takes over the bytes a kernel wrote.
    ///
    /// # Safety
    ///
    /// The first `len` bytes have been initialised through the pointer from [`Buffer::as_target`].
    pub(super) unsafe fn set_filled(&mut self, len: usize) {
        assert!(len <= self.bytes.capacity(), "a kernel reported more bytes than it had room for");
        // SAFETY: `len` is within the capacity (asserted) and the caller vouches for the contents.
        unsafe { self.bytes.set_len(len) };
    }
}
