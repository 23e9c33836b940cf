//! The caller's array of events, and who owns the bytes that its events point to.
//!
//! Only this module makes an event with a buffer, and each function that makes one says who keeps the bytes until the
//! next wait: the engine's events, [`Lent`], or the caller. So no two events can share a buffer, and none can lose its
//! bytes to another event of the same wait [hc48].

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use crate::room::{Event, Origin, Room};
use crate::types::{EVENT_READ, socket_fd_t};

/// How much of a pipe or a file comes with one event.
pub(crate) const CHUNK_BYTES: usize = 4096;

/// How many buffers are kept for reuse.
const MOST_KEPT: usize = 16;

/// Where a wait puts its events.
pub(crate) struct Sink<'a> {
    room: Room<'a>,
    most: usize,
    count: usize,
    completes: bool,
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
    /// For up to `most` events. `completes`: the system's contract is that of completions, as on Windows.
    pub(crate) fn new(room: Room<'a>, most: usize, completes: bool, lent: &'a mut Lent) -> Sink<'a> {
        let most = most.min(room.len());
        Sink { room, most, count: 0, completes, in_engine: 0, lent }
    }

    /// Whether events have a place for the socket of a connection, or for the key of a packet.
    pub(crate) fn is_wide(&self) -> bool {
        self.room.is_wide()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn left(&self) -> usize {
        self.most - self.count
    }

    /// Whether the engine's events may be refilled: not while an event of this wait points into them [hc48].
    pub(crate) fn engine_is_free(&self) -> bool {
        self.in_engine == 0
    }

    /// An event that brings no bytes.
    pub(crate) fn event(&mut self, origin: Origin, event_type: c_int) {
        self.counted(origin, event_type, 0);
    }

    /// An event that brings a number only.
    pub(crate) fn counted(&mut self, origin: Origin, event_type: c_int, number: u64) {
        self.push(Event::Source { origin, event_type, number, buffer: null_mut() });
    }

    /// A message, by the sender's two values.
    pub(crate) fn message(&mut self, key: usize, data: usize) {
        self.push(Event::Posted { key, data });
    }

    /// A connection that was accepted. Only if events are wide.
    pub(crate) fn accepted(&mut self, origin: Origin, socket: socket_fd_t) {
        self.push(Event::Accepted { origin, socket });
    }

    /// A packet that others have posted to the completion port. Left out unless events are wide.
    pub(crate) fn foreign(&mut self, key: usize, bytes: u32, overlapped: usize) {
        if self.is_wide() {
            self.push(Event::Foreign { key, bytes, overlapped });
        }
    }

    /// Received bytes that stay in the engine's events, with a zero byte behind them.
    pub(crate) fn in_engine(&mut self, origin: Origin, bytes: &[u8]) {
        self.in_engine += 1;
        // Not the slice's own pointer, which does not reach the zero.
        let start = std::ptr::with_exposed_provenance_mut(bytes.as_ptr().addr());
        self.bytes(origin, start, bytes.len());
    }

    /// Received bytes that were copied into the caller's buffer.
    pub(crate) fn in_callers(&mut self, origin: Origin, target: *mut c_void, count: usize) {
        self.bytes(origin, target, count);
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
    pub(crate) fn lend(&mut self, origin: Origin, mut buffer: Vec<u8>) {
        let count = buffer.len();
        // C programs often treat the bytes as a string.
        buffer.push(0);
        let start = buffer.as_mut_ptr().cast();
        let kept = &mut self.lent.out;
        kept.push(buffer);
        self.bytes(origin, start, count);
    }

    fn bytes(&mut self, origin: Origin, buffer: *mut c_void, count: usize) {
        self.push(Event::Source { origin, event_type: EVENT_READ, number: count as u64, buffer });
    }

    fn push(&mut self, event: Event) {
        assert!(self.count < self.most, "an event for which there is no room");
        self.room.put(self.count, event, self.completes);
        self.count += 1;
    }
}
