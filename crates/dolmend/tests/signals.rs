//! Signals of a Unix system.

#![cfg(unix)]

mod common;

use common::{Client, Server};
use rustix::process::{Pid, Signal, kill_process};

fn signal(server: &Server, signal: Signal) {
    let pid = Pid::from_raw(server.program.id() as i32).expect("a process");
    kill_process(pid, signal).expect("it can be signalled");
}

#[test]
fn each_request_to_stop_is_an_orderly_end() {
    for request in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let mut ann = server.player("Ann");
        // Pending output must arrive before the end.
        ann.send("help\r\n");
        ann.expect("say TEXT");
        signal(&server, request);
        assert!(ann.expect_end().ends_with("\r\nThe server is shutting down. Good-bye.\r\n"));
        drop(ann);
        assert_eq!(server.program.wait().code(), Some(0), "{request:?}");
        let refused = std::net::TcpStream::connect(server.addresses[0]);
        assert!(refused.is_err(), "the ports are closed");
    }
}

#[test]
fn a_client_that_does_not_react_delays_the_end_but_does_not_prevent_it() {
    let mut server = Server::start();
    let unresponsive = server.player("Deaf");
    signal(&server, Signal::TERM);
    // The client neither reads nor closes. The deadline of the test is well above that of the server.
    assert_eq!(server.program.wait().code(), Some(0));
    drop(unresponsive);
}

#[test]
fn a_second_request_stops_immediately() {
    let mut server = Server::start();
    let _unresponsive: Client = server.player("Deaf");
    signal(&server, Signal::TERM);
    server.program.stderr.wait_for("a second request stops immediately");
    signal(&server, Signal::TERM);
    assert_eq!(server.program.wait().code(), Some(1));
}

#[test]
fn signals_without_a_meaning_end_nothing() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    for other in [Signal::USR1, Signal::USR2, Signal::QUIT] {
        signal(&server, other);
        ann.send("say still here\r\n");
        ann.expect("You say: still here\r\n");
    }
}

#[test]
fn a_hang_up_of_a_service_is_a_reload_and_any_number_ends_nothing() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    for _ in 0..200 {
        signal(&server, Signal::HUP);
    }
    server.program.stderr.wait_for("reloaded: no key has changed");
    ann.send("say still here\r\n");
    ann.expect("You say: still here\r\n");
}
