//! The tests' side of a console: a terminal with a simulated operator, a screen, and a connection over which the
//! program under test reports its events.
//!
//! The same tests drive the Linux program and, with `DOLMEN_TEST_CONSOLE=wine`, the Windows program under Wine, whose
//! console is also on a pseudo-terminal. The slave of that one is put into raw mode first; otherwise Linux would edit
//! the input, and then Wine once more.
#![allow(dead_code)] // Each test program uses a different part of it.

#[allow(clippy::duplicate_mod)] // A test program may include it from its other rig as well.
#[path = "../common/default_signals.rs"]
mod default_signals;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use default_signals::with_default_signals;
use rustix::event::{PollFd, PollFlags};
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

/// The deadline of a test.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const COLUMNS: u16 = 80;
pub const ROWS: u16 = 24;

/// Whether the Windows program is tested.
pub fn wine() -> bool {
    match std::env::var("DOLMEN_TEST_CONSOLE") {
        Ok(system) => {
            assert_eq!(system, "wine", "DOLMEN_TEST_CONSOLE is `wine` or not set");
            true
        }
        Err(_) => false,
    }
}

/// A program of this package or another's, for the system under test. `kind` is its folder, such as `examples`.
pub fn program(kind: &str, name: &str) -> Command {
    let tests = std::env::current_exe().expect("this program has a path");
    // …/target/debug/deps/this-test
    let profile = tests.ancestors().nth(2).expect("the profile's folder");
    if !wine() {
        return Command::new(existing(profile.join(kind).join(name)));
    }
    let (target, profile) = (profile.parent().expect("target"), profile.file_name().expect("profile"));
    let folder = target.join("x86_64-pc-windows-gnu").join(profile).join(kind);
    let mut command = Command::new("sh");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    command.arg(root.join("xtask/wine/runner.sh")).arg(existing(folder.join(name).with_extension("exe")));
    command
}

fn existing(program: PathBuf) -> PathBuf {
    assert!(program.is_file(), "{} is not there; `cargo xtask test` builds it", program.display());
    program
}

/// The content of a terminal, maintained by a thread that reads it.
struct Screen {
    parser: vt100::Parser,
    raw: Vec<u8>,
    ended: bool,
}

/// A terminal with a program on it.
pub struct Terminal {
    master: File,
    /// Kept open, so that the terminal and its settings outlive the program.
    pub slave: OwnedFd,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    pub child: Child,
    /// The terminal's settings before the program was started.
    pub before: String,
    /// When dropped, ends the thread that reads the screen.
    stop: Option<OwnedFd>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    pub fn start(command: &mut Command) -> Terminal {
        Terminal::start_with(command, |_| {})
    }

    /// `set_up` may replace some of the streams, which are initially the terminal's.
    pub fn start_with(command: &mut Command, set_up: impl FnOnce(&mut Command)) -> Terminal {
        Terminal::start_sized(command, COLUMNS, ROWS, set_up)
    }

    /// With a window of another size than the usual one.
    pub fn start_sized(
        command: &mut Command,
        columns: u16,
        rows: u16,
        set_up: impl FnOnce(&mut Command),
    ) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("its other end");
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("a size");
        if wine() {
            let mut settings = tcgetattr(&slave).expect("settings");
            settings.make_raw();
            tcsetattr(&slave, OptionalActions::Now, &settings).expect("raw");
        }
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm");
        with_default_signals(command);
        let controlling = slave.try_clone().expect("a descriptor");
        // SAFETY: system calls only, which a process between fork and exec may make.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(&controlling)?;
                Ok(())
            });
        }
        set_up(command);
        let before = format!("{:?}", tcgetattr(&slave).expect("settings"));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let parser = vt100::Parser::new(rows, columns, 1000);
        let screen = Arc::new((Mutex::new(Screen { parser, raw: Vec::new(), ended: false }), Condvar::new()));
        let shared = Arc::clone(&screen);
        let mut reader = File::from(master.try_clone().expect("a descriptor"));
        let (stopped, stop) = rustix::pipe::pipe().expect("a pipe");
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut fds = [PollFd::new(&stopped, PollFlags::IN), PollFd::new(&reader, PollFlags::IN)];
                rustix::event::poll(&mut fds, None).expect("poll");
                let told_to_stop = !fds[0].revents().is_empty();
                let count = if told_to_stop { 0 } else { reader.read(&mut buffer).unwrap_or(0) };
                let mut screen = shared.0.lock().expect("no panic while it is locked");
                screen.parser.process(&buffer[..count]);
                screen.raw.extend_from_slice(&buffer[..count]);
                screen.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        let (stop, reader) = (Some(stop), Some(thread));
        Terminal { master: master.into(), slave, screen, child, before, stop, reader }
    }

    /// Presses keys.
    pub fn type_in(&self, text: &str) {
        self.type_bytes(text.as_bytes());
    }

    pub fn type_bytes(&self, bytes: &[u8]) {
        (&self.master).write_all(bytes).expect("the terminal takes it");
    }

    /// Changes the size of the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.locked().parser.screen_mut().set_size(rows, columns);
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("a size");
    }

    /// The terminal's settings, as `stty -a` would show them.
    pub fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.slave).expect("settings"))
    }

    /// Waits until the terminal has these settings.
    #[track_caller]
    pub fn until_settings(&self, expected: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.settings() != expected {
            assert!(Instant::now() < deadline, "{} are the settings, not {expected}", self.settings());
            thread::yield_now();
        }
    }

    fn locked(&self) -> MutexGuard<'_, Screen> {
        self.screen.0.lock().expect("no panic while it is locked")
    }

    /// Waits until the screen satisfies `expected`, and returns its rows.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut screen = self.locked();
        loop {
            let columns = screen.parser.screen().size().1;
            let rows: Vec<String> = screen.parser.screen().rows(0, columns).collect();
            if is_so(&rows) {
                return rows;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The drop prints the screen.
                drop(screen);
                panic!("{what} is not on the screen");
            }
            screen = self.screen.1.wait_timeout(screen, left).expect("no panic while it is locked").0;
        }
    }

    /// Waits until the terminal's output contains `text`, which may have left the screen since.
    #[track_caller]
    pub fn until_output(&self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut screen = self.locked();
        while !String::from_utf8_lossy(&screen.raw).contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(screen);
                panic!("{text:?} is not in the output");
            }
            screen = self.screen.1.wait_timeout(screen, left).expect("no panic while it is locked").0;
        }
    }

    /// Waits until the screen begins with these rows.
    #[track_caller]
    pub fn shows(&self, expected: &[&str]) {
        self.until(&format!("{expected:?}"), |rows| {
            rows.iter().zip(expected).all(|(row, expected)| row.trim_end() == expected.trim_end())
                && rows[expected.len()..].iter().all(|row| row.trim().is_empty())
        });
    }

    /// The position of the cursor: row and column.
    pub fn cursor(&self) -> (u16, u16) {
        self.locked().parser.screen().cursor_position()
    }

    /// Waits until the cursor is in this row and column.
    #[track_caller]
    pub fn until_cursor(&self, expected: (u16, u16)) {
        let deadline = Instant::now() + DEADLINE;
        while self.cursor() != expected {
            assert!(Instant::now() < deadline, "the cursor is at {:?}, not at {expected:?}", self.cursor());
            thread::yield_now();
        }
    }

    /// The content of the terminal.
    pub fn screen(&self) -> vt100::Screen {
        self.locked().parser.screen().clone()
    }

    /// Reads nothing of the terminal's output while `action` runs.
    pub fn unread<T>(&self, during: impl FnOnce() -> T) -> T {
        // The reader needs this lock to store what it has read before it reads more.
        let _screen = self.locked();
        during()
    }

    /// All output of the terminal so far.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.locked().raw).into_owned()
    }

    /// The terminal hangs up, as when its window is closed.
    pub fn hang_up(mut self) -> Child {
        // A placeholder replaces the child, so that the child is not ended here.
        let placeholder = Command::new("true").spawn().expect("it starts");
        // The reader's descriptor is one of the terminal's descriptors.
        self.stop = None;
        self.reader.take().expect("it reads").join().expect("it has ended");
        std::mem::replace(&mut self.child, placeholder)
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// For a failing test: the screen, and the state of the threads of all programs at this terminal.
    fn describe(&mut self) {
        let end = self.child.try_wait();
        let screen = self.locked();
        let last = String::from_utf8_lossy(&screen.raw[screen.raw.len().saturating_sub(500)..]);
        eprintln!("the screen:\n{}\nand last was written: {last:?}", screen.parser.screen().contents());
        let mut threads = Command::new("ps");
        threads
            .args(["-o", "pid,tid,stat,wchan:30,etimes,args", "-L", "-s"])
            .arg(self.child.id().to_string());
        let threads = threads.output().map(|it| it.stdout).unwrap_or_default();
        eprintln!("the program's end: {end:?}; at this terminal:\n{}", String::from_utf8_lossy(&threads));
    }

    /// Ends all programs at this terminal: programs that the program has started would outlive it, and the test.
    fn end_all(&self) {
        let programs = Command::new("ps").args(["-o", "pid=", "-s", &self.child.id().to_string()]).output();
        let programs = programs.map(|it| it.stdout).unwrap_or_default();
        let programs = String::from_utf8_lossy(&programs);
        for program in programs.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _ = rustix::process::kill_process(program, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            self.describe();
            self.end_all();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process, with a deadline.
#[track_caller]
pub fn wait(child: &mut Child) -> ExitStatus {
    let (pid, (ended, end)) = (child.id(), mpsc::channel());
    thread::spawn(move || {
        let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process");
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let _ = rustix::process::waitid(rustix::process::WaitId::Pid(pid), options);
        let _ = ended.send(());
    });
    if end.recv_timeout(DEADLINE).is_err() {
        let _ = child.kill();
        panic!("the program does not end");
    }
    child.wait().expect("it has ended")
}

/// The address to which a probe connects.
pub struct Call {
    listener: TcpListener,
}

impl Call {
    pub fn new() -> Call {
        Call { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().expect("an address").to_string()
    }

    /// Waits for the probe's connection.
    #[track_caller]
    pub fn accept(self) -> Link {
        let (sender, connection) = mpsc::channel();
        thread::spawn(move || sender.send(self.listener.accept()));
        let (stream, _) =
            connection.recv_timeout(DEADLINE).expect("the probe does not call").expect("accepted");
        stream.set_nodelay(true).expect("it stands");
        let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Link { stream, lines }
    }
}

/// The connection to a probe.
pub struct Link {
    stream: TcpStream,
    lines: Receiver<(Instant, String)>,
}

impl Link {
    /// The probe's next report, and its time.
    #[track_caller]
    pub fn next_at(&self) -> (Instant, String) {
        self.lines.recv_timeout(DEADLINE).expect("the probe reports nothing more")
    }

    #[track_caller]
    pub fn next(&self) -> String {
        self.next_at().1
    }

    #[track_caller]
    pub fn expect(&self, reported: &str) {
        assert_eq!(self.next(), reported);
    }

    /// A second handle of the connection to the probe, for another thread.
    pub fn orders(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    pub fn send(&self, command: &str) {
        (&self.stream).write_all(format!("{command}\n").as_bytes()).expect("the probe is there");
    }

    /// Makes the probe run a command, and waits until it is done. The probe must report nothing else in the meantime.
    #[track_caller]
    pub fn order(&self, command: &str) {
        self.send(command);
        self.expect(&format!("ok {command}"));
    }

    /// Makes the probe run a command, and returns all reports before it was done.
    #[track_caller]
    pub fn order_among(&self, command: &str) -> Vec<String> {
        self.send(command);
        let done = format!("ok {command}");
        let mut reported = Vec::new();
        loop {
            match self.next() {
                line if line == done => return reported,
                line => reported.push(line),
            }
        }
    }

    /// Makes the probe run a command that causes a report, either before it is done or just after, and returns the
    /// reports.
    #[track_caller]
    pub fn order_reporting(&self, command: &str) -> Vec<String> {
        let mut reported = self.order_among(command);
        if reported.is_empty() {
            reported.push(self.next());
        }
        reported
    }

    /// The probe reports nothing for a while.
    #[track_caller]
    pub fn silent(&self, time: Duration) {
        if let Ok((_, line)) = self.lines.recv_timeout(time) {
            panic!("nothing was to be reported, and was: {line}");
        }
    }

    /// The probe has closed its connection.
    #[track_caller]
    pub fn ended(&self) {
        let end = self.lines.recv_timeout(DEADLINE);
        assert_eq!(end.map(|(_, line)| line), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    /// The probe's process.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        self.send("pid");
        let reported = self.next();
        let pid = reported.strip_prefix("pid ").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        pid.unwrap_or_else(|| panic!("{reported}"))
    }

    /// How many waits the probe has made.
    #[track_caller]
    pub fn waits(&self) -> u64 {
        self.send("waits");
        let reported = self.next();
        reported
            .strip_prefix("waits ")
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{reported}"))
    }
}

/// No events for a time, and less than 10 ms of processor time.
#[track_caller]
pub fn costs_nothing(child: &Child, link: &Link, time: Duration) {
    let waits_before = link.waits();
    let used_before = processor_time(child.id());
    link.silent(time);
    let used = processor_time(child.id()).saturating_sub(used_before);
    let waits = link.waits() - waits_before;
    println!("{used:?} and {waits} waits in {time:?} of silence");
    // The wait that returned the query.
    assert!(used < Duration::from_millis(10) && waits <= 1, "{used:?} and {waits} waits");
}

/// The processor time of the threads of a process. Also under Wine, where the program's own clock counts in hundredths
/// of a second.
pub fn processor_time(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let times = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.expect("a thread").path().join("schedstat"));
        let text = text.unwrap_or_default();
        text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
    });
    let total = Duration::from_nanos(times.sum());
    assert!(!total.is_zero(), "the kernel does not count");
    total
}

/// A probe at a terminal, before it opens its console.
pub fn probe() -> (Terminal, Link) {
    let call = Call::new();
    let terminal = Terminal::start(program("examples", "console_probe").arg(call.address()));
    let link = call.accept();
    link.expect("ready");
    (terminal, link)
}

/// A probe at a terminal that reads its console.
pub fn console(mode: &str) -> (Terminal, Link) {
    let (terminal, link) = probe();
    link.send(&format!("console {mode}"));
    link.expect("console terminal");
    (terminal, link)
}

/// A probe at a terminal that a shell could stop and continue, and its process. The probe of [`probe`] leads its
/// session, so that its process group is orphaned.
pub fn job() -> (Terminal, Link, Pid) {
    let call = Call::new();
    let terminal = Terminal::start(program("examples", "console_probe").args(["job", &call.address()]));
    let link = call.accept();
    link.expect("ready");
    let pid = link.pid();
    (terminal, link, pid)
}

/// Waits until a process is stopped.
#[track_caller]
pub fn stopped(process: Pid) {
    let deadline = Instant::now() + DEADLINE;
    while state(process) != 'T' {
        assert!(Instant::now() < deadline, "it is not stopped");
        thread::yield_now();
    }
}

/// The state of a process, from proc(5).
fn state(process: Pid) -> char {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    text.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state")
}

/// Waits until a process has handled the signals sent to it, and checks that it is not stopped.
#[track_caller]
pub fn goes_on(process: Pid) {
    let deadline = Instant::now() + DEADLINE;
    let is_pending = || {
        let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
        text.lines().any(|line| {
            let pending = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"));
            pending.is_some_and(|signals| signals.trim().contains(|digit| digit != '0'))
        })
    };
    while is_pending() && state(process) != 'T' {
        assert!(Instant::now() < deadline, "it takes no signal");
        thread::yield_now();
    }
    assert_ne!(state(process), 'T', "it is stopped");
}

/// A probe with this standard input, and a pipe as its standard output.
pub fn redirected(stdin: impl Into<Stdio>) -> (Child, Link) {
    redirected_to(stdin, Stdio::piped())
}

/// A probe with these as standard input and output.
pub fn redirected_to(stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> (Child, Link) {
    let call = Call::new();
    let mut command = program("examples", "console_probe");
    command.arg(call.address()).stdin(stdin).stdout(stdout).stderr(Stdio::inherit());
    let child = with_default_signals(&mut command).spawn().expect("it starts");
    let link = call.accept();
    link.expect("ready");
    (child, link)
}

/// How a program under Wine or a native one reports its end.
pub fn code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}
