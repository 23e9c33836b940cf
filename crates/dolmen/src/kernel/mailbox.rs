//! What other threads leave for the reactor, and how they notify it.
//!
//! One signal to the kernel covers any number of wakes and posts. That is only sound if every thread that leaves the
//! signal to another thread can rely on it, and a signal may fail: on Windows the kernel needs memory for it. So the
//! state has two flags, not one:
//!
//! * *pending*: something may be in the mailbox. A thread sets it after it has put something in. The reactor does not
//!   block while it is set, and clears it before it looks inside.
//! * *signalled*: since the reactor last looked inside, a signal has succeeded, so the reactor will look again. Only
//!   then may a thread omit its signal.
//!
//! A signal that fails leaves the mailbox *pending* and no more than that, so the next wake or post signals again. A
//! signal that succeeds counts for the look that was due when it was begun, and for no later one: each look begins
//! another *round*, and a thread that was delayed in between sees that its round is over.
//!
//! A post belongs to the process in which it was made. A forked process begins without any, because another thread may
//! have been changing its copy of the posts at the fork.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::kernel::fork::{Guarded, Lock};
use crate::kernel::{Fault, Signal};
use crate::marks::{Mark, mark};
use crate::sync::{AtomicU64, Ordering, yield_now};
use crate::token::Token;

#[cfg(all(test, loom))]
mod loom_tests;

/// How often a wake tries to signal before it leaves that to the next one. A kernel that is out of memory has usually
/// found some by then.
const WAKE_ATTEMPTS: u32 = if cfg!(loom) { 2 } else { 100 };

const PENDING: u64 = 1;
const SIGNALLED: u64 = 2;
const WOKEN: u64 = 4;
const ROUND: u64 = 8;

pub(crate) struct Mailbox {
    /// `PENDING`, `SIGNALLED`, `WOKEN` (a wake is pending), and the round in the bits above them.
    state: AtomicU64,
    /// Of this process: a forked one begins with none [hc47].
    posts: Lock<Posts>,
    /// The reactor is gone. Read and set with the posts locked.
    gone: AtomicBool,
    capacity: usize,
    signals_failed: AtomicU64,
    signal: Box<dyn Signal>,
}

#[derive(Default)]
struct Posts {
    queue: VecDeque<Post>,
    /// The number of the next post. Those in the queue are in ascending order, with gaps.
    next: u64,
}

struct Post {
    number: u64,
    token: Token,
    value: u64,
}

/// Why a post was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Gone,
    Full,
    /// The reactor could not be woken for it.
    Unsignalled(Fault),
}

impl Mailbox {
    pub(crate) fn new(signal: Box<dyn Signal>, capacity: usize) -> Arc<Mailbox> {
        Arc::new(Mailbox {
            state: AtomicU64::new(0),
            posts: Lock::new(),
            gone: AtomicBool::new(false),
            capacity,
            signals_failed: AtomicU64::new(0),
            signal,
        })
    }

    /// Takes a post, or refuses it; a refused post is not delivered.
    pub(crate) fn post(&self, value: u64, token: Token) -> Result<(), Refused> {
        let ours = self.posts.ours();
        let mut posts = ours.lock();
        if self.gone.load(Ordering::Relaxed) {
            return Err(Refused::Gone);
        }
        if posts.queue.len() >= self.capacity {
            mark(Mark::PostsFull);
            return Err(Refused::Full);
        }
        let number = posts.next;
        posts.next += 1;
        // An entry for each post, so that none is merged with another [hc38, p12].
        posts.queue.push_back(Post { number, token, value });
        drop(posts);
        self.signal(PENDING).or_else(|fault| withdraw_post(ours, number, fault))
    }

    pub(crate) fn wake(&self) {
        self.signal_with_retries(PENDING | WOKEN);
    }

    /// Makes the reactor check its sources.
    pub(crate) fn notify(&self) {
        self.signal_with_retries(PENDING);
    }

    /// For callers that cannot report a failure: it tries the signal a number of times, and then leaves it to the next
    /// wake or post, and to the reactor's own next turn [hc42].
    fn signal_with_retries(&self, what: u64) {
        for _ in 0..WAKE_ATTEMPTS {
            match self.signal(what) {
                Ok(()) => return,
                Err(_) => yield_now(),
            }
        }
        tracing::error!(target: "dolmen", attempts = WAKE_ATTEMPTS, "the reactor could not be woken");
    }

    /// Ensures that the reactor looks inside.
    fn signal(&self, what: u64) -> Result<(), Fault> {
        // A read alone is not enough. The reactor clears this before it looks, and must come either before us, or after
        // us and after what we have put in. Release: the thread that is woken sees what this thread did before.
        let before = self.state.fetch_or(what, Ordering::AcqRel);
        if before & SIGNALLED != 0 {
            return Ok(());
        }
        let signalled = self.signal.notify();
        // It stays pending and not signalled, so that the next wake or post signals again [hc42].
        if let Err(fault) = signalled {
            mark(Mark::SignalFailed);
            self.signals_failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(target: "dolmen", error = %fault.to_io(), "cannot signal the reactor");
            return Err(fault);
        }
        // Unless the reactor has looked in the meantime.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| {
            (now / ROUND == before / ROUND).then_some(now | SIGNALLED)
        });
        signalled
    }

    /// Takes up to `max` posts and hands each to `take`. True if there has been a wake.
    pub(crate) fn collect(&self, max: usize, mut take: impl FnMut(Token, u64)) -> bool {
        // Read before it is written: most waits find nothing here.
        if !self.waiting() {
            return false;
        }
        let before = self.begin_round();
        let mut posts = self.posts.ours().lock();
        let count = posts.queue.len().min(max);
        for Post { token, value, .. } in posts.queue.drain(..count) {
            take(token, value);
        }
        if !posts.queue.is_empty() {
            mark(Mark::PostsLeft);
            // The rest is for the next turn, which needs no signal: see `waiting` [hc38].
            self.state.fetch_or(PENDING | SIGNALLED, Ordering::AcqRel);
        }
        drop(posts);
        before & WOKEN != 0
    }

    /// From here on a new entry needs its own signal. Returns the state up to here.
    fn begin_round(&self) -> u64 {
        let begun = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
            Some((state / ROUND).wrapping_add(1).wrapping_mul(ROUND))
        });
        begun.unwrap_or_else(|state| state)
    }

    /// The wakes so far have been delivered, as one [p12].
    pub(crate) fn forget_wakes(&self) {
        self.state.fetch_and(!WOKEN, Ordering::AcqRel);
    }

    /// Whether a collect would find something, so that the reactor must not block.
    pub(crate) fn waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) & PENDING != 0
    }

    /// The reactor is being dropped: from here on posts are refused.
    pub(crate) fn close(&self) {
        let mut posts = self.posts.ours().lock();
        self.gone.store(true, Ordering::Relaxed);
        posts.queue = VecDeque::new();
    }

    /// How many signals have failed in total.
    pub(crate) fn signals_failed(&self) -> u64 {
        self.signals_failed.load(Ordering::Relaxed)
    }
}

/// Withdraws a post for which the signal failed. One that the reactor has found nevertheless is delivered.
fn withdraw_post(posts: &Guarded<Posts>, number: u64, fault: Fault) -> Result<(), Refused> {
    let mut posts = posts.lock();
    match posts.queue.binary_search_by_key(&number, |post| post.number) {
        Ok(at) => {
            mark(Mark::PostWithdrawn);
            posts.queue.remove(at);
            Err(Refused::Unsignalled(fault))
        }
        Err(_) => Ok(()),
    }
}

/// A signal that no one waits for.
#[cfg(any(test, dolmen_sim))]
pub(crate) struct NullSignal;

#[cfg(any(test, dolmen_sim))]
impl Signal for NullSignal {
    fn notify(&self) -> Result<(), Fault> {
        Ok(())
    }
}
