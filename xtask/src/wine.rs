//! Windows programs on Linux. How Wine is found, set up and called is in the scripts of `xtask/wine`: cargo runs one
//! of them for each Windows program, and a shell is there sooner than a Rust program would be built.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::ChildStdin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::process::{Result, Run};

/// Makes the private Wine prefix, unless it is there.
pub fn set_up() -> Result<()> {
    Run::new("sh xtask/wine/setup.sh").run()
}

/// Wine, kept up from one program to the next by a program that does nothing but wait for the end of its input.
///
/// Debian's Wine stops its server and its services as soon as no program runs. The next one then waits seconds for
/// them to start again, in its own session: at a terminal that a test may close under them. Or it meets the server that
/// is about to stop, and fails.
pub struct Running {
    /// Its end is the program's. If we die, that is the end of it too.
    _input: ChildStdin,
}

impl Running {
    pub fn start() -> Result<Running> {
        const PATIENCE: Duration = Duration::from_secs(60);
        const READY: &str = "Wine runs";
        let failed = || {
            "Wine does not run a program. To see why, type: WINEDEBUG=err+all sh xtask/wine/runner.sh cmd.exe"
                .to_owned()
        };
        // In a session of its own, so that no terminal's end is its end.
        let mut program = Run::new("setsid -w sh xtask/wine/runner.sh cmd.exe /q").spawn()?;
        let (Some(mut input), Some(output)) = (program.stdin.take(), program.stdout.take()) else {
            return Err(failed());
        };
        let (sender, ready) = mpsc::channel();
        thread::spawn(move || {
            // The prompt is a path, in whatever encoding.
            for line in BufReader::new(output).split(b'\n').map_while(std::result::Result::ok) {
                if String::from_utf8_lossy(&line).contains(READY) {
                    let _ = sender.send(());
                }
            }
            let _ = program.wait();
        });
        input.write_all(format!("echo {READY}\r\n").as_bytes()).map_err(|_| failed())?;
        ready.recv_timeout(PATIENCE).map_err(|_| failed())?;
        Ok(Running { _input: input })
    }
}

/// Waits for the Windows programs to end, and names those that do not. In CI they are killed, for nobody would ever
/// come back to them, and that is a failure: a test left them.
pub fn settle() -> Result<()> {
    let kill = std::env::var_os("CI").is_some().then_some("--kill");
    Run::new("sh xtask/wine/settle.sh").args(kill).run()
}
