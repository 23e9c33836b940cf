//! The reactor's tests under the compiler's sanitizers, which detect memory that a kernel may still write to, leaked
//! memory, and data that two threads access at the same time.

use std::process::ExitCode;

use crate::install::Installer;
use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps};
use crate::{sim, targets};

const TESTS: &str = "crates/dolmen/tests";

/// Run the reactor's native tests under AddressSanitizer
///
/// Needs the nightly toolchain, which is installed by rustup if it is missing, and x86_64 Linux. Builds go to
/// target/asan. Doctests are left out.
#[derive(clap::Args)]
pub struct Options {
    /// Only the scenarios on the simulated kernel and the test files with *teardown* in their names, as in CI: memory
    /// errors would be in closing with everything in flight
    #[arg(long)]
    quick: bool,
    /// Install nothing: fail if the nightly toolchain is missing
    #[arg(long)]
    no_install: bool,
    /// For the test binaries, as after `cargo test --`
    #[arg(last = true, value_name = "ARGS")]
    libtest: Vec<String>,
}

impl Options {
    /// The bounded part for CI.
    pub fn quick(no_install: bool) -> Self {
        Self { quick: true, no_install, libtest: Vec::new() }
    }
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step_or_skip("AddressSanitizer", || tests(options));
    steps.finish()
}

/// The only step of the chore.
pub fn tests(options: &Options) -> Result<Outcome> {
    let host = targets::host()?;
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!("it is set up for {} only, and this is {host}", targets::LINUX)));
    }
    if options.quick && !has_teardown_tests()? {
        return Ok(Outcome::Skipped(format!("no file in {TESTS} has *teardown* in its name")));
    }
    Installer { allowed: !options.no_install }.toolchain("nightly")?;
    let which = if options.quick { "--lib --test *teardown*" } else { "--package dolmen-sim --lib --tests" };
    // With an explicit target the flag does not apply to build scripts and procedural macros. A separate target folder
    // keeps the usual builds, which cargo would repeat after each change of the flags.
    let target_dir = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let cargo = |line: &str| {
        Run::new(&format!("cargo +nightly {line} --target {}", targets::LINUX))
            .args(["--target-dir".to_owned(), format!("{target_dir}/asan")])
            .env("RUSTFLAGS", format!("-Zsanitizer=address --cfg dolmen_asan {}", sim::CFG))
    };
    // Some tests run the examples, which `--tests` does not build.
    if !options.quick {
        cargo("build --package dolmen --examples").run()?;
    }
    cargo(&format!("test --package dolmen {which}")).args(["--".to_owned()]).args(&options.libtest).run()?;
    Ok(Outcome::Passed)
}

/// Run the tests of posts, wakes, teardown and crews under ThreadSanitizer
///
/// Other threads use only these parts of a reactor; the rest of it stays in one thread. A crew has several reactors. Needs the nightly toolchain
/// with rust-src, because the standard library has to be built for it as well; rustup installs missing parts.
#[derive(clap::Args)]
pub struct ThreadOptions {
    /// Install nothing: fail if the nightly toolchain or rust-src is missing
    #[arg(long)]
    no_install: bool,
}

/// The chore `tsan`.
pub fn run_thread(options: &ThreadOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step_or_skip("ThreadSanitizer", || thread_tests(options));
    steps.finish()
}

fn thread_tests(options: &ThreadOptions) -> Result<Outcome> {
    let host = targets::host()?;
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!("it is set up for {} only, and this is {host}", targets::LINUX)));
    }
    let installer = Installer { allowed: !options.no_install };
    installer.toolchain("nightly")?;
    installer.nightly_component("rust-src")?;
    let target_dir = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let which = "--test p01_one_waiter --test p12_wakes_and_posts --test p14_teardown --test crew_order \
                 --test crew_bounds --test crew_broadcast --test crew_failures --test crew_local --test crew_reading \
                 --test crew_threads --test crew_teardown";
    let test =
        format!("cargo +nightly test -Zbuild-std --package dolmen {which} --target {}", targets::LINUX);
    // Of the teardown tests only those about threads: AddressSanitizer covers the rest, which takes long here.
    let filter = ["--", "--skip", "in_flight"].map(str::to_owned);
    Run::new(&test)
        .args(["--target-dir".to_owned(), format!("{target_dir}/tsan")])
        .args(filter)
        .env("RUSTFLAGS", "-Zsanitizer=thread")
        .run()?;
    Ok(Outcome::Passed)
}

fn has_teardown_tests() -> Result<bool> {
    let folder = std::fs::read_dir(TESTS).map_err(|error| format!("cannot list {TESTS}: {error}"))?;
    Ok(folder.flatten().any(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.contains("teardown") && name.ends_with(".rs")
    }))
}
