//! A process forks: either of the two may go on with the reactor, the other one drops its copy, without an effect on
//! the first.
#![cfg(target_os = "linux")]

mod common;
#[path = "fork/posts.rs"]
mod posts;
#[path = "fork/system.rs"]
mod system;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::fork::fork;
use common::{DEADLINE, Rig, Seen, Signal, in_child, is_child, listener, watchdog};
use dolmen::{ConsoleInput, ConsoleMode, ErrorKind, Event, ShutdownReason, Token};

fn echo(stream: &mut TcpStream, rig: &mut Rig, conn: dolmen::ConnId) {
    stream.write_all(b"ping").expect("write");
    assert_eq!(rig.receive(conn, 4), b"ping");
    rig.reactor.send(conn, b"pong").expect("send");
    rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"pong");
}

/// One of every kind of source, in every state.
#[test]
fn hc47_a_child_that_drops_its_copy_takes_nothing_from_the_parent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let (aborted, aborted_peer) = rig.connect(Token(1));
    let (closed, mut closed_peer) = rig.connect(Token(2));
    let (listening, address) = listener();
    let listener_id = rig.reactor.listen(listening, Token(3)).expect("listen");
    let (waiting, waiting_address) = listener();
    let watch = rig.reactor.listen_readiness(waiting, Token(4)).expect("listen");
    let signal = Signal::new();
    let handle = signal.watch(&mut rig.reactor, Token(5));
    echo(&mut peer, &mut rig, conn);
    rig.reactor.send(closed, b"goodbye").expect("send");
    rig.reactor.close(closed).expect("close");
    rig.silent();
    rig.reactor.abort(aborted).expect("abort");

    let Rig { reactor, events } = rig;
    let mut reactor = Some(reactor);
    fork(|| drop(reactor.take())).ends_well();
    let mut rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };

    let mut goodbye = [0; 7];
    closed_peer.read_exact(&mut goodbye).expect("read");
    drop((closed_peer, aborted_peer));
    let ended: Vec<_> = rig.seen_until("ends", {
        let mut left = 2;
        move |seen| {
            left -= usize::from(matches!(seen, Seen::Closed(..)));
            left == 0
        }
    });
    assert!(
        ended.iter().all(|seen| matches!(seen.conn(), Some(of) if of == closed || of == aborted)),
        "{ended:?}"
    );
    echo(&mut peer, &mut rig, conn);
    let _client = TcpStream::connect(address).expect("connect");
    rig.seen_until("connection", |seen| matches!(seen, Seen::Accepted(of, _) if *of == listener_id));
    let _other = TcpStream::connect(waiting_address).expect("connect");
    rig.seen_until("readiness", |seen| *seen == Seen::Ready(watch));
    rig.reactor.accept(watch).expect("accept").expect("a connection");
    signal.set();
    rig.seen_until("signal", |seen| *seen == Seen::Ready(handle));
    signal.unset();
    rig.reactor.waker().wake();
    rig.seen_until("wake", |seen| *seen == Seen::Woken);
}

#[test]
fn hc47_datagrams_reach_a_child_that_continues_and_then_the_parent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    rig.reactor.udp(socket, Token(6)).expect("add");
    rig.silent();
    let peer = UdpSocket::bind("127.0.0.1:0").expect("bind");
    peer.set_read_timeout(Some(DEADLINE)).expect("timeout");
    let pong = |rig: &mut Rig| {
        rig.until("datagram", |reactor, event| {
            let Event::Datagram { udp, from, data: b"ping", .. } = event else { panic!("{event:?}") };
            reactor.send_to(udp, b"pong", from).expect("send");
            true
        });
        rig.reactor.flush();
    };
    let child = fork(|| pong(&mut rig));
    let mut answer = [0; 64];
    for process in [Some(child), None] {
        peer.send_to(b"ping", address).expect("send");
        let process = process.map(common::fork::Forked::ends_well);
        if process.is_none() {
            pong(&mut rig);
        }
        assert_eq!(peer.recv(&mut answer).expect("an answer"), 4);
    }
}

/// The fate of a daemon's parent.
#[derive(Clone, Copy, PartialEq)]
enum Parent {
    Exits,
    DropsAndExits,
}

/// A server that becomes a daemon, with a connection and a listener.
fn daemonise(parent: Parent) {
    let (listening, address) = listener();
    let server = fork(move || serve_as_daemon(listening, parent));
    let mut early = TcpStream::connect(address).expect("connect");
    early.set_read_timeout(Some(DEADLINE)).expect("timeout");
    early.write_all(b"e").expect("write");
    server.ends_well();
    let mut late = TcpStream::connect(address).expect("connect");
    late.set_read_timeout(Some(DEADLINE)).expect("timeout");
    for stream in [&mut early, &mut late] {
        stream.write_all(b"ping").expect("write");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("the daemon answers");
        assert_eq!(&answer, b"ping");
    }
    // It ends when its last connection has closed.
    drop(early);
    common::finish(&late);
    let mut rest = Vec::new();
    late.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(rest, b"");
}

/// Waits for the first byte of the first connection before it forks, and echoes afterwards.
fn serve_as_daemon(listening: TcpListener, parent: Parent) {
    let mut rig = Rig::new();
    rig.reactor.listen(listening, Token(0)).expect("listen");
    rig.until("byte", |reactor, event| match event {
        Event::Accepted { stream, .. } => {
            reactor.add(stream, Token(1)).expect("add");
            false
        }
        Event::Received { data, .. } => data == b"e",
        other => panic!("{other:?}"),
    });
    // SAFETY: as in `fork`. No process waits for the child: its client detects a failure.
    match unsafe { libc::fork() } {
        0 => {
            let (mut open, mut clients) = (1, 1);
            rig.until("end of the last client", |reactor, event| {
                match event {
                    Event::Accepted { stream, .. } => {
                        reactor.add(stream, Token(1)).expect("add");
                        (open, clients) = (open + 1, clients + 1);
                    }
                    Event::Received { conn, data, .. } => reactor.send(conn, data).expect("send"),
                    Event::EndOfStream { conn, .. } => reactor.close(conn).expect("close"),
                    Event::Closed { .. } => open -= 1,
                    other => panic!("{other:?}"),
                }
                open == 0 && clients == 2
            });
        }
        _ if parent == Parent::DropsAndExits => drop(rig),
        _ => std::mem::forget(rig),
    }
}

#[test]
fn hc47_a_server_becomes_a_daemon_and_its_parent_exits() {
    let _watchdog = watchdog();
    daemonise(Parent::Exits);
}

#[test]
fn hc47_a_server_becomes_a_daemon_and_its_parent_drops_the_reactor() {
    let _watchdog = watchdog();
    daemonise(Parent::DropsAndExits);
}

#[test]
fn hc47_what_a_child_removes_and_adds_is_its_own_affair() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let (other, mut other_peer) = rig.connect(Token(1));
    let signal = Signal::new();
    let handle = signal.watch(&mut rig.reactor, Token(5));
    echo(&mut peer, &mut rig, conn);
    let forked = fork(|| {
        assert!(rig.reactor.remove(conn));
        assert!(rig.reactor.remove_watch(handle));
        let (added, mut added_peer) = rig.connect(Token(3));
        echo(&mut added_peer, &mut rig, added);
        assert!(rig.reactor.remove(added));
        rig.silent();
        // Sources from before the fork go on, too.
        echo(&mut other_peer, &mut rig, other);
        // It exits without a drop, and so without any clean-up.
    });
    forked.ends_well();
    echo(&mut peer, &mut rig, conn);
    signal.set();
    rig.seen_until("signal", |seen| *seen == Seen::Ready(handle));
    signal.unset();
    rig.seen_for(common::SILENCE);
    rig.silent();
}

/// One socket, which both processes connect: the second finds it connected, or on its way.
#[test]
fn hc47_a_connect_from_before_the_fork_succeeds_in_both_processes() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let _watchdog = watchdog();
    let name = format!("dolmen-fork-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let _unix = UnixListener::bind_addr(&address).expect("bind");
    let (_tcp, ip) = listener();
    for is_unix in [false, true] {
        for child_first in [false, true] {
            let mut rig = Rig::new();
            let target =
                if is_unix { dolmen::Target::from(address.clone()) } else { dolmen::Target::from(ip) };
            rig.reactor.connect(target, Token(1)).expect("it begins");
            let mut parts = Some(rig);
            let connected = |rig: &mut Rig| {
                rig.until("the connection", |_, event| {
                    matches!(event, Event::Connected { token: Token(1), .. })
                });
            };
            if !child_first {
                // Begun, and not reported.
                parts.as_mut().expect("it is there").reactor.flush();
            }
            fork(|| connected(parts.as_mut().expect("it is there"))).ends_well();
            connected(parts.as_mut().expect("it is there"));
        }
    }
}

/// The end of a channel belongs to the process in which the last sender is dropped.
#[test]
fn hc47_an_end_from_before_the_fork_is_reported_in_the_parent_only() {
    let _watchdog = watchdog();
    for is_reported in [false, true] {
        let mut rig = Rig::new();
        let (gone, mut ended) = rig.reactor.channel::<u8>(4, Token(0));
        let (sender, mut open) = rig.reactor.channel::<u8>(4, Token(1));
        drop(gone);
        if is_reported {
            rig.until("end", |_, event| matches!(event, Event::Inbox { token: Token(0), .. }));
        }
        let mut parts = Some((rig, sender));
        fork(|| {
            let (mut rig, sender) = parts.take().expect("it is there");
            assert!(ended.is_closed());
            assert_eq!(ended.drain().count(), 0);
            rig.rests();
            // And one from after it.
            drop(sender);
            rig.until("end", |_, event| matches!(event, Event::Inbox { token: Token(1), .. }));
            assert!(open.is_closed());
            assert_eq!((ended.drain().count(), open.drain().count()), (0, 0));
            rig.rests();
        })
        .ends_well();
        let (mut rig, sender) = parts.take().expect("the child has dropped its own");
        if !is_reported {
            rig.until("end", |_, event| matches!(event, Event::Inbox { token: Token(0), .. }));
        }
        assert!(ended.is_closed() && !open.is_closed());
        assert_eq!(ended.drain().count(), 0);
        rig.rests();
        drop(sender);
    }
}

/// Files and look-ups are in threads at the fork, and the child acts on what they belong to before its first wait.
#[test]
fn hc47_a_child_that_ends_connections_before_its_first_wait_does_not_hang() {
    const FORKS: usize = 200;
    let _watchdog = watchdog();
    let path = std::env::temp_dir().join(format!("dolmen-fork-{}", std::process::id()));
    std::fs::write(&path, vec![7; 1 << 20]).expect("a file");
    let file = Arc::new(std::fs::File::open(&path).expect("it was just written"));
    std::fs::remove_file(&path).expect("it is there");
    let mut rig = Rig::new();
    for round in 0..FORKS {
        let (conn, peer) = rig.connect(Token(0));
        rig.reactor.send_file(conn, Arc::clone(&file), 0..1 << 20, Token(1)).expect("room");
        let lookup = rig.reactor.resolve("localhost", 7, Token(2)).expect("room");
        let read =
            rig.reactor.read_file(Arc::clone(&file), 0, Vec::with_capacity(1 << 20), Token(3)).expect("room");
        rig.reactor.flush();
        let mut parts = Some(rig);
        fork(|| {
            let mut rig = parts.take().expect("it is there");
            match round % 4 {
                0 => assert!(rig.reactor.abort(conn).is_ok()),
                1 => assert!(rig.reactor.remove(conn)),
                2 => assert!(rig.reactor.cancel_lookup(lookup)),
                // It has failed by the fork.
                _ => assert!(!rig.reactor.cancel_file(read)),
            }
            if round % 8 < 4 {
                rig.reactor.flush();
            }
        })
        .ends_well();
        rig = parts.take().expect("the child has dropped its own");
        rig.reactor.remove(conn);
        drop(peer);
        rig.reactor.cancel_lookup(lookup);
        rig.reactor.cancel_file(read);
        let stats = rig.reactor.stats();
        assert_eq!((stats.lookups, stats.file_operations), (0, 0));
    }
}
