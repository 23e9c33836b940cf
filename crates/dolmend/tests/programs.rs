//! Real clients: those that people type into.

#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Program, Server};

/// The command, or a failure that says how to get it. Games are not in everybody's PATH.
fn client(name: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/games").to_path_buf()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    match found {
        Some(file) => Command::new(file),
        None => panic!("{name} is missing; install it: apt-get install {package}"),
    }
}

#[test]
fn inetutils_telnet_holds_a_session() {
    // With -8 the client opens with offers and requests of its own, which are refused.
    for options in [&[][..], &["-8"]] {
        let server = Server::start();
        let mut bob = server.player("Bob");
        let address = server.addresses[0];
        let mut command = client("telnet", "inetutils-telnet");
        command.args(options).arg(address.ip().to_string()).arg(address.port().to_string());
        let mut telnet = Program::start(&mut command);
        telnet.stdout.wait_for("shall we call you? ");
        telnet.type_in("Ann\n");
        bob.expect("Ann has arrived.");
        telnet.type_in("say grüße\n");
        bob.expect("Ann says: grüße\r\n");
        telnet.stdout.wait_for("You say: grüße");
        bob.send("say hello\r\n");
        telnet.stdout.wait_for("Bob says: hello");
        telnet.type_in("quit\n");
        assert!(telnet.stdout.wait_for_end().ends_with("Good-bye, Ann.\n"));
        telnet.stderr.wait_for("Connection closed by foreign host");
    }
}

#[test]
fn nc_runs_a_script_and_gets_all_of_its_output() {
    let server = Server::start();
    let address = server.addresses[0];
    let mut command = client("nc", "netcat-openbsd");
    command.arg("-N").arg(address.ip().to_string()).arg(address.port().to_string());
    let mut nc = Program::start(&mut command);
    nc.type_in("a\nsay hi\nquit\n");
    nc.stdin = None;
    assert_eq!(nc.wait().code(), Some(0));
    let output = nc.stdout.wait_for_end();
    assert!(output.ends_with("You say: hi\r\nGood-bye, a.\r\n"), "{output}");
}

#[test]
fn tintin_holds_a_session() {
    let server = Server::start();
    let mut bob = server.player("Bob");
    let home = tempfile::tempdir().expect("a folder");
    let address = server.addresses[0];
    let tintin = client("tt++", "tintin++");
    // It needs a terminal, and one with a size.
    let session = format!(
        "stty rows 24 cols 80; exec {} -G -e '#session x {} {}'",
        tintin.get_program().to_str().expect("a plain path"),
        address.ip(),
        address.port()
    );
    let mut command = client("script", "bsdutils");
    command.args(["--quiet", "--return", "--command", &session, "/dev/null"]);
    command.env("TERM", "vt100").env("HOME", home.path());
    let mut terminal = Program::start(&mut command);
    terminal.stdout.wait_for("shall we call you? ");
    terminal.type_in("Ann\r");
    bob.expect("Ann has arrived.");
    terminal.type_in("say hello\r");
    bob.expect("Ann says: hello\r\n");
    bob.send("say hello Ann\r\n");
    terminal.stdout.wait_for("Bob says: hello Ann");
    terminal.type_in("quit\r");
    terminal.stdout.wait_for("Good-bye, Ann.");
    terminal.stdout.wait_for("#SESSION 'x' DIED.");
    bob.expect("Ann has left.");
    terminal.type_in("#end\r");
    terminal.wait();
}
