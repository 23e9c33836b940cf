//! Every order in which wakes, posts, their signals and the reactor may interleave. Run by `cargo xtask loom`.
//!
//! The reactor is a thread that does what [`Engine`](crate::engine::Engine) does with a mailbox: it looks inside, and
//! blocks in its kernel when nothing is pending. When all other threads have ended and no signal is left, a blocked
//! reactor would sleep indefinitely, so whatever is in the mailbox then would never have been delivered.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;
use crate::kernel::FaultKind;

fn value(arrival: Arrival) -> u64 {
    let Arrival::Post { value, .. } = arrival else { panic!("there is no channel") };
    value
}

const NO_MEMORY: Fault = Fault { kind: FaultKind::Exhausted, code: 12 };

/// The kernel in which the reactor blocks: a signal ends a wait, and one that comes outside a wait ends the next.
pub(crate) struct FakeKernel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    raised: bool,
    /// Which of the next signals fails; 0: none.
    fail_in: u32,
    /// There will be no more signals.
    over: bool,
}

impl FakeKernel {
    fn new(fail_in: u32) -> Arc<FakeKernel> {
        let state = State { fail_in, ..State::default() };
        Arc::new(FakeKernel { state: Mutex::new(state), changed: Condvar::new() })
    }

    pub(crate) fn end(&self) {
        self.state.lock().unwrap().over = true;
        self.changed.notify_one();
    }

    /// Returns false when nothing will ever end this wait.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        while !state.raised && !state.over {
            state = self.changed.wait(state).unwrap();
        }
        std::mem::take(&mut state.raised)
    }
}

struct FakeSignal(Arc<FakeKernel>);

impl Signal for FakeSignal {
    fn notify(&self) -> Result<(), Fault> {
        let mut state = self.0.state.lock().unwrap();
        let fails = state.fail_in == 1;
        state.fail_in = state.fail_in.saturating_sub(1);
        if fails {
            return Err(NO_MEMORY);
        }
        state.raised = true;
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

#[derive(Default)]
struct Delivered {
    posts: Vec<u64>,
    woken: bool,
}

/// Runs turns of the reactor until nothing would ever end the next wait.
fn reactor(kernel: &FakeKernel, mailbox: &Mailbox, batch: usize) -> Delivered {
    let mut delivered = Delivered::default();
    loop {
        delivered.woken |= mailbox.collect(batch, |arrival| delivered.posts.push(value(arrival)));
        if !mailbox.waiting() && !kernel.wait() {
            return delivered;
        }
    }
}

pub(crate) fn mailbox(fail_in: u32) -> (Arc<FakeKernel>, Arc<Mailbox>) {
    let kernel = FakeKernel::new(fail_in);
    let mailbox = Mailbox::new(Box::new(FakeSignal(Arc::clone(&kernel))), 8);
    (kernel, mailbox)
}

/// Posts `values` from a separate thread, which returns those that were taken.
fn poster(mailbox: &Arc<Mailbox>, values: &'static [u64]) -> thread::JoinHandle<Vec<u64>> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || {
        values.iter().copied().filter(|&value| mailbox.post(value, Token(0)).is_ok()).collect()
    })
}

#[test]
fn posts_of_two_threads_arrive_once_each_and_in_order() {
    loom::model(|| {
        let (kernel, mailbox) = mailbox(0);
        let first = poster(&mailbox, &[1, 2]);
        let second = poster(&mailbox, &[11]);
        let theirs = (Arc::clone(&kernel), Arc::clone(&mailbox));
        let reactor = thread::spawn(move || reactor(&theirs.0, &theirs.1, 1));
        assert_eq!((first.join().unwrap().len(), second.join().unwrap().len()), (2, 1));
        kernel.end();
        let mut posts = reactor.join().unwrap().posts;
        assert!(posts.iter().position(|&post| post == 1) < posts.iter().position(|&post| post == 2));
        posts.sort_unstable();
        assert_eq!(posts, [1, 2, 11]);
    });
}

/// Any of the signals may fail: a post that was taken is delivered, one that was refused is not, and no thread that
/// relied on another thread's signal waits in vain.
#[test]
fn hc42_a_post_whose_signal_fails_is_refused_and_silences_no_other() {
    for fail_in in 1..=2 {
        loom::model(move || {
            let (kernel, mailbox) = mailbox(fail_in);
            let first = poster(&mailbox, &[1]);
            let second = poster(&mailbox, &[11]);
            let theirs = (Arc::clone(&kernel), Arc::clone(&mailbox));
            let reactor = thread::spawn(move || reactor(&theirs.0, &theirs.1, 8));
            let mut taken = first.join().unwrap();
            taken.extend(second.join().unwrap());
            kernel.end();
            let mut posts = reactor.join().unwrap().posts;
            posts.sort_unstable();
            assert_eq!(posts, taken);
        });
    }
}

#[test]
fn hc42_a_wake_that_relied_on_a_posts_signal_is_delivered_although_that_fails() {
    for fail_in in 1..=2 {
        loom::model(move || {
            let (kernel, mailbox) = mailbox(fail_in);
            let post = poster(&mailbox, &[1]);
            let waker = Arc::clone(&mailbox);
            let wake = thread::spawn(move || waker.wake());
            let theirs = (Arc::clone(&kernel), Arc::clone(&mailbox));
            let reactor = thread::spawn(move || reactor(&theirs.0, &theirs.1, 8));
            let taken = post.join().unwrap();
            wake.join().unwrap();
            kernel.end();
            let delivered = reactor.join().unwrap();
            assert!(delivered.woken, "the wake was lost");
            assert_eq!(delivered.posts, taken);
        });
    }
}

/// The reactor sees, after it was woken, what the thread did before it woke it.
#[test]
fn a_wake_publishes_what_was_done_before_it() {
    loom::model(|| {
        let (kernel, mailbox) = mailbox(0);
        let done = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let (theirs, waker) = (Arc::clone(&done), Arc::clone(&mailbox));
        let wake = thread::spawn(move || {
            theirs.store(true, Ordering::Relaxed);
            waker.wake();
        });
        while !mailbox.collect(8, |_| {}) {
            if !mailbox.waiting() {
                kernel.wait();
            }
        }
        assert!(done.load(Ordering::Relaxed));
        wake.join().unwrap();
    });
}

/// The reactor is dropped while others post and wake: each post is taken or refused, and no thread waits for another.
#[test]
fn a_reactor_that_goes_refuses_posts_and_takes_no_notice_of_wakes() {
    loom::model(|| {
        let (_kernel, mailbox) = mailbox(0);
        let theirs = Arc::clone(&mailbox);
        let other = thread::spawn(move || {
            let first = theirs.post(1, Token(0));
            theirs.wake();
            // The last handle is dropped by this thread, or by the reactor.
            (first.is_ok(), matches!(theirs.post(2, Token(0)), Err(Refused::Gone)))
        });
        let mut posts = Vec::new();
        mailbox.collect(8, |arrival| posts.push(value(arrival)));
        mailbox.close();
        let refused = matches!(mailbox.post(3, Token(0)), Err(Refused::Gone));
        drop(mailbox);
        let (first, second_refused) = other.join().unwrap();
        assert!(refused, "it has gone");
        assert!(first || second_refused, "a post was taken after the reactor was gone");
        assert!(posts.is_empty() || first, "{posts:?} was refused");
    });
}

/// The posting side ends first: what it has left is delivered.
#[test]
fn posts_outlive_their_poster() {
    loom::model(|| {
        let (kernel, mailbox) = mailbox(0);
        let post = poster(&mailbox, &[1, 2]);
        let theirs = (Arc::clone(&kernel), mailbox);
        let reactor = thread::spawn(move || reactor(&theirs.0, &theirs.1, 8));
        post.join().unwrap();
        kernel.end();
        assert_eq!(reactor.join().unwrap().posts, [1, 2]);
    });
}
