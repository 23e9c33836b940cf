//! The one test command.

use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::ValueEnum as _;

use crate::beside::Beside;
use crate::install::{self, Installer};
use crate::process::{Result, Run};
use crate::retry::{CargoTest, Programs};
use crate::steps::{Outcome, Steps, Stopped};
use crate::wine::{self, Wine, Wines};
use crate::{c_library, sim, targets, windows_check};

/// Run all tests: natively, and as Windows programs under Wine
///
/// Native tests and doctests of the whole workspace, those over the simulated kernel and the C library's, and the same for
/// x86_64-pc-windows-gnu without the simulation. The two halves run at the same time where there is more than one
/// processor, and the output of the second follows that of the first. On a Windows machine only the native run is needed.
/// Missing targets and programs are installed first (rustup, apt-get), with a message.
#[derive(clap::Args)]
pub struct Options {
    /// Leave Windows out; the last line of the output will say so
    #[arg(long, conflicts_with = "windows")]
    native: bool,
    /// Only the Windows programs, under Wine
    #[arg(long)]
    windows: bool,
    /// Install nothing: fail if something for the Windows tests is missing
    #[arg(long)]
    pub no_install: bool,
    /// Which Wine runs the Windows programs [default: 10 where it is available, otherwise the system's]
    #[arg(long)]
    wine: Option<Wine>,
    /// Run the later steps too when one has failed
    #[arg(long)]
    pub keep_going: bool,
    /// For the test binaries, as after `cargo test --`: a part of a test's name, --nocapture, --test-threads=1 …
    #[arg(last = true, value_name = "ARGS")]
    libtest: Vec<String>,
    /// As in CI: the kernel's and the consoles' tests under the system's Wine, too, and a second run of failed programs
    #[arg(long, hide = true)]
    ci: bool,
}

impl Options {
    /// The arguments with which another process runs the half of Windows.
    fn of_windows(&self) -> Vec<String> {
        let mut arguments = vec!["test".to_owned(), "--windows".to_owned()];
        let flags = [("--no-install", self.no_install), ("--keep-going", self.keep_going), ("--ci", self.ci)];
        arguments.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| (*flag).to_owned()));
        if let Some(wine) = self.wine.and_then(|wine| wine.to_possible_value()) {
            arguments.extend(["--wine".to_owned(), wine.get_name().to_owned()]);
        }
        if !self.libtest.is_empty() {
            arguments.push("--".to_owned());
            arguments.extend(self.libtest.iter().cloned());
        }
        arguments
    }

    /// Everything that CI runs.
    pub fn for_ci(no_install: bool, keep_going: bool) -> Self {
        Self {
            native: false,
            windows: false,
            no_install,
            wine: None,
            keep_going,
            libtest: Vec::new(),
            ci: true,
        }
    }
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(options.keep_going);
    let _stopped = plan(&mut steps, options);
    if options.native && cfg!(not(windows)) {
        steps.close_with(
            "Windows was left out, because of --native. `cargo xtask test` tests it too.".to_owned(),
        );
    }
    steps.finish()
}

/// The steps of the chore, for other chores that include it.
pub fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    let windows = !options.native && cfg!(not(windows));
    if windows {
        steps.step("this machine", can_run_windows)?;
    }
    let installer = Installer { allowed: !options.no_install };
    install::for_tests(steps, installer)?;
    let wines =
        if windows { Some(install::for_windows_tests(steps, installer, options.wine)?) } else { None };
    let Some(wines) = wines else { return native(steps, options, installer) };
    let both = options.ci && wines.best() != Wine::System;
    // Most tests wait most of the time.
    let tested = match available_parallelism() {
        _ if options.windows => under_wines(steps, options, &wines, both),
        Ok(processors) if processors.get() > 1 => beside_each_other(steps, options, installer),
        _ => native(steps, options, installer).and_then(|()| under_wines(steps, options, &wines, both)),
    };
    say_which(steps, &wines, both);
    tested
}

/// The native half in this process, and the Windows half in another one.
fn beside_each_other(
    steps: &mut Steps,
    options: &Options,
    installer: Installer,
) -> std::result::Result<(), Stopped> {
    const NAME: &str = "Windows programs under Wine";
    let mut running = None;
    steps.step(&format!("start: {NAME}"), || {
        running = Some(Beside::start(&options.of_windows(), Path::new("target/windows-tests.log"))?);
        Ok(())
    })?;
    let native = native(steps, options, installer);
    let Some(running) = running else { return native };
    // Also after a failure: it may be that of both systems, and no test outlives the chore.
    native.and(steps.step_or_skip(NAME, || running.finish()))
}

/// The tests of this system.
fn native(steps: &mut Steps, options: &Options, installer: Installer) -> std::result::Result<(), Stopped> {
    steps.step_or_skip("tests, native", || {
        let command = Run::new("cargo test --workspace");
        cargo_test(command, &[], options, Programs::new("native", options.ci))
    })?;
    steps.step_or_skip("front end on threads", || {
        let command = Run::new("cargo test --package dolmend").env("DOLMEND_TEST_IO_THREADS", "2");
        cargo_test(command, &ON_THREADS, options, Programs::new("native", options.ci))
    })?;
    // Of the machine that it simulates, and not of this one: once is enough.
    steps.step_or_skip("simulation", || {
        cargo_test(sim::cargo(WITH_SIMULATION), &SIMULATIONS, options, Programs::new("native", options.ci))
    })?;
    steps.step_or_skip("C library, native", || c_library::test(None, Programs::new("native", options.ci)))?;
    steps.step_or_skip("C library, 32 bits", || {
        c_library::test_32_bits(installer, Programs::new("32 bits", options.ci))
    })
}

/// The tests of Windows programs, with `both` under two Wines.
fn under_wines(
    steps: &mut Steps,
    options: &Options,
    wines: &Wines,
    both: bool,
) -> std::result::Result<(), Stopped> {
    let best = wines.best();
    let tested = under_wine(steps, options, best, wines.version(best), Part::All);
    // The other Wine differs only in its kernel's behaviour and in its console.
    if both && (tested.is_ok() || options.keep_going) {
        let system = wines.version(Wine::System);
        return tested.and(under_wine(steps, options, Wine::System, system, Part::KernelAndConsoles));
    }
    tested
}

/// The last lines: which Wine has run the Windows programs and, without Wine 10, the reason.
fn say_which(steps: &mut Steps, wines: &Wines, both: bool) {
    let system = wines.version(Wine::System);
    let too = if both {
        format!("; the kernel's and the consoles' tests also under {system}")
    } else {
        String::new()
    };
    steps.close_with(format!("Windows programs: {}{too}.", wines.version(wines.best())));
    wines.note_refusal(steps);
}

/// Which part of the tests.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    All,
    KernelAndConsoles,
}

/// The tests of Windows programs.
fn under_wine(
    steps: &mut Steps,
    options: &Options,
    wine: Wine,
    version: &str,
    part: Part,
) -> std::result::Result<(), Stopped> {
    let place = version.split(' ').next().unwrap_or(version);
    let mut running = None;
    steps.step(&format!("start {place}"), || {
        wine.set_up()?;
        running = Some(wine::Running::start(wine)?);
        Ok(())
    })?;
    let programs = || Programs::new(place, options.ci);
    let tested = steps.step_or_skip(&format!("tests, {place}"), || {
        let packages = if part == Part::All { "--workspace --exclude xtask" } else { "--package dolmen" };
        let command = Run::new(&format!("cargo test {packages} --target")).args([targets::WINDOWS_GNU]);
        cargo_test(with_wine(command, wine), &[], options, programs())
    });
    let c_tested = if part == Part::All {
        let c_library = || c_library::test(Some(wine), programs());
        let tested = steps.step_or_skip(&format!("C library, {place}"), c_library);
        let installer = Installer { allowed: !options.no_install };
        let import_library = || c_library::test_import_library(installer, wine, programs());
        tested.and(steps.step_or_skip(&format!("import library for MSVC, {place}"), import_library))
    } else {
        Ok(())
    };
    let consoles = steps.step_or_skip(&format!("consoles, {place}"), || {
        // A console needs input from outside: the test programs are native ones, which drive the Windows programs that
        // the step before has built.
        let command =
            Run::new("cargo test --package dolmen --package dolmend").env("DOLMEN_TEST_CONSOLE", "wine");
        cargo_test(with_wine(command, wine), &CONSOLE_TESTS, options, programs())
    });
    let checked = steps.step_or_skip(&format!("windows-check, {place}"), || {
        if !options.libtest.is_empty() {
            return Ok(Outcome::Skipped("its cases are not among the tests that were asked for".to_owned()));
        }
        windows_check::under_wine(wine, ["--quick".to_owned()]).map(|()| Outcome::Passed)
    });
    drop(running);
    // Especially after a failure, when a program may still be running.
    let settled = steps.step(&format!("leftover programs, {place}"), || wine::settle(wine));
    tested.and(c_tested).and(consoles).and(checked).and(settled)
}

const WITH_SIMULATION: &str = "test --package dolmen --package dolmen-sim";

/// The programs of these packages with tests over the simulated kernel.
const SIMULATIONS: [&str; 5] = ["--lib", "--test", "cost", "--test", "seeds"];

/// Those of the front end in which connections matter, once more with `io threads`.
const ON_THREADS: [&str; 6] = ["--test", "limits", "--test", "slow_readers", "--test", "telnet"];

const CONSOLE_TESTS: [&str; 8] =
    ["--test", "console", "--test", "console_redirected", "--test", "console_restore", "--test", "operator"];

fn cargo_test(command: Run, which: &[&str], options: &Options, programs: Programs) -> Result<Outcome> {
    let which = which.iter().map(|word| (*word).to_owned()).collect();
    let (libtest, keep_going) = (options.libtest.clone(), options.keep_going);
    programs.cargo_test(&CargoTest { command, programs: which, libtest, keep_going })?;
    Ok(programs.outcome())
}

fn with_wine(command: Run, wine: Wine) -> Run {
    let (name, value) = wine.env();
    command.env(name, value).env("RUST_TEST_THREADS", wine_test_threads())
}

/// Wine here is an x86_64 Linux program: elsewhere it is better to report that than to fail in the middle.
pub fn can_run_windows() -> Result<()> {
    let host = targets::host()?;
    if host.starts_with("x86_64-") && host.contains("-linux-") {
        return Ok(());
    }
    Err(format!(
        "the Windows tests run under Wine on x86_64 Linux, or on Windows itself, and this is {host}. \
         To leave Windows out, type: cargo xtask test --native"
    ))
}

/// One process, wineserver, serves all Windows programs: more than a few threads only wait for it, and so do tests with
/// deadlines.
fn wine_test_threads() -> String {
    let asked = std::env::var("RUST_TEST_THREADS").ok();
    asked.unwrap_or_else(|| available_parallelism().map_or(2, |cores| cores.get().min(4)).to_string())
}
