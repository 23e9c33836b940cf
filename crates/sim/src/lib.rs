//! Runs many seeds of a subject and reports the outcome.
//!
//! This package is empty without `--cfg dolmen_sim`, as cargo builds it outside this folder.
#![forbid(unsafe_code)]
#![cfg(dolmen_sim)]

use std::ops::Range;
use std::time::{Duration, Instant};

use dolmen::sim::{Failure, Oracle};

mod subject;

pub use subject::{CLibrary, ConsoleReader, Crew, Reactor, Subject};

/// A seed that failed, and the shortest program found that fails in the same way.
#[derive(Debug)]
pub struct Found<A> {
    /// The seed.
    pub seed: u64,
    /// The finding.
    pub failure: Failure,
    /// The program, shortened.
    pub actions: Vec<A>,
    /// The command that replays it.
    pub command: &'static str,
}

impl<A: std::fmt::Debug> std::fmt::Display for Found<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}: {:?}: {}", self.seed, self.failure.oracle, self.failure.message)?;
        writeln!(f, "the shortest program that fails in the same way has {} steps:", self.actions.len())?;
        for action in &self.actions {
            writeln!(f, "    {action:?}")?;
        }
        write!(f, "replay with: {} --seed {}", self.command, self.seed)
    }
}

/// Runs a range of seeds, until one fails or the time is `until`. Returns how many it ran. Calls `progress` with the
/// number so far, about once a second.
///
/// # Errors
///
/// The first seed that failed.
pub fn run_seeds<S: Subject>(
    seeds: Range<u64>,
    oracles: &[Oracle],
    until: Option<Instant>,
    mut progress: impl FnMut(u64),
) -> Result<u64, Box<Found<S::Action>>> {
    let mut count = 0;
    let mut reported_at = Instant::now();
    for seed in seeds {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let actions = S::program(seed);
        if let Err(failure) = S::run(seed, &actions, oracles) {
            let actions = S::shrink(seed, actions, oracles, &failure);
            return Err(Box::new(Found { seed, failure, actions, command: S::COMMAND }));
        }
        count += 1;
        if reported_at.elapsed() >= Duration::from_secs(1) {
            reported_at = Instant::now();
            progress(count);
        }
    }
    Ok(count)
}

/// The marks that this thread has not hit.
pub fn missed_marks<S: Subject>() -> Vec<S::Mark> {
    S::marks().into_iter().filter(|&(_, hits)| hits == 0).map(|(mark, _)| mark).collect()
}

/// A panic of the code under test is a finding, reported with its seed; the usual report of each panic is noise.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
