//! A turn in which one connection is served, beside as many idle ones as wanted: `turn CONNECTIONS TURNS`.
//!
//! Prints how many allocations the turns have made, and how many bytes each idle connection takes, the simulated kernel's
//! share included. Instructions are for a tool to count: the turns are in [`turns`], and nothing else is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dolmen::sim::Echo;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it came; counting neither allocates nor unwinds. The
// other methods are the trait's own and come by here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE_BYTES.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is counted, under a name that tools find.
#[inline(never)]
#[unsafe(no_mangle)]
fn turns(echo: &mut Echo, count: u64) {
    echo.rounds(count);
}

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|argument| argument.parse().ok()).collect();
    let Some([idle, count]) = numbers.as_deref() else {
        eprintln!("usage: turn CONNECTIONS TURNS");
        return ExitCode::from(2);
    };
    let mut echo = Echo::new(1, true, 256);
    let before = LIVE_BYTES.load(Relaxed);
    echo.idle(*idle as usize);
    let bytes = (LIVE_BYTES.load(Relaxed) - before) / (*idle).max(1);
    // Whatever the new ones made once is made now.
    echo.rounds(20);
    let before = ALLOCATIONS.load(Relaxed);
    turns(&mut echo, *count);
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    println!("allocations\t{allocations}\nbytes\t{bytes}");
    // Taking all of them down is not what is measured, and the simulated kernel is slow at it.
    std::mem::forget(echo);
    ExitCode::SUCCESS
}
