//! A contender's server in a process of its own: native, or a Windows program under Wine.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::load::Outcome;
use crate::{servers, system};

/// The processors of the servers and of the load generator.
pub const SERVER_CPU: usize = 0;
pub const LOAD_CPU: usize = 1;

/// The platform of a contender.
#[derive(Clone, Debug)]
pub enum Platform {
    Linux,
    /// Under Wine: the script that runs programs, and the Windows build of this one.
    Windows {
        runner: PathBuf,
        program: PathBuf,
    },
}

impl Platform {
    pub fn name(&self) -> &'static str {
        match self {
            Platform::Linux => "linux",
            Platform::Windows { .. } => "windows",
        }
    }

    pub fn contenders(&self) -> Vec<&'static str> {
        match self {
            Platform::Linux => servers::ALL.iter().map(|contender| contender.name).chain(["libuv"]).collect(),
            Platform::Windows { .. } => {
                vec!["dolmen", "raw-iocp", "seed-loop", "mio", "tokio", "compio", "libuv"]
            }
        }
    }
}

/// With what the contenders of a scenario are compared: the hand-written loop, or the crew without members.
pub fn limit_of(platform: &str, scenario: &str) -> &'static str {
    match platform {
        _ if scenario.starts_with("crew") => "crew-0",
        "linux" => "raw-epoll",
        _ => "raw-iocp",
    }
}

/// The program of the libuv contender, or why there is none.
pub fn libuv() -> Result<&'static str, &'static str> {
    option_env!("BENCH_LIBUV_PROGRAM").ok_or(option_env!("BENCH_LIBUV_ABSENT").unwrap_or("it was not built"))
}

fn command(platform: &Platform, contender: &str, mode: &str) -> io::Result<Command> {
    match platform {
        Platform::Linux if contender == "libuv" => {
            let mut command = Command::new(libuv().map_err(io::Error::other)?);
            command.arg(mode);
            Ok(command)
        }
        Platform::Linux => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["serve", contender, mode]);
            Ok(command)
        }
        Platform::Windows { .. } if contender == "libuv" => {
            Err(io::Error::other("no package has libuv for mingw"))
        }
        Platform::Windows { runner, program } => {
            let mut command = Command::new("sh");
            command.arg(runner).arg(program).args(["serve", contender, mode]);
            Ok(command)
        }
    }
}

/// Where a server's threads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On one processor, and the load generator on another.
    Pinned,
    /// Where the load generator runs.
    Inherited,
}

fn spawn(command: &mut Command, place: Place) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let prepare = move || {
        system::end_with_parent()?;
        if place == Place::Pinned { system::pin(SERVER_CPU) } else { Ok(()) }
    };
    // SAFETY: between fork and exec only system calls are made, with memory of their own.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// A listening server. It ends when this is dropped.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    /// Other processes that work for it.
    pub helpers: Vec<u32>,
}

impl Server {
    pub fn start(
        platform: &Platform,
        contender: &str,
        mode: &str,
        steps: u64,
        place: Place,
    ) -> io::Result<Server> {
        let mut command = command(platform, contender, mode)?;
        if steps > 0 {
            command.args(["0", &steps.to_string()]);
        }
        let mut process = spawn(&mut command, place)?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut server =
            Server { process, address: SocketAddr::from(([127, 0, 0, 1], 0)), helpers: Vec::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            return Err(server.explain(io::Error::other("it did not start")));
        };
        server.address.set_port(port);
        if let Platform::Windows { .. } = platform {
            server.helpers = wineservers(server.id())?;
            if place == Place::Pinned {
                server.helpers.iter().try_for_each(|&helper| system::pin_process(helper, SERVER_CPU))?;
            }
        }
        Ok(server)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The last line of its error output, if any: it is more useful than its consequences.
    pub fn explain(&mut self, error: io::Error) -> io::Error {
        use std::io::Read as _;
        let _ = self.process.kill();
        let mut text = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        match text.trim().lines().last() {
            None => error,
            Some(line) => io::Error::other(line.to_owned()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server of a Wine program's prefix: the kernel objects are there, so its time counts as the program's.
fn wineservers(program: u32) -> io::Result<Vec<u32>> {
    let prefix = environment(program, "WINEPREFIX");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let name = std::fs::read_to_string(Path::new("/proc").join(format!("{id}/comm"))).unwrap_or_default();
        if name.starts_with("wineserver") && environment(id, "WINEPREFIX") == prefix {
            found.push(id);
        }
    }
    Ok(found)
}

fn environment(process: u32, name: &str) -> Option<String> {
    let all = std::fs::read(format!("/proc/{process}/environ")).ok()?;
    let all = String::from_utf8_lossy(&all);
    all.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// Runs a mode within one program. Returns the outcome and the processor time.
pub fn measure_inside(
    contender: &str,
    mode: &str,
    duration: Duration,
    argument: usize,
    place: Place,
) -> io::Result<(Outcome, f64)> {
    let mut command = command(&Platform::Linux, contender, mode)?;
    command.arg(duration.as_secs_f64().to_string()).arg(argument.to_string());
    let output = spawn(&mut command, place)?.wait_with_output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.trim().lines().last().unwrap_or("it failed without a message");
        return Err(io::Error::other(line.trim_start_matches("error: ").to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let malformed =
        || io::Error::other(format!("not understood: {}", text.lines().next().unwrap_or_default()));
    let mut lines = text.lines();
    let first: Vec<f64> = lines
        .next()
        .and_then(|line| line.strip_prefix("done "))
        .and_then(|line| line.split(' ').map(|word| word.parse().ok()).collect())
        .ok_or_else(malformed)?;
    let [count, seconds, cpu_s] = first[..] else { return Err(malformed()) };
    let mut latency = Histogram::new();
    for line in lines {
        let (ns, times) = line.split_once(' ').ok_or_else(malformed)?;
        latency.record_times(ns.parse().map_err(|_| malformed())?, times.parse().map_err(|_| malformed())?);
    }
    Ok((Outcome { count: count as u64, seconds, latency }, cpu_s))
}
