//! Brings into the port what cannot complete to one.
//!
//! A bridge waits for a handle by `RegisterWaitForSingleObject`: a thread of the system's pool waits for up to 63 such
//! handles at a time (the system adds threads as it needs them), and runs a callback that posts the watch operation to
//! the port, and nothing else. There is no limit on how many there are, and nothing polls.
//!
//! It is armed for one signal. Whether that signal or a cancel comes first is decided by an exchange on `op`: who takes
//! the operation out of it sends its packet. So there is exactly one.
//!
//! Microsoft Learn: "RegisterWaitForSingleObject", "UnregisterWaitEx".

use std::cell::Cell;
use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
};

use super::super::Fault;
use super::super::arrivals::Key;
use super::super::operation::{OpPtr, Operation};
use super::Iocp;
use super::port::{Port, last_error};

pub(crate) struct Bridge {
    /// The armed operation, until somebody takes it to send its packet.
    op: AtomicPtr<Operation<Iocp>>,
    port: Arc<Port>,
    handle: OwnedHandle,
    /// The registration of an armed wait, until it is undone. Used by the reactor's thread only.
    wait: Cell<HANDLE>,
}

impl Bridge {
    /// Boxed because a registered wait knows its address.
    pub(super) fn new(handle: OwnedHandle, port: &Arc<Port>) -> Box<Bridge> {
        let op = AtomicPtr::new(null_mut());
        Box::new(Bridge { op, port: Arc::clone(port), handle, wait: Cell::new(null_mut()) })
    }

    /// Has the operation's packet sent when the handle is signalled.
    pub(super) fn arm(&self, op: OpPtr<Iocp>) -> Result<(), Fault> {
        assert!(self.wait.get().is_null(), "a bridge is armed once at a time");
        self.op.store(op.as_ptr(), Ordering::Release);
        let mut wait = null_mut();
        // SAFETY: the callback gets a pointer to this bridge, which stays at its address (it is boxed) and alive until
        // the wait is unregistered, in `rest`, `disarm` or `drop`, each of which waits for a running callback.
        let registered = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                self.handle.as_raw_handle(),
                Some(signalled),
                std::ptr::from_ref(self).cast::<c_void>(),
                INFINITE,
                WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE,
            )
        };
        if registered == 0 {
            self.op.store(null_mut(), Ordering::Release);
            return Err(last_error());
        }
        self.wait.set(wait);
        Ok(())
    }

    /// After the packet: ends the registration, which has done its work.
    pub(super) fn rest(&self) {
        let wait = self.wait.replace(null_mut());
        if wait.is_null() {
            return;
        }
        // SAFETY: `wait` is a registration of ours, and this is its only end. INVALID_HANDLE_VALUE makes the call wait
        // for a callback that is still running; callbacks never wait for us.
        if unsafe { UnregisterWaitEx(wait, INVALID_HANDLE_VALUE) } == 0 {
            tracing::error!(target: "io_reactor", error = %last_error().to_io(), "cannot end a registered wait");
        }
    }

    /// Takes the operation back. False when its packet is on its way.
    pub(super) fn disarm(&self) -> bool {
        self.take().is_some()
    }

    /// Takes the operation back. None when its packet is on its way, or nothing is armed.
    pub(super) fn take(&self) -> Option<OpPtr<Iocp>> {
        let taken = NonNull::new(self.op.swap(null_mut(), Ordering::AcqRel));
        self.rest();
        taken
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.rest();
    }
}

/// Runs in a thread of the system's pool.
unsafe extern "system" fn signalled(bridge: *mut c_void, _timed_out: bool) {
    // SAFETY: the bridge outlives its registration (see `arm`). Of its fields only those that may be shared between
    // threads are used: the atomic and the port.
    let (op, port) = unsafe {
        let bridge = bridge.cast::<Bridge>();
        ((*bridge).op.swap(null_mut(), Ordering::AcqRel), &(*bridge).port)
    };
    if op.is_null() {
        return;
    }
    if let Err(fault) = port.post(Key::Ready, op.cast()) {
        // Out of kernel memory. The packet is owed, so it is tried until it goes through: this thread has nothing else
        // to do, and the watch would be dead without it.
        tracing::error!(target: "io_reactor", error = %fault.to_io(), "cannot post a watch");
        while port.post(Key::Ready, op.cast()).is_err() {
            std::thread::yield_now();
        }
    }
}
