//! Chores of the workspace, the same on every machine: `cargo xtask --help` lists them.
//!
//! [`steps`] is the frame of every chore: named steps, each timed, and a summary; [`beside`] runs a part beside the others.
//! [`mod@test`], [`ci`], [`asan`], [`loom`], [`packages`], [`sim`] and [`windows_check`] are lists of steps, and [`retry`] is for
//! test programs that fail once. [`soak`], [`mod@bench`], [`players`], [`fuzz`] and [`index`] have their own logic, and
//! [`screenshot`] runs one test. [`install`] installs what a machine lacks and [`wine`] runs Windows programs on Linux.
#![forbid(unsafe_code)]

mod asan;
mod bench;
mod beside;
mod c_library;
mod ci;
mod fuzz;
mod guard;
mod hygiene;
mod index;
mod install;
mod layers;
mod loom;
mod mutants;
mod packages;
mod players;
mod process;
mod retry;
mod screenshot;
mod sim;
mod soak;
mod steps;
mod targets;
mod test;
mod windows_check;
mod wine;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};

/// Chores of the dolmen workspace
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    after_help = "\
Each chore runs from anywhere inside the workspace, says each command before it runs it, and ends with a table of its \
steps. It exits with 0 only if all of them passed."
)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    Test(test::Options),
    Ci(ci::Options),
    Asan(asan::Options),
    Tsan(asan::ThreadOptions),
    Sim(sim::SimOptions),
    Mutants(sim::MutantsOptions),
    Miri(sim::MiriOptions),
    Loom(loom::Options),
    Soak(soak::Options),
    Bench(bench::Options),
    Players(players::Options),
    Fuzz(fuzz::Options),
    Guard(guard::Options),
    Index(index::Options),
    WindowsCheck(windows_check::Options),
    Packages(packages::Options),
    Screenshot(screenshot::Options),
    Install(install::Options),
    Header(c_library::HeaderOptions),
    InstallC(c_library::InstallOptions),
    TestC(c_library::TestOptions),
}

/// The folder in which the command was typed: chores run in the workspace's folder.
static TYPED_IN: OnceLock<PathBuf> = OnceLock::new();

fn typed_in() -> &'static Path {
    TYPED_IN.get_or_init(|| std::env::current_dir().unwrap_or_default())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    typed_in();
    if let Err(error) = std::env::set_current_dir(workspace_root()) {
        eprintln!("error: cannot enter {}: {error}", workspace_root().display());
        return ExitCode::FAILURE;
    }
    match cli.chore {
        Chore::Test(options) => test::run(&options),
        Chore::Ci(options) => ci::run(&options),
        Chore::Asan(options) => asan::run(&options),
        Chore::Tsan(options) => asan::run_thread(&options),
        Chore::Sim(options) => sim::run(&options),
        Chore::Mutants(options) => sim::run_mutants(&options),
        Chore::Miri(options) => sim::run_miri(&options),
        Chore::Loom(options) => loom::run(&options),
        Chore::Soak(options) => soak::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Players(options) => players::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Guard(options) => guard::run(&options),
        Chore::Index(options) => index::run(&options),
        Chore::WindowsCheck(options) => windows_check::run(&options),
        Chore::Packages(options) => packages::run(&options),
        Chore::Screenshot(options) => screenshot::run(&options),
        Chore::Install(options) => install::run(&options),
        Chore::Header(options) => c_library::header(&options),
        Chore::InstallC(options) => c_library::install(&options),
        Chore::TestC(options) => c_library::run_tests(&options),
    }
}

/// The folder above this package's: cargo reports its current place, the compiler the place at build time.
fn workspace_root() -> PathBuf {
    let package =
        std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&package).parent().expect("xtask is a folder of the workspace").to_owned()
}
