//! Promise 5: bytes stay put.

mod common;

use std::io::Write;
use std::net::TcpStream;

use common::{Random, Rig, pair, watchdog};
use dolmen::{ConnId, Event, Events, Token};

/// One event for each connection, in one batch.
fn full_batch(rig: &mut Rig, peers: &mut [(ConnId, TcpStream)], lines: &[Vec<u8>]) {
    // Bytes that are received during a pause are delivered with one wait after the resume, whenever each arrived.
    for (conn, _) in peers.iter() {
        rig.reactor.pause(*conn).expect("pause");
    }
    for ((_, peer), line) in peers.iter_mut().zip(lines) {
        peer.write_all(line).expect("write");
    }
    rig.silent();
    for (conn, _) in peers.iter() {
        rig.reactor.resume(*conn).expect("resume");
    }
    rig.reactor.wait(&mut rig.events, Some(common::DEADLINE)).expect("wait");
    assert_eq!(rig.events.len(), peers.len(), "all in one batch");
}

#[test]
fn p05_data_stays_while_the_other_events_of_the_batch_are_handled() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut random = Random::new(5);
    let mut peers: Vec<_> = (0..40).map(|n| rig.connect(Token(n))).collect();
    let lines: Vec<Vec<u8>> = (0..40).map(|_| random.bytes(300)).collect();
    full_batch(&mut rig, &mut peers, &lines);

    let mut received = Vec::new();
    for (n, event) in rig.events.drain().enumerate() {
        let Event::Received { conn, token, data, .. } = event else { panic!("{event:?}") };
        received.push((token, data));
        // Everything that makes the reactor take, return and reuse memory.
        match n % 5 {
            0 => assert!(rig.reactor.remove(conn)),
            1 => rig.reactor.abort(conn).expect("abort"),
            2 => rig.reactor.close(conn).expect("close"),
            3 => rig.reactor.send(conn, &[0xAA; 5_000]).expect("send"),
            _ => drop(rig.reactor.add(pair().0, Token(99)).expect("add")),
        }
        rig.reactor.flush();
    }
    assert_eq!(received.len(), 40);
    for (token, data) in received {
        assert_eq!(data, lines[token.0], "{token:?}");
    }
}

#[test]
fn p05_data_stays_while_other_events_take_further_waits() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut random = Random::new(55);
    let mut peers: Vec<_> = (0..8).map(|n| rig.connect(Token(n))).collect();
    let lines: Vec<Vec<u8>> = (0..8).map(|_| random.bytes(1_000)).collect();
    full_batch(&mut rig, &mut peers, &lines);
    let mut kept = std::mem::replace(&mut rig.events, Events::with_capacity(128));

    // A hundred messages through the same connections and the same pool.
    for _ in 0..100 {
        let (conn, peer) = &mut peers[random.below(8)];
        peer.write_all(&[0x55; 1_000]).expect("write");
        rig.receive(*conn, 1_000);
    }
    assert!(rig.reactor.stats().buffers_out >= 8, "the kept events hold their buffers");

    let mut count = 0;
    for event in kept.drain() {
        let Event::Received { token, data, .. } = event else { panic!("{event:?}") };
        assert_eq!(data, lines[token.0]);
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn p05_events_are_handed_out_once_and_their_bytes_live_on() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut peers: Vec<_> = (0..3).map(|n| rig.connect(Token(n))).collect();
    let lines: Vec<Vec<u8>> = (0..3).map(|n| vec![n; 10]).collect();
    full_batch(&mut rig, &mut peers, &lines);
    let first = rig.events.drain().next();
    assert!(matches!(first, Some(Event::Received { .. })));
    drop(first);
    assert_eq!(rig.events.drain().count(), 2, "a later drain goes on where the first one stopped");
    assert_eq!(rig.events.drain().count(), 0);
    let held = rig.reactor.stats().buffers_out;
    rig.events.clear();
    assert_eq!(held - rig.reactor.stats().buffers_out, 3, "cleared events give their buffers back");
}
