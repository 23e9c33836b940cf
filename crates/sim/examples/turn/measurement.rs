//! The turns and what is measured of them.

use std::process::ExitCode;

use counting::{ALLOCATIONS, Counting, LIVE_BYTES};
use dolmen::sim::Echo;

#[path = "../../../dolmen/tests/common/counting.rs"]
mod counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counted code, under a name that tools find.
#[inline(never)]
fn turns(echo: &mut Echo, count: u64) {
    echo.rounds(count);
}

/// Runs the program.
pub fn run_command_line() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|argument| argument.parse().ok()).collect();
    let Some([idle, count]) = numbers.as_deref() else {
        eprintln!("usage: turn CONNECTIONS TURNS");
        return ExitCode::from(2);
    };
    let mut echo = Echo::new(1, true, 256);
    let before = LIVE_BYTES.get();
    echo.idle(*idle as usize);
    let bytes = (LIVE_BYTES.get() - before) / (*idle).max(1) as i64;
    // The first turns make everything that new connections make once.
    echo.rounds(20);
    let before = ALLOCATIONS.get();
    turns(&mut echo, *count);
    let allocations = ALLOCATIONS.get() - before;
    println!("allocations\t{allocations}\nbytes\t{bytes}");
    // Removing all of them is not part of the measurement, and the simulated kernel is slow at it.
    std::mem::forget(echo);
    ExitCode::SUCCESS
}
