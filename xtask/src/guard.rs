//! The counted cost of a message against committed figures: a change that moves a figure has to say so.
//!
//! Tests cover the exact figures: kernel calls over the simulated kernel and allocations in `crates/sim/tests/cost.rs`,
//! bytes of an idle connection in `crates/dolmen/tests/p15_idle_connection.rs`. This module covers the figures that
//! compilers change a little.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::bench;
use crate::install::{self, Installer};
use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps, Stopped};
use crate::targets;
use crate::wine::{self, Running, Wine};

const BASELINES: &str = "crates/bench/baselines.tsv";

/// Compare the cost of a message with the committed figures: instructions and system calls
///
/// callgrind counts instructions and strace system calls, so that a busy machine changes nothing. A figure above its
/// tolerance fails, and so does one below it, so that improvements are kept: `--update` writes the new figures, and the
/// commit says why.
#[derive(clap::Args)]
pub struct Options {
    /// Count wineserver requests as well, of the Windows build under the system's Wine
    #[arg(long)]
    windows: bool,
    /// Write the figures instead of comparing them
    #[arg(long)]
    update: bool,
    /// Install nothing: fail where something is missing
    #[arg(long)]
    no_install: bool,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = plan(&mut steps, options);
    steps.finish()
}

fn plan(steps: &mut Steps, options: &Options) -> std::result::Result<(), Stopped> {
    let installer = Installer { allowed: !options.no_install };
    steps.step_or_skip("cost of a message", || native(installer, options.update))?;
    if !options.windows || cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    install::for_windows_tests(steps, installer, Some(Wine::System))?;
    steps.step_or_skip("cost of a message under Wine", || under_wine(options.update))
}

/// The part that CI runs first.
pub fn native(installer: Installer, update: bool) -> Result<Outcome> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Outcome::Skipped("callgrind and strace exist on Linux only".to_owned()));
    }
    installer.counting_tools()?;
    let folder = folder();
    build().run()?;
    // With the existing build: the benchmark is not a member of the workspace, so no other step tests it.
    bench::cargo_in(&folder, "test --quiet --release --no-default-features").run()?;
    bench::build_turn().run()?;
    let measured = Run::new(&format!("{} cost --turn {}", program(), bench::turn())).output()?;
    judge(&measured, update)?;
    Ok(Outcome::Passed)
}

/// Builds the benchmark without the other event loops.
pub fn build() -> Run {
    bench::cargo_in(&folder(), "build --release --no-default-features")
}

/// The program that [`build`] makes.
pub fn program() -> String {
    format!("{}/release/dolmen-bench", folder())
}

/// A folder separate from the benchmark's, whose program has the same name and more features.
fn folder() -> String {
    format!("{}/guard", bench::target_folder())
}

/// The part that CI runs when the tests have installed Wine.
pub fn under_wine(update: bool) -> Result<Outcome> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Outcome::Skipped("strace and Wine exist on Linux only".to_owned()));
    }
    let target = targets::WINDOWS_GNU;
    let folder = folder();
    bench::cargo_in(&folder, "build --release --no-default-features").args(["--target", target]).run()?;
    Wine::System.set_up()?;
    let running = Running::start(Wine::System)?;
    let (variable, which) = Wine::System.env();
    let measured = Run::new(&format!("{} cost --wine-runner xtask/wine/runner.sh", program()))
        .env(variable, which)
        .args(["--windows", &format!("{folder}/{target}/release/dolmen-bench.exe")])
        .output()?;
    drop(running);
    wine::settle(Wine::System)?;
    judge(&measured, update)?;
    Ok(Outcome::Passed)
}

/// Compares the measurement with the baselines, or updates them.
fn judge(measured: &str, update: bool) -> Result<()> {
    let baselines = std::fs::read_to_string(BASELINES).map_err(|error| format!("{BASELINES}: {error}"))?;
    if update {
        let text = updated(&baselines, measured)?;
        std::fs::write(BASELINES, text).map_err(|error| format!("{BASELINES}: {error}"))?;
        println!("    {BASELINES} is written");
        return Ok(());
    }
    let (table, faults) = compare(&baselines, measured)?;
    print!("{table}");
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nIf this is intended: cargo xtask guard --update, and say why in the commit",
        faults.join("\n")
    ))
}

/// A line of the baselines or of the measurement: a name, a figure and, in the baselines, a tolerance in per cent.
fn parse(line: &str) -> Result<(&str, f64, f64)> {
    let mut fields = line.split('\t');
    let number = |field: Option<&str>| field.and_then(|field| field.parse::<f64>().ok());
    let (name, value) = (fields.next().unwrap_or_default(), number(fields.next()));
    let value = value.ok_or_else(|| format!("not a name and a figure: {line}"))?;
    Ok((name, value, number(fields.next()).unwrap_or(DEFAULT_TOLERANCE)))
}

/// The default tolerance: compilers and allocators differ by less.
const DEFAULT_TOLERANCE: f64 = 5.0;

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn compare(baselines: &str, measured: &str) -> Result<(String, Vec<String>)> {
    let (mut table, mut faults) = (String::new(), Vec::new());
    for line in lines(measured) {
        let (name, value, _) = parse(line)?;
        let baseline =
            lines(baselines).map(parse).find(|line| matches!(line, Ok((other, ..)) if *other == name));
        let Some((_, expected, tolerance)) = baseline.transpose()? else {
            faults.push(format!("{name}: {value}, and there is no figure in {BASELINES}"));
            continue;
        };
        let change = (value / expected - 1.0) * 100.0;
        writeln!(table, "    {name}: {value}, {change:+.1} % of {expected}")
            .expect("a string takes any text");
        if change.abs() > tolerance {
            faults.push(format!(
                "{name}: {value} instead of {expected}, and at most {tolerance} % are allowed"
            ));
        }
    }
    Ok((table, faults))
}

/// The baselines with the new figures: comments, order and tolerances stay, and new names are appended.
fn updated(baselines: &str, measured: &str) -> Result<String> {
    let mut measured: Vec<(&str, f64, f64)> = lines(measured).map(parse).collect::<Result<_>>()?;
    let mut text = String::new();
    let mut add = |name: &str, value: f64, tolerance: f64| {
        writeln!(text, "{name}\t{value}\t{tolerance}").expect("a string takes any text");
    };
    let mut kept = String::new();
    for line in baselines.lines() {
        if line.is_empty() || line.starts_with('#') {
            kept += line;
            kept.push('\n');
            continue;
        }
        let (name, value, tolerance) = parse(line)?;
        let new = measured.iter().position(|(other, ..)| *other == name).map(|at| measured.remove(at).1);
        add(name, new.unwrap_or(value), tolerance);
    }
    for (name, value, tolerance) in measured {
        add(name, value, tolerance);
    }
    Ok(kept + &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = "# why\nthis\t100\t5\nthat\t3\t0\n";

    #[test]
    fn a_figure_within_its_tolerance_passes_and_one_beyond_it_does_not() {
        let (table, faults) = compare(COMMITTED, "this\t104.9\nthat\t3\n").unwrap();
        assert!(faults.is_empty() && table.contains("this: 104.9, +4.9 % of 100"), "{table}{faults:?}");
        assert_eq!(compare(COMMITTED, "this\t105.1\nthat\t3.001\n").unwrap().1.len(), 2);
        // An improvement has to be kept.
        assert_eq!(compare(COMMITTED, "this\t94\n").unwrap().1.len(), 1);
    }

    #[test]
    fn a_figure_without_a_baseline_is_a_fault() {
        assert_eq!(compare(COMMITTED, "other\t1\n").unwrap().1.len(), 1);
    }

    #[test]
    fn an_update_keeps_comments_and_what_was_not_measured() {
        let text = updated(COMMITTED, "this\t90\nother\t1\n").unwrap();
        assert_eq!(text, "# why\nthis\t90\t5\nthat\t3\t0\nother\t1\t5\n");
    }
}
