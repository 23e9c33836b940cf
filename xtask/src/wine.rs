//! Windows programs on Linux. The scripts of `xtask/wine` find, set up and call Wine: cargo runs one of them for each
//! Windows program, and a shell starts sooner than a Rust program could be built.
//!
//! There may be two Wines: the system's, and Wine 10 of [`next_release`], which is nearer to Windows. The environment
//! variable `DOLMEN_WINE` chooses for the scripts.

mod next_release;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::ChildStdin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::process::{Result, Run};
use crate::steps::Steps;

/// Makes the private prefix of the Wine that the environment chooses, unless it exists.
pub fn set_up() -> Result<()> {
    Run::new("sh xtask/wine/setup.sh").run()
}

/// Which Wine runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Wine {
    /// The one installed on the machine
    System,
    /// Wine 10 from the next Debian release, in addition to the system's
    #[value(name = "10")]
    Ten,
}

impl Wine {
    /// The variable that chooses for the scripts, and its value.
    pub fn env(self) -> (&'static str, &'static str) {
        ("DOLMEN_WINE", if self == Wine::Ten { "10" } else { "system" })
    }

    /// Makes its private prefix, unless it exists.
    pub fn set_up(self) -> Result<()> {
        self.run("sh xtask/wine/setup.sh").run()
    }

    /// Its version text, such as `wine-8.0 (Debian 8.0~repack-4)`.
    fn version(self) -> Result<String> {
        Ok(self.run("sh xtask/wine/exec.sh wine --version").output()?.trim().to_owned())
    }

    fn run(self, line: &str) -> Run {
        let (name, value) = self.env();
        Run::new(line).env(name, value)
    }
}

/// The Wines of this machine.
pub struct Wines {
    /// The version of the system's Wine.
    pub system: String,
    /// The version of Wine 10, if it is available.
    pub ten: Option<String>,
    /// The reason why it is not.
    pub refused: Option<String>,
}

impl Wines {
    /// The installed Wine of the system.
    pub fn of_the_system() -> Result<Wines> {
        Ok(Wines { system: Wine::System.version()?, ten: None, refused: None })
    }

    /// Gets Wine 10, unless the system's is as new.
    pub fn add_ten(&mut self, download: bool) {
        if major(&self.system).is_some_and(|major| major >= 10) {
            return;
        }
        let ten =
            next_release::get(download).and_then(|()| Wine::Ten.set_up()).and_then(|()| Wine::Ten.version());
        match ten {
            Ok(version) => self.ten = Some(version),
            Err(reason) => self.refused = Some(reason),
        }
    }

    /// The Wine that is nearer to Windows.
    pub fn best(&self) -> Wine {
        if self.ten.is_some() { Wine::Ten } else { Wine::System }
    }

    /// If there is no Wine 10, the last line of a chore says so.
    pub fn note_refusal(&self, steps: &mut Steps) {
        if let Some(reason) = &self.refused {
            steps.close_with(format!("wine 10: NOT RUN: {reason}"));
        }
    }

    pub fn version(&self, wine: Wine) -> &str {
        match (wine, &self.ten) {
            (Wine::Ten, Some(version)) => version,
            _ => &self.system,
        }
    }
}

/// The number in front of the first dot.
fn major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("wine-")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Keeps Wine running from one program to the next by a program that only waits for the end of its input.
///
/// Debian's Wine stops its server and its services as soon as no program runs. The next program then waits seconds for
/// them to start again, in its own session: at a terminal that a test may close under them. Or it meets the server that
/// is about to stop, and fails.
pub struct Running {
    /// The program ends with its input. So it also ends when this process dies.
    _input: ChildStdin,
}

impl Running {
    pub fn start(wine: Wine) -> Result<Running> {
        const START_TIMEOUT: Duration = Duration::from_secs(60);
        const READY: &str = "Wine runs";
        let (variable, which) = wine.env();
        let failed = || {
            format!(
                "Wine does not run a program. To see why, type: \
                 {variable}={which} WINEDEBUG=err+all sh xtask/wine/runner.sh cmd.exe"
            )
        };
        // In a session of its own, so that the end of a terminal does not end it.
        let mut program = wine.run("setsid -w sh xtask/wine/runner.sh cmd.exe /q").spawn()?;
        let (Some(mut input), Some(output)) = (program.stdin.take(), program.stdout.take()) else {
            return Err(failed());
        };
        let (sender, ready) = mpsc::channel();
        thread::spawn(move || {
            // The prompt is a path, in an unknown encoding.
            for line in BufReader::new(output).split(b'\n').map_while(std::result::Result::ok) {
                if String::from_utf8_lossy(&line).contains(READY) {
                    let _ = sender.send(());
                }
            }
            let _ = program.wait();
        });
        input.write_all(format!("echo {READY}\r\n").as_bytes()).map_err(|_| failed())?;
        ready.recv_timeout(START_TIMEOUT).map_err(|_| failed())?;
        Ok(Running { _input: input })
    }
}

/// Waits for the Windows programs to end, and names those that do not. In CI they are killed, as no one would ever end
/// them later, and that is a failure: a test left them.
pub fn settle(wine: Wine) -> Result<()> {
    let kill = std::env::var_os("CI").is_some().then_some("--kill");
    wine.run("sh xtask/wine/settle.sh").args(kill).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_first_number() {
        assert_eq!(major("wine-8.0 (Debian 8.0~repack-4)"), Some(8));
        assert_eq!(major("wine-10.0-rc2"), Some(10));
        assert_eq!(major("not wine"), None);
    }
}
