//! Shared by the black-box tests: a server process, and players who connect to it.
//!
//! Nothing here sleeps to let something happen. Each function waits for the expected result, up to a deadline that only
//! a failure reaches, and then shows what it received instead.

// Each test file uses its own part of this.
#![allow(dead_code)]

#[path = "../../../dolmen/tests/common/default_signals.rs"]
mod default_signals;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub use default_signals::with_default_signals;

/// The deadline of a test.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// All output of a pipe so far, collected by a thread.
#[derive(Clone)]
pub struct Output {
    shared: Arc<(Mutex<Collected>, Condvar)>,
}

#[derive(Default)]
struct Collected {
    text: String,
    ended: bool,
}

impl Output {
    pub fn of(mut pipe: impl Read + Send + 'static) -> Output {
        let output = Output { shared: Arc::default() };
        let shared = Arc::clone(&output.shared);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let length = pipe.read(&mut buffer).unwrap_or(0);
                let mut collected = shared.0.lock().expect("no reader panics");
                collected.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
                collected.ended = length == 0;
                shared.1.notify_all();
                if collected.ended {
                    return;
                }
            }
        });
        output
    }

    /// Waits until the pipe holds `text`, and returns everything so far.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(&format!("{text:?}"), |collected| collected.text.contains(text))
    }

    /// Everything so far.
    pub fn so_far(&self) -> String {
        self.shared.0.lock().expect("no reader panics").text.clone()
    }

    /// Waits until the pipe holds `text` after the first `skipped` bytes, and returns everything after them.
    pub fn wait_for_after(&self, skipped: usize, text: &str) -> String {
        let all = self.wait_until(&format!("{text:?} after {skipped} bytes"), |collected| {
            collected.text[skipped..].contains(text)
        });
        all[skipped..].to_owned()
    }

    /// Waits until the other end was closed, and returns everything. As long as output arrives, that may take its time:
    /// on a busy machine a megabyte does.
    pub fn wait_for_end(&self) -> String {
        let mut collected = self.shared.0.lock().expect("no reader panics");
        while !collected.ended {
            let so_far = collected.text.len();
            let nothing_more = |collected: &mut Collected| !collected.ended && collected.text.len() == so_far;
            let waited = self.shared.1.wait_timeout_while(collected, DEADLINE, nothing_more);
            let (now, waited) = waited.expect("no reader panics");
            assert!(!waited.timed_out(), "no end of:\n{}", now.text);
            collected = now;
        }
        collected.text.clone()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Collected) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut collected = self.shared.0.lock().expect("no reader panics");
        while !is_so(&collected) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !collected.ended, "no {what} in:\n{}", collected.text);
            collected = self.shared.1.wait_timeout(collected, left).expect("no reader panics").0;
        }
        collected.text.clone()
    }
}

/// A program that is killed when it goes out of scope.
pub struct Program {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Output,
    pub stderr: Output,
}

impl Program {
    pub fn start(command: &mut Command) -> Program {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match with_default_signals(command).spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        let stdin = child.stdin.take();
        let stdout = Output::of(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Output::of(child.stderr.take().expect("stderr is a pipe"));
        Program { child, stdin, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types into the program's standard input.
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(text.as_bytes()).expect("the program reads");
        stdin.flush().expect("the program reads");
    }

    /// Waits for the program to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        // The program's end closes its pipes, and the test can wait for that with a deadline.
        self.stderr.wait_for_end();
        self.stdout.wait_for_end();
        self.child.wait().expect("it can be waited for")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server binary with these arguments, not started yet.
pub fn dolmend(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dolmend"));
    command.args(arguments);
    command
}

/// The command, or a failure that says how to install it. Games are not in every PATH.
pub fn installed(name: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/games").to_path_buf()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    match found {
        Some(file) => Command::new(file),
        None => panic!("{name} is missing; install it: apt-get install {package}"),
    }
}

/// A shell command at a terminal of its own, with a size, as full-screen programs need it.
pub fn terminal(shell_command: &str) -> Command {
    let mut command = installed("script", "bsdutils");
    let sized = format!("stty rows 24 cols 80; {shell_command}");
    command.args(["--quiet", "--return", "--command", &sized, "/dev/null"]).env("TERM", "vt100");
    command
}

/// Tests type faster than players. Those of the limits on commands use [`Server::limited`].
const UNHURRIED: &str = "command rate : 10000\ncommand burst : 10000\ncommand bytes : 67108864\n";
pub const UNHURRIED_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/unhurried.conf");

/// A server that listens.
pub struct Server {
    pub program: Program,
    /// Its addresses, in the order of the ports.
    pub addresses: Vec<SocketAddr>,
    _folder: Option<tempfile::TempDir>,
}

/// How many threads serve connections in this run of the tests.
pub fn io_threads() -> usize {
    std::env::var("DOLMEND_TEST_IO_THREADS").map_or(0, |count| count.parse().expect("a number"))
}

/// The configuration file that a server is to have for that. If a folder had to be made for it, that is kept.
fn on_threads(file: &Path) -> (PathBuf, Option<tempfile::TempDir>) {
    if io_threads() == 0 {
        return (file.to_owned(), None);
    }
    let text = std::fs::read_to_string(file).expect("it is there");
    let text = text.replace("io threads : 0", "") + &format!("\nio threads : {}\n", io_threads());
    // Relative paths begin at the file, unless it is one of this repository.
    let shipped = file.starts_with(env!("CARGO_MANIFEST_DIR"));
    let folder = shipped.then(|| tempfile::tempdir().expect("a folder"));
    let parent = folder.as_ref().map_or_else(|| file.parent().expect("a folder"), |folder| folder.path());
    let changed = parent.join("on-threads.conf");
    std::fs::write(&changed, text).expect("the file is written");
    (changed, folder)
}

impl Server {
    /// On one telnet port, with no configuration file and no console.
    pub fn start() -> Server {
        Server::with(&["-p", "127.0.0.1:0"], 1)
    }

    /// With these arguments, which make it listen on `ports` ports. It has no console unless `-c` is among them.
    pub fn with(arguments: &[&str], ports: usize) -> Server {
        let file = arguments.iter().position(|argument| *argument == "-f").map(|at| arguments[at + 1]);
        let others = arguments.iter().filter(|argument| **argument != "-f" && Some(**argument) != file);
        let (file, _folder) = on_threads(Path::new(file.unwrap_or(UNHURRIED_FILE)));
        let mut program = Program::start(dolmend(&[]).args(others).arg("-f").arg(file));
        if !arguments.contains(&"-c") {
            program.stdin = None;
        }
        let log = program.stderr.wait_until("listening lines", |log| {
            log.text.matches("listening ").count() >= ports && log.text.ends_with('\n')
        });
        let addresses = log.lines().filter_map(|line| line.strip_prefix("listening "));
        let addresses = addresses.map(|rest| {
            let (address, kind) = rest.split_once(' ').expect("listening ADDRESS:PORT KIND");
            assert!(["telnet", "ascii", "binary"].contains(&kind), "{rest}");
            address.parse().expect("an address")
        });
        Server { addresses: addresses.collect(), program, _folder }
    }

    /// With a configuration file of this text, on one port.
    pub fn configured(folder: &tempfile::TempDir, text: &str) -> Server {
        Server::limited(folder, &format!("{UNHURRIED}{text}"))
    }

    /// As [`configured`](Server::configured), with the limits on commands that players have.
    pub fn limited(folder: &tempfile::TempDir, text: &str) -> Server {
        let file = folder.path().join("test.conf");
        std::fs::write(&file, text).expect("the file is written");
        Server::with(&["-f", file.to_str().expect("a plain path"), "-p", "127.0.0.1:0"], 1)
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addresses[0])
    }

    /// A player who has entered a name and was welcomed.
    pub fn player(&self, name: &str) -> Client {
        let mut client = self.connect();
        client.expect("shall we call you? ");
        client.send(&format!("{name}\r\n"));
        client.expect("for what you can do.\r\n");
        client
    }
}

/// The client's end of a connection, byte by byte.
pub struct Client {
    pub stream: TcpStream,
    /// Received bytes that were not expected yet.
    pub unread: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("the server accepts"))
    }

    pub fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("the connection stands");
        Client { stream, unread: Vec::new() }
    }

    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes of which the last is urgent.
    pub fn send_urgent(&mut self, bytes: &[u8]) {
        let sent = socket2::SockRef::from(&self.stream).send_out_of_band(bytes).expect("the server reads");
        assert_eq!(sent, bytes.len());
    }

    /// Sends each byte in a separate write.
    pub fn send_one_by_one(&mut self, bytes: &[u8]) {
        bytes.chunks(1).for_each(|byte| self.send_bytes(byte));
    }

    /// Waits for a text, and returns the text before it, without telnet commands.
    pub fn expect(&mut self, text: &str) -> String {
        text_of(&self.expect_bytes(text.as_bytes()))
    }

    pub fn expect_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(place) = find(&self.unread, bytes) {
                let after = self.unread.split_off(place + bytes.len());
                let mut before = std::mem::replace(&mut self.unread, after);
                before.truncate(place);
                return before;
            }
            let ended =
                self.read_some(deadline).unwrap_or_else(|error| self.give_up(bytes, &error.to_string()));
            if ended {
                self.give_up(bytes, "the connection was closed");
            }
        }
    }

    /// Waits until the server closes in order, and returns all text before that, without telnet commands.
    pub fn expect_end(&mut self) -> String {
        text_of(&self.expect_end_bytes())
    }

    /// Waits until the server closes in order, and returns all bytes before that.
    pub fn expect_end_bytes(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        while !self.read_some(deadline).unwrap_or_else(|error| self.give_up(b"(the end)", &error.to_string()))
        {
        }
        std::mem::take(&mut self.unread)
    }

    /// Waits until the connection has ended, in any way.
    pub fn expect_gone(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.read_some(deadline) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) if is_timeout(&error) => self.give_up(b"(the end)", &error.to_string()),
                Err(_) => return,
            }
        }
    }

    /// Reads the available bytes. True at the end.
    fn read_some(&mut self, deadline: Instant) -> std::io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 65536];
        let length = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..length]);
        Ok(length == 0)
    }

    fn give_up(&self, wanted: &[u8], why: &str) -> ! {
        let last = &self.unread[self.unread.len().saturating_sub(2000)..];
        panic!("{why} before {:?} in {:?}", String::from_utf8_lossy(wanted), String::from_utf8_lossy(last));
    }
}

/// The text in whole telnet commands and text.
pub fn text_of(bytes: &[u8]) -> String {
    let (mut text, mut rest) = (Vec::new(), bytes);
    loop {
        rest = match rest {
            [255, 250, payload @ ..] => {
                let end = find(payload, &[255, 240]).expect("a subnegotiation ends");
                &payload[end + 2..]
            }
            [255, 251..=254, _, after @ ..] => after,
            [255, 255, after @ ..] => {
                text.push(255);
                after
            }
            [255, _, after @ ..] => after,
            [byte, after @ ..] => {
                text.push(*byte);
                after
            }
            [] => return String::from_utf8(text).expect("the server sends UTF-8"),
        };
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock)
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
