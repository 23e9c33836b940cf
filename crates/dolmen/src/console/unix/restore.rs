//! Restores the terminal whenever the process stops or ends: at a drop, at an exit, at a signal.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::modes::is_foreground;
use crate::kernel::fork::Process;

/// The settings to restore now, or null. Signal handlers read it, so its target is never freed.
static SAVED: AtomicPtr<Saved> = AtomicPtr::new(null_mut());

/// All saved settings: reused if they are equal, so that there is one for each state in which a terminal was found.
static ALL: Mutex<Vec<&'static Saved>> = Mutex::new(Vec::new());

/// Whether the terminal marks pasted text.
static PASTING: AtomicBool = AtomicBool::new(false);

/// The terminal marks pasted text from here on, or no longer.
pub(super) const PASTE_ON: &str = "\x1b[?2004h";
pub(super) const PASTE_OFF: &str = "\x1b[?2004l";

/// Notes whether the terminal marks pasted text, so that this can be switched off whenever the process ends. Returns
/// what was so before.
pub(super) fn set_pasting(pasting: bool) -> bool {
    PASTING.swap(pasting, Ordering::AcqRel)
}

struct Saved {
    terminal: RawFd,
    /// The screen, for writes that do not block. `None`: it could not be opened once more, and is standard output.
    screen: Option<RawFd>,
    settings: Termios,
    /// The process that restores it: a forked process leaves it to the other one.
    process: Process,
}

/// From here to its drop the terminal will be restored at any stop or end [hc30].
pub(super) struct Guard {
    /// Keep the descriptors open that `saved` names.
    _terminal: OwnedFd,
    _screen: Option<OwnedFd>,
    saved: &'static Saved,
}

impl Guard {
    /// `screen` does not block.
    pub(super) fn new(terminal: &OwnedFd, settings: &Termios, screen: Option<OwnedFd>) -> io::Result<Guard> {
        static AT_EXIT: Once = Once::new();
        let terminal = terminal.try_clone()?;
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |saved: &&'static Saved| {
            !saved.process.is_copy()
                && saved.terminal == terminal.as_raw_fd()
                && saved.screen == screen.as_ref().map(OwnedFd::as_raw_fd)
                && format!("{:?}", saved.settings) == format!("{settings:?}")
        };
        let saved: &'static Saved = match all.iter().copied().find(same) {
            Some(saved) => saved,
            None => {
                let (terminal, process) = (terminal.as_raw_fd(), Process::current());
                let screen = screen.as_ref().map(OwnedFd::as_raw_fd);
                let saved = Saved { terminal, screen, settings: settings.clone(), process };
                let saved = Box::leak(Box::new(saved));
                all.push(saved);
                saved
            }
        };
        SAVED.store(std::ptr::from_ref(saved).cast_mut(), Ordering::Release);
        AT_EXIT.call_once(|| {
            // SAFETY: the function may run at exit: it does not unwind and depends on nothing that is gone by then. If
            // there is no room for it, the drop remains.
            unsafe { libc::atexit(at_exit) };
        });
        Ok(Guard { _terminal: terminal, _screen: screen, saved })
    }

    /// Restores this guard's terminal, and no other: a guard that was made later stays in force. This one stays in force up
    /// to its drop if pasted text is still marked: the command against it waits behind output that is not being read, and
    /// the process may end before.
    pub(super) fn restore(&self) {
        self.saved.restore();
        if !PASTING.load(Ordering::Acquire) {
            self.end();
        }
    }

    fn end(&self) {
        let saved = std::ptr::from_ref(self.saved).cast_mut();
        let _ = SAVED.compare_exchange(saved, null_mut(), Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.saved.stop_pasting();
        self.end();
    }
}

impl Saved {
    /// The terminal, if this process is in its foreground and is not a forked copy. From the background a change would
    /// stop the process, and in a forked process the terminal belongs to the other one.
    fn terminal(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the descriptor is open while a guard has it, and `SAVED` points here no longer than that. A handler
        // that runs in the moment of the guard's end at worst sets another descriptor's terminal to its previous
        // settings.
        let terminal = unsafe { BorrowedFd::borrow_raw(self.terminal) };
        (!self.process.is_copy() && is_foreground(terminal)).then_some(terminal)
    }

    /// Restores the terminal. Makes only system calls, so signal handlers may call it.
    fn restore(&self) {
        if let Some(terminal) = self.terminal() {
            let _ = tcsetattr(terminal, OptionalActions::Now, &self.settings);
            self.stop_pasting();
        }
    }

    /// Pasted text is no longer marked. If that cannot be written, a later attempt may succeed.
    fn stop_pasting(&self) {
        if PASTING.load(Ordering::Acquire) && self.terminal().is_some() && self.write(PASTE_OFF) {
            set_pasting(false);
        }
    }

    /// Writes to the screen, if that is possible immediately: a terminal that is held must not delay a signal's handler.
    /// Returns whether all of it was written.
    fn write(&self, command: &str) -> bool {
        let screen = match self.screen {
            // SAFETY: as for the terminal: open while a guard has it. For a handler that runs in the moment of the guard's
            // end the number may belong to another file: it is written to only if it is a terminal, and then the command
            // shows nothing there.
            Some(screen) => unsafe { BorrowedFd::borrow_raw(screen) },
            None => rustix::stdio::stdout(),
        };
        if !rustix::termios::isatty(screen) {
            return false;
        }
        // Standard output itself may block.
        if self.screen.is_none() && !has_room(screen) {
            return false;
        }
        rustix::io::write(screen, command.as_bytes()).is_ok_and(|count| count == command.len())
    }

    /// Whether the terminal has its original settings, as far as we change them.
    fn is_restored(&self, now: &Termios) -> bool {
        now.input_modes == self.settings.input_modes
            && now.output_modes == self.settings.output_modes
            && now.local_modes == self.settings.local_modes
    }
}

/// Whether a write would not block.
fn has_room(screen: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&screen, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
}

/// Restores the terminal whose guard was made last. Signal handlers may call it.
pub(super) fn now() {
    // SAFETY: null or a pointer to a value that is never freed.
    if let Some(saved) = unsafe { SAVED.load(Ordering::Acquire).as_ref() } {
        saved.restore();
    }
}

/// The time in which the process may be stopped, with the terminal restored.
pub(super) struct Pause(Option<(&'static Saved, Termios, bool)>);

/// Restores the terminal until [`Pause::end`]. Signal handlers may call both.
pub(super) fn pause() -> Pause {
    // SAFETY: null or a pointer to a value that is never freed.
    let saved = unsafe { SAVED.load(Ordering::Acquire).as_ref() };
    let pasting = PASTING.load(Ordering::Acquire);
    let in_use = saved.and_then(|saved| Some((saved, tcgetattr(saved.terminal()?).ok()?, pasting)));
    if let Some((saved, ..)) = &in_use {
        saved.restore();
    }
    Pause(in_use)
}

impl Pause {
    /// Sets the terminal to the settings that were in use, unless another process has changed them meanwhile. A process
    /// that was stopped does so once more when it collects the signal that continued it; one that the kernel did not
    /// stop gets no such signal.
    pub(super) fn end(self) {
        let Some((saved, in_use, pasting)) = self.0 else { return };
        if let Some(terminal) = saved.terminal() {
            if tcgetattr(terminal).is_ok_and(|now| saved.is_restored(&now)) {
                let _ = tcsetattr(terminal, OptionalActions::Now, &in_use);
                if pasting && !set_pasting(true) {
                    let _ = saved.write(PASTE_ON);
                }
            }
        }
    }
}

extern "C" fn at_exit() {
    now();
}
