//! The bytes that a connection has still to send.
//!
//! Two buffers: the front one is being sent (it belongs to the kernel, or waits between two partial sends), and the
//! back one collects what the caller sends meanwhile. When the front has been sent, the back becomes the front:
//! everything queued in one turn is sent in one system call, and no byte is copied again after the first copy.

use crate::kernel::buffer::Buffer;

/// A buffer that has grown beyond this is not kept for the next connection.
const KEEP_BYTES: usize = 64 * 1024;

/// All idle queues together hold no more than this. A line to each of ten thousand players is far below it.
const KEEP_BYTES_TOTAL: usize = 16 * 1024 * 1024;

pub(crate) struct SendQueue {
    /// `None` while the kernel owns it.
    front: Option<Buffer>,
    /// How much of the front has been sent.
    front_sent: usize,
    front_len: usize,
    back: Buffer,
}

impl SendQueue {
    fn new() -> SendQueue {
        SendQueue {
            front: Some(Buffer::with_capacity(0)),
            front_sent: 0,
            front_len: 0,
            back: Buffer::with_capacity(0),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.back.extend(bytes);
    }

    /// Bytes that the system has not taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.front_len - self.front_sent + self.back.len()
    }

    fn capacity(&self) -> usize {
        self.front.as_ref().map_or(0, Buffer::capacity) + self.back.capacity()
    }

    /// Takes the buffer to send next and the offset to start from, which is where a partial send stopped [hc18, p09];
    /// the kernel owns the buffer until [`SendQueue::sent`].
    pub(crate) fn take_front(&mut self) -> Option<(Buffer, usize)> {
        let front = self.front.as_mut().expect("one send at a time");
        if self.front_sent == self.front_len {
            if self.back.len() == 0 {
                return None;
            }
            front.clear();
            std::mem::swap(front, &mut self.back);
            self.front_sent = 0;
            self.front_len = front.len();
        }
        self.front.take().map(|front| (front, self.front_sent))
    }

    /// The buffer has returned; `bytes` more of it have been sent.
    pub(crate) fn sent(&mut self, front: Buffer, bytes: usize) {
        assert!(self.front.is_none(), "a send queue's buffer came back twice");
        self.front_sent += bytes;
        assert!(self.front_sent <= self.front_len, "more was sent than was handed over");
        self.front = Some(front);
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
            None => Box::new(SendQueue::new()),
        }
    }

    /// Takes back a queue, even if it still holds bytes.
    pub(crate) fn give_back(&mut self, mut queue: Box<SendQueue>) {
        let capacity = queue.capacity();
        if capacity > 2 * KEEP_BYTES || self.kept_bytes + capacity > KEEP_BYTES_TOTAL {
            return;
        }
        queue.front.as_mut().expect("the kernel still has this queue's buffer").clear();
        queue.back.clear();
        (queue.front_sent, queue.front_len) = (0, 0);
        self.kept_bytes += capacity;
        self.free.push(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_during_a_send_goes_out_in_one_piece_after_it() {
        let mut queue = SendQueue::new();
        queue.push(b"one ");
        let (front, offset) = queue.take_front().unwrap();
        assert_eq!((front.as_slice(), offset), (&b"one "[..], 0));
        queue.push(b"two ");
        queue.push(b"three");
        assert_eq!(queue.queued_bytes(), 13);
        queue.sent(front, 3);
        let (front, offset) = queue.take_front().unwrap();
        assert_eq!((front.as_slice(), offset), (&b"one "[..], 3), "the rest of a partial send goes first");
        queue.sent(front, 1);
        let (front, offset) = queue.take_front().unwrap();
        assert_eq!((front.as_slice(), offset), (&b"two three"[..], 0));
        queue.sent(front, 9);
        assert!(queue.take_front().is_none());
        assert_eq!(queue.queued_bytes(), 0);
    }

    #[test]
    fn a_queue_that_has_grown_is_not_kept() {
        let mut queues = SendQueues::new();
        let mut queue = queues.take();
        queue.push(&[0; 2 * KEEP_BYTES + 1]);
        queues.give_back(queue);
        assert_eq!(queues.free.len(), 0);
        queues.give_back(Box::new(SendQueue::new()));
        assert_eq!(queues.free.len(), 1);
    }
}
