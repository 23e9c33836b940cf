//! Heart beats of C drivers: does every one end the wait on time, in an idle driver and in a busy one?
//!
//! The driver is `crates/dolmen-c/tests/c/heart_beat.c`, built for each of the two headers. It waits without a timeout, so
//! a heart beat that does not end the wait is lost.

mod load;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::c_library;
use crate::process::Result;
use crate::steps::{Outcome, Steps};
use crate::wine::{self, Wine};
use load::Load;

/// The part of the chore's options that is for heart beats.
#[derive(clap::Args)]
#[group(id = "heart_beat_options")]
pub struct Options {
    /// Instead: watch the heart beats of C drivers, by SIGALRM, by a thread and by a timer, idle and with busy clients
    ///
    /// It fails on a lost, an early and a late heart beat. The idle drivers run at the same time, the others one by one.
    #[arg(long, conflicts_with_all = ["minutes", "seed"])]
    pub heart_beats: bool,
    /// Heart beats: how long each driver runs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400), requires = "heart_beats")]
    seconds: u64,
    /// Heart beats: the time between two, in milliseconds [default: 200, and 1000 under Wine]
    ///
    /// Under Wine a turn of a busy driver takes some tens of milliseconds, most of them in the one thread of wineserver.
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=60_000), requires = "heart_beats")]
    beat_ms: Option<u64>,
    /// Heart beats: how late one may be, in milliseconds, less than the time between two [default: 3/4 of it]
    #[arg(long, requires = "heart_beats")]
    late_ms: Option<u64>,
    /// Heart beats: how many threads also keep the processors busy
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1024), requires = "heart_beats")]
    busy: u64,
}

/// The most clients that the driver's backlog holds before it begins.
const MOST_CLIENTS: u64 = 1000;

/// How long a driver may take to start and to end, in addition to its time: Wine is slow the first time.
const GRACE: Duration = Duration::from_secs(60);

/// The headers, and the heart beats of a driver for each.
const POSIX: [(&str, &[&str]); 2] = [
    ("io_reactor.h", &["alarm", "alarm-wakeup", "thread", "timer"]),
    ("async_runtime.h", &["alarm", "alarm-wakeup", "thread"]),
];
const WINDOWS: [(&str, &[&str]); 2] =
    [("io_reactor.h", &["thread", "timer"]), ("async_runtime.h", &["thread"])];

/// The chore.
pub fn run(options: &Options, windows: bool, clients: u64) -> ExitCode {
    let mut steps = Steps::new(true);
    let system = if windows { "Windows under Wine" } else { "native" };
    if cfg!(not(target_os = "linux")) {
        let why = "the C programs are set up for Linux only".to_owned();
        let _stopped = steps.step_or_skip("heart beats", || Ok(Outcome::Skipped(why)));
        return steps.finish();
    }
    let beat_ms = options.beat_ms.unwrap_or(if windows { 1000 } else { 200 });
    let bounds = Bounds { beat_ms, late_ms: options.late_ms.unwrap_or(beat_ms * 3 / 4) };
    let mut programs = Vec::new();
    let _stopped = steps.step(&format!("build, {system}"), || {
        bounds.check(options.seconds, clients)?;
        if windows {
            wine::set_up()?;
        }
        programs = c_library::heart_beats(windows)?;
        Ok(())
    });
    if !programs.is_empty() {
        let wine = windows.then_some(Wine::System);
        let soak = Soak { options, bounds, wine, beats: heart_beats(&programs, windows) };
        let _stopped = steps.step(&format!("heart beats, {system}, idle"), || soak.idle());
        let _stopped = steps.step(&format!("heart beats, {system}, {clients} busy clients"), || {
            soak.loaded(usize::try_from(clients).unwrap_or(usize::MAX))
        });
    }
    steps.finish()
}

/// In milliseconds.
#[derive(Clone, Copy)]
struct Bounds {
    beat_ms: u64,
    late_ms: u64,
}

impl Bounds {
    fn check(self, seconds: u64, clients: u64) -> Result<()> {
        let Bounds { beat_ms, late_ms } = self;
        if late_ms == 0 || late_ms >= beat_ms {
            return Err(format!(
                "--late-ms {late_ms} is not from 1 to less than the {beat_ms} ms between two heart beats: a later one \
                 cannot be told from a lost one"
            ));
        }
        if beat_ms > 1000 * seconds {
            return Err(format!("there is no heart beat of {beat_ms} ms in {seconds} s"));
        }
        if clients == 0 || clients > MOST_CLIENTS {
            return Err(format!("--clients {clients} is not from 1 to {MOST_CLIENTS}"));
        }
        Ok(())
    }
}

/// A driver with one kind of heart beat.
struct HeartBeat<'a> {
    program: &'a Path,
    header: &'static str,
    kind: &'static str,
}

fn heart_beats(programs: &[PathBuf], windows: bool) -> Vec<HeartBeat<'_>> {
    let headers = if windows { WINDOWS } else { POSIX };
    let of_header = |(program, (header, kinds)): (_, (_, &'static [&'static str]))| {
        kinds.iter().map(move |&kind| HeartBeat { program, header, kind })
    };
    programs.iter().map(PathBuf::as_path).zip(headers).flat_map(of_header).collect()
}

/// Each kind for a second: that the drivers of this chore work is a test of the C library's.
pub fn try_out(programs: &[PathBuf], wine: Option<Wine>) -> Result<()> {
    for beat in heart_beats(programs, wine.is_some()) {
        let mut driver = Driver::start(&beat, wine, 100, 1)?;
        driver.begin()?;
        let (times, _echoed) = driver.end(Duration::from_secs(1))?;
        // How late they are depends on what else the machine does.
        if times.len() < 5 || times[0] < 100_000 {
            return Err(format!("{}, {}: it beats at {times:?} µs", beat.header, beat.kind));
        }
        println!("    ok: {}, {}", beat.header, beat.kind);
    }
    Ok(())
}

struct Soak<'a> {
    options: &'a Options,
    bounds: Bounds,
    wine: Option<Wine>,
    beats: Vec<HeartBeat<'a>>,
}

impl Soak<'_> {
    /// All at the same time.
    fn idle(&self) -> Result<()> {
        let mut report = Report::new(self.bounds);
        let mut drivers = self.beats.iter().map(|beat| self.start(beat)).collect::<Result<Vec<_>>>()?;
        drivers.iter_mut().try_for_each(Driver::begin)?;
        for (driver, beat) in drivers.into_iter().zip(&self.beats) {
            let (times, _echoed) = driver.end(self.time())?;
            report.add(beat, self.judge(&times), None);
        }
        report.end()
    }

    /// One by one, each with all clients.
    fn loaded(&self, clients: usize) -> Result<()> {
        let mut report = Report::new(self.bounds);
        for beat in &self.beats {
            let mut driver = self.start(beat)?;
            let load = Load::connect(driver.address, clients, self.options.busy)?;
            driver.begin()?;
            let loaded = load.run(self.time());
            let (times, echoed) = driver.end(self.time())?;
            let messages = loaded.map_err(|error| format!("{}, {}: {error}", beat.header, beat.kind))?;
            if messages == 0 || echoed < messages * load::MESSAGE as u64 {
                return Err(format!("{messages} messages, and {echoed} bytes echoed: that is not a load"));
            }
            report.add(beat, self.judge(&times), Some(messages / self.options.seconds));
        }
        report.end()
    }

    fn start(&self, beat: &HeartBeat<'_>) -> Result<Driver> {
        Driver::start(beat, self.wine, self.bounds.beat_ms, self.options.seconds)
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    fn judge(&self, times: &[u64]) -> Judged {
        let period = 1000 * self.bounds.beat_ms;
        Judged::of(times, period, 1_000_000 * self.options.seconds / period, 1000 * self.bounds.late_ms)
    }
}

/// A running driver; it is ended when dropped.
struct Driver {
    process: Child,
    address: SocketAddr,
    output: Option<Lines<BufReader<ChildStdout>>>,
}

impl Driver {
    fn start(beat: &HeartBeat<'_>, wine: Option<Wine>, beat_ms: u64, seconds: u64) -> Result<Driver> {
        let failed = |error: std::io::Error| format!("{}: {error}", beat.program.display());
        let mut command = Command::new(if wine.is_some() { "sh" } else { "env" });
        command.args(wine.map(|_| "xtask/wine/runner.sh")).envs(wine.map(Wine::env));
        command.arg(beat.program).args([beat.kind, &beat_ms.to_string(), &seconds.to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let output = process.stdout.take().map(|output| BufReader::new(output).lines());
        // The driver owns the process from here on, so that it is ended in any case.
        let mut driver = Driver { process, address: SocketAddr::from(([127, 0, 0, 1], 0)), output };
        let line = driver.output.as_mut().and_then(Iterator::next).transpose().map_err(failed)?;
        let line = line.unwrap_or_default();
        let port = line.trim_end().strip_prefix("listening on ").and_then(|port| port.parse().ok());
        driver.address.set_port(port.ok_or_else(|| format!("{} says {line:?}", beat.program.display()))?);
        Ok(driver)
    }

    fn begin(&mut self) -> Result<()> {
        let input = self.process.stdin.as_mut().expect("it is piped");
        input.write_all(b"begin\n").map_err(|error| format!("a driver: {error}"))
    }

    /// The times of its beats in microseconds, and how many bytes it has echoed.
    fn end(mut self, time: Duration) -> Result<(Vec<u64>, u64)> {
        let (sender, lines) = mpsc::channel();
        let output = self.output.take().into_iter().flatten();
        thread::spawn(move || output.map_while(std::io::Result::ok).try_for_each(|line| sender.send(line)));
        let deadline = Instant::now() + time + GRACE;
        let (mut times, mut echoed) = (Vec::new(), None);
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.trim_end().strip_prefix("echoed ") {
                    Some(bytes) => echoed = bytes.parse().ok(),
                    None => {
                        times.push(line.trim_end().parse().map_err(|_| format!("a driver says {line:?}"))?)
                    }
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err("a driver waits indefinitely: its last heart beats are lost".into());
                }
            }
        }
        let status = self.process.wait().map_err(|error| format!("a driver: {error}"))?;
        match echoed {
            Some(echoed) if status.success() => Ok((times, echoed)),
            _ => Err(format!("a driver ends with {status}")),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The beats of a driver beside those that it should have had.
#[derive(Debug, PartialEq)]
struct Judged {
    beats: u64,
    expected: u64,
    early: u64,
    /// In microseconds, in ascending order.
    late: Vec<u64>,
}

impl Judged {
    /// The n-th beat belongs to the n-th period, unless some are missing: then it belongs to the last period that has
    /// begun, so that one missing beat does not make all others late. What comes later than the last beat may come does
    /// not count.
    fn of(times: &[u64], period: u64, expected: u64, latest: u64) -> Judged {
        let end = expected * period + latest + 1;
        let times: Vec<u64> = times.iter().copied().filter(|&time| time < end).collect();
        let beats = times.len() as u64;
        let due = |n: u64, time: u64| if beats < expected { time / period * period } else { n * period };
        let pairs = (1..).zip(&times).map(|(n, &time)| (due(n, time), time));
        let mut late: Vec<u64> = pairs.clone().map(|(due, time)| time.saturating_sub(due)).collect();
        late.sort_unstable();
        Judged { beats, expected, early: pairs.filter(|(due, time)| time < due).count() as u64, late }
    }

    /// In milliseconds: not later than this were so many hundredths of the beats.
    fn percentile(&self, hundredths: usize) -> f64 {
        let at = (self.late.len() * hundredths).div_ceil(100).max(1) - 1;
        self.late.get(at).map_or(0.0, |&us| us as f64 / 1000.0)
    }

    /// What is wrong, if anything is.
    fn fault(&self, late_ms: u64) -> Option<String> {
        if self.beats < self.expected {
            return Some(format!("{} of {} heart beats are lost", self.expected - self.beats, self.expected));
        }
        if self.beats > self.expected || self.early > 0 {
            let (early, more) = (self.early, self.beats - self.expected);
            return Some(format!("{early} heart beats are early, and {more} are too many"));
        }
        let latest = self.percentile(100);
        (latest > late_ms as f64)
            .then(|| format!("a heart beat is {latest:.1} ms late, and {late_ms} ms are allowed"))
    }
}

/// A line for each driver, and the faults.
struct Report {
    bounds: Bounds,
    faults: String,
}

impl Report {
    fn new(bounds: Bounds) -> Report {
        let Bounds { beat_ms, late_ms } = bounds;
        println!(
            "    a heart beat every {beat_ms} ms, up to {late_ms} ms late; load average: {}",
            load_average()
        );
        println!(
            "    header           heart beat      beats         late: p50       p99       max   messages/s"
        );
        Report { bounds, faults: String::new() }
    }

    fn add(&mut self, beat: &HeartBeat<'_>, judged: Judged, messages: Option<u64>) {
        println!(
            "    {:<15}  {:<12}  {:>5} of {:<5}  {:>6.2} ms {:>6.2} ms {:>6.2} ms   {}",
            beat.header,
            beat.kind,
            judged.beats,
            judged.expected,
            judged.percentile(50),
            judged.percentile(99),
            judged.percentile(100),
            messages.map_or("-".to_owned(), |messages| messages.to_string())
        );
        if let Some(fault) = judged.fault(self.bounds.late_ms) {
            writeln!(self.faults, "{}, {}: {fault}", beat.header, beat.kind)
                .expect("a string takes any text");
        }
    }

    fn end(self) -> Result<()> {
        println!("    load average: {}", load_average());
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}

/// Of the machine, over one, five and fifteen minutes, and its processors.
fn load_average() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = averages.split_whitespace().take(3).collect();
    let processors = thread::available_parallelism().map_or(0, usize::from);
    format!("{}, on {processors} processors", averages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_on_time_are_late_by_what_they_are_late() {
        let judged = Judged::of(&[100, 205, 301, 400], 100, 4, 50);
        assert_eq!(judged, Judged { beats: 4, expected: 4, early: 0, late: vec![0, 0, 1, 5] });
        assert_eq!(judged.fault(1), None);
    }

    #[test]
    fn the_beats_after_the_end_do_not_count() {
        assert_eq!(Judged::of(&[100, 200, 300], 100, 2, 50).beats, 2);
    }

    #[test]
    fn a_beat_that_waits_for_the_next_one_is_late_and_not_lost() {
        let judged = Judged::of(&[100_000, 300_000, 300_000], 100_000, 3, 50_000);
        assert_eq!(judged.late, [0, 0, 100_000]);
        assert!(judged.fault(50).is_some_and(|fault| fault.contains("100.0 ms late")));
    }

    #[test]
    fn a_missing_beat_is_lost_and_delays_no_other() {
        let judged = Judged::of(&[100, 303, 401], 100, 4, 50);
        assert_eq!(judged.late, [0, 1, 3]);
        assert_eq!(judged.fault(1).as_deref(), Some("1 of 4 heart beats are lost"));
    }

    #[test]
    fn an_early_beat_is_a_fault() {
        assert!(Judged::of(&[99, 200], 100, 2, 50).fault(1).is_some());
        assert!(Judged::of(&[100, 150, 200], 100, 2, 50).fault(1).is_some());
    }

    #[test]
    fn percentiles_are_those_of_the_beats() {
        let judged =
            Judged { beats: 100, expected: 100, early: 0, late: (1..=100).map(|n| 1000 * n).collect() };
        assert_eq!([50, 99, 100].map(|hundredths| judged.percentile(hundredths)), [50.0, 99.0, 100.0]);
        assert_eq!(Judged::of(&[], 100, 1, 50).percentile(99), 0.0);
    }
}
