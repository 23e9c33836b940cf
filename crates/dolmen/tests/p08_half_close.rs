//! Promise 8: half-close works, both ways.

mod common;

use std::io::{Read, Write};
use std::thread;

use common::{History, Random, Rig, finish, watchdog};
use dolmen::{CloseReason, ErrorKind, Event, Token};

#[test]
fn p08_hc14_after_the_peers_fin_a_long_answer_still_arrives() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let answer = Random::new(8).bytes(1_000_000);
    let (conn, mut peer) = rig.connect(Token(0));
    let reader = thread::spawn(move || {
        peer.write_all(b"question").expect("write");
        finish(&peer);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).expect("an orderly end");
        read
    });
    let mut history = History::default();
    let mut rest = &answer[..];
    rig.until("end", |reactor, event| {
        if let Event::EndOfStream { .. } | Event::Drained { .. } = event {
            // In pieces, as they fit; then the end.
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(50_000));
                match reactor.send(conn, piece) {
                    Ok(()) => rest = more,
                    Err(error) if error.kind() == ErrorKind::QueueFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
            if rest.is_empty() {
                reactor.close(conn).expect("close");
            }
        }
        history.add(conn, &event.into());
        history.closed.is_some()
    });
    assert_eq!(history.bytes, b"question");
    assert!(history.end_of_stream && history.drained > 0);
    assert_eq!(history.closed, Some(CloseReason::Finished));
    assert!(reader.join().expect("the peer") == answer);
    rig.silent();
}

#[test]
fn p08_after_our_fin_we_still_receive() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    rig.reactor.send(conn, b"last words").expect("send");
    rig.reactor.shutdown_write(conn).expect("shut down");
    rig.reactor.shutdown_write(conn).expect("twice is nothing special");
    let refused = rig.reactor.send(conn, b"more").expect_err("after the end");
    assert_eq!(refused.kind(), ErrorKind::SendClosed);
    rig.reactor.flush();
    let mut read = Vec::new();
    // On Windows the engine may send FIN only after the send's packet has arrived.
    let reader = thread::spawn(move || {
        peer.read_to_end(&mut read).expect("an orderly end");
        peer.write_all(b"answer to the end").expect("write");
        read
    });
    let mut history = rig.ended(conn);
    assert_eq!(std::mem::take(&mut history.bytes), b"answer to the end");
    assert!(history.end_of_stream);
    assert_eq!(history.closed, Some(CloseReason::Finished));
    assert_eq!(reader.join().expect("the peer"), b"last words");
    rig.silent();
}

#[test]
fn p08_an_end_of_stream_is_reported_once_and_costs_nothing_while_the_connection_stays() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    finish(&peer);
    let seen = rig.seen_until("end of stream", |_| true);
    assert_eq!(seen, [common::Seen::EndOfStream(conn)]);
    rig.rests();
    rig.reactor.send(conn, b"still here").expect("send");
    rig.reactor.flush();
    let mut read = [0; 10];
    peer.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"still here");
}
