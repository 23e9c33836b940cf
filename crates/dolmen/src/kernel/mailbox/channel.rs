//! The shared part of a channel: values of one type on their way from any thread to the reactor's.
//!
//! The reactor reports a channel, not its values: a report says that there is something for the caller, who then drains
//! the inbox. A channel is in one of three states, which the lock protects:
//!
//! * *idle*: nothing waits. The next value, or the end, announces the channel.
//! * *listed*: it is in the mailbox's list. Each sender makes sure that the reactor looks there, as with a post.
//! * *reported*: the reactor has found it, and the caller has not drained it since. Senders only add values: the drain
//!   that follows ends by announcing the channel again, if anything is left or has come.
//!
//! The caller may also drain without a report. So a listed channel can be empty when the reactor reaches it, and then it
//! is not reported; and a report that waits for delivery is stale once the caller has drained.
//!
//! The *end* (no sender is left) is reported by itself, when no value waits: values first, in a report that the caller
//! answers with a drain, and that drain announces the end.
//!
//! A value that a failed signal withdraws is one that the reactor has not found. Once the channel is reported, its values
//! are found: withdrawing one could leave the caller with a report and an empty inbox.
//!
//! The inbox stays on the reactor's thread. So nothing is drained between the delivery of a report and its handling.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Announced, Mailbox, Queue, Refused};
use crate::drop_each::drop_each;
use crate::kernel::Fault;
use crate::kernel::fork::{Guarded, Lock};
use crate::marks::{Mark, mark};
use crate::sync::{AtomicU64, MutexGuard, Ordering};
use crate::token::Token;

#[cfg(all(test, loom))]
mod loom_tests;

pub(crate) struct Channel<T> {
    mailbox: Arc<Mailbox>,
    /// Of this process: a forked one begins without values [hc47].
    state: Lock<State<T>>,
    token: Token,
    /// How many values may wait.
    capacity: usize,
    /// How many there are. Not behind the lock, so that a forked process keeps the count.
    senders: AtomicU64,
    /// The number of the latest report. Not behind the lock, so that no process reuses a number of an earlier one.
    reports: AtomicU64,
    /// Set with the state locked.
    inbox_gone: AtomicBool,
}

struct State<T> {
    queue: Queue<T>,
    /// The channel is in the mailbox's list.
    listed: bool,
    /// The report that the caller has not answered with a drain.
    reported: Option<u64>,
    /// The last sender was dropped in this process. What another one has dropped is reported there.
    over: bool,
    /// The end was reported. Nothing follows.
    ended: bool,
    /// A [`Channel::put`] has found no room for all of its values since the last [`Channel::take`].
    starved: bool,
}

/// Values that were taken out together. Kept by the caller, whose next take reuses the memory.
pub(crate) struct Taken<T>(VecDeque<(u64, T)>);

impl<T> Default for Taken<T> {
    fn default() -> Taken<T> {
        Taken(VecDeque::new())
    }
}

impl<T> Taken<T> {
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.0.drain(..).map(|(_, value)| value)
    }

    /// The first of them, for a caller that may panic and keeps the others all the same.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop_front().map(|(_, value)| value)
    }
}

impl<T> Default for State<T> {
    fn default() -> State<T> {
        State {
            queue: Queue::default(),
            listed: false,
            reported: None,
            over: false,
            ended: false,
            starved: false,
        }
    }
}

impl<T: Send + 'static> Channel<T> {
    /// A channel with one sender.
    pub(crate) fn new(mailbox: Arc<Mailbox>, capacity: usize, token: Token) -> Arc<Channel<T>> {
        Arc::new(Channel {
            mailbox,
            state: Lock::new(),
            token,
            capacity: capacity.max(1),
            senders: AtomicU64::new(1),
            reports: AtomicU64::new(0),
            inbox_gone: AtomicBool::new(false),
        })
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Takes a value, or returns it with the reason.
    pub(crate) fn send(self: &Arc<Self>, value: T) -> Result<(), (Refused, T)> {
        let ours = self.state.ours();
        let mut state = ours.lock();
        if self.mailbox.is_gone() {
            return Err((Refused::Gone, value));
        }
        if self.inbox_gone.load(Ordering::Relaxed) {
            return Err((Refused::InboxGone, value));
        }
        if state.queue.len() >= self.capacity {
            mark(Mark::ChannelFull);
            return Err((Refused::Full, value));
        }
        if state.reported.is_some() {
            mark(Mark::SentWhileReported);
            state.queue.push(value);
            return Ok(());
        }
        if !self.list(&mut state) {
            return Err((Refused::Gone, value));
        }
        let number = state.queue.push(value);
        drop(state);
        self.mailbox.notifier.notify().or_else(|fault| withdraw(ours, number, fault))
    }

    /// Takes as many values as there is room for, or with `beyond` all of them, with one lock and one signal at most. What
    /// is left in `values` waits for room: the next [`take`](Channel::take) reports that it has made some. Where no one takes
    /// values any more, they are dropped.
    ///
    /// It does not fail. If the system cannot wake the reactor, the values wait for its next turn.
    pub(crate) fn put(self: &Arc<Self>, values: &mut VecDeque<T>, beyond: bool) {
        if values.is_empty() {
            return;
        }
        let mut state = self.state.ours().lock();
        if self.mailbox.is_gone() || self.inbox_gone.load(Ordering::Relaxed) {
            drop(state);
            return drop_each(values.drain(..));
        }
        let room = if beyond { values.len() } else { self.capacity.saturating_sub(state.queue.len()) };
        let taken = room.min(values.len());
        for value in values.drain(..taken) {
            state.queue.push(value);
        }
        state.starved |= !values.is_empty();
        if taken == 0 || state.reported.is_some() || !self.list(&mut state) {
            return;
        }
        drop(state);
        self.mailbox.notify();
    }

    /// Takes out everything that waits, with one lock. Returns whether a [`put`](Channel::put) waits for room. Only for the
    /// reactor's thread.
    pub(crate) fn take(self: &Arc<Self>, into: &mut Taken<T>) -> bool {
        debug_assert!(into.0.is_empty(), "they would be put back");
        let mut state = self.state.ours().lock();
        state.queue.swap(&mut into.0);
        let starved = std::mem::take(&mut state.starved);
        self.answer_report(state);
        starved
    }

    /// Puts the channel in the mailbox's list, unless it is there. Returns false if the reactor is gone.
    fn list(self: &Arc<Self>, state: &mut State<T>) -> bool {
        state.listed = state.listed || self.mailbox.announce(Arc::clone(self) as Arc<dyn Announced>);
        state.listed
    }

    /// One more sender.
    pub(crate) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// One sender less. The last one announces the end.
    pub(crate) fn remove_sender(self: &Arc<Self>) {
        // Release: a thread that finds no sender left also finds what each of them has sent.
        if self.senders.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut state = self.state.ours().lock();
        state.over = true;
        if self.inbox_gone.load(Ordering::Relaxed) || state.reported.is_some() || !self.list(&mut state) {
            return;
        }
        drop(state);
        self.mailbox.notify();
    }

    /// Whether no sender is left. What they have sent may wait.
    fn is_over(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0
    }

    /// Whether the inbox was dropped. No value is delivered any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.inbox_gone.load(Ordering::Relaxed)
    }

    /// How many values wait.
    pub(crate) fn len(&self) -> usize {
        self.state.ours().lock().queue.len()
    }

    /// Whether no sender is left and nothing waits.
    pub(crate) fn is_closed(&self) -> bool {
        // In this order: when no sender is left, an empty queue stays empty.
        self.is_over() && self.len() == 0
    }

    /// Takes the first value out.
    pub(crate) fn pop(&self) -> Option<T> {
        self.state.ours().lock().queue.pop()
    }

    /// The caller has drained: the report so far is answered, and what is left or has come needs another one. Only for
    /// the reactor's thread.
    pub(crate) fn drained(self: &Arc<Self>) {
        self.answer_report(self.state.ours().lock());
    }

    fn answer_report(self: &Arc<Self>, mut state: MutexGuard<'_, State<T>>) {
        // The report of the end stays valid until it is delivered.
        if state.ended {
            return;
        }
        state.reported = None;
        if state.queue.is_empty() && !state.over {
            return;
        }
        if !state.queue.is_empty() {
            mark(Mark::InboxLeft);
        }
        let listed = self.list(&mut state);
        drop(state);
        if listed {
            // The caller is not in a wait, so no signal is needed.
            self.mailbox.notifier.keep_pending();
        }
    }

    /// The inbox is dropped: nothing is reported any more, values are refused, and those that wait are dropped.
    pub(crate) fn close(&self) {
        // Not with the lock held: dropping a value may run any code, which may send.
        drop(self.abandon());
    }

    /// The same, but the caller drops the values.
    pub(crate) fn abandon(&self) -> Taken<T> {
        let mut left = Taken::default();
        let mut state = self.state.ours().lock();
        self.inbox_gone.store(true, Ordering::Relaxed);
        state.queue.swap(&mut left.0);
        left
    }
}

impl<T: Send + 'static> Announced for Channel<T> {
    fn report(&self) -> Option<u64> {
        let mut state = self.state.ours().lock();
        state.listed = false;
        debug_assert!(state.reported.is_none(), "it was listed after its report");
        if self.inbox_gone.load(Ordering::Relaxed) {
            return None;
        }
        if state.queue.is_empty() {
            // Drained or withdrawn before the reactor has come to it; or else the end, values first.
            if !state.over {
                mark(Mark::InboxEmptied);
                return None;
            }
            state.ended = true;
        }
        let number = self.reports.fetch_add(1, Ordering::Relaxed) + 1;
        state.reported = Some(number);
        Some(number)
    }

    fn is_current(&self, report: u64) -> bool {
        let state = self.state.ours().lock();
        state.reported == Some(report) && !self.inbox_gone.load(Ordering::Relaxed)
    }

    fn token(&self) -> Token {
        self.token
    }
}

/// Withdraws a value for which the signal failed. One that the reactor has found nevertheless counts as sent.
fn withdraw<T>(state: &Guarded<State<T>>, number: u64, fault: Fault) -> Result<(), (Refused, T)> {
    let mut state = state.lock();
    if state.reported.is_some() {
        return Ok(());
    }
    match state.queue.withdraw(number) {
        Some(value) => {
            mark(Mark::ValueWithdrawn);
            Err((Refused::Unsignalled(fault), value))
        }
        None => Ok(()),
    }
}
