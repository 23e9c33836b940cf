//! Streams that leave the reactor, and the options of those that stay.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Rig, pair, watchdog};
use dolmen::{ErrorKind, Event, Token};
use socket2::SockRef;

#[test]
fn a_released_stream_has_lost_nothing_and_works_with_blocking_calls() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, mut peer) = pair();
    let conn = rig.reactor.add(ours, Token(7)).expect("add");
    peer.write_all(b"one").expect("write");
    let mut received = Vec::new();
    rig.until("the first bytes", |reactor, event| {
        let Event::Received { data, .. } = event else { panic!("{event:?}") };
        received.extend_from_slice(data);
        if received == b"one" {
            // What is queued comes before the stream, and so does what the reactor receives from here on.
            reactor.send(conn, b"queued ").expect("send");
            reactor.release(conn).expect("release");
            assert_eq!(reactor.send(conn, b"late").expect_err("it leaves").kind(), ErrorKind::SendClosed);
        }
        received.len() >= 3
    });
    peer.write_all(b"two").expect("write");
    let mut stream: Option<TcpStream> = None;
    rig.until("the stream", |_, event| {
        assert_eq!(event.token(), Some(Token(7)));
        match event {
            Event::Received { data, .. } => received.extend_from_slice(data),
            Event::Released { conn: of, stream: released, .. } if of == conn => stream = Some(released),
            event => panic!("{event:?}"),
        }
        stream.is_some()
    });
    let mut stream = stream.expect("it was released");
    assert_eq!(rig.reactor.stats().connections, 0);
    assert_eq!(rig.reactor.release(conn).expect_err("gone").kind(), ErrorKind::NotFound);
    // The reactor is not needed any more.
    drop(rig);
    peer.write_all(b"three").expect("write");
    peer.shutdown(std::net::Shutdown::Write).expect("shutdown");
    stream.read_to_end(&mut received).expect("read");
    assert_eq!(received, b"onetwothree");
    stream.write_all(b"and more").expect("write");
    drop(stream);
    let mut all = String::new();
    peer.read_to_string(&mut all).expect("read");
    assert_eq!(all, "queued and more");
}

#[test]
fn a_connection_that_was_removed_while_it_was_leaving_is_closed() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, mut peer) = pair();
    let conn = rig.reactor.add(ours, Token(0)).expect("add");
    rig.reactor.release(conn).expect("release");
    assert!(rig.reactor.remove(conn));
    let _ = rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
    assert_eq!(rig.events.drain().count(), 0);
    drop(rig);
    assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn a_connections_addresses_and_options_are_those_of_its_socket() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, peer) = pair();
    let socket = ours.try_clone().expect("a duplicate");
    let conn = rig.reactor.add(ours, Token(0)).expect("add");
    let reactor = &mut rig.reactor;
    assert_eq!(reactor.peer_addr(conn).expect("peer"), peer.local_addr().expect("an address"));
    assert_eq!(reactor.local_addr(conn).expect("local"), peer.peer_addr().expect("an address"));
    for nodelay in [true, false] {
        reactor.set_nodelay(conn, nodelay).expect("set");
        assert_eq!(socket.nodelay().expect("get"), nodelay);
    }
    for after in [Some(Duration::from_secs(45)), None, Some(Duration::from_millis(1)), Some(Duration::MAX)] {
        reactor.set_keepalive(conn, after).expect("set");
        assert_eq!(SockRef::from(&socket).keepalive().expect("get"), after.is_some());
    }
    reactor.stream(conn).expect("its socket").set_ttl(7).expect("set");
    assert_eq!(socket.ttl().expect("get"), 7);
    let room = reactor.capacity(conn).expect("capacity");
    reactor.send(conn, &[0; 1000]).expect("send");
    assert_eq!(reactor.capacity(conn).expect("capacity"), room - 1000);
    reactor.shutdown_write(conn).expect("shutdown");
    assert_eq!(reactor.capacity(conn).expect("capacity"), 0);
    assert!(reactor.remove(conn));
    assert!(reactor.stream(conn).is_err_and(|error| error.kind() == ErrorKind::NotFound));
    let gone = [reactor.peer_addr(conn).map(drop), reactor.set_nodelay(conn, true), reactor.release(conn)];
    assert!(gone.into_iter().all(|result| result.is_err_and(|error| error.kind() == ErrorKind::NotFound)));
}
