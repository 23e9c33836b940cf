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
const IP: u8 = 244;
const DM: u8 = 242;
const SE: u8 = 240;

/// The opening of the server, in front of its greeting.
const OPENING: [u8; 21] =
    [IAC, DO, 24, IAC, DO, 31, IAC, WILL, 70, IAC, WILL, 42, IAC, WILL, 25, IAC, WILL, 201, IAC, WILL, 86];

/// The opening of a client like TinTin++ or Mudlet, before the server has asked.
fn talkative_opening() -> Vec<u8> {
    let mut bytes = vec![IAC, WILL, 31, IAC, WILL, 39, IAC, DO, 3, IAC, DO, 1, IAC, DO, 201];
    bytes.extend([IAC, SB, 31, 0, IAC, IAC, 0, 24, IAC, SE]);
    bytes.extend([IAC, SB, 201]);
    bytes.extend(b"Core.Hello { \"client\": \"x\" }\r\nquit\r\n");
    bytes.extend([IAC, SE]);
    bytes
}

fn refusals() -> Vec<u8> {
    vec![IAC, DONT, 39, IAC, WONT, 3, IAC, WONT, 1]
}

/// A client that has read the greeting.
fn greeted(server: &Server) -> Client {
    let mut client = server.connect();
    client.expect("shall we call you? ");
    client
}

#[test]
fn the_opening_comes_first_and_waits_for_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    let before = client.expect_bytes(b"Welcome to ");
    assert_eq!(before, OPENING);
    client.expect("shall we call you? ");
    client.send("Ann\r\n");
    assert_eq!(client.expect_bytes(b"Hello, Ann."), b"");
}

#[test]
fn unknown_offers_are_refused_and_the_name_is_what_was_typed() {
    let server = Server::start();
    let mut client = greeted(&server);
    client.send_bytes(&talkative_opening());
    client.send("Ann\r\n");
    assert_eq!(client.expect_bytes(b"Hello, Ann."), refusals());
}

#[test]
fn also_when_it_comes_byte_by_byte_in_the_middle_of_a_word() {
    let server = Server::start();
    let mut client = greeted(&server);
    client.send_bytes(b"A");
    client.send_one_by_one(&talkative_opening());
    client.send_bytes(b"nn\r\n");
    assert_eq!(client.expect_bytes(b"Hello, Ann."), refusals());
}

#[test]
fn insisting_gets_no_reply() {
    let server = Server::start();
    let mut client = greeted(&server);
    for _ in 0..10 {
        client.send_bytes(&[IAC, DO, 1, IAC, WILL, 31, IAC, WONT, 24, IAC, DONT, 3]);
    }
    client.send("Ann\r\n");
    let replied = client.expect_bytes(b"Hello, Ann.");
    assert_eq!(replied, [IAC, WONT, 1]);
}

/// Ctrl-C in inetutils telnet: the client shows nothing more before each of its timing marks has come back [D1]. The
/// data mark is urgent, and comes in band [D2].
#[test]
fn six_interrupts_get_six_timing_marks_and_eat_nothing() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    for _ in 0..6 {
        ann.send_bytes(&[IAC, IP, IAC, DO, 6]);
        ann.send_urgent(&[IAC, DM]);
    }
    ann.send("say here\r\n");
    assert_eq!(ann.expect_bytes(b"You say: here\r\n"), [IAC, WILL, 6].repeat(6));
}

#[test]
fn stray_latin_1_ends_with_its_line() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    ann.send_bytes(b"say a\xff\xfab\r\nsay here\r\n");
    ann.expect("You say: a\r\n");
    ann.expect("You say: here\r\n");
}

#[test]
fn output_over_a_prompt_is_followed_by_the_prompt() {
    let server = Server::start();
    let mut client = greeted(&server);
    client.send_bytes(&[IAC, AYT]);
    assert_eq!(client.expect_bytes(b"shall we call you? \xff\xf9"), b"\r\n[Yes]\r\nBy what name ");
    client.send_bytes(&[IAC, DO, 25]);
    client.send("!\r\n");
    client.expect_bytes(b"shall we call you? \xff\xef");
}

#[test]
fn crawlers_read_the_status() {
    let server = Server::with(&["-p", "127.0.0.1:0", "-p", "127.0.0.1:0:ascii"], 2);
    let mut crawler = greeted(&server);
    crawler.send_bytes(&[IAC, DO, 70]);
    crawler.expect_bytes(&[IAC, SB, 70]);
    let status = crawler.expect_bytes(&[IAC, SE]);
    let port = server.addresses[0].port();
    for part in ["\x01NAME\x02", "\x01PLAYERS\x020", "\x01UPTIME\x02", &format!("\x01PORT\x02{port}")] {
        assert!(common::find(&status, part.as_bytes()).is_some(), "{part:?}");
    }
    let mut plain = greeted(&server);
    plain.send("MSSP-REQUEST\r\n");
    plain.expect("MSSP-REPLY-START\r\nNAME\t");
    plain.expect(&format!("\r\nPORT\t{port}\r\n"));
    // The other port is not for telnet.
    plain.expect("CHARSET\tUTF-8\r\n");
    for line in ["\r\nLANGUAGE\tEnglish\r\n", "XTERM 256 COLORS\t1\r\n", "XTERM TRUE COLORS\t1\r\n"] {
        plain.expect(line);
    }
    plain.expect("MSSP-REPLY-END\r\n");
}

#[test]
fn output_is_compressed_from_an_exact_place_to_the_very_end() {
    let server = Server::start();
    let mut client = greeted(&server);
    client.send_bytes(&[IAC, WONT, 24, IAC, DO, 86]);
    client.send("Ann\r\nsay hi\r\nquit\r\n");
    let wire = client.expect_end_bytes();
    let start = common::find(&wire, &[IAC, SB, 86, IAC, SE]).expect("compression begins") + 5;
    let (mut inflate, mut text) = (flate2::Decompress::new(true), Vec::with_capacity(1 << 16));
    let status = inflate.decompress_vec(&wire[start..], &mut text, flate2::FlushDecompress::Finish);
    assert_eq!(status.expect("it is a zlib stream"), flate2::Status::StreamEnd);
    assert_eq!(inflate.total_in(), (wire.len() - start) as u64, "nothing follows the end");
    let text = common::text_of(&text);
    assert!(text.contains("Hello, Ann.") && text.ends_with("Good-bye, Ann.\r\n"), "{text}");
}

#[test]
fn clients_that_take_gmcp_hear_a_goodbye() {
    let server = Server::start();
    let mut client = greeted(&server);
    client.send_bytes(&[IAC, DO, 201, IAC, SB, 201]);
    client.send_bytes(b"Core.Ping\xff\xf0quit\r\n");
    client.expect_bytes(b"\xff\xfa\xc9Core.Ping\xff\xf0");
    let end = client.expect_end_bytes();
    assert!(common::find(&end, b"\xff\xfa\xc9Core.Goodbye \"").is_some(), "{end:?}");
}

#[test]
fn a_half_closed_connection_gets_all_of_its_output() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("a\nsay hi\nquit\n");
    client.stream.shutdown(std::net::Shutdown::Write).expect("the connection stands");
    assert!(client.expect_end().ends_with("You say: hi\r\nGood-bye, a.\r\n"));
}

#[test]
fn arrow_keys_do_not_enter_commands() {
    let server = Server::start();
    let mut ann = server.player("Ann");
    ann.send("say \x1b[A\x1bOBhi\x1b[1;5C\r\n");
    assert_eq!(ann.expect("You say: hi\r\n"), "");
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
    let mut bytes = vec![IAC, DO, 201, IAC, SB, 201];
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
