//! The code in which threads meet, under loom: every possible order of events, and not only the usual ones.

use std::process::ExitCode;

use crate::process::{Result, Run};
use crate::steps::Steps;

/// Try every order of events between wakers, posters, channels, the console's reader and the reactor
///
/// The mailbox and the console's inbox are built with loom's atomics and locks, in a target folder of their own
/// (target/loom), and each model is run once for each order of events that makes a difference, with up to three
/// pre-emptions.
#[derive(clap::Args)]
pub struct Options {
    /// How many pre-emptions to try at most; more take much longer
    #[arg(long, default_value_t = 3)]
    preemptions: u32,
}

impl Options {
    /// The bounded part for CI.
    pub fn quick() -> Self {
        Self { preemptions: 2 }
    }
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("loom", || models(options));
    steps.finish()
}

/// The only step of the chore.
pub fn models(options: &Options) -> Result<()> {
    let target_dir = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    Run::new("cargo test --package dolmen --release --lib loom")
        .args(["--target-dir".to_owned(), format!("{target_dir}/loom")])
        .env("RUSTFLAGS", "--cfg loom")
        .env("LOOM_MAX_PREEMPTIONS", options.preemptions.to_string())
        .run()
}
