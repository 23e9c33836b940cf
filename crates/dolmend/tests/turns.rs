//! Players take turns, whatever one of them pastes.

#![cfg(unix)]

mod common;

use std::fmt::Write as _;

use common::Server;
use rustix::process::{Pid, Signal, kill_process};

/// The server is stopped while both type, so that it finds a book and a line waiting at the same moment, whatever the
/// scheduler does.
#[test]
fn a_player_who_pastes_a_book_does_not_keep_others_waiting() {
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
