use super::*;

/// The keys of a text, which comes in one piece and byte by byte.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut decoder = KeyDecoder::default();
    let mut keys = Vec::new();
    bytes.iter().for_each(|&byte| decoder.feed(byte, &mut keys));
    keys
}

fn chars(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

fn literals(text: &str) -> Vec<Key> {
    text.chars().map(Key::Literal).collect()
}

#[test]
fn broken_characters_are_replaced_and_what_follows_is_kept() {
    for broken in
        [&b"\xe9\xc3\xa9"[..], b"\xc3a\xff", b"\xf0\x9f\x9a", b"\xf0\x9f\xf0\x9f\x9a\x80", b"\xe2\x28\xa1x"]
    {
        let mut expected = String::from_utf8_lossy(broken).into_owned();
        let mut bytes = broken.to_vec();
        if expected.ends_with('\u{fffd}') && broken.len() == 3 {
            // The end shows that it is broken.
            bytes.push(b'z');
            expected.push('z');
        }
        assert_eq!(keys(&bytes), chars(&expected), "{broken:x?}");
    }
    assert_eq!(keys(b"\xc3\r"), [Key::Char('\u{fffd}'), Key::Enter]);
}

#[test]
fn sequences_are_keys() {
    for (sequence, key) in [
        ("\x1b[A", Key::Up),
        ("\x1bOB", Key::Down),
        ("\x1b[C", Key::Right),
        ("\x1bOD", Key::Left),
        ("\x1b[H", Key::Home),
        ("\x1b[1~", Key::Home),
        ("\x1b[7~", Key::Home),
        ("\x1bOF", Key::End),
        ("\x1b[4~", Key::End),
        ("\x1b[3~", Key::Delete),
        ("\x1b[3;5~", Key::DeleteWord),
        ("\x1b[1;5C", Key::WordRight),
        ("\x1b[1;3D", Key::WordLeft),
        ("\x1bOd", Key::WordLeft),
        ("\x1bb", Key::WordLeft),
        ("\x1bf", Key::WordRight),
        ("\x1bd", Key::DeleteWord),
        ("\x1b\x7f", Key::EraseWord),
        ("\x1b\x08", Key::EraseWord),
        ("\x1bOM", Key::Enter),
    ] {
        assert_eq!(keys(format!("{sequence}x").as_bytes()), [key, Key::Char('x')], "{sequence:?}");
    }
}

#[test]
fn sequences_that_are_no_keys_leave_nothing_behind() {
    for sequence in ["\x1b[15~", "\x1b[[A", "\x1bOP", "\x1b[I", "\x1b[201~", "\x1b[<0;1;1M"] {
        assert_eq!(keys(format!("{sequence}x").as_bytes()), chars("x"), "{sequence:?}");
    }
    // Broken off: by Enter, by a character, by another sequence.
    assert_eq!(keys(b"\x1b[1;\rx"), [Key::Enter, Key::Char('x')]);
    assert_eq!(keys("\x1b[é".as_bytes()), chars("é"));
    assert_eq!(keys(b"\x1b\x1b[A"), [Key::Up]);
    // The key Esc, and then a character.
    assert_eq!(keys(b"\x1bx"), chars("x"));
    // Endless parameters.
    let endless = format!("\x1b[{}x", "1".repeat(100));
    assert_eq!(keys(endless.as_bytes()).len(), 100 - LONGEST_SEQUENCE);
}

#[test]
fn pasted_text_is_text_and_its_line_ends_are_enter() {
    let pasted = keys("\x1b[200~one\x03\x1b[A\ttwo\r\nthree\ré\n\x1b[201~\x01".as_bytes());
    let expected = [
        &literals("one\x03\x1b[A\ttwo")[..],
        &[Key::Enter],
        &literals("three"),
        &[Key::Enter],
        &literals("é"),
        &[Key::Enter, Key::Control(1)],
    ];
    assert_eq!(pasted, expected.concat());
    // What looks like the end, and is not.
    let near = keys("\x1b[200~\x1b[20\x1b[201é\x1b[201~x".as_bytes());
    assert_eq!(near, [literals("\x1b[20\x1b[201é"), chars("x")].concat());
    let broken = keys(b"\x1b[200~\xe9\x1b[201~x");
    assert_eq!(broken, [literals("\u{fffd}"), chars("x")].concat());
}

#[test]
fn the_literal_key_makes_text_of_the_next_character() {
    let mut decoder = KeyDecoder::default();
    let mut keys = Vec::new();
    for text in ["\x1b[A", "\r", "é", "\n"] {
        decoder.next_is_literal();
        text.bytes().for_each(|byte| decoder.feed(byte, &mut keys));
    }
    let expected = [literals("\x1b"), chars("[A"), literals("\ré"), vec![Key::Enter]];
    assert_eq!(keys, expected.concat());
}

#[test]
fn what_is_unfinished_can_be_taken_out() {
    for unfinished in [&b"\x1b"[..], b"\x1b[1;", b"\x1bO", b"\x1b[[", b"\xf0\x9f"] {
        let mut decoder = KeyDecoder::default();
        let mut keys = Vec::new();
        unfinished.iter().for_each(|&byte| decoder.feed(byte, &mut keys));
        assert_eq!((&*keys, &*decoder.take_unfinished()), (&[][..], unfinished));
        decoder.feed(b'x', &mut keys);
        assert_eq!(keys, chars("x"));
    }
}
