//! Random programs for a [`Crew`](crate::Crew), on one thread.
//!
//! The game's dispatcher and the members are those of the product, over engines of one simulated machine. A member's thread is
//! a value that is stepped: it waits only where its wait would return, so one that no one has woken sleeps, whatever waits
//! for it. The queues are the product's, and delays come from the order of the steps: a member, or the game, is not
//! stepped for a while. Between the two halves of a step (the wait, and what follows) the others act, and so they do
//! between the events of the game's round.
//!
//! * `environment.rs`: what a thread finds around it; streams cross as tickets
//! * `codec.rs`: a codec that does what codecs may do, and its witness
//! * `member.rs`: a member's thread, in steps
//! * `model/`: the game, the peers, and what the crew promises
//! * `program.rs`: the steps

mod codec;
mod environment;
mod member;
mod model;
pub(crate) mod mutants;
mod program;
mod witness;

use crate::marks::marks;
use crate::sim::{Failure, Oracle, Report, catch, shrink_program};
#[cfg(dolmen_mutants)]
pub use mutants::Mutant;
pub use program::{Action, program};

marks! {
    /// A rare branch of the crew's programs.
    Mark {
        /// A reply was refused because too much was on its way.
        ReplyRefused,
        /// There was room again.
        RoomReported,
        /// A member's messages waited for room in the game's queue.
        MessagesWaited,
        /// The same on the game's thread.
        MessagesWaitedHere,
        /// A codec has closed, and left what it holds back to the flush before that.
        ClosedHolding,
        /// A codec's flush has waited for the end of the game's round.
        FlushWaited,
        /// The game has waited after it had done something on its own thread between two rounds.
        ActedBetweenRounds,
        /// The game has waited with its round open.
        RoundLeftOpen,
        /// The game has left events of a round for the next one.
        RoundLeftEarly,
        /// A connection was served on the game's thread.
        ServedLocally,
        /// A member has failed with several connections.
        SeveralOrphans,
        /// A member has failed while newcomers were on their way to it.
        NewcomerLost,
        /// A retiring member has failed.
        RetiringFailed,
        /// A member could not be started.
        StartFailed,
        /// A newcomer was refused, as the members have failed.
        NewcomerRefused,
        /// A member's reactor has refused a connection.
        AddRefused,
        /// A connection was closed with messages on their way.
        ClosedWithMessages,
        /// A connection was reset while it was closing.
        AbortedClosing,
        /// A surplus member has ended while the others went on.
        MemberRetired,
        /// The crew was dropped with connections.
        DroppedWithLinks,
        /// A close was cut short because the peer did not read.
        LingerExpired,
        /// A deadline has expired.
        DeadlineExpired,
    }
}

/// The oracles of these programs.
pub const ORACLES: &[Oracle] = &[
    Oracle::Ownership,
    Oracle::Stream,
    Oracle::Order,
    Oracle::Stale,
    Oracle::Bounds,
    Oracle::Time,
    Oracle::Fairness,
    Oracle::Liveness,
    Oracle::Empty,
];

/// Runs the actions with the crew of `seed`. Only the listed oracles apply.
///
/// # Errors
///
/// The finding of the first oracle that detects one.
pub fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    catch(oracles, || model::run(seed, actions, oracles))
}

/// Finds a shorter program that fails by the same oracle.
pub fn shrink(seed: u64, actions: Vec<Action>, oracles: &[Oracle], failure: &Failure) -> Vec<Action> {
    shrink_program(actions, |candidate| {
        run(seed, candidate, oracles).is_err_and(|found| found.oracle == failure.oracle)
    })
}

/// How often this thread has hit each coverage mark.
pub fn marks() -> Vec<(Mark, u64)> {
    counts::hits()
}

/// Switches a deliberate bug on in this thread, or all off.
#[cfg(dolmen_mutants)]
pub fn activate(mutant: Option<Mutant>) {
    mutants::activate(mutant);
}
