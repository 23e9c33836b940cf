//! Tests of the telnet layer: known sequences at every cut, recorded clients, and random streams.

use std::time::Duration;

use super::byte::{AYT, DO, DONT, EC, EL, IAC, SB, SE, WILL, WONT, option};
use super::*;
use proptest::prelude::*;

/// What a stream has led to: the text, the replies, and everything else in words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    text: Vec<u8>,
    reply: Vec<u8>,
    events: Vec<String>,
    /// Where compression begins and ends.
    changes: Vec<String>,
}

fn receive(telnet: &mut Telnet, piece: &[u8], now: Instant, seen: &mut Seen) {
    let mut outward = Outward::default();
    let Seen { text, events, .. } = seen;
    let mut inward = |message: Message<'_>| match message {
        Message::Bytes(bytes) => {
            assert!(!bytes.is_empty());
            text.extend_from_slice(bytes);
        }
        other => events.push(format!("{other:?}")),
    };
    telnet.receive(Message::Bytes(piece), now, &mut inward, &mut outward);
    outward.replay(|output| match output {
        Output::Bytes(bytes) => seen.reply.extend_from_slice(bytes),
        other => seen.changes.push(format!("{other:?} after {}", seen.reply.len())),
    });
}

/// Feeds the pieces to a connection that has sent its opening.
fn opened<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut telnet, mut seen, now) = (Telnet::new(Settings::default()), Seen::default(), Instant::now());
    telnet.open(&mut Outward::default());
    pieces.into_iter().for_each(|piece| receive(&mut telnet, piece, now, &mut seen));
    seen
}

/// Feeds the pieces to one that has offered nothing; returns the text and the reply.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>) {
    let (mut telnet, mut seen, now) = (Telnet::new(Settings::default()), Seen::default(), Instant::now());
    pieces.into_iter().for_each(|piece| receive(&mut telnet, piece, now, &mut seen));
    (seen.text, seen.reply)
}

/// Checks one stream: whole, cut in two at every place, and byte by byte.
fn check(stream: &[u8], text: &[u8], reply: &[u8]) {
    let expected = (text.to_vec(), reply.to_vec());
    assert_eq!(run([stream]), expected, "{stream:02x?} whole");
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        assert_eq!(run([left, right]), expected, "{stream:02x?} cut at {cut}");
    }
    assert_eq!(run(stream.chunks(1)), expected, "{stream:02x?} byte by byte");
}

/// Checks the replies and events behind the opening, at every cut.
fn after_opening(stream: &[u8]) -> Seen {
    let whole = opened([stream]);
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        assert_eq!(opened([left, right]), whole, "{stream:02x?} cut at {cut}");
    }
    assert_eq!(opened(stream.chunks(1)), whole, "{stream:02x?} byte by byte");
    whole
}

fn subnegotiation(option: u8, payload: &[u8]) -> Vec<u8> {
    [&[IAC, SB, option], payload, &[IAC, SE]].concat()
}

#[test]
fn the_opening_is_exactly_as_specified() {
    let opening = |settings| {
        let mut outward = Outward::default();
        Telnet::new(settings).open(&mut outward);
        outward.bytes().to_vec()
    };
    let plain = b"\xff\xfd\x18\xff\xfd\x1f\xff\xfb\x46\xff\xfb\x2a\xff\xfb\x19\xff\xfb\xc9";
    assert_eq!(opening(Settings::default()), [&plain[..], b"\xff\xfb\x56"].concat());
    assert_eq!(opening(Settings { compress: false, ..Settings::default() }), plain);
    let proxy = Settings { trusted_proxy: true, ..Settings::default() };
    assert_eq!(opening(proxy), [&plain[..], b"\xff\xfb\x56\xff\xfd\x27"].concat());
}

#[test]
fn text_passes_untouched() {
    check(b"", b"", b"");
    check(b"say hello\r\n", b"say hello\r\n", b"");
    check(b"\x00\x01\x7f\x80\xf0\xfe", b"\x00\x01\x7f\x80\xf0\xfe", b"");
}

#[test]
fn a_doubled_255_is_one_text_byte() {
    check(&[b'a', IAC, IAC, b'b'], &[b'a', IAC, b'b'], b"");
    check(&[IAC, IAC, IAC, IAC], &[IAC, IAC], b"");
    check(&[IAC, IAC, IAC, DO, 1], &[IAC], &[IAC, WONT, 1]);
}

#[test]
fn an_unknown_option_is_refused_once_and_no_text_is_lost() {
    let known = [option::TIMING_MARK, option::TERMINAL_TYPE, option::WINDOW_SIZE, option::CHARSET]
        .into_iter()
        .chain([option::MSSP, option::END_OF_RECORD, option::GMCP, option::MCCP2]);
    let known: Vec<u8> = known.collect();
    for option in (0..=255).filter(|option| !known.contains(option)) {
        check(&[b'a', IAC, DO, option, b'b'], b"ab", &[IAC, WONT, option]);
        check(&[b'a', IAC, WILL, option, b'b'], b"ab", &[IAC, DONT, option]);
        check(&[b'a', IAC, DONT, option, b'b'], b"ab", b"");
        check(&[b'a', IAC, WONT, option, b'b'], b"ab", b"");
    }
}

#[test]
fn insisting_gets_no_reply_and_a_change_of_mind_gets_one() {
    check(&[IAC, DO, 1, IAC, DO, 1, IAC, DO, 1], b"", &[IAC, WONT, 1]);
    check(&[IAC, WILL, 86, IAC, WILL, 86], b"", &[IAC, DONT, 86]);
    check(&[IAC, DO, 1, IAC, DONT, 1, IAC, DO, 1], b"", &[IAC, WONT, 1, IAC, WONT, 1]);
    check(&[IAC, WILL, 1, IAC, WONT, 1, IAC, WILL, 1], b"", &[IAC, DONT, 1, IAC, DONT, 1]);
    // The two sides of an option are independent.
    check(&[IAC, DO, 1, IAC, WILL, 1], b"", &[IAC, WONT, 1, IAC, DONT, 1]);
    // On, and insisted on.
    check(&[IAC, WILL, 31, IAC, WILL, 31], b"", &[IAC, DO, 31]);
}

#[test]
fn a_timing_mark_is_answered_each_time_in_order() {
    let mark = [IAC, DO, 6];
    check(&mark.repeat(6), b"", &[IAC, WILL, 6].repeat(6));
    check(&[IAC, AYT, IAC, DO, 6, IAC, AYT], b"", b"\r\n[Yes]\r\n\xff\xfb\x06\r\n[Yes]\r\n");
    check(&[IAC, WILL, 6, IAC, WONT, 6, IAC, DONT, 6, IAC, DO, 6], b"", &[IAC, WILL, 6]);
}

/// What inetutils telnet sends for Ctrl-C: interrupt process, a timing mark, and an urgent data mark (RFC 854's synch).
#[test]
fn interrupts_of_inetutils_telnet_eat_nothing() {
    let interrupt = [IAC, byte::IP, IAC, DO, 6, IAC, byte::DM];
    let stream = [&interrupt.repeat(6)[..], b"say \xd1\x8f\r\n"].concat();
    check(&stream, b"say \xd1\x8f\r\n", &[IAC, WILL, 6].repeat(6));
}

/// Two of us, who have sent each other their openings and something more: how many rounds they talk.
fn rounds_until_silent(settings: Settings, extra: &[u8]) -> usize {
    let (mut one, mut other, now) = (Telnet::new(settings), Telnet::new(settings), Instant::now());
    let (mut opening, mut seen) = (Outward::default(), Seen::default());
    one.open(&mut opening);
    let mut to_other = [opening.bytes(), extra].concat();
    opening.clear();
    other.open(&mut opening);
    let mut to_one = opening.bytes().to_vec();
    for round in 0..100 {
        if to_other.is_empty() && to_one.is_empty() {
            return round;
        }
        seen.reply.clear();
        receive(&mut other, &to_other, now, &mut seen);
        let replies = std::mem::take(&mut seen.reply);
        receive(&mut one, &to_one, now, &mut seen);
        to_other = std::mem::take(&mut seen.reply);
        to_one = replies;
    }
    panic!("still talking: {to_one:02x?} {to_other:02x?}");
}

#[test]
fn two_of_us_settle_and_fall_silent() {
    assert!(rounds_until_silent(Settings::default(), &[]) < 6);
    let proxies = Settings { trusted_proxy: true, ..Settings::default() };
    assert!(rounds_until_silent(proxies, &[IAC, DO, 1, IAC, WILL, 39]) < 6);
}

/// Found by `two_of_us_never_loop`: a change of mind that only one of the two knows of.
#[test]
fn two_of_us_out_of_step_settle_too() {
    assert!(rounds_until_silent(Settings::default(), &[IAC, DO, 42, IAC, DONT, 42]) < 100);
}

#[test]
fn subnegotiations_are_skipped_whole() {
    check(&[b'a', IAC, SB, 24, 0, b'x', IAC, SE, b'b'], b"ab", b"");
    check(&[b'a', IAC, SB, IAC, SE, b'b'], b"ab", b"");
    check(&[b'a', IAC, SB, 31, 0, IAC, IAC, 0, 24, IAC, SE, b'b'], b"ab", b"");
    // A payload byte 240, and a doubled 255 before it.
    check(&[b'a', IAC, SB, 31, SE, IAC, IAC, SE, IAC, SE, b'b'], b"ab", b"");
    // Window sizes from clients that do not double 255.
    check(&[b'a', IAC, SB, 31, 0, IAC, 0, 24, IAC, SE, b'b'], b"ab", b"");
    check(&[b'a', IAC, SB, 31, 0, 80, 0, IAC, SE, IAC, SE, b'b'], b"ab", b"");
}

#[test]
fn a_subnegotiation_that_no_one_agreed_to_ends_with_the_line() {
    // ÿú in Latin-1.
    check(b"say \xff\xfaber\r\nwho\r\n", b"say \r\nwho\r\n", b"");
    check(b"\xff\xfa\rwho\r", b"\rwho\r", b"");
    let noise = [&b"\xff\xfa"[..], &b"x".repeat(1024), b"and text\r\n"].concat();
    check(&noise, b"and text\r\n", b"");
}

/// The rest may be a part of a password.
#[test]
fn a_subnegotiation_that_takes_too_long_is_discarded_up_to_its_end() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let (mut telnet, mut seen) = (Telnet::new(Settings::default()), Seen::default());
    receive(&mut telnet, &[IAC, DO, 201, IAC, SB, 201, b'A'], start, &mut seen);
    receive(&mut telnet, b".B \"hun", at(9), &mut seen);
    receive(&mut telnet, b"ter2\"\r\nno text\r\n", at(11), &mut seen);
    receive(&mut telnet, b"\xff", at(40), &mut seen);
    receive(&mut telnet, b"\xf0text\r\n", at(80), &mut seen);
    assert_eq!((&seen.text[..], seen.events.len()), (&b"text\r\n"[..], 0));
    // The next one is in time.
    receive(&mut telnet, &subnegotiation(201, b"A.B"), at(81), &mut seen);
    assert_eq!(seen.events.len(), 1);
}

#[test]
fn a_subnegotiation_that_no_one_agreed_to_is_over_after_a_time() {
    let (mut telnet, mut seen, now) = (Telnet::new(Settings::default()), Seen::default(), Instant::now());
    receive(&mut telnet, &[IAC, SB, 24, 0], now, &mut seen);
    receive(&mut telnet, b"not text", now + Duration::from_secs(9), &mut seen);
    receive(&mut telnet, b"text\r\n", now + Duration::from_secs(11), &mut seen);
    assert_eq!(seen.text, b"text\r\n");
}

#[test]
fn a_time_in_which_nothing_is_read_does_not_count() {
    for option in [201, 39] {
        let (mut telnet, mut seen, now) = (Telnet::new(Settings::default()), Seen::default(), Instant::now());
        receive(&mut telnet, &[IAC, DO, 201, IAC, SB, option, b'A'], now, &mut seen);
        telnet.paused(Duration::from_secs(60));
        receive(&mut telnet, b".B\xff\xf0text\r\n", now + Duration::from_secs(69), &mut seen);
        assert_eq!(seen.text, b"text\r\n");
        assert_eq!(seen.events.len(), usize::from(option == 201));
        // A pause outside of any changes nothing.
        telnet.paused(Duration::from_secs(60));
    }
}

#[test]
fn a_subnegotiation_of_any_length_is_skipped_and_the_text_after_it_kept() {
    let message =
        [&[IAC, DO, 201, IAC, SB, 201][..], &b"x\r\n".repeat(70_000), &[IAC, SE], b"b\r\n"].concat();
    let seen = opened([&message[..]]);
    assert_eq!((&seen.text[..], seen.events.len()), (&b"b\r\n"[..], 0));
    assert_eq!(opened(message.chunks(4096)), seen);
    // What never ends is over at some point.
    let endless = [&[IAC, DO, 201, IAC, SB, 201][..], &b"x\r\n".repeat(400_000)].concat();
    assert!(opened([&endless[..]]).text.ends_with(b"x\r\n"));
}

#[test]
fn a_subnegotiation_given_up_for_a_command_ends_there() {
    check(&[IAC, SB, 24, b'x', IAC, DO, 1, b'o', b'k'], b"ok", &[IAC, WONT, 1]);
    check(&[IAC, SB, 24, b'x', IAC, SB, 31, 1, IAC, SE, b'o', b'k'], b"ok", b"");
}

#[test]
fn are_you_there_gets_a_reply_and_the_next_byte_is_kept() {
    check(&[IAC, AYT, b'x'], b"x", b"\r\n[Yes]\r\n");
    check(&[b'a', IAC, AYT, IAC, AYT, b'b'], b"ab", b"\r\n[Yes]\r\n\r\n[Yes]\r\n");
}

#[test]
fn other_commands_are_harmless() {
    for command in 236..=249 {
        if ![AYT, EC, EL].contains(&command) {
            check(&[b'a', IAC, command, b'b'], b"ab", b"");
        }
    }
}

#[test]
fn erasing_is_passed_on() {
    assert_eq!(after_opening(&[b'a', IAC, EC, b'b', IAC, EL]).events, ["EraseCharacter", "EraseLine"]);
}

#[test]
fn the_byte_after_a_stray_255_is_kept() {
    check(&[b'a', IAC, b'b'], b"ab", b"");
    check(&[b'a', IAC, b'\r', b'\n'], b"a\r\n", b"");
    check(&[IAC, 0, b'a'], b"\0a", b"");
}

#[test]
fn what_is_cut_off_at_the_end_is_nothing() {
    for end in [&[IAC][..], &[IAC, DO], &[IAC, WILL], &[IAC, SB], &[IAC, SB, 24, 1], &[IAC, SB, 24, IAC]] {
        let mut stream = b"text".to_vec();
        stream.extend(end);
        check(&stream, b"text", b"");
    }
}

#[test]
fn the_window_size_is_reported_when_it_changes() {
    let size = |a, b, c, d| subnegotiation(31, &[a, b, c, d]);
    let stream = [&[IAC, WILL, 31][..], &size(0, 80, 0, 24), &size(0, 80, 0, 24), &size(0, 0, 0, 0)].concat();
    let seen = after_opening(&stream);
    assert_eq!(seen.events, ["Client(WindowSize(WindowSize { columns: 80, rows: 24 }))"]);
    let wide = [&[IAC, WILL, 31, IAC, SB, 31, 0, IAC, IAC, 1, 0, IAC, SE][..], &subnegotiation(31, b"\0P\0")]
        .concat();
    assert_eq!(after_opening(&wide).events, ["Client(WindowSize(WindowSize { columns: 255, rows: 256 }))"]);
}

fn client_of(stream: &[u8]) -> (Client, Seen) {
    let (mut telnet, mut seen) = (Telnet::new(Settings::default()), Seen::default());
    telnet.open(&mut Outward::default());
    receive(&mut telnet, stream, Instant::now(), &mut seen);
    (telnet.client().clone(), seen)
}

fn terminals(names: &[&str]) -> (Client, Seen) {
    let mut stream = vec![IAC, WILL, 24];
    for name in names {
        stream.extend(subnegotiation(24, &[&[0], name.as_bytes()].concat()));
    }
    client_of(&stream)
}

#[test]
fn the_terminal_is_asked_for_until_it_is_known() {
    let ask = subnegotiation(24, &[1]);
    let (client, seen) = terminals(&["TINTIN++", "XTERM-256COLOR", "MTTS 329"]);
    assert_eq!(seen.reply, ask.repeat(3));
    assert_eq!((client.name.as_str(), client.terminal.as_str()), ("TINTIN++", "XTERM-256COLOR"));
    assert!(client.screen_reader && client.colours == Colours::True);
    assert_eq!(seen.events, ["Client(TerminalType)"]);
    // A plain telnet program has one terminal, and repeats it.
    let (client, seen) = terminals(&["xterm-256color", "xterm-256color", "more", "more"]);
    assert_eq!((seen.reply, seen.events.len()), (ask.repeat(2), 1));
    assert_eq!((client.terminal.as_str(), client.colours), ("XTERM-256COLOR", Colours::TwoHundredFiftySix));
    let (client, seen) = terminals(&["A", "B", "C", "D", "E"]);
    assert_eq!((seen.reply, client.colours), (ask.repeat(4), Colours::None));
    let (client, _) = terminals(&["\x1b[31m", "DUMB", "DUMB"]);
    assert_eq!(client.name, "", "what is not printable is not a name");
}

#[test]
fn an_address_is_taken_from_a_trusted_proxy_only() {
    let claim = [&[IAC, WILL, 39][..], &subnegotiation(39, b"\0\0IPADDRESS\x01192.0.2.7")].concat();
    let seen = after_opening(&claim);
    assert_eq!((&seen.reply[..], seen.events.len()), (&[IAC, DONT, 39][..], 0));
    let (mut telnet, mut seen) =
        (Telnet::new(Settings { trusted_proxy: true, ..Settings::default() }), Seen::default());
    telnet.open(&mut Outward::default());
    receive(&mut telnet, &claim, Instant::now(), &mut seen);
    assert_eq!(seen.reply, subnegotiation(39, b"\x01\0IPADDRESS"));
    assert_eq!(seen.events, ["Client(Address(192.0.2.7))"]);
    // Once, whatever else is sent, and whether it was switched off and on in between.
    let again = [&claim[..], &[IAC, WONT, 39], &claim, &subnegotiation(39, b"\x02\0IPADDRESS\x01192.0.2.9")];
    receive(&mut telnet, &again.concat(), Instant::now(), &mut seen);
    assert_eq!((seen.events.len(), count(&seen.reply, b"IPADDRESS")), (1, 1));
}

#[test]
fn an_address_that_no_one_has_asked_for_is_not_taken() {
    let trusted = Settings { trusted_proxy: true, ..Settings::default() };
    let address = b"\0IPADDRESS\x01192.0.2.7";
    let (mut telnet, mut seen) = (Telnet::new(trusted), Seen::default());
    telnet.open(&mut Outward::default());
    let news = [&[IAC, WILL, 39][..], &subnegotiation(39, &[&[2][..], address].concat())].concat();
    receive(&mut telnet, &news, Instant::now(), &mut seen);
    assert_eq!(seen.events, [""; 0]);
    receive(&mut telnet, &subnegotiation(39, &[&[0][..], address].concat()), Instant::now(), &mut seen);
    assert_eq!(seen.events.len(), 1, "the answer is still taken");
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

#[test]
fn gmcp_of_the_core_is_handled_and_the_rest_passed_on() {
    let mut stream = vec![IAC, DO, 201];
    for message in [
        "Core.Hello {\"client\":\"Mudlet\",\"version\":\"4.17\"}",
        "Core.Supports.Set [\"Char 1\",\"Char.Login 1\"]",
        "Core.Ping 120",
        "Core.KeepAlive",
        "Char.Login.Credentials {\"account\":\"Ann\",\"password\":\"s\u{e9}\"}",
        "Char.Login.Credentials []",
        "Room.Look",
        "Core.Hello nonsense",
        "",
    ] {
        stream.extend(subnegotiation(201, message.as_bytes()));
    }
    let seen = after_opening(&stream);
    assert_eq!(seen.reply, subnegotiation(201, b"Core.Ping"));
    assert_eq!(
        seen.events,
        [
            "Client(TerminalType)",
            "Client(TakesLogin)",
            "Client(Credentials { account: \"Ann\", password: \"s\u{e9}\" })",
            "Client(Gmcp { package: \"Room.Look\", data: \"\" })",
        ]
    );
    let (client, _) = client_of(&stream);
    assert_eq!((client.name.as_str(), client.version.as_str(), client.gmcp), ("Mudlet", "4.17", true));
    let hello = subnegotiation(201, "Core.Hello {\"client\":\"\u{202e}Mud\u{2028}let\\u0007\"}".as_bytes());
    assert_eq!(client_of(&[&[IAC, DO, 201], &hello[..]].concat()).0.name, "Mudlet");
    // Not agreed, so not taken.
    assert_eq!(after_opening(&subnegotiation(201, b"Room.Look")).events, [""; 0]);
}

#[test]
fn a_client_says_by_its_packages_that_it_shows_channels_apart() {
    let said = |messages: &[&str]| {
        let mut stream = vec![IAC, DO, 201];
        messages.iter().for_each(|message| stream.extend(subnegotiation(201, message.as_bytes())));
        (client_of(&stream).0.channels, after_opening(&stream).events.len())
    };
    assert_eq!(said(&["Core.Supports.Set [\"Char 1\"]"]), (false, 0));
    assert_eq!(said(&["Core.Supports.Set [\"Comm.Channel 1\"]"]), (true, 1));
    assert_eq!(said(&["Core.Supports.Add [\"Comm 1\"]", "Core.Supports.Add [\"Char 1\"]"]), (true, 1));
    let [add, remove] = ["Add", "Remove"].map(|verb| format!("Core.Supports.{verb} [\"Comm.Channel 1\"]"));
    assert_eq!(said(&[&add, &remove]), (false, 2));
}

#[test]
fn a_probe_is_for_clients_that_speak_telnet_and_has_one_answer() {
    let (mut telnet, mut outward, now) =
        (Telnet::new(Settings::default()), Outward::default(), Instant::now());
    telnet.send(Output::Probe, &mut outward);
    assert!(outward.is_empty());
    let mut seen = Seen::default();
    // What no one has asked for is no answer.
    receive(&mut telnet, &[IAC, WILL, 6, IAC, WONT, 6], now, &mut seen);
    assert_eq!(seen.events, [""; 0]);
    telnet.send(Output::Probe, &mut outward);
    assert_eq!(outward.bytes(), [IAC, DO, 6]);
    receive(&mut telnet, &[IAC, WONT, 6, IAC, WILL, 6], now, &mut seen);
    assert_eq!(seen.events, ["Client(Alive)"]);
    // Some clients refuse a mark once, and never again. They have a terminal.
    receive(
        &mut telnet,
        &[&[IAC, WILL, 24][..], &subnegotiation(24, b"\0X").repeat(2)].concat(),
        now,
        &mut seen,
    );
    seen.events.clear();
    outward.clear();
    telnet.send(Output::Probe, &mut outward);
    assert_eq!(outward.bytes(), [&[IAC, DO, 6][..], &subnegotiation(24, &[1])].concat());
    receive(&mut telnet, &subnegotiation(24, b"\0X"), now, &mut seen);
    assert_eq!(seen.events, ["Client(Alive)"]);
    // So is a letter, without the end of its line.
    telnet.send(Output::Probe, &mut outward);
    receive(&mut telnet, b"x", now, &mut seen);
    assert_eq!(seen.events, ["Client(Alive)"; 2]);
}

#[test]
fn a_long_message_of_gmcp_is_taken() {
    let text = "x".repeat(20_000);
    let stream = [&[IAC, DO, 201][..], &subnegotiation(201, format!("A.B \"{text}\"").as_bytes())].concat();
    assert!(opened([&stream[..]]).events[0].contains(&text));
}

#[test]
fn the_status_is_asked_for_by_the_option_alone() {
    assert_eq!(after_opening(&[IAC, DO, 70, IAC, DO, 70]).events, ["Client(ServerStatus)"]);
}

fn encoded(encoder: Encoder, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut encoder, mut wire) = (encoder, Vec::new());
    for piece in pieces {
        encoder.encode(piece, &mut wire);
    }
    wire
}

#[test]
fn line_ends_are_made_once() {
    for encoder in [Encoder::telnet, Encoder::ascii] {
        assert_eq!(encoded(encoder(), &[b"a\nb\n"]), b"a\r\nb\r\n");
        assert_eq!(encoded(encoder(), &[b"a\r\nb\r\n"]), b"a\r\nb\r\n");
        assert_eq!(encoded(encoder(), &[b"a\r", b"\nb"]), b"a\r\nb");
        assert_eq!(encoded(encoder(), &[b"\n\n"]), b"\r\n\r\n");
        assert_eq!(encoded(encoder(), &[b"a\r\n\n"]), b"a\r\n\r\n");
    }
}

#[test]
fn a_carriage_return_never_stands_alone_in_telnet() {
    assert_eq!(encoded(Encoder::telnet(), &[b"a\rb"]), b"a\r\0b");
    assert_eq!(encoded(Encoder::telnet(), &[b"a\r\r\n"]), b"a\r\0\r\n");
    assert_eq!(encoded(Encoder::telnet(), &[b"a\r\0b"]), b"a\r\0b");
    assert_eq!(encoded(Encoder::telnet(), &[b"a\r", b"\xff"]), b"a\r\0\xff\xff");
    assert_eq!(encoded(Encoder::ascii(), &[b"a\rb"]), b"a\rb");
}

#[test]
fn byte_255_is_doubled_in_telnet_only() {
    assert_eq!(encoded(Encoder::telnet(), &[b"a\xffb"]), b"a\xff\xffb");
    assert_eq!(encoded(Encoder::ascii(), &[b"a\xffb"]), b"a\xffb");
    assert_eq!(encoded(Encoder::telnet(), &["é日\n".as_bytes()]), "é日\r\n".as_bytes());
}

/// A well-formed piece of a stream, and the text that it holds.
fn element() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let doubled = |payload: Vec<u8>| -> Vec<u8> {
        payload.into_iter().flat_map(|byte| if byte == IAC { vec![IAC, IAC] } else { vec![byte] }).collect()
    };
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(move |text| (doubled(text.clone()), text)),
        (251u8..=254, any::<u8>()).prop_map(|(verb, option)| (vec![IAC, verb, option], vec![])),
        (236u8..=249).prop_map(|command| (vec![IAC, command], vec![])),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(move |payload| {
            let mut wire = vec![IAC, SB];
            // Where no one has agreed to the option, a line end would end it.
            wire.extend(doubled(payload).into_iter().filter(|byte| !b"\r\n".contains(byte)));
            wire.extend([IAC, SE]);
            (wire, vec![])
        }),
    ]
}

/// An option that this side knows.
fn known_option() -> impl Strategy<Value = u8> {
    proptest::sample::select(vec![1u8, 3, 6, 24, 25, 31, 39, 42, 70, 86, 201])
}

/// Cuts a stream into pieces of the given lengths, repeatedly.
pub(crate) fn cut<'a>(mut stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut lengths = lengths.iter().cycle();
    while !stream.is_empty() {
        let length = lengths.next().copied().unwrap_or(1).clamp(1, stream.len());
        let (piece, rest) = stream.split_at(length);
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn text_and_commands_are_never_confused(
        elements in proptest::collection::vec(element(), 0..20),
        lengths in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let wire: Vec<u8> = elements.iter().flat_map(|(wire, _)| wire.clone()).collect();
        let text: Vec<u8> = elements.iter().flat_map(|(_, text)| text.clone()).collect();
        prop_assert_eq!(run(cut(&wire, &lengths)).0, text);
    }

    #[test]
    fn noise_means_the_same_in_any_pieces(
        stream in proptest::collection::vec(
            prop_oneof![any::<u8>(), 236u8.., Just(13u8), Just(0u8), Just(1u8), known_option()], 0..200),
        lengths in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let whole = opened([&stream[..]]);
        // Bounded: a question or an answer for each command at the most.
        prop_assert!(whole.reply.len() <= 40 * stream.len());
        prop_assert_eq!(whole, opened(cut(&stream, &lengths)));
    }

    #[test]
    fn two_of_us_never_loop(commands in proptest::collection::vec((251u8..=254, known_option()), 0..40)) {
        let extra: Vec<u8> = commands.into_iter().flat_map(|(verb, option)| [IAC, verb, option]).collect();
        prop_assert!(rounds_until_silent(Settings::default(), &extra) < 100);
    }

    #[test]
    fn options_are_switched_the_same_in_any_pieces(
        commands in proptest::collection::vec((251u8..=254, known_option()), 0..40),
        payloads in proptest::collection::vec(proptest::collection::vec(0u8..8, 0..6), 40),
        lengths in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let mut stream = Vec::new();
        for ((verb, option), payload) in commands.iter().zip(&payloads) {
            stream.extend([IAC, *verb, *option]);
            stream.extend(subnegotiation(*option, payload));
        }
        let whole = opened([&stream[..]]);
        prop_assert_eq!(opened(cut(&stream, &lengths)), whole);
    }

    #[test]
    fn what_is_encoded_is_understood_by_a_telnet_client(
        text in "[a-zé\u{ff}日\n]{0,60}",
        lengths in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let mut latin: Vec<u8> = text.clone().into_bytes();
        latin.push(IAC);
        let wire = encoded(Encoder::telnet(), &cut(&latin, &lengths));
        let mut back = String::from_utf8_lossy(&run([&wire[..]]).0).into_owned();
        back = back.replace("\r\n", "\n");
        prop_assert_eq!(back, text + "\u{fffd}");
    }
}
