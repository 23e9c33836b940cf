//! `dolmen-sim`: the program behind `cargo xtask sim` and `cargo xtask mutants`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(dolmen_mutants)]
mod mutants;
#[cfg(dolmen_sim)]
mod program;

fn main() -> ExitCode {
    #[cfg(dolmen_sim)]
    return program::run_command_line();
    #[cfg(not(dolmen_sim))]
    {
        eprintln!(
            "This dolmen-sim is built without the simulation. Type `cargo xtask sim`, or `cargo run` in crates/sim."
        );
        ExitCode::FAILURE
    }
}
