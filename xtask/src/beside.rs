//! A part of a chore that runs beside the rest of it, as a process of its own. Its output goes to a file, and is shown when it
//! has ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::process::{Result, Run};
use crate::steps::{FLAKY, Outcome};

/// The part, while it runs.
pub struct Beside {
    child: Child,
    file: PathBuf,
}

impl Beside {
    /// Starts a chore of this workspace with these arguments.
    pub fn start(arguments: &[String], file: &Path) -> Result<Beside> {
        let folder = file.parent().expect("it is in the target folder");
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let output = File::create(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let run = Run::of(&program).args(arguments.iter().cloned());
        let child = run.spawn_into(output)?;
        println!("    its output is in {}, and follows at its end", file.display());
        Ok(Beside { child, file: file.to_owned() })
    }

    /// Waits for its end, and shows its output.
    pub fn finish(mut self) -> Result<Outcome> {
        let status = self.child.wait().map_err(|error| format!("cannot wait for it: {error}"))?;
        let output = fs::read(&self.file).map_err(|error| format!("{}: {error}", self.file.display()))?;
        let output = String::from_utf8_lossy(&output);
        println!("{output}");
        if status.success() {
            Ok(outcome(&output))
        } else {
            Err(format!("failed: {status}; its output is above"))
        }
    }
}

fn outcome(output: &str) -> Outcome {
    let flaky: Vec<String> =
        output.lines().filter_map(|line| line.strip_prefix(FLAKY)).map(str::to_owned).collect();
    if flaky.is_empty() { Outcome::Passed } else { Outcome::Flaky(flaky) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_flaky_programs_are_those_of_the_whole_chore() {
        let Outcome::Flaky(parts) = outcome("a\nFLAKY: --test x (wine)\nb\nFLAKY: --test y (wine)\n") else {
            panic!("they are named");
        };
        assert_eq!(parts, ["--test x (wine)", "--test y (wine)"]);
        assert!(matches!(outcome("FLAKY is a word\n"), Outcome::Passed));
    }
}
