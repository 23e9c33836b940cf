//! The two handles that cross threads: [`Waker`] and [`Poster`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind};
use crate::kernel::Signal;
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::token::Token;

/// Makes a [`wait`](crate::Reactor::wait) return, from any thread.
///
/// A wake is sticky: one that comes while nobody waits ends the next wait. Wakes are coalesced: any number of them
/// before the waiter has noticed is one [`Woken`](crate::Event::Woken) event. Waking a reactor that is gone does
/// nothing.
#[derive(Clone)]
pub struct Waker {
    mailbox: Arc<Mailbox>,
}

/// Sends small messages into a reactor, from any thread.
///
/// Each post arrives as one [`Posted`](crate::Event::Posted) event; none is merged or lost, and those of one poster
/// (and of one thread) arrive in order.
#[derive(Clone)]
pub struct Poster {
    mailbox: Arc<Mailbox>,
}

impl Waker {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Waker {
        Waker { mailbox }
    }

    /// Ends the wait that is under way, or else the next one.
    pub fn wake(&self) {
        // Release: what this thread did before waking is seen by the one that is woken.
        self.mailbox.woken.store(true, Ordering::Release);
        self.mailbox.notify();
    }
}

impl Poster {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Poster {
        Poster { mailbox }
    }

    /// Sends `token` and `value`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PostsFull`] while [`post_capacity`](crate::Builder::post_capacity) posts wait to be collected, and
    /// [`ErrorKind::ReactorGone`] once the reactor was dropped; never otherwise. The post was then not taken.
    pub fn post(&self, token: Token, value: u64) -> Result<(), Error> {
        const ACTION: &str = "post to the reactor";
        let mut posts = self.mailbox.posts();
        if posts.gone {
            return Err(Error::plain(ErrorKind::ReactorGone, ACTION));
        }
        if posts.queue.len() >= self.mailbox.capacity {
            mark(Mark::PostsFull);
            return Err(Error::plain(ErrorKind::PostsFull, ACTION));
        }
        posts.queue.push_back((token, value));
        drop(posts);
        self.mailbox.notify();
        Ok(())
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

/// Nobody to wake.
#[cfg(test)]
pub(crate) struct Deaf;

#[cfg(test)]
impl Signal for Deaf {
    fn notify(&self) {}
}

/// What other threads have left for the reactor.
pub(crate) struct Mailbox {
    /// Something is in the mailbox and the kernel has been signalled. Whoever sets it signals; the reactor clears it
    /// before it looks inside, so that anything put in after the look signals again.
    signalled: AtomicBool,
    woken: AtomicBool,
    posts: Mutex<Posts>,
    capacity: usize,
    signal: Box<dyn Signal>,
}

struct Posts {
    queue: VecDeque<(Token, u64)>,
    gone: bool,
}

impl Mailbox {
    pub(crate) fn new(signal: Box<dyn Signal>, capacity: usize) -> Arc<Mailbox> {
        Arc::new(Mailbox {
            signalled: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            posts: Mutex::new(Posts { queue: VecDeque::new(), gone: false }),
            capacity,
            signal,
        })
    }

    /// Takes up to `max` posts and hands each to `take`. True if there has been a wake.
    pub(crate) fn collect(&self, max: usize, mut take: impl FnMut(Token, u64)) -> bool {
        // Looked at before it is written: most waits find nothing here.
        if !self.waiting() || !self.signalled.swap(false, Ordering::AcqRel) {
            return false;
        }
        let mut posts = self.posts();
        let count = posts.queue.len().min(max);
        for (token, value) in posts.queue.drain(..count) {
            take(token, value);
        }
        if !posts.queue.is_empty() && !mutant(Mutant::ForgetLeftPosts) {
            mark(Mark::PostsLeft);
            // The rest is for the next turn, which needs no signal to come about: see `waiting`.
            self.signalled.store(true, Ordering::Release);
        }
        drop(posts);
        self.woken.swap(false, Ordering::AcqRel) && !mutant(Mutant::LoseWake)
    }

    /// Whoever has woken so far has been heard.
    pub(crate) fn forget_wakes(&self) {
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// Whether a collect would find something, so that there is no point in blocking.
    pub(crate) fn waiting(&self) -> bool {
        self.signalled.load(Ordering::Acquire)
    }

    /// The reactor goes: from here on posts are refused.
    pub(crate) fn close(&self) {
        let mut posts = self.posts();
        posts.gone = true;
        posts.queue = VecDeque::new();
    }

    /// Has the reactor look at its sources.
    pub(crate) fn notify(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.signal.notify();
        }
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        // A thread that panicked cannot have left the queue half-changed: nothing between lock and unlock calls out.
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
