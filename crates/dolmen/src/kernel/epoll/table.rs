//! The table of registered file descriptors, with the operations that wait for each.
//!
//! A source is an index into the table. Epoll's event data is the index and the slot's generation, so an event of a
//! descriptor that was closed meanwhile does not reach the next user of the slot.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::epoll::EventData;

use super::super::operation::OpPtr;
use super::Epoll;
use super::datagrams::UdpEntry;
use super::polled::Polled;
use super::socket::Edges;

/// The index of a registered file descriptor.
pub(crate) struct Source(pub(super) u32);

pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) edges: Edges,
    /// It is in the ready queue.
    pub(super) queued: bool,
    pub(super) entry: Option<Entry>,
}

impl Slot {
    /// Whether an operation waits that can make progress.
    pub(super) fn is_ready(&self) -> bool {
        let edges = &self.edges;
        match &self.entry {
            Some(Entry::Stream { receive, send, .. }) => {
                (edges.readable && receive.is_some()) || (edges.writable && send.is_some())
            }
            Some(Entry::Dial { connect, .. }) => edges.writable && connect.is_some(),
            Some(Entry::Listener { accepts, .. }) => edges.readable && !accepts.is_empty(),
            Some(Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. }) => {
                edges.readable && watch.is_some()
            }
            Some(Entry::Udp(udp)) => udp.is_ready(edges),
            Some(Entry::Polled(polled)) => polled.poll.is_some() && !polled.unreported().is_empty(),
            None => false,
        }
    }
}

pub(super) enum Entry {
    Stream {
        fd: TcpStream,
        receive: Option<OpPtr<Epoll>>,
        send: Option<OpPtr<Epoll>>,
    },
    /// A stream that is not connected yet.
    Dial {
        fd: TcpStream,
        connect: Option<OpPtr<Epoll>>,
        /// Epoll has it.
        registered: bool,
    },
    #[allow(clippy::box_collection)] // So that the many streams do not pay for the few listeners.
    Listener {
        fd: TcpListener,
        accepts: Box<VecDeque<OpPtr<Epoll>>>,
    },
    ReadinessListener {
        fd: TcpListener,
        watch: Option<OpPtr<Epoll>>,
    },
    Handle {
        fd: OwnedFd,
        watch: Option<OpPtr<Epoll>>,
    },
    Udp(Box<UdpEntry>),
    Polled(Polled),
}

impl Entry {
    pub(super) fn is_borrowed(&self) -> bool {
        matches!(self, Entry::Polled(_))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Entry::Stream { fd, .. } | Entry::Dial { fd, .. } => fd.as_fd(),
            Entry::Listener { fd, .. } | Entry::ReadinessListener { fd, .. } => fd.as_fd(),
            Entry::Handle { fd, .. } => fd.as_fd(),
            Entry::Udp(udp) => udp.fd.as_fd(),
            // SAFETY: the lender keeps the socket open while it is registered; see `BorrowedSocket::from_raw`.
            Entry::Polled(polled) => unsafe { BorrowedFd::borrow_raw(polled.fd) },
        }
    }

    /// Whether epoll has it.
    pub(super) fn is_registered(&self) -> bool {
        match self {
            Entry::Polled(polled) => !polled.registered.is_empty(),
            Entry::Dial { registered, .. } => *registered,
            _ => true,
        }
    }

    /// Whether no operation waits for it.
    fn is_idle(&self) -> bool {
        match self {
            Entry::Stream { receive, send, .. } => receive.is_none() && send.is_none(),
            Entry::Dial { connect, .. } => connect.is_none(),
            Entry::Listener { accepts, .. } => accepts.is_empty(),
            Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. } => watch.is_none(),
            Entry::Udp(udp) => udp.is_idle(),
            Entry::Polled(polled) => polled.poll.is_none(),
        }
    }

    /// Takes back an operation that waits. False if it does not wait.
    pub(super) fn take_back(&mut self, op: OpPtr<Epoll>) -> bool {
        let take_if =
            |waiting: &mut Option<OpPtr<Epoll>>| waiting.take_if(|waiting| *waiting == op).is_some();
        match self {
            Entry::Stream { receive, send, .. } => take_if(receive) || take_if(send),
            Entry::Dial { connect, .. } => take_if(connect),
            Entry::Listener { accepts, .. } => {
                let at = accepts.iter().position(|&waiting| waiting == op);
                at.and_then(|at| accepts.remove(at)).is_some()
            }
            Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. } => take_if(watch),
            Entry::Udp(udp) => udp.take_back(op),
            Entry::Polled(polled) => take_if(&mut polled.poll),
        }
    }
}

#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// How many borrowed sockets there are.
    borrowed: usize,
}

impl Table {
    pub(super) fn slot(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    pub(super) fn entry(&self, source: &Source) -> &Entry {
        self.slots[source.0 as usize].entry.as_ref().expect("the source is open")
    }

    pub(super) fn polled(&mut self, index: u32) -> &mut Polled {
        match &mut self.slots[index as usize].entry {
            Some(Entry::Polled(polled)) => polled,
            _ => unreachable!("a poll is for a borrowed socket"),
        }
    }

    pub(super) fn udp(&mut self, source: &Source) -> &mut UdpEntry {
        match &mut self.slots[source.0 as usize].entry {
            Some(Entry::Udp(udp)) => udp,
            _ => unreachable!("it was added as a datagram socket"),
        }
    }

    /// The open sources, with their indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.entry.as_ref()?)))
    }

    pub(super) fn has_borrowed(&self) -> bool {
        self.borrowed > 0
    }

    /// Whether epoll has a source with this descriptor.
    pub(super) fn has_registered(&self, fd: RawFd) -> bool {
        self.iter().any(|(_, entry)| entry.is_registered() && entry.fd().as_raw_fd() == fd)
    }

    /// The event data of the source at this index.
    pub(super) fn event_data(&self, index: u32) -> EventData {
        let generation = self.slots[index as usize].generation;
        EventData::new_u64(u64::from(generation) << 32 | u64::from(index))
    }

    /// The slot to which event data belongs, and its index. `None`: the source has been closed.
    pub(super) fn by_event_data(&mut self, data: u64) -> Option<(u32, &mut Slot)> {
        let (index, generation) = (data as u32, (data >> 32) as u32);
        let slot = &mut self.slots[index as usize];
        (slot.generation == generation && slot.entry.is_some()).then_some((index, slot))
    }

    /// A slot to fill, or to give back.
    pub(super) fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 file descriptors");
            // Sources have our own numbers, which grow with them and do not depend on the descriptors' numbers [hc37].
            self.slots.push(Slot { generation: 0, edges: Edges::NONE, queued: false, entry: None });
            index
        })
    }

    /// Gives back a slot that was not filled.
    pub(super) fn give_back(&mut self, index: u32) {
        self.free.push(index);
    }

    pub(super) fn fill(&mut self, index: u32, entry: Entry) -> Source {
        self.borrowed += usize::from(entry.is_borrowed());
        let slot = self.slot(index);
        slot.edges = Edges::NONE;
        // It can be written to, and its first edge will report that once more. A listener is simply tried.
        slot.edges.writable = true;
        slot.edges.readable = matches!(entry, Entry::Listener { .. });
        slot.entry = Some(entry);
        Source(index)
    }

    /// Takes out a source that is not in the ready queue and has no operations.
    pub(super) fn remove(&mut self, source: &Source) -> Entry {
        let slot = self.slot(source.0);
        assert!(!slot.queued, "a source is removed from the ready queue first");
        let entry = slot.entry.take().expect("a source is closed once");
        assert!(entry.is_idle(), "a source was closed with operations pending");
        slot.generation = slot.generation.wrapping_add(1);
        self.borrowed -= usize::from(entry.is_borrowed());
        self.free.push(source.0);
        entry
    }
}
