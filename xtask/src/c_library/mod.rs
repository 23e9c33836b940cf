//! The C library: its headers, its tests, and its installation.
//!
//! Cargo builds the library, [`library`]. This folder has the rest. [`tests`] compiles test programs against it and
//! starts them: those of [`cases`], each header together with other headers ([`headers`]), the [`examples`] with their
//! [`clients`] and the [`driver`] from outside, and the samples of the [`guide`]. [`exports`] compares what the library
//! exports with the headers.
//!
//! [`installation`] puts the library into the folders of a [`layout`]. [`pkg_config`] and [`cmake`] use it from there,
//! and [`import_library`] as programs for MSVC do.

mod cases;
mod clients;
mod cmake;
mod driver;
mod examples;
mod exports;
mod guide;
mod headers;
mod import_library;
mod installation;
mod layout;
mod library;
mod pkg_config;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::install::{self, Installer};
use crate::process::{Result, Run};
use crate::retry::Programs;
use crate::steps::{Outcome, Steps, Stopped};
use crate::targets;
use crate::wine::Wine;

pub use import_library::test as test_import_library;
use layout::{Folders, Layout};
use library::{LINUX_32, Library};
use tests::{Tests, standard};

const SOURCES: &str = "crates/dolmen-c";

const LINUX_ONLY: &str = "the C tests are set up for x86_64-unknown-linux-gnu only";

/// Update the headers in crates/dolmen-c/include from the sources
#[derive(clap::Args)]
pub struct HeaderOptions {}

/// The chore.
pub fn header(_options: &HeaderOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("header", || {
        Run::new("cargo test --quiet --package dolmen-c --test header")
            .env("IO_REACTOR_WRITE_HEADER", "1")
            .run()
    });
    steps.finish()
}

/// Install the C library: headers, static and shared library, pkg-config file, CMake package
#[derive(clap::Args)]
pub struct InstallOptions {
    #[command(flatten)]
    folders: Folders,
    /// Another system than this one, such as x86_64-pc-windows-gnu
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
}

/// The chore.
pub fn install(options: &InstallOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("C library", || {
        let host = targets::host()?;
        let target = options.target.as_deref().unwrap_or(&host);
        // Wrong folders are reported before the library is built.
        let layout = Layout::new(&options.folders, crate::typed_in())?;
        Library::build(target, &host, true)?.install(&layout)
    });
    steps.finish()
}

/// Run the C library's tests only, which `cargo xtask test` includes
#[derive(clap::Args)]
pub struct TestOptions {
    /// Leave Windows out
    #[arg(long)]
    native: bool,
    /// Only what concerns packages: the exports, installed libraries, CMake, the import library
    #[arg(long)]
    packages: bool,
    /// Which Wine runs the Windows programs
    #[arg(long, default_value = "system")]
    wine: Wine,
}

/// The chore.
pub fn run_tests(options: &TestOptions) -> ExitCode {
    let mut steps = Steps::new(true);
    let _stopped = test_steps(&mut steps, options);
    steps.finish()
}

fn test_steps(steps: &mut Steps, options: &TestOptions) -> std::result::Result<(), Stopped> {
    let installer = Installer { allowed: true };
    install::for_tests(steps, installer)?;
    let part = if options.packages { Part::Packages } else { Part::All };
    let programs = || Programs::new("", false);
    let mut tested = steps.step_or_skip("C library, native", || test_part(None, programs(), part));
    if part == Part::All {
        tested = tested.and(steps.step_or_skip("C library, 32 bits", || test_32_bits(installer, programs())));
    }
    if options.native {
        return tested;
    }
    let wine = options.wine;
    install::for_windows_tests(steps, installer, Some(wine))?;
    let windows =
        steps.step_or_skip("C library, Windows under Wine", || test_part(Some(wine), programs(), part));
    let import_library = steps.step_or_skip("C library, import library for MSVC", || {
        test_import_library(installer, wine, programs())
    });
    tested.and(windows).and(import_library)
}

/// Which of the tests.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    All,
    Packages,
}

/// The C tests, of Windows programs if there is a Wine to run them.
pub fn test(wine: Option<Wine>, programs: Programs) -> Result<Outcome> {
    test_part(wine, programs, Part::All)
}

fn test_part(wine: Option<Wine>, programs: Programs, part: Part) -> Result<Outcome> {
    let host = targets::host()?;
    if cfg!(windows) {
        return exports::test_on_windows(&host);
    }
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!("{LINUX_ONLY}, and this is {host}")));
    }
    let target = if wine.is_some() { targets::WINDOWS_GNU } else { &host };
    let library = Library::build(target, &host, false)?;
    let tests = Tests::new(&library, wine, programs)?;
    tests.exports()?;
    if part == Part::All {
        tests.includes()?;
        tests.cases()?;
        tests.examples()?;
        guide::check(|| tests.compiler(false), &tests.folder)?;
        if !library.windows() {
            tests.sanitized()?;
            tests.statically_linked()?;
        }
    }
    tests.moved_folder()?;
    let sysroot = tests.staged_package()?;
    tests.package_in_sysroot(&sysroot)?;
    tests.cmake_package(&sysroot)?;
    tests.cmake_source()?;
    if !library.windows() {
        tests.cmake_answers(&sysroot)?;
    }
    Ok(tests.programs.outcome())
}

/// The programs of `cargo xtask soak --heart-beats`, one for each header, with the library as it is installed.
pub fn heart_beats(windows: bool) -> Result<Vec<PathBuf>> {
    let host = targets::host()?;
    let target = if windows { targets::WINDOWS_GNU } else { &host };
    let library = Library::build(target, &host, true)?;
    Tests::new(&library, None, Programs::new("", false))?.heart_beats()
}

/// The C tests as 32-bit programs: another width of pointers, sizes and times. If the additional programs for that are
/// not available, the step is skipped.
pub fn test_32_bits(installer: Installer, programs: Programs) -> Result<Outcome> {
    let host = targets::host()?;
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!("{LINUX_ONLY}, and this is {host}")));
    }
    if let Err(error) = installer.target(None, LINUX_32).and_then(|()| installer.c_for_32_bits()) {
        return Ok(Outcome::Skipped(format!("NOT RUN as 32-bit programs. {error}")));
    }
    let library = Library::build(LINUX_32, &host, false)?;
    let tests = Tests::new(&library, None, programs)?;
    tests.refuse_wide_times()?;
    for name in ["async_includes", "table", "connect", "console", "fork", "extended", "async", "async_system"]
    {
        let program = tests.compile(false, name, &[standard(false)], &[])?;
        tests.start(&program, &[])?;
    }
    Ok(tests.programs.outcome())
}
