//! Bridges handles that cannot complete to a port into one.
//!
//! A bridge waits for a handle by `RegisterWaitForSingleObject`: a thread of the system's pool waits for up to 63 such
//! handles at a time (the system adds threads as it needs them), and runs a callback that only posts the watch
//! operation to the port. Their number has no limit, and nothing checks them at intervals.
//!
//! It is armed for one signal. An exchange on `op` decides whether that signal or a cancel comes first: the side that
//! takes the operation out of it sends its packet. So there is exactly one.
//!
//! Microsoft Learn: "RegisterWaitForSingleObject", "UnregisterWaitEx".

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
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
    /// Boxed because a registered wait knows its address; leaked if such a wait could not be ended.
    inner: ManuallyDrop<Box<Inner>>,
    /// The registration of an armed wait, until it is undone.
    wait: Cell<HANDLE>,
    /// A registration could not be ended: a callback may run at any time.
    stuck: Cell<bool>,
}

/// The data that the callback uses.
struct Inner {
    /// The armed operation, until the callback or a cancel takes it to send its packet.
    op: AtomicPtr<Operation<Iocp>>,
    port: Arc<Port>,
    handle: OwnedHandle,
}

impl Bridge {
    pub(super) fn new(handle: OwnedHandle, port: &Arc<Port>) -> Bridge {
        let inner = Inner { op: AtomicPtr::new(null_mut()), port: Arc::clone(port), handle };
        Bridge {
            inner: ManuallyDrop::new(Box::new(inner)),
            wait: Cell::new(null_mut()),
            stuck: Cell::new(false),
        }
    }

    pub(super) fn handle(&self) -> &OwnedHandle {
        &self.inner.handle
    }

    /// Arranges that the operation's packet is sent when the handle is signalled. The system's pool waits for it, in as
    /// many threads as the number of handles takes [hc20].
    pub(super) fn arm(&self, op: OpPtr<Iocp>) -> Result<(), Fault> {
        assert!(self.wait.get().is_null(), "a bridge is armed once at a time");
        self.inner.op.store(op.as_ptr(), Ordering::Release);
        let mut wait = null_mut();
        // SAFETY: the callback gets a pointer to the inside, which stays at its address (it is boxed) and alive until
        // the wait is unregistered, in `rest`, `disarm` or `drop`, each of which waits for a running callback; if that
        // fails it is never freed.
        let registered = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                self.inner.handle.as_raw_handle(),
                Some(signalled),
                std::ptr::from_ref::<Inner>(&self.inner).cast::<c_void>(),
                INFINITE,
                WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE,
            )
        };
        if registered == 0 {
            self.inner.op.store(null_mut(), Ordering::Release);
            return Err(last_error());
        }
        self.wait.set(wait);
        Ok(())
    }

    /// After the packet: ends the registration, which has served its purpose.
    pub(super) fn rest(&self) {
        let wait = self.wait.replace(null_mut());
        if wait.is_null() {
            return;
        }
        // SAFETY: `wait` is a registration of ours, and this is its only end. INVALID_HANDLE_VALUE makes the call wait
        // for a callback that is still running; callbacks never wait for us.
        if unsafe { UnregisterWaitEx(wait, INVALID_HANDLE_VALUE) } == 0 {
            tracing::error!(target: "dolmen", error = %last_error().to_io(), "cannot end a registered wait");
            self.stuck.set(true);
        }
    }

    /// Takes the operation back. Returns false if its packet is on its way.
    pub(super) fn disarm(&self) -> bool {
        self.take().is_some()
    }

    /// Takes the operation back. Returns `None` if the signal was first, so that its packet is on its way [hc04], or if
    /// nothing is armed.
    pub(super) fn take(&self) -> Option<OpPtr<Iocp>> {
        let taken = NonNull::new(self.inner.op.swap(null_mut(), Ordering::AcqRel));
        self.rest();
        taken
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.rest();
        if !self.stuck.get() {
            // SAFETY: it is not used after this, and no callback refers to it any more.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        }
    }
}

/// Runs in a thread of the system's pool.
unsafe extern "system" fn signalled(bridge: *mut c_void, _timed_out: bool) {
    // SAFETY: the inside of a bridge outlives its registration (see `arm`). Of its fields only those that may be shared
    // between threads are used: the atomic and the port.
    let (op, port) = unsafe {
        let bridge = bridge.cast::<Inner>();
        ((*bridge).op.swap(null_mut(), Ordering::AcqRel), &(*bridge).port)
    };
    if op.is_null() {
        return;
    }
    if let Err(fault) = port.post(Key::Ready, op.cast()) {
        // The kernel is out of memory. The packet must be sent, so this tries until it succeeds: this thread has
        // nothing else to do, and the watch would be dead without it.
        tracing::error!(target: "dolmen", error = %fault.to_io(), "cannot post a watch");
        while port.post(Key::Ready, op.cast()).is_err() {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::windows::io::FromRawHandle;
    use windows_sys::Win32::System::Threading::CreateEventW;

    fn event() -> OwnedHandle {
        // SAFETY: no pointers but null ones; only this test has the handle.
        unsafe { OwnedHandle::from_raw_handle(CreateEventW(std::ptr::null(), 0, 0, std::ptr::null())) }
    }

    #[test]
    fn a_bridge_whose_wait_cannot_be_ended_keeps_its_memory() {
        let port = Arc::new(Port::new().unwrap());
        drop(Bridge::new(event(), &port));
        assert_eq!(Arc::strong_count(&port), 1, "freed with everything in it");
        let bridge = Bridge::new(event(), &port);
        // As after a call that the system has refused.
        bridge.stuck.set(true);
        drop(bridge);
        assert_eq!(Arc::strong_count(&port), 2, "a callback may still use it");
    }
}
