//! Signals as console input.
//!
//! A handler counts, and writes a byte into a socket pair that the reactor watches. This needs no thread and has no
//! race: signals before the reactor's look are in the count, and later ones write again.
//!
//! Handlers stay for the rest of the process; while no reactor wants signals, they do what the system would.
//!
//! signal(7), signal-safety(7).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::SigId;
use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::low_level::{emulate_default_handler, register, unregister};

use super::{restore, stop};
use crate::console::{Inbox, Input, ShutdownReason, SignalSource};
use crate::error::{Error, ErrorKind};
use crate::kernel::above_standard;
use crate::kernel::fork::Process;

/// Signals that become events.
const REPORTED: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT];
/// Signals that keep their default action, after the terminal was restored.
const DEFAULT_ACTION: [i32; 2] = [SIGTSTP, SIGQUIT];
/// A request to end that finds this many of its kind still not collected ends the process: the loop is stuck. `SIGHUP`
/// is none: it asks many servers for something else.
const MAX_UNCOLLECTED: u32 = 2;

/// How often Ctrl-C was pressed while a reactor wanted to know, modulo 2^32.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// How many reactors want signals.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

struct Signals {
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    readable: UnixStream,
    handlers: Handlers,
}

struct Handlers {
    ids: Vec<SigId>,
    /// The process in which they were registered.
    process: Process,
}

/// In a forked process, handlers from before the fork that are not used now. They cannot be unregistered there: that
/// waits for other threads to leave the handlers, and one that was inside at the fork never leaves.
static SPARE: Mutex<Vec<(Arc<Shared>, Handlers)>> = Mutex::new(Vec::new());

/// The state that the handlers use.
struct Shared {
    /// A reactor wants these signals.
    used: AtomicBool,
    counts: [AtomicU32; REPORTED.len()],
    writable: UnixStream,
    /// The process that owns the two ends. A forked process's handlers count, and do not write to the other one.
    process: Process,
}

/// Starts to report signals.
pub(crate) fn signals(inbox: &Arc<Inbox>) -> Result<Box<dyn SignalSource<OwnedFd>>, Error> {
    Signals::new(inbox)
        .map(|signals| Box::new(signals) as _)
        .map_err(|error| Error::from_io(ErrorKind::Os, "catch signals", error))
}

/// The socket pair into which the handlers write.
fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (readable, writable) = UnixStream::pair()?;
    readable.set_nonblocking(true)?;
    writable.set_nonblocking(true)?;
    Ok((above_standard(readable.into())?.into(), above_standard(writable.into())?.into()))
}

impl Signals {
    fn new(inbox: &Arc<Inbox>) -> io::Result<Signals> {
        register_fallback()?;
        let (readable, writable) = pair()?;
        if let Some((shared, handlers)) = spare().pop() {
            LISTENERS.fetch_add(1, Ordering::AcqRel);
            let mut signals = Signals { inbox: Arc::clone(inbox), shared, readable, handlers };
            signals.shared.counts.iter().for_each(|count| count.store(0, Ordering::Release));
            signals.shared.used.store(true, Ordering::Release);
            signals.renew()?;
            return Ok(signals);
        }
        let (used, counts, process) = (AtomicBool::new(true), Default::default(), Process::current());
        let shared = Arc::new(Shared { used, counts, writable, process });
        let handlers = Handlers { ids: Vec::new(), process: Process::current() };
        // Made first, so that the handlers registered so far are unregistered if a step fails.
        let mut signals = Signals { inbox: Arc::clone(inbox), shared, readable, handlers };
        LISTENERS.fetch_add(1, Ordering::AcqRel);
        for (at, signal) in REPORTED.into_iter().enumerate() {
            if is_ignored(signal)? {
                continue;
            }
            let shared = Arc::clone(&signals.shared);
            let action = move || {
                if !shared.used.load(Ordering::Acquire) {
                    return;
                }
                if signal == SIGINT {
                    INTERRUPTS.fetch_add(1, Ordering::AcqRel);
                }
                let waiting = shared.counts[at].fetch_add(1, Ordering::AcqRel);
                if waiting >= MAX_UNCOLLECTED && [SIGINT, SIGTERM].contains(&signal) {
                    restore::now();
                    let _ = emulate_default_handler(signal);
                }
                // Full: then the reactor has enough to read.
                if !shared.process.is_copy() {
                    let _ = rustix::io::write(&shared.writable, b"!");
                }
            };
            // SAFETY: the action uses only atomics and system calls, which are allowed in signal handlers.
            signals.handlers.ids.push(unsafe { register(signal, action) }?);
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
        self.collect_now();
    }

    fn collect_now(&mut self) {
        for (at, signal) in REPORTED.into_iter().enumerate() {
            let count = self.shared.counts[at].swap(0, Ordering::AcqRel);
            let reported = if signal == SIGINT { count } else { count.min(1) };
            for _ in 0..reported {
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

    fn renew(&mut self) -> io::Result<()> {
        let (readable, writable) = pair()?;
        // The handlers know the number.
        // SAFETY: the number is that of a descriptor we own, and stays so: the call closes it and opens it again in one
        // step. A handler that runs in between writes to either of the two, and its count is read below.
        let done =
            unsafe { libc::dup3(writable.as_raw_fd(), self.shared.writable.as_raw_fd(), libc::O_CLOEXEC) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        self.readable = readable;
        self.shared.process.settle();
        self.collect_now();
        Ok(())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // The fallback first: a signal in between is handled, if twice.
        LISTENERS.fetch_sub(1, Ordering::AcqRel);
        self.shared.used.store(false, Ordering::Release);
        let ids = std::mem::take(&mut self.handlers.ids);
        if self.handlers.process.is_copy() {
            let process = std::mem::replace(&mut self.handlers.process, Process::current());
            spare().push((Arc::clone(&self.shared), Handlers { ids, process }));
            return;
        }
        for handler in ids {
            unregister(handler);
        }
    }
}

/// How many interrupts there were. When a read has returned what was typed after a Ctrl-C, the signal has been handled: the
/// kernel sends it before it takes the next key, and a signal runs its handler when the read returns.
pub(super) fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Acquire)
}

fn spare() -> MutexGuard<'static, Vec<(Arc<Shared>, Handlers)>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers, once in a process, the action while no reactor wants signals, and the action that always applies.
fn register_fallback() -> io::Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::replace(&mut *done, true) {
        return Ok(());
    }
    for signal in REPORTED.into_iter().chain(DEFAULT_ACTION) {
        if is_ignored(signal)? {
            continue;
        }
        let always = DEFAULT_ACTION.contains(&signal);
        let action = move || {
            if signal == SIGTSTP {
                stop::now();
            } else if always || LISTENERS.load(Ordering::Acquire) == 0 {
                restore::now();
                let _ = emulate_default_handler(signal);
            }
        };
        // SAFETY: the action uses only atomics and system calls, which are allowed in signal handlers.
        unsafe { register(signal, action) }?;
    }
    Ok(())
}

/// Ignores signals for the rest of the process, whatever their default action is. It has to be done before a reactor
/// reports signals, which leaves ignored ones alone.
pub fn ignore(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: to ignore a signal has no precondition. It fails for numbers that are no signals, or cannot be ignored.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Whether the parent wants the signal ignored, as nohup(1) does. So it stays ignored.
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
