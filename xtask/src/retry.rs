//! A second run of failed test programs, only in `cargo xtask ci`.
//!
//! One stray failure in thousands must not block a whole change. A program that passes only the second time is listed
//! as `FLAKY` in the last lines and is the next fault to fix. A program that fails twice has failed. `cargo xtask test`
//! never repeats a test.

use std::cell::RefCell;

use crate::process::{Result, Run};
use crate::steps::Outcome;

/// The test programs of one step.
pub struct Programs {
    /// Appended to the name of each program: which system, which Wine.
    place: String,
    again: bool,
    flaky: RefCell<Vec<String>>,
}

/// A call of `cargo test`, in the parts for a second call.
pub struct CargoTest {
    /// `cargo test`, packages, target, environment. The second call has the same, as it has to run the same programs.
    pub command: Run,
    /// Which of the packages' test programs, as cargo arguments; none for all.
    pub programs: Vec<String>,
    /// The arguments after `--`.
    pub libtest: Vec<String>,
    /// Whether the later programs also run when one has failed. With a second run they always do: it needs the list of
    /// all failed programs, and cargo prints none otherwise.
    pub keep_going: bool,
}

impl Programs {
    /// With `again`, failed programs get a second run.
    pub fn new(place: &str, again: bool) -> Self {
        Self { place: place.to_owned(), again, flaky: RefCell::default() }
    }

    /// The outcome of a step that has not failed.
    pub fn outcome(self) -> Outcome {
        let flaky = self.flaky.into_inner();
        if flaky.is_empty() { Outcome::Passed } else { Outcome::Flaky(flaky) }
    }

    /// Runs one program.
    pub fn run(&self, name: &str, program: impl Fn() -> Result<()>) -> Result<()> {
        let first = program();
        let Err(error) = &first else { return Ok(()) };
        if !self.again {
            return first;
        }
        println!("    {error}\n    once more, for it may be flaky:");
        program()?;
        self.note(name);
        Ok(())
    }

    /// Runs cargo's test programs, and the failed ones once more.
    pub fn cargo_test(&self, test: &CargoTest) -> Result<()> {
        if !self.again {
            return test.run(&test.programs, test.keep_going).run();
        }
        let (result, errors) = test.run(&test.programs, true).run_and_read_errors();
        let Err(error) = result else { return Ok(()) };
        let failed = failed_targets(&errors);
        // No test ran: something does not compile.
        if failed.is_empty() {
            return Err(error);
        }
        println!("    once more, for they may be flaky: {}", failed.join(", "));
        let (mut twice, mut broken) = (Vec::new(), None);
        for programs in selections(&failed) {
            let (result, errors) = test.run(&programs, true).run_and_read_errors();
            let failed = failed_targets(&errors);
            // Cargo itself failed, which does not count as a second run.
            broken = broken.or(result.err().filter(|_| failed.is_empty()));
            twice.extend(failed);
        }
        if let Some(error) = broken {
            return Err(error);
        }
        // A program of the same name in another package may also have run, and have failed only now.
        let flaky = |target: &&String| failed.contains(target) != twice.contains(target);
        failed.iter().chain(&twice).filter(flaky).for_each(|target| self.note(target));
        let twice: Vec<String> = failed.into_iter().filter(|target| twice.contains(target)).collect();
        if twice.is_empty() { Ok(()) } else { Err(format!("failed twice: {}", twice.join(", "))) }
    }

    fn note(&self, name: &str) {
        self.flaky.borrow_mut().push(format!("{name} ({})", self.place));
    }
}

impl CargoTest {
    fn run(&self, programs: &[String], keep_going: bool) -> Run {
        let command = self.command.clone().args(keep_going.then_some("--no-fail-fast"));
        command.args(programs.iter().cloned()).args(["--"]).args(self.libtest.iter().cloned())
    }
}

/// The test programs that cargo lists at the end of a run with `--no-fail-fast`, such as `-p dolmen --test watch`.
fn failed_targets(errors: &str) -> Vec<String> {
    let is_title = |line: &&str| {
        let number = line.strip_prefix("error: ").and_then(|rest| rest.split_once(" target"));
        number.is_some_and(|(number, rest)| {
            number.parse::<u32>().is_ok() && matches!(rest, " failed:" | "s failed:")
        })
    };
    // A test program may print such a line, too. The list is the last one.
    let lines: Vec<&str> = errors.lines().collect();
    let list = lines.iter().rposition(is_title).map_or(&[][..], |title| &lines[title + 1..]);
    let name = |line: &&str| Some(line.strip_prefix("    `")?.strip_suffix('`')?.to_owned());
    list.iter().map_while(name).collect()
}

/// The arguments that select these programs in a second call: one call for all, and one for doctests, which cargo does
/// not mix with others.
///
/// The packages are those of the first call, as they decide the features with which all are compiled.
fn selections(failed: &[String]) -> Vec<Vec<String>> {
    let words = |target: &String| {
        let words = target.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if words[0] == "-p" { words[2..].to_vec() } else { words }
    };
    let (docs, others): (Vec<_>, Vec<_>) = failed.iter().map(words).partition(|words| words[..] == ["--doc"]);
    let unique = |mut selections: Vec<Vec<String>>| {
        selections.sort_unstable();
        selections.dedup();
        selections.concat()
    };
    [unique(others), unique(docs)].into_iter().filter(|selection| !selection.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     Running tests/one.rs (target/debug/deps/one-a8d2a5dcd3376448)\n\
        error: test failed, to rerun pass `-p dolmen --test one`\n\n\
        Caused by:\n  process didn't exit successfully: `target/debug/deps/one` (signal: 6, SIGABRT)\n\
        error: doctest failed, to rerun pass `-p dolmen --doc`\n\
        error: 3 targets failed:\n    `-p dolmen --test one`\n    `-p dolmend --lib`\n    `-p dolmen --doc`\n";

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_failed_programs_are_read_from_the_end_of_the_output() {
        let expected = list(&["-p dolmen --test one", "-p dolmend --lib", "-p dolmen --doc"]);
        assert_eq!(failed_targets(OUTPUT), expected);
        assert_eq!(failed_targets("error: 1 target failed:\n    `--test one`\n"), list(&["--test one"]));
    }

    #[test]
    fn what_a_test_prints_is_not_taken_for_the_list() {
        let output =
            format!("error: 1 target failed:\n    `--test other`\nerror: no target failed:\n{OUTPUT}");
        assert_eq!(failed_targets(&output).len(), 3);
        assert_eq!(failed_targets("error: several targets failed:\n    `--lib`\n"), list(&[]));
    }

    #[test]
    fn an_error_of_the_compiler_lists_no_program() {
        let output =
            "error[E0425]: cannot find value `x`\nerror: could not compile `dolmen` (test \"one\")\n";
        assert_eq!(failed_targets(output), list(&[]));
    }

    #[test]
    fn a_second_call_selects_each_program_once_and_doctests_apart() {
        let failed =
            list(&["-p a --test console", "-p a --doc", "-p b --test console", "-p b --lib", "--bin x"]);
        let expected = [list(&["--bin", "x", "--lib", "--test", "console"]), list(&["--doc"])];
        assert_eq!(selections(&failed), expected);
        assert_eq!(selections(&list(&["-p a --doc"])), [list(&["--doc"])]);
    }

    /// A shell in cargo's place: its first call fails with this list, each later one does what `later` says.
    #[cfg(unix)]
    fn cargo_that_fails(name: &str, list: &str, later: &str) -> (CargoTest, std::path::PathBuf) {
        let folder = std::env::temp_dir().join(format!("dolmen-xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = format!(
            "echo \"$@\" >>'{0}'/calls; [ $(wc -l <'{0}'/calls) = 1 ] || {{ {later}; }}\n\
            printf 'error: 1 target failed:\\n    `%s`\\n' '{list}' >&2; exit 101",
            folder.display()
        );
        let command = Run::new("sh -c").args([script, "cargo".to_owned()]);
        let (programs, libtest) = (list_of("--test a"), list_of("--nocapture"));
        (CargoTest { command, programs, libtest, keep_going: false }, folder)
    }

    #[cfg(unix)]
    fn list_of(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[cfg(unix)]
    #[test]
    fn cargo_is_called_again_for_what_failed_only() {
        let (test, folder) = cargo_that_fails("flaky", "-p x --test a", "exit 0");
        let programs = Programs::new("here", true);
        programs.cargo_test(&test).unwrap();
        assert!(matches!(programs.outcome(), Outcome::Flaky(names) if names == ["-p x --test a (here)"]));
        let calls = std::fs::read_to_string(folder.join("calls")).unwrap();
        // Without the first argument cargo would end with the first failure, and list none.
        assert_eq!(calls, "--no-fail-fast --test a -- --nocapture\n".repeat(2));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_target_that_fails_twice_has_failed() {
        let (test, folder) = cargo_that_fails("twice", "-p x --lib", ":");
        let error = Programs::new("here", true).cargo_test(&test).unwrap_err();
        assert_eq!(error, "failed twice: -p x --lib");
        // And `cargo xtask test` calls it once.
        std::fs::remove_file(folder.join("calls")).unwrap();
        Programs::new("here", false).cargo_test(&test).unwrap_err();
        let calls = std::fs::read_to_string(folder.join("calls")).unwrap();
        assert_eq!(calls.lines().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_second_call_that_does_not_compile_is_no_second_try() {
        let (test, folder) = cargo_that_fails("broken", "-p x --lib", "exit 101");
        assert!(Programs::new("here", true).cargo_test(&test).unwrap_err().contains("exit status: 101"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_that_passes_only_the_second_time_is_flaky() {
        let programs = Programs::new("here", true);
        let tries = RefCell::new(0);
        let second = || {
            *tries.borrow_mut() += 1;
            if *tries.borrow() == 2 { Ok(()) } else { Err("no luck".to_owned()) }
        };
        programs.run("wobbly", second).unwrap();
        programs.run("steady", || Ok(())).unwrap();
        assert!(matches!(programs.outcome(), Outcome::Flaky(names) if names == ["wobbly (here)"]));
    }

    #[test]
    fn a_program_that_fails_twice_has_failed() {
        let programs = Programs::new("here", true);
        assert_eq!(programs.run("bad", || Err("no luck".to_owned())), Err("no luck".to_owned()));
    }

    #[test]
    fn without_leave_there_is_one_try() {
        let programs = Programs::new("here", false);
        let tries = RefCell::new(0);
        let count = || {
            *tries.borrow_mut() += 1;
            Err("no luck".to_owned())
        };
        programs.run("bad", count).unwrap_err();
        assert_eq!(*tries.borrow(), 1);
    }
}
