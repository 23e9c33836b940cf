//! The cost of a turn over the simulated kernel, which allows more connections than a machine has descriptors for.
//!
//! The turn serves one connection; the others are idle. `crates/sim/examples/turn` is the program; callgrind counts
//! its turns.

use std::io;
use std::path::Path;

use crate::cost;

const TURNS: u64 = 200;

pub struct Turn {
    pub idle: u64,
    pub instructions: f64,
    pub allocations: f64,
    /// For each idle connection, including the simulated kernel's share.
    pub bytes: u64,
}

pub fn measure(program: &Path, idle: u64) -> io::Result<Turn> {
    let mut command = cost::callgrind();
    command.args(["--collect-atstart=no", "--toggle-collect=turn::measurement::turns"]).arg(program);
    let output = command.args([idle, TURNS].map(|number| number.to_string())).output();
    let output = output.map_err(|error| io::Error::other(format!("valgrind: {error}. Is it installed?")))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let number = |name: &str| -> io::Result<u64> {
        let found = printed.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.ok_or_else(|| io::Error::other(format!("{}: no {name} in: {printed}", program.display())))
    };
    Ok(Turn {
        idle,
        instructions: cost::total(&String::from_utf8_lossy(&output.stderr))? as f64 / TURNS as f64,
        allocations: number("allocations")? as f64 / TURNS as f64,
        bytes: number("bytes")?,
    })
}

/// A table of the turns.
pub fn table(turns: &[Turn]) -> String {
    let mut text =
        "| idle connections | instructions of a turn | allocations of a turn | bytes of a connection |\n\
                    |---|---|---|---|"
            .to_owned();
    for turn in turns {
        let bytes = if turn.idle == 0 { "–".to_owned() } else { turn.bytes.to_string() };
        text += &format!("\n| {} | {:.0} | {} | {bytes} |", turn.idle, turn.instructions, turn.allocations);
    }
    text
}
