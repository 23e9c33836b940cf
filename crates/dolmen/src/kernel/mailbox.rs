//! What other threads leave for the reactor, and how they notify it.
//!
//! * *Wakes* are a flag of the [`Notifier`], which also has the one signal to the kernel that everything here shares.
//! * *Posts* wait in the mailbox itself, in one [`Queue`], until the reactor turns each into a record.
//! * *Channels* keep their values in a queue of their own (`channel.rs`), and only announce themselves here: a channel is
//!   in the list of announced ones at most once, however many values wait, and the reactor turns it into one record.
//!
//! Posts and values belong to the process in which they were sent. A forked process begins without any, because another
//! thread may have been changing its copy of them at the fork.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::kernel::fork::{Guarded, Lock};
use crate::kernel::{Fault, Signal};
use crate::marks::{Mark, mark};
use crate::sync::Ordering;
use crate::token::Token;

mod channel;
#[cfg(all(test, loom))]
pub(crate) mod loom_tests;
mod notifier;
mod queue;

pub(crate) use channel::{Channel, Taken};
use notifier::Notifier;
#[cfg(any(test, dolmen_sim))]
pub(crate) use notifier::NullSignal;
use queue::Queue;

pub(crate) struct Mailbox {
    notifier: Notifier,
    /// Of this process: a forked one begins with none [hc47].
    contents: Lock<Contents>,
    /// The reactor is gone. Set with the contents locked.
    gone: AtomicBool,
    /// How many posts may wait.
    capacity: usize,
}

#[derive(Default)]
struct Contents {
    posts: Queue<(Token, u64)>,
    /// Each channel at most once.
    announced: VecDeque<Arc<dyn Announced>>,
}

/// What the mailbox lists of a channel.
trait Announced: Send + Sync {
    /// The channel has left the list. Returns the number of the report that is due, if one is (still) due.
    fn report(&self) -> Option<u64>;

    /// Whether a report is the latest and the caller has neither drained since nor dropped the inbox.
    fn is_current(&self, report: u64) -> bool;

    fn token(&self) -> Token;
}

/// What a collection has found.
pub(crate) enum Arrival {
    Post { token: Token, value: u64 },
    Inbox { token: Token, report: InboxReport },
}

/// One report that a channel's inbox has something for the caller, until the caller has drained it.
#[derive(Clone)]
pub struct InboxReport {
    channel: Arc<dyn Announced>,
    number: u64,
}

impl InboxReport {
    /// Whether the caller has drained the inbox since, or dropped it.
    pub(crate) fn is_stale(&self) -> bool {
        !self.channel.is_current(self.number)
    }
}

impl fmt::Debug for InboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxReport").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Why a post or a value was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Gone,
    /// The channel's inbox is gone.
    InboxGone,
    Full,
    /// The reactor could not be woken for it.
    Unsignalled(Fault),
}

impl Mailbox {
    pub(crate) fn new(signal: Box<dyn Signal>, capacity: usize) -> Arc<Mailbox> {
        Arc::new(Mailbox {
            notifier: Notifier::new(signal),
            contents: Lock::new(),
            gone: AtomicBool::new(false),
            capacity,
        })
    }

    /// How many posts may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a post, or refuses it; a refused post is not delivered.
    pub(crate) fn post(&self, value: u64, token: Token) -> Result<(), Refused> {
        let ours = self.contents.ours();
        let mut contents = ours.lock();
        if self.is_gone() {
            return Err(Refused::Gone);
        }
        if contents.posts.len() >= self.capacity {
            mark(Mark::PostsFull);
            return Err(Refused::Full);
        }
        // An entry for each post, so that none is merged with another [hc38, p12].
        let number = contents.posts.push((token, value));
        drop(contents);
        self.notifier.notify().or_else(|fault| withdraw_post(ours, number, fault))
    }

    /// Puts a channel in the list. The caller has recorded that it is not in it, and then notifies the reactor. Returns
    /// false if the reactor is gone.
    fn announce(&self, channel: Arc<dyn Announced>) -> bool {
        let mut contents = self.contents.ours().lock();
        // With the contents locked: a channel that is listed later would own the mailbox, which would own it.
        if self.is_gone() {
            return false;
        }
        contents.announced.push_back(channel);
        true
    }

    pub(crate) fn wake(&self) {
        self.notifier.wake();
    }

    /// Makes the reactor check its sources.
    pub(crate) fn notify(&self) {
        self.notifier.notify_with_retries();
    }

    /// Takes up to `max` posts and up to `max` channels with something to report, and hands each to `take`. True if there has been a
    /// wake.
    pub(crate) fn collect(&self, max: usize, mut take: impl FnMut(Arrival)) -> bool {
        // Read before it is written: most waits find nothing here.
        if !self.waiting() {
            return false;
        }
        let woken = self.notifier.begin_round();
        let ours = self.contents.ours();
        let mut contents = ours.lock();
        for _ in 0..max {
            let Some((token, value)) = contents.posts.pop() else { break };
            take(Arrival::Post { token, value });
        }
        // Channels that have nothing to report any more do not count: they would leave those behind that have.
        let mut reports = 0;
        for _ in 0..contents.announced.len() {
            if reports == max {
                break;
            }
            let Some(channel) = contents.announced.pop_front() else { break };
            // A channel is locked before the mailbox, never after it.
            drop(contents);
            if let Some(number) = channel.report() {
                reports += 1;
                take(Arrival::Inbox { token: channel.token(), report: InboxReport { channel, number } });
            }
            contents = ours.lock();
        }
        if !contents.posts.is_empty() || !contents.announced.is_empty() {
            mark(Mark::PostsLeft);
            // The rest is for the next turn [hc38].
            self.notifier.keep_pending();
        }
        drop(contents);
        woken
    }

    /// The wakes so far have been delivered, as one [p12].
    pub(crate) fn forget_wakes(&self) {
        self.notifier.forget_wakes();
    }

    /// Whether a collect would find something, so that the reactor must not block.
    pub(crate) fn waiting(&self) -> bool {
        self.notifier.is_pending()
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The reactor is being dropped: from here on posts and values are refused. What is in a channel stays there.
    pub(crate) fn close(&self) {
        let mut contents = self.contents.ours().lock();
        self.gone.store(true, Ordering::Release);
        let left = std::mem::take(&mut *contents);
        drop(contents);
        // Not with the lock held: a value that is dropped with its channel may use the mailbox.
        drop(left);
    }

    /// How many signals have failed in total.
    pub(crate) fn signals_failed(&self) -> u64 {
        self.notifier.failed()
    }
}

/// Withdraws a post for which the signal failed. One that the reactor has found nevertheless is delivered.
fn withdraw_post(contents: &Guarded<Contents>, number: u64, fault: Fault) -> Result<(), Refused> {
    match contents.lock().posts.withdraw(number) {
        Some(_) => {
            mark(Mark::PostWithdrawn);
            Err(Refused::Unsignalled(fault))
        }
        None => Ok(()),
    }
}
