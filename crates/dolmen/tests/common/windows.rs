//! Windows objects for the tests.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE};
use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

/// When an event is reset.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Manual,
    /// By the wait that finds it set.
    Auto,
}

/// An event, not set.
pub fn event(reset: Reset) -> OwnedHandle {
    // SAFETY: no pointers but null ones, which mean "no attributes" and "no name".
    let event = unsafe { CreateEventW(null(), i32::from(reset == Reset::Manual), 0, null()) };
    assert!(!event.is_null(), "{}", std::io::Error::last_os_error());
    // SAFETY: the handle was just made and has no other owner.
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
    // Queries each value that a handle of so small a process may have, because Wine reports no total. Handles are
    // multiples of four, and the system issues low ones first.
    let is_open = |value: &usize| {
        let mut flags = 0;
        // SAFETY: queries a value, whatever it is; `flags` is writable.
        unsafe { GetHandleInformation(*value as HANDLE, &mut flags) != 0 }
    };
    (4..80_000).step_by(4).filter(is_open).count()
}
