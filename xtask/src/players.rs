//! The front end with thousands of players, measured by the benchmark's program (`crates/bench/src/players`).

use std::process::ExitCode;

use crate::install::{self, Installer};
use crate::process::Run;
use crate::steps::{Outcome, Steps, Stopped};
use crate::wine::{self, Running, Wine};
use crate::{bench, guard, targets};

/// What Wine can carry.
const UNDER_WINE: [&str; 7] = ["--idle", "500", "--talkers", "20", "--quiet", "--churn", "0"];

/// Measure dolmend with thousands of players, quiet and under attack
///
/// Builds dolmend and the benchmark in release mode. On Linux; with --windows, the Windows build under Wine and with
/// fewer players.
#[derive(clap::Args)]
pub struct Options {
    /// Measure the Windows build, under Wine
    #[arg(long)]
    windows: bool,
    /// Which Wine runs it [default: the system's]
    #[arg(long, requires = "windows")]
    wine: Option<Wine>,
    /// For the program that measures, instead of the defaults: see `dolmen-bench players --help`
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = plan(&mut steps, options);
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    if cfg!(not(target_os = "linux")) {
        let why = "it reads the server's processor time and memory from Linux's /proc";
        return steps.step_or_skip("players", || Ok(Outcome::Skipped(why.to_owned())));
    }
    let wine = options.wine.unwrap_or(Wine::System);
    let mut running = None;
    if options.windows {
        install::for_windows_tests(steps, Installer { allowed: true }, options.wine)?;
    }
    steps.step("build dolmend", || {
        let target = options.windows.then_some(["--target", targets::WINDOWS_GNU]);
        Run::new("cargo build --release --locked --package dolmend").args(target.into_iter().flatten()).run()
    })?;
    steps.step("build the benchmark", || guard::build().run())?;
    if options.windows {
        steps.step("Wine", || {
            wine.set_up()?;
            running = Some(Running::start(wine)?);
            Ok(())
        })?;
    }
    let result = steps.step("players", || measurement(options, wine).run());
    if let Some(running) = running {
        drop(running);
        steps.step("end of Wine", || wine::settle(wine))?;
    }
    result
}

fn measurement(options: &Options, wine: Wine) -> Run {
    let target = bench::target_folder();
    let mut run = Run::new(&format!("{} players", guard::program()));
    if options.windows && options.options.is_empty() {
        run = run.args(UNDER_WINE);
    }
    run = run.args(options.options.clone());
    if options.windows {
        let (variable, which) = wine.env();
        let program = format!("{target}/{}/release/dolmend.exe", targets::WINDOWS_GNU);
        run.env(variable, which).args(["sh", "xtask/wine/runner.sh", &program])
    } else {
        run.args([format!("{target}/release/dolmend")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(windows: bool, options: &[&str]) -> String {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        measurement(&Options { windows, wine: None, options }, Wine::System).to_string()
    }

    #[test]
    fn options_replace_the_defaults_and_stand_before_the_program() {
        let native = command(false, &["--seconds", "5"]);
        assert!(native.contains("/dolmen-bench players --seconds 5 "), "{native}");
        assert!(native.ends_with("/release/dolmend"), "{native}");
        let windows = command(true, &[]);
        let end = "--idle 500 --talkers 20 --quiet --churn 0 sh xtask/wine/runner.sh ";
        assert!(windows.starts_with("DOLMEN_WINE=system ") && windows.contains(end), "{windows}");
        assert!(!command(true, &["--quiet"]).contains("--idle"));
    }
}
