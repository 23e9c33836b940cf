//! Puts the terminal back whenever the process stops or ends: at a drop, at an exit, at a signal.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcsetattr};

/// What is to be put back now, or null. Read by signal handlers, so what it points to is never freed.
static SAVED: AtomicPtr<Saved> = AtomicPtr::new(null_mut());

/// What was saved last: taken again if it is the same, so that there is no more than one for each state a terminal was
/// found in.
static LAST: Mutex<Option<&'static Saved>> = Mutex::new(None);

struct Saved {
    terminal: RawFd,
    settings: Termios,
}

/// From here to its drop the terminal will be put back.
pub(super) struct Guard {
    _terminal: OwnedFd,
}

impl Guard {
    pub(super) fn new(terminal: &OwnedFd, settings: &Termios) -> io::Result<Guard> {
        static AT_EXIT: Once = Once::new();
        let terminal = terminal.try_clone()?;
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |saved: &&'static Saved| {
            saved.terminal == terminal.as_raw_fd()
                && format!("{:?}", saved.settings) == format!("{settings:?}")
        };
        let saved: &'static Saved = match (*last).filter(same) {
            Some(saved) => saved,
            None => Box::leak(Box::new(Saved { terminal: terminal.as_raw_fd(), settings: settings.clone() })),
        };
        *last = Some(saved);
        SAVED.store(std::ptr::from_ref(saved).cast_mut(), Ordering::Release);
        AT_EXIT.call_once(|| {
            // SAFETY: the function is one that may run at exit: it does not unwind and depends on nothing that is gone
            // by then. If there is no room for it, the drop is what is left.
            unsafe { libc::atexit(at_exit) };
        });
        Ok(Guard { _terminal: terminal })
    }

    pub(super) fn restore(&self) {
        now();
        SAVED.store(null_mut(), Ordering::Release);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        SAVED.store(null_mut(), Ordering::Release);
    }
}

/// Puts back what a guard guards. System calls and nothing else, so signal handlers may call it.
pub(super) fn now() {
    let saved = SAVED.load(Ordering::Acquire);
    // SAFETY: null or a pointer to something that is never freed.
    let Some(saved) = (unsafe { saved.as_ref() }) else { return };
    // SAFETY: the descriptor is open while `SAVED` holds it. A handler that comes between the two ends of that sets
    // another descriptor's terminal to what it was at worst.
    let terminal = unsafe { BorrowedFd::borrow_raw(saved.terminal) };
    // From the background this would stop the process, and there it is somebody else's terminal anyway.
    if super::is_foreground(terminal) {
        let _ = tcsetattr(terminal, OptionalActions::Now, &saved.settings);
    }
}

extern "C" fn at_exit() {
    now();
}
