//! Ctrl-Z (`SIGTSTP`): the default behaviour of a program that does not catch it, with the terminal restored meanwhile.
//!
//! The kernel decides: the handler sets the default action and raises the signal again. In an orphaned process group,
//! such as that of `ssh -t host dolmend` or `xterm -e dolmend`, the kernel ignores the signal, because there is no
//! shell that could continue the process. `SIGSTOP` would stop it there for good.
//!
//! signal(7), setpgid(2), "Orphaned process groups" in POSIX.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::SIGTSTP;

use super::restore;

/// A thread is in [`now`]: the default action is in force, or about to be.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// The process is not to be stopped.
static PREVENTED: AtomicBool = AtomicBool::new(false);

/// Has Ctrl-Z do nothing, or stop the process as usual again: behind a locked console there is a shell.
pub fn prevent(on: bool) {
    PREVENTED.store(on, Ordering::Release);
}

/// Stops the process if the kernel wants it stopped, which it does not in an orphaned process group, and returns when
/// it continues [hc52]. For the handler of `SIGTSTP`: uses only system calls and atomics.
pub(super) fn now() {
    // A second handler would take the default action for ours, and restore that.
    if PREVENTED.load(Ordering::Acquire) || STOPPING.swap(true, Ordering::AcqRel) {
        return;
    }
    let pause = restore::pause();
    raise_with_default_action();
    pause.end();
    STOPPING.store(false, Ordering::Release);
}

fn raise_with_default_action() {
    // SAFETY: all zeroes is a valid value of these plain structures, and the pointers are valid for the calls. Each of
    // the calls is allowed in a signal handler. The action that is restored is the previous one.
    unsafe {
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigemptyset(&mut default.sa_mask);
        let mut ours: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(SIGTSTP, &default, &mut ours) != 0 {
            return;
        }
        // To this thread: if it were sent to the process, another thread might take it when the default action is gone
        // again.
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
