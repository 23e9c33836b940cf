//! Measures dolmen against other event loops: `cargo xtask bench` runs it.
//!
//! * `servers/`: the contenders, each an echo and a broadcast server.
//! * `server.rs`: one contender in a process of its own.
//! * `load.rs`: the load generator. `meter.rs`: the cost of the server at the same time.
//! * `lines.rs`: the lines of a compressed broadcast.
//! * `cost.rs`: the counted figures, for the guards. `asleep.rs`: the wait until a server is asleep.
//! * `scenarios.rs`: the scenarios, in interleaved rounds.
//! * `work.rs`: work of a known amount, for the crew.
//! * `players/`: the front end with many players, quiet and under attack.
//! * `turn.rs`: the cost of a turn over the simulated kernel.
//! * `report.rs`: comparisons, the table, and the results as JSON. `page.rs` and `plots.rs`: the page about them.
//! * `system.rs`: processors, the accounting of processes, limits.

// Without the libraries only the code for the guards is used.
#![cfg_attr(not(feature = "libraries"), allow(dead_code))]

#[cfg(target_os = "linux")]
mod asleep;
#[cfg(target_os = "linux")]
mod cost;
#[cfg(target_os = "linux")]
mod histogram;
#[cfg(all(feature = "libraries", target_os = "linux"))]
mod lines;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod meter;
#[cfg(all(feature = "libraries", target_os = "linux"))]
mod page;
#[cfg(target_os = "linux")]
mod players;
#[cfg(all(feature = "libraries", target_os = "linux"))]
mod plots;
#[cfg(target_os = "linux")]
mod report;
#[cfg(all(feature = "libraries", target_os = "linux"))]
mod scenarios;
#[cfg(target_os = "linux")]
mod server;
mod servers;
#[cfg(target_os = "linux")]
mod system;
#[cfg(target_os = "linux")]
mod turn;
#[cfg(feature = "libraries")]
mod work;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use servers::Mode;

/// Measures dolmen against other event loops
#[derive(Parser)]
#[command(name = "dolmen-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios and write the results
    #[cfg(all(feature = "libraries", target_os = "linux"))]
    Run(scenarios::Options),
    /// Count instructions and system calls of a message
    #[cfg(target_os = "linux")]
    Cost(cost::Options),
    #[cfg(target_os = "linux")]
    Players(players::Options),
    /// Run as one contender's server
    Serve {
        contender: String,
        #[arg(value_parser = ["echo", "broadcast", "wake", "timers", "set-timers"])]
        mode: String,
        /// With wake and timers: for how many seconds
        #[arg(default_value_t = 1.0)]
        seconds: f64,
        /// With wake, the processor of the thread that posts; with timers and set-timers, how many; with a crew's echo,
        /// the steps of work of a message
        #[arg(default_value_t = 0)]
        argument: usize,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(all(feature = "libraries", target_os = "linux"))]
        Command::Run(options) => scenarios::run(&options),
        #[cfg(target_os = "linux")]
        Command::Cost(options) => cost::run(&options),
        #[cfg(target_os = "linux")]
        Command::Players(options) => players::run(&options),
        Command::Serve { contender, mode, seconds, argument } => serve(&contender, &mode, seconds, argument),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(name: &str, mode: &str, seconds: f64, argument: usize) -> io::Result<()> {
    #[cfg(feature = "libraries")]
    if let Some(members) = servers::crew::members(name) {
        let mode = if mode == "echo" { Mode::Echo } else { Mode::Broadcast };
        return servers::crew::serve(servers::listener()?, mode, members, argument as u64);
    }
    let Some(contender) = servers::ALL.iter().find(|contender| contender.name == name) else {
        let names: Vec<&str> = servers::ALL.iter().map(|contender| contender.name).collect();
        return Err(io::Error::other(format!("no contender {name}; there are {}", names.join(", "))));
    };
    match mode {
        "echo" => (contender.serve)(servers::listener()?, Mode::Echo),
        // With dolmen only, for the guards.
        "set-timers" => servers::set_timers(argument),
        "broadcast" => (contender.serve)(servers::listener()?, Mode::Broadcast),
        _ => inside(contender, mode, seconds, argument),
    }
}

#[cfg(target_os = "linux")]
fn inside(contender: &servers::Contender, mode: &str, seconds: f64, argument: usize) -> io::Result<()> {
    use servers::inside::{Posts, Timers};
    let duration = std::time::Duration::from_secs_f64(seconds);
    match (mode, contender.wake, contender.timers) {
        ("wake", Some(wake), _) => wake(&|post| Posts::start(duration, argument, post)),
        ("timers", _, Some(timers)) => timers(Timers::new(duration, argument)),
        _ => Err(io::Error::other(format!("it has no {mode} of its own here"))),
    }
}

#[cfg(not(target_os = "linux"))]
fn inside(_: &servers::Contender, mode: &str, _: f64, _: usize) -> io::Result<()> {
    Err(io::Error::other(format!("{mode} is measured on Linux only")))
}
