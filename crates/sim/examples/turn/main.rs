//! A turn that serves one connection, with any number of idle ones present: `turn CONNECTIONS TURNS`.
//!
//! Prints how many allocations the turns have made, and how many bytes each idle connection takes, including the
//! simulated kernel's share. A tool counts the instructions: `turns` contains the turns and nothing else.

use std::process::ExitCode;

#[cfg(dolmen_sim)]
mod measurement;

fn main() -> ExitCode {
    #[cfg(dolmen_sim)]
    return measurement::run_command_line();
    #[cfg(not(dolmen_sim))]
    {
        eprintln!(
            "This program is built without the simulated kernel. Type `cargo run --example turn` in crates/sim."
        );
        ExitCode::FAILURE
    }
}
