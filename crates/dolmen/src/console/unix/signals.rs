//! Signals as console input.
//!
//! A handler counts, and writes a byte into a socket pair that the reactor watches: no thread, and no race, as what came
//! before the reactor looked is in the count and what came after writes again.
//!
//! Handlers stay for the rest of the process; while no reactor wants signals, they do what the system would.
//!
//! signal(7), signal-safety(7).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use signal_hook::SigId;
use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::low_level::{emulate_default_handler, register, unregister};

use super::{restore, stop};
use crate::console::{Inbox, Input, ShutdownReason, SignalSource};
use crate::error::{Error, ErrorKind};

/// Signals that become events.
const TOLD: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT];
/// Signals that do what they always do, after the terminal was put back.
const NOT_TOLD: [i32; 2] = [SIGTSTP, SIGQUIT];
/// A request to end that finds so many of its kind still not looked at ends the process: the loop is stuck.
const PATIENCE: u32 = 2;

/// How many reactors want signals.
static WANTED: AtomicUsize = AtomicUsize::new(0);

struct Signals {
    inbox: Arc<Inbox>,
    counts: Arc<[AtomicU32; TOLD.len()]>,
    readable: UnixStream,
    handlers: Vec<SigId>,
}

/// Starts to tell of signals.
pub(crate) fn signals(inbox: &Arc<Inbox>) -> Result<Box<dyn SignalSource<OwnedFd>>, Error> {
    Signals::new(inbox)
        .map(|signals| Box::new(signals) as _)
        .map_err(|error| Error::from_io(ErrorKind::Os, "catch signals", error))
}

impl Signals {
    fn new(inbox: &Arc<Inbox>) -> io::Result<Signals> {
        stand_in()?;
        let (readable, writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        writable.set_nonblocking(true)?;
        let writable = Arc::new(writable);
        let counts: Arc<[AtomicU32; TOLD.len()]> = Arc::default();
        // Made first, so that what is registered is unregistered if something fails in between.
        let mut signals = Signals { inbox: Arc::clone(inbox), counts, readable, handlers: Vec::new() };
        WANTED.fetch_add(1, Ordering::AcqRel);
        for (at, signal) in TOLD.into_iter().enumerate() {
            if is_ignored(signal)? {
                continue;
            }
            let (counts, writable) = (Arc::clone(&signals.counts), Arc::clone(&writable));
            let action = move || {
                let waiting = counts[at].fetch_add(1, Ordering::AcqRel);
                if waiting >= PATIENCE && [SIGINT, SIGTERM, SIGHUP].contains(&signal) {
                    restore::now();
                    let _ = emulate_default_handler(signal);
                }
                // Full: then the reactor has enough to read.
                let _ = rustix::io::write(&*writable, b"!");
            };
            // SAFETY: the action does nothing but atomics and system calls, which signal handlers may.
            signals.handlers.push(unsafe { register(signal, action) }?);
        }
        Ok(signals)
    }
}

impl SignalSource<OwnedFd> for Signals {
    fn handle(&self) -> io::Result<Option<OwnedFd>> {
        Ok(Some(self.readable.try_clone()?.into()))
    }

    fn ready(&mut self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.readable, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
        self.look();
    }

    fn look(&mut self) {
        for (at, signal) in TOLD.into_iter().enumerate() {
            let count = self.counts[at].swap(0, Ordering::AcqRel);
            let told = if signal == SIGINT { count } else { count.min(1) };
            for _ in 0..told {
                let shutdown = |reason| Input::Shutdown { reason, time_left: None };
                self.inbox.push(match signal {
                    SIGINT => Input::Interrupt,
                    SIGTERM => shutdown(ShutdownReason::Terminate),
                    SIGHUP => shutdown(ShutdownReason::HangUp),
                    SIGWINCH => Input::WindowChanged,
                    _ => Input::Continued,
                });
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // The stand-in first: a signal in between is answered, if twice.
        WANTED.fetch_sub(1, Ordering::AcqRel);
        for handler in self.handlers.drain(..) {
            unregister(handler);
        }
    }
}

/// Registers, once in a process, what happens while nobody wants signals, and what always happens.
fn stand_in() -> io::Result<()> {
    static DONE: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if std::mem::replace(&mut *done, true) {
        return Ok(());
    }
    for signal in TOLD.into_iter().chain(NOT_TOLD) {
        if is_ignored(signal)? {
            continue;
        }
        let always = NOT_TOLD.contains(&signal);
        let action = move || {
            if signal == SIGTSTP {
                stop::now();
            } else if always || WANTED.load(Ordering::Acquire) == 0 {
                restore::now();
                let _ = emulate_default_handler(signal);
            }
        };
        // SAFETY: the action does nothing but atomics and system calls, which signal handlers may.
        unsafe { register(signal, action) }?;
    }
    Ok(())
}

/// Whether whoever started us wants the signal ignored, as nohup(1) does. So it stays.
fn is_ignored(signal: i32) -> io::Result<bool> {
    // SAFETY: all zeroes is a valid value of this plain structure, which the call fills; nothing is changed.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &mut current) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(current.sa_sigaction == libc::SIG_IGN)
    }
}
