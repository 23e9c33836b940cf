//! The caller's array of events, and who owns the bytes that its events point to.
//!
//! Only this module makes an event with a buffer, and each function that makes one says who keeps the bytes until the
//! next wait: the engine's events, [`Lent`], or the caller. So no two events can share a buffer, and none can lose its
//! bytes to another event of the same wait [hc48].

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use crate::types::{EVENT_READ, io_event_t};

/// How much of a pipe or a file comes with one event.
pub(crate) const CHUNK_BYTES: usize = 4096;

/// How many buffers are kept for reuse.
const MOST_KEPT: usize = 16;

/// Where a wait puts its events.
pub(crate) struct Sink<'a> {
    room: &'a mut [MaybeUninit<io_event_t>],
    count: usize,
    /// How many events point into the engine's `Events`, which must not be refilled while there are any.
    in_engine: usize,
    lent: &'a mut Lent,
}

/// The library's own buffers to which the events of the last wait point.
#[derive(Default)]
pub(crate) struct Lent {
    out: Vec<Vec<u8>>,
    free: Vec<Vec<u8>>,
}

impl Lent {
    /// The next wait has begun: the events of the last one are no longer valid.
    pub(crate) fn reclaim(&mut self) {
        for mut buffer in self.out.drain(..) {
            if self.free.len() < MOST_KEPT && buffer.capacity() <= 2 * CHUNK_BYTES {
                buffer.clear();
                self.free.push(buffer);
            }
        }
    }
}

impl<'a> Sink<'a> {
    pub(crate) fn new(room: &'a mut [MaybeUninit<io_event_t>], lent: &'a mut Lent) -> Sink<'a> {
        Sink { room, count: 0, in_engine: 0, lent }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn left(&self) -> usize {
        self.room.len() - self.count
    }

    /// Whether the engine's events may be refilled: not while an event of this wait points into them [hc48].
    pub(crate) fn engine_is_free(&self) -> bool {
        self.in_engine == 0
    }

    /// An event that brings no bytes.
    pub(crate) fn event(&mut self, context: *mut c_void, event_type: c_int) {
        self.counted(context, event_type, 0);
    }

    /// An event that brings a number only.
    pub(crate) fn counted(&mut self, context: *mut c_void, event_type: c_int, number: u64) {
        let bytes_transferred = c_int::try_from(number).unwrap_or(c_int::MAX);
        self.push(io_event_t { context, event_type, bytes_transferred, buffer: null_mut() });
    }

    /// A message; `data` is the sender's pointer, which is not dereferenced.
    pub(crate) fn message(&mut self, context: *mut c_void, event_type: c_int, data: *mut c_void) {
        self.push(io_event_t { context, event_type, bytes_transferred: 0, buffer: data });
    }

    /// Received bytes that stay in the engine's events, with a zero byte behind them.
    pub(crate) fn in_engine(&mut self, context: *mut c_void, bytes: &[u8]) {
        self.in_engine += 1;
        // Not the slice's own pointer, which does not reach the zero.
        let start = std::ptr::with_exposed_provenance_mut(bytes.as_ptr().addr());
        self.bytes(context, start, bytes.len());
    }

    /// Received bytes that were copied into the caller's buffer.
    pub(crate) fn in_callers(&mut self, context: *mut c_void, target: *mut c_void, count: usize) {
        self.bytes(context, target, count);
    }

    /// An empty buffer of the library, to be handed over with [`Sink::lend`] or given back.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        // One more byte, for the zero behind the bytes.
        self.lent.free.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES + 1))
    }

    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        self.lent.free.push(buffer);
    }

    /// Bytes in a buffer of the library, which is kept for this event until the next wait [hc48, p05].
    pub(crate) fn lend(&mut self, context: *mut c_void, mut buffer: Vec<u8>) {
        let count = buffer.len();
        // C programs often treat the bytes as a string.
        buffer.push(0);
        let start = buffer.as_mut_ptr().cast();
        let kept = &mut self.lent.out;
        kept.push(buffer);
        self.bytes(context, start, count);
    }

    fn bytes(&mut self, context: *mut c_void, buffer: *mut c_void, count: usize) {
        let bytes_transferred = c_int::try_from(count).expect("no larger than a receive buffer");
        self.push(io_event_t { context, event_type: EVENT_READ, bytes_transferred, buffer });
    }

    fn push(&mut self, event: io_event_t) {
        self.room[self.count].write(event);
        self.count += 1;
    }
}
