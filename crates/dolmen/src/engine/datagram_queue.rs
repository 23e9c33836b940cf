//! The datagrams that a socket has still to send.
//!
//! Their bytes lie one behind the other in two buffers, as a connection's do: the front one belongs to the kernel while
//! it sends a datagram, and the back one collects what the caller sends meanwhile. So a datagram is copied once, and a
//! queue that has been used allocates nothing [p15].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

use crate::kernel::buffer::Buffer;

/// What a datagram takes of the queue in addition to its bytes: its address. So empty ones are bounded as well.
pub(super) const ADDRESS_BYTES: usize = size_of::<SocketAddr>();

struct Queued {
    to: SocketAddr,
    len: u32,
}

pub(super) struct DatagramQueue {
    /// `None` while the kernel owns it.
    front: Option<Buffer>,
    /// Where in the front the first datagram begins.
    front_sent: usize,
    back: Buffer,
    /// First those in the front, then those in the back.
    datagrams: VecDeque<Queued>,
    queued_bytes: usize,
}

impl DatagramQueue {
    pub(super) fn new() -> DatagramQueue {
        DatagramQueue {
            front: Some(Buffer::with_capacity(0)),
            front_sent: 0,
            back: Buffer::with_capacity(0),
            datagrams: VecDeque::new(),
            queued_bytes: 0,
        }
    }

    /// What the datagrams take that have not been sent yet.
    pub(super) fn taken_bytes(&self) -> usize {
        self.queued_bytes + self.datagrams.len() * ADDRESS_BYTES
    }

    /// The bytes of the datagrams that have not been sent yet.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn push(&mut self, bytes: &[u8], to: SocketAddr) {
        self.back.extend(bytes);
        self.queued_bytes += bytes.len();
        let len = u32::try_from(bytes.len()).expect("a datagram is far below 4 GiB");
        self.datagrams.push_back(Queued { to, len });
    }

    /// Takes the first datagram: its buffer, which the kernel owns until [`DatagramQueue::sent`] or
    /// [`DatagramQueue::kept`], where in it the datagram is, and its address.
    pub(super) fn take_front(&mut self) -> Option<(Buffer, Range<u32>, SocketAddr)> {
        let &Queued { to, len } = self.datagrams.front()?;
        let front = self.front.as_mut().expect("one send at a time");
        if self.front_sent == front.len() {
            front.clear();
            std::mem::swap(front, &mut self.back);
            self.front_sent = 0;
        }
        let start = self.front_sent as u32;
        self.front.take().map(|front| (front, start..start + len, to))
    }

    /// The buffer has returned, and its datagram leaves the queue. Returns how many bytes it had.
    pub(super) fn sent(&mut self, front: Buffer) -> usize {
        self.kept(front);
        let len = self.datagrams.pop_front().expect("it was being sent").len as usize;
        self.front_sent += len;
        self.queued_bytes -= len;
        len
    }

    /// The buffer has returned, and its datagram was not sent.
    pub(super) fn kept(&mut self, front: Buffer) {
        assert!(self.front.is_none(), "a datagram queue's buffer came back twice");
        self.front = Some(front);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Takes the first datagram out.
    fn next(queue: &mut DatagramQueue) -> Option<(Vec<u8>, u16)> {
        let (front, part, to) = queue.take_front()?;
        let bytes = front.as_slice()[part.start as usize..part.end as usize].to_vec();
        assert_eq!(queue.sent(front), bytes.len());
        Some((bytes, to.port()))
    }

    #[test]
    fn datagrams_come_out_one_by_one_and_empty_ones_are_among_them() {
        let mut queue = DatagramQueue::new();
        for (port, text) in [(1, "one"), (2, ""), (3, "three")] {
            queue.push(text.as_bytes(), address(port));
        }
        assert_eq!((queue.queued_bytes(), queue.taken_bytes()), (8, 8 + 3 * ADDRESS_BYTES));
        assert_eq!(next(&mut queue), Some((b"one".to_vec(), 1)));
        let (front, part, to) = queue.take_front().expect("the empty one");
        assert_eq!((part.len(), to.port()), (0, 2));
        // While the kernel has the buffer.
        queue.push(b"", address(4));
        queue.push(b"five", address(5));
        queue.kept(front);
        assert_eq!(next(&mut queue), Some((Vec::new(), 2)), "it was not sent, and is still the first");
        assert_eq!(next(&mut queue), Some((b"three".to_vec(), 3)));
        assert_eq!(next(&mut queue), Some((Vec::new(), 4)));
        assert_eq!(next(&mut queue), Some((b"five".to_vec(), 5)));
        assert_eq!(next(&mut queue), None);
        assert_eq!((queue.queued_bytes(), queue.taken_bytes()), (0, 0));
    }
}
