//! The system calls of `examples/echo`, under strace.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use common::{DEADLINE, Example, watchdog};
use rustix::process::{Pid, Signal, kill_process};

const MESSAGES: usize = 1_000;

#[test]
fn an_echoed_message_costs_three_system_calls_and_no_epoll_ctl() {
    let _watchdog = watchdog();
    let installed = Command::new("strace").arg("--version").output().is_ok();
    assert!(installed, "strace is needed here. Debian, Ubuntu: apt-get install strace");
    let folder = tempdir();
    let log = folder.join("strace.log");
    let log_name = log.to_str().expect("a plain path");
    let mut echo = Example::start(&["strace", "-f", "-o", log_name, "--"], "echo", "127.0.0.1:0");
    let address = match echo.listening() {
        Ok(address) => address,
        // The container forbids it, and its user could not install anything to permit it.
        Err(said) if said.to_lowercase().contains("ptrace") && said.contains("not permitted") => {
            return println!("this system does not allow tracing: {said}");
        }
        Err(said) => panic!("it does not listen: {said}"),
    };
    let traced = Traced::of(&echo);
    let mut client = TcpStream::connect(address).expect("connect");
    client.set_nodelay(true).expect("nodelay");
    client.set_read_timeout(Some(DEADLINE)).expect("timeout");
    for n in 0..MESSAGES {
        // The program has to be asleep when the message arrives, as a server is: strace slows it down, and a message
        // that has arrived already would hide an unnecessary call.
        std::thread::sleep(Duration::from_millis(1));
        let message = format!("message {n:04}\n");
        client.write_all(message.as_bytes()).expect("write");
        let mut answer = vec![0; message.len()];
        client.read_exact(&mut answer).expect("read");
        assert_eq!(answer, message.as_bytes());
    }
    // When the program ends, strace ends, and its log is complete.
    drop(traced);
    echo.wait();

    let log = std::fs::read_to_string(&log).expect("the log");
    std::fs::remove_dir_all(folder).expect("remove");
    // A line is "PID call(arguments) = result".
    let calls: Vec<&str> = log.lines().filter(|line| line.contains('(')).collect();
    let at = |what: &str, n: usize| {
        let text = format!("\"message {n:04}\\n\"");
        let found = calls.iter().position(|line| line.contains(what) && line.contains(&text));
        found.unwrap_or_else(|| panic!("no {what} of {text} in the log"))
    };
    // From the end of the first message to the end of the last.
    let (first, last) = (at("sendto(", 0), at("sendto(", MESSAGES - 1));
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &calls[first + 1..=last] {
        let name = call.split_once('(').expect("a call").0.rsplit(' ').next().expect("a name");
        *names.entry(name).or_default() += 1;
    }
    let each = (last - first) as f64 / (MESSAGES - 1) as f64;
    println!("{each:.3} system calls a message: {names:?}");
    assert!(each <= 3.05, "{each:.3} system calls a message: {names:?}");
    assert_eq!(names.get("epoll_ctl"), None, "{names:?}");
    let registrations = calls.iter().filter(|call| call.contains("epoll_ctl(")).count();
    assert_eq!(registrations, 3, "the wake-up, the listener and the connection, once each");
}

/// The program that strace has started. Ending strace alone would leave the program running.
struct Traced(Pid);

impl Traced {
    fn of(strace: &Example) -> Traced {
        let children = format!("/proc/{0}/task/{0}/children", strace.id());
        let child = std::fs::read_to_string(children).expect("/proc").trim().parse().expect("one child");
        Traced(Pid::from_raw(child).expect("a process"))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// A folder of this test among the temporary files.
fn tempdir() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("dolmen-system-calls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
