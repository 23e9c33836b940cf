//! Bytes that many connections send: order, limits and memory.

mod common;

use std::io::Read;

use common::counting::{Counting, LIVE_BYTES};
use common::{Rig, Seen, narrow_pair, pair, watchdog};
use dolmen::{ErrorKind, Reactor, SharedBytes, Token};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn p09_shared_bytes_keep_their_place_among_the_others() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut all: Vec<_> = (0..5).map(|_| rig.connect(Token(0))).collect();
    let conns: Vec<_> = all.iter().map(|(conn, _)| *conn).collect();
    let map = SharedBytes::from(vec![b'#'; 10_000]);
    for round in 0..20 {
        for &conn in &conns {
            rig.reactor.send(conn, format!("{conn} {round} ").as_bytes()).expect("there is room");
        }
        assert_eq!(rig.reactor.broadcast(conns.iter().copied(), "rain. "), []);
        for &conn in &conns {
            rig.reactor.send(conn, b"> ").expect("there is room");
            rig.reactor.send_shared(conn, &map).expect("there is room");
        }
        if round % 3 == 0 {
            rig.reactor.flush();
        }
    }
    for &conn in &conns {
        rig.reactor.shutdown_write(conn).expect("it is open");
    }
    rig.reactor.flush();
    for (conn, peer) in &mut all {
        let expected: String =
            (0..20).map(|round| format!("{conn} {round} rain. > {}", "#".repeat(10_000))).collect();
        let mut read = vec![0; expected.len()];
        // The rest follows with the next waits, once there is room.
        peer.set_read_timeout(Some(common::SILENCE)).expect("a timeout");
        let mut at = 0;
        while at < read.len() {
            match peer.read(&mut read[at..]) {
                Ok(0) => panic!("the end after {at} bytes"),
                Ok(count) => at += count,
                Err(_) => drop(rig.seen_for(std::time::Duration::ZERO)),
            }
        }
        assert_eq!(String::from_utf8_lossy(&read), expected);
    }
}

#[test]
fn p09_a_broadcast_has_the_limits_of_a_send() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(1_000));
    let (fast, _peer) = rig.connect(Token(0));
    let (full, _other) = rig.connect(Token(0));
    let (gone, _third) = rig.connect(Token(0));
    let (shut, _fourth) = rig.connect(Token(0));
    rig.reactor.send(full, &[0; 900]).expect("there is room");
    rig.reactor.remove(gone);
    rig.reactor.shutdown_write(shut).expect("it is open");
    let refused = rig.reactor.broadcast([fast, full, gone, shut], &[7; 200]);
    let expected = [(full, ErrorKind::QueueFull), (gone, ErrorKind::NotFound), (shut, ErrorKind::SendClosed)];
    assert_eq!(refused, expected);
    assert_eq!(
        (rig.reactor.queued_bytes(fast).unwrap(), rig.reactor.queued_bytes(full).unwrap()),
        (200, 900)
    );
    assert_eq!(rig.reactor.broadcast([fast], vec![0; 1_001]), [(fast, ErrorKind::TooLarge)]);
    assert_eq!(rig.reactor.broadcast([fast, full], ""), [], "no bytes are no special case");
    rig.seen_until("room again", |seen| *seen == Seen::Drained(full));
    assert_eq!(rig.reactor.stats().queued_bytes, 0);
}

/// A thousand readers who do not read: the bytes are in memory once, and each connection has a word for them.
#[test]
fn memory_for_slow_readers_grows_by_the_bytes_once() {
    let _watchdog = watchdog();
    let count = if cfg!(windows) { 100 } else { 1_000 };
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(1 << 20));
    let mut conns = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..count {
        let (ours, peer) = narrow_pair();
        conns.push(rig.reactor.add(ours, Token(0)).expect("add"));
        peers.push(peer);
    }
    rig.silent();
    // Until every socket is full, and each connection has one send in progress.
    rig.fill_until_in_flight(&conns, 2 * count);
    let (before, piece, pieces) = (LIVE_BYTES.get(), 10_000, 40);
    for _ in 0..pieces {
        assert_eq!(rig.reactor.broadcast(conns.iter().copied(), vec![7; piece]), []);
        rig.reactor.flush();
    }
    let grown = LIVE_BYTES.get() - before;
    let queued = (piece * pieces) as i64;
    println!("{grown} bytes for {queued} queued on {count} connections");
    // A word and a tag for each piece and connection, in queues that grow by doubling.
    let words = (count * pieces * 2 * 16) as i64;
    assert!(grown >= queued, "the allocations are counted");
    assert!(grown < queued + words + 100_000, "{grown} bytes");
    drop(peers);
    drop(pair());
}
