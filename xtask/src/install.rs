//! The programs that the other chores need on a machine, and their installation: Rust targets, components and
//! toolchains by rustup, programs by apt-get. Every installation is announced, and if a program cannot be installed,
//! the error contains the command to type.

use std::path::Path;
use std::process::ExitCode;

use crate::process::{Result, Run, find_program, is_root};
use crate::steps::{Outcome, Steps, Stopped};
use crate::targets;
use crate::wine::{Wine, Wines};

/// Install what `cargo xtask test` needs, and set up Wine
///
/// Not needed before `test` or `ci`: they install the same things first. It is for preparing a machine, and for those
/// who use `cargo test --target x86_64-pc-windows-gnu` directly. To set up Wine again, delete target/wine-prefix and
/// target/wine-10-prefix first. Wine 10 is kept in dolmen/wine-10 of the user's cache folder; delete that to download
/// it again.
#[derive(clap::Args)]
pub struct Options {
    /// Leave out the programs that only the Windows tests need
    #[arg(long)]
    native: bool,
    /// Also cargo-deny and cargo-semver-checks, for two steps of `ci`; cargo compiles them for some minutes
    #[arg(long)]
    audit: bool,
}

/// The chore.
pub fn run(options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let installer = Installer { allowed: true };
    if for_tests(&mut steps, installer).is_ok() && !options.native && cfg!(not(windows)) {
        let wines = for_windows_tests(&mut steps, installer, None);
        let _stopped = wines.and_then(|wines| {
            wines.note_refusal(&mut steps);
            steps.step("the system's Wine", || Wine::System.set_up())
        });
    }
    if options.audit {
        for program in ["cargo-deny", "cargo-semver-checks"] {
            let _stopped = steps.step(program, || match find_program(&[program]) {
                Some(_) => Ok(()),
                None => Run::new("cargo install --locked").args([program]).run(),
            });
        }
    }
    steps.finish()
}

/// The steps that prepare a machine for the native tests.
pub fn for_tests(steps: &mut Steps, installer: Installer) -> std::result::Result<(), Stopped> {
    if cfg!(target_os = "linux") {
        steps.step("programs that tests use", || {
            installer.test_tools()?;
            installer.programs(&C_TOOLS)
        })?;
    }
    Ok(())
}

/// The steps that prepare it for the Windows tests, under the Wine that is `asked` for or the best available. The
/// system's Wine makes its prefix when it runs a program.
pub fn for_windows_tests(
    steps: &mut Steps,
    installer: Installer,
    asked: Option<Wine>,
) -> std::result::Result<Wines, Stopped> {
    let mut found = None;
    steps.step("Windows on this machine", || {
        installer.target(None, targets::WINDOWS_GNU)?;
        installer.programs(&WINDOWS_PROGRAMS)?;
        found = Some(Wines::of_the_system()?);
        Ok(())
    })?;
    let Some(mut wines) = found else { return Err(Stopped) };
    if asked != Some(Wine::System) {
        steps.step_or_skip("Wine 10", || {
            wines.add_ten(installer.allowed);
            match &wines.refused {
                Some(reason) if asked == Some(Wine::Ten) => Err(reason.clone()),
                Some(reason) => Ok(Outcome::Skipped(reason.clone())),
                None => Ok(Outcome::Passed),
            }
        })?;
    }
    Ok(wines)
}

/// A program that a chore or a test starts.
struct Program {
    /// Any one of these is sufficient.
    names: &'static [&'static str],
    /// The Debian and Ubuntu packages.
    packages: &'static [&'static str],
    /// Its purpose.
    why: &'static str,
}

const WINDOWS_PROGRAMS: [Program; 5] = [
    // The third name is Debian's wine64 without the package that puts commands into PATH.
    Program {
        names: &["wine", "wine64", "/usr/lib/wine/wine64"],
        packages: &["wine64", "wine"],
        why: "runs Windows programs",
    },
    Program { names: &["wineserver"], packages: &["wine"], why: "is needed to wait for Wine" },
    Program {
        names: &["x86_64-w64-mingw32-gcc"],
        packages: &["gcc-mingw-w64-x86-64"],
        why: "links Windows programs",
    },
    Program {
        names: &["x86_64-w64-mingw32-g++"],
        packages: &["g++-mingw-w64-x86-64"],
        why: "compiles the C library's tests in C++",
    },
    Program { names: &["script"], packages: &["bsdutils"], why: "gives Windows programs a console" },
];

const TEST_TOOLS: [Program; 4] = [
    Program {
        names: &["telnet", "inetutils-telnet"],
        packages: &["inetutils-telnet"],
        why: "is a client in tests",
    },
    Program { names: &["tt++"], packages: &["tintin++"], why: "is a MUD client in tests" },
    Program { names: &["nc"], packages: &["netcat-openbsd"], why: "is a client in tests" },
    Program { names: &["strace"], packages: &["strace"], why: "counts system calls in tests" },
];

const C_TOOLS: [Program; 5] = [
    Program { names: &["gcc"], packages: &["gcc"], why: "compiles the C library's tests" },
    Program { names: &["g++"], packages: &["g++"], why: "compiles the C library's tests in C++" },
    Program { names: &["cmake"], packages: &["cmake", "make"], why: "uses the C library's package" },
    Program { names: &["pkg-config"], packages: &["pkg-config"], why: "uses the C library's package" },
    Program { names: &["valgrind"], packages: &["valgrind"], why: "checks the C library" },
];

const COUNTING_TOOLS: [Program; 2] = [
    Program { names: &["valgrind"], packages: &["valgrind"], why: "counts instructions" },
    Program { names: &["strace"], packages: &["strace"], why: "counts system calls" },
];

/// The first file that the linker looks for in a 32-bit C program.
const C_FOR_32_BITS: [Program; 1] = [Program {
    names: &["/usr/lib32/crt1.o"],
    packages: &["gcc-multilib"],
    why: "is part of each 32-bit program in C",
}];

/// For programs as MSVC links them.
const MICROSOFT_LINKER: [Program; 2] = [
    Program { names: &["lld-link"], packages: &["lld"], why: "links as MSVC's linker does" },
    Program { names: &["llvm-dlltool"], packages: &["llvm"], why: "makes import libraries for MSVC" },
];

/// Installs what is missing, or only finds out that it is missing.
#[derive(Clone, Copy)]
pub struct Installer {
    /// False: change nothing on this machine.
    pub allowed: bool,
}

impl Installer {
    /// The standard library for `target`, in the default toolchain or in `toolchain`.
    pub fn target(self, toolchain: Option<&str>, target: &str) -> Result<()> {
        let plus = toolchain.map(|name| format!("+{name}"));
        let folder =
            Run::new("rustc").args(plus).args(["--print", "target-libdir", "--target", target]).output()?;
        if Path::new(folder.trim()).is_dir() {
            return Ok(());
        }
        let named = toolchain.map(|name| format!("--toolchain {name} ")).unwrap_or_default();
        self.rustup(&format!("target add {named}{target}"), &format!("Rust's standard library for {target}"))
    }

    /// A tool that comes with the default toolchain, such as clippy.
    pub fn component(self, program: &str, component: &str) -> Result<()> {
        // rustup's bin folder has a proxy for each component, installed or not: so run the tool.
        if Run::new(program).args(["--version"]).output().is_ok() {
            return Ok(());
        }
        self.rustup(&format!("component add {component}"), &format!("the Rust component {component}"))
    }

    /// Another toolchain in addition to the default one.
    pub fn toolchain(self, name: &str) -> Result<()> {
        let installed = Run::new("rustup toolchain list").output().unwrap_or_default();
        let full = format!("{name}-{}", targets::host()?);
        if installed.lines().any(|line| line.split_whitespace().next() == Some(&full)) {
            return Ok(());
        }
        let line = format!("toolchain install {name} --profile minimal --no-self-update");
        self.rustup(&line, &format!("the Rust toolchain {name}"))
    }

    /// A component of the nightly toolchain, which is installed.
    pub fn nightly_component(self, component: &str) -> Result<()> {
        let installed =
            Run::new("rustup component list --toolchain nightly --installed").output().unwrap_or_default();
        // Some are listed with their host, some without.
        let is_it = |line: &str| {
            line.strip_prefix(component).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if installed.lines().any(is_it) {
            return Ok(());
        }
        self.rustup(
            &format!("component add --toolchain nightly {component}"),
            &format!("the nightly Rust component {component}"),
        )
    }

    fn rustup(self, line: &str, what: &str) -> Result<()> {
        let to_type = format!("To install it, type: rustup {line}");
        if !self.allowed {
            return Err(format!("{what} is missing. {to_type}"));
        }
        if find_program(&["rustup"]).is_none() {
            return Err(format!("{what} is missing, and so is rustup, which would install it. {to_type}"));
        }
        println!("    {what} is missing: installing it");
        Run::new(&format!("rustup {line}"))
            .run()
            .map_err(|error| format!("{what} could not be installed. {error}"))
    }

    /// The programs that tests talk to. If nothing may be installed, the tests that need them report it themselves.
    fn test_tools(self) -> Result<()> {
        if self.allowed {
            return self
                .programs(&TEST_TOOLS)
                .map_err(|error| format!("{error}\nTo go on without: --no-install"));
        }
        for tool in TEST_TOOLS.iter().filter(|tool| find_program(tool.names).is_none()) {
            println!("    not installed: {}, which {}", tool.names[0], tool.why);
        }
        Ok(())
    }

    /// The programs that count instructions and system calls.
    pub fn counting_tools(self) -> Result<()> {
        self.programs(&COUNTING_TOOLS)
    }

    /// The packages that gcc needs for `-m32`.
    pub fn c_for_32_bits(self) -> Result<()> {
        self.programs(&C_FOR_32_BITS)
    }

    /// A linker with the command line of Microsoft's, and what makes its import libraries.
    pub fn microsoft_linker(self) -> Result<()> {
        self.programs(&MICROSOFT_LINKER)
    }

    fn programs(self, wanted: &[Program]) -> Result<()> {
        let missing: Vec<&Program> =
            wanted.iter().filter(|program| find_program(program.names).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let list: Vec<String> =
            missing.iter().map(|program| format!("{} ({})", program.names[0], program.why)).collect();
        let mut packages: Vec<&str> = missing.iter().flat_map(|program| program.packages).copied().collect();
        packages.sort_unstable();
        packages.dedup();
        let advice = format!("Missing: {}.\n{}", list.join(", "), how_to_install(&packages));
        if !self.allowed {
            return Err(advice);
        }
        let Some(apt_get) = apt_get() else { return Err(advice) };
        println!("    missing: {}; installing {}", list.join(", "), packages.join(" "));
        // A machine that was never updated has no package lists; with a broken extra source the lists may still
        // suffice.
        if let Err(error) = Run::new(&format!("{apt_get} update -q")).run() {
            println!("    using the existing package lists: {error}");
        }
        let install = Run::new(&format!("{apt_get} install -q -y --no-install-recommends")).args(packages);
        install.run().map_err(|error| format!("{advice}\n{error}"))?;
        match missing.iter().find(|program| find_program(program.names).is_none()) {
            None => Ok(()),
            Some(program) => Err(format!(
                "{} is installed, but there is no {} in PATH",
                program.packages.join(" "),
                program.names[0]
            )),
        }
    }
}

/// How this process may call apt-get without being asked for a password, if it can.
fn apt_get() -> Option<&'static str> {
    find_program(&["apt-get"])?;
    if is_root() {
        Some("env DEBIAN_FRONTEND=noninteractive apt-get")
    } else if Run::new("sudo -n true").output().is_ok() {
        Some("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get")
    } else {
        None
    }
}

fn how_to_install(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    if find_program(&["apt-get"]).is_some() {
        let sudo = if is_root() { "" } else { "sudo " };
        format!("To install them, type: {sudo}apt-get install --no-install-recommends {packages}")
    } else {
        format!("There is no apt-get here. Install what Debian calls: {packages}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: Installer = Installer { allowed: false };
    const NOWHERE: Program =
        Program { names: &["no-such-program-here"], packages: &["some-package"], why: "is a test" };

    #[test]
    fn a_missing_program_is_named_with_its_purpose_and_package() {
        let error = FORBIDDEN.programs(&[NOWHERE]).unwrap_err();
        for part in ["no-such-program-here (is a test)", "some-package"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_missing_target_comes_with_the_command_to_type() {
        let error = FORBIDDEN.target(None, "riscv64gc-unknown-none-elf").unwrap_err();
        assert!(error.ends_with("rustup target add riscv64gc-unknown-none-elf"), "{error}");
    }

    #[test]
    fn the_host_needs_no_target() {
        FORBIDDEN.target(None, &targets::host().unwrap()).unwrap();
    }
}
