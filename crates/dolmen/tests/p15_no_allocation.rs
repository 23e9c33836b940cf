//! Promise 15: in steady state no event allocates.

mod common;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use common::counting::{ALLOCATIONS, Counting};
use common::{Rig, watchdog};
use dolmen::{Event, Inbox, Sender, Token};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 32;

/// One line to and from every peer, a post, a wake, values of two channels, the tick of a timer, a timer that fires and one that is cancelled.
fn round(
    rig: &mut Rig,
    peers: &mut [TcpStream],
    channels: &mut [(Sender<u64>, Inbox<u64>)],
    line: &[u8],
    answer: &mut [u8],
) {
    for peer in peers.iter_mut() {
        peer.write_all(line).expect("write");
    }
    let cancelled = rig.reactor.add_timer(Duration::from_secs(60), Token(4));
    rig.reactor.add_timer(Duration::ZERO, Token(5));
    assert!(rig.reactor.remove_timer(cancelled));
    rig.reactor.waker().wake();
    rig.reactor.poster().post(2, Token(1)).expect("post");
    for (sender, _) in channels.iter() {
        (0..10).for_each(|value| sender.send(value).expect("send"));
    }
    let mut drained = 0;
    let (mut echoed, mut posted, mut woken, mut ticked, mut over) = (0, false, false, false, false);
    rig.until("round", |reactor, event| {
        match event {
            Event::Received { conn, data, .. } => {
                echoed += data.len();
                reactor.send(conn, data).expect("send");
            }
            Event::Posted { .. } => posted = true,
            Event::Inbox { token: Token(at), .. } => drained += channels[at].1.drain().take(7).count(),
            Event::Woken => woken = true,
            Event::Timer { token: Token(5), .. } => over = true,
            Event::Timer { .. } => ticked = true,
            other => panic!("{other:?}"),
        }
        echoed == CONNECTIONS * line.len()
            && posted
            && woken
            && ticked
            && over
            && drained == 10 * channels.len()
    });
    rig.reactor.flush();
    for peer in peers.iter_mut() {
        peer.read_exact(answer).expect("read");
        assert_eq!(answer, line);
    }
}

#[test]
fn p15_echo_posts_wakes_channels_and_timers_allocate_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.add_interval(Duration::from_millis(1), Token(3));
    let mut peers: Vec<TcpStream> = (0..CONNECTIONS).map(|n| rig.connect(Token(n)).1).collect();
    let mut channels: Vec<_> = (0..2).map(|at| rig.reactor.channel(10, Token(at))).collect();
    let (line, mut answer) = ([b'x'; 80], [0; 80]);
    for _ in 0..20 {
        round(&mut rig, &mut peers, &mut channels, &line, &mut answer);
    }
    let (allocations, events) = (ALLOCATIONS.get(), rig.reactor.stats().events);
    for _ in 0..if cfg!(windows) { 20 } else { 200 } {
        round(&mut rig, &mut peers, &mut channels, &line, &mut answer);
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

/// Three datagrams, one of them empty, there and back, over two sockets of one reactor.
#[test]
fn p15_datagrams_allocate_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let [(ours, _), (_, peer)] = [Token(1), Token(2)].map(|token| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let address = socket.local_addr().expect("address");
        (rig.reactor.udp(socket, token).expect("add"), address)
    });
    let round = |rig: &mut Rig| {
        for data in [&b"one"[..], b"", &[7; 1_000]] {
            rig.reactor.send_to(ours, data, peer).expect("send");
        }
        let mut back = 0;
        rig.until("answers", |reactor, event| {
            match event {
                Event::Datagram { udp, token: Token(2), from, data, .. } => {
                    reactor.send_to(udp, data, from).expect("send");
                }
                Event::Datagram { .. } => back += 1,
                other => panic!("{other:?}"),
            }
            back == 3
        });
    };
    (0..20).for_each(|_| round(&mut rig));
    let allocations = ALLOCATIONS.get();
    (0..100).for_each(|_| round(&mut rig));
    assert_eq!(ALLOCATIONS.get() - allocations, 0);
}
