//! A block of bytes that can be lent to a kernel.

/// A heap block that keeps its address while it is lent out.
///
/// The engine owns a buffer, or an operation does; the kernel may write to it only while an operation that the kernel
/// owns holds it.
///
/// One word, because every connection and every operation has room for one and most have none: ten thousand idle
/// players have two of these each.
#[derive(Debug)]
pub struct Buffer {
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

    /// The contents.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends; grows (and moves) the block where it must, so it is never called while the block is lent.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Where a kernel writes, and how much room it has there. The previous contents no longer count. One byte is
    /// reserved for [`Buffer::terminate`].
    pub(super) fn as_target(&mut self) -> (*mut u8, usize) {
        self.bytes.clear();
        (self.bytes.as_mut_ptr(), self.bytes.capacity().saturating_sub(1))
    }

    /// Puts a zero byte after the contents without adding it to them: C programs often treat bytes as a string. They
    /// get the address of the contents, from which they reach that byte, so the block is exposed together with it.
    pub(crate) fn terminate(&mut self) {
        if let Some(behind) = self.bytes.spare_capacity_mut().first_mut() {
            behind.write(0);
        }
        self.bytes.as_mut_ptr().expose_provenance();
    }

    /// Marks the bytes that a kernel wrote as the contents.
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
