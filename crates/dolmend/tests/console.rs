//! The operator's console, through a pipe.

mod common;

use common::{Program, Server, dolmend};

#[test]
fn a_piped_script_is_run_to_its_end_and_the_server_stops() {
    let mut program = Program::start(&mut dolmend(&["-c", "-p", "127.0.0.1:0"]));
    program.type_in("who\nshutdown\n");
    program.stdin = None;
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(program.stdout.wait_for_end(), "Nobody is connected.\n");
    let log = program.stderr.wait_for_end();
    let lines: Vec<&str> = log.lines().take(3).collect();
    assert!(lines[0].starts_with("listening 127.0.0.1:") && lines[0].ends_with(" telnet"), "{log}");
    assert_eq!(lines[1], "state     in memory only; 'state folder' keeps names, notes and bans");
    assert_eq!(lines[2], "console   type 'help'; Ctrl-C stops the server");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[test]
fn the_end_of_the_pipe_stops_the_server_after_all_lines() {
    let mut program = Program::start(&mut dolmend(&["-c", "-p", "127.0.0.1:0"]));
    let script: String = (0..500).map(|number| format!("nonsense{number}\n")).collect();
    program.type_in(&script);
    program.type_in("stats");
    program.stdin = None;
    assert_eq!(program.wait().code(), Some(0));
    let output = program.stdout.wait_for_end();
    assert_eq!(output.matches("There is no command 'nonsense").count(), 500);
    assert!(output.contains("uptime_s="), "the last line has no end, and counts");
}

#[test]
fn the_operator_sees_tells_and_kicks_players() {
    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    server.program.type_in("users\n");
    let peer = bob.stream.local_addr().expect("connected");
    server.program.stdout.wait_for(&format!("#2 Bob from {peer} (telnet)\n"));
    server.program.type_in("say hello all\n");
    ann.expect("The operator says: hello all\r\n");
    server.program.type_in("kick bob\n");
    assert!(bob.expect_end().ends_with("\r\nThe operator has disconnected you.\r\n"));
    ann.expect("Bob has left.\r\n");
}

#[test]
fn shutdown_tells_the_players_and_lets_them_go_in_order() {
    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    let mut ann = server.player("Ann");
    let mut nameless = server.connect();
    nameless.expect("shall we call you? ");
    server.program.type_in("shutdown\n");
    assert_eq!(ann.expect_end(), "\r\nThe server is shutting down. Good-bye.\r\n");
    assert_eq!(nameless.expect_end(), "\r\nThe server is shutting down. Good-bye.\r\n");
    drop((ann, nameless));
    // The console's pipe is still open: its thread, blocked in a read, must not delay the end.
    assert_eq!(server.program.wait().code(), Some(0));
}

#[test]
fn without_c_a_pipe_is_no_console_and_its_end_ends_nothing() {
    let mut server = Server::with(&["-p", "127.0.0.1:0"], 1);
    assert!(server.program.stdin.take().is_none());
    let mut ann = server.player("Ann");
    ann.send("say still here\r\n");
    ann.expect("You say: still here\r\n");
    assert!(!server.program.stderr.wait_for("listening").contains("console"));
}
