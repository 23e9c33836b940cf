//! Random programs over the simulated kernel, and the oracles that judge them. For this crate's own tests.
//!
//! A run is a function of its seed: the seed gives the program (a list of [`Action`](program::Action)s), the machine's
//! faults and every decision in between. [`run`] carries one out; [`shrink`] finds a shorter program that fails as well.

#[cfg(test)]
mod cases;
mod desk;
mod echo;
mod machine;
mod model;
mod program;
pub(crate) mod rng;
#[cfg_attr(not(test), allow(dead_code))] // The scenes use all of it, the accounting little.
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use crate::marks::{Mark, Mutant};
pub use echo::{Cost, Echo};
pub use machine::{Found, LinkState, Machine, Object, Polls, SimReactor, SuspendedFaults};
pub use model::bytes as stream_bytes;
pub use program::{Action, shrink as shrink_program};
pub use rng::Rng;

/// What notices that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// The assertions on both sides of every hand-over: exactly one packet for each pending operation.
    Ownership,
    /// What is received is what was sent, on both ends.
    Stream,
    /// The bytes of an event stay what they are until the next wait, and are no other event's.
    Buffers,
    /// End of stream once, `Closed` once and last, failures told once.
    Order,
    /// Nothing for what was removed; nothing by an id that has had its day.
    Ghost,
    /// Queues and batches keep their bounds.
    Bounds,
    /// Timers and timeouts: never early, never forgotten.
    Time,
    /// Everybody gets a turn.
    Fairness,
    /// No turn without need.
    Spin,
    /// Posts and wakes: all of them, in order.
    Posts,
    /// When all is calm, nothing is owed to anybody.
    Liveness,
    /// When all is closed, nothing is left.
    Empty,
}

impl Oracle {
    /// All of them that judge a reactor.
    pub const ALL: &[Oracle] = &[
        Oracle::Ownership,
        Oracle::Stream,
        Oracle::Order,
        Oracle::Ghost,
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
    /// Who noticed.
    pub oracle: Oracle,
    /// What.
    pub message: String,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Actions carried out.
    pub actions: usize,
    /// Events received.
    pub events: u64,
}

/// The program of a seed.
pub fn program(seed: u64) -> Vec<Action> {
    program::generate(seed)
}

/// Runs the actions on the machine of `seed`. Only the oracles listed have a say.
///
/// # Errors
///
/// What the first oracle noticed.
pub fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    catch(oracles, || model::run(seed, actions, oracles))
}

/// Runs something in which a panic is a finding.
///
/// # Errors
///
/// What it has found, or panicked with.
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

/// A shorter program that fails by the same oracle.
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
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    crate::marks::counts::activate(mutant);
}
