//! The subject of the simulation: the reactor, or the C library on top of it.

use std::fmt::Debug;

use dolmen::sim::{self, Failure, Oracle, Report, console_host, crew};
use io_reactor::sim as c_sim;

/// Something that runs random programs, one for each seed.
pub trait Subject {
    /// A step of its programs.
    type Action: Clone + Debug;
    /// A rare branch.
    type Mark: Copy + Debug;
    /// The command that runs it.
    const COMMAND: &'static str;
    /// Its oracles.
    const ORACLES: &'static [Oracle];

    /// The program of a seed.
    fn program(seed: u64) -> Vec<Self::Action>;

    /// Runs a program.
    ///
    /// # Errors
    ///
    /// The finding of the first oracle that detects one.
    fn run(seed: u64, actions: &[Self::Action], oracles: &[Oracle]) -> Result<Report, Failure>;

    /// A shorter program that fails by the same oracle.
    fn shrink(
        seed: u64,
        actions: Vec<Self::Action>,
        oracles: &[Oracle],
        failure: &Failure,
    ) -> Vec<Self::Action>;

    /// How often this thread has hit each mark.
    fn marks() -> Vec<(Self::Mark, u64)>;

    /// The names of its deliberate bugs.
    #[cfg(dolmen_mutants)]
    fn mutants() -> Vec<String>;

    /// The bugs that only a memory checker detects reliably.
    #[cfg(dolmen_mutants)]
    const FOR_MEMORY_TOOLS: &'static [&'static str];

    /// Switches one on in this thread.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    #[cfg(dolmen_mutants)]
    fn activate(name: &str);
}

macro_rules! subject {
    ($(#[$doc:meta])* $name:ident, $sim:ident, $command:literal, $oracles:expr, $for_memory_tools:expr, $mutants:expr, $activate:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Subject for $name {
            type Action = $sim::Action;
            type Mark = $sim::Mark;
            const COMMAND: &'static str = $command;
            const ORACLES: &'static [Oracle] = $oracles;

            fn program(seed: u64) -> Vec<$sim::Action> {
                $sim::program(seed)
            }

            fn run(seed: u64, actions: &[$sim::Action], oracles: &[Oracle]) -> Result<Report, Failure> {
                $sim::run(seed, actions, oracles)
            }

            fn shrink(
                seed: u64,
                actions: Vec<$sim::Action>,
                oracles: &[Oracle],
                failure: &Failure,
            ) -> Vec<$sim::Action> {
                $sim::shrink(seed, actions, oracles, failure)
            }

            fn marks() -> Vec<($sim::Mark, u64)> {
                $sim::marks()
            }

            #[cfg(dolmen_mutants)]
            fn mutants() -> Vec<String> {
                $mutants
            }

            #[cfg(dolmen_mutants)]
            const FOR_MEMORY_TOOLS: &'static [&'static str] = $for_memory_tools;

            #[cfg(dolmen_mutants)]
            fn activate(name: &str) {
                $activate(name)
            }
        }
    };
}

subject! {
    /// The reactor.
    Reactor, sim, "cargo xtask sim", Oracle::ALL, &["FreeBufferAtCancel", "RecycleAtCancel"],
    names(sim::Mutant::ALL),
    |name| sim::activate(Some(find(sim::Mutant::ALL, name).expect("a bug's name")))
}

subject! {
    /// The C library.
    CLibrary, c_sim, "cargo xtask sim --c", c_sim::ORACLES, &[],
    names(c_sim::Mutant::ALL).into_iter().chain(OF_THE_REACTOR.map(String::from)).collect(),
    |name| match find(c_sim::Mutant::ALL, name) {
        Some(mutant) => c_sim::activate(Some(mutant)),
        None => sim::activate(Some(find(sim::Mutant::ALL, name).expect("a bug's name"))),
    }
}

subject! {
    /// The reader of lines over a simulated console host of Windows.
    ConsoleReader, console_host, "cargo xtask sim --console", console_host::ORACLES, &[],
    names(console_host::Mutant::ALL),
    |name| console_host::activate(Some(find(console_host::Mutant::ALL, name).expect("a bug's name")))
}

subject! {
    /// A crew of reactors.
    Crew, crew, "cargo xtask sim --crew", crew::ORACLES, &[],
    names(crew::Mutant::ALL),
    |name| crew::activate(Some(find(crew::Mutant::ALL, name).expect("a bug's name")))
}

/// Bugs of the reactor that the C library's programs have to detect as well.
#[cfg(dolmen_mutants)]
const OF_THE_REACTOR: [&str; 4] =
    ["TrustOldReadiness", "UngatedReceive", "EndlessAfterFailure", "WrittenTwice"];

#[cfg(dolmen_mutants)]
fn names<M: Debug>(mutants: &[M]) -> Vec<String> {
    mutants.iter().map(|mutant| format!("{mutant:?}")).collect()
}

#[cfg(dolmen_mutants)]
fn find<M: Copy + Debug>(mutants: &[M], name: &str) -> Option<M> {
    mutants.iter().copied().find(|known| format!("{known:?}") == name)
}
