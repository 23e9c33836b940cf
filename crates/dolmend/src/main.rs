//! The `dolmend` program; everything is in the library of the same name.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    dolmend::app::run(&dolmend::cli::Cli::parse())
}
