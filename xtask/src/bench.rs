//! The benchmark, which is a workspace of its own in `crates/bench`: built in release, then run.

use std::process::ExitCode;

use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps};

/// Where its packages are listed.
pub const MANIFEST: &str = "crates/bench/Cargo.toml";

/// Measure dolmen beside other event loops: throughput, processor time, latency, memory
///
/// A table for each scenario on standard output, the figures in target/bench/results.json. It runs on Linux. The
/// machine should have nothing else to do; the load at the start is part of the output.
#[derive(clap::Args)]
pub struct Options {
    /// Three short rounds of echo-1, echo-32 and broadcast-1000: a minute at most after the build
    #[arg(long)]
    quick: bool,
    /// Scenarios or contenders whose names contain this; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many rounds [default: 5, with --quick 3]
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds measured in each round [default: 3, with --quick 0.5]
    #[arg(long)]
    seconds: Option<f64>,
}

impl Options {
    fn forwarded(&self) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        args.extend(self.quick.then(|| "--quick".to_owned()));
        args.extend(self.only.iter().map(|name| format!("--only={name}")));
        args.extend(self.rounds.map(|rounds| format!("--rounds={rounds}")));
        args.extend(self.seconds.map(|seconds| format!("--seconds={seconds}")));
        args
    }
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = plan(&mut steps, options);
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), crate::steps::Stopped> {
    if cfg!(not(target_os = "linux")) {
        let reason = "it reads the servers' processor time and memory from Linux's /proc";
        return steps.step_or_skip("benchmark", || Ok(Outcome::Skipped(reason.to_owned())));
    }
    steps.step("build the benchmark", || build(&[]))?;
    steps.step("benchmark", || {
        Run::new(&format!("{}/release/dolmen-bench run", target_folder())).args(options.forwarded()).run()
    })
}

/// Builds the benchmark in release.
fn build(flags: &[String]) -> Result<()> {
    cargo("build --release").args(flags.to_vec()).run()
}

/// A command of cargo on the benchmark's workspace, which shares our folder of what is built.
pub fn cargo(command: &str) -> Run {
    Run::new(&format!("cargo {command} --locked --manifest-path {MANIFEST} --target-dir {}", target_folder()))
}

fn target_folder() -> String {
    std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())
}
