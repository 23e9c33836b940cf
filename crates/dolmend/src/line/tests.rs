//! Tests of the line assembler: known streams at every cut, and random ones.

use super::*;
use proptest::prelude::*;

fn run<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, usize)> {
    let (mut assembler, mut lines) = (LineAssembler::new(limit), Vec::new());
    for piece in pieces {
        assembler.receive(piece, |line| lines.push((line.text, line.dropped_chars)));
    }
    lines.extend(assembler.finish().map(|line| (line.text, line.dropped_chars)));
    lines
}

/// The lines of a stream, the same in every cut.
fn lines(stream: &[u8]) -> Vec<String> {
    let whole = run(4096, [stream]);
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        assert_eq!(run(4096, [left, right]), whole, "{stream:02x?} cut at {cut}");
    }
    assert_eq!(run(4096, stream.chunks(1)), whole, "{stream:02x?} byte by byte");
    whole.into_iter().map(|(text, _)| text).collect()
}

#[test]
fn each_line_end_is_one_command() {
    assert_eq!(lines(b"a\r\nb\r\0c\nd\re\r\n"), ["a", "b", "c", "d", "e"]);
    assert_eq!(lines(b"a\n\rb\n"), ["a", "", "b"]);
    assert_eq!(lines(b"a\rb\nc\xc3\xa9\rd\n"), ["a", "b", "cé", "d"]);
    assert_eq!(lines(b"a\r\n\0b\n"), ["a", "b"]);
    assert_eq!(lines(b"a\r\0\nb\n"), ["a", "", "b"]);
}

#[test]
fn empty_lines_are_kept() {
    assert_eq!(lines(b"\r\n\r\n"), ["", ""]);
    assert_eq!(lines(b"\n\n"), ["", ""]);
    assert_eq!(lines(b"\r\r"), ["", ""]);
    assert_eq!(lines(b"\r\0\r\0"), ["", ""]);
}

#[test]
fn a_carriage_return_ends_the_line_at_once() {
    let (mut assembler, mut seen) = (LineAssembler::new(80), Vec::new());
    assembler.receive(b"who\r", |line| seen.push(line.text));
    assert_eq!(seen, ["who"]);
    assembler.receive(b"\n", |line| seen.push(line.text));
    assert_eq!(seen, ["who"]);
    assembler.receive(b"\n", |line| seen.push(line.text));
    assert_eq!(seen, ["who", ""]);
}

#[test]
fn the_last_line_may_lack_its_end() {
    assert_eq!(lines(b"a\nquit"), ["a", "quit"]);
    assert_eq!(lines(b"a\r"), ["a"]);
    assert_eq!(lines(b""), [""; 0]);
    assert_eq!(lines("é".as_bytes()), ["é"]);
    assert_eq!(lines(b"a\xc3"), ["a\u{fffd}"]);
}

#[test]
fn erasing_takes_whole_characters_back() {
    assert_eq!(lines(b"say helk\x08lo\n"), ["say hello"]);
    assert_eq!(lines(b"ab\x7f\x7f\x7fc\n"), ["c"]);
    assert_eq!(lines("aé日😀\x08\x08\n".as_bytes()), ["aé"]);
    assert_eq!(lines("aé\x7f\n".as_bytes()), ["a"]);
    // No part of the previous line comes back.
    assert_eq!(lines(b"a\n\x08b\n"), ["a", "b"]);
    // The first two bytes of three are one replacement character, and are erased as one.
    assert_eq!(lines(b"a\xe6\x97\x08b\n"), ["ab"]);
    let mut assembler = LineAssembler::new(80);
    assembler.receive("zé".as_bytes(), |_| panic!("no line was ended"));
    (0..3).for_each(|_| assembler.erase_character());
    assembler.receive(b"abc\xe6", |_| panic!("no line was ended"));
    assembler.erase_line();
    assert_eq!(assembler.finish(), None);
}

#[test]
fn text_is_utf8_and_what_is_not_becomes_a_replacement_character() {
    assert_eq!(lines("käse 日本 😀\r\n".as_bytes()), ["käse 日本 😀"]);
    assert_eq!(lines(b"caf\xe9\n"), ["caf\u{fffd}"]);
    assert_eq!(lines(b"\xe9t\xe9\n"), ["\u{fffd}t\u{fffd}"]);
    assert_eq!(lines(b"\xff\xfe\x80\n"), ["\u{fffd}\u{fffd}\u{fffd}"]);
    assert_eq!(lines(b"\xf0\x9f\x98x\n"), ["\u{fffd}x"]);
    assert_eq!(lines(b"\xed\xa0\x80\n"), ["\u{fffd}\u{fffd}\u{fffd}"]);
}

#[test]
fn control_characters_never_enter_a_line() {
    assert_eq!(lines(b"a\x00\x01\x07\x1b[31mb\x1f\n"), ["ab"]);
    assert_eq!(lines(b"say\ta\tb\n"), ["say a b"]);
    // U+009B begins an escape sequence on some terminals.
    assert_eq!(lines("a\u{9b}31mb\n".as_bytes()), ["ab"]);
}

#[test]
fn invisible_characters_never_enter_a_line() {
    assert_eq!(lines("say \u{202E}cba\u{2066}\u{2028}> \u{200B}x\u{E0041}\n".as_bytes()), ["say cba> x"]);
    // Families and Persian are held together by joiners.
    assert_eq!(lines("👩\u{200D}👧 می\u{200C}خواهم\n".as_bytes()), ["👩\u{200D}👧 می\u{200C}خواهم"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_counted() {
    assert_eq!(run(4, [&b"abcdefg\nxy\n"[..]]), [("abcd".into(), 3), ("xy".into(), 0)]);
    assert_eq!(run(4, [&b"abcd\n"[..]]), [("abcd".into(), 0)]);
    // No character is cut in two, and no later one is added behind one that did not fit.
    assert_eq!(run(4, ["abcéd\n".as_bytes()]), [("abc".into(), 2)]);
    // Erasing removes the dropped characters first.
    assert_eq!(run(4, [&b"abcdef\x08\x08\x08z\n"[..]]), [("abcz".into(), 0)]);
    assert_eq!(run(4, [&b"abcdef"[..]]), [("abcd".into(), 2)]);
}

#[test]
fn escape_sequences_are_dropped_whole() {
    assert_eq!(lines(b"lo\x1b[Aok\n\x1bOPwho\r\n"), ["look", "who"]);
    assert_eq!(lines(b"\x1b[1;5\nwho\n"), ["", "who"]);
}

#[test]
fn text_may_have_another_encoding() {
    let line = |encoding, bytes: &[u8]| {
        let (mut assembler, mut seen) = (LineAssembler::new(80), Vec::new());
        assembler.set_encoding(encoding);
        bytes.chunks(1).for_each(|byte| assembler.receive(byte, |line| seen.push(line.text)));
        seen
    };
    assert_eq!(line(encoding_rs::WINDOWS_1252, b"caf\xe9\r\n\xff\n"), ["café", "ÿ"]);
    assert_eq!(line(encoding_rs::KOI8_R, b"\xd1\x08\xd1\x7f\xd1\n"), ["я"]);
    assert_eq!(
        line(encoding_rs::SHIFT_JIS, b"\x93\xfa\x96\r\n"),
        ["日\u{fffd}"],
        "a line end ends a character"
    );
    assert_eq!(line(encoding_rs::UTF_16LE, b"caf\xc3\xa9\n"), ["café"], "it would hide line ends");
}

proptest! {
    #[test]
    fn any_stream_in_any_encoding_gives_the_same_lines_in_any_pieces(
        stream in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(27u8), 0x80u8..], 0..100),
        lengths in proptest::collection::vec(1usize..9, 1..5),
        encoding in prop_oneof![
            Just(encoding_rs::WINDOWS_1252), Just(encoding_rs::GB18030), Just(encoding_rs::BIG5), Just(encoding_rs::EUC_JP)],
    ) {
        let run = |pieces: Vec<&[u8]>| {
            let (mut assembler, mut seen) = (LineAssembler::new(80), Vec::new());
            assembler.set_encoding(encoding);
            pieces.into_iter().for_each(|piece| assembler.receive(piece, |line| seen.push(line)));
            seen.extend(assembler.finish());
            seen
        };
        prop_assert_eq!(run(vec![&stream[..]]), run(crate::telnet::tests::cut(&stream, &lengths)));
    }

    #[test]
    fn any_stream_gives_the_same_lines_in_any_pieces(
        stream in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0u8), Just(8u8), 0xc0u8..0xf5, 0x80u8..0xc0],
            0..200,
        ),
        lengths in proptest::collection::vec(1usize..9, 1..5),
        limit in prop_oneof![Just(4usize), Just(4096)],
    ) {
        let whole = run(limit, [&stream[..]]);
        prop_assert_eq!(run(limit, crate::telnet::tests::cut(&stream, &lengths)), whole.clone());
        prop_assert!(whole.iter().all(|(text, _)| text.len() <= limit));
    }

    #[test]
    fn lines_are_what_a_lossy_decoder_makes_of_them(
        lines in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..], 0..40), 1..6),
        end in prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("\r\0")],
        lengths in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for line in &lines {
            stream.extend(line);
            stream.extend(end.bytes());
            let text = String::from_utf8_lossy(line);
            let mut escape = Escape::default();
            let visible = text.chars().filter(|&c| !escape.takes(c) && !c.is_control() && !is_invisible(c));
            expected.push((visible.collect::<String>(), 0));
        }
        prop_assert_eq!(run(4096, crate::telnet::tests::cut(&stream, &lengths)), expected);
    }
}

/// A line without an end costs no more than any other: dropped bytes are searched once.
#[test]
fn throwing_away_is_no_work() {
    let mut assembler = LineAssembler::new(80);
    let started = std::time::Instant::now();
    for _ in 0..4_000 {
        assembler.receive(&[b'q'; 4096], |_| unreachable!("no line ends"));
    }
    // A hundredth of a second for each megabyte; searched again and again, these would take minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
    let line = assembler.finish().expect("it was begun");
    assert_eq!((line.text.len(), line.dropped_chars), (80, 4_000 * 4096 - 80));
}
