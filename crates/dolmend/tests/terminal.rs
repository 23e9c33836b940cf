//! The operator at a terminal.

#![cfg(target_os = "linux")]

mod common;

use common::{Client, Program, terminal};

#[test]
fn a_terminal_is_a_console_and_its_end_of_input_is_not_the_end_of_the_server() {
    let binary = env!("CARGO_BIN_EXE_dolmend");
    let mut operator = Program::start(&mut terminal(&format!("exec '{binary}' -p 127.0.0.1:0")));
    let shown = operator.stdout.wait_for("console   type 'help'; Ctrl-C stops the server\r\n");
    let listening = shown.lines().find_map(|line| line.strip_prefix("listening ")).expect("it listens");
    let address = listening.strip_suffix(" telnet").expect("a kind").parse().expect("an address");
    operator.type_in("users\n");
    operator.stdout.wait_for("Nobody is connected.");

    // Ctrl-D.
    operator.type_in("\x04");
    operator.stdout.wait_for("the console input has ended");
    let mut ann = Client::connect(address);
    ann.send("Ann\r\n");
    ann.expect("Hello, Ann.");

    // Ctrl-C.
    operator.type_in("\x03");
    let seen = ann.expect_end();
    assert!(seen.ends_with("The server is shutting down. Good-bye.\r\n"), "{seen}");
    drop(ann);
    assert_eq!(operator.wait().code(), Some(0));
}
