//! Outgoing connections: every way in which one begins, fails or is given up.

mod common;

use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, SILENCE, Seen, assert_blocking, listener, pair, watchdog};
use dolmen::{CloseReason, ConnId, ErrorKind, Event, Reactor, Target, Token};
use socket2::{Domain, Socket, Type};

const WINE: bool = cfg!(windows);

/// The kind of the error with which a connection could not be made; there is no other event.
#[track_caller]
fn failure(rig: &mut Rig, conn: ConnId) -> IoKind {
    let seen = rig.seen_until("the end", |seen| matches!(seen, Seen::Closed(of, _) if *of == conn));
    let [Seen::Closed(_, reason @ CloseReason::Failed { .. })] = &seen[..] else { panic!("{seen:?}") };
    rig.silent();
    rig.rests();
    reason.to_io().expect("a failure has an error").kind()
}

/// A listener whose backlog is full, so that the system drops further requests; with the streams that fill it.
fn full_listener() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let mut fill = Vec::new();
    // One more than the backlog, which is rounded up to one.
    for _ in 0..2 {
        match TcpStream::connect_timeout(&address, SILENCE) {
            Ok(stream) => fill.push(stream),
            Err(_) => break,
        }
    }
    (socket, address, fill)
}

#[test]
fn connects_over_both_families_and_sends_what_was_sent_before() {
    let _watchdog = watchdog();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(server) = TcpListener::bind(address) else {
            eprintln!("SKIPPED {address}: this machine has no such address");
            continue;
        };
        let address = server.local_addr().expect("an address");
        let mut rig = Rig::new();
        let conn = rig.reactor.connect(address, Token(4)).expect("it begins");
        let early = rig.reactor.peer_addr(conn).map_err(|error| error.kind());
        assert_eq!(early, Err(ErrorKind::NotConnected));
        rig.reactor.send(conn, b"sent before ").expect("it is queued");
        let mut ends = None;
        rig.until("the connection", |_, event| {
            let Event::Connected { conn: of, token, local, peer, .. } = event else { panic!("{event:?}") };
            assert_eq!((of, token), (conn, Token(4)));
            ends = Some((local.ip().expect("TCP"), peer.ip().expect("TCP")));
            true
        });
        let (mut stream, from) = server.accept().expect("accept");
        assert_eq!(ends, Some((from, address)));
        assert_eq!(rig.reactor.local_addr(conn).expect("it is connected"), from);
        assert_eq!(rig.reactor.peer_addr(conn).expect("it is connected"), address);
        rig.reactor.send(conn, b"and after").expect("it is open");
        rig.reactor.flush();
        let mut read = [0; 21];
        stream.read_exact(&mut read).expect("read");
        assert_eq!(&read, b"sent before and after");
        stream.write_all(b"an answer").expect("write");
        assert_eq!(rig.receive(conn, 9), b"an answer");
        rig.reactor.shutdown_write(conn).expect("it is open");
        rig.reactor.flush();
        assert_eq!(stream.read(&mut read).expect("the end"), 0);
    }
}

#[test]
fn a_stream_that_is_released_blocks_like_any_other() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    let mut rig = Rig::new();
    let conn = rig.reactor.connect(address, Token(0)).expect("it begins");
    rig.reactor.release(conn).expect("it is open");
    let mut released = None;
    rig.until("the stream", |_, event| {
        if let Event::Released { stream, .. } = event {
            released = Some(stream);
        }
        released.is_some()
    });
    let (mut peer, _) = server.accept().expect("accept");
    let mut stream = released.expect("it came");
    assert_blocking(&mut stream);
    stream.write_all(b"still connected").expect("write");
    peer.read_exact(&mut [0; 15]).expect("read");
}

#[test]
fn hc59_a_refusal_is_reported_once() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    drop(server);
    let mut rig = Rig::new();
    for _ in 0..3 {
        let conn = rig.reactor.connect(address, Token(0)).expect("it begins");
        rig.reactor.send(conn, b"never").expect("it is queued");
        assert_eq!(failure(&mut rig, conn), IoKind::ConnectionRefused);
        assert_eq!(rig.reactor.send(conn, b"?").map_err(|error| error.kind()), Err(ErrorKind::NotFound));
        assert_eq!(rig.reactor.stats().queued_bytes, 0);
    }
}

/// The broadcast address: TCP has no route to it, on any machine.
#[test]
fn hc59_without_a_route_the_failure_comes_with_the_next_wait() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let conn = rig.reactor.connect(SocketAddr::from(([255, 255, 255, 255], 9)), Token(0)).expect("it begins");
    rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
    let seen: Vec<Seen> = rig.events.drain().map(Seen::from).collect();
    let failed = matches!(seen[..], [Seen::Closed(of, CloseReason::Failed { .. })] if of == conn);
    assert!(failed, "{seen:?}");
    rig.rests();
}

#[test]
fn a_peer_that_does_not_answer_is_given_up_in_time() {
    let _watchdog = watchdog();
    let (_server, address, _fill) = full_listener();
    let mut rig = Rig::new();
    let started = Instant::now();
    let timeout = Duration::from_millis(300);
    let conn = rig.reactor.connect(Target::from(address).timeout(timeout), Token(0)).expect("it begins");
    assert_eq!(failure(&mut rig, conn), IoKind::TimedOut);
    assert!(started.elapsed() >= timeout, "it was cut short");
}

#[test]
fn no_time_to_connect_ends_with_the_next_wait() {
    let _watchdog = watchdog();
    let (_server, address, _fill) = full_listener();
    let mut rig = Rig::new();
    let conn =
        rig.reactor.connect(Target::from(address).timeout(Duration::ZERO), Token(0)).expect("it begins");
    rig.reactor.wait(&mut rig.events, None).expect("wait");
    let seen: Vec<Seen> = rig.events.drain().map(Seen::from).collect();
    let [Seen::Closed(of, reason)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*of, reason.to_io().expect("a failure").kind()), (conn, IoKind::TimedOut));
}

#[test]
fn a_flush_begins_to_connect() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    let mut rig = Rig::new();
    let conn = rig.reactor.connect(address, Token(0)).expect("it begins");
    for refused in [
        rig.reactor.peer_addr(conn).map(drop),
        rig.reactor.local_addr(conn).map(drop),
        rig.reactor.set_nodelay(conn, true),
        rig.reactor.set_keepalive(conn, None),
    ] {
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::NotConnected));
    }
    rig.reactor.flush();
    let (_stream, from) = server.accept().expect("accept");
    rig.seen_until("the connection", |seen| *seen == Seen::Connected(conn));
    assert_eq!(rig.reactor.local_addr(conn).expect("it is connected"), from);
}

#[test]
fn p07_a_connect_that_is_removed_leaves_nothing() {
    let _watchdog = watchdog();
    let (_server, address, _fill) = full_listener();
    let mut rig = Rig::new();
    for waits in [false, true] {
        let conn = rig.reactor.connect(address, Token(0)).expect("it begins");
        rig.reactor.send(conn, b"never").expect("it is queued");
        if waits {
            rig.silent();
        }
        assert!(rig.reactor.remove(conn) && !rig.reactor.remove(conn));
        rig.silent();
        rig.rests();
        let conn = rig.reactor.connect(address, Token(0)).expect("it begins");
        rig.reactor.abort(conn).expect("it is open");
        let seen = rig.seen_until("the end", |seen| matches!(seen, Seen::Closed(..)));
        assert_eq!(seen, [Seen::Closed(conn, CloseReason::Aborted)]);
        rig.rests();
    }
}

/// A connected port of one's own: Linux connects a socket that is bound to the address to which it connects.
#[cfg(target_os = "linux")]
/// A server that is full says so and hangs up, before the reactor has looked. Windows discards what a reset has overtaken.
#[cfg(target_os = "linux")]
#[test]
fn p06_what_a_peer_has_sent_is_delivered_although_it_has_reset_before_the_connect_was_reported() {
    let _watchdog = watchdog();
    for with_host in [false, true] {
        let (server, address) = listener();
        let mut rig = Rig::new();
        let conn = if with_host {
            rig.reactor.connect_host("127.0.0.1", address.port(), Token(1)).expect("it begins")
        } else {
            rig.reactor.connect(address, Token(1)).expect("it begins")
        };
        rig.reactor.send(conn, b"hello").expect("it is queued");
        rig.reactor.flush();
        let (mut stream, _) = server.accept().expect("the system has connected");
        stream.write_all(b"we are full").expect("write");
        common::reset(stream);
        let mut connected = 0;
        let seen = rig.seen_until("the end", |seen| matches!(seen, Seen::Closed(of, _) if *of == conn));
        let mut got = Vec::new();
        for seen in &seen {
            match seen {
                Seen::Connected(of) if *of == conn && got.is_empty() => connected += 1,
                Seen::Received(of, data) if *of == conn => got.extend_from_slice(data),
                Seen::Closed(_, CloseReason::Reset) => {}
                other => panic!("{other:?} in {seen:?}"),
            }
        }
        assert_eq!((connected, got.as_slice()), (1, &b"we are full"[..]), "{seen:?}");
        rig.rests();
    }
}

#[test]
fn hc59_a_socket_that_is_connected_to_itself_counts_as_refused() {
    let _watchdog = watchdog();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let address = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let mut rig = Rig::new();
    let conn = rig.reactor.connect(Target::from(address).socket(socket.into()), Token(0)).expect("it begins");
    assert_eq!(failure(&mut rig, conn), IoKind::ConnectionRefused);
}

#[test]
fn a_prepared_socket_keeps_its_address() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let own = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let mut rig = Rig::new();
    let conn = rig.reactor.connect(Target::from(address).socket(socket.into()), Token(0)).expect("it begins");
    rig.seen_until("the connection", |seen| *seen == Seen::Connected(conn));
    assert_eq!(server.accept().expect("accept").1, own);
}

#[test]
fn p16_a_prepared_socket_that_cannot_be_connected_is_refused_by_the_call() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    let (connected, _peer) = pair();
    let datagrams: Socket = UdpSocket::bind("127.0.0.1:0").expect("bind").into();
    let mut rig = Rig::new();
    let sockets: [(Socket, ErrorKind); 3] = [
        (connected.into(), ErrorKind::InvalidHandle),
        (server.into(), ErrorKind::InvalidHandle),
        (datagrams, ErrorKind::InvalidHandle),
    ];
    for (socket, kind) in sockets {
        let refused = rig.reactor.connect(Target::from(address).socket(socket.into()), Token(0));
        let error = refused.expect_err("it must be refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(&format!("cannot connect to {address}")), "{error}");
    }
    let mut full = Reactor::builder().max_connections(0).build().expect("a reactor");
    let refused = full.connect(address, Token(0)).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::TableFull));
    rig.silent();
}

#[test]
fn p16_a_prepared_socket_of_another_family_is_refused_by_the_call() {
    let _watchdog = watchdog();
    let (_server, address) = listener();
    let mut rig = Rig::new();
    let mut domains = vec![Domain::IPV6];
    if cfg!(unix) {
        domains.push(Domain::UNIX);
    }
    for domain in domains {
        let Ok(socket) = Socket::new(domain, Type::STREAM, None) else {
            eprintln!("SKIPPED {domain:?}: this machine has no such sockets");
            continue;
        };
        let refused = rig.reactor.connect(Target::from(address).socket(socket.into()), Token(0));
        let error = refused.expect_err("it must be refused");
        assert_eq!(error.kind(), ErrorKind::InvalidHandle, "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot connect to {address}: ")), "{text}");
        assert!(text.ends_with("make the prepared socket for the family of the address"), "{text}");
        assert_eq!(std::io::Error::from(error).kind(), IoKind::InvalidInput);
    }
    rig.silent();
    rig.rests();
}

/// connect(2) on such a socket returns without a connection when the system remembers a cookie of the peer.
#[cfg(target_os = "linux")]
#[test]
fn p16_a_prepared_socket_that_connects_when_it_sends_is_refused_by_the_call() {
    let _watchdog = watchdog();
    let (_server, address) = listener();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let (on, len) = (1_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the socket is open, and the value readable for `len` bytes.
    let set = unsafe {
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            (&raw const on).cast(),
            len,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    let mut rig = Rig::new();
    let refused = rig.reactor.connect(Target::from(address).socket(socket.into()), Token(0));
    let error = refused.expect_err("it must be refused");
    assert_eq!(error.kind(), ErrorKind::InvalidHandle, "{error}");
    assert!(error.to_string().contains("TCP_FASTOPEN_CONNECT"), "{error}");
    rig.silent();
    rig.rests();
}

#[test]
fn p14_a_reactor_is_dropped_while_it_connects() {
    if !common::is_child() {
        return common::in_child();
    }
    let _watchdog = watchdog();
    let (_server, address, _fill) = full_listener();
    let mut before = None;
    // The first time, the system may open handles that it keeps.
    for waits in [true, false, true] {
        let mut rig = Rig::new();
        for _ in 0..10 {
            let conn = rig.reactor.connect(address, Token(0)).expect("it begins");
            rig.reactor.send(conn, b"never").expect("it is queued");
        }
        if waits {
            rig.silent();
        }
        drop(rig);
        let now = common::handle_count();
        assert_eq!(*before.get_or_insert(now), now);
    }
}

/// Each connects, says its number and hears it again; the other end is in the same reactor.
#[test]
fn thousands_connect_in_parallel() {
    let _watchdog = watchdog();
    let count: usize = if WINE { 500 } else { 5_000 };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(4_096).expect("listen");
    let address = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let mut rig = Rig::new();
    rig.reactor.listen(socket.into(), Token(usize::MAX)).map_err(|error| error.error).expect("listen");
    for number in 0..count {
        let conn = rig.reactor.connect(address, Token(number)).expect("it begins");
        rig.reactor.send(conn, &(number as u32).to_be_bytes()).expect("it is queued");
    }
    let (mut connected, mut echoed, mut ended) = (0, 0, 0);
    rig.until("all echoes", |reactor, event| {
        match event {
            Event::Accepted { stream, .. } => drop(reactor.add(stream, Token(usize::MAX)).expect("add")),
            Event::Connected { .. } => connected += 1,
            Event::Received { conn, token: Token(usize::MAX), data, .. } => {
                reactor.send(conn, data).expect("send");
            }
            Event::Received { conn, token: Token(number), data, .. } => {
                assert_eq!(data, (number as u32).to_be_bytes());
                echoed += 1;
                reactor.remove(conn);
            }
            Event::EndOfStream { conn, .. } => drop(reactor.close(conn)),
            Event::Closed { token: Token(usize::MAX), .. } => ended += 1,
            other => panic!("{other:?}"),
        }
        ended == count
    });
    assert_eq!((connected, echoed), (count, count));
    assert_eq!(rig.reactor.stats().connections, 0);
}

#[cfg(target_os = "linux")]
mod unix_sockets {
    use super::*;
    use dolmen::Address;
    use socket2::SockAddr;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("dolmen-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn connects_to_a_unix_socket() {
        let _watchdog = watchdog();
        let folder = folder("connect");
        let path = folder.join("socket");
        let server = UnixListener::bind(&path).expect("bind");
        let mut rig = Rig::new();
        let target = Target::unix(&path).expect("a short path");
        let conn = rig.reactor.connect(target, Token(0)).expect("it begins");
        rig.reactor.send(conn, b"hello").expect("it is queued");
        rig.until("the connection", |_, event| {
            let Event::Connected { peer, local, .. } = event else { panic!("{event:?}") };
            assert_eq!((peer.to_string(), local.ip()), (path.display().to_string(), None));
            true
        });
        // Not of the type that these return; and the options are TCP's.
        let reactor = &mut rig.reactor;
        let minute = Some(Duration::from_secs(60));
        for refused in [
            reactor.peer_addr(conn).map(drop),
            reactor.local_addr(conn).map(drop),
            reactor.set_nodelay(conn, true),
            reactor.set_keepalive(conn, minute),
        ] {
            assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Os));
        }
        rig.reactor.flush();
        let (mut peer, _) = server.accept().expect("accept");
        peer.read_exact(&mut [0; 5]).expect("read");
        peer.write_all(b"welcome").expect("write");
        assert_eq!(rig.receive(conn, 7), b"welcome");

        let missing = Target::unix(folder.join("missing")).expect("a short path");
        let conn = rig.reactor.connect(missing, Token(0)).expect("it begins");
        assert_eq!(failure_of(&mut rig, conn), IoKind::NotFound);
        std::fs::remove_dir_all(&folder).expect("remove");
    }

    /// Connects over a socket that was bound to `own`, and returns what the reactor reports as its own address.
    fn own_address(rig: &mut Rig, path: &std::path::Path, own: Option<&SockAddr>) -> UnixAddr {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        if let Some(own) = own {
            socket.bind(own).expect("bind");
        }
        let target = Target::unix(path).expect("a short path").socket(socket.into());
        rig.reactor.connect(target, Token(0)).expect("it begins");
        let mut found = None;
        rig.until("the connection", |_, event| {
            let Event::Connected { local, peer, .. } = event else { panic!("{event:?}") };
            assert_eq!(peer.to_string(), path.display().to_string());
            let Address::Unix(local) = local else { panic!("{local:?}") };
            assert_eq!(Address::Unix(local.clone()).to_string().contains("unnamed"), local.is_unnamed());
            found = Some(local);
            true
        });
        *found.expect("it was reported")
    }

    #[test]
    fn the_addresses_of_unix_sockets_are_told_apart() {
        let _watchdog = watchdog();
        let folder = folder("addresses");
        let path = folder.join("socket");
        let _server = UnixListener::bind(&path).expect("bind");
        let mut rig = Rig::new();
        let own = own_address(&mut rig, &path, None);
        assert!(own.is_unnamed() && own.as_abstract_name().is_none(), "{own:?}");
        let name = format!("dolmen-{}", std::process::id());
        let bound = SockAddr::unix(format!("\0{name}")).expect("a short name");
        let own = own_address(&mut rig, &path, Some(&bound));
        assert_eq!(own.as_abstract_name(), Some(name.as_bytes()));
        assert!(!own.is_unnamed());
        // The longest path.
        let longest = folder.join("x".repeat(106 - folder.as_os_str().len()));
        let bound = SockAddr::unix(&longest).expect("it fits");
        let own = own_address(&mut rig, &path, Some(&bound));
        assert_eq!(own.as_pathname(), Some(longest.as_path()));
        std::fs::remove_dir_all(&folder).expect("remove");
    }

    fn failure_of(rig: &mut Rig, conn: ConnId) -> IoKind {
        let seen = rig.seen_until("the end", |seen| matches!(seen, Seen::Closed(of, _) if *of == conn));
        let Some(Seen::Closed(_, reason)) = seen.last() else { panic!("{seen:?}") };
        reason.to_io().expect("a failure").kind()
    }

    /// The system reports a full backlog with EAGAIN, and never when it has room.
    #[test]
    fn hc59_a_unix_socket_with_a_full_backlog_is_tried_again() {
        let _watchdog = watchdog();
        let folder = folder("backlog");
        let path = folder.join("socket");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        socket.bind(&socket2::SockAddr::unix(&path).expect("a short path")).expect("bind");
        socket.listen(0).expect("listen");
        let mut rig = Rig::new();
        let connect = |rig: &mut Rig| {
            rig.reactor.connect(Target::unix(&path).expect("a short path"), Token(0)).expect("it begins")
        };
        let first = connect(&mut rig);
        rig.seen_until("the first", |seen| *seen == Seen::Connected(first));
        let second = connect(&mut rig);
        rig.silent();
        socket.accept().expect("accept");
        rig.seen_until("the second", |seen| *seen == Seen::Connected(second));

        let third = connect(&mut rig);
        rig.silent();
        assert!(rig.reactor.remove(third));
        rig.silent();
        std::fs::remove_dir_all(&folder).expect("remove");
    }
}

#[test]
fn a_deadline_in_the_far_future_is_none() {
    let _watchdog = watchdog();
    let (_server, address) = listener();
    let mut rig = Rig::new();
    let conn =
        rig.reactor.connect(Target::from(address).timeout(Duration::MAX), Token(0)).expect("it begins");
    rig.seen_until("the connection", |seen| *seen == Seen::Connected(conn));
    assert!(DEADLINE < Duration::MAX);
}
