//! Work of a known amount, for the scenarios in which a message costs some.

use std::hint::black_box;

/// Does so many steps of work, each of which needs the one before.
pub fn run(steps: u64) {
    let mut state = black_box(88_172_645_463_325_252_u64);
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
}

/// How many steps take a microsecond of processor time. All servers of one run do the same steps, whatever disturbs the
/// machine meanwhile.
#[cfg(target_os = "linux")]
pub fn steps_of_a_microsecond() -> f64 {
    const STEPS: u64 = 2_000_000;
    let seconds = (0..9).map(|_| {
        let before = crate::system::thread_cpu_seconds();
        run(STEPS);
        crate::system::thread_cpu_seconds() - before
    });
    STEPS as f64 / 1e6 / seconds.fold(f64::INFINITY, f64::min)
}
