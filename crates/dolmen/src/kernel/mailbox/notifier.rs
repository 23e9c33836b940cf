//! The signal that ends the reactor's wait, shared by every thread that leaves something for it.
//!
//! One signal to the kernel covers any number of wakes, posts and channels. That is only sound if every thread that
//! leaves the signal to another thread can rely on it, and a signal may fail: on Windows the kernel needs memory for it.
//! So the state has two flags, not one:
//!
//! * *pending*: something may be in the mailbox. A thread sets it after it has put something in. The reactor does not
//!   block while it is set, and clears it before it looks inside.
//! * *signalled*: since the reactor last looked inside, a signal has succeeded, so the reactor will look again. Only
//!   then may a thread omit its signal.
//!
//! A signal that fails leaves the mailbox *pending* and no more than that, so the next wake or post signals again. A
//! signal that succeeds counts for the look that was due when it was begun, and for no later one: each look begins
//! another *round*, and a thread that was delayed in between sees that its round is over.

use crate::kernel::{Fault, Signal};
use crate::marks::{Mark, mark};
use crate::sync::{AtomicU64, Ordering, yield_now};

/// How often a thread that cannot report a failure tries to signal before it leaves that to the next one. A kernel that
/// is out of memory has usually found some by then.
const ATTEMPTS: u32 = if cfg!(loom) { 2 } else { 100 };

const PENDING: u64 = 1;
const SIGNALLED: u64 = 2;
const WOKEN: u64 = 4;
const ROUND: u64 = 8;

pub(super) struct Notifier {
    /// `PENDING`, `SIGNALLED`, `WOKEN` (a wake is pending), and the round in the bits above them.
    state: AtomicU64,
    failed: AtomicU64,
    signal: Box<dyn Signal>,
}

impl Notifier {
    pub(super) fn new(signal: Box<dyn Signal>) -> Notifier {
        Notifier { state: AtomicU64::new(0), failed: AtomicU64::new(0), signal }
    }

    /// Ensures that the reactor looks inside.
    pub(super) fn notify(&self) -> Result<(), Fault> {
        self.signal(PENDING)
    }

    /// For callers that cannot report a failure: it tries the signal a number of times, and then leaves it to the next
    /// wake, post or channel, and to the reactor's own next turn [hc42].
    pub(super) fn notify_with_retries(&self) {
        self.signal_with_retries(PENDING);
    }

    /// As [`Notifier::notify_with_retries`], and the reactor reports it.
    pub(super) fn wake(&self) {
        self.signal_with_retries(PENDING | WOKEN);
    }

    fn signal_with_retries(&self, what: u64) {
        for _ in 0..ATTEMPTS {
            match self.signal(what) {
                Ok(()) => return,
                Err(_) => yield_now(),
            }
        }
        tracing::error!(target: "dolmen", attempts = ATTEMPTS, "the reactor could not be woken");
    }

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
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(target: "dolmen", error = %fault.to_io(), "cannot signal the reactor");
            return Err(fault);
        }
        // Unless the reactor has looked in the meantime.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| {
            (now / ROUND == before / ROUND).then_some(now | SIGNALLED)
        });
        signalled
    }

    /// Something is left for the reactor's next turn. Only for the reactor's thread outside the kernel's wait: it needs
    /// no signal, because the reactor does not block while the mailbox is pending.
    pub(super) fn keep_pending(&self) {
        self.state.fetch_or(PENDING | SIGNALLED, Ordering::AcqRel);
    }

    /// From here on a new entry needs its own signal. Returns whether there was a wake up to here.
    pub(super) fn begin_round(&self) -> bool {
        let begun = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
            Some((state / ROUND).wrapping_add(1).wrapping_mul(ROUND))
        });
        begun.unwrap_or_else(|state| state) & WOKEN != 0
    }

    /// The wakes so far have been delivered, as one [p12].
    pub(super) fn forget_wakes(&self) {
        self.state.fetch_and(!WOKEN, Ordering::AcqRel);
    }

    /// Whether something may be inside, so that the reactor must not block.
    pub(super) fn is_pending(&self) -> bool {
        self.state.load(Ordering::Acquire) & PENDING != 0
    }

    /// How many signals have failed in total.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
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
