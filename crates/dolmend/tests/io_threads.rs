//! `io threads` where the system has no room for a thread.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{Client, Program, dolmend};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Leaves a program room for so many more descriptors, for good.
fn limit(program: &Program, free: usize) {
    let id = program.id();
    let open: BTreeSet<u64> = fs::read_dir(format!("/proc/{id}/fd"))
        .expect("it runs")
        .map(|entry| {
            entry.expect("an entry").file_name().to_str().expect("a number").parse().expect("a number")
        })
        .collect();
    let limit = (0..).filter(|fd| !open.contains(fd)).nth(free);
    let limit = Rlimit { current: limit, maximum: limit };
    prlimit(Pid::from_raw(i32::try_from(id).expect("an id")), Resource::Nofile, limit).expect("it is ours");
}

#[test]
fn a_thread_that_the_system_refuses_is_started_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.conf");
    fs::write(&file, "port : 127.0.0.1:0\n").expect("write");
    let mut program = Program::start(dolmend(&["-c", "-f"]).arg(&file));
    let log = program.stderr.wait_for("console   type 'help'");
    let line = log.lines().find_map(|line| line.strip_prefix("listening ")).expect("it listens");
    let address = line.split(' ').next().expect("an address").to_owned();
    let connect = || Client::connect(address.parse().expect("an address"));
    let mut early = connect();
    early.expect("shall we call you? ");
    let mut others: Vec<Client> = (0..9).map(|_| connect()).collect();
    for other in &mut others {
        other.expect("shall we call you? ");
    }

    // One for the file that is read, and not all that a thread opens.
    limit(&program, 1);
    fs::write(&file, format!("port : {address}\nio threads : 2\n")).expect("write");
    program.type_in("reload\n");
    program.stdout.wait_for("not all `io threads` could be started");
    program.stderr.wait_for("cannot start an I/O thread; trying again every second");
    early.send("Early\r\n");
    early.expect("Hello, Early.");

    drop(others);
    program.stderr.wait_for("all I/O threads run");
    connect().expect("shall we call you? ");
    drop(early);
    program.type_in("shutdown\n");
    assert_eq!(program.wait().code(), Some(0));
    let log = program.stderr.so_far();
    assert_eq!(log.matches("cannot start an I/O thread").count(), 1, "{log}");
}
