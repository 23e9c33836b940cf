//! The simulation as part of every test run: seeds that once failed, a fixed set, and a few that change.
#![forbid(unsafe_code)]
#![cfg(dolmen_sim)]

use std::ops::Range;

use dolmen_sim::{CLibrary, ConsoleReader, Crew, Reactor, Subject, missed_marks, run_seeds};

/// Each of these seeds found a bug. The bugs:
const REGRESSIONS: &[(u64, &str)] = &[
    (299, "a wake that arrived while an earlier one waited for delivery was reported twice"),
    (
        401,
        "closing a connection emptied the outbox, and the wait looped indefinitely without asking the kernel",
    ),
    (
        48597,
        "a connection's `Closed` was lost when another connection took its slot and was removed before `Closed` was delivered",
    ),
    (23290, "the end of a polled socket was reported after its interest had been set to nothing"),
    (
        88,
        "the console's watch fired immediately, before it was known to be the console's, and was reported to the caller",
    ),
    (128, "the console's watch fired immediately, and was armed again although the inbox was full"),
    (
        135,
        "announced channels that had been drained took the place of one with values, and a wait left it behind",
    ),
];

/// And these found one in the C library, or in the reactor below it.
const REGRESSIONS_OF_C: &[(u64, &str)] = &[
    (33038, "a number that epoll knew from before was refused, although its old registration was removed"),
    (11484, "the end of a terminal was reported as input, because its report had waited for room"),
];

/// And these in the reader of a Windows console.
const REGRESSIONS_OF_CONSOLE: &[(u64, &str)] = &[
    (
        2706,
        "a Ctrl-C that had ended a read was forgotten at a change of mode, so that its command discarded a later line",
    ),
    (63388, "a change of mode between two pieces of a long line divided it"),
];

/// And these in a crew.
const REGRESSIONS_OF_CREW: &[(u64, &str)] = &[
    (3, "a close overtook what the codec held back until the end of the turn"),
    (8, "a codec whose deadline stayed over was called in each turn of its connection"),
];

fn clean<S: Subject>(seeds: Range<u64>) {
    if let Err(found) = run_seeds::<S>(seeds, S::ORACLES, None, |_| {}) {
        panic!("{found}");
    }
}

fn stay_clean<S: Subject>(regressions: &[(u64, &str)]) {
    for &(seed, bug) in regressions {
        let ran = run_seeds::<S>(seed..seed + 1, S::ORACLES, None, |_| {});
        assert!(ran.is_ok(), "the bug is back: {bug}\n{}", ran.unwrap_err());
    }
}

#[test]
fn seeds_that_found_bugs_stay_clean() {
    stay_clean::<Reactor>(REGRESSIONS);
    stay_clean::<CLibrary>(REGRESSIONS_OF_C);
    stay_clean::<ConsoleReader>(REGRESSIONS_OF_CONSOLE);
    stay_clean::<Crew>(REGRESSIONS_OF_CREW);
}

/// A run that never passes a rare branch has not tested it.
#[test]
fn a_fixed_set_is_clean_and_hits_every_mark() {
    clean::<Reactor>(0..5_000);
    assert_eq!(missed_marks::<Reactor>(), [], "coverage marks that 5,000 seeds never hit");
}

#[test]
fn a_fixed_set_of_the_c_library_is_clean_and_hits_every_mark() {
    clean::<CLibrary>(0..3_000);
    assert_eq!(missed_marks::<CLibrary>(), [], "coverage marks that 3,000 seeds never hit");
}

#[test]
fn a_fixed_set_of_the_console_is_clean_and_hits_every_mark() {
    clean::<ConsoleReader>(0..5_000);
    assert_eq!(missed_marks::<ConsoleReader>(), [], "coverage marks that 5,000 seeds never hit");
}

#[test]
fn a_fixed_set_of_the_crew_is_clean_and_hits_every_mark() {
    clean::<Crew>(0..5_000);
    assert_eq!(missed_marks::<Crew>(), [], "coverage marks that 5,000 seeds never hit");
}

/// Other seeds for other sources, so that the set as a whole grows with the project; a failure prints the seed.
#[test]
fn seeds_of_this_commit_are_clean() {
    let from = env!("DOLMEN_SOURCE_HASH").parse::<u64>().expect("build.rs gives a number") << 20;
    clean::<Reactor>(from..from + 500);
    clean::<CLibrary>(from..from + 1_000);
    clean::<ConsoleReader>(from..from + 1_000);
    clean::<Crew>(from..from + 1_000);
}
