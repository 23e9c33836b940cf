//! Console control events as console input.
//!
//! The system calls a handler in a thread that it creates for the event. For the closing of the console, log-off and
//! shutdown the system ends the process when the handler returns, so the handler waits: the program has the time that
//! the system allows, and ends by itself before.
//!
//! What arrives depends on the process. A service gets the shutdown, with more time than other processes, and the log-off
//! of *any* user, which is no reason to end. A process that has loaded `user32.dll` or `gdi32.dll` gets neither: it is a
//! desktop program to the system, which sends messages to its windows instead. `AllocConsole`, `FreeConsole` and
//! `AttachConsole` forget the handlers of a process, so each registration installs the handler anew.
//!
//! Microsoft Learn: "HandlerRoutine callback function", "SetConsoleCtrlHandler", "ProcessIdToSessionId".

use std::io;
use std::os::windows::io::OwnedHandle;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, GetConsoleCP,
    SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::Win32::System::Threading::GetCurrentProcessId;

use super::restore;
use crate::console::{Inbox, Input, ShutdownReason, SignalSource};
use crate::error::{Error, ErrorKind};

/// How long the system waits for a handler of those events that end the process: of a service at shutdown, and
/// otherwise.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(20);
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(5);
/// How long before that the handler stops waiting for the program to end, so that the console is restored in time.
const RESERVE: Duration = Duration::from_millis(500);
/// A request to end that finds this many of its kind still not collected ends the process: the loop is stuck.
const MAX_UNCOLLECTED: u32 = 2;

/// The events that the handler knows; an event's place is its number in [`UNCOLLECTED`].
const KNOWN: [u32; 5] =
    [CTRL_C_EVENT, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT];

/// The inboxes that want these requests.
static LISTENERS: Mutex<Vec<Arc<Inbox>>> = Mutex::new(Vec::new());
/// Requests of each kind that no reactor has collected yet.
static UNCOLLECTED: [AtomicU32; KNOWN.len()] = [const { AtomicU32::new(0) }; KNOWN.len()];

struct Signals {
    inbox: Arc<Inbox>,
}

/// Starts to report control events.
pub(crate) fn signals(inbox: &Arc<Inbox>) -> Result<Box<dyn SignalSource<OwnedHandle>>, Error> {
    install().map_err(|error| Error::from_io(ErrorKind::Os, "catch signals", error))?;
    forget_uncollected();
    listeners().push(Arc::clone(inbox));
    Ok(Box::new(Signals { inbox: Arc::clone(inbox) }))
}

/// Puts the handler into the system's list, where it may be already, or no longer. There are two, which take turns, so that
/// one is there at every moment, and none twice.
///
/// The system may hold a lock of its own while it calls handlers, and takes it for a change of the list. So this holds no
/// lock that the handler takes.
fn install() -> io::Result<()> {
    /// Which of the two is in the list.
    static CURRENT: Mutex<usize> = Mutex::new(0);
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the handlers are functions of this program, for good.
    unsafe {
        if SetConsoleCtrlHandler(Some(HANDLERS[1 - *current]), 1) == 0 {
            return Err(io::Error::last_os_error());
        }
        // Refused if it is not there, which is as good.
        SetConsoleCtrlHandler(Some(HANDLERS[*current]), 0);
    }
    *current = 1 - *current;
    Ok(())
}

const HANDLERS: [unsafe extern "system" fn(u32) -> i32; 2] = [handler::<0>, handler::<1>];

/// Of two in the list, the system asks the second one only what the first one has declined.
unsafe extern "system" fn handler<const NUMBER: usize>(event: u32) -> i32 {
    // Two functions, although they do the same.
    std::hint::black_box(NUMBER);
    handle(event, Session::current())
}

/// What the system expects of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// A user's.
    User,
    /// The session of services, in which nobody is signed in, with a console: such as a login by ssh.
    ServicesWithConsole,
    /// A service.
    Service,
}

impl Session {
    fn current() -> Session {
        let mut session = u32::MAX;
        // SAFETY: `session` is writable; the process exists; the last call has no arguments.
        unsafe {
            match ProcessIdToSessionId(GetCurrentProcessId(), &mut session) != 0 && session == 0 {
                false => Session::User,
                true if GetConsoleCP() != 0 => Session::ServicesWithConsole,
                true => Session::Service,
            }
        }
    }
}

impl SignalSource<OwnedHandle> for Signals {
    fn handle(&self) -> io::Result<Option<OwnedHandle>> {
        Ok(None)
    }

    fn ready(&mut self) {}

    fn collected(&mut self) {
        forget_uncollected();
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        listeners().retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
    }
}

/// The loop is alive.
fn forget_uncollected() {
    UNCOLLECTED.iter().for_each(|count| count.store(0, Ordering::Release));
}

fn listeners() -> MutexGuard<'static, Vec<Arc<Inbox>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether the event was handled; if not, the system ends the process.
fn handle(event: u32, session: Session) -> i32 {
    let is_service = session == Session::Service;
    let time_left = Some(if is_service { SERVICE_TIMEOUT } else { SYSTEM_TIMEOUT });
    let shutdown = |reason, time_left| Input::Shutdown { reason, time_left };
    let input = match event {
        CTRL_C_EVENT => Input::Interrupt,
        CTRL_BREAK_EVENT => shutdown(ShutdownReason::Break, None),
        CTRL_CLOSE_EVENT => shutdown(ShutdownReason::Close, Some(SYSTEM_TIMEOUT)),
        // Some user has signed out, who is not this process's.
        CTRL_LOGOFF_EVENT if session != Session::User => return 1,
        CTRL_LOGOFF_EVENT => shutdown(ShutdownReason::LogOff, time_left),
        CTRL_SHUTDOWN_EVENT => shutdown(ShutdownReason::SystemShutdown, time_left),
        _ => return 0,
    };
    let kind = KNOWN.iter().position(|&known| known == event).unwrap_or(0);
    let listeners = listeners();
    if listeners.is_empty() || UNCOLLECTED[kind].fetch_add(1, Ordering::AcqRel) >= MAX_UNCOLLECTED {
        restore::now();
        return 0;
    }
    listeners.iter().for_each(|inbox| inbox.push(input.clone()));
    drop(listeners);
    if let Input::Shutdown { time_left: Some(time), .. } = input {
        // The end of the process ends this thread, wherever it is.
        std::thread::sleep(time.saturating_sub(RESERVE));
        restore::now();
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::mailbox::{Mailbox, NullSignal};

    /// A process has one list of handlers, and each test needs it.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn the_end_of_the_session_is_reported_with_the_time_left() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        for (event, reason) in [
            (CTRL_CLOSE_EVENT, ShutdownReason::Close),
            (CTRL_LOGOFF_EVENT, ShutdownReason::LogOff),
            (CTRL_SHUTDOWN_EVENT, ShutdownReason::SystemShutdown),
        ] {
            let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
            let _source = signals(&inbox).expect("a handler");
            // The system's thread, which must not return before the program has ended.
            let system = std::thread::spawn(move || handle(event, Session::User));
            let reported = loop {
                match inbox.pop() {
                    Some(input) => break input,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(reported, Input::Shutdown { reason, time_left: Some(Duration::from_secs(5)) });
            assert!(!system.is_finished());
        }
    }

    #[test]
    fn a_service_has_more_time_and_the_log_off_of_a_user_is_not_its_end() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        let _source = signals(&inbox).expect("a handler");
        for session in [Session::Service, Session::ServicesWithConsole] {
            assert_eq!(handle(CTRL_LOGOFF_EVENT, session), 1);
        }
        assert_eq!(inbox.pop(), None);
        let system = std::thread::spawn(move || handle(CTRL_SHUTDOWN_EVENT, Session::Service));
        let reported = loop {
            match inbox.pop() {
                Some(input) => break input,
                None => std::thread::yield_now(),
            }
        };
        let (reason, time_left) = (ShutdownReason::SystemShutdown, Some(Duration::from_secs(20)));
        assert_eq!(reported, Input::Shutdown { reason, time_left });
        assert!(!system.is_finished());
    }

    #[test]
    fn requests_are_reported_and_the_third_uncollected_one_of_a_kind_is_left_to_the_system() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        let mut source = signals(&inbox).expect("a handler");
        for _ in 0..3 {
            assert_eq!(
                (handle(CTRL_C_EVENT, Session::User), handle(CTRL_BREAK_EVENT, Session::User)),
                (1, 1)
            );
            assert_eq!(inbox.pop(), Some(Input::Interrupt));
            let reason = ShutdownReason::Break;
            assert_eq!(inbox.pop(), Some(Input::Shutdown { reason, time_left: None }));
            source.collected();
        }
        // Two of each kind wait, and the third of a kind is one too many.
        let both = || (handle(CTRL_C_EVENT, Session::User), handle(CTRL_BREAK_EVENT, Session::User));
        assert_eq!([both(), both(), both()], [(1, 1), (1, 1), (0, 0)]);
        drop(source);
        assert_eq!(handle(CTRL_C_EVENT, Session::User), 0, "no inbox wants it any more");
    }

    #[test]
    fn each_registration_installs_the_handler_which_the_system_may_have_forgotten() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        for _ in 0..4 {
            drop(signals(&inbox).expect("a handler"));
            // As FreeConsole does.
            // SAFETY: removes functions from a list.
            let removed = HANDLERS.map(|handler| unsafe { SetConsoleCtrlHandler(Some(handler), 0) });
            assert_eq!(removed.iter().sum::<i32>(), 1, "one of the two was there: {removed:?}");
            // SAFETY: as above.
            let again = HANDLERS.map(|handler| unsafe { SetConsoleCtrlHandler(Some(handler), 0) });
            assert_eq!(again, [0, 0], "once");
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_the_system() {
        assert_eq!(handle(99, Session::User), 0);
    }
}
