//! Real clients, of the kind that people use.

#![cfg(target_os = "linux")]

mod common;

use common::{Program, Server, installed, terminal};

#[test]
fn inetutils_telnet_holds_a_session() {
    // With -8 the client opens with offers and requests of its own, which are refused.
    for options in [&[][..], &["-8"]] {
        let server = Server::start();
        let mut bob = server.player("Bob");
        let address = server.addresses[0];
        let mut command = installed("telnet", "inetutils-telnet");
        command.args(options).arg(address.ip().to_string()).arg(address.port().to_string());
        let mut telnet = Program::start(command.env("TERM", "xterm"));
        telnet.stdout.wait_for("shall we call you? ");
        telnet.type_in("Ann\n");
        bob.expect("Ann has arrived.");
        telnet.type_in("say grüße\n");
        bob.expect("Ann says: grüße\r\n");
        telnet.stdout.wait_for("You say: grüße");
        bob.send("say hello\r\n");
        telnet.stdout.wait_for("\x1b[1;36mBob\x1b[0m says: hello");
        telnet.type_in("quit\n");
        assert!(telnet.stdout.wait_for_end().ends_with("Good-bye, Ann.\n"));
        telnet.stderr.wait_for("Connection closed by foreign host");
    }
}

/// The client shows nothing before each of its timing marks has come back [D1]. It sends one for Ctrl-C, and one for the
/// second byte of я, which it takes for Ctrl-O.
#[test]
fn inetutils_telnet_goes_on_after_six_interrupts() {
    let server = Server::start();
    let address = server.addresses[0];
    let telnet = installed("telnet", "inetutils-telnet");
    let telnet = telnet.get_program().to_str().expect("a plain path").to_owned();
    let mut terminal =
        Program::start(&mut terminal(&format!("exec {telnet} {} {}", address.ip(), address.port())));
    terminal.stdout.wait_for("shall we call you? ");
    terminal.type_in("Ann\r");
    terminal.stdout.wait_for("for what you can do.");
    for number in 1..=6 {
        terminal.type_in("\x03");
        terminal.type_in(&format!("say {number} я\r"));
        terminal.stdout.wait_for(&format!("You say: {number} "));
    }
    terminal.type_in("quit\r");
    terminal.stdout.wait_for("Good-bye, Ann.");
    terminal.wait();
}

/// Waits until somebody at the address who wants this name has been told that its player has just answered.
fn is_kept_by_the_client(server: &Server, name: &str) {
    let mut thief = server.connect();
    let deadline = std::time::Instant::now() + common::DEADLINE;
    loop {
        thief.send(&format!("{name}\r\n"));
        thief.expect(&format!("Somebody here is called {name} already."));
        if thief.expect("call you? ").contains("That player has just answered.") {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "it does not answer");
    }
}

/// Some answer a timing mark only the first time. The question for the terminal is then the second probe.
#[test]
fn real_clients_keep_the_name_of_a_player_who_is_away_from_the_keyboard() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "no limits : none\n");
    let (address, port) = (server.addresses[0].ip().to_string(), server.addresses[0].port().to_string());
    let telnet = installed("telnet", "inetutils-telnet");
    let tintin = installed("tt++", "tintin++");
    let [telnet, tintin] = [telnet, tintin].map(|it| it.get_program().to_str().expect("a path").to_owned());
    let sessions = [
        format!("exec {telnet} {address} {port}"),
        format!("exec {tintin} -G -e '#session x {address} {port}'"),
    ];
    for (session, name) in sessions.iter().zip(["Ann", "Bob"]) {
        let mut client = Program::start(terminal(session).env("HOME", folder.path()));
        client.stdout.wait_for("shall we call you? ");
        client.type_in(&format!("{name}\r"));
        client.stdout.wait_for("for what you can do.");
        is_kept_by_the_client(&server, name);
        client.stdout.wait_for("Somebody at your address wants your name");
    }
}

#[test]
fn nc_runs_a_script_and_gets_all_of_its_output() {
    let server = Server::start();
    let address = server.addresses[0];
    let mut command = installed("nc", "netcat-openbsd");
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
    let tintin = installed("tt++", "tintin++");
    let session = format!(
        "exec {} -G -e '#session x {} {}'",
        tintin.get_program().to_str().expect("a plain path"),
        address.ip(),
        address.port()
    );
    let mut terminal = Program::start(terminal(&session).env("HOME", home.path()));
    terminal.stdout.wait_for("shall we call you? ");
    terminal.type_in("Ann\r");
    bob.expect("Ann has arrived.");
    terminal.type_in("say hello\r");
    bob.expect("Ann says: hello\r\n");
    bob.send("say hello Ann\r\n");
    // Colours by the name of the client.
    terminal.stdout.wait_for("\x1b[1;36mBob\x1b[0m says: hello Ann");
    terminal.type_in("quit\r");
    terminal.stdout.wait_for("Good-bye, Ann.");
    terminal.stdout.wait_for("#SESSION 'x' DIED.");
    bob.expect("Ann has left.");
    terminal.type_in("#end\r");
    terminal.wait();
}
