//! The checks that a change must pass, in the order of their cost.

use std::process::ExitCode;

use crate::install::Installer;
use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps, Stopped};
use crate::{asan, bench, fuzz, guard, hygiene, index, loom, packages, sim, targets, test};

/// Run everything that CI runs: format, lints for every target, documentation, oldest Rust, tests
///
/// A test program that fails is run once more. A program that passes only the second time is listed as FLAKY in the
/// last lines: it does not stop the change, and is a fault to fix.
///
/// Missing Rust targets, components and toolchains, and the programs for the tests, are installed first, with a
/// message.
#[derive(clap::Args)]
pub struct Options {
    /// Run no tests: for a machine that can compile for the targets but is not one of them, such as a Mac
    #[arg(long)]
    check_only: bool,
    /// Install nothing: fail where something is missing
    #[arg(long)]
    no_install: bool,
    /// Run the later steps too when one has failed
    #[arg(long)]
    keep_going: bool,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(options.keep_going);
    let _stopped = plan(&mut steps, options);
    if options.check_only {
        steps.close_with("No tests were run, as --check-only asks.".to_owned());
    }
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    let installer = Installer { allowed: !options.no_install };
    let mut host = String::new();
    steps.step("toolchain", || {
        Run::new("rustc --version").run()?;
        host = targets::host()?;
        installer.component("cargo-fmt", "rustfmt")?;
        installer.component("cargo-clippy", "clippy")?;
        targets::ALL.iter().try_for_each(|target| installer.target(None, target))
    })?;
    steps.step_or_skip("repository", hygiene::check)?;
    steps.step_or_skip("Cargo.lock", hygiene::lock_file)?;
    steps.step("hard cases and promises", index::check)?;
    steps.step("format", || {
        Run::new("cargo fmt --all --check").run()?;
        Run::new(&format!("cargo fmt --manifest-path {} --check", bench::MANIFEST)).run()
    })?;
    lint(steps, &host)?;
    document(steps, &host)?;
    steps.step_or_skip("oldest Rust", || check_oldest_rust(installer, &host))?;
    steps.step_or_skip("licences, duplicates and sources", packages::dependencies)?;
    steps.step_or_skip("compatible with the last release", packages::compatibility)?;
    if options.check_only {
        return Ok(());
    }
    steps.step("the library's own features", || own_features(&host))?;
    steps.step("packages", packages::check)?;
    steps.step_or_skip("cost of a message", || guard::native(installer, false))?;
    let asan = asan::Options::quick(options.no_install);
    steps.step_or_skip("AddressSanitizer, the quick part", || asan::tests(&asan))?;
    let (miri, mutants) =
        (sim::MiriOptions::quick(options.no_install), sim::MutantsOptions::quick(options.no_install));
    steps.step("simulation under Miri, some seeds", || sim::miri(&miri))?;
    steps.step("deliberate bugs, some seeds", || sim::mutants(&mutants))?;
    steps.step("threads under loom, two pre-emptions", || loom::models(&loom::Options::quick()))?;
    let tested = test::plan(steps, &test::Options::for_ci(options.no_install, options.keep_going));
    if tested.is_err() && !options.keep_going {
        return tested;
    }
    // With the system's Wine, which the tests have installed.
    tested.and(steps.step_or_skip("cost of a message under Wine", || guard::under_wine(false)))
}

fn lint(steps: &mut Steps, host: &str) -> std::result::Result<(), Stopped> {
    let clippy = |flags: &[String]| {
        Run::new("cargo clippy --all-targets").args(flags).args(["--", "-D", "warnings"]).run()
    };
    for target in targets::ALL {
        steps.step(&format!("clippy, {target}"), || {
            // The chores bring most of the libraries, and have no code for one of these targets alone.
            let chores = [targets::LINUX, targets::WINDOWS_GNU].contains(&target);
            let packages = if chores { "--workspace" } else { "--workspace --exclude=xtask" };
            let packages: Vec<String> = packages.split(' ').map(str::to_owned).collect();
            clippy(&[&packages, &*targets::flags(target, host)].concat())
        })?;
    }
    for target in [targets::LINUX, targets::WINDOWS_GNU] {
        steps.step(&format!("clippy, simulation, {target}"), || {
            let packages = "clippy --package dolmen --package dolmen-sim --all-targets";
            sim::cargo(packages).args(targets::flags(target, host)).args(["--", "-D", "warnings"]).run()
        })?;
        steps.step(&format!("clippy, benchmark, {target}"), || {
            // The libraries are used in the same way on Windows, so this saves their build.
            let less = (target != targets::LINUX).then_some("--no-default-features");
            let clippy = bench::cargo("clippy --all-targets").args(less).args(targets::flags(target, host));
            clippy.args(["--", "-D", "warnings"]).run()
        })?;
    }
    // libFuzzer's library is built by a C++ compiler, which only this system has for certain.
    if host == targets::LINUX {
        steps.step("fuzz targets", || fuzz::check(host))?;
    }
    // On a system without a kernel for the reactor, the program that runs there is linted too: this one.
    if !targets::ALL.contains(&host) {
        steps.step(&format!("clippy, xtask for {host}"), || clippy(&["--package=xtask".to_owned()]))?;
    }
    Ok(())
}

/// Both systems: each has public items and modules that the other lacks.
fn document(steps: &mut Steps, host: &str) -> std::result::Result<(), Stopped> {
    for target in [targets::LINUX, targets::WINDOWS_GNU] {
        steps.step(&format!("documentation, {target}"), || {
            let doc = Run::new("cargo doc --no-deps --workspace").args(targets::flags(target, host));
            doc.env("RUSTDOCFLAGS", "-D warnings").run()
        })?;
    }
    steps.step("documentation, simulation", || {
        let doc = sim::cargo("doc --no-deps --package dolmen --package dolmen-c --package dolmen-sim");
        doc.env("RUSTDOCFLAGS", format!("-D warnings {}", sim::CFG)).run()
    })
}

/// The library as its users compile it, without what the C library asks for: in the whole workspace, cargo compiles with
/// the features of all packages together.
fn own_features(host: &str) -> Result<()> {
    for target in [targets::LINUX, targets::WINDOWS_GNU] {
        let clippy =
            Run::new("cargo clippy --package dolmen --all-targets").args(targets::flags(target, host));
        clippy.args(["--", "-D", "warnings"]).run()?;
    }
    // Its doctests run with its package.
    Run::new("cargo test --package dolmen --lib").run()
}

/// The shipped crates compile with the oldest Rust that the manifest promises. If that toolchain is not available, the
/// change is not at fault, so the step is skipped, and the summary says so.
fn check_oldest_rust(installer: Installer, host: &str) -> Result<Outcome> {
    let manifest = std::fs::read_to_string("Cargo.toml").map_err(|error| format!("Cargo.toml: {error}"))?;
    let version = rust_version(&manifest).ok_or("Cargo.toml has no line `rust-version = \"…\"`")?;
    if let Err(error) = installer.toolchain(version) {
        return Ok(Outcome::Skipped(format!("NOT CHECKED with Rust {version}. {error}")));
    }
    let mut unchecked = None;
    for target in [targets::LINUX, targets::WINDOWS_GNU] {
        if let Err(error) = installer.target(Some(version), target) {
            unchecked =
                Some(Outcome::Skipped(format!("NOT CHECKED with Rust {version} for {target}. {error}")));
            continue;
        }
        let check = Run::new(&format!("cargo +{version} check --workspace --exclude xtask"));
        check.args(targets::flags(target, host)).run()?;
    }
    Ok(unchecked.unwrap_or(Outcome::Passed))
}

/// The value of `rust-version` in the workspace's manifest.
fn rust_version(manifest: &str) -> Option<&str> {
    let value = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \""))?;
    value.split_once('"').map(|(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_rust_is_read_from_the_manifest() {
        assert_eq!(rust_version("[workspace.package]\nrust-version = \"1.85\" # why\n"), Some("1.85"));
        assert_eq!(rust_version("[package]\nrust-version.workspace = true\n"), None);
    }
}
