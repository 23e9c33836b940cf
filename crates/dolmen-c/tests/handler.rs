//! What a signal handler may call: it has interrupted its thread anywhere, also inside the allocator, so the call neither
//! allocates nor frees. `tests/c/table.c` calls it from a handler; here the allocator counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

use io_reactor::{
    async_runtime_wakeup, io_reactor_add, io_reactor_create, io_reactor_destroy, io_reactor_last_error,
    io_reactor_t, io_reactor_wakeup,
};

/// The system's, which counts what a thread asks of it.
struct Counting;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

fn count() {
    // Not while the thread ends.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's guarantees are those of the system's allocator; so below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls_of(body: impl FnOnce()) -> u32 {
    let before = CALLS.get();
    body();
    CALLS.get() - before
}

#[test]
fn a_wakeup_does_not_allocate_and_leaves_the_last_error() {
    let wakes: [unsafe extern "C" fn(*mut io_reactor_t) -> c_int; 2] =
        [io_reactor_wakeup, async_runtime_wakeup];
    let reactor = io_reactor_create();
    assert!(!reactor.is_null());
    // SAFETY: NULL is allowed.
    let refused = || unsafe { io_reactor_add(null_mut(), 0, null_mut(), 0) };
    assert!(calls_of(|| assert_eq!(refused(), -1)) > 0, "the counter counts");
    for wake in wakes {
        for _ in 0..3 {
            // SAFETY: NULL is allowed, and the reactor lives.
            assert_eq!(calls_of(|| assert_eq!(unsafe { wake(null_mut()) }, -1)), 0, "NULL");
            // SAFETY: as above.
            assert_eq!(calls_of(|| assert_eq!(unsafe { wake(reactor) }, 0)), 0, "a reactor");
        }
    }
    // SAFETY: the text is not changed before it is compared.
    let text = unsafe { CStr::from_ptr(io_reactor_last_error()) };
    assert_eq!(text, c"io_reactor_add: NULL reactor");
    // SAFETY: no one uses it any more.
    unsafe { io_reactor_destroy(reactor) };
}
