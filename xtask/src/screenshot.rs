//! The picture on the front page, made by the test that checks it.

use std::process::ExitCode;

use crate::process::Run;
use crate::steps::{Outcome, Steps};

/// Write docs/console.svg: the operator's console and two players, as their terminals show them
///
/// The server runs on port 4000, which has to be free, and the players use telnet. `cargo xtask test` compares the picture with
/// what the programs show.
#[derive(clap::Args)]
pub struct Options {}

/// The chore.
pub fn run(_options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step_or_skip("screenshot", || {
        if cfg!(not(target_os = "linux")) {
            return Ok(Outcome::Skipped("the terminals of the tests exist on Linux only".to_owned()));
        }
        Run::new("cargo test --quiet --package dolmend --test screenshot")
            .env("DOLMEN_SCREENSHOT", "write")
            .run()?;
        Ok(Outcome::Passed)
    });
    steps.finish()
}
