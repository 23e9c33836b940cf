//! Tests of whole sessions: lines, prompts, passwords, compression.

use super::*;
use crate::encoding::TextEncoding;
use crate::telnet::byte::{DO, DONT, IAC, SB, SE, WILL, WONT, option};
use flate2::{Decompress, FlushDecompress};
use proptest::prelude::*;

fn session(kind: PortKind) -> Session {
    Session::new(Options { kind, line_length_bytes: 80, settings: Settings::default() })
}

fn lines(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.next_line(&mut Vec::new()).map(|line| line.text)).collect()
}

/// Sends bytes to a session, and returns its replies.
fn replies(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    session.receive(bytes, Instant::now(), &mut wire);
    wire
}

/// Shows texts to a user, and returns what the connection gets in this turn.
fn shown(session: &mut Session, texts: &[&str]) -> Vec<u8> {
    let mut wire = Vec::new();
    texts.iter().for_each(|text| session.send(Output::Text(text), &mut wire));
    session.flush(Instant::now(), &mut wire);
    wire
}

#[test]
fn telnet_commands_do_not_come_between_a_line_end_and_its_second_byte() {
    let mut session = session(PortKind::Telnet);
    assert_eq!(replies(&mut session, b"who\r\xff\xf1"), b"");
    assert_eq!(replies(&mut session, b"\nhe\xff\xfd\x01lp\n"), b"\xff\xfc\x01");
    assert_eq!(lines(&mut session), ["who", "help"]);
}

#[test]
fn telnet_commands_do_not_come_between_the_bytes_of_a_character() {
    let mut session = session(PortKind::Telnet);
    replies(&mut session, b"caf\xc3\xff\xf1\xa9\n");
    assert_eq!(lines(&mut session), ["café"]);
}

#[test]
fn erasing_by_telnet_command_edits_the_line() {
    let mut session = session(PortKind::Telnet);
    replies(&mut session, b"junk\xff\xf8whp\xff\xf7o\n");
    assert_eq!(lines(&mut session), ["who"]);
}

#[test]
fn on_an_ascii_port_255_is_a_byte() {
    let mut session = session(PortKind::Ascii);
    let mut wire = Vec::new();
    session.open(&mut wire);
    assert_eq!(wire, b"");
    assert_eq!(replies(&mut session, b"a\xff\xfd\x20b\n"), b"");
    assert_eq!(lines(&mut session), ["a\u{fffd}\u{fffd} b"]);
    assert_eq!(shown(&mut session, &["> "]), b"> ");
}

#[test]
fn the_last_line_counts_without_an_end() {
    let mut session = session(PortKind::Telnet);
    replies(&mut session, b"a\nquit");
    assert_eq!(lines(&mut session), ["a"]);
    session.finish();
    assert_eq!(lines(&mut session), ["quit"]);
    session.finish();
    assert!(!session.has_line());
}

#[test]
fn a_flood_is_detected_and_so_is_its_end() {
    let mut session = session(PortKind::Telnet);
    replies(&mut session, &b"\n".repeat(MOST_WAITING_LINES - 1));
    assert!(!session.is_behind());
    replies(&mut session, b"\n");
    assert!(session.is_behind() && !session.has_caught_up());
    for _ in FEW_WAITING_LINES..MOST_WAITING_LINES {
        session.next_line(&mut Vec::new());
    }
    assert!(session.has_caught_up());
}

#[test]
fn a_prompt_is_marked_as_the_client_knows_it() {
    let mut raw = session(PortKind::Telnet);
    assert_eq!(shown(&mut raw, &["> "]), b"> ", "a client that never spoke telnet");
    let mut old = session(PortKind::Telnet);
    replies(&mut old, &[IAC, WONT, option::TERMINAL_TYPE]);
    assert_eq!(shown(&mut old, &["> "]), b"> \xff\xf9");
    let mut no_go_ahead = session(PortKind::Telnet);
    assert_eq!(replies(&mut no_go_ahead, &[IAC, DO, 3]), [IAC, WONT, 3]);
    assert_eq!(shown(&mut no_go_ahead, &["> "]), b"> ");
    let mut new = session(PortKind::Telnet);
    new.open(&mut Vec::new());
    replies(&mut new, &[IAC, DO, option::END_OF_RECORD]);
    assert_eq!(shown(&mut new, &["Hi.\n", "> "]), b"Hi.\r\n> \xff\xef");
    assert_eq!(shown(&mut new, &[]), b"", "once");
}

#[test]
fn output_over_a_prompt_is_followed_by_the_prompt() {
    let mut session = session(PortKind::Telnet);
    shown(&mut session, &["Name? "]);
    assert_eq!(shown(&mut session, &["Ann left.\n", "Bob left.\n"]), b"\r\nAnn left.\r\nBob left.\r\nName? ");
    assert_eq!(replies(&mut session, b"\xff\xf6"), b"\r\n[Yes]\r\n");
    assert_eq!(shown(&mut session, &[]), b"Name? \xff\xf9");
    replies(&mut session, b"Cid\n");
    lines(&mut session);
    assert_eq!(shown(&mut session, &["Hello.\n"]), b"Hello.\r\n");
    session.set_screen_reader(true);
    shown(&mut session, &["> "]);
    assert_eq!(shown(&mut session, &["Rain.\n"]), b"\r\nRain.\r\n");
}

#[test]
fn what_another_call_shows_in_the_same_round_does_not_stand_behind_the_prompt() {
    let mut session = session(PortKind::Telnet);
    let mut wire = Vec::new();
    session.ask("Name? ", &mut wire);
    assert_eq!(shown(&mut session, &["Ann left.\n"]), b"\r\nAnn left.\r\nName? ");
    replies(&mut session, b"Cid\n");
    lines(&mut session);
    wire.clear();
    session.ask_password("Password: ", &mut wire);
    session.send(Output::Text("Ann "), &mut wire);
    assert_eq!(shown(&mut session, &["left.\n"]), b"left.\r\nPassword: ");
    assert_eq!(wire, b"Password: \xff\xfb\x01\r\nAnn ");
    replies(&mut session, b"secret\n");
    lines(&mut session);
    // The parts of a line, in one call of the world.
    wire.clear();
    session.in_call(1);
    ["100hp ", "> "].into_iter().for_each(|part| session.send(Output::Text(part), &mut wire));
    session.in_call(2);
    assert!(session.text_state("Rain.\n").is_some_and(|state| state.breaks));
    session.send(Output::Text("Rain.\n"), &mut wire);
    session.flush(Instant::now(), &mut wire);
    assert_eq!(wire, b"100hp > \r\nRain.\r\n100hp > ");
}

#[test]
fn a_password_is_hidden_only_around_its_line() {
    let mut session = session(PortKind::Telnet);
    let mut wire = Vec::new();
    session.ask_password("Password: ", &mut wire);
    assert_eq!(wire, b"Password: \xff\xfb\x01");
    assert_eq!(replies(&mut session, b"secret\r\n\xff\xfd\x01"), b"", "the acknowledgement is not answered");
    wire.clear();
    assert_eq!(session.next_line(&mut wire).map(|line| line.text).as_deref(), Some("secret"));
    assert_eq!(wire, b"\xff\xfc\x01\r\n");
    assert_eq!(replies(&mut session, b"\xff\xfe\x01"), b"");
    wire.clear();
    replies(&mut session, b"look\r\n");
    session.next_line(&mut wire);
    assert_eq!(wire, b"");
}

/// [T2] 9B begins an escape sequence on a terminal of eight bits, and 85 is a line end there.
#[test]
fn control_bytes_of_iso_8859_reach_no_terminal_and_no_line() {
    let wire = |label: &[u8], kind| {
        let encoding = TextEncoding::for_label(label).expect("it has this name");
        let settings = Settings { encoding, ..Settings::default() };
        let mut session = Session::new(Options { kind, line_length_bytes: 80, settings });
        replies(&mut session, b"a\x85b\x93c\xe9\n");
        (lines(&mut session).concat(), shown(&mut session, &["\u{203a}31m\u{2026}\u{20ac}\u{e9}\n"]))
    };
    for kind in [PortKind::Telnet, PortKind::Ascii] {
        for label in ["latin1", "iso-8859-1", "iso-8859-9"] {
            let (line, shown) = wire(label.as_bytes(), kind);
            assert_eq!((line.as_str(), shown.as_slice()), ("abcé", &b"?31m??\xe9\r\n"[..]), "{label}");
        }
        let (line, shown) = wire(b"windows-1252", kind);
        assert_eq!((line.as_str(), shown.as_slice()), ("a…b“cé", &b"\x9b31m\x85\x80\xe9\r\n"[..]));
    }
}

#[test]
fn an_encoding_holds_in_both_directions() {
    let latin1 = TextEncoding::for_label(b"latin1").expect("it has this name");
    let settings = Settings { encoding: latin1, ..Settings::default() };
    let mut session = Session::new(Options { kind: PortKind::Telnet, line_length_bytes: 80, settings });
    session.open(&mut Vec::new());
    replies(&mut session, b"caf\xe9 \xff\xff\n");
    assert_eq!(lines(&mut session), ["café ÿ"]);
    assert_eq!(shown(&mut session, &["ÿ é 日\n"]), b"\xff\xff \xe9 ?\r\n");
    let asked = replies(&mut session, &[IAC, DO, option::CHARSET]);
    assert_eq!(asked, b"\xff\xfa\x2a\x01;UTF-8;ISO-8859-1\xff\xf0");
    replies(&mut session, b"\xff\xfa\x2a\x02UTF-8\xff\xf0\xc3\xa9\n");
    assert_eq!(lines(&mut session), ["é"]);
    assert_eq!(shown(&mut session, &["é\n"]), "é\r\n".as_bytes());
    assert_eq!(session.client().encoding, TextEncoding::UTF_8);
}

fn inflated(wire: &[u8]) -> Vec<u8> {
    let (mut decompress, mut text) = (Decompress::new(true), Vec::with_capacity(1 << 16));
    decompress.decompress_vec(wire, &mut text, FlushDecompress::Sync).expect("it is a zlib stream");
    text
}

#[test]
fn compression_begins_behind_its_start_sequence() {
    let mut session = session(PortKind::Telnet);
    session.open(&mut Vec::new());
    assert_eq!(shown(&mut session, &["plain\n"]), b"plain\r\n");
    let mut wire =
        replies(&mut session, &[IAC, WONT, option::TERMINAL_TYPE, IAC, DO, option::MCCP2, IAC, 246]);
    wire.extend(shown(&mut session, &["packed\n"]));
    let (start, packed) = wire.split_at(5);
    assert_eq!(start, [IAC, SB, option::MCCP2, IAC, SE]);
    assert_eq!(inflated(packed), b"\r\n[Yes]\r\npacked\r\n");
    assert!(session.text_state("x").is_none(), "its bytes are its own");
    let mut wire = Vec::new();
    session.receive(&[IAC, DONT, option::MCCP2], Instant::now(), &mut wire);
    let plain = shown(&mut session, &["plain\n"]);
    assert_eq!(plain, b"plain\r\n");
    assert!(session.text_state("x").is_some());
}

#[test]
fn compression_waits_for_the_answers_about_the_terminal_but_not_indefinitely() {
    let answers = [IAC, WILL, option::TERMINAL_TYPE, IAC, DO, option::MCCP2];
    let begins = |wire: &[u8]| wire.windows(3).any(|part| part == [IAC, SB, option::MCCP2]);
    let mut prompt = session(PortKind::Telnet);
    prompt.open(&mut Vec::new());
    assert!(!begins(&replies(&mut prompt, &answers)));
    let mut name = vec![IAC, SB, option::TERMINAL_TYPE, 0];
    name.extend(b"XTERM\xff\xf0");
    assert!(!begins(&replies(&mut prompt, &name)));
    assert!(begins(&replies(&mut prompt, &name)), "the repeated answer is the last");
    let mut silent = session(PortKind::Telnet);
    silent.open(&mut Vec::new());
    assert!(!begins(&replies(&mut silent, &answers)));
    let deadline = silent.deadline().expect("it waits");
    let mut wire = Vec::new();
    silent.flush(deadline, &mut wire);
    assert!(begins(&wire) && silent.deadline().is_none());
}

#[test]
fn the_end_says_goodbye_and_ends_compression() {
    let mut session = session(PortKind::Telnet);
    session.open(&mut Vec::new());
    replies(&mut session, &[IAC, DO, option::GMCP]);
    let answers = [IAC, WONT, option::TERMINAL_TYPE, IAC, DO, option::MCCP2];
    let mut wire = replies(&mut session, &answers);
    session.flush(Instant::now(), &mut wire);
    let start = [IAC, SB, option::MCCP2, IAC, SE];
    let place = wire.windows(5).position(|part| part == start).expect("compression begins") + 5;
    session.end("shutdown", &mut wire);
    let (mut decompress, mut text) = (Decompress::new(true), Vec::with_capacity(1 << 16));
    let status = decompress.decompress_vec(&wire[place..], &mut text, FlushDecompress::Finish);
    assert_eq!(status.expect("it is a zlib stream"), flate2::Status::StreamEnd);
    assert!(text.ends_with(b"\xff\xfa\xc9Core.Goodbye \"shutdown\"\xff\xf0"), "{text:?}");
}

#[test]
fn sessions_may_move_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<Session>();
}

#[test]
fn of_facts_that_wait_the_latest_is_passed_on() {
    let mut session = session(PortKind::Telnet);
    replies(&mut session, &[IAC, WILL, option::WINDOW_SIZE, IAC, DO, option::GMCP]);
    for columns in 1..=100 {
        replies(&mut session, &[IAC, SB, option::WINDOW_SIZE, 0, columns, 0, 24, IAC, SE]);
        replies(&mut session, b"\xff\xfa\xc9Core.Hello {\"client\":\"x\"}\xff\xf0");
    }
    replies(&mut session, b"\xff\xfa\xc9A.B\xff\xf0\xff\xfa\xc9A.B\xff\xf0");
    let events: Vec<ClientEvent> = std::iter::from_fn(|| session.next_event()).collect();
    let message = ClientEvent::Gmcp { package: "A.B".into(), data: String::new() };
    let size = crate::telnet::WindowSize { columns: 100, rows: 24 };
    assert_eq!(
        events,
        [ClientEvent::WindowSize(size), ClientEvent::TerminalType, message.clone(), message],
        "messages of a game are not facts"
    );
    assert!(!session.has_event() && session.has_caught_up());
    for _ in 0..MOST_WAITING_EVENTS {
        assert!(!session.is_behind());
        replies(&mut session, b"\xff\xfa\xc9A.B\xff\xf0");
    }
    assert!(session.is_behind() && !session.has_caught_up());
}

proptest! {
    /// A server wakes up at a deadline. One that stays over would wake it up indefinitely.
    #[test]
    fn no_deadline_stays_over(
        pieces in proptest::collection::vec(
            (
                proptest::collection::vec(
                    prop_oneof![Just(IAC), Just(SB), Just(SE), Just(WILL), Just(WONT), Just(DO), Just(DONT),
                        Just(option::TERMINAL_TYPE), Just(option::MCCP2), Just(0), any::<u8>()],
                    0..12,
                ),
                0u64..7_000,
            ),
            0..30,
        ),
    ) {
        let (mut session, mut now) = (session(PortKind::Telnet), Instant::now());
        let mut wire = Vec::new();
        session.open(&mut wire);
        session.receive(&[IAC, WILL, option::TERMINAL_TYPE, IAC, DO, option::MCCP2], now, &mut wire);
        prop_assert!(session.deadline().is_some());
        for (bytes, millis) in pieces {
            session.receive(&bytes, now, &mut wire);
            now += Duration::from_millis(millis);
            session.expire(now, &mut wire);
            prop_assert!(session.deadline().is_none_or(|deadline| deadline > now));
            session.flush(now, &mut wire);
        }
    }
}
