//! The `dolmend` program; the library of the same name has all the code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    dolmend::logging::report_panics();
    dolmend::logging::survive_full_files();
    match dolmend::app::command_line() {
        Ok(cli) => dolmend::app::run(&cli),
        Err(status) => status,
    }
}
