//! Which oracle notices which deliberate bug.
//!
//! Each question, one bug before one oracle, is put to a process of its own: some bugs corrupt memory, and then
//! anything may happen. A process that dies of it is an answer too, of the last kind one wants.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use dolmen::sim::{self, Mutant, Oracle};

/// A bug that makes runs slow is not worth more than this for each oracle. Miri is slow by itself.
const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 3600 } else { 10 });

/// What only a tool that watches memory can be relied on to see.
const FOR_MEMORY_TOOLS: &[Mutant] = &[Mutant::FreeBufferAtCancel, Mutant::RecycleAtCancel];

/// The exit status of a process whose oracle noticed.
const NOTICED: u8 = 3;

enum Answer {
    Noticed,
    Crashed,
    Unnoticed,
}

/// Answers one question, in this process: whether the oracle notices the bug within so many seeds.
pub fn ask(mutant: &str, oracle: &str, seeds: u64) -> ExitCode {
    let mutant = Mutant::ALL.iter().copied().find(|known| format!("{known:?}") == mutant);
    let oracles: Vec<Oracle> = Oracle::ALL
        .iter()
        .copied()
        .filter(|known| oracle == "all" || format!("{known:?}") == oracle)
        .collect();
    sim::activate(Some(mutant.expect("a bug's name")));
    let until = Instant::now() + PATIENCE;
    let noticed = (0..seeds)
        .take_while(|_| Instant::now() < until)
        .find_map(|seed| Some((seed, sim::run(seed, &sim::program(seed), &oracles).err()?)));
    match noticed {
        Some((seed, failure)) => {
            println!("seed {seed}: {:?}: {}", failure.oracle, failure.message);
            ExitCode::from(NOTICED)
        }
        None => ExitCode::SUCCESS,
    }
}

fn put(mutant: Mutant, oracle: &str, seeds: u64) -> Answer {
    let program = std::env::current_exe().expect("a process knows its program");
    let status = Command::new(program)
        .args(["--mutant", &format!("{mutant:?}"), "--oracle", oracle])
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

/// Puts each bug before all oracles at once, which takes seconds. Fails if one goes unnoticed.
pub fn notice_all(seeds: u64) -> ExitCode {
    let unnoticed: Vec<Mutant> = Mutant::ALL
        .iter()
        .copied()
        .filter(|mutant| !FOR_MEMORY_TOOLS.contains(mutant))
        .filter(|&mutant| matches!(put(mutant, "all", seeds), Answer::Unnoticed))
        .collect();
    if unnoticed.is_empty() {
        println!("every one of {} bugs is noticed", Mutant::ALL.len() - FOR_MEMORY_TOOLS.len());
        return ExitCode::SUCCESS;
    }
    println!("unnoticed: {unnoticed:?}");
    ExitCode::FAILURE
}

/// Prints the table. Fails if a bug goes unnoticed, or if an oracle could be taken away without a loss.
pub fn report(seeds: u64) -> ExitCode {
    let mut unnoticed = Vec::new();
    let mut needed = Vec::new();
    println!("| bug | noticed by |");
    println!("|---|---|");
    for &mutant in Mutant::ALL {
        let answers = Oracle::ALL.iter().map(|&oracle| (oracle, put(mutant, &format!("{oracle:?}"), seeds)));
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
            [] if !FOR_MEMORY_TOOLS.contains(&mutant) => unnoticed.push(mutant),
            _ => {}
        }
        if crashed {
            names.push("a crash".into());
        }
        if FOR_MEMORY_TOOLS.contains(&mutant) {
            names.push("Miri (see `cargo xtask miri`)".into());
        }
        println!("| {mutant:?} | {} |", names.join(", "));
    }
    let idle: Vec<Oracle> = Oracle::ALL.iter().copied().filter(|oracle| !needed.contains(oracle)).collect();
    println!();
    if unnoticed.is_empty() && idle.is_empty() {
        println!("every bug is noticed, and without any one of the oracles one of them would not be");
        return ExitCode::SUCCESS;
    }
    println!("unnoticed: {unnoticed:?}; oracles without a bug that they alone notice: {idle:?}");
    ExitCode::FAILURE
}
