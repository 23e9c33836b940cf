//! How the library starts its threads.
//!
//! Any thread that does not block a signal may handle one that is sent to the process. The library's threads block all
//! signals: a handler then runs on one of the program's own threads, whose wait it may interrupt, and finds the
//! thread-local state that the program expects. The starting thread blocks them around the start, because a thread
//! inherits its mask: if a new thread blocked signals itself, it could handle one before it had done so.
//!
//! Manual pages: signal(7), pthread_sigmask(3).

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a named thread that no signal handler runs on, except for the thread's own faults.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[cfg(unix)]
    let _blocked = unix::Blocked::new()?;
    Builder::new().name(name.to_owned()).spawn(body)
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr::null_mut;

    /// The system sends them to the thread that has caused them, and blocked ones would end the process without any
    /// message.
    const OWN_FAULTS: [i32; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

    /// This thread blocks all signals until this is dropped, so that the program's own threads handle them [hc49].
    pub(super) struct Blocked {
        before: libc::sigset_t,
    }

    impl Blocked {
        pub(super) fn new() -> io::Result<Blocked> {
            let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
            // SAFETY: the set is filled by the first call and changed by the next ones, whose signals exist. The last
            // call reads it and fills in the other one, which is taken only if it has succeeded.
            unsafe {
                libc::sigfillset(all.as_mut_ptr());
                for signal in OWN_FAULTS {
                    libc::sigdelset(all.as_mut_ptr(), signal);
                }
                match libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) {
                    0 => Ok(Blocked { before: before.assume_init() }),
                    error => Err(io::Error::from_raw_os_error(error)),
                }
            }
        }
    }

    impl Drop for Blocked {
        fn drop(&mut self) {
            // SAFETY: the set is one that the system has filled in.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, null_mut()) };
        }
    }
}
