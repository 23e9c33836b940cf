//! Nothing polls.

#![cfg(target_os = "linux")]

mod common;

use common::{Client, Server};

/// With nobody typing the server sleeps. Context switches that a thread makes of its own will
/// are the times that it woke up and went back to sleep.
#[test]
fn a_server_with_nothing_to_do_does_nothing() {
    fn switches(pid: u32) -> u64 {
        let mut count = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs") {
            let file = task.expect("a task").path().join("status");
            let status = std::fs::read_to_string(file).expect("a status");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count += line.expect("a count").trim().parse::<u64>().expect("a number");
        }
        count
    }

    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    let players: Vec<Client> = (0..50).map(|number| server.player(&format!("P{number}"))).collect();
    server.program.type_in("stats\n");
    server.program.stdout.wait_for("waits=");
    // What is measured is a time in which nothing happens, so time has to pass. The first
    // moments may still see the end of what was done before.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let before = switches(server.program.id());
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(switches(server.program.id()), before);
    drop(players);
}
