//! What every source has in common: its place in the run queue, its undelivered records, and its end.

/// The state of one source's registration.
#[derive(Default)]
pub(super) struct Registration {
    /// How many of its records that carry something of the source are in the outbox: bytes, a stream or readiness. No
    /// source has more than [`MOST_UNDELIVERED`]; with a larger number each idle connection would pay for it.
    undelivered: u8,
    listed: bool,
    closing: bool,
}

/// The most records of one source in the outbox.
pub(super) const MOST_UNDELIVERED: usize = u8::MAX as usize;

/// A registration in the run queue, by its slot. If the slot has been reused meanwhile, the new registration is
/// served once without need.
#[derive(Clone, Copy, Debug)]
pub(super) enum SourceRef {
    Connection(u32),
    Listener(u32),
    Watch(u32),
    Poll(u32),
    Dial(u32),
    Udp(u32),
}

/// What serving a source came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Served {
    Alive,
    /// The handle of a watch is signalled. The engine reports it, or handles it if it is the console's.
    Fired,
    /// A connection tries its next address.
    Dial,
    /// A connection sends the next piece of a file.
    Piece,
    /// No operation of the source is pending: the engine takes it out of its table and finishes it. Not `silent`: a
    /// last record is to be added, and the slot is not reused before its delivery.
    Ended {
        silent: bool,
    },
}

impl Registration {
    /// Notes that the source is in the run queue. Returns false if it was.
    pub(super) fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    /// It has been taken out of the run queue.
    pub(super) fn unlist(&mut self) {
        self.listed = false;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Its operations are cancelled, and everything that arrives for it is discarded from now on. Returns false if it
    /// is closing already.
    pub(super) fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closing, true)
    }

    pub(super) fn undelivered(&self) -> usize {
        usize::from(self.undelivered)
    }

    pub(super) fn is_undelivered(&self) -> bool {
        self.undelivered > 0
    }

    /// A record has been added to the outbox.
    pub(super) fn record_added(&mut self) {
        self.undelivered += 1;
    }

    /// A record has left the outbox.
    pub(super) fn record_delivered(&mut self) {
        self.undelivered -= 1;
    }

    /// All its records have been taken out of the outbox.
    pub(super) fn records_dropped(&mut self) {
        self.undelivered = 0;
    }
}
