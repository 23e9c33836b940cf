//! The example programs, compiled as a user compiles them, and used by clients.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::clients::{echo_clients, rest_without_descriptors};
use super::driver;
use super::tests::{Tests, standard};
use crate::process::Result;
use crate::soak;
use crate::wine::Wine;

impl Tests<'_> {
    /// The examples with a plain compiler, with warnings.
    pub(super) fn examples(&self) -> Result<()> {
        for name in ["echo", "async_echo", "driver_skeleton", "async_driver"] {
            let program = self.folder.join(format!("{name}.exe"));
            self.compiler(false)
                .args(["-std=c99", &format!("examples/c/{name}.c"), "-o"])
                .args([program.display().to_string()])
                .args(self.link())
                .run()?;
        }
        // The end of its input shuts it down in order, also that of a pipe of another system.
        let programs = ["driver_skeleton.exe", "echo.exe", "async_echo.exe"];
        let [skeleton, echo, async_echo] = programs.map(|name| self.folder.join(name));
        self.start(&skeleton, &["0"])?;
        self.programs.run("driver_skeleton", || self.ends_with_its_input(&skeleton))?;
        for (arguments, complaint) in
            [(&[][..], "usage: "), (&["4000x"], "\"4000x\""), (&["0", "65536"], "\"65536\"")]
        {
            self.complains(&skeleton, arguments, complaint)?;
        }
        if !self.library.windows() {
            self.programs
                .run("driver_skeleton without descriptors", || self.rests_without_descriptors(&skeleton))?;
        }
        let driver = self.folder.join("async_driver.exe");
        if !self.library.windows() {
            self.programs
                .run("async_driver without descriptors", || self.rests_without_descriptors(&driver))?;
        }
        let heart_beats = self.heart_beats()?;
        self.programs.run("heart_beat", || soak::heart_beats::try_out(&heart_beats, self.wine))?;
        self.programs.run("async_driver", || driver::test(&driver, self.wine))?;
        self.programs.run("echo", || self.echoes(&echo))?;
        self.programs.run("async_echo", || self.echoes(&async_echo))
    }

    pub(super) fn heart_beats(&self) -> Result<Vec<PathBuf>> {
        let names = ["heart_beat", "async_heart_beat"];
        names.iter().map(|name| self.compile(false, name, &[standard(false), "-O2"], &[])).collect()
    }

    /// A program for a port of the system's choice, not started yet. Also under Wine, its process is the program.
    fn on_a_port(&self, program: &Path) -> Command {
        let mut command = Command::new(if self.library.windows() { "sh" } else { "env" });
        command.args(self.library.windows().then_some("xtask/wine/runner.sh")).arg(program).arg("0");
        command.envs(self.wine.map(Wine::env));
        command
    }

    fn ends_with_its_input(&self, program: &Path) -> Result<()> {
        println!("    $ echo hello | {} 0", program.display());
        let failed = |error| format!("{}: {error}", program.display());
        let started = self.on_a_port(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut program = started.map_err(failed)?;
        if let Some(mut input) = program.stdin.take() {
            input.write_all(b"hello\n").map_err(failed)?;
        }
        let (end, ended) = mpsc::channel();
        let output = program.stdout.take();
        std::thread::spawn(move || end.send(output.map(std::io::read_to_string)));
        if ended.recv_timeout(Duration::from_secs(20)).is_err() {
            program.kill().map_err(failed)?;
        }
        let status = program.wait().map_err(failed)?;
        if status.success() { Ok(()) } else { Err(format!("the end of its input ends it with {status}")) }
    }

    /// Invalid arguments end it with status 2 and a message about them.
    fn complains(&self, program: &Path, arguments: &[&str], complaint: &str) -> Result<()> {
        println!("    $ {} {}", program.display(), arguments.join(" "));
        let mut command = Command::new(if self.library.windows() { "sh" } else { "env" });
        command.args(self.library.windows().then_some("xtask/wine/runner.sh")).arg(program).args(arguments);
        let output = command.envs(self.wine.map(Wine::env)).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(2)
            && error.contains(complaint)
            && !output.stdout.ends_with(b"ready\n")
        {
            return Ok(());
        }
        Err(format!("{} {arguments:?} ends with {} and says {error:?}", program.display(), output.status))
    }

    /// With more clients than descriptors it pauses until there are free ones, and then goes on.
    fn rests_without_descriptors(&self, program: &Path) -> Result<()> {
        const CLIENTS: usize = 30;
        println!("    {CLIENTS} clients of {} with 16 descriptors", program.display());
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let mut server = Command::new("sh")
            .args(["-c", "ulimit -n 16 && exec \"$0\" 0"])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (input, output) = (server.stdin.take(), server.stdout.take());
        let tested = output.map_or(Err(std::io::Error::other("no output")), |output| {
            rest_without_descriptors(output, server.id(), CLIENTS)
        });
        // The end of its input ends it.
        drop(input);
        let status = if tested.is_err() { server.kill().and_then(|()| server.wait()) } else { server.wait() };
        tested.and(status.map(drop)).map_err(failed)
    }

    /// The example as a server, and some clients.
    pub(super) fn echoes(&self, program: &Path) -> Result<()> {
        const CLIENTS: usize = 200;
        println!("    {CLIENTS} clients of {}", program.display());
        let server = self.on_a_port(program).stdout(Stdio::piped()).spawn();
        let mut server = server.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let echoed = server.stdout.take().map_or(Err("no output".into()), |output| {
            echo_clients(output, CLIENTS)
                .map_err(|error| format!("the clients of {}: {error}", program.display()))
        });
        // It serves indefinitely.
        let ended = server.kill().and_then(|()| server.wait());
        echoed.and(ended.map(drop).map_err(|error| format!("cannot end {}: {error}", program.display())))
    }
}
