//! Random programs of calls over a simulated machine, with either contract of sockets, and a model of the header that
//! checks them. For tests of this library itself.
//!
//! A run is a function of its seed, as in [`dolmen::sim`], which provides oracles, findings and shrinking. The calls
//! enter where those of C programs do, after the check of the reactor's pointer.

mod buffers;
mod model;
pub(crate) mod mutants;
mod platform;
mod program;
mod stdin;

use dolmen::sim::{Failure, Oracle, Report, catch, shrink_program};

pub use crate::marks::Mark;
#[cfg(dolmen_mutants)]
pub use mutants::Mutant;
pub use program::{Action, ExternalAction};

use platform::{Posix, Windows};

/// The oracles for the C library.
pub const ORACLES: &[Oracle] = &[
    Oracle::Ownership,
    Oracle::Stream,
    Oracle::Buffers,
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

/// The program of a seed.
pub fn program(seed: u64) -> Vec<Action> {
    program::generate(seed)
}

/// Whether the machine of a seed has the contract of Windows. The others have that of POSIX.
pub fn is_windows(seed: u64) -> bool {
    seed % 2 == 1
}

/// Runs the actions on the machine of `seed`. Only the listed oracles report failures.
///
/// # Errors
///
/// The finding of the first oracle that detects one.
pub fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    catch(oracles, || match is_windows(seed) {
        true => model::run::<Windows>(seed, actions, oracles),
        false => model::run::<Posix>(seed, actions, oracles),
    })
}

/// A shorter program that fails by the same oracle.
pub fn shrink(seed: u64, actions: Vec<Action>, oracles: &[Oracle], failure: &Failure) -> Vec<Action> {
    shrink_program(actions, |candidate| {
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
    mutants::activate(mutant);
}
