//! `windows-check`: the cases that Wine cannot decide, for a real Windows.
//!
//! The tests run under Wine on the machines on which Dolmen is written. Wine's consoles have neither popups nor a hold, its
//! timers are those of Linux, and its sockets are Linux's. This program checks the same library where these are real. It
//! prints one line for each case: `pass`, `fail` or `skip`, the case, and a reason or what was measured. The exit status
//! is 0 when no case failed.
//!
//! [`case`] says what a case is, and where it can be decided. [`cases`] is the table, with a file for each theme.
//! [`process`] runs each case in a process of its own, within a limit of time: a case may need a console of its own, and a
//! call that never returns is one of the faults that cases look for.
#![deny(unsafe_code)]

#[cfg(windows)]
#[allow(unsafe_code)] // The functions of the C library take pointers.
mod c_library;
mod case;
mod cases;
mod machine;
mod process;
#[cfg(windows)]
#[allow(unsafe_code)] // System calls that a caller of the library makes itself.
mod sys;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use case::{Case, Outcome, decided_by};
use cases::CASES;
use machine::Machine;

/// The cases of dolmen that only a real Windows can decide
///
/// Prints one line for each case: pass, fail or skip, and why. The exit status is 0 when no case failed. Under Wine, the
/// cases that Wine cannot decide are skipped, and the others run.
#[derive(Parser)]
#[command(name = "windows-check", version)]
struct Options {
    /// List the cases, and run none
    #[arg(long)]
    list: bool,
    /// Run this case only; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure for a shorter time
    #[arg(long)]
    quick: bool,
    /// Also write the lines to a file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run this case in this process: how the program starts itself for each case.
    #[arg(long, hide = true, value_name = "NAME")]
    in_this_process: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.in_this_process {
        Some(name) => named(name).map(|case| process::run_here(case, options.quick)),
        None if options.list => list(),
        None => run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

fn list() -> Result<ExitCode, String> {
    let mut report = Report { file: None };
    for case in CASES {
        report.line(&format!("{:<width$}  {}", case.name, case.about, width = name_width()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let selected = options.only.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    let cases = if selected.is_empty() { CASES.iter().collect() } else { selected };
    let machine = Machine::this();
    let mut report = Report::new(options.output.as_ref())?;
    report.line(&format!("windows-check {} on {machine}", env!("CARGO_PKG_VERSION")))?;
    let mut failed = 0;
    for case in cases {
        let outcome = match decided_by(case, &machine, !options.only.is_empty()) {
            Some(outcome) => outcome,
            None => process::run_in_child(case, options.quick),
        };
        failed += usize::from(matches!(outcome, Outcome::Fail(_)));
        report.line(&outcome_line(case, &outcome))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn named(name: &str) -> Result<&'static Case, String> {
    let case = CASES.iter().find(|case| case.name == name);
    case.ok_or_else(|| format!("there is no case `{name}`; --list names them"))
}

fn outcome_line(case: &Case, outcome: &Outcome) -> String {
    format!("{}  {:<width$}  {}", outcome.word(), case.name, outcome.reason(), width = name_width())
}

fn name_width() -> usize {
    CASES.iter().map(|case| case.name.len()).max().unwrap_or(0)
}

/// Where the lines go. Each is written as soon as its case has ended: a shutdown of the machine ends one of the cases.
struct Report {
    file: Option<File>,
}

impl Report {
    fn new(path: Option<&PathBuf>) -> Result<Report, String> {
        let create =
            |path: &PathBuf| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        Ok(Report { file: path.map(create).transpose()? })
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let write = |to: &mut dyn io::Write| writeln!(to, "{line}").and_then(|()| to.flush());
        write(&mut io::stdout()).map_err(|error| format!("standard output: {error}"))?;
        match &mut self.file {
            Some(file) => write(file).map_err(|error| format!("the output file: {error}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn an_unknown_case_is_named_in_the_error() {
        let error = named("no-such-case").err().expect("there is none");
        assert!(error.contains("`no-such-case`") && error.contains("--list"), "{error}");
    }

    #[test]
    fn the_lines_are_aligned() {
        let at = |case: &Case| {
            let line = outcome_line(case, &Outcome::Skip("reason".to_owned()));
            line.find("reason").expect("it has one")
        };
        assert!(CASES.iter().all(|case| at(case) == at(&CASES[0])));
    }
}
