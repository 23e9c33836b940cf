//! The memory that an operation lends to a kernel.

use super::buffer::Buffer;
use crate::shared_bytes::SharedBytes;

/// Bytes to send, or room for bytes to receive. It keeps its address for as long as the operation is pending.
#[derive(Debug)]
pub(crate) enum Lent {
    /// One connection's own.
    Buffer(Buffer),
    /// Sent on several connections, and never changed.
    Shared(SharedBytes),
}

impl Lent {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Lent::Buffer(buffer) => buffer.as_slice(),
            Lent::Shared(bytes) => bytes,
        }
    }

    /// The buffer, if it is one.
    pub(crate) fn into_buffer(self) -> Option<Buffer> {
        match self {
            Lent::Buffer(buffer) => Some(buffer),
            Lent::Shared(_) => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }
}
