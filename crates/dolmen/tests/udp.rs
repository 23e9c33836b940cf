//! Datagram sockets: what is sent arrives whole, what the network reports ends nothing, and a flood starves no other source.

mod common;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::{DEADLINE, Random, Rig, watchdog};
use dolmen::{ErrorKind, Event, Reactor, Token, UdpId};
use socket2::{Domain, SockRef, Socket, Type};

const UDP: Token = Token(77);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_read_timeout(Some(DEADLINE)).expect("timeout");
    socket
}

/// A registered socket, and its address.
fn add(rig: &mut Rig) -> (UdpId, SocketAddr) {
    let socket = socket();
    let address = socket.local_addr().expect("address");
    (rig.reactor.udp(socket, UDP).expect("add"), address)
}

/// A datagram that outlives its events.
#[derive(Debug, PartialEq, Eq)]
struct Datagram {
    from: SocketAddr,
    data: Vec<u8>,
    truncated: bool,
}

/// Waits for this many datagrams. No socket may fail meanwhile.
#[track_caller]
fn receive(rig: &mut Rig, udp: UdpId, count: usize) -> Vec<Datagram> {
    let mut received = Vec::new();
    rig.until("datagram", |_, event| {
        match event {
            Event::Datagram { udp: of, token: UDP, from, data, truncated, .. } => {
                assert_eq!(of, udp);
                received.push(Datagram { from, data: data.to_vec(), truncated });
            }
            other => panic!("{other:?}"),
        }
        received.len() == count
    });
    received
}

fn both_paths(test: impl Fn(&dolmen::Builder)) {
    for skip in [true, false] {
        test(&Reactor::builder().skip_on_success(skip));
        if !cfg!(windows) {
            return;
        }
    }
}

/// The sender has at most 16 datagrams under way, in requests or replies: 64 KiB, for which the buffers of both sockets have
/// room on each system, so that none is dropped.
#[test]
fn ten_thousand_datagrams_of_any_size_are_echoed_whole() {
    const WINDOW: usize = 16;
    let _watchdog = watchdog();
    both_paths(|builder| {
        let mut rig = Rig::with(builder);
        let (_, address) = add(&mut rig);
        let peer = socket();
        // A peer in a thread of its own: the system's buffers are the only ones between the two.
        let client = std::thread::spawn(move || {
            let mut random = Random::new(1);
            let (mut outstanding, mut answer) = (VecDeque::new(), vec![0; 5_000]);
            for number in 0..10_000 {
                let size = if number % 100 == 0 { 0 } else { random.below(4_001) };
                let data = random.bytes(size);
                assert_eq!(peer.send_to(&data, address).expect("send"), size);
                outstanding.push_back(data);
                while outstanding.len() >= WINDOW || (number == 9_999 && !outstanding.is_empty()) {
                    let (size, from) = peer.recv_from(&mut answer).expect("an answer to each");
                    assert_eq!(from, address);
                    let whole = outstanding.pop_front().as_deref() == Some(&answer[..size]);
                    assert!(whole, "the answer before datagram {number} is another");
                }
            }
            peer.send_to(b"over", address).expect("send");
        });
        let (mut echoed, mut bytes) = (0, 0);
        rig.until("end", |reactor, event| match event {
            Event::Datagram { data: b"over", .. } => true,
            Event::Datagram { udp, from, data, truncated, .. } => {
                assert!(!truncated);
                (echoed, bytes) = (echoed + 1, bytes + data.len() as u64);
                reactor.send_to(udp, data, from).expect("there is room for 16");
                false
            }
            other => panic!("{other:?}"),
        });
        client.join().expect("each was echoed");
        let stats = rig.reactor.stats();
        assert_eq!((echoed, stats.datagrams_received, stats.datagrams_sent), (10_000, 10_001, 10_000));
        assert_eq!((stats.bytes_received, stats.bytes_sent), (bytes + 4, bytes));
        assert_eq!((stats.queued_bytes, stats.datagram_sockets), (0, 1));
        rig.rests();
    });
}

#[test]
fn a_datagram_that_is_longer_than_a_buffer_is_cut_and_says_so() {
    let _watchdog = watchdog();
    both_paths(|builder| {
        let mut rig = Rig::with(&builder.clone().buffer_size(100));
        let (udp, address) = add(&mut rig);
        let peer = socket();
        let data = Random::new(2).bytes(3_000);
        for _ in 0..20 {
            for size in [0, 99, 100, 101, 3_000, 5] {
                // One by one: some complete in the submitting call, and some by a packet.
                peer.send_to(&data[..size], address).expect("send");
                let expected = Datagram {
                    from: peer.local_addr().expect("address"),
                    data: data[..size.min(100)].to_vec(),
                    truncated: size > 100,
                };
                assert_eq!(receive(&mut rig, udp, 1), [expected], "{size}");
            }
        }
        assert_eq!(rig.reactor.stats().unknown_completions, 0);
        rig.rests();
    });
}

/// The socket continues when peers have gone after a request: Windows reports a closed port as a reset of the socket.
#[test]
fn hc62_a_thousand_dead_peers_do_not_end_a_socket() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (udp, address) = add(&mut rig);
    for _ in 0..1_000 {
        let dead = socket();
        dead.send_to(b"goodbye", address).expect("send");
        drop(dead);
        for datagram in receive(&mut rig, udp, 1) {
            rig.reactor.send_to(udp, b"are you there?", datagram.from).expect("send");
        }
        rig.reactor.flush();
    }
    let alive = socket();
    alive.send_to(b"hello", address).expect("send");
    for datagram in receive(&mut rig, udp, 1) {
        assert_eq!(datagram.data, b"hello");
        rig.reactor.send_to(udp, b"welcome", datagram.from).expect("send");
    }
    rig.reactor.flush();
    let mut answer = [0; 64];
    let size = alive.recv(&mut answer).expect("an answer");
    assert_eq!(&answer[..size], b"welcome");
    rig.rests();
}

/// Linux reports a closed port to a connected socket: at the next receive, or at the next send, which then sends nothing.
#[test]
#[cfg(target_os = "linux")]
fn hc62_a_connected_socket_reports_a_closed_port_and_continues() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let port = socket();
    let to = port.local_addr().expect("address");
    let ours = socket();
    ours.connect(to).expect("connect");
    let address = ours.local_addr().expect("address");
    let udp = rig.reactor.udp(ours, UDP).expect("add");
    drop(port);
    for _ in 0..200 {
        rig.reactor.send_to(udp, b"anyone?", to).expect("send");
        rig.until("report", |_, event| match event {
            Event::UdpFailed { udp: of, token: UDP, error, .. } => {
                assert_eq!((of, error.kind()), (udp, std::io::ErrorKind::ConnectionRefused));
                true
            }
            other => panic!("{other:?}"),
        });
    }
    // Two in one turn: the second finds the failure of the first, and is sent all the same.
    let reopened = UdpSocket::bind(to).expect("the port is free");
    reopened.set_read_timeout(Some(DEADLINE)).expect("timeout");
    drop(reopened);
    rig.reactor.send_to(udp, b"lost", to).expect("send");
    rig.reactor.flush();
    let reopened = UdpSocket::bind(to).expect("the port is free");
    reopened.set_read_timeout(Some(DEADLINE)).expect("timeout");
    rig.reactor.send_to(udp, b"found", to).expect("send");
    rig.reactor.flush();
    let mut answer = [0; 64];
    let size = reopened.recv(&mut answer).expect("it was sent");
    assert_eq!(&answer[..size], b"found");
    reopened.send_to(b"yes", address).expect("send");
    let mut failed = 0;
    rig.until("datagram", |_, event| match event {
        Event::Datagram { data: b"yes", .. } => true,
        Event::UdpFailed { .. } => {
            failed += 1;
            false
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(failed, 1);
    rig.rests();
}

/// A datagram that the system refuses is dropped, and those behind it are sent.
#[test]
fn a_datagram_that_cannot_be_sent_is_reported_and_those_behind_it_are_sent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (udp, _) = add(&mut rig);
    let peer = socket();
    let to = peer.local_addr().expect("address");
    rig.reactor.send_to(udp, b"before", to).expect("send");
    // An address of the other family.
    rig.reactor.send_to(udp, b"nowhere", "[::1]:9".parse().expect("an address")).expect("it is queued");
    rig.reactor.send_to(udp, b"behind", to).expect("send");
    rig.until("report", |_, event| match event {
        Event::UdpFailed { udp: of, error, .. } => {
            assert_eq!(of, udp, "{error}");
            true
        }
        other => panic!("{other:?}"),
    });
    let mut answer = [0; 64];
    for expected in [&b"before"[..], b"behind"] {
        let size = peer.recv(&mut answer).expect("it was sent");
        assert_eq!(&answer[..size], expected);
    }
    assert_eq!(rig.reactor.stats().queued_bytes, 0);
    rig.rests();
}

#[test]
fn a_queue_takes_datagrams_whole_up_to_its_mark() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(1_000));
    let (udp, _) = add(&mut rig);
    let peer = socket();
    let to = peer.local_addr().expect("address");
    let refused = |sent: Result<(), dolmen::Error>| sent.expect_err("there is no room").kind();
    assert_eq!(refused(rig.reactor.send_to(udp, &[0; 969], to)), ErrorKind::TooLarge);
    rig.reactor.send_to(udp, &[1; 968], to).expect("it fits");
    assert_eq!(refused(rig.reactor.send_to(udp, &[], to)), ErrorKind::QueueFull, "an empty one takes room");
    rig.reactor.flush();
    // Nothing is in flight on Linux, and soon nothing on Windows.
    rig.until_stats("room", |stats| stats.queued_bytes == 0);
    for _ in 0..31 {
        rig.reactor.send_to(udp, &[], to).expect("31 × 32 bytes");
    }
    assert_eq!(refused(rig.reactor.send_to(udp, &[], to)), ErrorKind::QueueFull);
    assert_eq!(rig.reactor.stats().sends_refused, 3);
    rig.reactor.flush();
    let mut answer = [0; 2_000];
    assert_eq!(peer.recv(&mut answer).expect("it was sent"), 968);
    rig.until_stats("sent", |stats| stats.datagrams_sent == 32);
    for _ in 0..31 {
        assert_eq!(peer.recv(&mut answer).expect("it was sent"), 0);
    }
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(1 << 20));
    let (udp, _) = add(&mut rig);
    assert_eq!(refused(rig.reactor.send_to(udp, &[0; 65_508], to)), ErrorKind::TooLarge);
    rig.reactor.send_to(udp, &[0; 65_507], to).expect("a datagram can have as many");
}

/// Another source waits for a bounded number of waits, although the socket's buffer is never empty.
#[test]
fn a_flood_of_datagrams_delays_another_source_by_few_waits() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(8);
    let (udp, address) = add(&mut rig);
    let (_, quiet) = add(&mut rig);
    let peer = socket();
    let mut most = 0;
    for _ in 0..50 {
        // Much more than one wait delivers.
        for _ in 0..100 {
            peer.send_to(b"flood", address).expect("send");
        }
        rig.reactor.wait(&mut rig.events, None).expect("wait");
        peer.send_to(b"quiet", quiet).expect("send");
        rig.reactor.poster().post(1, Token(1)).expect("post");
        let (mut waits, mut served, mut posted) = (0, false, false);
        while !(served && posted) {
            rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
            waits += 1;
            assert!(waits <= 20, "{waits} waits");
            let mut of_socket = 0;
            for event in &mut rig.events {
                match event {
                    Event::Datagram { udp: of, .. } if of == udp => of_socket += 1,
                    Event::Datagram { data, .. } => {
                        assert_eq!(data, b"quiet");
                        served = true;
                    }
                    Event::Posted { .. } => posted = true,
                    other => panic!("{other:?}"),
                }
            }
            assert!(of_socket <= 16);
        }
        most = most.max(waits);
        // The flood's rest.
        while rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait") > 0 {}
    }
    println!("another source is served within {most} waits of 8 events");
}

#[test]
fn one_wait_delivers_at_most_16_datagrams_of_a_socket() {
    let _watchdog = watchdog();
    both_paths(|builder| {
        let mut rig = Rig::with(builder);
        let (_, address) = add(&mut rig);
        let peer = socket();
        for _ in 0..100 {
            peer.send_to(b"flood", address).expect("send");
        }
        let mut received = 0;
        while received < 100 {
            let count = rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
            assert!((1..=16).contains(&count), "{count} events after {received}");
            received += count;
        }
    });
}

#[test]
fn datagrams_travel_over_ipv6() {
    let _watchdog = watchdog();
    let (Ok(ours), Ok(peer)) = (UdpSocket::bind("[::1]:0"), UdpSocket::bind("[::1]:0")) else {
        println!("skipped: this system has no IPv6");
        return;
    };
    peer.set_read_timeout(Some(DEADLINE)).expect("timeout");
    let mut rig = Rig::new();
    let address = ours.local_addr().expect("address");
    let udp = rig.reactor.udp(ours, UDP).expect("add");
    assert_eq!(rig.reactor.udp_local_addr(udp).expect("it is there"), address);
    peer.send_to(b"six", address).expect("send");
    for datagram in receive(&mut rig, udp, 1) {
        assert_eq!(datagram.from, peer.local_addr().expect("address"));
        rig.reactor.send_to(udp, &datagram.data, datagram.from).expect("send");
    }
    rig.reactor.flush();
    let mut answer = [0; 64];
    let (size, from) = peer.recv_from(&mut answer).expect("an answer");
    assert_eq!((&answer[..size], from), (&b"six"[..], address));
}

/// A receiver that has joined a group on the loopback interface.
fn multicast_receiver(group: Ipv4Addr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    Ok(socket.into())
}

#[test]
fn a_member_of_a_group_receives_its_datagrams() {
    let _watchdog = watchdog();
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let receiver = match multicast_receiver(group) {
        Ok(receiver) => receiver,
        Err(error) => return println!("skipped: this system refuses to join a group: {error}"),
    };
    let port = receiver.local_addr().expect("address").port();
    let mut rig = Rig::new();
    let udp = rig.reactor.udp(receiver, UDP).expect("add");
    let sender = socket();
    SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("interface");
    sender.set_multicast_loop_v4(true).expect("loop");
    if let Err(error) = sender.send_to(b"to all", (group, port)) {
        return println!("skipped: this system sends to no group: {error}");
    }
    let received = receive(&mut rig, udp, 1);
    assert_eq!(received[0].data, b"to all");
}

#[test]
fn nothing_of_a_socket_comes_after_its_removal() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (first, address) = add(&mut rig);
    let (second, other) = add(&mut rig);
    let peer = socket();
    for _ in 0..10 {
        peer.send_to(b"x", address).expect("send");
        peer.send_to(b"x", other).expect("send");
    }
    let mut removed = None;
    rig.until("datagram", |reactor, event| {
        let Event::Datagram { udp, .. } = event else { panic!("{event:?}") };
        assert_ne!(Some(udp), removed, "after its removal");
        let last = [first, second].into_iter().find(|&id| id != udp).expect("there are two");
        if removed.is_none() {
            assert!(reactor.remove_udp(last) && !reactor.remove_udp(last));
            let refused = reactor.send_to(last, b"x", address).expect_err("it is gone");
            assert_eq!(refused.kind(), ErrorKind::NotFound);
            assert_eq!(reactor.udp_local_addr(last).expect_err("it is gone").kind(), ErrorKind::NotFound);
            removed = Some(last);
        }
        reactor.remove_udp(udp);
        true
    });
    rig.until_stats("end of both", |stats| stats.datagram_sockets == 0);
    rig.events.clear();
    let stats = rig.reactor.stats();
    assert_eq!((stats.operations_in_flight, stats.buffers_out), (0, 0));
    rig.rests();
    // Their ports are free.
    UdpSocket::bind(address).expect("bind");
    UdpSocket::bind(other).expect("bind");
}

#[test]
fn a_reactor_is_dropped_with_datagrams_in_flight() {
    let _watchdog = watchdog();
    for round in 0..100 {
        let mut rig = Rig::new();
        let sockets = [(); 4].map(|()| add(&mut rig));
        let peer = socket();
        for &(udp, address) in &sockets {
            peer.send_to(b"in flight", address).expect("send");
            for _ in 0..50 {
                rig.reactor.send_to(udp, &[7; 1_000], peer.local_addr().expect("address")).expect("send");
            }
        }
        match round % 3 {
            0 => {}
            1 => rig.reactor.flush(),
            _ => drop(rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait")),
        }
        let Rig { reactor, events } = rig;
        drop(reactor);
        drop(events);
        UdpSocket::bind(sockets[0].1).expect("its port is free");
    }
}

#[test]
fn p16_what_is_no_bound_datagram_socket_is_refused_and_comes_back() {
    let mut rig = Rig::new();
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    stream.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let unbound = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("socket");
    for socket in [stream, unbound] {
        let refused = rig.reactor.udp(socket.into(), UDP).expect_err("it is none");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidHandle);
        assert!(refused.error.to_string().starts_with("cannot add a datagram socket: "), "{}", refused.error);
    }
    assert_eq!(rig.reactor.stats().datagram_sockets, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_address_of_a_removed_socket_is_free_with_the_next_event() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (udp, address) = add(&mut rig);
    // The receives are posted.
    rig.silent();
    assert!(rig.reactor.remove_udp(udp));
    rig.reactor.poster().post(1, Token(12)).expect("there is room");
    rig.until("the post", |_, event| matches!(event, Event::Posted { .. }));
    UdpSocket::bind(address).expect("the address is free");
}
