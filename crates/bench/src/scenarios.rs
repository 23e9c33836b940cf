//! What is measured: each scenario in interleaved rounds, A B C A B C, with a fresh server each time.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::{self, Outcome};
use crate::report::{self, Round, Row};
use crate::{servers, system};

#[derive(clap::Args)]
pub struct Options {
    /// Three short rounds of echo-1, echo-32 and broadcast-1000: a minute at most
    #[arg(long)]
    quick: bool,
    /// Scenarios or contenders whose names contain this; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many rounds [default: 5, with --quick 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds measured a round [default: 3, with --quick 0.5]
    #[arg(long)]
    seconds: Option<f64>,
}

#[derive(Clone, Copy)]
enum Kind {
    Echo { connections: usize, depth: usize, idle: usize },
    Broadcast { connections: usize },
    Churn,
    IdleMemory { connections: usize },
}

struct Scenario {
    name: &'static str,
    kind: Kind,
    message_bytes: usize,
    quick: bool,
}

const fn echo(name: &'static str, connections: usize, depth: usize, idle: usize, bytes: usize) -> Scenario {
    Scenario { name, kind: Kind::Echo { connections, depth, idle }, message_bytes: bytes, quick: false }
}

const SCENARIOS: &[Scenario] = &[
    Scenario { quick: true, ..echo("echo-1", 1, 1, 0, 64) },
    Scenario { quick: true, ..echo("echo-32", 32, 1, 0, 64) },
    echo("echo-32-idle-8000", 32, 1, 8000, 64),
    echo("echo-32-16k", 32, 1, 0, 16_384),
    echo("pipeline-32", 32, 16, 0, 64),
    Scenario {
        name: "broadcast-1000",
        kind: Kind::Broadcast { connections: 1000 },
        message_bytes: 64,
        quick: true,
    },
    Scenario {
        name: "broadcast-1000-1k",
        kind: Kind::Broadcast { connections: 1000 },
        message_bytes: 1000,
        quick: false,
    },
    Scenario { name: "churn", kind: Kind::Churn, message_bytes: 64, quick: false },
    Scenario {
        name: "idle-memory",
        kind: Kind::IdleMemory { connections: 8000 },
        message_bytes: 64,
        quick: false,
    },
];

/// Where servers run, and where the load generator does.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

pub fn run(options: &Options) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Before this process is kept on one of the cores.
    let machine = system::machine();
    system::raise_descriptor_limit();
    if cores > 1 {
        system::pin(LOAD_CPU)?;
    } else {
        eprintln!("one core only: server and load generator share it, and disturb each other");
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 }).max(1);
    let seconds = options.seconds.unwrap_or(if options.quick { 0.5 } else { 3.0 });
    let wanted = |name: &str| options.only.iter().any(|part| name.contains(part.as_str()));
    let names_contender = servers::ALL.iter().any(|(name, _)| wanted(name));
    let names_scenario = SCENARIOS.iter().any(|scenario| wanted(scenario.name));
    let scenarios: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(
            |scenario| if names_scenario { wanted(scenario.name) } else { scenario.quick || !options.quick },
        )
        .collect();
    let contenders: Vec<&str> =
        servers::ALL.iter().map(|(name, _)| *name).filter(|name| !names_contender || wanted(name)).collect();
    println!("{machine}\n");
    let mut rows = Vec::new();
    for scenario in scenarios {
        let mut of_scenario: Vec<Row> =
            contenders.iter().map(|contender| Row::new(scenario.name, contender)).collect();
        for round in 1..=rounds {
            for row in &mut of_scenario {
                if row.error.is_some() {
                    continue;
                }
                eprint!("\r\x1b[K{}, round {round} of {rounds}: {}", scenario.name, row.contender);
                match measure(scenario, &row.contender, seconds, cores > 1) {
                    Ok(round) => row.rounds.push(round),
                    Err(error) => row.error = Some(error.to_string()),
                }
            }
        }
        eprint!("\r\x1b[K");
        report::print(scenario.name, &of_scenario);
        rows.extend(of_scenario);
    }
    report::write(&machine, &rows)
}

/// A contender's server, which ends with this.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(contender: &str, mode: &str, pinned: bool) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", contender, mode]).stdout(Stdio::piped()).stdin(Stdio::null());
        if pinned {
            command.args(["--cpu", &SERVER_CPU.to_string()]);
        }
        let mut process = command.stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = process.kill();
            let output = process.wait_with_output()?;
            let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(io::Error::other(format!("it did not start: {error}")));
        };
        Ok(Server { process, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Why it failed, if it has ended.
    fn explain(&mut self, error: io::Error) -> io::Error {
        use std::io::Read as _;
        let _ = self.process.kill();
        let mut text = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        match text.trim() {
            "" => error,
            text => io::Error::other(text.to_owned()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn measure(scenario: &Scenario, contender: &str, seconds: f64, pinned: bool) -> io::Result<Round> {
    let mode = if matches!(scenario.kind, Kind::Broadcast { .. }) { "broadcast" } else { "echo" };
    let mut server = Server::start(contender, mode, pinned)?;
    let measured = measure_at(&server, scenario, seconds);
    measured.map_err(|error| server.explain(error))
}

fn measure_at(server: &Server, scenario: &Scenario, seconds: f64) -> io::Result<Round> {
    let duration = Duration::from_secs_f64(seconds);
    let warm_up = Duration::from_secs_f64((seconds / 5.0).min(0.5));
    let (address, process, bytes) = (server.address, server.process.id(), scenario.message_bytes);
    let mut cpu_before = 0.0;
    let mut from_now = || cpu_before = system::cpu_seconds(process).unwrap_or(0.0);
    let outcome = match scenario.kind {
        Kind::Echo { connections, depth, idle } => {
            let _idle = load::connect(address, idle)?;
            load::echo(address, connections, depth, bytes, warm_up, duration, &mut from_now)?
        }
        Kind::Broadcast { connections } => {
            load::broadcast(address, connections, bytes, warm_up, duration, &mut from_now)?
        }
        Kind::Churn => load::churn(address, bytes, duration, &mut from_now)?,
        Kind::IdleMemory { connections } => return idle_memory(server, connections),
    };
    let cpu_s = system::cpu_seconds(process)? - cpu_before;
    let rss_bytes = system::resident_bytes(process)?;
    let Outcome { count, seconds, latency } = outcome;
    if count == 0 {
        return Err(io::Error::other("no message came back"));
    }
    Ok(Round { per_second: count as f64 / seconds, count, cpu_s, rss_bytes, latency: Some(latency) })
}

/// How much a connection costs that does nothing, after it has said something once.
fn idle_memory(server: &Server, connections: usize) -> io::Result<Round> {
    use std::io::{Read as _, Write as _};
    let process = server.process.id();
    let ask = |mut stream: &std::net::TcpStream| -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.write_all(b"hello")?;
        stream.read_exact(&mut [0; 5])
    };
    let first = load::connect(server.address, 1)?;
    ask(&first[0])?;
    let before = system::resident_bytes(process)?;
    let all = load::connect(server.address, connections)?;
    all.iter().try_for_each(ask)?;
    let rss_bytes = system::resident_bytes(process)?;
    let per_connection = rss_bytes.saturating_sub(before) as f64 / connections as f64;
    Ok(Round { per_second: per_connection, count: connections as u64, cpu_s: 0.0, rss_bytes, latency: None })
}
