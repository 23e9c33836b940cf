//! Limits: of users, of output that waits, of the turns of one player.

mod common;

use std::fmt::Write as _;

use common::{Client, Server};

#[test]
fn one_user_too_many_is_told_so_and_a_place_that_gets_free_is_given_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "max users : 2\n");
    let mut ann = server.player("Ann");
    let _bob = server.player("Bob");
    let mut third = server.connect();
    // It may have said something already: that must not cost it the answer.
    third.send("Cid\r\nsay hi\r\n");
    assert_eq!(third.expect_end(), "The place is full. Please try again later.\r\n");
    ann.send("quit\r\n");
    ann.expect_end();
    let mut fourth = server.player("Dan");
    fourth.send("who\r\n");
    fourth.expect("  Bob\r\n  Dan (you)\r\n");
}

#[test]
fn many_who_are_turned_away_hurt_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "max users : 1\n");
    let mut ann = server.player("Ann");
    // More than are told so at a time: those above it may be hung up on without a word.
    let crowd: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    ann.send("say alone\r\n");
    ann.expect("You say: alone\r\n");
    drop(crowd);
    ann.send("quit\r\n");
    ann.expect_end();
    server.player("Bob");
}

#[test]
fn who_does_not_read_is_disconnected_and_nobody_else_notices() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "output limit : 16384\n");
    let mut ann = server.player("Ann");

    // A small receive window, so that the system does not take megabytes for the reader.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    socket.connect(&server.addresses[0].into()).expect("the server accepts");
    let mut deaf = Client::over(socket.into());
    deaf.send("Deaf\r\n");
    ann.expect("Deaf has arrived.\r\n");

    let shout = "x".repeat(4000);
    let mut heard = String::new();
    let mut shouts = 0;
    while !heard.contains("Deaf has left.") {
        assert!(shouts < 20_000, "80 MB were kept for somebody who does not read");
        shouts += 1;
        ann.send(&format!("say {shout}\r\n"));
        heard = ann.expect(&format!("You say: {shout}\r\n"));
    }
    server.program.stderr.wait_for("output limit reached");
    deaf.expect_gone();
    ann.send("who\r\n");
    ann.expect("One is here:\r\n  Ann (you)\r\n");
}

/// The server is stopped while both type, so that it finds a book and a line waiting at the
/// same moment, whatever the scheduler does.
#[cfg(target_os = "linux")]
#[test]
fn somebody_who_pastes_a_book_does_not_keep_others_waiting() {
    use rustix::process::{Pid, Signal, kill_process};

    let server = Server::start();
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    ann.expect("Bob has arrived.\r\n");

    let pid = Pid::from_raw(server.program.id() as i32).expect("a process");
    kill_process(pid, Signal::STOP).expect("it can be stopped");
    let mut book = String::new();
    for number in 0..5000 {
        writeln!(book, "say {number}").expect("a string");
    }
    ann.send(&book);
    bob.send("say me too\n");
    kill_process(pid, Signal::CONT).expect("it can go on");

    let before = bob.expect("You say: me too\r\n");
    let others = before.matches("Ann says: ").count();
    assert!(others <= 4, "{others} lines of the book came first");
    // And the book is read to its end, in order.
    let mut expected = String::new();
    for number in others..5000 {
        write!(expected, "Ann says: {number}\r\n").expect("a string");
    }
    let after = bob.expect("Ann says: 4999\r\n") + "Ann says: 4999\r\n";
    assert!(after == expected, "lines are missing or out of order");
}

/// With nobody typing the server sleeps. Context switches that a thread makes of its own will
/// are the times that it woke up and went back to sleep.
#[cfg(target_os = "linux")]
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
