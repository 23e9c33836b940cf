//! Windows objects for the tests.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, GetProcessHandleCount, ResetEvent, SetEvent,
};

/// When an event is reset.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Manual,
    /// By the wait that sees it set.
    Auto,
}

/// An event, not set.
pub fn event(reset: Reset) -> OwnedHandle {
    // SAFETY: no pointers but null ones, which mean "no attributes" and "no name".
    let event = unsafe { CreateEventW(null(), i32::from(reset == Reset::Manual), 0, null()) };
    assert!(!event.is_null(), "{}", std::io::Error::last_os_error());
    // SAFETY: the handle was just made and is nobody else's.
    unsafe { OwnedHandle::from_raw_handle(event) }
}

pub fn set(event: &OwnedHandle) {
    // SAFETY: the handle is open.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

pub fn unset(event: &OwnedHandle) {
    // SAFETY: the handle is open.
    assert_ne!(unsafe { ResetEvent(event.as_raw_handle()) }, 0);
}

/// How many handles this process has.
pub fn handle_count() -> usize {
    let mut count = 0;
    // SAFETY: `count` is writable, and the other handle stands for this process.
    assert_ne!(unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) }, 0);
    count as usize
}
