//! Ctrl-Z (`SIGTSTP`): what happens to a program that does not catch it, with the terminal put back meanwhile.
//!
//! The kernel decides: the default action is put in force and the signal raised anew. In an orphaned process group, such
//! as that of `ssh -t host dolmend` or `xterm -e dolmend`, it ignores the signal, because no shell is there that could
//! continue the process. `SIGSTOP` would stop it there for good.
//!
//! signal(7), setpgid(2), "Orphaned process groups" in POSIX.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::SIGTSTP;

use super::restore;

/// A thread is in [`now`]: the default action is in force, or about to be.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Stops the process if the kernel wants it stopped, and returns when it goes on. For the handler of `SIGTSTP`: system
/// calls and atomics, nothing else.
pub(super) fn now() {
    // A second handler would take the default action for ours, and put that back.
    if STOPPING.swap(true, Ordering::AcqRel) {
        return;
    }
    let pause = restore::pause();
    raise_with_default_action();
    pause.end();
    STOPPING.store(false, Ordering::Release);
}

fn raise_with_default_action() {
    // SAFETY: all zeroes is a valid value of these plain structures, and the pointers are good for the calls. Each of
    // the calls may be made in a signal handler. The action that is put back is the one that was there.
    unsafe {
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigemptyset(&mut default.sa_mask);
        let mut ours: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(SIGTSTP, &default, &mut ours) != 0 {
            return;
        }
        // To this thread: to the process, another thread might take it when the default action is gone again.
        libc::raise(SIGTSTP);
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut only);
        libc::sigaddset(&mut only, SIGTSTP);
        let mut before: libc::sigset_t = std::mem::zeroed();
        // Blocked while its handler runs. The process is stopped in here, or not at all.
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &only, &mut before);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, null_mut());
        libc::sigaction(SIGTSTP, &ours, null_mut());
    }
}
