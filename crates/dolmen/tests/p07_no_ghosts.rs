//! Promise 7: no stale events. After a removal no event of that registration is delivered, whatever was in flight, and
//! whatever number the system gives to the next socket.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{
    DEADLINE, Random, Rig, SILENCE, Seen, Signal, finish, listener, narrow_pair, pair, reset, watchdog,
};
use dolmen::{ConnId, ErrorKind, Event, Token};

/// The system's number of a socket, which the system reuses.
fn number(stream: &TcpStream) -> u64 {
    #[cfg(unix)]
    return std::os::fd::AsRawFd::as_raw_fd(stream) as u64;
    #[cfg(windows)]
    return std::os::windows::io::AsRawSocket::as_raw_socket(stream);
}

/// Ten connections, each of which has an event in one batch.
fn batch_of_ten(
    rig: &mut Rig,
    each: impl Fn(TcpStream) -> Option<TcpStream>,
) -> Vec<(ConnId, Option<TcpStream>)> {
    let peers: Vec<_> = (0..10).map(|n| rig.connect(Token(n))).collect();
    let conns: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
    for conn in &conns {
        rig.reactor.pause(*conn).expect("pause");
    }
    rig.silent();
    let peers = peers.into_iter().map(|(conn, mut peer)| {
        peer.write_all(b"look\n").expect("write");
        (conn, each(peer))
    });
    let peers = peers.collect();
    rig.silent();
    for conn in conns {
        rig.reactor.resume(conn).expect("resume");
    }
    peers
}

#[test]
fn p07_removing_in_a_handler_silences_the_rest_of_the_batch() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let peers = batch_of_ten(&mut rig, Some);
    rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
    assert_eq!(rig.events.len(), 10, "all in one batch");
    let mut handed_out = 0;
    for event in rig.events.drain() {
        let Event::Received { conn: first, .. } = event else { panic!("{event:?}") };
        handed_out += 1;
        assert_eq!(handed_out, 1, "an event of a removed connection");
        for (conn, _) in &peers {
            assert!(rig.reactor.remove(*conn));
        }
        assert_eq!(rig.reactor.send(first, b"who?").expect_err("it is removed").kind(), ErrorKind::NotFound);
    }
    rig.silent();
    assert_eq!(rig.reactor.stats().connections, 0);
}

/// The removal also takes back events that wait behind those that had room.
#[test]
fn p07_removing_silences_what_did_not_fit_into_the_batch() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(3);
    let mut peers = batch_of_ten(&mut rig, |peer| {
        finish(&peer);
        Some(peer)
    });
    let before = rig.reactor.stats().buffers_free;
    rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
    assert_eq!(rig.events.drain().count(), 3);
    for (conn, _) in &peers {
        assert!(rig.reactor.remove(*conn));
    }
    rig.silent();
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.operations_in_flight, stats.buffers_out), (0, 0, 0));
    assert!(stats.buffers_free >= before);
    // Each peer sees the close.
    for (_, peer) in &mut peers {
        let mut rest = Vec::new();
        let _ = peer.as_mut().expect("kept").read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}

#[test]
fn p07_removing_suppresses_closed() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    // Closed already, with its `Closed` in the batch.
    let (first, peer_one) = rig.connect(Token(1));
    let (second, peer_two) = rig.connect(Token(2));
    rig.silent();
    rig.reactor.abort(first).expect("abort");
    rig.reactor.abort(second).expect("abort");
    let mut closed = Vec::new();
    let mut removed = Vec::new();
    rig.until("Closed", |reactor, event| {
        let Event::Closed { conn, .. } = event else { panic!("{event:?}") };
        closed.push(conn);
        for other in [first, second].into_iter().filter(|other| *other != conn) {
            // It is closed or closing; its event must not be delivered in either case.
            reactor.remove(other);
            removed.push(other);
        }
        true
    });
    assert_eq!((closed.len(), removed.len()), (1, 1), "{closed:?}");
    rig.silent();
    drop((peer_one, peer_two));
}

#[test]
fn p07_hc09_a_listener_removed_in_a_handler_accepts_nobody_more() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    let listener = rig.reactor.listen(listening, Token(0)).expect("listen");
    let mut clients: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).expect("connect")).collect();
    let mut accepted = 0;
    rig.until("accepted", |reactor, event| {
        assert!(matches!(event, Event::Accepted { .. }), "{event:?}");
        accepted += 1;
        assert!(reactor.remove_listener(listener));
        assert!(!reactor.remove_listener(listener), "it is gone");
        true
    });
    assert_eq!(accepted, 1);
    rig.silent();
    assert_eq!(rig.reactor.stats().listeners, 0);
    // Connections that were not delivered are closed, and no new ones are accepted.
    for client in &mut clients {
        client.set_read_timeout(Some(DEADLINE)).expect("timeout");
        match client.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) => assert!(
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                "a client was left hanging"
            ),
            Ok(_) => panic!("bytes from nowhere"),
        }
    }
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

#[test]
fn p07_hc09_readiness_listeners_watches_and_timers_removed_in_a_handler_are_silent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (signal_one, signal_two) = (Signal::new(), Signal::new());
    let watches =
        [signal_one.watch(&mut rig.reactor, Token(1)), signal_two.watch(&mut rig.reactor, Token(2))];
    let (listening, address) = listener();
    let readiness = rig.reactor.listen_readiness(listening, Token(3)).expect("listen");
    signal_one.set();
    signal_two.set();
    let _client = TcpStream::connect(address).expect("connect");
    let timers = [Duration::ZERO, SILENCE / 2].map(|time| rig.reactor.add_timer(time, Token(4)));
    let interval = rig.reactor.add_interval(Duration::from_nanos(1), Token(5));
    let mut first = None;
    rig.until("anything", |reactor, event| {
        assert!(first.is_none(), "{event:?} after {first:?}");
        first = Some(Seen::from(event));
        for watch in watches.into_iter().chain([readiness]) {
            assert!(reactor.remove_watch(watch));
            assert!(!reactor.remove_watch(watch), "it is gone");
        }
        for timer in timers.into_iter().chain([interval]) {
            let was_this = matches!(first, Some(Seen::Timer(gone, _)) if gone == timer && gone != interval);
            // A timer that has fired no longer exists, whether or not its event has been delivered.
            assert!(reactor.remove_timer(timer) || timer == timers[0] || was_this);
        }
        true
    });
    rig.silent();
    let stats = rig.reactor.stats();
    assert_eq!((stats.watches, stats.timers, stats.operations_in_flight), (0, 0, 0));
}

#[test]
fn p07_hc05_a_reused_socket_number_is_somebody_else() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut random = Random::new(7);
    let (listening, address) = listener();
    let mut reused = 0;
    for round in 0..if cfg!(windows) { 30 } else { 200 } {
        let (ours, mut peer) = pair();
        let old_number = number(&ours);
        let old = rig.reactor.add(ours, Token(round)).expect("add");
        // Something is in flight, or in the outbox, or neither.
        peer.write_all(b"for the old one").expect("write");
        match random.below(3) {
            0 => {}
            1 => drop(rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait")),
            _ => rig.reactor.flush(),
        }
        // Waits in the backlog: accepting it takes one number, and the lowest free one is that of the old connection.
        let mut new_peer = TcpStream::connect(address).expect("connect");
        assert!(rig.reactor.remove(old));
        assert!(!rig.reactor.remove(old), "it is gone");
        // Until the system has released it and the number is free.
        rig.until_stats("removal", |stats| stats.connections == 0);

        let (ours, _) = listening.accept().expect("accept");
        reused += usize::from(number(&ours) == old_number);
        let new = rig.reactor.add(ours, Token(round)).expect("add");
        assert_ne!(old, new);
        let _ = peer.write_all(b"also for the old one");
        new_peer.write_all(b"new").expect("write");
        assert_eq!(rig.receive(new, 3), b"new");
        for error in [
            rig.reactor.send(old, b"x").expect_err("send"),
            rig.reactor.pause(old).expect_err("pause"),
            rig.reactor.resume(old).expect_err("resume"),
            rig.reactor.shutdown_write(old).expect_err("shut down"),
            rig.reactor.close(old).expect_err("close"),
            rig.reactor.abort(old).expect_err("abort"),
            rig.reactor.queued_bytes(old).expect_err("look"),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        assert!(!rig.reactor.remove(old));
        rig.reactor.send(new, b"hello").expect("the new one is not affected");
        rig.reactor.flush();
        let mut hello = [0; 5];
        new_peer.read_exact(&mut hello).expect("read");
        assert!(rig.reactor.remove(new));
        rig.until_stats("removal", |stats| stats.connections == 0);
    }
    println!("{reused} numbers were reused");
    assert!(reused > 0, "no number was reused: this has tested nothing");
    rig.silent();
}

#[test]
fn p07_hc04_removal_with_everything_in_flight_leaves_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut conns = Vec::new();
    let mut peers = Vec::new();
    for n in 0..20 {
        let (ours, peer) = narrow_pair();
        let conn = rig.reactor.add(ours, Token(n)).expect("add");
        conns.push(conn);
        peers.push(peer);
    }
    rig.fill_until_in_flight(&conns, 40);
    let stats = rig.reactor.stats();
    assert_eq!(stats.operations_in_flight, 40, "a receive and a send each");
    assert!(stats.queued_bytes > 0);
    // Their packets arrive while they are being removed.
    for (n, peer) in peers.into_iter().enumerate() {
        if n % 2 == 0 { reset(peer) } else { drop(peer) }
    }
    for conn in conns {
        assert!(rig.reactor.remove(conn));
    }
    rig.silent();
    let stats = rig.reactor.stats();
    let left = (stats.connections, stats.operations_in_flight, stats.queued_bytes, stats.buffers_out);
    assert_eq!(left, (0, 0, 0, 0), "connections, operations, queued bytes, buffers");
}

/// An id that was never issued here, such as another reactor's, does nothing to the registration that gets it later.
#[test]
fn p07_ids_of_another_reactor_silence_nobody() {
    let _watchdog = watchdog();
    let (mut rig, mut other) = (Rig::new(), Rig::new());
    let stranger = other.connect(Token(0)).0;
    let watched = Signal::new();
    let watch = watched.watch(&mut other.reactor, Token(0));
    let listening = other.reactor.listen(listener().0, Token(0)).expect("listen");
    let timer = other.reactor.add_timer(DEADLINE, Token(0));
    assert!(!rig.reactor.remove(stranger) && !rig.reactor.remove_watch(watch));
    assert!(!rig.reactor.remove_listener(listening) && !rig.reactor.remove_timer(timer));

    assert_eq!(rig.reactor.add_timer(Duration::ZERO, Token(1)), timer, "the ids are the same");
    rig.until("the timer", |_, event| matches!(event, Event::Timer { token: Token(1), .. }));
    let (listener, address) = listener();
    assert_eq!(rig.reactor.listen(listener, Token(2)).expect("listen"), listening);
    let client = TcpStream::connect(address).expect("connect");
    rig.until("the client", |_, event| matches!(event, Event::Accepted { token: Token(2), .. }));
    let (conn, mut peer) = rig.connect(Token(3));
    assert_eq!(conn, stranger);
    peer.write_all(b"x").expect("write");
    rig.until("the byte", |_, event| matches!(event, Event::Received { token: Token(3), .. }));
    assert_eq!(watched.watch(&mut rig.reactor, Token(4)), watch);
    watched.set();
    rig.until("the signal", |_, event| matches!(event, Event::Ready { token: Token(4), .. }));
    drop(client);
}
