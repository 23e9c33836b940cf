//! The caller's memory: the buffers that it posts, and a watch over those that events point to.

use std::ffi::c_void;

use crate::types::{EVENT_READ, io_event_t};

/// A buffer of the caller that was passed to a receive. Kept as a pointer: while the library may write to it nothing
/// else refers to it.
pub(super) struct Posted {
    start: *mut u8,
    len: usize,
}

/// A byte that no buffer contains by chance.
const FILL: u8 = 0xC5;

impl Posted {
    pub(super) fn new(len: usize) -> Posted {
        let start = Box::into_raw(vec![FILL; len].into_boxed_slice());
        Posted { start: start.cast(), len }
    }

    pub(super) fn pointer(&self) -> *mut c_void {
        self.start.cast()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, address: usize) -> bool {
        (self.start.addr()..self.start.addr() + self.len).contains(&address)
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        let whole = std::ptr::slice_from_raw_parts_mut(self.start, self.len);
        // SAFETY: the pointer came from a box, of which this is the only owner; the library no longer uses it, as its
        // event was delivered or its registration was removed.
        drop(unsafe { Box::from_raw(whole) });
    }
}

/// The bytes that the events of the last wait point to.
#[derive(Default)]
pub(super) struct Held {
    ranges: Vec<Range>,
}

struct Range {
    start: *const u8,
    len: usize,
    copy: Vec<u8>,
}

impl Range {
    /// # Safety
    ///
    /// The bytes can be read.
    unsafe fn now(&self) -> &[u8] {
        // SAFETY: the caller guarantees that the bytes can be read.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    fn overlaps(&self, start: usize, len: usize) -> bool {
        self.start.addr() < start + len && start < self.start.addr() + self.len
    }
}

impl Held {
    /// Records `len` bytes to which an event points. Whether it shares any of them with another event.
    pub(super) fn hold(&mut self, event: &io_event_t, len: usize) -> bool {
        debug_assert!(event.event_type == EVENT_READ && !event.buffer.is_null());
        let start = event.buffer.cast::<u8>().cast_const();
        let shared = self.ranges.iter().any(|range| range.overlaps(start.addr(), len));
        let mut range = Range { start, len, copy: Vec::new() };
        // SAFETY: the event says that so many bytes are there until the next wait.
        range.copy = unsafe { range.now() }.to_vec();
        self.ranges.push(range);
        shared
    }

    /// Whether an event points to a buffer that the caller has posted in the meantime.
    pub(super) fn shares(&self, posted: &Posted) -> bool {
        self.ranges.iter().any(|range| range.overlaps(posted.start.addr(), posted.len))
    }

    /// The next wait begins, or the reactor ends: whether all bytes are unchanged.
    pub(super) fn release(&mut self) -> bool {
        // SAFETY: the bytes are valid until the next wait.
        self.ranges.drain(..).all(|range| unsafe { range.now() } == range.copy)
    }
}

/// The bytes of an event.
pub(super) fn bytes_of(event: &io_event_t) -> Vec<u8> {
    let len = usize::try_from(event.bytes_transferred).expect("a number of bytes");
    // SAFETY: the event says that so many bytes are there until the next wait, and that has not begun.
    unsafe { std::slice::from_raw_parts(event.buffer.cast::<u8>(), len) }.to_vec()
}

/// The byte behind them.
pub(super) fn byte_behind(event: &io_event_t) -> u8 {
    let len = usize::try_from(event.bytes_transferred).expect("a number of bytes");
    // SAFETY: a zero byte follows in each buffer of the library.
    unsafe { event.buffer.cast::<u8>().add(len).read() }
}
