//! Counts instead of times, so that a busy machine changes nothing: instructions under callgrind, which counts none of
//! the kernel's, and system calls under strace. A figure is the difference between a long run and a short one, divided
//! by the difference of their lengths; work that is done once cancels out.
//!
//! Each line of the output is a name, a tab and a figure.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::asleep::Processes;
use crate::{system, turn};

#[derive(clap::Args)]
pub struct Options {
    /// Count the wineserver requests of this Windows build instead
    #[arg(long, requires = "wine_runner", value_name = "PROGRAM")]
    windows: Option<PathBuf>,
    /// The script that runs Windows programs
    #[arg(long, value_name = "SCRIPT")]
    wine_runner: Option<PathBuf>,
    /// The program whose turns over the simulated kernel are also counted
    #[arg(long, value_name = "PROGRAM")]
    turn: Option<PathBuf>,
}

/// Lengths of the short run and the long one.
const MESSAGES: (usize, usize) = (500, 2_500);
const UNDER_WINE: (usize, usize) = (100, 600);
/// The number of connections accepted in one batch differs from run to run, so the difference of the runs has to be
/// long.
const LINES: (usize, usize) = (10, 510);
const LISTENERS: usize = 100;
const TIMERS: (usize, usize) = (1_000, 6_000);

pub fn run(options: &Options) -> io::Result<()> {
    if let (Some(program), Some(runner)) = (&options.windows, &options.wine_runner) {
        let serve = |contender: &str| {
            let mut command = strace(&["-e", "trace=write,writev"]);
            command.arg("sh").arg(runner).arg(program).args(["serve", contender, "echo"]);
            command
        };
        for contender in ["dolmen", "raw-iocp", "seed-loop"] {
            let requests = slope(UNDER_WINE, |count| {
                // The server has to be asleep when a message arrives, as servers are: otherwise the figure depends on
                // how much strace slows each of the two down.
                served(serve(contender), |server| echo(server.address, count, Some(&server.processes()?)))
            })?;
            println!("wineserver requests of an echoed message, {contender}\t{requests:.3}");
        }
        return Ok(());
    }
    for contender in ["dolmen", "raw-epoll"] {
        let serve = |mut command: Command, mode: &str| {
            command.arg(std::env::current_exe().unwrap_or_default()).args(["serve", contender, mode]);
            command
        };
        let instructions = slope(MESSAGES, |count| {
            served(serve(callgrind(), "echo"), |server| echo(server.address, count, None))
        })?;
        println!("instructions of an echoed message, {contender}\t{instructions:.1}");
        let instructions = slope(LINES, |count| {
            served(serve(callgrind(), "broadcast"), |server| broadcast(server.address, count))
        })?;
        println!("instructions of a delivery, {contender}\t{:.1}", instructions / LISTENERS as f64);
        match slope(MESSAGES, |count| {
            served(serve(strace(&[]), "echo"), |server| echo(server.address, count, None))
        }) {
            Ok(calls) => println!("system calls of an echoed message, {contender}\t{calls:.3}"),
            // A container may forbid it; then perf does not work either.
            Err(error) => eprintln!("system calls of an echoed message were not counted: {error}"),
        }
    }
    let instructions = slope(TIMERS, |count| {
        let mut command = callgrind();
        command.arg(std::env::current_exe()?).args([
            "serve",
            "dolmen",
            "set-timers",
            "1",
            &count.to_string(),
        ]);
        let output = command.stdin(Stdio::null()).output()?;
        total(&String::from_utf8_lossy(&output.stderr))
    })?;
    println!("instructions of a timer, dolmen\t{instructions:.1}");
    let Some(program) = &options.turn else { return Ok(()) };
    for idle in [0, 100_000] {
        let instructions = turn::measure(program, idle)?.instructions;
        println!("instructions of a simulated turn beside {idle} idle connections\t{instructions:.1}");
    }
    Ok(())
}

/// The growth of the count with each further step.
fn slope((short, long): (usize, usize), count: impl Fn(usize) -> io::Result<u64>) -> io::Result<f64> {
    let (less, more) = (count(short)?, count(long)?);
    Ok((more as f64 - less as f64) / (long - short) as f64)
}

/// The command that runs a program under callgrind, which prints how many instructions it has counted.
pub fn callgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
}

fn strace(filter: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "calls,name"]).args(filter);
    command
}

/// A server under a tool.
struct Served {
    address: SocketAddr,
    tool: u32,
}

impl Served {
    fn processes(&self) -> io::Result<Processes> {
        Processes::of(self.tool)
    }
}

/// Starts the server under a tool, runs an action against it, ends it, and returns the tool's count.
fn served(mut tool: Command, work: impl Fn(&Served) -> io::Result<()>) -> io::Result<u64> {
    tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = tool.spawn().map_err(|error| {
        io::Error::other(format!("{}: {error}. Is it installed?", tool.get_program().display()))
    })?;
    let worked = address(&mut process).and_then(|address| work(&Served { address, tool: process.id() }));
    // strace ends with the program that it has started, which is another process. callgrind is the process itself.
    let child =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap_or_default();
    let child = child.split_whitespace().next().and_then(|id| id.parse().ok());
    system::terminate(child.unwrap_or(process.id()));
    let mut text = String::new();
    if let Some(stderr) = &mut process.stderr {
        stderr.read_to_string(&mut text)?;
    }
    process.wait()?;
    worked.map_err(|error| io::Error::other(format!("{error}: {}", text.trim())))?;
    total(&text)
}

fn address(process: &mut Child) -> io::Result<SocketAddr> {
    let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| io::Error::other("the server does not listen"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// callgrind's "Collected : N", or the total of strace's table.
pub fn total(text: &str) -> io::Result<u64> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let found = text.lines().map(words).find_map(|words| match &words[..] {
        [_, collected, _, count] if collected == "Collected" => count.parse().ok(),
        [count, total] if total == "total" => count.parse().ok(),
        _ => None,
    });
    found.ok_or_else(|| io::Error::other(format!("no count in: {}", text.trim())))
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Sends one message after the other; where processes are given, each only when they are asleep.
fn echo(server: SocketAddr, messages: usize, processes: Option<&Processes>) -> io::Result<()> {
    let mut stream = connect(server)?;
    let mut message = [b'm'; 64];
    for _ in 0..messages {
        processes.map_or(Ok(()), Processes::wait_until_asleep)?;
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    Ok(())
}

fn broadcast(server: SocketAddr, lines: usize) -> io::Result<()> {
    let mut streams: Vec<TcpStream> = (0..LISTENERS).map(|_| connect(server)).collect::<io::Result<_>>()?;
    let mut message = [b'm'; 64];
    for _ in 0..lines {
        // The last connection sends: by then all are accepted.
        streams[LISTENERS - 1].write_all(&message)?;
        for stream in &mut streams {
            stream.read_exact(&mut message)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_of_both_tools_are_found() {
        let callgrind = "==7== Events    : Ir\n==7== Collected : 2087041\n";
        let strace = "    calls syscall\n--------- ----------------\n       54 recvfrom\n      164 total\n";
        assert_eq!((total(callgrind).expect("a"), total(strace).expect("b")), (2_087_041, 164));
        assert!(total("nothing").is_err());
    }
}
