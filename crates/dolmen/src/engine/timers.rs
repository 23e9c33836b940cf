//! Timers: a heap whose entries know their positions, so that cancelling is as cheap as inserting.
//!
//! With many timers most of the cost of a move is memory that is not in the cache. So each node has four children, which
//! halves the number of levels; an entry that moves through several levels is written once; and the positions are an
//! array of their own, which is dense.

use super::table::Table;
use crate::marks::{Mark, mark};
use crate::token::{Key, Token};

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The caller's.
    User(Token),
    /// A connection's linger time is up.
    Linger(Key),
    /// A listener may try to accept again.
    AcceptAgain(Key),
    /// A connection may try again to send, or to receive.
    TransferAgain(Key, Direction),
    /// A connection may try its next address.
    DialNext(Key),
    /// A dial may try its address again.
    DialAgain(Key),
    /// A connection has taken too long to connect.
    ConnectTimeout(Key),
    /// A watch may be armed again.
    WatchAgain(Key),
    /// A datagram socket may try again to send, or to receive.
    DatagramsAgain(Key, Direction),
}

impl Purpose {
    fn is_callers(self) -> bool {
        matches!(self, Purpose::User(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Send,
    Receive,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) key: Key,
    pub(crate) purpose: Purpose,
    pub(crate) missed: u64,
    /// It will not go off again.
    pub(crate) last: bool,
}

/// How many children a node of the heap has.
const CHILDREN: usize = 4;

pub(crate) struct Timers {
    timers: Table<Timer>,
    heap: Vec<Entry>,
    /// Where in the heap the timer of each slot is.
    positions: Vec<u32>,
    /// Counts insertions, to break ties.
    inserted: u64,
    /// How many of them are the caller's.
    callers: usize,
}

struct Timer {
    purpose: Purpose,
    /// 0: one-shot.
    period_ns: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline_ns: u64,
    inserted: u64,
    slot: u32,
}

impl Entry {
    /// Timers that are due at the same time go off in the order of their insertion [p13].
    fn is_before(&self, other: &Entry) -> bool {
        (self.deadline_ns, self.inserted) < (other.deadline_ns, other.inserted)
    }
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers { timers: Table::new(), heap: Vec::new(), positions: Vec::new(), inserted: 0, callers: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn insert(&mut self, deadline_ns: u64, period_ns: u64, purpose: Purpose) -> Key {
        let at = self.heap.len();
        self.callers += usize::from(purpose.is_callers());
        let key = self.timers.insert(Timer { purpose, period_ns });
        let slots = self.positions.len().max(key.slot as usize + 1);
        self.positions.resize(slots, 0);
        self.heap.push(Entry { deadline_ns, inserted: self.inserted, slot: key.slot });
        self.inserted += 1;
        self.sift_up(at);
        key
    }

    pub(crate) fn has_issued(&self, key: Key) -> bool {
        self.timers.has_issued(key)
    }

    /// Whether the timer is set, and was set by the caller.
    pub(crate) fn is_callers(&self, key: Key) -> bool {
        self.timers.get(key).is_some_and(|timer| timer.purpose.is_callers())
    }

    /// How many timers of the caller's are set.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(crate) fn callers(&self) -> usize {
        self.callers
    }

    /// Moves a timer that is set. It takes its place behind those that are due at the same time; a periodic one has its
    /// grid from there.
    pub(crate) fn set(&mut self, key: Key, deadline_ns: u64) -> bool {
        if self.timers.get(key).is_none() {
            return false;
        }
        let at = self.positions[key.slot as usize] as usize;
        self.heap[at] = Entry { deadline_ns, inserted: self.inserted, slot: key.slot };
        self.inserted += 1;
        self.settle(at);
        true
    }

    pub(crate) fn cancel(&mut self, key: Key) -> bool {
        let Some(timer) = self.timers.remove(key) else { return false };
        self.callers -= usize::from(timer.purpose.is_callers());
        self.take_out(self.positions[key.slot as usize] as usize);
        true
    }

    /// When the next timer is due.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline_ns)
    }

    /// Takes the next timer that is due at `now_ns`, and none before its time. A periodic one is set to its next tick
    /// after `now_ns` on the grid of its first [hc22, p13].
    pub(crate) fn expire(&mut self, now_ns: u64) -> Option<Expired> {
        let first = self.heap.first_mut().filter(|entry| entry.deadline_ns <= now_ns)?;
        let (key, timer) = self.timers.at_mut(first.slot).expect("a heap entry has its timer");
        let purpose = timer.purpose;
        if timer.period_ns == 0 {
            self.callers -= usize::from(purpose.is_callers());
            self.timers.vacate(key);
            self.take_out(0);
            return Some(Expired { key, purpose, missed: 0, last: true });
        }
        let missed = (now_ns - first.deadline_ns) / timer.period_ns;
        if missed > 0 {
            mark(Mark::TicksMissed);
        }
        first.deadline_ns =
            first.deadline_ns.saturating_add(timer.period_ns.saturating_mul(missed.saturating_add(1)));
        self.sift_down(0);
        Some(Expired { key, purpose, missed, last: false })
    }

    /// Allows the slot of a timer that has gone off for the last time to be reused.
    pub(crate) fn release(&mut self, key: Key) {
        self.timers.release(key.slot);
    }

    fn take_out(&mut self, at: usize) {
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.settle(at);
        }
    }

    /// Moves an entry that was put at this position to where it belongs.
    fn settle(&mut self, at: usize) {
        if at > 0 && self.heap[at].is_before(&self.heap[(at - 1) / CHILDREN]) {
            self.sift_up(at);
        } else {
            self.sift_down(at);
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.put(at, self.heap[parent]);
            at = parent;
        }
        self.put(at, entry);
    }

    fn sift_down(&mut self, mut at: usize) {
        let entry = self.heap[at];
        loop {
            let children = (CHILDREN * at + 1)..(CHILDREN * (at + 1) + 1).min(self.heap.len());
            let first = children.reduce(|a, b| if self.heap[b].is_before(&self.heap[a]) { b } else { a });
            match first {
                Some(child) if self.heap[child].is_before(&entry) => {
                    self.put(at, self.heap[child]);
                    at = child;
                }
                _ => break,
            }
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry) {
        self.heap[at] = entry;
        // Slots are numbered with 32 bits, and each slot has at most one entry, so the position fits.
        self.positions[entry.slot as usize] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> Purpose {
        Purpose::User(Token(n))
    }

    fn expired(timers: &mut Timers, now: u64) -> Vec<usize> {
        std::iter::from_fn(|| timers.expire(now))
            .map(|expired| match expired.purpose {
                Purpose::User(Token(n)) => n,
                _ => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn ties_expire_in_insertion_order() {
        let mut timers = Timers::new();
        for n in 0..100 {
            timers.insert(7, 0, user(n));
        }
        assert_eq!(expired(&mut timers, 6), Vec::<usize>::new(), "not early");
        assert_eq!(expired(&mut timers, 7), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_periodic_timer_keeps_its_grid_and_counts_what_it_missed() {
        let mut timers = Timers::new();
        timers.insert(10, 10, user(0));
        assert_eq!(timers.expire(10).map(|e| e.missed), Some(0));
        assert_eq!(timers.expire(19), None);
        assert_eq!(timers.expire(57).map(|e| e.missed), Some(3), "20 is reported; 30, 40 and 50 are missed");
        assert_eq!(timers.next_ns(), Some(60));
    }

    #[test]
    fn a_timer_that_is_set_again_moves_and_a_periodic_one_keeps_its_period() {
        let mut timers = Timers::new();
        let once = timers.insert(10, 0, user(0));
        let periodic = timers.insert(10, 10, user(1));
        assert!(timers.set(once, 25) && timers.set(periodic, 13));
        assert_eq!(expired(&mut timers, 12), Vec::<usize>::new());
        assert_eq!((expired(&mut timers, 13), timers.next_ns()), (vec![1], Some(23)));
        assert!(timers.set(once, 5), "to an earlier time, too");
        assert_eq!(expired(&mut timers, 13), [0]);
        assert!(!timers.set(once, 50), "it has gone off");
        assert!(timers.cancel(periodic) && !timers.set(periodic, 50));
        assert_eq!(timers.next_ns(), None);
    }

    /// Compares with a sorted list, in a random mix of inserting, moving, cancelling and expiring.
    #[test]
    fn behaves_like_a_sorted_list() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut timers = Timers::new();
        let mut model: Vec<(u64, usize, Key)> = Vec::new();
        let mut now = 0;
        for n in 0..20_000 {
            match random(5) {
                4 if !model.is_empty() => {
                    let at = random(model.len() as u64) as usize;
                    let deadline = now + random(500);
                    (model[at].0, model[at].1) = (deadline, n);
                    assert!(timers.set(model[at].2, deadline));
                    // It is known by its place in the order from here on.
                    timers.timers.get_mut(model[at].2).expect("it is set").purpose = user(n);
                }
                0 | 1 => {
                    let deadline = now + random(500);
                    model.push((deadline, n, timers.insert(deadline, 0, user(n))));
                }
                2 if !model.is_empty() => {
                    let (_, _, key) = model.swap_remove(random(model.len() as u64) as usize);
                    assert!(timers.cancel(key));
                    assert!(!timers.cancel(key), "a second time");
                }
                _ => {
                    now += random(40);
                    model.sort_unstable_by_key(|&(deadline, n, _)| (deadline, n));
                    let due = model.partition_point(|&(deadline, ..)| deadline <= now);
                    let expected: Vec<usize> = model.drain(..due).map(|(_, n, _)| n).collect();
                    assert_eq!(expired(&mut timers, now), expected);
                    assert_eq!(timers.next_ns(), model.iter().map(|&(deadline, ..)| deadline).min());
                }
            }
            assert_eq!(timers.len(), model.len());
        }
    }
}
