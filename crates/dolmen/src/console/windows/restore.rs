//! Restores the console's mode whenever the process ends.
//!
//! `std::process::exit` is `ExitProcess` here, which runs no destructors and none of the C library's `atexit`
//! functions. But it runs the TLS callbacks of the image, and so does every other orderly end. Wine leaves those out,
//! and runs the callbacks of fiber-local storage: so there is one for the reactor's thread. The end of that thread alone
//! also runs it, and restores nothing: the reactor may have moved to another thread.
//!
//! Microsoft Learn: "PE Format", section ".tls", "ExitProcess", "FlsAlloc function".

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use windows_sys::Win32::System::Console::{CONSOLE_MODE, SetConsoleMode};
use windows_sys::Win32::System::Threading::{FlsAlloc, FlsSetValue};

/// The console whose mode will be restored, or null.
static CONSOLE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static MODE: AtomicU32 = AtomicU32::new(0);
/// The number of the guard that was made last: the others have nothing to restore.
static GUARD: AtomicU64 = AtomicU64::new(0);

/// From here to its drop the console's mode will be restored at any end [hc30].
pub(super) struct Guard {
    _console: OwnedHandle,
    number: u64,
}

impl Guard {
    pub(super) fn new(console: &OwnedHandle, mode: CONSOLE_MODE) -> std::io::Result<Guard> {
        static SLOT: OnceLock<u32> = OnceLock::new();
        let console = console.try_clone()?;
        // SAFETY: the callback is a function of this program and does not use the value, which is there because the
        // callback runs only for threads that have one. If there is no slot left, the other ways remain.
        unsafe {
            let slot = *SLOT.get_or_init(|| FlsAlloc(Some(on_thread_end)));
            FlsSetValue(slot, std::ptr::from_ref(&CONSOLE).cast());
        }
        let number = GUARD.fetch_add(1, Ordering::AcqRel) + 1;
        MODE.store(mode, Ordering::Relaxed);
        CONSOLE.store(console.as_raw_handle(), Ordering::Release);
        Ok(Guard { _console: console, number })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if GUARD.load(Ordering::Acquire) == self.number {
            now();
            CONSOLE.store(null_mut(), Ordering::Release);
        }
    }
}

/// Restores the mode that a guard protects.
pub(super) fn now() {
    let console = CONSOLE.load(Ordering::Acquire);
    if !console.is_null() {
        // SAFETY: the handle is open while `CONSOLE` holds it. A control handler that has read it just before a guard's
        // drop may use a number that is closed, which is refused, or another handle, which is no console.
        unsafe { SetConsoleMode(console, MODE.load(Ordering::Relaxed)) };
    }
}

unsafe extern "system" fn on_thread_end(_value: *const c_void) {
    // SAFETY: the function only reads a flag of the process.
    if unsafe { RtlDllShutdownInProgress() } != 0 {
        now();
    }
}

#[link(name = "ntdll")]
unsafe extern "system" {
    /// Whether the process is ending.
    fn RtlDllShutdownInProgress() -> u8;
}

/// The loader calls this when the process starts and ends, and likewise for threads.
unsafe extern "system" fn on_event(_image: *mut c_void, reason: u32, _reserved: *mut c_void) {
    const DLL_PROCESS_DETACH: u32 = 0;
    if reason == DLL_PROCESS_DETACH {
        now();
    }
}

/// Between the sections that the C library puts at both ends of the list. The linker keeps it together with [`Guard`]'s
/// module, as long as any part of that is linked in.
#[used]
#[unsafe(link_section = ".CRT$XLM")]
static ON_EVENT: unsafe extern "system" fn(*mut c_void, u32, *mut c_void) = on_event;
