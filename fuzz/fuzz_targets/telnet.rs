//! Whole sessions: any bytes in any pieces. No panic, bounded replies, and the same lines, events and replies as in one
//! piece. With compression and a clock that moves no deadline stays over, which would keep the server awake.

#![no_main]

use std::time::{Duration, Instant};

use dolmend::config::PortKind;
use dolmend::session::{Options, Session};
use dolmend::telnet::{ClientEvent, Settings};
use libfuzzer_sys::fuzz_target;

fn opened(compress: bool, wire: &mut Vec<u8>) -> Session {
    let settings = Settings { compress, ..Settings::default() };
    let mut session = Session::new(Options { kind: PortKind::Telnet, line_length_bytes: 4096, settings });
    session.open(wire);
    session
}

fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, now: Instant) -> (Vec<String>, Vec<ClientEvent>, Vec<u8>) {
    // Without compression: a piece may end where a flush would be.
    let (mut lines, mut wire) = (Vec::new(), Vec::new());
    let mut session = opened(false, &mut wire);
    for piece in pieces {
        session.receive(piece, now, &mut wire);
        lines.extend(std::iter::from_fn(|| session.next_line(&mut Vec::new())).map(|line| line.text));
    }
    // Of facts that wait only the latest is kept, so all have to wait.
    let events = std::iter::from_fn(|| session.next_event()).collect();
    session.finish();
    lines.extend(std::iter::from_fn(|| session.next_line(&mut wire)).map(|line| line.text));
    session.flush(now, &mut wire);
    session.end("over", &mut wire);
    (lines, events, wire)
}

/// Time moves by `step` from one piece to the next, and for the server's own pauses it does not count.
fn run_compressed<'a>(pieces: impl Iterator<Item = &'a [u8]>, mut now: Instant, step: Duration) {
    let mut wire = Vec::new();
    let mut session = opened(true, &mut wire);
    for (number, piece) in pieces.enumerate() {
        session.receive(piece, now, &mut wire);
        while session.next_line(&mut wire).is_some() || session.next_event().is_some() {}
        now += step;
        if number % 3 == 0 {
            session.paused(step);
        }
        if session.deadline().is_some_and(|deadline| deadline <= now) {
            session.expire(now, &mut wire);
        }
        assert!(session.deadline().is_none_or(|deadline| deadline > now), "a deadline stays over");
        session.flush(now, &mut wire);
    }
    session.end("over", &mut wire);
}

fuzz_target!(|input: (&[u8], u8, u16)| {
    let (stream, size, millis) = input;
    let now = Instant::now();
    let size = usize::from(size).max(1);
    let whole = run([stream].into_iter(), now);
    assert_eq!(run(stream.chunks(size), now), whole);
    assert!(whole.2.len() <= 200 + 40 * stream.len());
    assert!(whole.0.iter().all(|line| line.len() <= 4096 && !line.contains(char::is_control)));
    run_compressed(stream.chunks(size), now, Duration::from_millis(millis.into()));
});
