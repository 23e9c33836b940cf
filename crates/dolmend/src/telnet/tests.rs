//! Tests of the telnet layer: known sequences at every cut, and random streams.

use super::byte::{AYT, DO, DONT, EC, EL, IAC, SB, SE, WILL, WONT};
use super::*;
use proptest::prelude::*;

/// Feeds the pieces; returns the text and the reply.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>) {
    let (mut telnet, mut reply, mut text) = (Telnet::new(), Vec::new(), Vec::new());
    for piece in pieces {
        telnet.receive(piece, &mut reply, |input| {
            if let Input::Text(bytes) = input {
                assert!(!bytes.is_empty());
                text.extend_from_slice(bytes);
            }
        });
    }
    (text, reply)
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
fn every_option_is_refused_once_and_no_text_is_lost() {
    for option in 0..=255 {
        check(&[b'a', IAC, DO, option, b'b'], b"ab", &[IAC, WONT, option]);
        check(&[b'a', IAC, WILL, option, b'b'], b"ab", &[IAC, DONT, option]);
        check(&[b'a', IAC, DONT, option, b'b'], b"ab", b"");
        check(&[b'a', IAC, WONT, option, b'b'], b"ab", b"");
    }
}

#[test]
fn insisting_gets_no_reply_and_a_change_of_mind_gets_one() {
    check(&[IAC, DO, 1, IAC, DO, 1, IAC, DO, 1], b"", &[IAC, WONT, 1]);
    check(&[IAC, WILL, 31, IAC, WILL, 31], b"", &[IAC, DONT, 31]);
    check(&[IAC, DO, 1, IAC, DONT, 1, IAC, DO, 1], b"", &[IAC, WONT, 1, IAC, WONT, 1]);
    check(&[IAC, WILL, 1, IAC, WONT, 1, IAC, WILL, 1], b"", &[IAC, DONT, 1, IAC, DONT, 1]);
    // The two sides of an option are independent.
    check(&[IAC, DO, 1, IAC, WILL, 1], b"", &[IAC, WONT, 1, IAC, DONT, 1]);
}

#[test]
fn two_of_us_settle_and_fall_silent() {
    let (mut one, mut other) = (Telnet::new(), Telnet::new());
    let mut to_other = vec![IAC, DO, 24, IAC, WILL, 31, IAC, DO, 1];
    let mut rounds = 0;
    while !to_other.is_empty() {
        let (mut to_one, mut next) = (Vec::new(), Vec::new());
        other.receive(&to_other, &mut to_one, |input| panic!("text {input:?}"));
        one.receive(&to_one, &mut next, |input| panic!("text {input:?}"));
        to_other = next;
        rounds += 1;
        assert!(rounds < 3, "still talking: {to_other:?}");
    }
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
fn a_subnegotiation_of_any_length_is_skipped_and_the_text_after_it_kept() {
    let mut stream = vec![b'a', IAC, SB, 201];
    stream.extend(std::iter::repeat_n(b"x\r\n", 70_000).flatten());
    stream.extend([IAC, SE]);
    stream.extend(b"b\r\n");
    assert_eq!(run([&stream[..]]).0, b"ab\r\n");
    assert_eq!(run(stream.chunks(4096)).0, b"ab\r\n");
}

#[test]
fn a_subnegotiation_given_up_for_a_command_ends_there() {
    check(&[IAC, SB, 24, b'x', IAC, DO, 24, b'o', b'k'], b"ok", &[IAC, WONT, 24]);
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
    let mut seen = Vec::new();
    Telnet::new()
        .receive(&[b'a', IAC, EC, b'b', IAC, EL], &mut Vec::new(), |input| seen.push(format!("{input:?}")));
    assert_eq!(seen, ["Text([97])", "EraseCharacter", "Text([98])", "EraseLine"]);
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
            wire.extend(doubled(payload));
            wire.extend([IAC, SE]);
            (wire, vec![])
        }),
    ]
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
        stream in proptest::collection::vec(prop_oneof![any::<u8>(), 236u8..], 0..200),
        lengths in proptest::collection::vec(1usize..9, 1..5),
    ) {
        prop_assert_eq!(run([&stream[..]]), run(cut(&stream, &lengths)));
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
