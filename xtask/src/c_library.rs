//! The C library: its header, its tests, and its installation.
//!
//! Cargo builds the library. This module does the rest: C compilers, the header together with other headers, sanitizers
//! for C code, a terminal for console tests, and packages for CMake and pkg-config.

mod headers;

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::install::Installer;
use crate::process::{Result, Run};
use crate::retry::Programs;
use crate::soak;
use crate::steps::{Outcome, Steps};
use crate::targets;
use crate::wine::Wine;

const SOURCES: &str = "crates/dolmen-c";

/// The libraries that a Rust static library needs, as printed by `rustc --print native-static-libs`, except those that
/// a C compiler adds by itself, including libgcc_s, of which there is no static library.
const UNIX_LIBS: &str = "-lutil -lrt -lpthread -lm -ldl";
const WINDOWS_LIBS: &str = "-lkernel32 -lntdll -luserenv -lws2_32 -ldbghelp";

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

/// Update the headers in crates/dolmen-c/include from the sources
#[derive(clap::Args)]
pub struct HeaderOptions {}

/// The chore.
pub fn header(_options: &HeaderOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("header", || {
        Run::new("cargo test --quiet --package dolmen-c --test header")
            .env("IO_REACTOR_WRITE_HEADER", "1")
            .run()
    });
    steps.finish()
}

/// Install the C library: headers, static and shared library, pkg-config file, CMake package
#[derive(clap::Args)]
pub struct InstallOptions {
    /// The folder that gets include, lib and, for Windows, bin; from the current one, if it is relative
    #[arg(long, value_name = "FOLDER")]
    prefix: PathBuf,
    /// Another system than this one, such as x86_64-pc-windows-gnu
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
}

/// The chore.
pub fn install(options: &InstallOptions) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("C library", || {
        let host = targets::host()?;
        let target = options.target.as_deref().unwrap_or(&host);
        // From the folder in which the command was typed.
        Library::build(target, &host, true)?.install(&crate::typed_in().join(&options.prefix))
    });
    steps.finish()
}

/// Run the C library's tests only, which `cargo xtask test` includes
#[derive(clap::Args)]
pub struct TestOptions {
    /// Leave Windows out
    #[arg(long)]
    native: bool,
    /// Which Wine runs the Windows programs
    #[arg(long, default_value = "system")]
    wine: Wine,
}

/// The chore.
pub fn run_tests(options: &TestOptions) -> ExitCode {
    let mut steps = Steps::new(true);
    let _stopped = steps.step_or_skip("C library, native", || test(None, Programs::new("", false)));
    let _stopped = steps.step_or_skip("C library, 32 bits", || {
        test_32_bits(Installer { allowed: true }, Programs::new("", false))
    });
    if !options.native {
        let _stopped = steps.step_or_skip("C library, Windows under Wine", || {
            test(Some(options.wine), Programs::new("", false))
        });
    }
    steps.finish()
}

/// The C tests, of Windows programs if there is a Wine to run them.
pub fn test(wine: Option<Wine>, programs: Programs) -> Result<Outcome> {
    let host = targets::host()?;
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!(
            "the C tests are set up for {} only, and this is {host}",
            targets::LINUX
        )));
    }
    let target = if wine.is_some() { targets::WINDOWS_GNU } else { &host };
    let library = Library::build(target, &host, false)?;
    let tests = Tests::new(&library, wine, programs)?;
    tests.exports()?;
    tests.includes()?;
    tests.cases()?;
    tests.examples()?;
    if !library.windows() {
        tests.sanitized()?;
        tests.statically_linked()?;
    }
    tests.installed()?;
    Ok(tests.programs.outcome())
}

/// The programs of `cargo xtask soak --heart-beats`, one for each header, with the library as it is installed.
pub fn heart_beats(windows: bool) -> Result<Vec<PathBuf>> {
    let host = targets::host()?;
    let target = if windows { targets::WINDOWS_GNU } else { &host };
    let library = Library::build(target, &host, true)?;
    Tests::new(&library, None, Programs::new("", false))?.heart_beats()
}

const LINUX_32: &str = "i686-unknown-linux-gnu";

/// The C tests as 32-bit programs: another width of pointers, sizes and times. If the additional programs for that are
/// not available, the step is skipped.
pub fn test_32_bits(installer: Installer, programs: Programs) -> Result<Outcome> {
    let host = targets::host()?;
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!("set up for {} only, and this is {host}", targets::LINUX)));
    }
    if let Err(error) = installer.target(None, LINUX_32).and_then(|()| installer.c_for_32_bits()) {
        return Ok(Outcome::Skipped(format!("NOT RUN as 32-bit programs. {error}")));
    }
    let library = Library::build(LINUX_32, &host, false)?;
    let tests = Tests::new(&library, None, programs)?;
    tests.refuse_wide_times()?;
    for name in ["async_includes", "table", "connect", "console", "fork", "extended", "async", "async_system"]
    {
        let program = tests.compile(false, name, &[standard(false)], &[])?;
        tests.start(&program, &[])?;
    }
    Ok(tests.programs.outcome())
}

/// A built library.
struct Library {
    target: String,
    folder: PathBuf,
}

impl Library {
    fn build(target: &str, host: &str, release: bool) -> Result<Library> {
        let profile = release.then_some("--release");
        let flags = targets::flags(target, host);
        Run::new("cargo build --package dolmen-c")
            .args(profile)
            .args(flags.iter().map(String::as_str))
            .run()?;
        let mut folder =
            PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        if !flags.is_empty() {
            folder.push(target);
        }
        folder.push(if release { "release" } else { "debug" });
        let folder =
            std::path::absolute(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let library = Library { target: target.to_owned(), folder };
        if !library.windows() {
            // A program that is linked here starts here.
            link("libio_reactor.so", &library.folder.join(soname()))?;
        }
        Ok(library)
    }

    fn windows(&self) -> bool {
        self.target.contains("windows")
    }

    fn msvc(&self) -> bool {
        self.target.ends_with("msvc")
    }

    /// The static library, the shared one, and the file against which programs link to use the shared one.
    fn files(&self) -> [&'static str; 3] {
        match (self.windows(), self.msvc()) {
            (false, _) => ["libio_reactor.a", "libio_reactor.so", "libio_reactor.so"],
            (_, false) => ["libio_reactor.a", "io_reactor.dll", "libio_reactor.dll.a"],
            (_, true) => ["io_reactor.lib", "io_reactor.dll", "io_reactor.dll.lib"],
        }
    }

    fn install(&self, prefix: &Path) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        let mut numbers = version.split('.');
        let mut number = || numbers.next().unwrap_or("0");
        let (major, minor) = (number(), number());
        let [archive, shared, import] = self.files();
        let libs = if self.windows() { WINDOWS_LIBS } else { UNIX_LIBS };
        let names: Vec<&str> = libs.split(' ').map(|lib| lib.trim_start_matches("-l")).collect();
        let values = [
            ("@VERSION@", version.to_owned()),
            ("@MAJOR@", major.to_owned()),
            ("@MINOR@", minor.to_owned()),
            (
                "@SHARED@",
                if self.windows() { format!("bin/{shared}") } else { format!("lib/{shared}.{version}") },
            ),
            ("@SONAME@", soname()),
            ("@IMPORT@", format!("lib/{import}")),
            ("@STATIC@", format!("lib/{archive}")),
            ("@STATIC_LIBS@", names.join(";")),
            ("@LIBS@", if self.windows() { "-lws2_32".to_owned() } else { String::new() }),
            ("@PRIVATE_LIBS@", libs.to_owned()),
        ];
        let built = |name: &str| self.folder.join(name);
        for header in headers::HEADERS {
            copy(&Path::new(SOURCES).join("include").join(header), &prefix.join("include"))?;
        }
        copy(&built(archive), &prefix.join("lib"))?;
        if self.windows() {
            copy(&built(shared), &prefix.join("bin"))?;
            copy(&built(import), &prefix.join("lib"))?;
        } else {
            // The file name has the full version. Programs find it by its SONAME, and linkers by the name without a
            // version.
            let file = format!("{shared}.{version}");
            copy_as(&built(shared), &prefix.join("lib").join(&file))?;
            link(&file, &prefix.join("lib").join(soname()))?;
            link(&soname(), &prefix.join("lib").join(shared))?;
        }
        for (name, folder) in [
            ("io_reactor.pc", "lib/pkgconfig"),
            ("io_reactor-config.cmake", "lib/cmake/io_reactor"),
            ("io_reactor-config-version.cmake", "lib/cmake/io_reactor"),
        ] {
            let template = Path::new(SOURCES).join("packaging").join(format!("{name}.in"));
            let template = std::fs::read_to_string(&template)
                .map_err(|error| format!("{}: {error}", template.display()))?;
            let text = values.iter().fold(template, |text, (key, value)| text.replace(key, value));
            let folder = prefix.join(folder);
            make_folder(&folder)?;
            let place = folder.join(name);
            std::fs::write(&place, text).map_err(|error| format!("{}: {error}", place.display()))?;
            println!("    {}", place.display());
        }
        Ok(())
    }
}

/// Test programs are built beside the library.
struct Tests<'a> {
    library: &'a Library,
    folder: PathBuf,
    wine: Option<Wine>,
    programs: Programs,
}

impl<'a> Tests<'a> {
    fn new(library: &'a Library, wine: Option<Wine>, programs: Programs) -> Result<Tests<'a>> {
        let folder = library.folder.join("c-tests");
        make_folder(&folder)?;
        if library.windows() {
            copy(&library.folder.join("io_reactor.dll"), &folder)?;
        }
        Ok(Tests { library, folder, wine, programs })
    }

    fn cases(&self) -> Result<()> {
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
    fn sanitized(&self) -> Result<()> {
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

    fn statically_linked(&self) -> Result<()> {
        let program = self.folder.join("table-static");
        let archive = self.library.folder.join(self.library.files()[0]).display().to_string();
        self.compiler(false)
            .args([standard(false), "crates/dolmen-c/tests/c/table.c", "-o"])
            .args([program.display().to_string(), archive])
            .args(UNIX_LIBS.split(' '))
            .run()?;
        self.start(&program, &[])
    }

    /// The examples with a plain compiler, with warnings.
    fn examples(&self) -> Result<()> {
        for name in ["echo", "async_echo", "driver_skeleton", "async_driver"] {
            let program = self.folder.join(format!("{name}.exe"));
            self.compiler(false)
                .args(["-std=c99", &format!("examples/c/{name}.c"), "-o"])
                .args([program.display().to_string()])
                .args(self.link())
                .run()?;
        }
        // The end of its input shuts it down in order, also that of a pipe of another system.
        let programs = ["driver_skeleton.exe", "echo.exe", "async_echo.exe"];
        let [skeleton, echo, async_echo] = programs.map(|name| self.folder.join(name));
        self.start(&skeleton, &["0"])?;
        self.programs.run("driver_skeleton", || self.ends_with_its_input(&skeleton))?;
        for (arguments, complaint) in
            [(&[][..], "usage: "), (&["4000x"], "\"4000x\""), (&["0", "65536"], "\"65536\"")]
        {
            self.complains(&skeleton, arguments, complaint)?;
        }
        if !self.library.windows() {
            self.programs
                .run("driver_skeleton without descriptors", || self.rests_without_descriptors(&skeleton))?;
        }
        let driver = self.folder.join("async_driver.exe");
        if !self.library.windows() {
            self.programs
                .run("async_driver without descriptors", || self.rests_without_descriptors(&driver))?;
        }
        let heart_beats = self.heart_beats()?;
        self.programs.run("heart_beat", || soak::heart_beats::try_out(&heart_beats, self.wine))?;
        self.programs.run("async_driver", || crate::c_driver::test(&driver, self.wine))?;
        self.programs.run("echo", || self.echoes(&echo))?;
        self.programs.run("async_echo", || self.echoes(&async_echo))
    }

    fn heart_beats(&self) -> Result<Vec<PathBuf>> {
        let names = ["heart_beat", "async_heart_beat"];
        names.iter().map(|name| self.compile(false, name, &[standard(false), "-O2"], &[])).collect()
    }

    /// A program for a port of the system's choice, not started yet. Also under Wine, its process is the program.
    fn on_a_port(&self, program: &Path) -> Command {
        let mut command = Command::new(if self.library.windows() { "sh" } else { "env" });
        command.args(self.library.windows().then_some("xtask/wine/runner.sh")).arg(program).arg("0");
        command.envs(self.wine.map(Wine::env));
        command
    }

    fn ends_with_its_input(&self, program: &Path) -> Result<()> {
        println!("    $ echo hello | {} 0", program.display());
        let failed = |error| format!("{}: {error}", program.display());
        let started = self.on_a_port(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut program = started.map_err(failed)?;
        if let Some(mut input) = program.stdin.take() {
            input.write_all(b"hello\n").map_err(failed)?;
        }
        let (end, ended) = mpsc::channel();
        let output = program.stdout.take();
        std::thread::spawn(move || end.send(output.map(std::io::read_to_string)));
        if ended.recv_timeout(Duration::from_secs(20)).is_err() {
            program.kill().map_err(failed)?;
        }
        let status = program.wait().map_err(failed)?;
        if status.success() { Ok(()) } else { Err(format!("the end of its input ends it with {status}")) }
    }

    /// Invalid arguments end it with status 2 and a message about them.
    fn complains(&self, program: &Path, arguments: &[&str], complaint: &str) -> Result<()> {
        println!("    $ {} {}", program.display(), arguments.join(" "));
        let mut command = Command::new(if self.library.windows() { "sh" } else { "env" });
        command.args(self.library.windows().then_some("xtask/wine/runner.sh")).arg(program).args(arguments);
        let output = command.envs(self.wine.map(Wine::env)).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(2)
            && error.contains(complaint)
            && !output.stdout.ends_with(b"ready\n")
        {
            return Ok(());
        }
        Err(format!("{} {arguments:?} ends with {} and says {error:?}", program.display(), output.status))
    }

    /// With more clients than descriptors it pauses until there are free ones, and then goes on.
    fn rests_without_descriptors(&self, program: &Path) -> Result<()> {
        const CLIENTS: usize = 30;
        println!("    {CLIENTS} clients of {} with 16 descriptors", program.display());
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let mut server = Command::new("sh")
            .args(["-c", "ulimit -n 16 && exec \"$0\" 0"])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (input, output) = (server.stdin.take(), server.stdout.take());
        let tested = output.map_or(Err(std::io::Error::other("no output")), |output| {
            rest_without_descriptors(output, server.id(), CLIENTS)
        });
        // The end of its input ends it.
        drop(input);
        let status = if tested.is_err() { server.kill().and_then(|()| server.wait()) } else { server.wait() };
        tested.and(status.map(drop)).map_err(failed)
    }

    /// The example as a server, and some clients.
    fn echoes(&self, program: &Path) -> Result<()> {
        const CLIENTS: usize = 200;
        println!("    {CLIENTS} clients of {}", program.display());
        let server = self.on_a_port(program).stdout(Stdio::piped()).spawn();
        let mut server = server.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let echoed = server.stdout.take().map_or(Err("no output".into()), |output| {
            echo_clients(output, CLIENTS)
                .map_err(|error| format!("the clients of {}: {error}", program.display()))
        });
        // It serves indefinitely.
        let ended = server.kill().and_then(|()| server.wait());
        echoed.and(ended.map(drop).map_err(|error| format!("cannot end {}: {error}", program.display())))
    }

    /// Installed into a folder, and used from there by pkg-config and CMake.
    fn installed(&self) -> Result<()> {
        let prefix = self.folder.join("prefix");
        self.library.install(&prefix)?;
        let prefix = prefix.display().to_string();
        if !self.library.windows() {
            let package = |what: &str| {
                let asked = Run::new(&format!("pkg-config {what} io_reactor"));
                asked.env("PKG_CONFIG_PATH", format!("{prefix}/lib/pkgconfig")).output()
            };
            let headers = package("--cflags")?;
            // The shared library; the static one in a program that is otherwise dynamic; all static.
            for (name, flags, libraries) in [
                ("echo-shared", "", package("--libs")?),
                ("echo-static", "", package("--variable=static")?),
                ("echo-all-static", "-static", package("--static --libs")?),
            ] {
                let program = self.folder.join(name).display().to_string();
                let rpath = format!("-Wl,-rpath,{prefix}/lib");
                Run::new("cc -o")
                    .args([program.as_str(), "examples/c/echo.c", &rpath])
                    .args(flags.split_whitespace().chain(headers.split_whitespace()))
                    .args(libraries.split_whitespace())
                    .run()?;
                let needed = Run::new("readelf -d").args([program.as_str()]).output()?;
                let shared = needed.contains(&format!("[{}]", soname()));
                if shared != (name == "echo-shared") {
                    return Err(format!("{name} is linked to the wrong library:\n{needed}"));
                }
                self.echoes(Path::new(&program))?;
            }
        }
        let build = self.folder.join("cmake").display().to_string();
        let cross = [
            "-DCMAKE_SYSTEM_NAME=Windows",
            "-DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc",
            "-DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=BOTH",
        ];
        Run::new("cmake -S examples/c -B")
            .args([build.clone(), format!("-DCMAKE_PREFIX_PATH={prefix}")])
            .args(if self.library.windows() { &cross[..] } else { &[] }.iter().copied())
            .run()?;
        Run::new("cmake --build").args([build]).run()
    }

    fn compile(&self, plus: bool, name: &str, flags: &[&str], after: &[&str]) -> Result<PathBuf> {
        let extension = if plus && !name.ends_with("includes") { "cpp" } else { "c" };
        let sanitized = if flags.contains(&"-DSANITIZED") { "-asan" } else { "" };
        let program = self.folder.join(format!("{name}{sanitized}.exe"));
        self.compiler(plus)
            .args(flags.iter().copied())
            .args([format!("{SOURCES}/tests/c/{name}.{extension}")])
            .args(after.iter().copied())
            .args(["-o".to_owned(), program.display().to_string()])
            .args(self.link())
            .run()?;
        Ok(program)
    }

    fn compiler(&self, plus: bool) -> Run {
        let line = match (self.library.windows(), plus) {
            (false, false) => "gcc",
            (false, true) => "g++",
            (true, false) => "x86_64-w64-mingw32-gcc",
            (true, true) => "x86_64-w64-mingw32-g++",
        };
        let flags = "-g -Wall -Wextra -pedantic -Werror -Icrates/dolmen-c/include -Icrates/dolmen-c/tests/c";
        let system = if self.library.target == LINUX_32 {
            "-D_GNU_SOURCE -m32"
        } else if self.library.windows() {
            "-D__USE_MINGW_ANSI_STDIO -D_WIN32_WINNT=0x0601 -Wno-cast-function-type"
        } else {
            "-D_GNU_SOURCE"
        };
        Run::new(&format!("{line} {flags} {system}"))
    }

    fn link(&self) -> Vec<String> {
        let folder = self.library.folder.display();
        if self.library.windows() {
            let import = self.library.folder.join(self.library.files()[2]);
            return vec![
                import.display().to_string(),
                "-lws2_32".to_owned(),
                "-static-libgcc".to_owned(),
                "-static-libstdc++".to_owned(),
            ];
        }
        vec![
            format!("-L{folder}"),
            "-lio_reactor".to_owned(),
            "-pthread".to_owned(),
            format!("-Wl,-rpath,{folder}"),
        ]
    }

    fn start(&self, program: &Path, args: &[&str]) -> Result<()> {
        self.programs.run(&name(program), || {
            let run = match self.wine.map(Wine::env) {
                Some((variable, which)) => Run::new("sh xtask/wine/runner.sh").env(variable, which),
                None => Run::new("env"),
            };
            run.args([program.display().to_string()]).args(args.iter().copied()).run()
        })
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

/// Connects `clients` clients to the server, which prints its port; all of them send, and then each receives its echo.
fn echo_clients(output: impl Read, clients: usize) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().strip_prefix("listening on ").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| std::io::Error::other(format!("it says {line:?}")))?;
    let connect = |_| {
        let client = TcpStream::connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(client)
    };
    let mut streams = (0..clients).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    for round in 0..3 {
        let text = |client: usize| format!("client {client}, round {round}: ").repeat(20);
        for (client, stream) in streams.iter_mut().enumerate() {
            stream.write_all(text(client).as_bytes())?;
        }
        for (client, stream) in streams.iter_mut().enumerate() {
            let mut back = vec![0; text(client).len()];
            stream.read_exact(&mut back)?;
            if back != text(client).as_bytes() {
                return Err(std::io::Error::other(format!("client {client} gets {back:?}")));
            }
        }
    }
    Ok(())
}

/// The server has too few descriptors for all the clients: it must not spin, and accepts waiting clients when others
/// close.
fn rest_without_descriptors(output: impl Read, server: u32, clients: usize) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().strip_prefix("listening on ").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| std::io::Error::other(format!("it says {line:?}")))?;
    let greeted = |client: &TcpStream, wait: Duration| {
        client.set_read_timeout(Some(wait))?;
        client.peek(&mut [0]).map(|count| count > 0)
    };
    let connect = |_| TcpStream::connect(("127.0.0.1", port));
    let mut waiting = (0..clients).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    // The first client is accepted immediately, and the last one cannot be: the test has to wait for silence.
    greeted(&waiting[0], Duration::from_secs(20))?;
    let before = cpu_ticks(server)?;
    if greeted(&waiting[clients - 1], Duration::from_secs(2)).is_ok() {
        return Err(std::io::Error::other("it has enough descriptors"));
    }
    let ticks = cpu_ticks(server)? - before;
    // A tick is a hundredth of a second; a server that spins has some two hundred of them.
    if ticks > 40 {
        return Err(std::io::Error::other(format!("it was busy for {ticks} of 200 ticks")));
    }
    // The accepted clients close, and there is room for the last ones.
    waiting.drain(..clients - 5);
    waiting.iter().try_for_each(|client| greeted(client, Duration::from_secs(20)).map(drop))
}

/// How long a process has been on a processor, in the system's ticks.
fn cpu_ticks(process: u32) -> std::io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may contain spaces: state is the first field, and user and system time the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}

/// `table`, from a path that ends in `table.exe`.
fn name(program: &Path) -> String {
    program.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn standard(plus: bool) -> &'static str {
    if plus { "-std=c++17" } else { "-std=c99" }
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    copy_as(file, &folder.join(file.file_name().unwrap_or_default()))
}

fn copy_as(file: &Path, place: &Path) -> Result<()> {
    place.parent().map_or(Ok(()), make_folder)?;
    std::fs::copy(file, place)
        .map_err(|error| format!("{} to {}: {error}", file.display(), place.display()))?;
    println!("    {}", place.display());
    Ok(())
}

/// The name under which programs look for the shared library; the library's build script sets it.
fn soname() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("libio_reactor.so.{}", version.split('.').next().unwrap_or("0"))
}

/// Makes a symbolic link, and replaces an existing link.
fn link(to: &str, place: &Path) -> Result<()> {
    let failed = |error| format!("a link at {} to {to}: {error}", place.display());
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, place).map_err(failed)?;
    println!("    {} -> {to}", place.display());
    Ok(())
}
