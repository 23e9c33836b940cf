//! The bytes that a connection has still to send, in pieces.
//!
//! A piece is the connection's own, or shared with other connections. What the caller sends is copied into the last
//! piece, if that is the connection's own and none of it has been sent, so everything that is queued in one turn goes out in
//! one system call. Shared bytes are a piece by themselves, and are sent from where they are. Before small ones are sent they
//! are copied into one piece: a system call costs more than that, and a slow reader's queue stays as it is. Tiny ones are
//! copied immediately: a piece costs more memory than they do, and only bytes are counted and bounded.
//!
//! The first piece is being sent (it belongs to the kernel), or waits between two partial sends.

use std::collections::VecDeque;

use crate::kernel::buffer::Buffer;
use crate::kernel::lent::Lent;
use crate::shared_bytes::SharedBytes;

/// A buffer that has grown beyond this is not kept for the next connection.
const KEEP_BYTES: usize = 64 * 1024;

/// All idle queues together hold no more than this. A line to each of ten thousand players is far below it.
const KEEP_BYTES_TOTAL: usize = 16 * 1024 * 1024;

/// Pieces are copied into one up to this size.
const JOIN_BYTES: usize = 4 * 1024;

/// Shared bytes up to this size are copied when they are queued.
const TINY_BYTES: usize = 64;

/// Room for this many pieces is kept for the next connection.
const KEEP_PIECES: usize = 64;

#[derive(Default)]
pub(crate) struct SendQueue {
    /// Without the first piece while the kernel owns it.
    pieces: VecDeque<Lent>,
    in_kernel: bool,
    /// How much of the first piece has been sent.
    first_sent: usize,
    queued_bytes: usize,
    /// Empty, for the next pieces.
    spare: [Option<Buffer>; 2],
}

impl SendQueue {
    /// Copies the bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.queued_bytes += bytes.len();
        // A piece is freed when all of it has been sent, which would never happen to a partly sent one that grows.
        let partly_sent = self.first_sent > 0 && !self.in_kernel && self.pieces.len() == 1;
        if let Some(Lent::Buffer(last)) = self.pieces.back_mut().filter(|_| !partly_sent) {
            return last.extend(bytes);
        }
        let mut buffer = self.spare_buffer();
        buffer.extend(bytes);
        self.pieces.push_back(Lent::Buffer(buffer));
    }

    pub(crate) fn push_shared(&mut self, bytes: &SharedBytes) {
        if bytes.len() <= TINY_BYTES {
            return self.push(bytes);
        }
        self.queued_bytes += bytes.len();
        self.pieces.push_back(Lent::Shared(bytes.clone()));
    }

    /// Bytes that the system has not taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    fn spare_buffer(&mut self) -> Buffer {
        let spare = self.spare.iter_mut().find_map(Option::take);
        spare.unwrap_or_else(|| Buffer::with_capacity(0))
    }

    fn keep(&mut self, piece: Lent) {
        let Lent::Buffer(mut buffer) = piece else { return };
        if let Some(place) = self.spare.iter_mut().find(|place| place.is_none()) {
            buffer.clear();
            *place = Some(buffer);
        }
    }

    /// Copies small pieces into one.
    fn join(&mut self) {
        match (self.pieces.front(), self.pieces.get(1)) {
            (Some(first), Some(second)) if first.len() + second.len() <= JOIN_BYTES => {}
            _ => return,
        }
        let mut joined = match self.pieces.pop_front() {
            Some(Lent::Buffer(own)) => own,
            Some(shared) => {
                let mut buffer = self.spare_buffer();
                buffer.extend(&shared.as_slice()[self.first_sent..]);
                self.first_sent = 0;
                buffer
            }
            None => unreachable!("there are two"),
        };
        while let Some(next) = self.pieces.front() {
            if joined.len() + next.len() > JOIN_BYTES {
                break;
            }
            joined.extend(next.as_slice());
            let next = self.pieces.pop_front().expect("it was just looked at");
            self.keep(next);
        }
        self.pieces.push_front(Lent::Buffer(joined));
    }

    /// The bytes to send next, which stay in the queue.
    pub(crate) fn front(&mut self) -> Option<&[u8]> {
        assert!(!self.in_kernel, "one send at a time");
        self.join();
        self.pieces.front().map(|piece| &piece.as_slice()[self.first_sent..])
    }

    /// Takes what to send next and the offset to start from, which is where a partial send stopped [hc18, p09]; the
    /// kernel owns it until [`SendQueue::returned`].
    pub(crate) fn take_front(&mut self) -> Option<(Lent, usize)> {
        assert!(!self.in_kernel, "one send at a time");
        let first = self.pieces.pop_front()?;
        self.in_kernel = true;
        Some((first, self.first_sent))
    }

    /// The piece that was taken is back.
    pub(crate) fn returned(&mut self, first: Lent) {
        assert!(std::mem::take(&mut self.in_kernel), "a send queue's piece came back twice");
        self.pieces.push_front(first);
    }

    /// This many more bytes of the first piece have been sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.first_sent += bytes;
        self.queued_bytes -= bytes;
        let len = self.pieces.front().map_or(0, Lent::len);
        assert!(self.first_sent <= len, "more was sent than was handed over");
        if self.first_sent == len {
            self.first_sent = 0;
            if let Some(first) = self.pieces.pop_front() {
                self.keep(first);
            }
        }
    }

    /// The memory that it keeps for the next connection.
    fn capacity(&self) -> usize {
        let spare: usize = self.spare.iter().flatten().map(Buffer::capacity).sum();
        spare + self.pieces.capacity() * size_of::<Lent>()
    }

    /// Drops what is still in it.
    fn clear(&mut self) {
        assert!(!self.in_kernel, "the kernel still has this queue's piece");
        while let Some(piece) = self.pieces.pop_front() {
            self.keep(piece);
        }
        self.pieces.shrink_to(KEEP_PIECES);
        (self.first_sent, self.queued_bytes) = (0, 0);
    }
}

/// Idle send queues, for the next connection that has something to send: a message allocates nothing [p15].
pub(crate) struct SendQueues {
    // Boxed because an idle connection should pay one pointer for its queue, and so that handing one over moves nothing
    // else.
    #[allow(clippy::vec_box)]
    free: Vec<Box<SendQueue>>,
    kept_bytes: usize,
}

impl SendQueues {
    pub(crate) fn new() -> SendQueues {
        SendQueues { free: Vec::new(), kept_bytes: 0 }
    }

    pub(crate) fn take(&mut self) -> Box<SendQueue> {
        match self.free.pop() {
            Some(queue) => {
                self.kept_bytes -= queue.capacity();
                queue
            }
            None => Box::default(),
        }
    }

    /// Takes back a queue, even if it still holds bytes.
    pub(crate) fn give_back(&mut self, mut queue: Box<SendQueue>) {
        queue.clear();
        let capacity = queue.capacity();
        if capacity > 2 * KEEP_BYTES || self.kept_bytes + capacity > KEEP_BYTES_TOTAL {
            return;
        }
        self.kept_bytes += capacity;
        self.free.push(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends up to `most` bytes, and returns them.
    fn send(queue: &mut SendQueue, most: usize) -> Vec<u8> {
        let front = queue.front().expect("there is something to send");
        let bytes = front[..most.min(front.len())].to_vec();
        queue.sent(bytes.len());
        bytes
    }

    #[test]
    fn what_is_queued_during_a_send_goes_out_in_one_piece_after_it() {
        let mut queue = SendQueue::default();
        queue.push(b"one ");
        let (first, offset) = queue.take_front().unwrap();
        assert_eq!((first.as_slice(), offset), (&b"one "[..], 0));
        queue.push(b"two ");
        queue.push(b"three");
        assert_eq!(queue.queued_bytes(), 13);
        queue.returned(first);
        queue.sent(3);
        let (first, offset) = queue.take_front().unwrap();
        assert_eq!((first.as_slice(), offset), (&b"one "[..], 3), "the rest of a partial send goes first");
        queue.returned(first);
        queue.sent(1);
        assert_eq!(send(&mut queue, 100), b"two three");
        assert!(queue.front().is_none());
        assert_eq!(queue.queued_bytes(), 0);
    }

    #[test]
    fn small_pieces_are_sent_together_and_large_ones_from_where_they_are() {
        let mut queue = SendQueue::default();
        let rain = "It rains. ".repeat(TINY_BYTES / 10 + 1);
        let (shared, map) = (SharedBytes::from(&*rain), SharedBytes::from(vec![7; JOIN_BYTES]));
        queue.push_shared(&shared);
        queue.push(b"> ");
        queue.push_shared(&shared);
        queue.push_shared(&map);
        queue.push(b"end");
        assert_eq!(queue.pieces.len(), 5);
        assert_eq!(send(&mut queue, 4), b"It r", "a partial send");
        assert_eq!(send(&mut queue, 1000), format!("{}> {rain}", &rain[4..]).as_bytes());
        let front = queue.front().expect("the map").as_ptr();
        assert_eq!(front, map.as_ptr(), "it is not copied");
        assert_eq!(send(&mut queue, usize::MAX).len(), JOIN_BYTES);
        assert_eq!(send(&mut queue, usize::MAX), b"end");
        assert_eq!(queue.queued_bytes(), 0);
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow() {
        let mut queue = SendQueue::default();
        queue.push(&[0; 2 * JOIN_BYTES]);
        for _ in 0..1000 {
            let (first, offset) = queue.take_front().unwrap();
            assert!(first.len() <= 3 * JOIN_BYTES, "what has been sent is still in the piece");
            let part = (first.len() - offset).min(JOIN_BYTES);
            queue.returned(first);
            queue.sent(part);
            queue.push(&[0; JOIN_BYTES][..part]);
        }
        assert_eq!(queue.queued_bytes(), 2 * JOIN_BYTES);
    }

    /// The memory of a queue that is neither sent nor full of bytes.
    #[test]
    fn tiny_shared_pieces_take_no_more_memory_than_their_copies() {
        let mut queue = SendQueue::default();
        let prompt = SharedBytes::from("> ");
        for _ in 0..10_000 {
            queue.push_shared(&prompt);
        }
        assert_eq!((queue.pieces.len(), queue.queued_bytes()), (1, 20_000));
        assert_eq!(send(&mut queue, usize::MAX), b"> ".repeat(10_000));
    }

    #[test]
    fn a_queue_that_had_many_pieces_is_kept_without_their_room() {
        let (mut queues, line) = (SendQueues::new(), SharedBytes::from(vec![7; TINY_BYTES + 1]));
        let mut queue = queues.take();
        for _ in 0..10_000 {
            queue.push_shared(&line);
        }
        queues.give_back(queue);
        let kept = queues.free.last().expect("it is kept").pieces.capacity();
        assert!(kept <= 2 * KEEP_PIECES, "room for {kept} pieces");
        assert_eq!(queues.kept_bytes, kept * size_of::<Lent>());
    }

    #[test]
    fn a_queue_that_has_grown_is_not_kept() {
        let mut queues = SendQueues::new();
        let mut queue = queues.take();
        queue.push(&[0; 2 * KEEP_BYTES + 1]);
        queues.give_back(queue);
        assert_eq!(queues.free.len(), 0);
        queues.give_back(Box::default());
        assert_eq!(queues.free.len(), 1);
    }
}
