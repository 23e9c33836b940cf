//! Telnet commands over real connections: none reaches a command line, and none eats text.

mod common;

use common::{Client, Server};

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const AYT: u8 = 246;
const SE: u8 = 240;

/// The opening of a client like TinTin++ or Mudlet, before the server has asked.
fn talkative_opening() -> Vec<u8> {
    let mut bytes = vec![IAC, WILL, 24, IAC, WILL, 31, IAC, DO, 3, IAC, DO, 1, IAC, DO, 86, IAC, DO, 201];
    bytes.extend([IAC, SB, 31, 0, IAC, IAC, 0, 24, IAC, SE]);
    bytes.extend([IAC, SB, 201]);
    bytes.extend(b"Core.Hello { \"client\": \"x\" }\r\nquit\r\n");
    bytes.extend([IAC, SE]);
    bytes
}

fn refusals() -> Vec<u8> {
    vec![IAC, DONT, 24, IAC, DONT, 31, IAC, WONT, 3, IAC, WONT, 1, IAC, WONT, 86, IAC, WONT, 201]
}

#[test]
fn every_offer_is_refused_and_the_name_is_what_was_typed() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect("shall we call you? ");
    client.send_bytes(&talkative_opening());
    client.send("Ann\r\n");
    assert_eq!(client.expect_bytes(b"Hello, Ann."), refusals());
}

#[test]
fn also_when_it_comes_byte_by_byte_in_the_middle_of_a_word() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect("shall we call you? ");
    client.send_bytes(b"A");
    client.send_one_by_one(&talkative_opening());
    client.send_bytes(b"nn\r\n");
    assert_eq!(client.expect_bytes(b"Hello, Ann."), refusals());
}

#[test]
fn insisting_gets_no_reply() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect("shall we call you? ");
    for _ in 0..10 {
        client.send_bytes(&[IAC, DO, 1, IAC, WILL, 31, IAC, WONT, 24, IAC, DONT, 3]);
    }
    client.send("Ann\r\n");
    let replied = client.expect_bytes(b"Hello, Ann.");
    // A WONT after a refused WILL would withdraw the request; here it is about another option.
    assert_eq!(replied, [IAC, WONT, 1, IAC, DONT, 31]);
}

#[test]
fn are_you_there_gets_a_reply_immediately_and_eats_nothing() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    ann.send_bytes(&[b's', b'a', IAC, AYT, b'y']);
    ann.expect("\r\n[Yes]\r\n");
    ann.send(" hi\r\n");
    assert_eq!(ann.expect("You say: hi\r\n"), "");
}

#[test]
fn a_doubled_255_is_one_byte_of_text() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    ann.send_bytes(&[b's', b'a', b'y', b' ', IAC, IAC, b'x', b'\r', b'\n']);
    ann.expect("You say: \u{fffd}x\r\n");
}

#[test]
fn a_subnegotiation_longer_than_any_buffer_is_skipped() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    let mut bytes = vec![IAC, SB, 201];
    bytes.extend(b"quit\r\n".repeat(50_000));
    bytes.extend([IAC, SE]);
    bytes.extend(b"say still here\r\n");
    ann.send_bytes(&bytes);
    assert_eq!(ann.expect("You say: still here\r\n"), "");
}

#[test]
fn a_command_cut_off_by_the_end_of_the_connection_is_harmless() {
    let server = Server::start();
    for end in [&[IAC][..], &[IAC, DO], &[IAC, SB, 24], &[IAC, SB, 24, IAC]] {
        let mut client = server.connect();
        client.send("Ann\nsay bye");
        client.send_bytes(end);
        client.stream.shutdown(std::net::Shutdown::Write).expect("the connection stands");
        assert!(client.expect_end().ends_with("You say: bye\r\n"), "{end:02x?}");
    }
}

#[test]
fn on_an_ascii_port_there_is_no_telnet() {
    let server = Server::with(&["-p", "127.0.0.1:0:ascii", "-p", "127.0.0.1:0"], 2);
    let mut plain = Client::connect(server.addresses[0]);
    plain.expect("shall we call you? ");
    plain.send("Ann\n");
    plain.expect("for what you can do.\r\n");
    plain.send_bytes(&[b's', b'a', b'y', b' ', IAC, DO, b'!', b'\n']);
    // All three bytes are text, and two of them are not UTF-8. There is no reply.
    assert_eq!(plain.expect("You say: \u{fffd}\u{fffd}!\r\n"), "");
    let mut telnet = Client::connect(server.addresses[1]);
    telnet.send("Bob\n");
    plain.expect("Bob has arrived.\r\n");
}
