//! What other threads leave for the reactor, and how it learns of it.
//!
//! The kernel is signalled once for any number of wakes and posts. That is only sound if every thread that leaves the
//! signal to another one can rely on it, and a signal may fail: the kernel needs memory for it on Windows. So there are
//! two facts to know, not one:
//!
//! * *pending*: something may be in the mailbox. Set behind whatever was put in; the reactor does not block while it is
//!   set, and clears it before it looks inside.
//! * *signalled*: since the reactor looked inside last, a signal has succeeded, so the reactor will look again. Only
//!   then is another signal saved.
//!
//! A signal that fails leaves the mailbox *pending* and no more than that, so the next wake or post signals again. One
//! that succeeds counts for the look inside that was due when it was begun, and for no later one: each look begins
//! another *round*, and a thread that was away in between finds the round gone.
//!
//! A post is for the process in which it was made. A forked process, whose copy of the posts another thread may have been
//! changing at the fork, begins without any.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::kernel::fork::{Guarded, Lock};
use crate::kernel::{Fault, Signal};
use crate::marks::{Mark, Mutant, mark, mutant};
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
    /// `PENDING`, `SIGNALLED`, `WOKEN` (a wake is pending), and above them the round.
    state: AtomicU64,
    posts: Lock<Posts>,
    /// The reactor has gone. Looked at and set with the posts locked.
    gone: AtomicBool,
    capacity: usize,
    signals_failed: AtomicU64,
    signal: Box<dyn Signal>,
}

#[derive(Default)]
struct Posts {
    queue: VecDeque<Post>,
    /// The number of the next post: those in the queue are in order, and with gaps.
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

    /// Takes a post, or refuses it: then it will not be delivered.
    pub(crate) fn post(&self, token: Token, value: u64) -> Result<(), Refused> {
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
        posts.queue.push_back(Post { number, token, value });
        drop(posts);
        self.signal(PENDING).or_else(|fault| take_back(ours, number, fault))
    }

    pub(crate) fn wake(&self) {
        self.insist(PENDING | WOKEN);
    }

    /// Has the reactor look at its sources.
    pub(crate) fn notify(&self) {
        self.insist(PENDING);
    }

    /// For callers with no one to report a failure to: the signal is tried a number of times, and then left to the next
    /// wake or post, and to the reactor's own next turn.
    fn insist(&self, what: u64) {
        for _ in 0..WAKE_ATTEMPTS {
            match self.signal(what) {
                Ok(()) => return,
                Err(_) => yield_now(),
            }
        }
        tracing::error!(target: "io_reactor", attempts = WAKE_ATTEMPTS, "the reactor could not be woken");
    }

    /// Sees to it that the reactor looks inside.
    fn signal(&self, what: u64) -> Result<(), Fault> {
        // A read alone would not do: the reactor, which clears this before it looks, has to be either before us, or
        // behind us and behind what we have put in. Release: what this thread did before is seen by the one that is woken.
        let before = self.state.fetch_or(what, Ordering::AcqRel);
        if before & SIGNALLED != 0 {
            return Ok(());
        }
        let signalled = self.signal.notify();
        if let Err(fault) = signalled {
            mark(Mark::SignalFailed);
            self.signals_failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(target: "io_reactor", error = %fault.to_io(), "cannot signal the reactor");
            if !mutant(Mutant::MuteAfterFailedSignal) {
                return Err(fault);
            }
        }
        // Unless the reactor has looked in the meantime.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| {
            (now / ROUND == before / ROUND).then_some(now | SIGNALLED)
        });
        signalled
    }

    /// Takes up to `max` posts and hands each to `take`. True if there has been a wake.
    pub(crate) fn collect(&self, max: usize, mut take: impl FnMut(Token, u64)) -> bool {
        // Looked at before it is written: most waits find nothing here.
        if !self.waiting() {
            return false;
        }
        let before = self.begin_round();
        let mut posts = self.posts.ours().lock();
        let count = posts.queue.len().min(max);
        for Post { token, value, .. } in posts.queue.drain(..count) {
            take(token, value);
        }
        if !posts.queue.is_empty() && !mutant(Mutant::ForgetLeftPosts) {
            mark(Mark::PostsLeft);
            // The rest is for the next turn, which needs no signal to come about: see `waiting`.
            self.state.fetch_or(PENDING | SIGNALLED, Ordering::AcqRel);
        }
        drop(posts);
        before & WOKEN != 0 && !mutant(Mutant::LoseWake)
    }

    /// What is put in from here on needs a signal of its own. Returns the state up to here.
    fn begin_round(&self) -> u64 {
        let begun = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
            Some((state / ROUND).wrapping_add(1).wrapping_mul(ROUND))
        });
        begun.unwrap_or_else(|state| state)
    }

    /// The wakes so far have been delivered.
    pub(crate) fn forget_wakes(&self) {
        self.state.fetch_and(!WOKEN, Ordering::AcqRel);
    }

    /// Whether a collect would find something, so that there is no point in blocking.
    pub(crate) fn waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) & PENDING != 0
    }

    /// The reactor goes: from here on posts are refused.
    pub(crate) fn close(&self) {
        let mut posts = self.posts.ours().lock();
        self.gone.store(true, Ordering::Relaxed);
        posts.queue = VecDeque::new();
    }

    /// How many signals have failed ever.
    pub(crate) fn signals_failed(&self) -> u64 {
        self.signals_failed.load(Ordering::Relaxed)
    }
}

/// Withdraws a post for which there was no signal. One that the reactor has found all the same is delivered.
fn take_back(posts: &Guarded<Posts>, number: u64, fault: Fault) -> Result<(), Refused> {
    let mut posts = posts.lock();
    match posts.queue.binary_search_by_key(&number, |post| post.number) {
        Ok(at) => {
            mark(Mark::PostTakenBack);
            posts.queue.remove(at);
            Err(Refused::Unsignalled(fault))
        }
        Err(_) => Ok(()),
    }
}

/// A signal that no one waits for.
#[cfg(test)]
pub(crate) struct Deaf;

#[cfg(test)]
impl Signal for Deaf {
    fn notify(&self) -> Result<(), Fault> {
        Ok(())
    }
}
