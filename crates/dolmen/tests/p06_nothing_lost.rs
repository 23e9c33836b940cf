//! Promise 6: nothing received is lost, order is kept, and the end comes last: bytes, end of stream, `Closed`.

mod common;

use std::io::{Read, Write};
use std::thread;

use common::{History, Random, Rig, finish, reset, watchdog};
use dolmen::{CloseReason, Event, Reactor, Token};

#[test]
fn p06_bytes_then_end_of_stream_then_closed_last_and_once() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let bytes = Random::new(6).bytes(1_000_000);
    let (conn, mut peer) = rig.connect(Token(0));
    let sender = {
        let bytes = bytes.clone();
        thread::spawn(move || {
            let mut random = Random::new(66);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at((1 + random.below(20_000)).min(rest.len()));
                peer.write_all(piece).expect("write");
                rest = more;
            }
            finish(&peer);
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).expect("an orderly end");
            answer
        })
    };
    let history = rig.ended(conn);
    assert!(history.end_of_stream);
    assert_eq!(history.closed, Some(CloseReason::Finished));
    assert!(history.bytes == bytes, "{} of {} bytes, or others", history.bytes.len(), bytes.len());
    assert_eq!(sender.join().expect("the peer"), []);
    rig.silent();
    assert_eq!(rig.reactor.stats().bytes_received, 1_000_000);
}

#[test]
fn p06_hc14_a_reset_is_no_end_of_stream() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, peer) = rig.connect(Token(0));
    rig.silent();
    reset(peer);
    let history = rig.ended(conn);
    assert_eq!((history.end_of_stream, history.closed), (false, Some(CloseReason::Reset)));
    rig.silent();
}

/// The peer has reset, and the caller ends the connection before a wait has reported the reset: the system returns "not
/// connected" for that call, and the reason is a reset.
#[test]
fn p06_hc44_a_reset_is_a_reset_whatever_the_caller_does_before_it_is_delivered() {
    let _watchdog = watchdog();
    type Verb = fn(&mut Reactor, dolmen::ConnId);
    let verbs: [(&str, Verb); 4] = [
        ("close", |reactor, conn| reactor.close(conn).expect("close")),
        ("shutdown_write", |reactor, conn| reactor.shutdown_write(conn).expect("shut down")),
        ("send", |reactor, conn| reactor.send(conn, b"too late").expect("send")),
        ("send and close", |reactor, conn| {
            reactor.send(conn, b"too late").expect("send");
            reactor.close(conn).expect("close");
        }),
    ];
    let mut wrong = Vec::new();
    for (name, verb) in verbs {
        for posted in [false, true] {
            let mut rig = Rig::new();
            let (conn, peer) = rig.connect(Token(0));
            if posted {
                rig.silent();
            }
            reset(peer);
            verb(&mut rig.reactor, conn);
            let history = rig.ended(conn);
            let found = (history.end_of_stream, history.closed);
            if found != (false, Some(CloseReason::Reset)) {
                wrong.push((name, posted, found));
            }
            rig.silent();
        }
    }
    assert_eq!(wrong, [], "with a receive posted before (true) or not");
}

/// Windows drops unread bytes when a reset arrives; Linux delivers them first.
#[cfg(target_os = "linux")]
#[test]
fn p06_bytes_before_a_reset_are_delivered_before_it() {
    let _watchdog = watchdog();
    // Smaller and larger than a buffer, and a multiple of it.
    for count in [1, 100, 4096, 10_000, 40_960] {
        let mut rig = Rig::new();
        let bytes = Random::new(count as u64).bytes(count);
        let (conn, mut peer) = rig.connect(Token(0));
        peer.write_all(&bytes).expect("write");
        reset(peer);
        let history = rig.ended(conn);
        assert!(history.bytes == bytes, "{} of {count} bytes, or others", history.bytes.len());
        assert_eq!((history.end_of_stream, history.closed), (false, Some(CloseReason::Reset)));
        rig.silent();
    }
}

/// The bytes and the FIN have arrived before the reactor's first receive.
#[test]
fn p06_bytes_before_an_end_of_stream_are_delivered_before_it() {
    let _watchdog = watchdog();
    for count in [0, 1, 100, 4096, 10_000, 40_960] {
        let mut rig = Rig::new();
        let bytes = Random::new(count as u64).bytes(count);
        let (conn, mut peer) = rig.connect(Token(0));
        peer.write_all(&bytes).expect("write");
        drop(peer);
        let history = rig.ended(conn);
        assert!(history.bytes == bytes, "{} of {count} bytes, or others", history.bytes.len());
        assert_eq!((history.end_of_stream, history.closed), (true, Some(CloseReason::Finished)));
        rig.silent();
    }
}

#[test]
fn p06_one_event_at_a_time_loses_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(1);
    let mut random = Random::new(60);
    let peers: Vec<_> = (0..20)
        .map(|n| {
            let (conn, mut peer) = rig.connect(Token(n));
            let bytes = random.bytes(10_000 + random.clone().below(10_000));
            peer.write_all(&bytes).expect("write");
            drop(peer);
            (conn, bytes)
        })
        .collect();
    let mut histories = vec![History::default(); 20];
    rig.until("end of all", |reactor, event| {
        if let Event::EndOfStream { conn, .. } = event {
            reactor.close(conn).expect("close");
        }
        let seen = event.into();
        for (history, (conn, _)) in histories.iter_mut().zip(&peers) {
            history.add(*conn, &seen);
        }
        histories.iter().all(|history| history.closed.is_some())
    });
    for (history, (_, bytes)) in histories.iter().zip(&peers) {
        assert!(history.bytes == *bytes);
        assert!(history.end_of_stream);
    }
    rig.silent();
}

/// Without buffers to lend in advance: on Windows each receive then starts with one of zero bytes.
#[test]
fn p06_hc12_without_a_pool_nothing_is_taken_for_something_else() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().pool_size(0));
    let (conn, mut peer) = rig.connect(Token(0));
    for round in 0..20_u8 {
        peer.write_all(&[round; 10]).expect("write");
        assert_eq!(rig.receive(conn, 10), [round; 10]);
    }
    assert_eq!(rig.reactor.stats().buffers_free, 0);
    finish(&peer);
    let history = rig.ended(conn);
    assert_eq!((history.end_of_stream, history.closed), (true, Some(CloseReason::Finished)));
    assert!(history.bytes.is_empty());

    let (conn, peer) = rig.connect(Token(1));
    rig.silent();
    reset(peer);
    let history = rig.ended(conn);
    assert_eq!((history.end_of_stream, history.closed), (false, Some(CloseReason::Reset)));
    rig.silent();
}

/// With and without packets for immediate success: nothing is handled twice, or never. (Linux has no such switch.)
#[test]
fn p06_hc11_success_at_once_counts_once() {
    let _watchdog = watchdog();
    for skip in [true, false] {
        let mut rig = Rig::with(&Reactor::builder().skip_on_success(skip));
        let (conn, mut peer) = rig.connect(Token(0));
        let bytes = Random::new(11).bytes(200_000);
        peer.set_nonblocking(true).expect("nonblocking");
        let (mut sent, mut received, mut echo) = (0, Vec::new(), Vec::new());
        let mut buffer = [0; 3_000];
        rig.reactor.poster().post(0, Token(0)).expect("post");
        rig.until("echo", |reactor, event| {
            match event {
                Event::Received { data, .. } => {
                    received.extend_from_slice(data);
                    reactor.send(conn, data).expect("send");
                }
                // Keeps the loop turning, so that the peer has its turn, too.
                Event::Posted { .. } => reactor.poster().post(0, Token(0)).expect("post"),
                other => panic!("{other:?}"),
            }
            if sent < bytes.len() {
                let end = (sent + 3_000).min(bytes.len());
                sent += peer.write(&bytes[sent..end]).unwrap_or(0);
            }
            if let Ok(count) = peer.read(&mut buffer) {
                echo.extend_from_slice(&buffer[..count]);
            }
            echo.len() >= bytes.len()
        });
        assert!(received == bytes && echo == bytes, "skip on success: {skip}");
        let stats = rig.reactor.stats();
        assert_eq!((stats.bytes_received, stats.bytes_sent), (200_000, 200_000));
    }
}
