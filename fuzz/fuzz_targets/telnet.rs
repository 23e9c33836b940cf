//! Whole sessions: any bytes in any pieces. No panic, bounded replies, and the same lines, events and replies as in one
//! piece.

#![no_main]

use std::time::Instant;

use dolmend::config::PortKind;
use dolmend::session::{Options, Session};
use dolmend::telnet::{ClientEvent, Settings};
use libfuzzer_sys::fuzz_target;

fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, now: Instant) -> (Vec<String>, Vec<ClientEvent>, Vec<u8>) {
    // Without compression: a piece may end where a flush would be.
    let settings = Settings { compress: false, ..Settings::default() };
    let mut session = Session::new(Options { kind: PortKind::Telnet, line_length_bytes: 4096, settings });
    let (mut lines, mut events, mut wire) = (Vec::new(), Vec::new(), Vec::new());
    session.open(&mut wire);
    for piece in pieces {
        session.receive(piece, now, &mut wire);
        lines.extend(std::iter::from_fn(|| session.next_line(&mut Vec::new())).map(|line| line.text));
        events.extend(std::iter::from_fn(|| session.next_event()));
    }
    session.finish();
    lines.extend(std::iter::from_fn(|| session.next_line(&mut wire)).map(|line| line.text));
    session.flush(now, &mut wire);
    session.end("over", &mut wire);
    (lines, events, wire)
}

fuzz_target!(|input: (&[u8], u8)| {
    let (stream, size) = input;
    let now = Instant::now();
    let whole = run([stream].into_iter(), now);
    assert_eq!(run(stream.chunks(usize::from(size).max(1)), now), whole);
    assert!(whole.2.len() <= 200 + 40 * stream.len());
    assert!(whole.0.iter().all(|line| line.len() <= 4096 && !line.contains(char::is_control)));
});
