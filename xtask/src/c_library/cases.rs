//! The test programs: as they are, under AddressSanitizer and valgrind, and with the static library.

use std::path::Path;
use std::process::{Command, Stdio};

use super::library::UNIX_LIBS;
use super::tests::{Tests, standard};
use crate::process::{Result, Run};
use crate::wine::Wine;

/// The test programs, and whether each is C++.
const CASES: [(&str, bool); 9] = [
    ("table", false),
    ("seed", true),
    ("scale", false),
    ("connect", false),
    ("console", false),
    ("fork", false),
    ("extended", false),
    ("async", false),
    ("async_system", false),
];
const POSIX_ONLY: [&str; 1] = ["fork"];

impl Tests<'_> {
    pub(super) fn cases(&self) -> Result<()> {
        for (name, plus) in CASES {
            if POSIX_ONLY.contains(&name) && self.library.windows() {
                continue;
            }
            let program = self.compile(plus, name, &[standard(plus)], &[])?;
            if name == "console" && self.library.windows() {
                self.programs.run("console", || self.start_in_terminal(&program))?;
            } else {
                self.start(&program, &[])?;
            }
        }
        Ok(())
    }

    /// C code under AddressSanitizer, and everything under valgrind.
    pub(super) fn sanitized(&self) -> Result<()> {
        for (name, plus) in CASES {
            let program = self.compile(
                plus,
                name,
                &[standard(plus), "-fsanitize=address,undefined", "-DSANITIZED"],
                &[],
            )?;
            self.start(&program, &[])?;
            let program = self.compile(plus, name, &[standard(plus)], &[])?;
            if name != "scale" {
                // Its descriptor table is too small for scale.c. Processes of fork.c exit without freeing their memory.
                let leaks = if name == "fork" { "no" } else { "full" };
                self.programs.run(&format!("{name} under valgrind"), || {
                    // One thread runs at a time. Unless they take turns, a thread that does not sleep keeps the others
                    // waiting.
                    let valgrind = Run::new(&format!(
                        "valgrind --quiet --fair-sched=try --error-exitcode=9 --leak-check={leaks}"
                    ));
                    valgrind.args([program.display().to_string()]).env("CHECK_SLOW", "1").run()
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn statically_linked(&self) -> Result<()> {
        let program = self.folder.join("table-static");
        let archive = self.library.folder.join(self.library.files()[0]).display().to_string();
        self.compiler(false)
            .args([standard(false), "crates/dolmen-c/tests/c/table.c", "-o"])
            .args([program.display().to_string(), archive])
            .args(UNIX_LIBS.split(' '))
            .run()?;
        self.start(&program, &[])
    }

    /// Wine gives a program a console where it finds a terminal. The terminal has to be in raw mode, and its input must
    /// stay open.
    fn start_in_terminal(&self, program: &Path) -> Result<()> {
        let output = self.folder.join("console.txt");
        let (program, output) = (program.display(), output.display());
        let line = format!("stty raw -echo; sh xtask/wine/runner.sh {program} >{output} 2>&1");
        println!("    $ script -qec '{line}' /dev/null");
        let script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .envs(self.wine.map(Wine::env))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut script = script.map_err(|error| format!("cannot start `script`: {error}"))?;
        let input = script.stdin.take();
        let status = script.wait().map_err(|error| format!("`script`: {error}"))?;
        drop(input);
        print!("{}", std::fs::read_to_string(output.to_string()).unwrap_or_default());
        if status.success() { Ok(()) } else { Err(format!("the console tests failed: {status}")) }
    }
}
