//! [`SharedBytes`]: bytes that any number of connections send.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes to be sent on any number of connections, stored once: a message to everybody, for
/// [`Reactor::send_shared`](crate::Reactor::send_shared). A clone is another handle, and copies nothing.
///
/// ```
/// use dolmen::SharedBytes;
/// let weather = SharedBytes::from("It starts to rain.\r\n");
/// assert_eq!(weather.len(), 20);
/// assert!(weather.starts_with(b"It"));
/// ```
// One word, because every queued piece of a connection's output has one.
#[derive(Clone)]
pub struct SharedBytes {
    #[expect(clippy::rc_buffer, reason = "a slice would make it two words")]
    bytes: Arc<Vec<u8>>,
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> SharedBytes {
        SharedBytes { bytes: Arc::new(bytes) }
    }
}

impl From<&[u8]> for SharedBytes {
    fn from(bytes: &[u8]) -> SharedBytes {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for SharedBytes {
    fn from(bytes: &[u8; N]) -> SharedBytes {
        bytes.to_vec().into()
    }
}

impl From<String> for SharedBytes {
    fn from(text: String) -> SharedBytes {
        text.into_bytes().into()
    }
}

impl From<&str> for SharedBytes {
    fn from(text: &str) -> SharedBytes {
        text.as_bytes().into()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len()).finish()
    }
}
