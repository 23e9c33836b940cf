//! The simulations: random programs of the reactor, of the C library and of a crew over the simulated kernel, and of an
//! operator over the simulated console host; the deliberate bugs that they have to detect, and the first two under Miri.

use std::process::ExitCode;
use std::thread::available_parallelism;

use crate::install::Installer;
use crate::process::{Result, Run};
use crate::steps::Steps;
use crate::{bench, mutants as patched, targets};

const PROGRAM: &str = "--package dolmen-sim --bin dolmen-sim";

/// Compiles the simulated kernel in: it is in no build without this file.
const CONFIG: &str = "--config crates/sim/.cargo/config.toml";

/// Compiles the switches of the deliberate bugs in as well.
const WITH_MUTANTS: [&str; 2] = ["--config", "build.rustflags=['--cfg=dolmen_mutants']"];

/// The build takes longer than the runs.
const QUICK_BUILD: [&str; 2] = ["--config", "profile.release.lto=false"];

/// The compiler flag of [`CONFIG`], for chores that set RUSTFLAGS: these replace the flags of cargo's configuration.
pub const CFG: &str = "--cfg dolmen_sim";

/// A cargo command on the workspace with the simulated kernel.
pub fn cargo(command: &str) -> Run {
    Run::new(&format!("cargo {command} {CONFIG}")).args(["--target-dir", &folder()])
}

/// The target folder of these builds.
pub fn folder() -> String {
    format!("{}/sim", bench::target_folder())
}

/// The deliberate bugs that only a memory checker detects reliably.
const FOR_MIRI: [&str; 2] = ["FreeBufferAtCancel", "RecycleAtCancel"];

/// Run random programs over the simulated kernel, or over the simulated console
///
/// Each seed is one program on one machine, the same on every computer. A seed that fails prints the shortest program
/// that still fails, and the command that replays it.
#[derive(clap::Args)]
pub struct SimOptions {
    /// Programs of calls of the C library instead of the reactor's
    #[arg(long)]
    c: bool,
    /// Operators at a simulated console of Windows, and what is printed meanwhile
    #[arg(long, conflicts_with = "c")]
    console: bool,
    /// Connections of a crew of reactors, on several simulated threads
    #[arg(long, conflicts_with_all = ["c", "console"])]
    crew: bool,
    /// How many seeds to run
    #[arg(long, default_value_t = 100_000)]
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
}

/// Show that the simulation detects each deliberate bug, and by which oracle
///
/// Prints the tables of bugs and oracles of the reactor, of the C library, of the console and of a crew, which takes some
/// ten minutes. Each oracle of a table has to be the only one to detect some bug, or the chore fails. The scenarios of the hard cases run
/// against their bugs as well. Miri runs the two bugs that corrupt memory (nightly toolchain, installed by rustup if it
/// is missing).
#[derive(clap::Args)]
pub struct MutantsOptions {
    /// How many seeds each bug has to survive to count as undetected
    #[arg(long, default_value_t = 1_500)]
    seeds: u64,
    /// And how many of the C library's
    #[arg(long, default_value_t = 5_000)]
    c_seeds: u64,
    /// And how many of the console's
    #[arg(long, default_value_t = 10_000)]
    console_seeds: u64,
    /// And how many of the crew's
    #[arg(long, default_value_t = 5_000)]
    crew_seeds: u64,
    /// Only whether each is detected, not by which oracle, as in CI
    #[arg(long)]
    quick: bool,
    /// Leave out Miri
    #[arg(long)]
    no_miri: bool,
    /// Run nothing: only make the copy of the workspace that has the bugs, to edit it
    #[arg(long, conflicts_with = "save")]
    copy: bool,
    /// Run nothing: write the patches of crates/sim/mutants anew, from the copy that you have edited
    #[arg(long)]
    save: bool,
    /// Install nothing: fail where something is missing
    #[arg(long)]
    no_install: bool,
}

impl MutantsOptions {
    /// The bounded part for CI.
    pub fn quick(no_install: bool) -> Self {
        Self {
            seeds: 1_500,
            c_seeds: 5_000,
            console_seeds: 10_000,
            crew_seeds: 5_000,
            quick: true,
            no_miri: true,
            copy: false,
            save: false,
            no_install,
        }
    }
}

/// Run random programs over the simulated kernel under Miri
///
/// It checks every access to memory: freed memory, borrowed memory, uninitialised reads, and at the end leaks. Needs
/// the nightly toolchain with miri and rust-src, which rustup installs if they are missing. Programs are shorter than
/// without Miri, so a seed means another program here: replay a failing one with this chore.
#[derive(clap::Args)]
pub struct MiriOptions {
    /// How many seeds to run, of the reactor and of the C library each
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many processes to distribute them to [default: one for each core]
    #[arg(long)]
    jobs: Option<u64>,
    /// Leave out the scenarios of the hard cases
    #[arg(long)]
    seeds_only: bool,
    /// Install nothing: fail where something is missing
    #[arg(long)]
    no_install: bool,
}

impl MiriOptions {
    /// The bounded part for CI.
    pub fn quick(no_install: bool) -> Self {
        Self { seeds: 20, from: 0, jobs: None, seeds_only: true, no_install }
    }
}

/// The chore `sim`.
pub fn run(options: &SimOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("simulation", || {
        let numbers: Vec<String> = match (options.seed, options.minutes) {
            (Some(seed), _) => vec![format!("--seed={seed}")],
            (_, Some(minutes)) => vec![format!("--minutes={minutes}"), format!("--from={}", options.from)],
            _ => vec![format!("--seeds={}", options.seeds), format!("--from={}", options.from)],
        };
        let run = cargo(&format!("run --quiet --release {PROGRAM}")).args(["--"]);
        let subject = [(options.c, "--c"), (options.console, "--console"), (options.crew, "--crew")];
        run.args(subject.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name)).args(numbers).run()
    });
    steps.finish()
}

/// The chore `mutants`.
pub fn run_mutants(options: &MutantsOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    if options.copy {
        let _stopped = steps.step("copy with the deliberate bugs", || {
            patched::tree().map(|tree| println!("    {}", tree.display()))
        });
        return steps.finish();
    }
    if options.save {
        let _stopped = steps.step("patches of the deliberate bugs", patched::save);
        return steps.finish();
    }
    let passed = steps.step("deliberate bugs", || mutants(options));
    if passed.is_ok() && !options.no_miri {
        let _stopped = steps.step("deliberate bugs under Miri", || mutants_under_miri(options.no_install));
    }
    steps.finish()
}

/// All deliberate bugs against all oracles.
pub fn mutants(options: &MutantsOptions) -> Result<()> {
    let manifest = patched_manifest()?;
    let subjects = [
        (None, options.seeds),
        (Some("--c"), options.c_seeds),
        (Some("--console"), options.console_seeds),
        (Some("--crew"), options.crew_seeds),
    ];
    for (subject, seeds) in subjects {
        cargo(&format!("run --quiet --release {PROGRAM}"))
            .args(WITH_MUTANTS)
            .args(QUICK_BUILD)
            .args(["--manifest-path", &manifest])
            .args(["--", "--mutants"])
            .args(subject)
            .args([format!("--seeds={seeds}")])
            .args(options.quick.then_some("--together"))
            .run()?;
    }
    // And the scenarios of the hard cases detect their bugs.
    let scenarios = cargo("test --quiet --package dolmen --lib each_scenario_fails").args(WITH_MUTANTS);
    scenarios.args(["--manifest-path", &manifest]).run()
}

/// The manifest of the copy that has the deliberate bugs.
fn patched_manifest() -> Result<String> {
    Ok(patched::tree()?.join("Cargo.toml").display().to_string())
}

/// Miri has to detect each of these; a run without a finding is the failure.
fn mutants_under_miri(no_install: bool) -> Result<()> {
    install_miri(no_install)?;
    let manifest = patched_manifest()?;
    for bug in FOR_MIRI {
        let run = miri_cargo(&format!("test --package dolmen --lib for_miri::{bug}"))
            .args(WITH_MUTANTS)
            .args(["--manifest-path", &manifest]);
        println!("    $ {run}");
        match run.output() {
            Err(error) if error.contains("Undefined Behavior") => {
                let line = error.lines().find(|line| line.contains("Undefined Behavior")).unwrap_or_default();
                println!("    {bug}: detected by Miri: {}", line.trim());
            }
            Err(error) => return Err(format!("{bug}: it stopped for another reason than Miri:\n{error}")),
            Ok(_) => return Err(format!("{bug}: Miri has not detected it")),
        }
    }
    Ok(())
}

/// The chore `miri`.
pub fn run_miri(options: &MiriOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let passed = steps.step("seeds under Miri", || miri(options));
    if passed.is_ok() && !options.seeds_only {
        let _stopped =
            steps.step("scenarios under Miri", || miri_cargo("test --package dolmen --lib sim::cases").run());
    }
    steps.finish()
}

/// Seeds in which only Miri has found something.
const MIRI_HAS_FOUND: &[(Option<&str>, u64)] = &[
    // The zero byte behind an event's bytes was read through a pointer to the bytes alone.
    (Some("--c"), 33),
];

/// Random programs, distributed to processes: Miri itself uses one core. And the queues between a crew's threads.
pub fn miri(options: &MiriOptions) -> Result<()> {
    install_miri(options.no_install)?;
    let cores = available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = options.jobs.unwrap_or(cores).clamp(1, options.seeds.max(1));
    let command = |subject: Option<&str>, from: u64, seeds: u64| {
        let numbers = [format!("--from={from}"), format!("--seeds={seeds}")];
        under_miri().args(["--"]).args(subject).args(numbers)
    };
    // Built once, by a run of no seeds, because parallel builds would only wait for each other.
    command(None, 0, 0).run()?;
    for subject in [None, Some("--c")] {
        let mut from = options.from;
        let mut workers = Vec::new();
        for job in 0..jobs {
            let seeds = (options.seeds * (job + 1)) / jobs - (options.seeds * job) / jobs;
            let run = command(subject, from, seeds);
            from += seeds;
            workers.push(std::thread::spawn(move || run.run()));
        }
        let results: Vec<Result<()>> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".into())))
            .collect();
        results.into_iter().collect::<Result<()>>()?;
    }
    MIRI_HAS_FOUND.iter().try_for_each(|&(subject, seed)| command(subject, seed, 1).run())?;
    miri_cargo("test --package dolmen --lib crew::").run()
}

fn install_miri(no_install: bool) -> Result<()> {
    let installer = Installer { allowed: !no_install };
    installer.toolchain("nightly")?;
    for component in ["miri", "rust-src"] {
        installer.nightly_component(component)?;
    }
    Ok(())
}

/// Miri runs the Linux build, on every machine. The programs need nothing from outside, so isolation stays on.
fn under_miri() -> Run {
    let given = std::env::var("MIRIFLAGS").unwrap_or_default();
    miri_cargo(&format!("run --quiet {PROGRAM}"))
        // The context of a C program passes through the reactor as a number.
        .env("MIRIFLAGS", format!("{given} -Zmiri-permissive-provenance"))
}

/// A cargo command under Miri. No other build can use the builds for it.
fn miri_cargo(command: &str) -> Run {
    Run::new(&format!("cargo +nightly miri {command} {CONFIG} --target {}", targets::LINUX))
        .args(["--target-dir", &format!("{}/miri-runs", bench::target_folder())])
}
