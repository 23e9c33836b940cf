//! The fuzz targets, a separate workspace in `fuzz`: built with libFuzzer's instrumentation, and run.
//!
//! `cargo fuzz` would do the same; the flags are those that it passes, and so is `--cfg fuzzing`.

use std::path::Path;
use std::process::ExitCode;

use crate::install::Installer;
use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps, Stopped};
use crate::{bench, targets};

/// The manifest of the fuzz targets.
pub const MANIFEST: &str = "fuzz/Cargo.toml";

const TARGETS: &str = "fuzz/fuzz_targets";

/// What libFuzzer needs to know of the program: counters of edges, and the operands of comparisons.
const FLAGS: &str = "--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Ccodegen-units=1 \
                     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                     -Cdebug-assertions";

/// Feed the front end's parsers with inputs that libFuzzer makes up
///
/// Each target runs for its share of the time. The inputs that reach new code stay in target/fuzz/corpus, and the next
/// run begins with them. An input that fails is named at the end, and is in target/fuzz/artifacts. Needs the nightly
/// toolchain, which is installed by rustup if it is missing, a C++ compiler, and x86_64 Linux.
#[derive(clap::Args)]
pub struct Options {
    /// Minutes for all targets together
    #[arg(long, default_value_t = 3.0, value_name = "N")]
    minutes: f64,
    /// Install nothing: fail if the nightly toolchain is missing
    #[arg(long)]
    no_install: bool,
    /// Only this target
    #[arg(value_name = "TARGET")]
    target: Option<String>,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(true);
    let _stopped = plan(&mut steps, options);
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    let (mut names, mut skipped) = (Vec::new(), false);
    steps.step_or_skip("build the fuzz targets", || {
        let host = targets::host()?;
        if host != targets::LINUX {
            skipped = true;
            return Ok(Outcome::Skipped(format!(
                "it is set up for {} only, and this is {host}",
                targets::LINUX
            )));
        }
        let wanted = chosen(all()?, options.target.as_deref())?;
        Installer { allowed: !options.no_install }.toolchain("nightly")?;
        let build = format!("cargo +nightly build --release --locked --manifest-path {MANIFEST}");
        Run::new(&build)
            .args(["--target", targets::LINUX, "--target-dir", &folder()])
            .env("RUSTFLAGS", FLAGS)
            .run()?;
        names = wanted;
        Ok(Outcome::Passed)
    })?;
    let seconds = (options.minutes * 60.0 / names.len().max(1) as f64).ceil() as u64;
    names.iter().try_for_each(|name| steps.step(&format!("fuzz {name}"), || fuzz(name, seconds)))
}

/// Zero seconds would mean no end.
fn fuzz(name: &str, seconds: u64) -> Result<()> {
    let folder = folder();
    let (corpus, artifacts) = (format!("{folder}/corpus/{name}"), format!("{folder}/artifacts/{name}/"));
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made).map_err(|error| format!("{made}: {error}"))?;
    }
    Run::new(&format!("{folder}/{}/release/{name}", targets::LINUX))
        .args([
            format!("-max_total_time={}", seconds.max(1)),
            format!("-artifact_prefix={artifacts}"),
            corpus,
        ])
        .run()
}

fn folder() -> String {
    format!("{}/fuzz", bench::target_folder())
}

/// The names of all targets.
fn all() -> Result<Vec<String>> {
    let files = Path::new(TARGETS).read_dir().map_err(|error| format!("cannot list {TARGETS}: {error}"))?;
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|file| file.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn chosen(all: Vec<String>, wanted: Option<&str>) -> Result<Vec<String>> {
    match wanted {
        None => Ok(all),
        Some(name) if all.iter().any(|other| other == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(format!("there is no fuzz target '{name}'; the targets are {}", all.join(", "))),
    }
}

/// Whether the targets still compile, which needs no nightly toolchain.
pub fn check(host: &str) -> Result<()> {
    Run::new(&format!("cargo fmt --manifest-path {MANIFEST} --check")).run()?;
    let clippy = format!("cargo clippy --locked --manifest-path {MANIFEST}");
    Run::new(&clippy)
        .args(["--target-dir", &folder()])
        .args(targets::flags(targets::LINUX, host))
        .args(["--", "-D", "warnings"])
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_a_program_of_the_manifest() {
        let root = crate::workspace_root();
        let manifest = std::fs::read_to_string(root.join(MANIFEST)).unwrap();
        for file in root.join(TARGETS).read_dir().unwrap().flatten() {
            let file = file.file_name().into_string().unwrap();
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{file}\"")), "{file}");
        }
    }

    #[test]
    fn an_unknown_target_is_answered_with_the_known_ones() {
        let all = || vec!["config".to_owned(), "telnet".to_owned()];
        assert_eq!(chosen(all(), None).unwrap(), all());
        assert_eq!(chosen(all(), Some("telnet")).unwrap(), ["telnet"]);
        assert!(chosen(all(), Some("tenlet")).unwrap_err().ends_with("config, telnet"));
    }
}
