//! The timer that makes short waits exact: one for each port, made by the first wait that needs it.
//!
//! `GetQueuedCompletionStatusEx` ends at the first tick of the clock after its time-out, up to 15.6 ms late. A
//! high-resolution timer (Windows 10 1803 and later) is exact to about half a millisecond. It is bridged into the port
//! by `RegisterWaitForSingleObject`, once for its life: it resets itself when the wait sees it, and sends a packet each
//! time it goes off. Where the system has none, waits stay coarse.
//!
//! Microsoft Learn: "CreateWaitableTimerExW", "SetWaitableTimer", "RegisterWaitForSingleObject".

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateWaitableTimerExW, INFINITE, RegisterWaitForSingleObject,
    SetWaitableTimer, TIMER_ALL_ACCESS, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
};

use super::super::Fault;
use super::super::arrivals::Key;
use super::port::{Port, last_error};

/// Most reactors need a timer, but not all.
#[derive(Default)]
pub(super) enum LazyTimer {
    #[default]
    Unmade,
    Made(Timer),
    /// The system has no such timers.
    Missing,
}

impl LazyTimer {
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, LazyTimer::Missing)
    }

    /// Sets the timer to go off once, after this time, and makes it if it is the first. False if that fails.
    pub(super) fn set(&mut self, after_ns: u64, port: &Arc<Port>, calls: &mut u64) -> bool {
        if let LazyTimer::Unmade = self {
            *calls += 2;
            *self = match Timer::new(port) {
                Ok(timer) => LazyTimer::Made(timer),
                Err(fault) => {
                    let error = fault.to_io();
                    tracing::debug!(target: "dolmen", %error, "no exact timers: waits end with the clock's tick");
                    LazyTimer::Missing
                }
            };
        }
        let LazyTimer::Made(timer) = self else { return false };
        *calls += 1;
        timer.set(after_ns).is_ok()
    }
}

pub(super) struct Timer {
    timer: OwnedHandle,
    wait: HANDLE,
    /// `None` only while it is dropped.
    port: Option<Arc<Port>>,
}

impl Timer {
    fn new(port: &Arc<Port>) -> Result<Timer, Fault> {
        // SAFETY: no pointers but null ones, which mean "no attributes" and "no name".
        let timer = unsafe {
            CreateWaitableTimerExW(null(), null(), CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_ALL_ACCESS)
        };
        if timer.is_null() {
            return Err(last_error());
        }
        // SAFETY: the handle was just made and only we have it.
        let timer = unsafe { OwnedHandle::from_raw_handle(timer) };
        let port = Arc::clone(port);
        let mut wait = null_mut();
        // SAFETY: the callback gets a pointer to the port, which is kept until the wait is unregistered, in `drop`,
        // which waits for a running callback.
        let registered = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                timer.as_raw_handle(),
                Some(fired),
                Arc::as_ptr(&port).cast::<c_void>(),
                INFINITE,
                WT_EXECUTEINWAITTHREAD,
            )
        };
        if registered == 0 {
            return Err(last_error());
        }
        Ok(Timer { timer, wait, port: Some(port) })
    }

    /// Sets it to go off once, after this time.
    fn set(&self, after_ns: u64) -> Result<(), Fault> {
        // In units of 100 ns; negative: from now. Rounded up: if it goes off early it is set again.
        let due = -(i64::try_from(after_ns.div_ceil(100)).unwrap_or(i64::MAX));
        // SAFETY: the handle is open, `due` readable, and there is no completion routine.
        let set = unsafe { SetWaitableTimer(self.timer.as_raw_handle(), &due, 0, None, null(), 0) };
        if set == 0 { Err(last_error()) } else { Ok(()) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: `wait` is a registration of ours, and this is its only end. INVALID_HANDLE_VALUE makes the call wait
        // for a callback that is still running; callbacks never wait for us.
        if unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) } == 0 {
            tracing::error!(target: "dolmen", error = %last_error().to_io(), "cannot end a registered wait");
            // The callback may still run.
            std::mem::forget(self.port.take());
        }
    }
}

/// Runs in a thread of the system's pool.
unsafe extern "system" fn fired(port: *mut c_void, _timed_out: bool) {
    // SAFETY: the port outlives the registration; see `Timer::new`. It may be used from any thread.
    let port = unsafe { &*port.cast::<Port>() };
    // If the kernel is out of memory, the wait ends by its own time-out, late.
    let _ = port.post(Key::Alarm, null_mut());
}
