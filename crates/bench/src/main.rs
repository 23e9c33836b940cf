//! Measures dolmen beside other event loops: `cargo xtask bench` runs it.
//!
//! * `servers/`: the contenders, each an echo and a broadcast server.
//! * `load.rs`: the load generator.
//! * `scenarios.rs`: what is measured, in interleaved rounds.
//! * `report.rs`: the table and the results as JSON.
//! * `system.rs`: processors, the accounting of processes, limits.

#[cfg(target_os = "linux")]
mod histogram;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod scenarios;
mod servers;
#[cfg(target_os = "linux")]
mod system;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures dolmen beside other event loops
#[derive(Parser)]
#[command(name = "dolmen-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios and write the results
    #[cfg(target_os = "linux")]
    Run(scenarios::Options),
    /// Be one contender's server
    Serve {
        contender: String,
        mode: servers::Mode,
        /// The processor to stay on
        #[arg(long)]
        cpu: Option<usize>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(target_os = "linux")]
        Command::Run(options) => scenarios::run(&options),
        Command::Serve { contender, mode, cpu } => serve(&contender, mode, cpu),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(contender: &str, mode: servers::Mode, cpu: Option<usize>) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(cpu) = cpu {
        system::pin(cpu)?;
    }
    let _ = cpu;
    let Some((_, serve)) = servers::ALL.iter().find(|(name, _)| *name == contender) else {
        let names: Vec<&str> = servers::ALL.iter().map(|(name, _)| *name).collect();
        return Err(std::io::Error::other(format!(
            "no contender {contender}; there are {}",
            names.join(", ")
        )));
    };
    serve(servers::listener()?, mode)
}
