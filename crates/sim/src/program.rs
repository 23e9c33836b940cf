//! The command line of `dolmen-sim`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use dolmen_sim::{CLibrary, ConsoleReader, Crew, Reactor, Subject, missed_marks, run_seeds, silence_panics};

/// Runs random programs over dolmen's simulated kernel, a seed each
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Programs of calls of the C library instead of the reactor's
    #[arg(long)]
    c: bool,
    /// Operators, and what is printed meanwhile, over a simulated console of Windows
    #[arg(long, conflicts_with = "c")]
    console: bool,
    /// Connections of a crew of reactors
    #[arg(long, conflicts_with_all = ["c", "console"])]
    crew: bool,
    /// How many seeds to run
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed only, and print its program
    #[arg(long, conflicts_with_all = ["seeds", "from", "minutes"])]
    seed: Option<u64>,
    /// Run for so many minutes, however many seeds that is
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// Echo so many messages on one connection with idle ones present, and print the cost of a turn
    #[arg(long, conflicts_with_all = ["seeds", "from", "minutes", "seed"])]
    turns: Option<u64>,
    /// With --turns, how many idle connections
    #[arg(long, requires = "turns", default_value_t = 0)]
    idle: usize,
    /// Check that each deliberate bug is detected, and by which oracles
    #[cfg(dolmen_mutants)]
    #[arg(long)]
    mutants: bool,
    /// With --mutants: check only that each is detected
    #[cfg(dolmen_mutants)]
    #[arg(long, requires = "mutants")]
    together: bool,
    /// Check one deliberate bug only
    #[cfg(dolmen_mutants)]
    #[arg(long)]
    mutant: Option<String>,
    /// With --mutant: this oracle only
    #[cfg(dolmen_mutants)]
    #[arg(long, default_value = "all", requires = "mutant")]
    oracle: String,
}

/// Runs the program.
pub fn run_command_line() -> ExitCode {
    let cli = Cli::parse();
    silence_panics();
    if let Some(turns) = cli.turns {
        return echo(turns, cli.idle);
    }
    match (cli.c, cli.console, cli.crew) {
        (true, _, _) => run::<CLibrary>(&cli),
        (_, true, _) => run::<ConsoleReader>(&cli),
        (_, _, true) => run::<Crew>(&cli),
        _ => run::<Reactor>(&cli),
    }
}

/// Under callgrind, the difference between two lengths is the instructions of a turn, including those of the simulated
/// kernel.
fn echo(turns: u64, idle: usize) -> ExitCode {
    let mut echo = dolmen::sim::Echo::beside(idle, 1, true, 256);
    let start = Instant::now();
    let cost = echo.rounds(turns);
    let each = start.elapsed().as_secs_f64() * 1e9 / turns as f64;
    println!(
        "{:.3} kernel calls and {each:.0} ns in a turn",
        cost.kernel_calls as f64 / cost.messages as f64
    );
    ExitCode::SUCCESS
}

fn run<S: Subject>(cli: &Cli) -> ExitCode {
    #[cfg(dolmen_mutants)]
    if cli.mutants {
        return if cli.together {
            crate::mutants::detect_all::<S>(cli.seeds)
        } else {
            crate::mutants::report::<S>(cli.seeds)
        };
    } else if let Some(mutant) = &cli.mutant {
        return crate::mutants::ask::<S>(mutant, &cli.oracle, cli.seeds);
    }
    match cli.seed {
        Some(seed) => replay::<S>(seed),
        None => many::<S>(cli),
    }
}

fn many<S: Subject>(cli: &Cli) -> ExitCode {
    let start = Instant::now();
    let until = cli.minutes.map(|minutes| start + Duration::from_secs(60 * minutes));
    let to = if until.is_some() { u64::MAX } else { cli.from.saturating_add(cli.seeds) };
    let rate = |count: u64| count as f64 / start.elapsed().as_secs_f64();
    let ran = run_seeds::<S>(cli.from..to, S::ORACLES, until, |count| {
        eprintln!("{count} seeds, {:.0} a second", rate(count));
    });
    match ran {
        Ok(count) => {
            println!(
                "{count} seeds clean in {:.1} s, {:.0} a second",
                start.elapsed().as_secs_f64(),
                rate(count)
            );
            let missed = missed_marks::<S>();
            if missed.is_empty() {
                println!("every one of {} coverage marks was hit", S::marks().len());
                ExitCode::SUCCESS
            } else {
                println!("coverage marks never hit: {missed:?}");
                // A handful of seeds cannot hit them all.
                if count < 2_000 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
        }
        Err(found) => {
            println!("{found}");
            ExitCode::FAILURE
        }
    }
}

fn replay<S: Subject>(seed: u64) -> ExitCode {
    let actions = S::program(seed);
    println!("seed {seed}: {} steps", actions.len());
    match run_seeds::<S>(seed..seed + 1, S::ORACLES, None, |_| {}) {
        Ok(_) => {
            for action in actions {
                println!("    {action:?}");
            }
            println!("clean");
            ExitCode::SUCCESS
        }
        Err(found) => {
            println!("{found}");
            ExitCode::FAILURE
        }
    }
}
