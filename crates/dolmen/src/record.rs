//! What a wait has found, as the engine stores it: [`Record`]s, each of which owns its contents, in a [`Batch`].
//!
//! The engine, the simulation and the C library read records, over any kind of stream. The public
//! [`Events`](crate::Events) is a batch over the system's streams, and `events/of_record.rs` makes an
//! [`Event`](crate::Event) of each record.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::address::Address;
use crate::close_reason::CloseReason;
use crate::console::Input;
use crate::kernel::buffer::Buffer;
use crate::kernel::files::FailedWrite;
use crate::kernel::mailbox::InboxReport;
use crate::kernel::readiness::Readiness;
use crate::removed::Removed;
use crate::token::{ConnId, FileOpId, ListenerId, LookupId, PollId, TimerId, Token, UdpId, WatchId};

/// One thing that has happened, with its contents. `S` is the type of accepted streams. See [`Event`](crate::Event) for
/// the meaning of each.
#[allow(missing_docs)]
#[derive(Debug)]
pub enum Record<S> {
    /// `stream` is `None` once it has been taken.
    Accepted {
        listener: ListenerId,
        token: Token,
        stream: Option<S>,
        peer: SocketAddr,
    },
    AcceptFailed {
        listener: ListenerId,
        token: Token,
        code: i32,
    },
    Received {
        conn: ConnId,
        token: Token,
        buffer: Buffer,
    },
    EndOfStream {
        conn: ConnId,
        token: Token,
    },
    Drained {
        conn: ConnId,
        token: Token,
    },
    Closed {
        conn: ConnId,
        token: Token,
        reason: CloseReason,
    },
    /// `ends`: the stream's own address, and the peer's.
    Connected {
        conn: ConnId,
        token: Token,
        ends: Box<(Address, Address)>,
    },
    /// `stream` is `None` once it has been taken.
    Released {
        conn: ConnId,
        token: Token,
        stream: Option<S>,
    },
    Ready {
        watch: WatchId,
        token: Token,
    },
    Datagram {
        udp: UdpId,
        token: Token,
        from: SocketAddr,
        buffer: Buffer,
        truncated: bool,
    },
    UdpFailed {
        udp: UdpId,
        token: Token,
        code: i32,
    },
    /// `last`: it will not go off again.
    Timer {
        timer: TimerId,
        token: Token,
        missed: u64,
        last: bool,
    },
    Posted {
        token: Token,
        value: u64,
    },
    /// A channel's inbox has something for the caller.
    Inbox {
        token: Token,
        report: InboxReport,
    },
    /// `result` is `None` once it has been taken.
    Resolved {
        lookup: LookupId,
        token: Token,
        result: Option<io::Result<Vec<SocketAddr>>>,
    },
    /// `result` is `None` once it has been taken.
    Named {
        lookup: LookupId,
        token: Token,
        result: Option<io::Result<String>>,
    },
    /// `buffer` holds what was read, and is `None` once it has been taken.
    FileRead {
        op: FileOpId,
        token: Token,
        error: Option<io::Error>,
        buffer: Option<Vec<u8>>,
    },
    /// `buffer` is `None` once it has been taken.
    FileWritten {
        op: FileOpId,
        token: Token,
        // Boxed to keep records small.
        failed: Option<Box<FailedWrite>>,
        buffer: Option<Vec<u8>>,
    },
    /// A file has been sent, up to an error. `silent`: the caller has closed the connection since.
    FileSent {
        op: FileOpId,
        conn: ConnId,
        token: Token,
        sent: u64,
        error: Option<io::Error>,
        silent: bool,
    },
    Woken,
    /// A packet that others have sent to the reactor's completion port, with a key of their own.
    #[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))]
    // Only the C library asks for them.
    Foreign {
        key: usize,
        bytes: u32,
        /// The address that came with it, which is not followed.
        overlapped: usize,
    },
    /// A borrowed socket is ready.
    Polled {
        poll: PollId,
        token: Token,
        ready: Readiness,
    },
    /// The system has taken all bytes of one posted send.
    #[cfg_attr(
        not(any(feature = "c-api", dolmen_sim)),
        expect(dead_code, reason = "only the C library lends sockets")
    )]
    Written {
        conn: ConnId,
        token: Token,
        bytes: usize,
    },
    /// `registration` is the console's; 0 for signals.
    Console {
        token: Token,
        registration: u32,
        input: Input,
    },
}

impl<S> Record<S> {
    /// Whether the record is stale: its registration has been removed in the meantime.
    pub(crate) fn is_stale(&self, removed: &Removed) -> bool {
        match self {
            Record::Accepted { listener, .. } | Record::AcceptFailed { listener, .. } => {
                removed.listener(*listener)
            }
            Record::Received { conn, .. }
            | Record::Connected { conn, .. }
            | Record::EndOfStream { conn, .. }
            | Record::Closed { conn, .. }
            | Record::Released { conn, .. }
            | Record::Written { conn, .. } => removed.conn(*conn),
            Record::Drained { conn, .. } => removed.conn(*conn) || removed.sending_side(*conn),
            Record::Polled { poll, .. } => removed.poll(*poll),
            Record::Ready { watch, .. } => removed.watch(*watch),
            Record::Datagram { udp, .. } | Record::UdpFailed { udp, .. } => removed.udp(*udp),
            Record::Timer { timer, .. } => removed.timer(*timer),
            Record::Resolved { lookup, .. } | Record::Named { lookup, .. } => removed.lookup(*lookup),
            Record::FileRead { op, .. } | Record::FileWritten { op, .. } => removed.file(*op),
            Record::FileSent { op, conn, silent, .. } => *silent || removed.file(*op) || removed.conn(*conn),
            Record::Console { registration, .. } => removed.console(*registration),
            Record::Inbox { report, .. } => report.is_stale(),
            Record::Posted { .. } | Record::Foreign { .. } | Record::Woken => false,
        }
    }
}

/// The records of one wait.
pub struct Batch<S> {
    records: Vec<Record<S>>,
    /// How many records have been handed out.
    handed_out: usize,
    capacity: usize,
    /// What the reactor that it comes from has removed since.
    removed: Option<Rc<Removed>>,
}

impl<S> Batch<S> {
    /// Room for this many records (at least one, at most 65 536).
    pub fn with_capacity(capacity: usize) -> Batch<S> {
        let capacity = capacity.clamp(1, 65_536);
        Batch { records: Vec::with_capacity(capacity), handed_out: 0, capacity, removed: None }
    }

    /// Changes how many records the next waits may return.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    /// How many records one wait may return.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many records the last wait has returned.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the last wait has returned none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hands out each record, once and in order, and leaves out those that have become stale. A later `drain` continues
    /// where this one ended. The bytes stay valid until the batch is cleared, dropped or passed to the next wait.
    pub fn drain(&mut self) -> Records<'_, S> {
        Records {
            records: self.records[self.handed_out..].iter_mut(),
            handed_out: &mut self.handed_out,
            removed: self.removed.as_deref(),
        }
    }

    /// Discards the records and returns their buffers to the reactor. Closes the streams that were not taken.
    pub fn clear(&mut self) {
        self.handed_out = 0;
        // A buffer can be used again only from here on, when no record of this batch can be borrowed any more [p05].
        self.records.clear();
    }

    /// Empties the batch, and makes it belong to the reactor that has this record of what it removed.
    pub(crate) fn reset(&mut self, removed: &Rc<Removed>) {
        self.clear();
        if !self.removed.as_ref().is_some_and(|own| Rc::ptr_eq(own, removed)) {
            self.removed = Some(Rc::clone(removed));
        }
    }

    pub(crate) fn push(&mut self, record: Record<S>) {
        debug_assert!(self.records.len() < self.capacity);
        self.records.push(record);
    }
}

impl<S> fmt::Debug for Batch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Hands out records; see [`Batch::drain`].
pub struct Records<'a, S> {
    records: std::slice::IterMut<'a, Record<S>>,
    handed_out: &'a mut usize,
    removed: Option<&'a Removed>,
}

impl<'a, S> Iterator for Records<'a, S> {
    type Item = &'a mut Record<S>;

    fn next(&mut self) -> Option<&'a mut Record<S>> {
        for record in self.records.by_ref() {
            *self.handed_out += 1;
            // The handler of an earlier event of this batch may have removed its registration [hc09, p07].
            if self.removed.is_none_or(|removed| !record.is_stale(removed)) {
                return Some(record);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.records.len()))
    }
}

impl<S> FusedIterator for Records<'_, S> {}

impl<S> fmt::Debug for Records<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("left", &self.records.len()).finish_non_exhaustive()
    }
}
