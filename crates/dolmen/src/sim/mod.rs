//! Random programs over the simulated kernel, and the oracles that check them. For this crate's own tests.
//!
//! A run is a function of its seed: the seed determines the program (a list of [`Action`](program::Action)s), the
//! machine's faults and every decision in between. [`run`] runs a program; [`shrink`] finds a shorter program that
//! fails as well.

#[cfg(test)]
mod cases;
pub mod console_host;
pub mod crew;
mod echo;
mod fake_console;
#[cfg_attr(not(test), allow(dead_code))] // The scenarios use all of it, `echo` little.
mod fixture;
mod machine;
mod model;
mod program;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(dolmen_mutants)]
pub use crate::kernel::sim::mutants::Mutant;
pub use crate::kernel::sim::rng::Rng;
pub use crate::marks::Mark;
pub use echo::{Cost, Echo};
pub use machine::{Found, KernelWaits, LinkState, Machine, Object, SimReactor, SuspendedFaults};
pub use model::bytes as stream_bytes;
pub use program::{Action, shrink as shrink_program};

/// The check that detects a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// The assertions on both sides of every hand-over: exactly one packet for each pending operation.
    Ownership,
    /// The bytes received are the bytes sent, on both ends.
    Stream,
    /// The bytes of an event stay unchanged until the next wait, and are not shared with another event.
    Buffers,
    /// End of stream once, `Closed` once and last, failures reported once.
    Order,
    /// No events for removed registrations; no effect of an id that has expired.
    Stale,
    /// Queues and batches keep their bounds.
    Bounds,
    /// Timers and timeouts: never early, never forgotten.
    Time,
    /// Every source gets a turn.
    Fairness,
    /// No turn without need.
    Spin,
    /// Posts and wakes: all of them, in order.
    Posts,
    /// When the run has become calm, nothing remains undelivered.
    Liveness,
    /// When all is closed, nothing is left.
    Empty,
}

impl Oracle {
    /// All oracles for a reactor.
    pub const ALL: &[Oracle] = &[
        Oracle::Ownership,
        Oracle::Stream,
        Oracle::Order,
        Oracle::Stale,
        Oracle::Bounds,
        Oracle::Time,
        Oracle::Fairness,
        Oracle::Spin,
        Oracle::Posts,
        Oracle::Liveness,
        Oracle::Empty,
    ];
}

/// A failed run.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The oracle that detected it.
    pub oracle: Oracle,
    /// The details.
    pub message: String,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Actions run.
    pub actions: usize,
    /// Events received.
    pub events: u64,
}

/// The program of a seed.
pub fn program(seed: u64) -> Vec<Action> {
    program::generate(seed)
}

/// Runs the actions on the machine of `seed`. Only the listed oracles apply.
///
/// # Errors
///
/// The failure that an oracle detected first.
pub fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    catch(oracles, || model::run(seed, actions, oracles))
}

/// Runs a test in which a panic is a failure.
///
/// # Errors
///
/// The failure that it returned, or its panic.
pub fn catch(oracles: &[Oracle], run: impl FnOnce() -> Result<Report, Failure>) -> Result<Report, Failure> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            match oracles.contains(&Oracle::Ownership) {
                true => Err(Failure { oracle: Oracle::Ownership, message }),
                false => Ok(Report::default()),
            }
        }
    }
}

/// Finds a shorter program that fails by the same oracle.
pub fn shrink(seed: u64, actions: Vec<Action>, oracles: &[Oracle], failure: &Failure) -> Vec<Action> {
    program::shrink(actions, |candidate| {
        run(seed, candidate, oracles).is_err_and(|found| found.oracle == failure.oracle)
    })
}

/// How often this thread has hit each coverage mark.
pub fn marks() -> Vec<(Mark, u64)> {
    crate::marks::counts::hits()
}

/// Switches a deliberate bug on in this thread, or all off.
#[cfg(dolmen_mutants)]
pub fn activate(mutant: Option<Mutant>) {
    crate::kernel::sim::mutants::activate(mutant);
}
