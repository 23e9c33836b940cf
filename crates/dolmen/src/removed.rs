//! The registrations (and sending sides) that were removed while events of theirs were already in the caller's events.
//!
//! A batch of events is a snapshot, and handling one of them may remove the registration of another. `Events` and
//! engine share this record, so that such an event is left out wherever it is by then. Only ids that were issued are
//! marked: any other may be issued later.

use std::cell::{Cell, RefCell};

use crate::token::{ConnId, FileOpId, Key, ListenerId, LookupId, PollId, TimerId, UdpId, WatchId};

/// One list for each kind of id.
#[derive(Default)]
pub(crate) struct Removed {
    conns: Marks,
    /// Connections whose sending side was closed.
    sending_sides: Marks,
    listeners: Marks,
    watches: Marks,
    timers: Marks,
    lookups: Marks,
    files: Marks,
    polls: Marks,
    udps: Marks,
    /// The console's registration that was removed last; there is one at a time.
    console: Cell<u32>,
}

impl Removed {
    pub(crate) fn console(&self, registration: u32) -> bool {
        registration != 0 && registration <= self.console.get()
    }

    pub(crate) fn mark_console(&self, registration: u32) {
        self.console.set(registration);
    }
}

/// For each slot the generation that was removed last; those before it are removed as well.
#[derive(Default)]
struct Marks(RefCell<Vec<u32>>);

impl Marks {
    fn mark(&self, key: Key) {
        let mut marks = self.0.borrow_mut();
        let slot = key.slot as usize;
        if marks.len() <= slot {
            marks.resize(slot + 1, 0);
        }
        marks[slot] = marks[slot].max(key.generation.get());
    }

    fn contains(&self, key: Key) -> bool {
        self.0.borrow().get(key.slot as usize).is_some_and(|&removed| key.generation.get() <= removed)
    }
}

macro_rules! kinds {
    ($($is_removed:ident, $mark:ident, $list:ident: $id:ty;)*) => {
        impl Removed {$(
            pub(crate) fn $is_removed(&self, id: $id) -> bool {
                self.$list.contains(id.0)
            }

            pub(crate) fn $mark(&self, id: $id) {
                self.$list.mark(id.0);
            }
        )*}
    };
}

kinds! {
    conn, mark_conn, conns: ConnId;
    sending_side, mark_sending_side, sending_sides: ConnId;
    listener, mark_listener, listeners: ListenerId;
    watch, mark_watch, watches: WatchId;
    timer, mark_timer, timers: TimerId;
    lookup, mark_lookup, lookups: LookupId;
    file, mark_file, files: FileOpId;
    poll, mark_poll, polls: PollId;
    udp, mark_udp, udps: UdpId;
}
