//! Promise 15: steady state allocates nothing per event. And what a connection at rest costs.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Rig, pair, watchdog};
use dolmen::{Event, Reactor, Token};

/// Counts, for each thread, how often it allocated and how much of that is still there.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(allocations: u64, bytes: i64) {
    // A thread that is ending has no counters any more, and nobody who would look at them.
    let _ = ALLOCATIONS.try_with(|cell| cell.set(cell.get() + allocations));
    let _ = LIVE_BYTES.try_with(|cell| cell.set(cell.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

const CONNECTIONS: usize = 32;

/// One line to and from every peer, a post, a wake and the tick of a timer.
fn round(rig: &mut Rig, peers: &mut [TcpStream], line: &[u8], answer: &mut [u8]) {
    for peer in peers.iter_mut() {
        peer.write_all(line).expect("write");
    }
    rig.reactor.waker().wake();
    rig.reactor.poster().post(Token(1), 2).expect("post");
    let (mut echoed, mut posted, mut woken, mut ticked) = (0, false, false, false);
    rig.until("round", |reactor, event| {
        match event {
            Event::Received { conn, data, .. } => {
                echoed += data.len();
                reactor.send(conn, data).expect("send");
            }
            Event::Posted { .. } => posted = true,
            Event::Woken => woken = true,
            Event::Timer { .. } => ticked = true,
            other => panic!("{other:?}"),
        }
        echoed == CONNECTIONS * line.len() && posted && woken && ticked
    });
    rig.reactor.flush();
    for peer in peers.iter_mut() {
        peer.read_exact(answer).expect("read");
        assert_eq!(answer, line);
    }
}

#[test]
fn p15_echo_posts_wakes_and_timers_allocate_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.interval(Token(3), Duration::from_millis(1));
    let mut peers: Vec<TcpStream> = (0..CONNECTIONS).map(|n| rig.connect(Token(n)).1).collect();
    let (line, mut answer) = ([b'x'; 80], [0; 80]);
    for _ in 0..20 {
        round(&mut rig, &mut peers, &line, &mut answer);
    }
    let (allocations, events) = (ALLOCATIONS.get(), rig.reactor.stats().events);
    for _ in 0..if cfg!(windows) { 20 } else { 200 } {
        round(&mut rig, &mut peers, &line, &mut answer);
        // A one-shot timer that goes off and one that is cancelled are everyday events, too.
        let cancelled = rig.reactor.timer(Token(4), Duration::from_secs(60));
        rig.reactor.timer(Token(5), Duration::ZERO);
        assert!(rig.reactor.cancel_timer(cancelled));
    }
    let (allocated, happened) = (ALLOCATIONS.get() - allocations, rig.reactor.stats().events - events);
    assert!(happened > 20 * 32);
    assert_eq!(allocated, 0, "allocations in {happened} events");
}

#[test]
fn p15_pausing_resuming_and_refused_sends_allocate_nothing_but_the_error() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let mut answer = [0; 80];
    let mut round = |rig: &mut Rig| {
        rig.reactor.pause(conn).expect("pause");
        peer.write_all(&[b'x'; 80]).expect("write");
        rig.reactor.resume(conn).expect("resume");
        let mut received = 0;
        rig.until("line", |reactor, event| {
            if let Event::Received { data, .. } = event {
                received += data.len();
                reactor.send(conn, data).expect("send");
            }
            received == 80
        });
        rig.reactor.flush();
        peer.read_exact(&mut answer).expect("read");
    };
    (0..20).for_each(|_| round(&mut rig));
    let allocations = ALLOCATIONS.get();
    (0..100).for_each(|_| round(&mut rig));
    assert_eq!(ALLOCATIONS.get() - allocations, 0);
}

/// The seed's "about 200 bytes a connection": what the reactor itself has allocated for one that is idle. The receive
/// buffers are the pool's and do not grow with the number of connections.
#[test]
fn p15_an_idle_connection_costs_at_most_200_bytes() {
    let _watchdog = watchdog();
    let connections = if cfg!(windows) { 500 } else { 1_000 };
    let pool_size = 16;
    let mut rig = Rig::with(&Reactor::builder().pool_size(pool_size));
    let buffer_bytes = 4096;
    let mut pairs: Vec<_> = (0..connections).map(|_| Some(pair())).collect();
    let mut peers = Vec::with_capacity(connections);
    let before = LIVE_BYTES.get();
    for pair in &mut pairs {
        let (ours, peer) = pair.take().expect("each once");
        rig.reactor.add(ours, Token(0)).expect("add");
        peers.push(peer);
    }
    rig.silent();
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.operations_in_flight), (connections, connections));
    // What the pool has made in the meantime is not the connections'.
    let buffers = stats.buffers_free + stats.buffers_out;
    assert!(buffers <= pool_size, "{buffers} buffers for connections that have received nothing");
    let bytes = LIVE_BYTES.get() - before - (buffers * buffer_bytes) as i64;
    let each = bytes as f64 / connections as f64;
    println!("{each:.1} bytes an idle connection");
    assert!(each > 0.0, "the allocations are counted");
    assert!(each <= 200.0, "{each:.1} bytes an idle connection");
}
