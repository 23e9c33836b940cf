//! The cases that only a real Windows can decide: `crates/windows-check`, run on Windows or under Wine.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::install::{self, Installer};
use crate::process::{Result, Run};
use crate::steps::{Steps, Stopped};
use crate::wine::{self, Wine};
use crate::{targets, test, typed_in};

/// Run the cases that only a real Windows can decide; under Wine, those that Wine can decide
///
/// Popups and holds of a console, the precision of timers, sockets that the caller shares with the reactor: one line for
/// each case, which is pass, fail or skip, with a reason or what was measured. On Linux the program runs under Wine, and
/// says what Wine cannot decide. `-- --list` lists the cases.
#[derive(clap::Args)]
pub struct Options {
    /// Install nothing: fail if something for Windows programs is missing
    #[arg(long)]
    no_install: bool,
    /// Which Wine runs the program [default: 10 where it is available, otherwise the system's]
    #[arg(long)]
    wine: Option<Wine>,
    /// Also write the lines to a file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For the program: --list, --only NAME, --quick
    #[arg(last = true, value_name = "ARGS")]
    program: Vec<String>,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = plan(&mut steps, options);
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    let mut args = options.program.clone();
    if let Some(file) = &options.output {
        args.extend(["--output".to_owned(), typed_in().join(file).display().to_string()]);
    }
    if cfg!(windows) {
        return steps.step("windows-check", || program().args(["--"]).args(args).run());
    }
    steps.step("this machine", test::can_run_windows)?;
    let installer = Installer { allowed: !options.no_install };
    let wines = install::for_windows_tests(steps, installer, options.wine)?;
    let wine = options.wine.unwrap_or(wines.best());
    steps.step(&format!("windows-check, {}", wines.version(wine)), || {
        wine.set_up()?;
        under_wine(wine, args)
    })?;
    steps.step("leftover programs", || wine::settle(wine))
}

/// Runs the program under a Wine that is set up.
pub fn under_wine(wine: Wine, args: impl IntoIterator<Item = String>) -> Result<()> {
    let (name, value) = wine.env();
    program().args(["--target", targets::WINDOWS_GNU, "--"]).args(args).env(name, value).run()
}

/// Without optimisation, as tests are: the precision of a timer does not depend on it.
fn program() -> Run {
    Run::new("cargo run --quiet --package dolmen-windows-check")
}
