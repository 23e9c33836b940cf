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

/// A player keeps the name with a password.
fn keep(player: &mut Client, password: &str) {
    player.send(&format!("keep\r\n{password}\r\n{password}\r\n"));
    player.expect("is yours: from now on it needs your password.\r\n");
}

#[test]
fn a_kept_name_is_asked_for_its_password_and_taken_over() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    ann.expect("Bob has arrived.\r\n");
    keep(&mut ann, "open sesame");
    let mut other = server.connect();
    other.send("ann\r\n");
    other.expect("Password: ");
    other.send("open says me\r\n");
    other.expect("That is not the password. The next try is possible in 1 second");
    other.expect("Password: ");
    other.send("open sesame\r\n");
    other.expect("you have to wait for 1 second.\r\nPassword: ");
    // The second passes while the server is asked.
    loop {
        other.send("open sesame\r\n");
        // The server moves the cursor on: the client has not shown the end of the line.
        other.expect("\r\n");
        match other.expect("\r\n") {
            text if text.contains("Welcome back, Ann.") => break,
            text => assert!(text.contains("wait for 1 second"), "{text}"),
        }
    }
    assert!(ann.expect_end().contains("You have come in by another connection"));
    other.send("say hello\r\n");
    assert_eq!(bob.expect("Ann says: hello\r\n"), "", "no one came or went");
}

/// A player whose client speaks telnet.
fn telnet_player(server: &Server, name: &str) -> Client {
    let mut player = server.player(name);
    player.send_bytes(b"\xff\xfc\x18who\r\n");
    player.expect(" here:\r\n");
    player
}

#[test]
fn a_player_whose_machine_has_vanished_is_back_within_a_minute_and_a_silent_one_is_not_robbed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::configured(&folder, "no limits : none\n");
    // A client that was stopped, or is out of reach: its connection stands, and nothing comes from it.
    let _vanished = telnet_player(&server, "Ann");
    // The player is silent, and the client is not.
    let mut silent = telnet_player(&server, "Bob");
    let [mut back, mut thief] = ["Ann", "Bob"].map(|name| {
        let mut client = server.connect();
        client.send(&format!("{name}\r\n"));
        client.expect("If that is a dead connection of yours, type the name again in 25 seconds.\r\n");
        client
    });
    silent.expect("Somebody at your address wants your name; press Enter within 25 seconds to keep it.");
    silent.expect_bytes(b"\xff\xfd\x06");
    silent.send_bytes(b"\xff\xfc\x06");
    loop {
        // The server paces it: a client may send so many lines a second.
        thief.send("Bob\r\n");
        thief.expect("Somebody here is called Bob already. That player has just answered.\r\n");
        back.send("Ann\r\n");
        back.expect("call you? ");
        if !back.expect("\r\n").contains("already") {
            break;
        }
    }
    back.send("who\r\n");
    back.expect("2 are here:\r\n  Bob\r\n  Ann (you)\r\n");
}

#[test]
fn what_follows_a_password_waits_for_it() {
    let server = Server::start();
    keep(&mut server.player("Ann"), "open sesame");
    let mut script = server.connect();
    script.send("Ann\nopen sesame\nsay one\nkeep\nanother one\nanother one\npost two\nsay three\nquit\n");
    script.stream.shutdown(Shutdown::Write).expect("the connection stands");
    let output = script.expect_end();
    let mut lines = output.lines().skip_while(|line| !line.contains("You say: one"));
    assert_eq!(lines.next(), Some("You say: one"));
    let rest: Vec<&str> = lines.collect();
    assert_eq!(
        rest,
        [
            "New password: ",
            "The same again: ",
            "The name Ann is yours: from now on it needs your password.",
            "Your note is on the board, as number 1.",
            "You say: three",
            "Good-bye, Ann.",
        ]
    );
}

#[test]
fn nobody_comes_in_under_a_name_that_looks_like_another() {
    let server = Server::start();
    let _ann = server.player("Iain");
    let mut client = server.connect();
    for (name, answer) in [
        ("lain", "looks too much like Iain"),
        ("\u{422}he", "mixes letters of different scripts"), // A Cyrillic capital T.
        ("\u{ff34}he", "reserved"),                          // A full-width one.
        ("\u{17f}ystem", "reserved"),
        ("\u{3164}", "cannot be seen"),
        ("An\u{200d}n", "cannot be seen"),
        ("Iain", "already"),
    ] {
        client.expect("shall we call you? ");
        client.send(&format!("{name}\r\n"));
        client.expect(answer);
    }
    client.expect("shall we call you? ");
    client.send("A\u{301}nna\r\n");
    client.expect("Hello, \u{c1}nna.");
    let mut hindi = server.connect();
    hindi.send("\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}\r\n");
    hindi.expect("Hello, \u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}.");
}

#[test]
fn a_screen_reader_gets_one_item_a_line() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("screenreader\r\nAnn\r\nwho\r\n");
    client.expect("One is here:\r\nAnn, you\r\n");
}

#[test]
fn notes_channels_and_ignoring_work_over_connections() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let mut bob = server.player("Bob");
    keep(&mut ann, "open sesame");
    ann.send("post Hello, all\r\n");
    ann.expect("Your note is on the board, as number 1.\r\n");
    bob.send("read 1\r\njoin chat\r\nignore ann\r\n");
    bob.expect("Hello, all\r\n");
    bob.expect("You do not hear ann any more");
    ann.send("join chat\r\n#chat hi\r\nsay hi\r\ntell bob hi\r\n");
    ann.expect("Bob does not listen to you.\r\n");
    bob.send("say still here\r\n");
    let heard = bob.expect("You say: still here\r\n");
    assert!(!heard.contains("hi"), "{heard}");
}

#[test]
fn a_banned_address_is_turned_away_until_the_operator_lifts_it() {
    let mut server = Server::with(&["-c", "-p", "127.0.0.1:0"], 1);
    let mut ann = server.player("Ann");
    server.program.type_in("ban 127.0.0.1 2d no robots\n");
    server
        .program
        .stdout
        .wait_for("127.0.0.1 is banned for another 2 days: no robots.\nOne user was disconnected.\n");
    assert!(ann.expect_end().ends_with("You are banned for another 2 days: no robots.\r\n"));
    let refused = server.connect().expect_end();
    assert!(
        refused.starts_with("Your address is banned for another ") && refused.ends_with(": no robots.\r\n"),
        "{refused}"
    );
    server.program.type_in("bans\nunban 127.0.0.1\n");
    server.program.stdout.wait_for("127.0.0.1 is no longer banned.\n");
    server.player("Ann");
}
