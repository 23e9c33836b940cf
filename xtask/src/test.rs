//! The one test command.

use std::process::ExitCode;
use std::thread::available_parallelism;

use crate::install::{self, Installer};
use crate::process::{Result, Run};
use crate::steps::{Steps, Stopped};
use crate::{c_library, targets, wine};

/// Run all tests: natively, then as Windows programs under Wine
///
/// Native tests and doctests of the whole workspace and the C library's tests first, then the same for
/// x86_64-pc-windows-gnu. On a Windows
/// machine the native run is all there is to do. Missing targets and programs are installed first (rustup, apt-get)
/// and named as that happens.
#[derive(clap::Args)]
pub struct Options {
    /// Leave Windows out; the last line of the output will say so
    #[arg(long)]
    native: bool,
    /// Install nothing: fail where something is missing for the Windows tests
    #[arg(long)]
    pub no_install: bool,
    /// Run the later steps too when one has failed
    #[arg(long)]
    pub keep_going: bool,
    /// For the test binaries, as after `cargo test --`: a part of a test's name, --nocapture, --test-threads=1 …
    #[arg(last = true, value_name = "ARGS")]
    libtest: Vec<String>,
}

impl Options {
    /// Everything, as CI runs it.
    pub fn all(no_install: bool, keep_going: bool) -> Self {
        Self { native: false, no_install, keep_going, libtest: Vec::new() }
    }
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(options.keep_going);
    let _stopped = plan(&mut steps, options);
    let code = steps.finish();
    if options.native && cfg!(not(windows)) {
        println!("Windows was left out, as --native asks. `cargo xtask test` tests it too.");
    }
    code
}

/// The steps of the chore, for those that include it.
pub fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    let windows = !options.native && cfg!(not(windows));
    if windows {
        steps.step("this machine", can_run_windows)?;
    }
    install::for_tests(steps, Installer { allowed: !options.no_install }, windows)?;
    let no_fail_fast = options.keep_going.then_some("--no-fail-fast");
    steps.step("tests, native", || {
        let tests = Run::new("cargo test --workspace").args(no_fail_fast).args(["--"]);
        tests.args(&options.libtest).run()
    })?;
    steps.step_or_skip("C library, native", || c_library::test(&targets::host()?))?;
    let installer = Installer { allowed: !options.no_install };
    steps.step_or_skip("C library, 32 bits", || c_library::test_32_bits(installer))?;
    if windows {
        let mut running = None;
        steps.step("Wine", || {
            running = Some(wine::Running::start()?);
            Ok(())
        })?;
        let tested = steps.step("tests, Windows under Wine", || {
            let tests =
                Run::new("cargo test --workspace --exclude xtask --target").args([targets::WINDOWS_GNU]);
            let tests = tests.args(no_fail_fast).args(["--"]).args(&options.libtest);
            tests.env("RUST_TEST_THREADS", wine_test_threads()).run()
        });
        let c_tested =
            steps.step_or_skip("C library, Windows under Wine", || c_library::test(targets::WINDOWS_GNU));
        let consoles = steps.step("consoles of Windows programs", || consoles_under_wine(&options.libtest));
        let tested = tested.and(consoles);
        drop(running);
        // After a failure above all: that is when a program may have been left running.
        let settled = steps.step("leftover Windows programs", wine::settle);
        tested.and(c_tested).and(settled)?;
    }
    Ok(())
}

/// A console has to be typed into from outside: the test programs are native ones, which drive the Windows programs that
/// the step before has built.
fn consoles_under_wine(libtest: &[String]) -> Result<()> {
    const CONSOLE_TESTS: &str =
        "--test console --test console_redirected --test console_restore --test operator";
    let tests = Run::new("cargo test --package dolmen --package dolmend").args(CONSOLE_TESTS.split(' '));
    let tests = tests.args(["--"]).args(libtest).env("DOLMEN_TEST_CONSOLE", "wine");
    tests.env("RUST_TEST_THREADS", wine_test_threads()).run()
}

/// Wine here is an x86_64 Linux one: elsewhere it is better to say so than to fail in the middle.
fn can_run_windows() -> Result<()> {
    let host = targets::host()?;
    if host.starts_with("x86_64-") && host.contains("-linux-") {
        return Ok(());
    }
    Err(format!(
        "the Windows tests run under Wine on x86_64 Linux, or on Windows itself, and this is {host}. \
         To leave Windows out, type: cargo xtask test --native"
    ))
}

/// One process, wineserver, answers all Windows programs: more than a few threads only wait for it, and tests with
/// deadlines wait with them.
fn wine_test_threads() -> String {
    let asked = std::env::var("RUST_TEST_THREADS").ok();
    asked.unwrap_or_else(|| available_parallelism().map_or(2, |cores| cores.get().min(4)).to_string())
}
