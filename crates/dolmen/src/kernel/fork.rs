//! What a fork means to what was there before it.
//!
//! A forked process has copies of the library's memory, but not of its threads; and of descriptors it has copies that refer
//! to the same epoll instance, the same eventfd, the same terminal. So what belongs to one process notes which one that is
//! ([`Process`]), and compares before it acts: one relaxed load, and no system call.
//!
//! The C library runs our handlers at each fork(2). vfork(2) and posix_spawn(3) do not run them and need not: their child
//! shares the parent's memory, and only starts another program. A fork that is made past the C library, by a system call, is
//! not noticed.
//!
//! A lock that another thread holds at a fork is held in the child for ever. [`hold`] is for the one lock that other threads
//! of the program take, a reactor's posts: a fork waits until no thread is between `hold` and the drop of what it returns.
//!
//! Manual pages: fork(2), pthread_atfork(3).

pub(crate) use system::{Hold, hold};

/// The process in which something was made.
#[derive(Debug)]
pub(crate) struct Process(system::Generation);

impl Process {
    /// This one.
    pub(crate) fn current() -> Process {
        Process(system::Generation::watched())
    }

    /// Whether this is another process by now: one that has a copy.
    #[inline]
    pub(crate) fn is_copy(&self) -> bool {
        !self.0.is_now()
    }

    /// From here on what was made belongs to this process.
    pub(crate) fn settle(&self) {
        self.0.set_now();
    }
}

#[cfg(unix)]
mod system {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    /// How many forks lie between the first process and this one.
    static GENERATION: AtomicU32 = AtomicU32::new(0);
    /// Threads that a fork waits for.
    static HELD: AtomicU32 = AtomicU32::new(0);
    /// Forks that are under way.
    static FORKING: AtomicU32 = AtomicU32::new(0);

    /// A fork waits no longer than this. Only one that a signal handler makes, in a thread that holds, takes so long.
    const PATIENCE: Duration = Duration::from_millis(100);

    #[derive(Debug)]
    pub(super) struct Generation(AtomicU32);

    impl Generation {
        /// That of this process, which is counted from here on at the latest.
        pub(super) fn watched() -> Generation {
            static HANDLERS: Once = Once::new();
            HANDLERS.call_once(|| {
                // SAFETY: the handlers do nothing but atomics, which are allowed at a fork. Without memory for them forks
                // are not noticed, and nothing else would work then either.
                unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
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

    unsafe extern "C" fn before() {
        FORKING.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while HELD.load(Ordering::SeqCst) != 0 && start.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }

    unsafe extern "C" fn in_parent() {
        FORKING.fetch_sub(1, Ordering::SeqCst);
    }

    unsafe extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::SeqCst);
        HELD.store(0, Ordering::SeqCst);
        FORKING.store(0, Ordering::SeqCst);
    }

    /// Keeps other threads from forking until it is dropped.
    pub(crate) struct Hold(());

    /// Not to be nested: the inner one would wait for a fork that waits for the outer one.
    pub(crate) fn hold() -> Hold {
        loop {
            HELD.fetch_add(1, Ordering::SeqCst);
            if FORKING.load(Ordering::SeqCst) == 0 {
                return Hold(());
            }
            HELD.fetch_sub(1, Ordering::SeqCst);
            std::thread::yield_now();
        }
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            HELD.fetch_sub(1, Ordering::SeqCst);
        }
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

    pub(crate) struct Hold(());

    #[inline]
    pub(crate) fn hold() -> Hold {
        Hold(())
    }
}
