//! A case runs in a process of its own, which reports over its error stream, so that a case that hangs can be ended.
//!
//! The lines are `progress: …`, and at last `pass: …`, `fail: …` or `skip: …`. Any other line is a message of a panic, and
//! is part of the reason when no outcome follows.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Check, Outcome};

const PROGRESS: &str = "progress";

/// How long a process may take to end after its report. Under Wine the end of a process that has other threads may hang.
const ENDING: Duration = Duration::from_secs(5);

/// How many lines of a failed process are shown: the message of a panic comes first.
const MOST_LINES: usize = 4;

/// In the process of a case: reports how far it is. For cases that take seconds.
#[cfg_attr(not(windows), allow(dead_code))]
pub fn progress(text: impl Display) {
    eprintln!("{PROGRESS}: {text}");
}

/// Runs a case in this process, and reports its outcome.
pub fn run_here(case: &Case, quick: bool) -> ExitCode {
    let outcome = outcome_here(case, quick);
    eprintln!("{}: {}", outcome.word(), outcome.reason().replace('\n', " "));
    ExitCode::SUCCESS
}

fn outcome_here(case: &Case, quick: bool) -> Outcome {
    match case.run {
        Some(run) => run(&Check { quick }).unwrap_or_else(|error| Outcome::Fail(error.to_string())),
        None => Outcome::Skip("not in this program".to_owned()),
    }
}

/// Runs a case in a process of its own.
pub fn run_in_child(case: &Case, quick: bool) -> Outcome {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Outcome::Fail(format!("this program has no path: {error}")),
    };
    let mut command = Command::new(program);
    command.args(["--in-this-process", case.name]).args(quick.then_some("--quick"));
    if case.console {
        own_console(&mut command);
    }
    watched(&mut command, case.limit, |text| eprintln!("      {}: {text}", case.name))
}

/// The process gets a console of its own, without a window.
fn own_console(_command: &mut Command) {
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt as _;
        _command.creation_flags(windows_sys::Win32::System::Threading::CREATE_NO_WINDOW);
    }
}

/// Runs a process up to its report, for as long as `limit`.
fn watched(command: &mut Command, limit: Duration, mut progressed: impl FnMut(&str)) -> Outcome {
    let end = Instant::now() + limit;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Fail(format!("its process cannot be started: {error}")),
    };
    let (sender, lines) = mpsc::channel();
    let stderr = child.stderr.take().expect("it is a pipe");
    thread::spawn(move || {
        let lines = BufReader::new(stderr).split(b'\n').map_while(Result::ok);
        // It also ends when the receiver is gone.
        let _ = lines
            .map(|line| sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()))
            .find(Result::is_err);
    });
    let mut others = Vec::new();
    loop {
        let line = match next_line(&lines, end) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                kill(&mut child);
                return Outcome::Fail(format!("it did not end within {} s", limit.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => return Outcome::Fail(end_of(&mut child, &others)),
        };
        match line.split_once(": ") {
            Some((PROGRESS, text)) => progressed(text),
            Some((word, reason)) if Outcome::of_word(word, reason).is_some() => {
                // Its error stream closes when it ends.
                let end = Instant::now() + ENDING;
                while next_line(&lines, end).is_ok() {}
                kill(&mut child);
                return Outcome::of_word(word, reason).expect("it was one just now");
            }
            _ => others.push(line),
        }
    }
}

/// The next line, until this time, also of a process that never stops writing.
fn next_line(lines: &mpsc::Receiver<String>, end: Instant) -> Result<String, RecvTimeoutError> {
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(RecvTimeoutError::Timeout),
        left => lines.recv_timeout(left),
    }
}

/// Ends a process, which may have ended.
fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Why a process ended without a report.
fn end_of(child: &mut Child, lines: &[String]) -> String {
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let first: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| !line.is_empty()).take(MOST_LINES).collect();
    format!("its process ended without a report: {status}; {}", first.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with these lines, which are commands of a shell.
    #[cfg(unix)]
    fn process(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[cfg(unix)]
    #[test]
    fn a_case_that_hangs_has_failed_and_is_ended() {
        // It ends by itself when the pipe of its errors has no reader any more.
        let mut command = process("while echo 'progress: none' >&2; do :; done");
        let outcome = watched(&mut command, Duration::from_secs(1), |_| ());
        assert_eq!(outcome, Outcome::Fail("it did not end within 1 s".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn a_case_that_passes_has_its_figures_and_its_progress() {
        let mut texts = Vec::new();
        let mut command = process("echo 'progress: half of it' >&2; echo 'pass: 3 of 3' >&2");
        let outcome = watched(&mut command, Duration::from_secs(30), |text| texts.push(text.to_owned()));
        assert_eq!(outcome, Outcome::Pass("3 of 3".to_owned()));
        assert_eq!(texts, ["half of it"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_case_that_panics_has_failed_with_its_message() {
        let mut command = process("echo 'thread main panicked:' >&2; echo 'no luck' >&2; exit 101");
        let outcome = watched(&mut command, Duration::from_secs(30), |_| ());
        let expected =
            "its process ended without a report: exit status: 101; thread main panicked: | no luck";
        assert_eq!(outcome, Outcome::Fail(expected.to_owned()));
    }

    #[test]
    fn a_case_without_code_here_is_skipped() {
        let limit = Duration::from_secs(1);
        let runs = crate::case::Runs::Everywhere;
        let case = Case { name: "a-case", about: "", limit, runs, console: false, run: None };
        assert_eq!(outcome_here(&case, true), Outcome::Skip("not in this program".to_owned()));
    }
}
