//! Which oracle detects which deliberate bug.
//!
//! Each question, one bug before one oracle, runs in a process of its own: some bugs corrupt memory, and then anything
//! may happen. A process that crashes counts as an answer too, but as the least wanted one.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use dolmen::sim::Oracle;
use dolmen_sim::Subject;

/// No bug that makes runs slow gets more time than this for each oracle. Miri is slow by itself.
const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 3600 } else { 10 });

/// The exit status of a process whose oracle detected the bug.
const NOTICED: u8 = 3;

enum Answer {
    Noticed,
    Crashed,
    Unnoticed,
}

/// Answers one question, in this process: whether the oracle detects the bug within so many seeds.
pub fn ask<S: Subject>(mutant: &str, oracle: &str, seeds: u64) -> ExitCode {
    let oracles: Vec<Oracle> = S::ORACLES
        .iter()
        .copied()
        .filter(|known| oracle == "all" || format!("{known:?}") == oracle)
        .collect();
    S::activate(mutant);
    let until = Instant::now() + PATIENCE;
    let noticed = (0..seeds)
        .take_while(|_| Instant::now() < until)
        .find_map(|seed| Some((seed, S::run(seed, &S::program(seed), &oracles).err()?)));
    match noticed {
        Some((seed, failure)) => {
            println!("seed {seed}: {:?}: {}", failure.oracle, failure.message);
            ExitCode::from(NOTICED)
        }
        None => ExitCode::SUCCESS,
    }
}

fn put<S: Subject>(mutant: &str, oracle: &str, seeds: u64) -> Answer {
    let program = std::env::current_exe().expect("a process knows its program");
    let status = Command::new(program)
        .args(["--mutant", mutant, "--oracle", oracle])
        .args(S::COMMAND.ends_with("--c").then_some("--c"))
        .args(["--seeds", &seeds.to_string()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("a program can run itself");
    match status.code() {
        Some(0) => Answer::Unnoticed,
        Some(code) if code == i32::from(NOTICED) => Answer::Noticed,
        _ => Answer::Crashed,
    }
}

/// Runs each bug before all oracles together, which takes seconds. Fails if one goes undetected.
pub fn notice_all<S: Subject>(seeds: u64) -> ExitCode {
    let bugs: Vec<String> = S::mutants().into_iter().filter(|bug| !is_for_memory_tools::<S>(bug)).collect();
    let count = bugs.len();
    let unnoticed: Vec<String> =
        bugs.into_iter().filter(|bug| matches!(put::<S>(bug, "all", seeds), Answer::Unnoticed)).collect();
    if unnoticed.is_empty() {
        println!("every one of {count} bugs is detected");
        return ExitCode::SUCCESS;
    }
    println!("undetected: {unnoticed:?}");
    ExitCode::FAILURE
}

fn is_for_memory_tools<S: Subject>(bug: &str) -> bool {
    S::FOR_MEMORY_TOOLS.contains(&bug)
}

/// Prints the table. Fails if a bug goes undetected, or if an oracle could be removed without a loss.
pub fn report<S: Subject>(seeds: u64) -> ExitCode {
    let mut unnoticed = Vec::new();
    let mut needed = Vec::new();
    println!("| bug | detected by |");
    println!("|---|---|");
    for mutant in S::mutants() {
        let answers =
            S::ORACLES.iter().map(|&oracle| (oracle, put::<S>(&mutant, &format!("{oracle:?}"), seeds)));
        let (mut by, mut crashed) = (Vec::new(), false);
        for (oracle, answer) in answers {
            match answer {
                Answer::Noticed => by.push(oracle),
                Answer::Crashed => crashed = true,
                Answer::Unnoticed => {}
            }
        }
        let mut names: Vec<String> = by.iter().map(|oracle| format!("{oracle:?}")).collect();
        match by[..] {
            [only] => {
                needed.push(only);
                names[0] += " alone";
            }
            [] if !is_for_memory_tools::<S>(&mutant) => unnoticed.push(mutant.clone()),
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
    if unnoticed.is_empty() && idle.is_empty() {
        println!("every bug is detected, and each oracle is the only one that detects some bug");
        return ExitCode::SUCCESS;
    }
    println!("undetected: {unnoticed:?}; oracles that are not the only one to detect some bug: {idle:?}");
    ExitCode::FAILURE
}
