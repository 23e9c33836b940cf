//! Promise 10: the caller can pause and resume reading for each connection.

mod common;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{History, Random, Rig, Seen, finish, narrow_pair, pair, watchdog};
use dolmen::{CloseReason, Event, Reactor, Token};

/// Writes until nothing more fits, and returns how much did. In small pieces, because Windows takes any piece whole as
/// long as its buffer has room for a single byte.
fn write_what_fits(mut peer: &TcpStream, bytes: &[u8]) -> usize {
    const PIECE: usize = 2_000;
    let mut written = 0;
    while written < bytes.len() {
        match peer.write(&bytes[written..bytes.len().min(written + PIECE)]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// The caller has shut down the sending side on a duplicate of the socket, so a send fails; the peer floods. The bytes
/// that the reactor delivers after that are bounded in number and in time, and there are none while the connection is
/// paused.
#[test]
fn p10_hc43_a_flood_after_a_failed_send_ends_whether_paused_or_not() {
    let _watchdog = watchdog();
    let linger = Duration::from_secs(1);
    for paused in [true, false] {
        let mut rig = Rig::with(&Reactor::builder().linger(linger));
        let (ours, mut peer) = pair();
        let duplicate = ours.try_clone().expect("duplicate");
        let conn = rig.reactor.add(ours, Token(0)).expect("add");
        let flood = thread::spawn(move || while peer.write_all(&[b'f'; 64 * 1024]).is_ok() {});
        let (mut received, mut start) = (0, None);
        rig.until("end of the connection", |reactor, event| match event {
            Event::Received { data, .. } => {
                match start {
                    None => {
                        duplicate.shutdown(Shutdown::Write).expect("shut down");
                        reactor.send(conn, b"into the void").expect("it is queued");
                        // So that the send has failed before the pause.
                        reactor.flush();
                        start = Some(Instant::now());
                    }
                    Some(_) => {
                        assert!(!paused, "{} bytes for a paused connection", data.len());
                        received += data.len();
                    }
                }
                if paused {
                    reactor.pause(conn).expect("pause");
                }
                false
            }
            Event::Closed { reason, .. } => {
                assert_eq!(reason, CloseReason::Reset);
                true
            }
            other => panic!("{other:?}"),
        });
        let taken = start.expect("it was received from").elapsed();
        drop(duplicate);
        drop(rig);
        flood.join().expect("the flood");
        // The bytes that the system held when the send failed: about a receive window.
        assert!(received <= 64 << 20, "{received} bytes after the failed send");
        assert!(taken < 10 * linger, "it took {taken:?}");
    }
}

#[test]
fn p10_a_paused_connection_slows_its_peer_down_and_loses_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, peer) = narrow_pair();
    let conn = rig.reactor.add(ours, Token(0)).expect("add");
    let bytes = Random::new(10).bytes(2_000_000);
    peer.set_nonblocking(true).expect("nonblocking");
    rig.reactor.pause(conn).expect("pause");
    // The system's buffers take some bytes, and then no more.
    let mut sent = 0;
    loop {
        let more = write_what_fits(&peer, &bytes[sent..]);
        sent += more;
        rig.silent();
        if more == 0 {
            break;
        }
    }
    assert!(sent > 0 && sent < 1_000_000, "{sent} bytes went to a peer that does not read");
    assert!(rig.reactor.stats().buffers_out <= 1, "one may have been in flight already");

    rig.reactor.resume(conn).expect("resume");
    let mut received = Vec::new();
    rig.until("all bytes", |_, event| {
        let Event::Received { data, .. } = event else { panic!("{event:?}") };
        received.extend_from_slice(data);
        sent += write_what_fits(&peer, &bytes[sent..]);
        received.len() >= bytes.len()
    });
    assert!(received == bytes);
}

#[test]
fn p10_pausing_in_a_handler_stops_what_has_arrived_already() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let bytes = Random::new(100).bytes(50_000);
    peer.write_all(&bytes).expect("write");
    let mut history = History::default();
    let mut pauses = 0;
    while history.bytes.len() < bytes.len() {
        let before = history.bytes.len();
        rig.until("bytes", |reactor, event| {
            reactor.pause(conn).expect("pause");
            history.add(conn, &event.into());
            true
        });
        pauses += 1;
        assert!(history.bytes.len() - before <= 4096, "one event a pause");
        if pauses < 4 {
            rig.silent();
        }
        rig.reactor.resume(conn).expect("resume");
    }
    assert!(history.bytes == bytes);
    assert!(pauses >= 50_000 / 4096);
}

#[test]
fn p10_hc13_pausing_and_resuming_in_a_handler_is_as_if_neither_had_been() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let bytes = Random::new(13).bytes(100_000);
    peer.write_all(&bytes).expect("write");
    finish(&peer);
    let mut history = History::default();
    rig.until("end", |reactor, event| {
        for _ in 0..3 {
            if !matches!(event, Event::Closed { .. }) {
                reactor.pause(conn).expect("pause");
                reactor.resume(conn).expect("resume");
            }
        }
        if let Event::EndOfStream { .. } = event {
            reactor.close(conn).expect("close");
        }
        history.add(conn, &event.into());
        assert!(reactor.stats().operations_in_flight <= 1, "two receives in flight");
        history.closed.is_some()
    });
    assert!(history.bytes == bytes && history.end_of_stream);
}

/// The events have room for one, so that the reactor still holds the others' events when the pause takes effect.
#[test]
fn p10_what_waits_for_room_in_the_events_is_held_back_too() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(1);
    let mut peers: Vec<_> = (0..5).map(|n| rig.connect(Token(n))).collect();
    for (conn, peer) in &mut peers {
        rig.reactor.pause(*conn).expect("pause");
        peer.write_all(b"look\n").expect("write");
        finish(peer);
    }
    rig.silent();
    peers.iter().for_each(|(conn, _)| rig.reactor.resume(*conn).expect("resume"));
    let mut first = None;
    rig.until("a line", |reactor, event| {
        let Event::Received { conn, .. } = event else { panic!("{event:?}") };
        first = Some(conn);
        peers.iter().for_each(|(conn, _)| reactor.pause(*conn).expect("pause"));
        true
    });
    rig.silent();
    peers.iter().for_each(|(conn, _)| rig.reactor.resume(*conn).expect("resume"));
    let mut histories = vec![History::default(); 5];
    let first = peers.iter().position(|(conn, _)| Some(*conn) == first).expect("one of them");
    histories[first].bytes = b"look\n".to_vec();
    rig.until("the others", |_, event| {
        let seen = Seen::from(event);
        histories.iter_mut().zip(&peers).for_each(|(history, (conn, _))| history.add(*conn, &seen));
        histories.iter().all(|history| history.end_of_stream)
    });
    assert!(histories.iter().all(|history| history.bytes == b"look\n"), "{histories:?}");
}

#[test]
fn p10_the_end_comes_after_what_was_held_back() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    rig.reactor.pause(conn).expect("pause");
    rig.reactor.pause(conn).expect("twice is nothing special");
    peer.write_all(b"last words").expect("write");
    drop(peer);
    rig.silent();
    rig.reactor.resume(conn).expect("resume");
    rig.reactor.resume(conn).expect("twice is nothing special");
    let history = rig.ended(conn);
    assert_eq!(history.bytes, b"last words");
    assert!(history.end_of_stream);
    assert_eq!(history.closed, Some(CloseReason::Finished));
}

#[test]
fn p10_a_paused_connection_can_be_closed() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    rig.reactor.pause(conn).expect("pause");
    peer.write_all(b"never to be read").expect("write");
    rig.silent();
    rig.reactor.close(conn).expect("close");
    rig.silent();
    drop(peer);
    let seen = rig.seen_until("Closed", |_| true);
    assert_eq!(seen, [Seen::Closed(conn, CloseReason::Finished)]);
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.buffers_out, stats.timers), (0, 0, 0));
}

#[test]
fn p10_the_others_go_on() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (paused, mut silent_peer) = rig.connect(Token(0));
    let (conn, mut peer) = rig.connect(Token(1));
    rig.reactor.pause(paused).expect("pause");
    silent_peer.write_all(b"unheard").expect("write");
    for _ in 0..10 {
        peer.write_all(b"look\n").expect("write");
        assert_eq!(rig.receive(conn, 5), b"look\n");
    }
    rig.reactor.resume(paused).expect("resume");
    assert_eq!(rig.receive(paused, 7), b"unheard");
}
