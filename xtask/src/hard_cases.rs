//! The list of hard cases, and which test shows each: `docs/hard-cases.md`, made from the names of the tests.
//!
//! A test that shows a case has the case's number in its name, as in `hc05_a_reused_socket_number_is_somebody_else` or
//! `p07_hc05_…`; nothing else has to be kept up to date by hand.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::process::Result;
use crate::steps::Steps;

const PAGE: &str = "docs/hard-cases.md";

/// Write docs/hard-cases.md anew: which test shows which hard case
#[derive(clap::Args)]
pub struct Options {
    /// Write nothing: fail if the page is not up to date, as in CI
    #[arg(long)]
    check: bool,
}

/// Why a case has no test yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Here,
    Console,
    CLibrary,
}

use Scope::{CLibrary, Console, Here};

/// What goes wrong where nobody has thought of it. The number is the place in the list.
const CASES: [(Scope, &str); 38] = [
    (Here, "The memory of a pending operation is freed or reused before its completion"),
    (Here, "A completion comes before the call that submitted the operation has returned"),
    (Here, "`CancelIo` cancels the operations of the calling thread only"),
    (Here, "A completion wins against its cancellation"),
    (Here, "A late completion comes to the next holder of the same socket value"),
    (Here, "The result is asked of a handle that is closed by then"),
    (Here, "A warning status is taken for success, and a close for the end of the stream"),
    (Here, "An accepted socket inherits its listener's event and non-blocking mode"),
    (Here, "A listener is closed by an earlier handler of the batch that its event is in"),
    (Here, "Accepting fails: the peer is gone, or there are no descriptors left"),
    (Here, "An operation succeeds or fails at once, with a packet or without"),
    (Here, "A receive of zero bytes that completes is taken for the end of the stream"),
    (Here, "Reading is stopped and started again inside a handler"),
    (Here, "FIN, reset and half-close are mistaken for each other"),
    (Here, "Closing with unread bytes resets, and destroys the last output on its way"),
    (Here, "`shutdown` is expected to end a pending receive"),
    (Here, "A write of zero bytes is taken for a close"),
    (Here, "A send is partial, or fails after some of it has gone out"),
    (Here, "One source is always ready, and the others starve"),
    (Here, "More sources than a wait function takes handles"),
    (Here, "A timeout below a millisecond becomes none at all, and the loop spins"),
    (Here, "A wait returns early, and timers go off early"),
    (Here, "A huge timeout overflows, or becomes for ever"),
    (Here, "A signal restarts the wait with its full timeout"),
    (Here, "A timeout of zero never asks the system"),
    (Console, "Console records that are no keys keep the handle signalled"),
    (Console, "A blocked console read is cancelled, and typed text is lost"),
    (Console, "A surrogate pair is split across console records"),
    (Console, "Ctrl-C is taken for the end of input"),
    (Console, "The console is left in raw mode"),
    (Console, "Redirected input always looks ready"),
    (Here, "The reactor is dropped with operations in flight"),
    (CLibrary, "Two receives are posted for one socket, and bytes change places"),
    (CLibrary, "More is received than the caller has room for, and the rest is dropped"),
    (Here, "The output queue is full, and output is dropped in silence"),
    (Console, "A pipe hangs up with bytes still in it"),
    (Here, "Tables end at some number of descriptors"),
    (Here, "Posts are merged, and completions vanish"),
];

/// A test, and where it runs.
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

/// Fails if the page is not what would be written, or if a case that should be shown is not.
pub fn check() -> Result<()> {
    let page = page(&scan()?)?;
    // On a Windows checkout git may have changed the ends of lines.
    let there = std::fs::read_to_string(PAGE).unwrap_or_default().replace("\r\n", "\n");
    if there == page {
        return Ok(());
    }
    Err(format!("{PAGE} is not up to date. To write it anew, type: cargo xtask hard-cases"))
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
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            shown.extend(tests_in(&path.display().to_string().replace('\\', "/"), &text));
        }
    }
    Ok(())
}

/// All tests of a file with a case's number in their names.
fn tests_in(file: &str, text: &str) -> Vec<Shown> {
    let mut shown = Vec::new();
    // What the attributes so far say: of the file, of the module we are in, of the item they stand before.
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
            let kernels = kernels(file, of_item.or(of_module).or(of_file));
            shown.extend(cases_in(name).into_iter().map(|case| Shown {
                case,
                file: file.to_owned(),
                test: name.to_owned(),
                kernels,
            }));
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

/// Where a test runs, by the place of its file and by its attributes.
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

What asynchronous input and output gets wrong where nobody has thought of it, and the tests that show that it is right
here. Made by `cargo xtask hard-cases` from the names of the tests; `cargo xtask ci` checks that it is up to date.

*simulated* is the simulated kernel, where a test decides when what happens; those scenes run on both systems, too. The
others run on the systems named, Windows meaning Windows or Wine.

| # | case | tests | kernels |
|---|---|---|---|
"
    .to_owned();
    let mut missing = Vec::new();
    for (case, (scope, title)) in (1..).zip(CASES) {
        let of_case: Vec<&Shown> = shown.iter().filter(|shown| shown.case == case).collect();
        let (tests, systems) = match (of_case.is_empty(), scope) {
            (true, Here) => {
                missing.push(case.to_string());
                continue;
            }
            (true, Console) => ("comes with the console".to_owned(), String::new()),
            (true, CLibrary) => ("comes with the C library".to_owned(), String::new()),
            (false, _) => {
                let tests = of_case.iter().map(|shown| {
                    let name = shown.file.rsplit('/').next().unwrap_or_default();
                    format!("[`{}`](../{}) in {name}", shown.test, shown.file)
                });
                let mut systems: Vec<&str> =
                    of_case.iter().flat_map(|shown| shown.kernels.split(", ")).collect();
                systems.sort_unstable();
                systems.dedup();
                (tests.collect::<Vec<_>>().join("<br>"), systems.join(", "))
            }
        };
        writeln!(page, "| {case} | {title} | {tests} | {systems} |").expect("a string takes any text");
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
    fn a_case_without_a_test_is_named() {
        let error = page(&[]).unwrap_err();
        assert!(error.starts_with("without a test: 1, 2, "), "{error}");
    }
}
