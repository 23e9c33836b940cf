//! Windows programs on Linux. How Wine is found, set up and called is in the scripts of `xtask/wine`: cargo runs one
//! of them for each Windows program, and a shell is there sooner than a Rust program would be built.

use crate::process::{Result, Run};

/// Makes the private Wine prefix, unless it is there.
pub fn set_up() -> Result<()> {
    Run::new("sh xtask/wine/setup.sh").run()
}

/// Waits for the Windows programs to end, and names those that do not. In CI they are killed, for nobody would ever
/// come back to them, and that is a failure: a test left them.
pub fn settle() -> Result<()> {
    let kill = std::env::var_os("CI").is_some().then_some("--kill");
    Run::new("sh xtask/wine/settle.sh").args(kill).run()
}
