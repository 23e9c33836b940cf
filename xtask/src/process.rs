//! One child process: its command line is printed, then it runs; an error says what to do.

use std::env::consts::EXE_SUFFIX;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// An error is a sentence for the user: what failed and what to do about it.
pub type Result<T> = std::result::Result<T, String>;

/// How long the last line of an ended child may take to arrive through its pipe.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// A command line.
#[derive(Clone)]
pub struct Run {
    program: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

impl Run {
    /// Runs `line`, split at its spaces. Pass arguments that may contain a space to [`args`](Self::args).
    pub fn new(line: &str) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        let program = words.next().expect("a command line names a program");
        Self { program, args: words.collect(), envs: Vec::new() }
    }

    /// Runs the program at this path.
    pub fn of(program: &Path) -> Self {
        Self { program: program.display().to_string(), args: Vec::new(), envs: Vec::new() }
    }

    /// Adds arguments unchanged.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable for the child.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// Prints the command line, runs it with our output streams, and waits. It fails unless the child exits with 0.
    pub fn run(self) -> Result<()> {
        println!("    $ {self}");
        let status = self.command().status().map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(format!("`{self}` failed: {status}")) }
    }

    /// Like [`run`](Self::run), and also returns the child's error output, which is still shown.
    pub fn run_and_read_errors(self) -> (Result<()>, String) {
        println!("    $ {self}");
        let mut child = match self.command().stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => return (Err(self.not_started(&error)), String::new()),
        };
        let (sender, lines) = mpsc::channel();
        let errors = child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).split(b'\n'));
        thread::spawn(move || {
            for line in errors.map_while(std::io::Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                eprintln!("{line}");
                let _ = sender.send(line);
            }
        });
        let result = match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{self}` failed: {status}")),
            Err(error) => Err(format!("`{self}`: {error}")),
        };
        // To the end of the pipe, unless a process that the child has left behind keeps it open.
        let end = Instant::now() + LEFT_BEHIND;
        let mut text = String::new();
        while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            text.push_str(&line);
            text.push('\n');
        }
        (result, text)
    }

    /// Runs silently and returns the child's standard output.
    pub fn output(self) -> Result<String> {
        self.output_up_to(0)
    }

    /// The same for a program that compares: it exits with 1 where it has found differences.
    pub fn output_of_comparison(self) -> Result<String> {
        self.output_up_to(1)
    }

    fn output_up_to(self, highest_status: i32) -> Result<String> {
        let output = self.command().output().map_err(|error| self.not_started(&error))?;
        if output.status.code().is_some_and(|status| (0..=highest_status).contains(&status)) {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Err(format!("`{self}` failed: {}\n{}", output.status, complaint.trim_end()))
        }
    }

    /// Starts it with pipes for its input and output. Its error output is not shown.
    pub fn spawn(self) -> Result<Child> {
        println!("    $ {self}");
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|error| self.not_started(&error))
    }

    /// Starts it, with all of its output into a file.
    pub fn spawn_into(self, output: File) -> Result<Child> {
        println!("    $ {self} &");
        let errors = output.try_clone().map_err(|error| format!("`{self}`: {error}"))?;
        self.command().stdout(output).stderr(errors).spawn().map_err(|error| self.not_started(&error))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Ok(path) = std::env::join_paths(child_path()) {
            command.env("PATH", path);
        }
        command.args(&self.args).envs(self.envs.iter().map(|(name, value)| (name, value)));
        // As in CI, where there is no input: nothing may depend on a person typing.
        command.stdin(Stdio::null());
        command
    }

    fn not_started(&self, error: &std::io::Error) -> String {
        format!("cannot start `{}`: {error}. Is it installed and in PATH?", self.program)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.envs {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// `word` quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The first of `names` that can be run: in the children's PATH, or at that path if it is one.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let folders = child_path();
    // Joining an absolute path replaces the folder.
    let in_folders = |name: String| folders.iter().map(move |folder| folder.join(&name));
    names.iter().flat_map(|name| in_folders(format!("{name}{EXE_SUFFIX}"))).find(|place| place.is_file())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    Run::new("id -u").output().is_ok_and(|id| id.trim() == "0")
}

/// The folders in which children look for programs: those of our own PATH, with two changes.
///
/// On Windows, cargo puts its own toolchain's programs in front of rustup's, and those do not know `+1.85`. And Debian
/// installs its MUD client among the games, where root's PATH does not look.
fn child_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let toolchain = std::env::var_os("RUSTUP_TOOLCHAIN").unwrap_or_default();
    let of_toolchain = |folder: &PathBuf| folder.iter().any(|part| part == toolchain);
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|folder| !of_toolchain(folder)).collect();
    if cfg!(target_os = "linux") {
        folders.push(PathBuf::from("/usr/games"));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_prints_as_something_to_type() {
        let run = Run::new("cargo doc --no-deps").args(["it's", ""]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(run.to_string(), r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s' ''");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Run::new("no-such-program-here").output().unwrap_err();
        assert!(error.contains("`no-such-program-here`") && error.contains("PATH"), "{error}");
    }

    #[test]
    fn a_failing_program_is_named_with_its_complaint() {
        let error = Run::new("rustc --no-such-flag").output().unwrap_err();
        assert!(
            error.starts_with("`rustc --no-such-flag` failed") && error.contains("Unrecognized"),
            "{error}"
        );
    }

    #[test]
    fn the_error_stream_is_returned_with_the_result() {
        let (result, errors) = Run::new("rustc --no-such-flag").run_and_read_errors();
        assert!(result.is_err() && errors.contains("Unrecognized"), "{errors}");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_child_leaves_behind_delays_nothing() {
        let leave = Run::new("sh -c").args(["sleep 60 >/dev/null & echo $! >&2"]);
        let (result, errors) = leave.run_and_read_errors();
        result.unwrap();
        // It still runs, so its end is not the reason for the return.
        Run::new("kill").args([errors.trim()]).output().unwrap();
    }

    #[test]
    fn programs_are_found_by_any_of_their_names() {
        assert!(find_program(&["no-such-program-here", "rustc"]).is_some());
        assert_eq!(find_program(&["no-such-program-here"]), None);
    }
}
