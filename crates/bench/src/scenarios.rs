//! The scenarios, each in interleaved rounds, A B C A B C, with a fresh server each time.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::load::{self, Outcome, Traffic, Window};
use crate::meter::{Calls, Meter};
use crate::report::{self, Round, Row};
use crate::server::{LOAD_CPU, Place, Platform, Server, measure_inside};
use crate::servers::crew;
use crate::{lines, page, system, turn, work};

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
    /// Seconds measured in each round [default: 1, with --quick 0.3]
    #[arg(long)]
    seconds: Option<f64>,
    /// Write docs/benchmarks.md and its plots
    #[arg(long)]
    report: bool,
    /// Measure on Linux
    #[arg(long)]
    linux: bool,
    /// Measure this Windows build under Wine
    #[arg(long, requires = "wine_runner", value_name = "PROGRAM")]
    windows: Option<PathBuf>,
    /// The script that runs Windows programs
    #[arg(long, value_name = "SCRIPT")]
    wine_runner: Option<PathBuf>,
    /// The version of that Wine
    #[arg(long, value_name = "VERSION", default_value = "")]
    wine_version: String,
    /// The program whose turns over the simulated kernel are counted for the page
    #[arg(long, value_name = "PROGRAM")]
    turn: Option<PathBuf>,
    /// The folder for results.json
    #[arg(long, default_value = "target/bench", value_name = "FOLDER")]
    out: PathBuf,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Echo {
        traffic: Traffic,
        idle: usize,
    },
    Paced {
        connections: usize,
    },
    Broadcast {
        connections: usize,
    },
    /// The crew, with so many microseconds of work a message.
    Crew {
        traffic: Traffic,
        work_us: u32,
    },
    /// The crew, a broadcast that each codec compresses.
    CrewBroadcast {
        connections: usize,
    },
    Churn,
    IdleMemory {
        connections: usize,
    },
    Wake,
    Timers {
        count: usize,
    },
}

pub struct Scenario {
    pub name: &'static str,
    pub kind: Kind,
    message_bytes: usize,
    quick: bool,
    windows: bool,
    /// One sentence for the page.
    pub about: &'static str,
}

impl Scenario {
    /// Whether its contenders are the crew with more and fewer members.
    pub fn is_of_crew(&self) -> bool {
        matches!(self.kind, Kind::Crew { .. } | Kind::CrewBroadcast { .. })
    }
}

const fn echo(name: &'static str, connections: usize, idle: usize, about: &'static str) -> Scenario {
    let traffic = Traffic { connections, depth: 1, batch: 1, message_bytes: 64, bulk: 0 };
    scenario(name, Kind::Echo { traffic, idle }, about)
}

const fn scenario(name: &'static str, kind: Kind, about: &'static str) -> Scenario {
    Scenario { name, kind, message_bytes: 64, quick: false, windows: false, about }
}

const fn traffic(depth: usize, message_bytes: usize, bulk: usize) -> Kind {
    Kind::Echo { traffic: Traffic { connections: 32, depth, batch: 1, message_bytes, bulk }, idle: 0 }
}

/// The messages are sent in batches, so that the load generator leaves the processors to the crew.
const fn crew(name: &'static str, work_us: u32, about: &'static str) -> Scenario {
    let traffic =
        Traffic { connections: 32, depth: 16, batch: 16, message_bytes: crew::MESSAGE_BYTES, bulk: 0 };
    scenario(name, Kind::Crew { traffic, work_us }, about)
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        quick: true,
        windows: true,
        ..echo("echo-1", 1, 0, "One connection: a message of 64 bytes, its echo, the next.")
    },
    Scenario { quick: true, windows: true, ..echo("echo-32", 32, 0, "32 connections, each as in echo-1.") },
    echo("echo-32-idle-1000", 32, 1000, "The same with 1,000 idle connections as well."),
    echo("echo-32-idle-4000", 32, 4000, "With 4,000."),
    echo("echo-32-idle-8000", 32, 8000, "With 8,000."),
    echo("echo-32-idle-16000", 32, 16_000, "With 16,000."),
    echo("echo-1-idle-100", 1, 100, "One busy connection with 100 idle ones."),
    echo("echo-1-idle-1000", 1, 1000, "With 1,000 idle ones."),
    echo("echo-1-idle-10000", 1, 10_000, "With 10,000 idle ones."),
    echo(
        "echo-1-idle-19000",
        1,
        19_000,
        "With 19,000, for which the usual limit of 20,000 descriptors leaves room.",
    ),
    scenario("echo-32-16k", traffic(1, 16_384, 0), "32 connections, messages of 16 KiB."),
    scenario("pipeline-32", traffic(16, 64, 0), "32 connections with 16 messages in flight each."),
    Scenario {
        windows: true,
        ..scenario(
            "mixed-32",
            traffic(1, 64, 2),
            "As echo-32, with two further connections that keep four messages of 16 KiB in flight. The small messages count.",
        )
    },
    Scenario {
        quick: true,
        windows: true,
        ..scenario(
            "broadcast-1000",
            Kind::Broadcast { connections: 1000 },
            "One of 1,000 connections sends 64 bytes, all receive them, the next. Deliveries count.",
        )
    },
    Scenario {
        message_bytes: 1000,
        ..scenario("broadcast-1000-1k", Kind::Broadcast { connections: 1000 }, "The same with 1,000 bytes.")
    },
    scenario(
        "churn",
        Kind::Churn,
        "Connect, one message and its echo, reset; one connection after the other.",
    ),
    Scenario {
        windows: true,
        ..scenario(
            "paced-1000",
            Kind::Paced { connections: 1000 },
            "1,000 connections, a line a second each: the server's share of its processor, and the latency of a line.",
        )
    },
    scenario(
        "idle-memory",
        Kind::IdleMemory { connections: 8000 },
        "Resident memory of a connection that has sent one message: 8,000 more of them.",
    ),
    scenario(
        "wake",
        Kind::Wake,
        "Posts from another thread to a loop that sleeps: the latency is from the post to its delivery.",
    ),
    scenario(
        "timers-100k",
        Kind::Timers { count: 100_000 },
        "100,000 one-shot timers of up to a second, each set again when it fires. The latency is their lateness.",
    ),
    scenario(
        "crew-lines",
        Kind::Crew {
            traffic: Traffic { connections: 32, depth: 1, batch: 1, message_bytes: 64, bulk: 0 },
            work_us: 0,
        },
        "The crew with 32 connections, each as in echo-1: the codecs only divide the bytes into messages.",
    ),
    crew(
        "crew-0us",
        0,
        "32 connections with 16 messages in flight each, which are sent together when the 16 before have come back. \
         Their codecs only divide the bytes into messages.",
    ),
    crew("crew-20us", 20, "The same with 20 µs of work in the codec for each message."),
    crew("crew-100us", 100, "With 100 µs of work."),
    scenario(
        "crew-mccp-1000",
        Kind::CrewBroadcast { connections: 1000 },
        "One of 1,000 connections sends a line of 64 bytes. All receive it, each compressed by zlib in its codec and \
         flushed, and then the next follows. Deliveries count.",
    ),
];

pub fn run(options: &Options) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Before this process is pinned to one of the cores.
    let machine = system::machine();
    system::raise_descriptor_limit();
    let pinned = cores > 1;
    if pinned {
        system::pin(LOAD_CPU)?;
    } else {
        eprintln!("one core only: server and load generator share it, and disturb each other");
    }
    let run =
        Run { options, pinned, progress: Progress::new(), steps_of_a_us: work::steps_of_a_microsecond() };
    println!("{machine}\n");
    let mut rows = Vec::new();
    if options.linux || options.windows.is_none() {
        run.platform(&Platform::Linux, &mut rows);
    }
    if let (Some(program), Some(runner)) = (&options.windows, &options.wine_runner) {
        println!("## Windows, {}\n", options.wine_version);
        let platform = Platform::Windows { runner: runner.clone(), program: program.clone() };
        run.platform(&platform, &mut rows);
    }
    let place = report::write(&options.out, &rows)?;
    let mut turns = Vec::new();
    if let Some(program) = options.turn.as_ref().filter(|_| options.report) {
        for idle in [0, 100, 10_000, 100_000, 1_000_000] {
            let elapsed = run.progress.started.elapsed().as_secs();
            eprintln!("[{elapsed:>4} s] a turn beside {idle} idle connections, simulated");
            // A failure here does not discard the earlier measurements.
            match turn::measure(program, idle) {
                Ok(turn) => turns.push(turn),
                Err(error) => eprintln!("not counted: {error}"),
            }
        }
    }
    println!("{machine}, {}\n{}", system::load_average(), place.display());
    if options.report {
        page::write(&machine, &options.wine_version, options.quick, &rows, &turns)?;
    }
    Ok(())
}

struct Run<'a> {
    options: &'a Options,
    pinned: bool,
    progress: Progress,
    steps_of_a_us: f64,
}

impl Run<'_> {
    fn platform(&self, platform: &Platform, rows: &mut Vec<Row>) {
        let options = self.options;
        let wanted = |name: &str| options.only.iter().any(|part| name.contains(part.as_str()));
        // An exact name selects only that one: `echo-32` does not select `echo-32-16k`.
        let exact = |name: &str| options.only.iter().any(|part| name == part);
        let names_exactly = SCENARIOS.iter().any(|scenario| exact(scenario.name));
        let chosen = |name: &str| if names_exactly { exact(name) } else { wanted(name) };
        let here = |scenario: &&Scenario| scenario.windows || matches!(platform, Platform::Linux);
        let names_scenario = SCENARIOS.iter().any(|scenario| chosen(scenario.name));
        let scenarios: Vec<&Scenario> = SCENARIOS
            .iter()
            .filter(here)
            .filter(
                |scenario| {
                    if names_scenario { chosen(scenario.name) } else { scenario.quick || !options.quick }
                },
            )
            .collect();
        let all = platform.contenders();
        let names_contender = all.iter().chain(&crew::NAMES).any(|name| wanted(name));
        for (at, scenario) in scenarios.iter().enumerate() {
            let contenders = if scenario.is_of_crew() { &crew::NAMES[..] } else { &all[..] };
            let mut of_scenario: Vec<Row> = contenders
                .iter()
                .filter(|name| !names_contender || wanted(name))
                .map(|contender| Row::new(scenario.name, contender, platform.name()))
                .collect();
            self.scenario(platform, scenario, (at, scenarios.len()), &mut of_scenario);
            report::print(&of_scenario);
            rows.extend(of_scenario);
        }
    }

    fn scenario(&self, platform: &Platform, scenario: &Scenario, place: (usize, usize), rows: &mut [Row]) {
        let options = self.options;
        let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 }).max(1);
        let seconds = options.seconds.unwrap_or(if options.quick { 0.3 } else { 1.0 });
        for round in 1..=rounds {
            // In alternating order, so that state left in the system does not always precede the same contender.
            let order: Vec<usize> =
                if round % 2 == 1 { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
            for at in order {
                let row = &mut rows[at];
                if row.error.is_some() {
                    continue;
                }
                let what = format!("round {round} of {rounds}: {}", row.contender);
                self.progress.say(place, scenario.name, &what);
                match self.round(platform, scenario, &row.contender, seconds) {
                    Ok(round) => row.rounds.push(round),
                    Err(error) => row.error = Some(error.to_string()),
                }
            }
        }
        // In a run of its own, as counting slows a server down.
        let calls = match platform {
            Platform::Linux => Calls::System,
            Platform::Windows { .. } => Calls::Wineserver,
        };
        let counted = matches!(
            scenario.kind,
            Kind::Echo { .. }
                | Kind::Broadcast { .. }
                | Kind::Churn
                | Kind::Crew { .. }
                | Kind::CrewBroadcast { .. }
        );
        for row in rows.iter_mut().filter(|row| row.error.is_none() && counted) {
            self.progress.say(place, scenario.name, &format!("calls of {}", row.contender));
            match self.measure(platform, scenario, &row.contender, seconds.min(0.5), Some(calls)) {
                Ok((round, calls)) => {
                    row.calls_per_message = calls.map(|calls| calls as f64 / round.count as f64)
                }
                Err(error) => eprintln!("\n{}: calls not counted: {error}", row.contender),
            }
        }
        self.progress.clear();
    }

    /// One round. Where the server needs all processors, another program takes from it what a round is to show: then the round
    /// is repeated, and the least disturbed one counts.
    fn round(
        &self,
        platform: &Platform,
        scenario: &Scenario,
        contender: &str,
        seconds: f64,
    ) -> io::Result<Round> {
        let disturbance = |round: &Round| round.others_cpu_s / round.seconds;
        if scenario.is_of_crew() {
            wait_until_quiet()?;
        }
        let (mut best, _) = self.measure(platform, scenario, contender, seconds, None)?;
        for _ in 1..TRIES {
            if !scenario.is_of_crew() || disturbance(&best) <= MOST_OF_OTHERS {
                break;
            }
            wait_until_quiet()?;
            let (round, _) = self.measure(platform, scenario, contender, seconds, None)?;
            if disturbance(&round) < disturbance(&best) {
                best = round;
            }
        }
        Ok(best)
    }

    fn measure(
        &self,
        platform: &Platform,
        scenario: &Scenario,
        contender: &str,
        seconds: f64,
        calls: Option<Calls>,
    ) -> io::Result<(Round, Option<u64>)> {
        let inside = match scenario.kind {
            Kind::Wake => Some(("wake", LOAD_CPU)),
            Kind::Timers { count } => Some(("timers", count)),
            _ => None,
        };
        if let Some((mode, argument)) = inside {
            let duration = Duration::from_secs_f64(seconds);
            let (outcome, cpu_s) = measure_inside(contender, mode, duration, argument, self.place())?;
            // The posting thread is idle between posts on purpose.
            let sum_s = outcome.latency.sum_ns() as f64 / 1e9;
            let seconds = if matches!(scenario.kind, Kind::Wake) { sum_s } else { outcome.seconds };
            return Ok((Round::new(Outcome { seconds, ..outcome }, cpu_s, None), None));
        }
        let (mode, work_us) = match scenario.kind {
            Kind::Broadcast { .. } | Kind::CrewBroadcast { .. } => ("broadcast", 0),
            Kind::Crew { work_us, .. } => ("echo", work_us),
            _ => ("echo", 0),
        };
        let steps = (f64::from(work_us) * self.steps_of_a_us) as u64;
        if scenario.is_of_crew() {
            // Its threads share all processors, with each other and with the load generator.
            system::unpin()?;
            let mut server = Server::start(platform, contender, mode, steps, Place::Inherited)?;
            let measured =
                measure_at(&server, scenario, seconds, calls).map_err(|error| server.explain(error));
            if self.pinned {
                system::pin(LOAD_CPU)?;
            }
            return measured;
        }
        let mut server = Server::start(platform, contender, mode, steps, self.place())?;
        measure_at(&server, scenario, seconds, calls).map_err(|error| server.explain(error))
    }

    fn place(&self) -> Place {
        if self.pinned { Place::Pinned } else { Place::Inherited }
    }
}

/// How often a round of the crew is tried, and how much of a processor other programs may have in one that is not repeated.
const TRIES: usize = 5;
const MOST_OF_OTHERS: f64 = 0.1;

/// Waits until other programs leave the machine alone, for three seconds at most.
fn wait_until_quiet() -> io::Result<()> {
    const STEP: Duration = Duration::from_millis(300);
    for _ in 0..10 {
        let before = system::busy_seconds()?;
        std::thread::sleep(STEP);
        if (system::busy_seconds()? - before) / STEP.as_secs_f64() <= MOST_OF_OTHERS {
            break;
        }
    }
    Ok(())
}

fn measure_at(
    server: &Server,
    scenario: &Scenario,
    seconds: f64,
    calls: Option<Calls>,
) -> io::Result<(Round, Option<u64>)> {
    let mut duration = Duration::from_secs_f64(seconds);
    if let Kind::Paced { .. } = scenario.kind {
        // So that a share of one per cent is more than a few ticks.
        duration = duration.max(Duration::from_secs(3));
    }
    let window = Window { warm_up: Duration::from_secs_f64((seconds / 5.0).min(0.5)), duration };
    let (address, bytes) = (server.address, scenario.message_bytes);
    let mut meter = Meter::new(server.id(), server.helpers.clone());
    if let Some(calls) = calls {
        meter = meter.counting(calls);
    }
    let outcome = match scenario.kind {
        Kind::Echo { traffic, idle } => {
            let _idle = load::connect(address, idle)?;
            load::echo(address, traffic, window, &mut meter)?
        }
        Kind::Paced { connections } => load::paced(address, connections, bytes, window, &mut meter)?,
        Kind::Broadcast { connections } => {
            let next = |line: &mut Vec<u8>| {
                line.resize(bytes, b'm');
                bytes
            };
            load::broadcast(address, connections, next, window, &mut meter)?
        }
        Kind::Crew { traffic, .. } => load::echo(address, traffic, window, &mut meter)?,
        Kind::CrewBroadcast { connections } => {
            load::broadcast(address, connections, lines::compressed(), window, &mut meter)?
        }
        Kind::Churn => load::churn(address, bytes, window, &mut meter)?,
        Kind::IdleMemory { connections } => return Ok((idle_memory(server, connections)?, None)),
        Kind::Wake | Kind::Timers { .. } => unreachable!("no server is needed"),
    };
    if outcome.count == 0 {
        return Err(io::Error::other("no message came back"));
    }
    let round = Round::new(outcome, meter.cpu_s, meter.rss_bytes);
    Ok((Round { load_cpu_s: meter.load_cpu_s, others_cpu_s: meter.others_cpu_s, ..round }, meter.calls))
}

/// The cost of a connection that is idle after one message.
fn idle_memory(server: &Server, connections: usize) -> io::Result<Round> {
    use std::io::{Read as _, Write as _};
    let process = server.id();
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
    Ok(Round::memory(rss_bytes.saturating_sub(before) as f64 / connections as f64, rss_bytes))
}

/// The progress: on a terminal in one line, otherwise a line for each scenario's round.
struct Progress {
    started: Instant,
    terminal: bool,
    last: std::cell::RefCell<String>,
}

impl Progress {
    fn new() -> Progress {
        Progress { started: Instant::now(), terminal: io::stderr().is_terminal(), last: Default::default() }
    }

    fn say(&self, (at, of): (usize, usize), scenario: &str, what: &str) {
        let elapsed = self.started.elapsed().as_secs();
        let line = format!("[{elapsed:>4} s] scenario {} of {of}: {scenario}, {what}", at + 1);
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            return;
        }
        let what = what.split_once(':').map_or("calls", |(round, _)| round);
        let key = format!("{scenario}, {what}");
        if *self.last.borrow() != key {
            eprintln!("[{elapsed:>4} s] scenario {} of {of}: {key}", at + 1);
            *self.last.borrow_mut() = key;
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
