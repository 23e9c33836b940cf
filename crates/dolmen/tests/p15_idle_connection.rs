//! Promise 15: the cost of an idle connection.

mod common;

use common::counting::{Counting, LIVE_BYTES};
use common::{Rig, pair, watchdog};
use dolmen::{Reactor, Token};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BAR: f64 = 200.0;

/// The memory that the reactor itself has allocated for an idle connection. The receive buffers belong to the pool, and
/// their number does not grow with the number of connections.
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
    // Buffers that the pool has made in the meantime do not belong to the connections.
    let buffers = stats.buffers_free + stats.buffers_out;
    assert!(buffers <= pool_size, "{buffers} buffers for connections that have received nothing");
    let bytes = LIVE_BYTES.get() - before - (buffers * buffer_bytes) as i64;
    let each = bytes as f64 / connections as f64;
    println!("{each:.1} bytes an idle connection");
    assert!(each > 0.0, "the allocations are counted");
    assert!(each <= BAR, "{each:.1} bytes an idle connection");
}
