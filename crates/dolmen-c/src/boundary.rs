//! The boundary between C and Rust: no panic crosses it, and the caller can ask for the reason of a failure.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::socket_fd_t;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// Why a call has failed, in words for the operator of the program.
pub(crate) struct Failure {
    text: String,
    is_registered: bool,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), is_registered: false }
    }

    /// The socket is registered already.
    pub(crate) fn registered(fd: socket_fd_t) -> Failure {
        Failure { is_registered: true, ..Failure::new(format!("socket {fd} is registered already")) }
    }

    /// Whether the reason is that the socket is registered already.
    pub(crate) fn is_registered(&self) -> bool {
        self.is_registered
    }
}

impl From<dolmen::Error> for Failure {
    fn from(error: dolmen::Error) -> Failure {
        let is_registered = error.kind() == dolmen::ErrorKind::AlreadyRegistered;
        Failure { is_registered, ..Failure::new(dolmen::raw::cause_of(&error)) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs the body of an entry point. A failure or a panic becomes `failed`, and the last error of this thread.
///
/// Unwind safety is asserted: after a panic the reactor may be half-changed, but its memory is consistent, and every
/// later call either works or fails the same way.
pub(crate) fn guard<T>(function: &str, failed: T, body: impl FnOnce() -> Result<T, Failure>) -> T {
    let text = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => format!("{function}: {failure}"),
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().copied();
            let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let text = format!("{function}: panicked: {}", message.unwrap_or("(no message)"));
            tracing::error!(target: "io_reactor", "{text}");
            // A panic payload's own drop may panic as well, and nothing would catch that.
            std::mem::forget(panic);
            text
        }
    };
    tracing::debug!(target: "io_reactor", "{text}");
    set_last_error(text);
    failed
}

fn set_last_error(text: String) {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    // While the thread ends, its storage may have been destroyed. Then no further call in this thread asks for the
    // text. And a call that has interrupted this function, against the rules of signal handlers, does without a text:
    // it must not panic, because there is no guard around it.
    let before = LAST_ERROR.try_with(|last| Some(std::mem::replace(&mut *last.try_borrow_mut().ok()?, text)));
    // Not freed while it is borrowed.
    drop(before);
}

/// The text of the last failure in this thread; valid until the next failure.
pub(crate) fn last_error() -> *const c_char {
    let text = LAST_ERROR.try_with(|last| last.try_borrow().map(|last| last.as_ptr()).ok());
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn text() -> String {
        // SAFETY: the text of this thread, which is not changed before it is copied.
        unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_becomes_a_failure_with_its_message() {
        assert_eq!(guard("f", -1, || panic!("{} broke", "it")), -1);
        assert_eq!(text(), "f: panicked: it broke");
        assert_eq!(guard("f", -1, || std::panic::panic_any(7)), -1);
        assert_eq!(text(), "f: panicked: (no message)");
    }

    #[test]
    fn a_call_that_interrupts_another_leaves_its_text_and_does_not_panic() {
        assert_eq!(guard("f", -1, || Err(Failure::new("first"))), -1);
        LAST_ERROR.with(|last| {
            let _changing = last.borrow_mut();
            assert_eq!(guard("g", -1, || Err(Failure::new("second"))), -1);
            // SAFETY: an empty text is a static.
            assert_eq!(unsafe { CStr::from_ptr(last_error()) }, c"");
        });
        assert_eq!(text(), "f: first");
    }

    #[test]
    fn a_success_leaves_the_last_error_alone() {
        assert_eq!(guard("f", -1, || Err(Failure::new("no\0luck"))), -1);
        assert_eq!(guard("g", -1, || Ok(3)), 3);
        assert_eq!(text(), "f: no luck");
    }
}
