//! The list of hard cases, and the tests of each: `docs/hard-cases.md`, generated from the names of the tests.
//!
//! A test of a case, in Rust or in C, has the case's number in its name, as in
//! `hc05_a_reused_socket_number_is_somebody_else` or `p07_hc05_…`; nothing else has to be maintained by hand.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::process::Result;
use crate::steps::Steps;

const PAGE: &str = "docs/hard-cases.md";

/// Update docs/hard-cases.md: which tests cover which hard case
#[derive(clap::Args)]
pub struct Options {
    /// Write nothing: fail if the page is not up to date, as in CI
    #[arg(long)]
    check: bool,
}

/// The failure modes. The number is the position in the list.
const CASES: [&str; 52] = [
    "The memory of a pending operation is freed or reused before its completion",
    "A completion comes before the call that submitted the operation has returned",
    "`CancelIo` cancels the operations of the calling thread only",
    "A completion wins against its cancellation",
    "A late completion reaches the next holder of the same socket value",
    "The result is queried from a handle that has been closed",
    "A warning status is taken for success, and a close for the end of the stream",
    "An accepted socket inherits its listener's event and non-blocking mode",
    "A listener is closed by an earlier handler of the batch that its event is in",
    "Accepting fails: the peer has closed, or there are no descriptors left",
    "An operation succeeds or fails immediately, with a packet or without",
    "A receive of zero bytes that completes is taken for the end of the stream",
    "Reading is stopped and started again inside a handler",
    "FIN, reset and half-close are mistaken for each other",
    "Closing with unread bytes resets, and destroys the last output in flight",
    "`shutdown` is expected to end a pending receive",
    "A write of zero bytes is taken for a close",
    "A send is partial, or fails after some of it was sent",
    "One source is always ready, and the others starve",
    "More sources than a wait function takes handles",
    "A timeout below a millisecond becomes none at all, and the loop spins",
    "A wait returns early, and timers go off early",
    "A huge timeout overflows, or becomes infinite",
    "A signal restarts the wait with its full timeout",
    "A timeout of zero never asks the system",
    "Console records that are not keys keep the handle signalled",
    "A blocked console read is cancelled, and typed text is lost",
    "A surrogate pair is split across console records",
    "Ctrl-C is taken for the end of input",
    "The console is left in raw mode",
    "Redirected input always looks ready",
    "The reactor is dropped with operations in flight",
    "Two receives are posted for one socket, and bytes change places",
    "More is received than the caller has room for, and the rest is dropped",
    "The output queue is full, and output is dropped silently",
    "A pipe hangs up with bytes still in it",
    "Tables end at some number of descriptors",
    "Posts are merged, and completions vanish",
    "An urgent byte ends a receive early, and the rest of the stream waits",
    "A submission fails with a warning, and a packet still follows",
    "A packet on the port belongs to a foreign operation",
    "Posting a wake fails once, and all later wakes are silent",
    "The peer floods after a send has failed",
    "A reset before a close or half-close is reported as a failed call",
    "Memory runs out for one send or receive, and the connection ends",
    "A network event was recorded and not enabled again",
    "A forked child tears down its copy of the reactor",
    "Two events of one wait share a buffer",
    "A signal handler sets a flag during a long wait of a C program",
    "A C program reads a piped standard input itself, on Windows",
    "Standard output or the terminal is non-blocking, and output is lost",
    "The process group is orphaned, and the stop signal stops it permanently",
];

/// A test, and the kernels on which it runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    case: usize,
    file: String,
    test: String,
    kernels: &'static str,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("hard cases", || if options.check { check() } else { write() });
    steps.finish()
}

/// Fails if the page is out of date, or if a case lacks a test.
pub fn check() -> Result<()> {
    let page = page(&scan()?)?;
    // On a Windows checkout git may have changed the ends of lines.
    let there = std::fs::read_to_string(PAGE).unwrap_or_default().replace("\r\n", "\n");
    if there == page {
        return Ok(());
    }
    Err(format!("{PAGE} is not up to date. To update it, type: cargo xtask hard-cases"))
}

fn write() -> Result<()> {
    let page = page(&scan()?)?;
    std::fs::create_dir_all("docs").map_err(|error| format!("docs: {error}"))?;
    std::fs::write(PAGE, page).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("    written: {PAGE}");
    Ok(())
}

fn scan() -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    walk(Path::new("crates"), &mut shown)?;
    shown.sort();
    Ok(shown)
}

fn walk(folder: &Path, shown: &mut Vec<Shown>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, shown)?;
        } else {
            let find = match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => tests_in,
                Some("c") => c_tests_in,
                _ => continue,
            };
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            shown.extend(find(&path.display().to_string().replace('\\', "/"), &text));
        }
    }
    Ok(())
}

/// All tests of a file with a case's number in their names.
fn tests_in(file: &str, text: &str) -> Vec<Shown> {
    let mut shown = Vec::new();
    // The attributes so far: of the file, of the current module, of the next item.
    let (mut of_file, mut of_module, mut of_item) = (None, None, None);
    for line in text.lines() {
        let code = line.trim_start();
        let indented = code.len() < line.len();
        let system = if code.contains("target_os = \"linux\"") {
            Some("Linux")
        } else if code.contains("cfg(windows)") {
            Some("Windows")
        } else {
            None
        };
        if code.starts_with("#![cfg") {
            of_file = system;
        } else if code.starts_with("#[") {
            of_item = system.or(of_item);
        } else if let Some(name) =
            code.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name)
        {
            let of_module = of_module.filter(|_| indented);
            let system = of_item.or(of_module).or(of_file);
            // Tests that type at a terminal are Linux programs, and drive the program of either system.
            let either = text.contains("console_rig/mod.rs");
            shown.extend(shown_by(name, file, kernels(file, system.filter(|_| !either))));
            of_item = None;
        } else if !code.is_empty() && !code.starts_with("//") {
            if code.starts_with("mod ") && !indented {
                of_module = of_item;
            }
            of_item = None;
        }
    }
    shown
}

/// The same for a C file, in which the preprocessor says which system a test is for.
fn c_tests_in(file: &str, text: &str) -> Vec<Shown> {
    let mut shown = Vec::new();
    let mut conditions = Vec::new();
    for line in text.lines() {
        if line.starts_with("#if") {
            conditions.push(match line {
                "#ifdef _WIN32" => Some("Windows"),
                "#ifndef _WIN32" => Some("Linux"),
                _ => None,
            });
        } else if line == "#else" {
            if let Some(Some(system)) = conditions.last_mut() {
                *system = if *system == "Linux" { "Windows" } else { "Linux" };
            }
        } else if line == "#endif" {
            conditions.pop();
        } else if let Some((name, _)) =
            line.strip_prefix("static void ").and_then(|rest| rest.split_once('('))
        {
            let system = conditions.iter().flatten().next().copied();
            shown.extend(shown_by(name, file, kernels(file, system)));
        }
    }
    shown
}

/// The cases in a test's name.
fn shown_by(name: &str, file: &str, kernels: &'static str) -> Vec<Shown> {
    let shown = |case| Shown { case, file: file.to_owned(), test: name.to_owned(), kernels };
    cases_in(name).into_iter().map(shown).collect()
}

/// The kernels of a test, from the place of its file and from its attributes.
fn kernels(file: &str, system: Option<&'static str>) -> &'static str {
    match system {
        _ if file.contains("/src/sim/") || file.starts_with("crates/sim/") => "simulated",
        _ if file.contains("/kernel/iocp/") => "Windows",
        Some(system) => system,
        None => "Linux, Windows",
    }
}

/// The numbers in a test's name.
fn cases_in(name: &str) -> Vec<usize> {
    let parts = name.split('_').filter_map(|part| part.strip_prefix("hc"));
    parts.filter(|digits| digits.len() == 2).filter_map(|digits| digits.parse().ok()).collect()
}

fn page(shown: &[Shown]) -> Result<String> {
    let mut page = "\
# Hard cases

Failure modes of asynchronous input and output, and the tests that show that the reactor does not have them. Generated by
`cargo xtask hard-cases` from the names of the tests; `cargo xtask ci` checks that the page is up to date.

*simulated* is the simulated kernel, on which a test decides the order of events; those scenarios run on both systems. The
others run on the named systems, where Windows means Windows or Wine.

| # | case | tests | kernels |
|---|---|---|---|
"
    .to_owned();
    let mut missing = Vec::new();
    for (case, title) in (1..).zip(CASES) {
        let of_case: Vec<&Shown> = shown.iter().filter(|shown| shown.case == case).collect();
        if of_case.is_empty() {
            missing.push(case.to_string());
            continue;
        }
        let tests = of_case.iter().map(|shown| {
            let name = shown.file.rsplit('/').next().unwrap_or_default();
            format!("[`{}`](../{}) in {name}", shown.test, shown.file)
        });
        let tests = tests.collect::<Vec<_>>().join("<br>");
        let mut systems: Vec<&str> = of_case.iter().flat_map(|shown| shown.kernels.split(", ")).collect();
        systems.sort_unstable();
        systems.dedup();
        writeln!(page, "| {case} | {title} | {tests} | {} |", systems.join(", "))
            .expect("a string takes any text");
    }
    if let Some(odd) = shown.iter().find(|shown| !(1..=CASES.len()).contains(&shown.case)) {
        return Err(format!("{}: {} names a case that is not in the list", odd.file, odd.test));
    }
    if missing.is_empty() {
        return Ok(page);
    }
    Err(format!("without a test: {}. A test that shows case 5 has hc05 in its name", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_names() {
        assert_eq!(cases_in("hc06_hc07_of_two"), [6, 7]);
        assert_eq!(cases_in("p07_hc05_reused"), [5]);
        assert_eq!(cases_in("p07_the_hcl_and_hc5"), [0; 0]);
    }

    #[test]
    fn a_test_runs_where_its_attributes_say() {
        let text = "\
#[test]
fn hc01_everywhere() {
    let x;
}

#[cfg(target_os = \"linux\")]
mod linux {
    #[test]
    fn hc02_linux() {}
}

#[cfg(windows)]
#[test]
fn p04_hc03_windows() {}
";
        let found: Vec<_> = tests_in("crates/x/tests/y.rs", text)
            .into_iter()
            .map(|shown| (shown.case, shown.kernels))
            .collect();
        assert_eq!(found, [(1, "Linux, Windows"), (2, "Linux"), (3, "Windows")]);
    }

    #[test]
    fn a_test_in_c_runs_where_the_preprocessor_says() {
        let text = "\
static void hc01_everywhere(void)
#ifndef _WIN32
static void hc02_posix(void)
#else
static void hc03_windows(void)
#endif
static int hc04_no_test(void)
";
        let found: Vec<_> =
            c_tests_in("y.c", text).into_iter().map(|shown| (shown.case, shown.kernels)).collect();
        assert_eq!(found, [(1, "Linux, Windows"), (2, "Linux"), (3, "Windows")]);
    }

    #[test]
    fn a_case_without_a_test_is_named() {
        let error = page(&[]).unwrap_err();
        assert!(error.starts_with("without a test: 1, 2, "), "{error}");
    }
}
