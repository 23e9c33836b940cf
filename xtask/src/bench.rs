//! The benchmark, a separate workspace in `crates/bench`: built in release mode, then run.

use std::process::ExitCode;

use crate::install::{self, Installer};
use crate::process::Run;
use crate::steps::{Outcome, Steps, Stopped};
use crate::wine::{self, Running, Wine};
use crate::{sim, targets};

/// The manifest of its packages.
pub const MANIFEST: &str = "crates/bench/Cargo.toml";

/// Measure dolmen against other event loops: throughput, processor time, latency, memory
///
/// A table for each scenario on standard output, the figures in target/bench/results.json. It runs on Linux. The
/// machine should be otherwise idle; the output contains the load at the start and at the end.
#[derive(clap::Args)]
pub struct Options {
    /// Three short rounds of echo-1, echo-32 and broadcast-1000: a minute at most after the build
    #[arg(long)]
    quick: bool,
    /// Measure the Windows builds, under Wine
    #[arg(long)]
    windows: bool,
    /// Write docs/benchmarks.md with its plots; with --windows, Linux is measured as well
    #[arg(long)]
    report: bool,
    /// Which Wine runs the Windows programs [default: the system's]
    #[arg(long, requires = "windows")]
    wine: Option<Wine>,
    /// Scenarios or contenders whose names contain this; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many rounds [default: 5, with --quick 3]
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds measured in each round [default: 1, with --quick 0.3]
    #[arg(long)]
    seconds: Option<f64>,
}

impl Options {
    fn forwarded(&self) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        args.extend(self.quick.then(|| "--quick".to_owned()));
        args.extend(self.report.then(|| "--report".to_owned()));
        args.extend((self.report || !self.windows).then(|| "--linux".to_owned()));
        args.extend(self.only.iter().map(|name| format!("--only={name}")));
        args.extend(self.rounds.map(|rounds| format!("--rounds={rounds}")));
        args.extend(self.seconds.map(|seconds| format!("--seconds={seconds}")));
        args.extend(self.report.then(|| format!("--turn={}", turn())));
        args.push(format!("--out={}/bench", target_folder()));
        args
    }
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = plan(&mut steps, options);
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    if cfg!(not(target_os = "linux")) {
        return steps.step_or_skip("benchmark", || Ok(Outcome::Skipped(NOT_LINUX.to_owned())));
    }
    steps.step("build the benchmark", || cargo("build --release").run())?;
    if options.report {
        steps.step("build the simulated turns", || build_turn().run())?;
        let counting = Installer { allowed: true };
        steps.step("programs that count", || counting.counting_tools())?;
    }
    let mut windows = None;
    if options.windows {
        let installer = Installer { allowed: true };
        let wines = install::for_windows_tests(steps, installer, options.wine)?;
        let wine = options.wine.unwrap_or(Wine::System);
        steps.step("build the benchmark for Windows", || {
            cargo("build --release").args(["--target", targets::WINDOWS_GNU]).run()
        })?;
        steps.step("Wine", || {
            wine.set_up()?;
            windows = Some((Running::start(wine)?, wine, wines.version(wine).to_owned()));
            Ok(())
        })?;
    }
    let result = steps.step("benchmark", || {
        let mut run = Run::new(&format!("{}/release/dolmen-bench", target_folder())).args(["run"]);
        if let Some((_, wine, version)) = &windows {
            let (variable, which) = wine.env();
            let program = format!("{}/{}/release/dolmen-bench.exe", target_folder(), targets::WINDOWS_GNU);
            run = run.env(variable, which).args(["--windows", &program]);
            run = run.args(["--wine-runner", "xtask/wine/runner.sh", "--wine-version", version]);
        }
        run.args(options.forwarded()).run()
    });
    if let Some((running, wine, _)) = windows {
        drop(running);
        steps.step("end of Wine", || wine::settle(wine))?;
    }
    result
}

const NOT_LINUX: &str = "it reads the servers' processor time and memory from Linux's /proc";

/// A cargo command on the benchmark's workspace, with our target folder.
pub fn cargo(command: &str) -> Run {
    cargo_in(&target_folder(), command)
}

/// The same with another target folder.
pub fn cargo_in(folder: &str, command: &str) -> Run {
    Run::new(&format!("cargo {command} --locked --manifest-path {MANIFEST}")).args(["--target-dir", folder])
}

/// Builds the program whose turns over the simulated kernel are counted.
pub fn build_turn() -> Run {
    sim::cargo("build --release --locked -p dolmen-sim --example turn")
}

/// The path of that program.
pub fn turn() -> String {
    format!("{}/release/examples/turn", sim::folder())
}

/// Cargo's target folder.
pub fn target_folder() -> String {
    std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())
}
