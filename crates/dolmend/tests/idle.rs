//! Nothing polls.

#![cfg(target_os = "linux")]

mod common;

use std::time::{Duration, Instant};

use common::{Client, DEADLINE, Server};

/// While no one types the server sleeps. The voluntary context switches of a thread count how often it woke up and went
/// back to sleep.
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
    // The test measures a time in which nothing happens, so time has to pass. The first moments may still include the
    // end of earlier work; a server that polls never comes to rest.
    let deadline = Instant::now() + DEADLINE;
    let mut before = switches(server.program.id());
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = switches(server.program.id());
        if now == before {
            break;
        }
        assert!(Instant::now() < deadline, "it runs {} times in two seconds", now - before);
        before = now;
    }
    drop(players);
}
