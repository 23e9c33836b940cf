//! Which oracle detects which deliberate bug.
//!
//! Each question, one bug before one oracle, runs in a process of its own: some bugs corrupt memory, and then anything
//! may happen. A process that crashes counts as an outcome too, but as the least wanted one.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use dolmen::sim::Oracle;
use dolmen_sim::Subject;

/// No bug that makes runs slow gets more time than this for each oracle. Miri is slow by itself.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(if cfg!(miri) { 3600 } else { 10 });

/// The exit status of a process whose oracle detected the bug.
const DETECTED: u8 = 3;

enum Outcome {
    Detected,
    Crashed,
    Undetected,
}

/// Answers one question, in this process: whether the oracle detects the bug within so many seeds.
pub fn ask<S: Subject>(mutant: &str, oracle: &str, seeds: u64) -> ExitCode {
    let oracles: Vec<Oracle> = S::ORACLES
        .iter()
        .copied()
        .filter(|known| oracle == "all" || format!("{known:?}") == oracle)
        .collect();
    S::activate(mutant);
    let until = Instant::now() + SEARCH_TIMEOUT;
    let detected = (0..seeds)
        .take_while(|_| Instant::now() < until)
        .find_map(|seed| Some((seed, S::run(seed, &S::program(seed), &oracles).err()?)));
    match detected {
        Some((seed, failure)) => {
            println!("seed {seed}: {:?}: {}", failure.oracle, failure.message);
            ExitCode::from(DETECTED)
        }
        None => ExitCode::SUCCESS,
    }
}

fn run_in_new_process<S: Subject>(mutant: &str, oracle: &str, seeds: u64) -> Outcome {
    let program = std::env::current_exe().expect("a process knows its program");
    let status = Command::new(program)
        .args(["--mutant", mutant, "--oracle", oracle])
        .args(S::COMMAND.split(' ').filter(|word| word.starts_with("--")))
        .args(["--seeds", &seeds.to_string()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("a program can run itself");
    match status.code() {
        Some(0) => Outcome::Undetected,
        Some(code) if code == i32::from(DETECTED) => Outcome::Detected,
        _ => Outcome::Crashed,
    }
}

/// Runs each bug before all oracles together, which takes seconds. Fails if one goes undetected.
pub fn detect_all<S: Subject>(seeds: u64) -> ExitCode {
    let bugs: Vec<String> = S::mutants().into_iter().filter(|bug| !is_for_memory_tools::<S>(bug)).collect();
    let count = bugs.len();
    let undetected: Vec<String> = bugs
        .into_iter()
        .filter(|bug| matches!(run_in_new_process::<S>(bug, "all", seeds), Outcome::Undetected))
        .collect();
    if undetected.is_empty() {
        println!("every one of {count} bugs is detected");
        return ExitCode::SUCCESS;
    }
    println!("undetected: {undetected:?}");
    ExitCode::FAILURE
}

fn is_for_memory_tools<S: Subject>(bug: &str) -> bool {
    S::FOR_MEMORY_TOOLS.contains(&bug)
}

/// Prints the table. Fails if a bug goes undetected, or if an oracle could be removed without a loss.
pub fn report<S: Subject>(seeds: u64) -> ExitCode {
    let mut undetected = Vec::new();
    let mut needed = Vec::new();
    println!("| bug | detected by |");
    println!("|---|---|");
    for mutant in S::mutants() {
        let outcomes = S::ORACLES
            .iter()
            .map(|&oracle| (oracle, run_in_new_process::<S>(&mutant, &format!("{oracle:?}"), seeds)));
        let (mut by, mut crashed) = (Vec::new(), false);
        for (oracle, outcome) in outcomes {
            match outcome {
                Outcome::Detected => by.push(oracle),
                Outcome::Crashed => crashed = true,
                Outcome::Undetected => {}
            }
        }
        let mut names: Vec<String> = by.iter().map(|oracle| format!("{oracle:?}")).collect();
        match by[..] {
            [only] => {
                needed.push(only);
                names[0] += " alone";
            }
            [] if !is_for_memory_tools::<S>(&mutant) => undetected.push(mutant.clone()),
            _ => {}
        }
        if crashed {
            names.push("a crash".into());
        }
        if is_for_memory_tools::<S>(&mutant) {
            names.push("Miri (see `cargo xtask miri`)".into());
        }
        println!("| {mutant} | {} |", names.join(", "));
    }
    let idle: Vec<Oracle> = S::ORACLES.iter().copied().filter(|oracle| !needed.contains(oracle)).collect();
    println!();
    if undetected.is_empty() && idle.is_empty() {
        println!("every bug is detected, and each oracle is the only one that detects some bug");
        return ExitCode::SUCCESS;
    }
    println!("undetected: {undetected:?}; oracles that are not the only one to detect some bug: {idle:?}");
    ExitCode::FAILURE
}
