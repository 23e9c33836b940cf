//! The frame of a chore: steps that are announced, timed and, at the end, listed.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::process::Result;

/// How the last lines of a chore begin that name what has passed only the second time.
pub const FLAKY: &str = "FLAKY: ";

/// The outcome of a step that did not fail.
pub enum Outcome {
    /// The step passed.
    Passed,
    /// The step passed in the end: these parts of it failed at first, and passed in a second run.
    Flaky(Vec<String>),
    /// The step did not run, on purpose: the summary lists the reason.
    Skipped(String),
}

/// A step failed and the chore stops. The failure itself is already printed and recorded.
pub struct Stopped;

/// The steps of one chore so far.
pub struct Steps {
    started: Instant,
    keep_going: bool,
    done: Vec<Done>,
    closing: Vec<String>,
}

struct Done {
    name: String,
    result: Result<Outcome>,
    took: Duration,
}

impl Done {
    fn flaky(&self) -> &[String] {
        match &self.result {
            Ok(Outcome::Flaky(parts)) => parts,
            _ => &[],
        }
    }
}

impl Steps {
    /// Starts a chore. With `keep_going`, later steps also run after a failed one.
    pub fn new(keep_going: bool) -> Self {
        Self { started: Instant::now(), keep_going, done: Vec::new(), closing: Vec::new() }
    }

    /// Runs one step that passes or fails.
    pub fn step(
        &mut self,
        name: &str,
        body: impl FnOnce() -> Result<()>,
    ) -> std::result::Result<(), Stopped> {
        self.step_or_skip(name, || body().map(|()| Outcome::Passed))
    }

    /// Runs one step that may also have nothing to do here.
    pub fn step_or_skip(
        &mut self,
        name: &str,
        body: impl FnOnce() -> Result<Outcome>,
    ) -> std::result::Result<(), Stopped> {
        println!("\n[{:>8}] {name}", stopwatch(self.started.elapsed()));
        let start = Instant::now();
        let result = body();
        let took = start.elapsed();
        let end = match &result {
            Ok(Outcome::Passed) => "ok".to_owned(),
            Ok(Outcome::Flaky(parts)) => format!("ok, but FLAKY: {}", parts.join(", ")),
            Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(error) => format!("FAILED: {error}"),
        };
        println!("[{:>8}] {name}: {end}", stopwatch(self.started.elapsed()));
        let stop = result.is_err() && !self.keep_going;
        self.done.push(Done { name: name.to_owned(), result, took });
        if stop { Err(Stopped) } else { Ok(()) }
    }

    /// Adds a line below the summary.
    pub fn close_with(&mut self, line: String) {
        self.closing.push(line);
    }

    /// Prints the summary and returns the exit status of the process.
    pub fn finish(self) -> ExitCode {
        print!("\n{}", summary(&self.done));
        for part in self.done.iter().flat_map(Done::flaky) {
            println!("{FLAKY}{part}");
        }
        let code = self.print_result();
        self.closing.iter().for_each(|line| println!("{line}"));
        code
    }

    fn print_result(&self) -> ExitCode {
        let failed = self.done.iter().filter(|step| step.result.is_err()).count();
        let total = stopwatch(self.started.elapsed());
        if failed == 0 {
            let skipped =
                self.done.iter().filter(|step| matches!(step.result, Ok(Outcome::Skipped(_)))).count();
            let but =
                if skipped == 0 { String::new() } else { format!(" but {skipped}, which did not run,") };
            println!("All steps{but} passed in {total}.");
            ExitCode::SUCCESS
        } else {
            println!("FAILED: {failed} of the {} steps above, after {total}.", self.done.len());
            ExitCode::FAILURE
        }
    }
}

/// One line for each step: name, result, time; and the reason if it did not pass.
fn summary(done: &[Done]) -> String {
    let width = done.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for Done { name, result, took } in done {
        let (word, reason) = match result {
            Ok(Outcome::Passed) => ("ok", ""),
            Ok(Outcome::Flaky(_)) => ("ok", "after another try"),
            Ok(Outcome::Skipped(why)) => ("SKIPPED", why.as_str()),
            Err(error) => ("FAILED", error.lines().next().unwrap_or_default()),
        };
        let line = format!("{name:<width$}  {word:<7} {:>9}  {reason}", stopwatch(*took));
        writeln!(table, "{}", line.trim_end()).expect("a string takes any text");
    }
    table
}

fn stopwatch(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stops_the_chore() {
        let mut steps = Steps::new(false);
        assert!(steps.step("good", || Ok(())).is_ok());
        assert!(steps.step("bad", || Err("no luck".to_owned())).is_err());
        assert_eq!(steps.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn keep_going_goes_on_and_still_fails() {
        let mut steps = Steps::new(true);
        assert!(steps.step("bad", || Err("no luck".to_owned())).is_ok());
        assert!(steps.step("good", || Ok(())).is_ok());
        assert_eq!(steps.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn a_skipped_step_is_no_failure() {
        let mut steps = Steps::new(false);
        assert!(steps.step_or_skip("odd", || Ok(Outcome::Skipped("not here".to_owned()))).is_ok());
        assert_eq!(steps.finish(), ExitCode::SUCCESS);
    }

    #[test]
    fn the_summary_lines_up_and_gives_reasons() {
        let done =
            |name: &str, result| Done { name: name.to_owned(), result, took: Duration::from_millis(1250) };
        let table = summary(&[
            done("fmt", Ok(Outcome::Passed)),
            done("clippy", Err("first line\nsecond".to_owned())),
            done("msrv", Ok(Outcome::Skipped("no toolchain".to_owned()))),
        ]);
        assert_eq!(
            table,
            "fmt     ok          1.2 s\nclippy  FAILED      1.2 s  first line\nmsrv    SKIPPED     1.2 s  no toolchain\n"
        );
    }
}
