//! What a fork means for existing objects.
//!
//! A forked process has copies of the library's memory, but not of its threads; its copies of descriptors refer to the
//! same epoll instance, the same eventfd and the same terminal. So an object that belongs to one process records which
//! one that is ([`Process`]), and compares before it acts: one relaxed load, and no system call.
//!
//! The C library runs our handlers at each fork(2). vfork(2) and posix_spawn(3) do not run them and do not need to:
//! their child shares the parent's memory, and only starts another program. A fork that is made by a direct system call,
//! and not through the C library, is not noticed.
//!
//! A lock that another thread holds at a fork stays held in the child indefinitely. So the data that other threads of
//! the program lock, a reactor's posts and the values of its channels, is in a [`Lock`]: it has a separate lock in each process, and no thread waits
//! at a fork.
//!
//! Manual pages: fork(2), pthread_atfork(3).

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{PoisonError, TryLockError};

use crate::sync::{Mutex, MutexGuard};

/// The process to which an object belongs.
#[derive(Debug)]
pub(crate) struct Process(system::Generation);

impl Process {
    /// This one.
    pub(crate) fn current() -> Process {
        Process(system::Generation::watched())
    }

    /// Whether this is another process by now, which has a copy.
    #[inline]
    pub(crate) fn is_copy(&self) -> bool {
        !self.0.is_now()
    }

    /// From here on the object belongs to this process.
    pub(crate) fn settle(&self) {
        self.0.set_now();
    }
}

/// A value behind a lock, with a separate one in each process: a forked process begins with `T::default()` [hc47].
///
/// The value of an earlier process is never read again, as a thread that is not in this process may have been changing
/// it.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    /// Never null. The values of earlier processes are linked from it.
    newest: AtomicPtr<Guarded<T>>,
}

/// The value of one process.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    process: Process,
    value: Mutex<T>,
    older: *mut Guarded<T>,
}

impl<T> Guarded<T> {
    /// For changes that call no other code: a thread that panics must not leave the value half-changed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: it is an owning pointer to values and locks, and shared like those.
unsafe impl<T: Send> Send for Lock<T> {}
// SAFETY: as above; the value is only reached through its lock.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T: Default> Lock<T> {
    pub(crate) fn new() -> Lock<T> {
        Lock { newest: AtomicPtr::new(Guarded::make(null_mut())) }
    }

    /// The value of this process.
    #[inline]
    pub(crate) fn ours(&self) -> &Guarded<T> {
        let newest = self.newest.load(Ordering::Acquire);
        // SAFETY: it is not null, and is freed with `self` at the earliest.
        let guarded = unsafe { &*newest };
        if guarded.process.is_copy() { self.begin(newest) } else { guarded }
    }

    #[cold]
    fn begin(&self, inherited: *mut Guarded<T>) -> &Guarded<T> {
        let fresh = Guarded::make(inherited);
        match self.newest.compare_exchange(inherited, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: from here on it is shared, and it is freed with `self`.
            Ok(_) => unsafe { &*fresh },
            Err(other) => {
                // SAFETY: no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: another thread of this process was first. Freed with `self`.
                unsafe { &*other }
            }
        }
    }
}

impl<T: Default> Guarded<T> {
    fn make(older: *mut Guarded<T>) -> *mut Guarded<T> {
        let value = Mutex::new(T::default());
        Box::into_raw(Box::new(Guarded { process: Process::current(), value, older }))
    }
}

impl<T> Drop for Lock<T> {
    fn drop(&mut self) {
        let mut next = *self.newest.get_mut();
        while !next.is_null() {
            // SAFETY: made by `Box::into_raw`, in the list once, and `self` is borrowed exclusively.
            let guarded = unsafe { Box::from_raw(next) };
            next = guarded.older;
            // No thread of this process can hold it. If it is held, its holder was left behind at a fork, and the value
            // may be half-changed.
            if matches!(guarded.value.try_lock(), Err(TryLockError::WouldBlock)) {
                std::mem::forget(guarded);
            }
        }
    }
}

#[cfg(unix)]
mod system {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// How many forks lie between the first process and this one.
    static GENERATION: AtomicU32 = AtomicU32::new(0);

    #[derive(Debug)]
    pub(super) struct Generation(AtomicU32);

    impl Generation {
        /// The generation of this process, counted from here on at the latest.
        pub(super) fn watched() -> Generation {
            static HANDLERS: Once = Once::new();
            HANDLERS.call_once(|| {
                // SAFETY: the handler performs only an atomic operation, which is allowed at a fork. Without memory for
                // it forks are not noticed, and nothing else would work then either.
                unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            });
            Generation(AtomicU32::new(GENERATION.load(Ordering::Relaxed)))
        }

        #[inline]
        pub(super) fn is_now(&self) -> bool {
            self.0.load(Ordering::Relaxed) == GENERATION.load(Ordering::Relaxed)
        }

        pub(super) fn set_now(&self) {
            self.0.store(GENERATION.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    unsafe extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(not(unix))]
mod system {
    #[derive(Debug)]
    pub(super) struct Generation;

    impl Generation {
        pub(super) fn watched() -> Generation {
            Generation
        }

        #[inline]
        pub(super) fn is_now(&self) -> bool {
            true
        }

        pub(super) fn set_now(&self) {}
    }
}
