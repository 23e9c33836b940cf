//! Promise 17: observable by `Reactor::stats`, which also counts the cost of a message.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Rig, listener, watchdog};
use dolmen::{Event, Reactor, Token};

#[test]
fn p17_the_counters_count() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(1_000).pool_size(64));
    assert_eq!(rig.reactor.stats().waits, 0);
    let (listening, address) = listener();
    let id = rig.reactor.listen(listening, Token(0)).expect("listen");
    let mut client = TcpStream::connect(address).expect("connect");
    let mut conn = None;
    rig.until("connection", |reactor, event| {
        let Event::Accepted { stream, .. } = event else { panic!("{event:?}") };
        conn = Some(reactor.add(stream, Token(0)).expect("add"));
        true
    });
    let conn = conn.expect("just added");
    client.write_all(&[1; 300]).expect("write");
    rig.receive(conn, 300);
    rig.reactor.send(conn, &[2; 700]).expect("send");
    assert_eq!(rig.reactor.stats().queued_bytes, 700);
    rig.reactor.send(conn, &[2; 301]).expect_err("full");
    rig.reactor.send(conn, &[2; 1_001]).expect_err("too large");
    rig.reactor.flush();
    client.read_exact(&mut [0; 700]).expect("read");
    rig.until("Drained", |_, event| matches!(event, Event::Drained { .. }));
    let timer = rig.reactor.add_timer(common::DEADLINE, Token(0));
    let signal = common::Signal::new();
    let watch = signal.watch(&mut rig.reactor, Token(0));
    rig.events.clear();

    let stats = rig.reactor.stats();
    assert_eq!((stats.accepted, stats.bytes_received, stats.bytes_sent), (1, 300, 700));
    assert_eq!((stats.sends_refused, stats.queued_bytes), (2, 0));
    assert!(
        stats.events >= 3 && stats.events <= 5,
        "accepted, received once or in parts, drained: {stats:?}"
    );
    assert!(
        stats.waits >= 3 && stats.kernel_waits >= stats.waits && stats.kernel_calls > stats.kernel_waits,
        "{stats:?}"
    );
    assert_eq!((stats.connections, stats.listeners, stats.watches, stats.timers), (1, 1, 1, 1));
    assert!(stats.operations_in_flight >= 3, "a receive, an accept, a watch: {stats:?}");
    assert!(stats.buffers_free + stats.buffers_out <= 64, "{stats:?}");
    assert!(format!("{:?}", rig.reactor).contains("bytes_received: 300"));

    assert!(
        rig.reactor.remove_timer(timer) && rig.reactor.remove_watch(watch) && rig.reactor.remove_listener(id)
    );
    assert!(rig.reactor.remove(conn));
    rig.until_stats("end of all", |stats| {
        let held = stats.connections + stats.listeners + stats.watches + stats.timers;
        held + stats.operations_in_flight + stats.buffers_out + stats.queued_bytes == 0
    });
}

/// A wait, a receive and a send, in the system's own terms.
#[test]
fn p17_a_message_at_a_time_costs_three_calls_into_the_system() {
    let _watchdog = watchdog();
    let messages = if cfg!(windows) { 300 } else { 3_000 };
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let mut exchange = |rig: &mut Rig| {
        peer.write_all(b"look at the sword\n").expect("write");
        let line = rig.receive(conn, 18);
        rig.reactor.send(conn, &line).expect("send");
        rig.reactor.flush();
        let mut answer = [0; 18];
        peer.read_exact(&mut answer).expect("read");
    };
    (0..10).for_each(|_| exchange(&mut rig));
    let before = rig.reactor.stats();
    (0..messages).for_each(|_| exchange(&mut rig));
    let stats = rig.reactor.stats();
    assert_eq!(stats.bytes_sent - before.bytes_sent, 18 * messages);
    let each = (stats.kernel_calls - before.kernel_calls) as f64 / messages as f64;
    println!("{each:.3} calls into the system a message");
    assert!(each <= 3.0, "{each:.3} calls into the system a message");
}

/// The reactor waits before the peer has sent anything: it tries no call that the system would have to refuse.
#[test]
fn p17_looking_in_vain_costs_one_call() {
    let _watchdog = watchdog();
    let messages = if cfg!(windows) { 100 } else { 1_000 };
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let mut exchange = |rig: &mut Rig| {
        assert_eq!(rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait"), 0);
        peer.write_all(b"look\n").expect("write");
        rig.receive(conn, 5);
    };
    (0..10).for_each(|_| exchange(&mut rig));
    let before = rig.reactor.stats();
    (0..messages).for_each(|_| exchange(&mut rig));
    let stats = rig.reactor.stats();
    // The poll, the wait and the receive. Where the system reports late, the wait may poll a second time.
    let calls = stats.kernel_calls - before.kernel_calls;
    assert!(calls - (stats.kernel_waits - before.kernel_waits) == messages, "a receive each: {calls} calls");
    assert!(calls <= 3 * messages + messages / 20, "{calls} calls for {messages} messages");
}
