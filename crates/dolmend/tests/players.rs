//! Players meet in the lobby, over real connections.

mod common;

use std::net::Shutdown;

use common::{Client, Server};

#[test]
fn a_newcomer_is_greeted_in_text_and_nothing_else() {
    let server = Server::start();
    let mut client = server.connect();
    let greeting = client.expect("shall we call you? ");
    assert_eq!(greeting, "Welcome to Dolmen!\r\n\r\nBy what name ");
}

#[test]
fn the_configured_name_and_message_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("motd.txt"), "Mind the step.\n").expect("written");
    let server = Server::configured(&folder, "mud name : Höhle\nmotd file : motd.txt\n");
    let mut client = server.connect();
    assert_eq!(client.expect("By what name"), "Welcome to Höhle!\r\n\r\nMind the step.\r\n\r\n");
}

#[test]
fn two_players_talk() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    ann.expect("Bob has arrived.\r\n");
    ann.send("say hello\r\n");
    ann.expect("You say: hello\r\n");
    bob.expect("Ann says: hello\r\n");
    bob.send("tell ann schön, dich zu sehen\n");
    ann.expect("Bob tells you: schön, dich zu sehen\r\n");
    bob.send("who\r\n");
    bob.expect("2 are here:\r\n  Ann\r\n  Bob (you)\r\n");
    bob.send("quit\r\n");
    assert!(bob.expect_end().ends_with("Good-bye, Bob.\r\n"));
    ann.expect("Bob has left.\r\n");
}

#[test]
fn a_name_belongs_to_one_player_at_a_time() {
    let server = Server::start();
    let mut first = server.player("Åsa");
    let mut second = server.connect();
    second.send("åsa\n");
    second.expect("is called åsa already.\r\n");
    first.send("quit\n");
    first.expect_end();
    second.send("åsa\n");
    second.expect("Hello, åsa.");
}

#[test]
fn everything_may_come_byte_by_byte() {
    let server = Server::start();
    let mut bob = server.player("Bob");
    let mut ann = server.connect();
    ann.expect("shall we call you? ");
    ann.send_one_by_one("Añn\r\nsay grüße 😀\r\0say two\nsay three\rsay four\r\n".as_bytes());
    bob.expect("Añn has arrived.\r\n");
    let heard = bob.expect("Añn says: four\r\n");
    assert_eq!(heard, "Añn says: grüße 😀\r\nAñn says: two\r\nAñn says: three\r\n");
}

#[test]
fn what_is_typed_can_be_edited() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    ann.send("say helk\x08lo wörlk\x7f\x7f\x7f\x7forld\r\n");
    assert_eq!(ann.expect("You say: hello world\r\n"), "");
}

#[test]
fn no_escape_sequence_reaches_another_player() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    ann.send("say \x1b[2J\u{9b}31m\x07red\r\n");
    assert_eq!(bob.expect("\r\n"), "Ann says: red");
}

#[test]
fn a_line_that_is_too_long_is_cut_and_the_player_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "line length : 80\n");
    let mut ann = server.player("Ann");
    ann.send(&format!("say {}\r\nsay next\r\n", "x".repeat(5000)));
    ann.expect("Your line was too long: 4924 characters were cut off.\r\n");
    assert_eq!(ann.expect("You say: next\r\n"), format!("You say: {}\r\n", "x".repeat(76)));
}

#[test]
fn bytes_that_are_no_text_do_not_end_a_session() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    ann.send_bytes(b"say caf\xe9 \x80\xf0\x9f\r\n");
    ann.expect("You say: caf\u{fffd} \u{fffd}\u{fffd}\r\n");
}

#[test]
fn a_script_that_closes_its_side_gets_all_of_its_output() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("a\nsay one\nquit\n");
    client.stream.shutdown(Shutdown::Write).expect("the connection stands");
    let output = client.expect_end();
    assert!(output.ends_with("You say: one\r\nGood-bye, a.\r\n"), "{output}");
}

#[test]
fn so_does_one_that_neither_quits_nor_ends_its_last_line() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("a\nsay one\nsay two");
    client.stream.shutdown(Shutdown::Write).expect("the connection stands");
    let output = client.expect_end();
    assert!(output.ends_with("You say: one\r\nYou say: two\r\n"), "{output}");
}

#[test]
fn a_long_script_is_run_to_its_end() {
    let server = Server::start();
    let mut client = server.connect();
    let mut script = "a\n".to_string();
    for number in 0..1000 {
        script.push_str(&format!("say {number}\n"));
    }
    client.send(&script);
    client.stream.shutdown(Shutdown::Write).expect("the connection stands");
    let output = client.expect_end();
    let said: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("You say: ")).collect();
    let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(said, expected);
}

#[test]
fn the_others_see_a_broken_connection() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let bob = server.player("Bob");
    // Closing with a linger time of zero sends a reset.
    socket2::SockRef::from(&bob.stream).set_linger(Some(std::time::Duration::ZERO)).expect("it can be set");
    drop(bob);
    ann.expect("Bob has left.\r\n");
}

#[test]
fn ipv6_is_served_where_the_machine_has_it() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let server = Server::with(&["-p", "[::1]:0", "-p", "127.0.0.1:0"], 2);
    assert!(server.addresses[0].is_ipv6());
    let mut six = Client::connect(server.addresses[0]);
    six.send("six\n");
    six.expect("Hello, six.");
    let mut four = Client::connect(server.addresses[1]);
    four.send("four\n");
    four.expect("One other is here");
    six.expect("four has arrived.\r\n");
}
