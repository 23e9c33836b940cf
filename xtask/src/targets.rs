//! The target systems of the workspace, by their names in rustc.

use crate::process::{Result, Run};

/// Built, linted and tested.
pub const LINUX: &str = "x86_64-unknown-linux-gnu";
/// Built, linted, and tested under Wine if the machine is not a Windows one.
pub const WINDOWS_GNU: &str = "x86_64-pc-windows-gnu";
/// All of them; the msvc ones are checked and linted only, unless one is the host.
pub const ALL: [&str; 4] = [LINUX, WINDOWS_GNU, "x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"];

/// The name of the host.
pub fn host() -> Result<String> {
    let verbose = Run::new("rustc -vV").output()?;
    let line = verbose.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| format!("`rustc -vV` names no host:\n{verbose}"))
}

/// The cargo arguments for `target`: none on the host itself, so that its usual builds are reused.
pub fn flags(target: &str, host: &str) -> Vec<String> {
    if target == host { Vec::new() } else { vec!["--target".to_owned(), target.to_owned()] }
}
