//! The cost of a server in a window of time: processor time by the system's accounting, and calls into the kernel.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::system;

/// The calls to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// All system calls of the server.
    System,
    /// Requests to the wineserver, which Wine's programs write into a pipe. Wine uses other calls to pass data to
    /// sockets.
    Wineserver,
}

/// Counts between [`start`](Meter::start) and [`stop`](Meter::stop).
pub struct Meter {
    server: u32,
    /// Processes that work for the server.
    helpers: Vec<u32>,
    counted: Option<Calls>,
    counter: Option<Counter>,
    cpu_before: f64,
    pub cpu_s: f64,
    load_cpu_before: f64,
    busy_before: f64,
    /// Of the load generator, which is this thread.
    pub load_cpu_s: f64,
    /// Of everything else on this machine.
    pub others_cpu_s: f64,
    pub calls: Option<u64>,
    /// Resident memory at the end.
    pub rss_bytes: Option<u64>,
}

impl Meter {
    pub fn new(server: u32, helpers: Vec<u32>) -> Meter {
        Meter {
            server,
            helpers,
            counted: None,
            counter: None,
            cpu_before: 0.0,
            cpu_s: 0.0,
            load_cpu_before: 0.0,
            busy_before: 0.0,
            load_cpu_s: 0.0,
            others_cpu_s: 0.0,
            calls: None,
            rss_bytes: None,
        }
    }

    /// Also counts calls, which slows the server down.
    pub fn counting(mut self, calls: Calls) -> Meter {
        self.counted = Some(calls);
        self
    }

    pub fn start(&mut self) -> io::Result<()> {
        if let Some(calls) = self.counted {
            self.counter = Some(Counter::attach(self.server, calls)?);
        }
        self.cpu_before = self.cpu_seconds()?;
        self.load_cpu_before = system::thread_cpu_seconds();
        self.busy_before = system::busy_seconds()?;
        Ok(())
    }

    pub fn stop(&mut self) -> io::Result<()> {
        let busy_s = system::busy_seconds()? - self.busy_before;
        self.load_cpu_s = system::thread_cpu_seconds() - self.load_cpu_before;
        self.cpu_s = self.cpu_seconds()? - self.cpu_before;
        self.others_cpu_s = (busy_s - self.load_cpu_s - self.cpu_s).max(0.0);
        self.rss_bytes = Some(system::resident_bytes(self.server)?);
        if let Some(mut counter) = self.counter.take() {
            self.calls = Some(counter.stop()?);
        }
        Ok(())
    }

    fn cpu_seconds(&self) -> io::Result<f64> {
        let mut seconds = system::cpu_seconds(self.server)?;
        for &helper in &self.helpers {
            seconds += system::cpu_seconds(helper)?;
        }
        Ok(seconds)
    }
}

/// perf, which counts without stopping the program, or strace, which stops it at each call.
enum Counter {
    Perf { perf: Child, control: File, answers: BufReader<File>, folder: PathBuf },
    Strace { strace: Child, errors: BufReader<std::process::ChildStderr> },
}

impl Counter {
    fn attach(process: u32, calls: Calls) -> io::Result<Counter> {
        match calls {
            Calls::Wineserver => Counter::strace(process, &["-e", "trace=write,writev"]),
            Calls::System => Counter::perf(process).or_else(|_| Counter::strace(process, &[])),
        }
    }

    fn perf(process: u32) -> io::Result<Counter> {
        let folder = std::env::temp_dir().join(format!("dolmen-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (control, answers) = (folder.join("control"), folder.join("answers"));
        for fifo in [&control, &answers] {
            let _ = std::fs::remove_file(fifo);
            system::make_fifo(fifo)?;
        }
        // Both ends of both pipes, so that no open waits for perf.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (control_file, answers_file) = (open(&control)?, open(&answers)?);
        let perf = Command::new("perf")
            .args(["stat", "-x,", "-D", "-1", "-e", "raw_syscalls:sys_enter", "-p", &process.to_string()])
            .arg("--control")
            .arg(format!("fifo:{},{}", control.display(), answers.display()))
            .arg("-o")
            .arg(folder.join("counts"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut counter =
            Counter::Perf { perf, control: control_file, answers: BufReader::new(answers_file), folder };
        counter.command("enable")?;
        Ok(counter)
    }

    /// Sends perf a command, and waits until it is done.
    fn command(&mut self, what: &str) -> io::Result<()> {
        let Counter::Perf { perf, control, answers, .. } = self else { return Ok(()) };
        writeln!(control, "{what}")?;
        // Without waiting for a perf that has ended: it may not support these events here.
        while !system::readable(answers.get_ref(), 20)? {
            if let Some(status) = perf.try_wait()? {
                return Err(io::Error::other(format!("perf has ended: {status}")));
            }
        }
        answers.read_line(&mut String::new())?;
        Ok(())
    }

    fn strace(process: u32, filter: &[&str]) -> io::Result<Counter> {
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name"])
            .args(filter)
            .args(["-p", &process.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let errors = strace.stderr.take().ok_or_else(|| io::Error::other("strace has no output"))?;
        let mut errors = BufReader::new(errors);
        let mut line = String::new();
        errors.read_line(&mut line)?;
        if line.contains("attached") {
            Ok(Counter::Strace { strace, errors })
        } else {
            strace.wait()?;
            Err(io::Error::other(format!("strace: {}", line.trim())))
        }
    }

    fn stop(&mut self) -> io::Result<u64> {
        self.command("disable")?;
        match self {
            Counter::Perf { perf, folder, .. } => {
                system::interrupt(perf.id());
                perf.wait()?;
                let text = std::fs::read_to_string(folder.join("counts"))?;
                let count =
                    text.lines().find_map(|line| line.split_once(",,raw_syscalls")).map(|(count, _)| count);
                let count = count.and_then(|count| count.parse().ok());
                count.ok_or_else(|| io::Error::other(format!("perf counted nothing: {text}")))
            }
            Counter::Strace { strace, errors } => {
                system::interrupt(strace.id());
                let mut total = None;
                for line in errors.lines() {
                    let line = line?;
                    let mut words = line.split_whitespace();
                    let (count, name) = (words.next(), words.next());
                    if name == Some("total") {
                        total = count.and_then(|count| count.parse().ok());
                    }
                }
                strace.wait()?;
                total.ok_or_else(|| io::Error::other("strace counted nothing"))
            }
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // A process that was stopped has ended, and was waited for.
        match self {
            Counter::Perf { perf: process, .. } | Counter::Strace { strace: process, .. } => {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}
