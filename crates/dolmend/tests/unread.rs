//! The server's output is not read: neither standard output nor standard error.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::{Client, Output, dolmend, with_default_signals};

/// A server with a script, whose replies are not read until the test does so.
struct Scripted {
    child: Child,
    script: Option<ChildStdin>,
    replies: ChildStdout,
    log: Output,
    address: SocketAddr,
}

impl Scripted {
    fn start() -> Scripted {
        let mut child = piped(&mut dolmend(&["-c", "-p", "127.0.0.1:0"]));
        let log = Output::of(child.stderr.take().expect("a pipe"));
        let reported = log.wait_for("console   type 'help'");
        let address = reported.lines().find_map(listening).expect("it listens");
        let script = child.stdin.take();
        let replies = child.stdout.take().expect("a pipe");
        Scripted { child, script, replies, log, address }
    }

    fn runs(&mut self, script: &str) {
        self.script.as_mut().expect("it is open").write_all(script.as_bytes()).expect("it is read");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn piped(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    with_default_signals(command).spawn().expect("it starts")
}

fn listening(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening ")?.strip_suffix(" telnet")?.parse().ok()
}

/// A player who gets a reply: the loop turns.
fn is_served(address: SocketAddr, name: &str) -> Client {
    let mut player = Client::connect(address);
    player.expect("shall we call you? ");
    player.send(&format!("{name}\r\nsay hello\r\n"));
    player.expect("You say: hello\r\n");
    player
}

#[test]
fn a_script_whose_replies_are_unread_delays_nothing_and_gets_them_all() {
    const LINES: usize = 12_000;
    let mut server = Scripted::start();
    let mut script = server.script.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        // More replies than a pipe and all queues hold, and only then the command that ends the server.
        (0..LINES).for_each(|_| script.write_all(b"help\n").expect("it is read"));
        script.write_all(b"say to the end").expect("it is read");
    });
    let mut ann = is_served(server.address, "Ann");
    is_served(server.address, "Bob");
    let mut replies = String::new();
    server.replies.read_to_string(&mut replies).expect("text");
    writer.join().expect("all was written");
    assert_eq!(replies.matches("this list\n").count(), LINES);
    assert!(replies.ends_with("Told one user.\n"), "{}", &replies[replies.len() - 80..]);
    ann.expect("The operator says: to the end\r\n");
    drop(ann);
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn an_end_that_the_script_asks_for_waits_until_its_replies_are_read() {
    let mut server = Scripted::start();
    // More than a pipe holds, and less than the amount that keeps the script waiting.
    server.runs(&["help\n"; 100].concat());
    server.runs("shutdown\n");
    server.log.wait_for("shutting down");
    assert_eq!(server.child.try_wait().expect("a child"), None);
    let mut replies = String::new();
    server.replies.read_to_string(&mut replies).expect("text");
    assert_eq!(replies.matches("this list\n").count(), 100);
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_log_that_is_not_read_delays_nothing() {
    let mut child = piped(&mut dolmend(&["-p", "127.0.0.1:0"]));
    let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut first = String::new();
    log.read_line(&mut first).expect("text");
    let address = listening(first.trim_end()).expect("it listens");
    // Several lines each, and more than a pipe holds.
    for _ in 0..300 {
        let mut player = Client::connect(address);
        player.expect("shall we call you? ");
        player.send("quit\r\n");
    }
    is_served(address, "Ann");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// An end that waits for the reader of the replies stops waiting when a signal asks for it; that is the first request.
#[cfg(unix)]
#[test]
fn a_signal_bounds_an_end_that_waits_for_a_reader() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut server = Scripted::start();
    server.runs(&["help\n"; 100].concat());
    server.runs("shutdown\n");
    server.log.wait_for("shutting down");
    let pid = Pid::from_raw(server.child.id() as i32).expect("a process");
    kill_process(pid, Signal::TERM).expect("it can be signalled");
    server.log.wait_for("the console's last output was not read");
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

/// A second request ends the server immediately, whatever is unread.
#[cfg(unix)]
#[test]
fn a_second_request_stops_immediately_with_output_unread() {
    // The waits for a reader last two seconds, and those for a client five. A busy machine may be as slow now and then, but
    // not each time.
    let mut times = Vec::new();
    while times.last().is_none_or(|&took| took > std::time::Duration::from_millis(1500)) {
        assert!(times.len() < 5, "{times:?}");
        times.push(second_request());
    }
}

/// The time from the second request to the end.
#[cfg(unix)]
fn second_request() -> std::time::Duration {
    use rustix::process::{Pid, Signal, kill_process};
    let mut server = Scripted::start();
    let ann = is_served(server.address, "Ann");
    server.runs(&["help\n"; 1000].concat());
    let stop = || kill_process(Pid::from_raw(server.child.id() as i32).expect("a process"), Signal::TERM);
    stop().expect("it can be signalled");
    server.log.wait_for("a second request stops immediately");
    let asked = std::time::Instant::now();
    stop().expect("it can be signalled");
    assert_eq!(server.child.wait().expect("it ends").code(), Some(1));
    let took = asked.elapsed();
    drop(ann);
    took
}
