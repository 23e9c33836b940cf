//! A front end with many players, under load and under attack: what the others notice of it.
//!
//! * `front_end.rs`: the server, a process of its own. `crowd.rs`: the players, and what they hear how late.
//! * `attack.rs`: those who paste, flood and read slowly. `strangers.rs`: those who only connect.

mod attack;
mod crowd;
mod front_end;
mod strangers;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::system;
use attack::Attack;
use crowd::{Crowd, Heard};
use front_end::FrontEnd;

/// Measure the front end with many players, quiet and under attack
#[derive(clap::Args)]
pub struct Options {
    /// The front end, and what is to run it
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<PathBuf>,
    /// How many players only listen
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// How many tell each other a line a second, in pairs
    #[arg(long, default_value_t = 50)]
    talkers: usize,
    /// Seconds of each part
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many connect and leave at once, for the size of the log; 0 leaves this part and the silent connections out
    #[arg(long, default_value_t = 175_000)]
    churn: usize,
    /// Leave the attacks out
    #[arg(long)]
    quiet: bool,
}

/// What must hold on Linux.
const MOST_P99: Duration = Duration::from_millis(20);

/// How much later the 99th percentile may be under attack. What is below this bound anyway is not compared.
const MOST_TIMES: u32 = 2;
const NOT_COMPARED: Duration = Duration::from_millis(5);

/// How much the log may grow.
const MOST_LOG_BYTES: u64 = 1_000_000;

/// Runs all parts.
pub fn run(options: &Options) -> io::Result<()> {
    let limit = system::raise_descriptor_limit();
    let wanted = options.idle + options.talkers + 1100;
    if limit < wanted {
        return Err(io::Error::other(format!(
            "{wanted} descriptors are needed, and {limit} allowed (ulimit -n)"
        )));
    }
    println!("{}", system::machine());
    let mut problems = Vec::new();
    with_players(options, &mut problems)?;
    if options.churn > 0 {
        silence(options, &mut problems)?;
        churn(options, &mut problems)?;
    }
    if problems.is_empty() { Ok(()) } else { Err(io::Error::other(problems.join("; "))) }
}

/// The parts with players: tells, with a say to all besides, and with each attack.
fn with_players(options: &Options, problems: &mut Vec<String>) -> io::Result<()> {
    let room = options.idle + options.talkers + 100;
    let server = FrontEnd::start(&options.program, &format!("max users : {room}\n"))?;
    let begun = std::time::Instant::now();
    let mut crowd = Crowd::join(&server, options.idle, options.talkers)?;
    let time = begun.elapsed().as_secs_f64();
    println!("{} players have logged on in {time:.1} s, {}", crowd.len(), server.memory()?);
    let part = Duration::from_secs(options.seconds);

    let quiet = measure(&server, &mut crowd, "quiet", part, false)?;
    if quiet.tells.permille(990) > MOST_P99.as_nanos() as u64 {
        problems.push(format!("p99 is {}", in_ms(quiet.tells.permille(990))));
    }
    measure(&server, &mut crowd, "and a say a second", part, true)?;
    for &kind in if options.quiet { &[][..] } else { &attack::ALL } {
        let attack = Attack::start(kind, server.address)?;
        // Every player is notified of an arrival.
        crowd.settle()?;
        let heard = measure(&server, &mut crowd, kind.name(), part, false)?;
        let players = attack.players();
        println!("    the attacker: {}", attack.stop());
        crowd.see_off(players)?;
        let allowed = (u64::from(MOST_TIMES) * quiet.tells.permille(990)).max(NOT_COMPARED.as_nanos() as u64);
        if heard.tells.permille(990) > allowed {
            let (p99, quiet) = (in_ms(heard.tells.permille(990)), in_ms(quiet.tells.permille(990)));
            problems.push(format!("{}: p99 is {p99}, and {quiet} when it is quiet", kind.name()));
        }
    }
    if crowd.lost() > 0 {
        problems.push(format!("{} players were cut", crowd.lost()));
    }
    Ok(())
}

fn measure(server: &FrontEnd, crowd: &mut Crowd, name: &str, part: Duration, say: bool) -> io::Result<Heard> {
    server.forget_peak()?;
    let cpu = server.cpu_seconds()?;
    let heard = crowd.talk(part, say)?;
    let cpu = (server.cpu_seconds()? - cpu) / part.as_secs_f64() * 100.0;
    println!(
        "{name:<22} tells {}; {} heard of {} sent; processor {cpu:.0} %, {}",
        spread(&heard.tells),
        heard.tells.count(),
        heard.told,
        server.memory()?
    );
    if say {
        println!("{:<22} says  {}; {} heard", "", spread(&heard.says), heard.says.count());
    }
    if heard.tells.count() != heard.told {
        return Err(io::Error::other(format!("{name}: lines were lost")));
    }
    Ok(heard)
}

/// A thousand silent connections from one address, and a newcomer from another one.
fn silence(options: &Options, problems: &mut Vec<String>) -> io::Result<()> {
    let server = FrontEnd::start(&options.program, "no limits : none\n")?;
    let alone = strangers::newcomer(&server)?;
    let silent = strangers::stay_silent(&server, 1000)?;
    let beside = strangers::newcomer(&server)?;
    println!(
        "1000 silent connections: {} stayed; a newcomer is greeted after {}, before them after {}",
        silent.len(),
        in_ms(beside.as_nanos() as u64),
        in_ms(alone.as_nanos() as u64),
    );
    if beside > Duration::from_millis(100) {
        problems.push("a newcomer waits because of others' silence".to_owned());
    }
    Ok(())
}

/// So many connects and closes, and the size of the log.
fn churn(options: &Options, problems: &mut Vec<String>) -> io::Result<()> {
    let server = FrontEnd::start(&options.program, "no limits : none\n")?;
    let begun = std::time::Instant::now();
    strangers::come_and_go(&server, options.churn)?;
    let time = begun.elapsed().as_secs_f64();
    let bytes = server.log_bytes();
    println!(
        "{} connects and closes in {time:.0} s: {bytes} bytes of log, {}",
        options.churn,
        server.memory()?
    );
    if bytes > MOST_LOG_BYTES {
        problems.push(format!("the log has {bytes} bytes"));
    }
    Ok(())
}

fn spread(latency: &Histogram) -> String {
    let [p50, p99] = [500, 990].map(|permille| in_ms(latency.permille(permille)));
    format!("p50 {p50}, p99 {p99}, at most {}", in_ms(latency.max()))
}

fn in_ms(ns: u64) -> String {
    format!("{:.2} ms", ns as f64 / 1e6)
}
