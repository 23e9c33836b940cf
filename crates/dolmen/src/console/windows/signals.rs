//! Console control events as console input.
//!
//! The system calls a handler in a thread that it creates for the event. For the closing of the console, log-off and
//! shutdown the system ends the process when the handler returns, so the handler waits: the program has the time that
//! the system allows, and ends by itself before.
//!
//! Microsoft Learn: "HandlerRoutine callback function", "SetConsoleCtrlHandler".

use std::io;
use std::os::windows::io::OwnedHandle;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};

use super::restore;
use crate::console::{Inbox, Input, ShutdownReason, SignalSource};
use crate::error::{Error, ErrorKind};

/// How long the system waits for a handler of those events that end the process.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(5);
/// When the handler stops waiting for the program to end, so that the console is restored in time.
const HANDLER_TIMEOUT: Duration = Duration::from_millis(4500);
/// A request to end that finds this many still not collected ends the process: the loop is stuck.
const MAX_UNCOLLECTED: u32 = 2;

/// The inboxes that want these requests.
static LISTENERS: Mutex<Vec<Arc<Inbox>>> = Mutex::new(Vec::new());
/// Requests that no reactor has collected yet.
static WAITING: AtomicU32 = AtomicU32::new(0);

struct Signals {
    inbox: Arc<Inbox>,
}

/// Starts to report control events.
pub(crate) fn signals(inbox: &Arc<Inbox>) -> Result<Box<dyn SignalSource<OwnedHandle>>, Error> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    let mut listeners = listeners();
    if !INSTALLED.load(Ordering::Acquire) {
        // SAFETY: the handler is a function of this program, for good.
        if unsafe { SetConsoleCtrlHandler(Some(handler), 1) } == 0 {
            let error = io::Error::last_os_error();
            return Err(Error::from_io(ErrorKind::Os, "catch signals", error));
        }
        INSTALLED.store(true, Ordering::Release);
    }
    WAITING.store(0, Ordering::Release);
    listeners.push(Arc::clone(inbox));
    Ok(Box::new(Signals { inbox: Arc::clone(inbox) }))
}

impl SignalSource<OwnedHandle> for Signals {
    fn handle(&self) -> io::Result<Option<OwnedHandle>> {
        Ok(None)
    }

    fn ready(&mut self) {}

    fn collected(&mut self) {
        WAITING.store(0, Ordering::Release);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        listeners().retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
    }
}

fn listeners() -> MutexGuard<'static, Vec<Arc<Inbox>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether the event was handled; if not, the system ends the process.
unsafe extern "system" fn handler(event: u32) -> i32 {
    let (input, ends) = match event {
        CTRL_C_EVENT => (Input::Interrupt, false),
        CTRL_BREAK_EVENT => (Input::Shutdown { reason: ShutdownReason::Break, time_left: None }, false),
        CTRL_CLOSE_EVENT => (ending(ShutdownReason::Close), true),
        CTRL_LOGOFF_EVENT => (ending(ShutdownReason::LogOff), true),
        CTRL_SHUTDOWN_EVENT => (ending(ShutdownReason::SystemShutdown), true),
        _ => return 0,
    };
    let listeners = listeners();
    if listeners.is_empty() || WAITING.fetch_add(1, Ordering::AcqRel) >= MAX_UNCOLLECTED {
        restore::now();
        return 0;
    }
    listeners.iter().for_each(|inbox| inbox.push(input.clone()));
    drop(listeners);
    if ends {
        // The end of the process ends this thread, wherever it is.
        std::thread::sleep(HANDLER_TIMEOUT);
        restore::now();
    }
    1
}

fn ending(reason: ShutdownReason) -> Input {
    Input::Shutdown { reason, time_left: Some(SYSTEM_TIMEOUT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::mailbox::{Mailbox, NullSignal};

    /// A process has one handler, and each test needs it.
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
            // SAFETY: the handler may run in any thread.
            let system = std::thread::spawn(move || unsafe { handler(event) });
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
    fn requests_are_reported_and_the_third_uncollected_one_is_left_to_the_system() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        let mut source = signals(&inbox).expect("a handler");
        // SAFETY: the handler may run in any thread, and waits for nothing with these.
        let asked = |event| unsafe { handler(event) };
        for _ in 0..3 {
            assert_eq!((asked(CTRL_C_EVENT), asked(CTRL_BREAK_EVENT)), (1, 1));
            assert_eq!(inbox.pop(), Some(Input::Interrupt));
            let reason = ShutdownReason::Break;
            assert_eq!(inbox.pop(), Some(Input::Shutdown { reason, time_left: None }));
            source.collected();
        }
        assert_eq!((asked(CTRL_C_EVENT), asked(CTRL_C_EVENT), asked(CTRL_C_EVENT)), (1, 1, 0));
        drop(source);
        assert_eq!(asked(CTRL_C_EVENT), 0, "no inbox wants it any more");
    }

    #[test]
    fn what_is_not_known_is_left_to_the_system() {
        // SAFETY: as above.
        assert_eq!(unsafe { handler(99) }, 0);
    }
}
