//! Promise 16: errors name their cause: the action, the source, and the system's error.

mod common;

use std::error::Error as _;
use std::io;
use std::mem::forget;
use std::net::{TcpListener, TcpStream};

use common::{Rig, Signal, listener, pair, watchdog};
use dolmen::{CloseReason, Error, ErrorKind, Event, Reactor, Token};

/// The parts that a message must have.
#[track_caller]
fn check(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for part in parts.iter().copied().chain([kind.to_string().as_str()]) {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
    if let Some(os) = error.os_error() {
        assert!(os.raw_os_error().is_some(), "{text}");
        assert!(text.contains(&os.to_string()), "{text:?} leaves out what the system said");
    }
    assert_eq!(error.source().is_some(), error.os_error().is_some());
}

/// Another stream of the same number, which must not be dropped.
fn same_stream(stream: &TcpStream) -> TcpStream {
    #[cfg(unix)]
    // SAFETY: the number is that of an open socket, and the caller forgets the second owner.
    return unsafe { std::os::fd::FromRawFd::from_raw_fd(std::os::fd::AsRawFd::as_raw_fd(stream)) };
    #[cfg(windows)]
    // SAFETY: as above.
    return unsafe {
        std::os::windows::io::FromRawSocket::from_raw_socket(
            std::os::windows::io::AsRawSocket::as_raw_socket(stream),
        )
    };
}

fn same_listener(listener: &TcpListener) -> TcpListener {
    #[cfg(unix)]
    // SAFETY: the number is that of an open socket, and the caller forgets the second owner.
    return unsafe { std::os::fd::FromRawFd::from_raw_fd(std::os::fd::AsRawFd::as_raw_fd(listener)) };
    #[cfg(windows)]
    // SAFETY: as above.
    return unsafe {
        std::os::windows::io::FromRawSocket::from_raw_socket(
            std::os::windows::io::AsRawSocket::as_raw_socket(listener),
        )
    };
}

#[test]
fn p16_the_same_stream_twice_is_already_registered() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, mut peer) = pair();
    let again = same_stream(&ours);
    let conn = rig.reactor.add(ours, Token(0)).expect("add");
    let refused = rig.reactor.add(again, Token(1)).expect_err("twice");
    check(&refused.error, ErrorKind::AlreadyRegistered, &["add a connection"]);
    assert!(refused.error.os_error().is_some());
    assert_eq!(refused.to_string(), refused.error.to_string());
    assert_eq!(format!("{refused:?}"), format!("{refused} [AlreadyRegistered]"));
    forget(refused.source);
    // The first registration is unchanged.
    assert_eq!(rig.reactor.stats().connections, 1);
    io::Write::write_all(&mut peer, b"look").expect("write");
    assert_eq!(rig.receive(conn, 4), b"look");
}

#[test]
fn p16_the_same_listener_twice_is_already_registered() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    let again = same_listener(&listening);
    let id = rig.reactor.listen(listening, Token(0)).expect("listen");
    let refused = rig.reactor.listen(again, Token(1)).expect_err("twice");
    check(&refused.error, ErrorKind::AlreadyRegistered, &["add a listener"]);
    forget(refused.source);
    assert_eq!(rig.reactor.stats().listeners, 1);
    let client = TcpStream::connect(address).expect("connect");
    let seen = rig.seen_until("accepted", |_| true);
    assert_eq!(seen, [common::Seen::Accepted(id, client.local_addr().expect("address"))]);
}

/// An object that is not a socket, in the type of a socket.
#[cfg(unix)]
fn no_socket() -> std::os::fd::OwnedFd {
    std::fs::File::open("/proc/self/exe").expect("a file").into()
}

#[cfg(unix)]
#[test]
fn p16_what_is_no_socket_is_an_invalid_handle() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let refused = rig.reactor.add(TcpStream::from(no_socket()), Token(0)).expect_err("no socket");
    check(&refused.error, ErrorKind::InvalidHandle, &["add a connection"]);
    let refused = rig.reactor.listen(TcpListener::from(no_socket()), Token(0)).expect_err("no socket");
    check(&refused.error, ErrorKind::InvalidHandle, &["add a listener"]);
    let refused =
        rig.reactor.listen_readiness(TcpListener::from(no_socket()), Token(0)).expect_err("no socket");
    check(&refused.error, ErrorKind::InvalidHandle, &["watch a listener"]);
    let refused = rig.reactor.watch(no_socket(), Token(0)).expect_err("a regular file is always readable");
    check(&refused, ErrorKind::InvalidHandle, &["watch a handle"]);
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.listeners, stats.watches, stats.operations_in_flight), (0, 0, 0, 0));
    rig.silent();
}

#[cfg(windows)]
#[test]
fn p16_what_is_no_socket_is_an_invalid_handle() {
    use std::os::windows::io::{BorrowedHandle, FromRawSocket, IntoRawSocket};

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    // A number that no handle has. Never dropped: closing a number that is not an open handle is a bug.
    let nowhere = 0x7FFF_FFF0;
    // SAFETY: it is deliberately not an open socket; it is taken back before it is dropped.
    let refused =
        rig.reactor.add(unsafe { TcpStream::from_raw_socket(nowhere) }, Token(0)).expect_err("no socket");
    check(&refused.error, ErrorKind::InvalidHandle, &["add a connection"]);
    assert_eq!(refused.source.into_raw_socket(), nowhere);
    // SAFETY: as above.
    let bad = unsafe { TcpListener::from_raw_socket(nowhere) };
    let refused = rig.reactor.listen(bad, Token(0)).expect_err("no socket");
    check(&refused.error, ErrorKind::InvalidHandle, &["add a listener"]);
    assert_eq!(refused.source.into_raw_socket(), nowhere);
    // SAFETY: as above.
    let bad = unsafe { TcpListener::from_raw_socket(nowhere) };
    let refused = rig.reactor.listen_readiness(bad, Token(0)).expect_err("no socket");
    check(&refused.error, ErrorKind::InvalidHandle, &["watch a listener"]);
    assert_eq!(refused.source.into_raw_socket(), nowhere);
    // SAFETY: as above; it is only borrowed.
    let bad = unsafe { BorrowedHandle::borrow_raw(nowhere as _) };
    let refused = rig.reactor.watch(bad, Token(0)).expect_err("no handle");
    check(&refused, ErrorKind::InvalidHandle, &["duplicate a handle"]);
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.listeners, stats.watches, stats.operations_in_flight), (0, 0, 0, 0));
    rig.silent();
}

/// Taken as streams, datagrams corrupt memory on Windows (see hc40 in `kernel/iocp`); on Linux they end in odd errors.
/// SOCK_RAW, on all systems.
const RAW: i32 = 3;

/// A receive detects whether a stream is connected.
#[test]
fn p16_a_stream_that_is_not_connected_ends() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    let conn = rig.reactor.add(stream.into(), Token(7)).expect("add");
    rig.until("its end", |_, event| match event {
        Event::Closed { conn: of, token: Token(7), reason: CloseReason::Failed { .. }, .. } => of == conn,
        other => panic!("{other:?}"),
    });
    rig.silent();
}

#[test]
fn p16_hc40_a_socket_of_another_sort_is_an_invalid_handle_and_comes_back() {
    fn datagrams() -> socket2::Socket {
        std::net::UdpSocket::bind("127.0.0.1:0").expect("bind").into()
    }

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, mut peer) = pair();
    let (listening, address) = listener();
    let kind = ErrorKind::InvalidHandle;

    let refused = rig.reactor.add(datagrams().into(), Token(0)).expect_err("datagrams");
    check(&refused.error, kind, &["add a connection"]);
    assert!(refused.error.os_error().is_some());
    // Still open.
    assert!(refused.source.local_addr().expect("address").port() > 0);
    let refused = rig.reactor.listen(datagrams().into(), Token(0)).expect_err("datagrams");
    check(&refused.error, kind, &["add a listener"]);
    let refused = rig.reactor.listen_readiness(datagrams().into(), Token(0)).expect_err("datagrams");
    check(&refused.error, kind, &["watch a listener"]);

    // A socket with the protocol of TCP is not yet a stream. Making one takes a privilege; a process without it cannot
    // add one either.
    if let Ok(raw) =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::from(RAW), Some(socket2::Protocol::TCP))
    {
        let refused = rig.reactor.add(raw.into(), Token(0)).expect_err("a raw socket");
        check(&refused.error, kind, &["add a connection"]);
    }

    // A listener passed as a stream, and a stream passed as a listener. Neither is changed by it.
    let refused = rig.reactor.add(socket2::Socket::from(listening).into(), Token(0)).expect_err("a listener");
    check(&refused.error, kind, &["add a connection"]);
    let listening = TcpListener::from(socket2::Socket::from(refused.source));
    let refused = rig.reactor.listen(socket2::Socket::from(ours).into(), Token(0)).expect_err("a stream");
    check(&refused.error, kind, &["add a listener"]);
    let refused = rig.reactor.listen_readiness(refused.source, Token(0)).expect_err("a stream");
    check(&refused.error, kind, &["watch a listener"]);
    let ours = TcpStream::from(socket2::Socket::from(refused.source));
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.listeners, stats.watches, stats.operations_in_flight), (0, 0, 0, 0));

    let id = rig.reactor.listen(listening, Token(0)).expect("listen");
    let client = TcpStream::connect(address).expect("connect");
    let seen = rig.seen_until("accepted", |_| true);
    assert_eq!(seen, [common::Seen::Accepted(id, client.local_addr().expect("address"))]);
    let conn = rig.reactor.add(ours, Token(1)).expect("add");
    io::Write::write_all(&mut peer, b"look").expect("write");
    assert_eq!(rig.receive(conn, 4), b"look");
}

#[test]
fn p16_a_full_table_gives_the_stream_back() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().max_connections(2));
    let (first, _one) = rig.connect(Token(0));
    let (_second, _two) = rig.connect(Token(1));
    let (ours, mut peer) = pair();
    let refused = rig.reactor.add(ours, Token(2)).expect_err("full");
    check(&refused.error, ErrorKind::TableFull, &["add a connection", "limit is 2"]);
    // Still open, and accepted once there is room.
    assert!(rig.reactor.remove(first));
    rig.until_stats("room", |stats| stats.connections == 1);
    let conn = rig.reactor.add(refused.source, Token(2)).expect("now there is room");
    io::Write::write_all(&mut peer, b"look").expect("write");
    assert_eq!(rig.receive(conn, 4), b"look");
}

#[test]
fn p16_a_send_says_why_it_was_refused_and_for_whom() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(1_000));
    let (conn, _peer) = rig.connect(Token(0));
    let name = conn.to_string();
    let name = ["send to connection", name.as_str()];
    check(&rig.reactor.send(conn, &[0; 1_001]).expect_err("too large"), ErrorKind::TooLarge, &name);
    rig.reactor.send(conn, &[0; 600]).expect("send");
    check(&rig.reactor.send(conn, &[0; 600]).expect_err("full"), ErrorKind::QueueFull, &name);
    rig.reactor.shutdown_write(conn).expect("shut down");
    check(&rig.reactor.send(conn, &[0; 1]).expect_err("shut"), ErrorKind::SendClosed, &name);
    assert!(rig.reactor.remove(conn));
    check(&rig.reactor.send(conn, &[0; 1]).expect_err("gone"), ErrorKind::NotFound, &name);
}

#[test]
fn p16_verbs_on_what_is_gone_say_so() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, _peer) = rig.connect(Token(0));
    let signal = Signal::new();
    let watch = signal.watch(&mut rig.reactor, Token(0));
    // `accept` finds no listener under the id of a watch that is not one.
    check(
        &rig.reactor.accept(watch).expect_err("no listener"),
        ErrorKind::NotFound,
        &["accept from readiness listener", &watch.to_string()],
    );
    assert!(rig.reactor.remove(conn));
    let name = conn.to_string();
    for (action, result) in [
        ("pause", rig.reactor.pause(conn)),
        ("resume", rig.reactor.resume(conn)),
        ("shut down", rig.reactor.shutdown_write(conn)),
        ("close", rig.reactor.close(conn)),
        ("abort", rig.reactor.abort(conn)),
        ("look up", rig.reactor.queued_bytes(conn).map(drop)),
    ] {
        check(&result.expect_err("gone"), ErrorKind::NotFound, &[action, "connection", &name]);
    }
}

/// Every verb, in every state in which it refuses: the message has an action, an object and a cause, and no gaps.
#[test]
fn p16_every_message_has_an_action_an_object_and_a_cause() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(100).max_connections(3).post_capacity(1));
    let poster = rig.reactor.poster();
    let (removed, _removed_peer) = rig.connect(Token(0));
    let signal = Signal::new();
    let watch = signal.watch(&mut rig.reactor, Token(0));
    let (listening, _) = listener();
    let again = same_listener(&listening);
    let once_more = same_listener(&listening);
    let unwatched = rig.reactor.listen_readiness(listening, Token(0)).expect("watch a listener");
    let (closing, _closing_peer) = rig.connect(Token(0));
    let (shut, _shut_peer) = rig.connect(Token(0));
    assert!(rig.reactor.remove(removed));
    rig.reactor.close(closing).expect("close");
    let mut table: Vec<(&str, String, ErrorKind, Error)> = Vec::new();
    for (conn, is_removed) in [(removed, true), (closing, false)] {
        let reactor = &mut rig.reactor;
        let mut verbs = vec![
            ("send to", reactor.send(conn, b"?").err()),
            ("pause", reactor.pause(conn).err()),
            ("resume", reactor.resume(conn).err()),
            ("shut down", reactor.shutdown_write(conn).err()),
            ("close", reactor.close(conn).err()),
        ];
        // The caller can still look up and abort a closing connection.
        if is_removed {
            verbs.push(("look up", reactor.queued_bytes(conn).err()));
            verbs.push(("abort", reactor.abort(conn).err()));
        }
        for (action, error) in verbs {
            let object = format!("{action} connection {conn}");
            table.push((action, object, ErrorKind::NotFound, error.expect(action)));
        }
    }
    let object = format!("send to connection {shut}");
    let error = rig.reactor.send(shut, &[0; 101]).expect_err("too large");
    table.push(("send to", object.clone(), ErrorKind::TooLarge, error));
    rig.reactor.send(shut, &[0; 60]).expect("send");
    let error = rig.reactor.send(shut, &[0; 60]).expect_err("full");
    table.push(("send to", object.clone(), ErrorKind::QueueFull, error));
    rig.reactor.shutdown_write(shut).expect("shut down");
    let error = rig.reactor.send(shut, b"?").expect_err("shut");
    table.push(("send to", object, ErrorKind::SendClosed, error));
    let full = rig.reactor.add(pair().0, Token(0)).expect_err("full");
    table.push(("add", "add a connection".into(), ErrorKind::TableFull, full.error));
    let twice = rig.reactor.listen_readiness(again, Token(0)).expect_err("twice");
    table.push(("watch", "watch a listener".into(), ErrorKind::AlreadyRegistered, twice.error));
    let twice_as_another = rig.reactor.listen(once_more, Token(0)).expect_err("twice");
    table.push(("add", "add a listener".into(), ErrorKind::AlreadyRegistered, twice_as_another.error));
    forget((twice.source, twice_as_another.source));
    let object = format!("accept from readiness listener {watch}");
    let error = rig.reactor.accept(watch).expect_err("not a listener");
    table.push(("accept", object, ErrorKind::NotFound, error));
    assert!(rig.reactor.remove_watch(unwatched));
    let object = format!("accept from readiness listener {unwatched}");
    let error = rig.reactor.accept(unwatched).expect_err("removed");
    table.push(("accept", object, ErrorKind::NotFound, error));
    let error = rig.reactor.console().expect_err("no console");
    table.push(("use", "use the console".into(), ErrorKind::NotFound, error));
    poster.post(0, Token(0)).expect("post");
    let posting = || "post to the reactor".to_owned();
    table.push(("post", posting(), ErrorKind::PostsFull, poster.post(0, Token(0)).expect_err("full")));
    let (sender, inbox) = rig.reactor.channel(2, Token(5));
    for value in 0..2 {
        sender.send(value).expect("send");
    }
    let sending = || "send to the inbox of Token(5)".to_owned();
    table.push(("send", sending(), ErrorKind::PostsFull, sender.send(0).expect_err("full").into()));
    drop(inbox);
    table.push(("send", sending(), ErrorKind::InboxGone, sender.send(0).expect_err("gone").into()));
    let error = rig.reactor.resolve("a\0b", 23, Token(6)).expect_err("no name");
    table.push(("resolve", r#"resolve "a\0b""#.into(), ErrorKind::InvalidName, error));
    let error = rig.reactor.connect_host("", 23, Token(6)).expect_err("no name");
    table.push(("connect", r#"connect to """#.into(), ErrorKind::InvalidName, error));
    for _ in 0..1_024 {
        rig.reactor.resolve("192.0.2.7", 23, Token(6)).expect("resolve");
    }
    let error = rig.reactor.resolve("localhost", 23, Token(6)).expect_err("full");
    table.push(("resolve", "resolve localhost".into(), ErrorKind::LookupsFull, error));
    let error = rig.reactor.lookup_name([127, 0, 0, 1].into(), Token(6)).expect_err("full");
    table.push(("look up", "look up the name of 127.0.0.1".into(), ErrorKind::LookupsFull, error));
    drop(rig);
    table.push(("send", sending(), ErrorKind::ReactorGone, sender.send(0).expect_err("gone").into()));
    table.push(("post", posting(), ErrorKind::ReactorGone, poster.post(0, Token(0)).expect_err("gone")));
    for (action, object, kind, error) in table {
        check(&error, kind, &[action]);
        let text = error.to_string();
        let (head, cause) = text.split_once(": ").unwrap_or_else(|| panic!("{text:?} has no cause"));
        assert!(head.starts_with(&format!("cannot {object}")), "{text:?} is not about {object:?}");
        assert!(cause.starts_with(&kind.to_string()), "{text:?} gives another cause than {kind}");
        let rest = cause.strip_prefix(&kind.to_string()).expect("it begins with the kind");
        let limit = match (kind, action) {
            (ErrorKind::QueueFull | ErrorKind::TooLarge, _) => Some(100),
            (ErrorKind::TableFull, _) => Some(3),
            (ErrorKind::PostsFull, "send") => Some(2),
            (ErrorKind::PostsFull, _) => Some(1),
            (ErrorKind::LookupsFull, _) => Some(1_024),
            _ => None,
        };
        let expected = limit.map(|limit| format!(" (the limit is {limit})"));
        assert_eq!(rest.starts_with(" (the limit is "), limit.is_some(), "{text:?}");
        assert!(rest.starts_with(&expected.unwrap_or_default()), "{text:?} has another limit than {limit:?}");
        let (_, advice) = rest.rsplit_once(": ").unwrap_or_else(|| panic!("{text:?} advises nothing"));
        assert!(advice.len() > 10, "{text:?} advises nothing");
        assert_eq!(format!("{error:?}"), format!("{text} [{kind:?}]"));
        let gaps = ["  ", " :", "()", "( ", " )", ": :"];
        assert!(gaps.iter().all(|gap| !text.contains(gap)) && text == text.trim(), "{text:?} has a gap");
    }
}

#[test]
fn p16_posts_say_why_they_were_refused() {
    let _watchdog = watchdog();
    let reactor = Reactor::builder().post_capacity(1).build().expect("a reactor");
    let poster = reactor.poster();
    poster.post(0, Token(0)).expect("post");
    check(&poster.post(0, Token(0)).expect_err("full"), ErrorKind::PostsFull, &["post to the reactor"]);
    drop(reactor);
    check(&poster.post(0, Token(0)).expect_err("gone"), ErrorKind::ReactorGone, &["post to the reactor"]);
}

#[test]
fn p16_an_error_becomes_an_io_error_of_its_kind() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().high_water_mark(10).max_connections(1).post_capacity(1));
    let poster = rig.reactor.poster();
    let (conn, _peer) = rig.connect(Token(0));
    let full = rig.reactor.add(pair().0, Token(0)).expect_err("full");
    rig.reactor.send(conn, &[0; 10]).expect("send");
    poster.post(0, Token(0)).expect("post");
    let mut errors = vec![
        (Error::from(full), io::ErrorKind::OutOfMemory),
        (rig.reactor.send(conn, &[0; 11]).expect_err("large"), io::ErrorKind::InvalidInput),
        (rig.reactor.send(conn, &[0; 1]).expect_err("full"), io::ErrorKind::WouldBlock),
        (poster.post(0, Token(0)).expect_err("full"), io::ErrorKind::WouldBlock),
    ];
    rig.reactor.shutdown_write(conn).expect("shut down");
    errors.push((rig.reactor.send(conn, &[0; 1]).expect_err("shut"), io::ErrorKind::BrokenPipe));
    assert!(rig.reactor.remove(conn));
    errors.push((rig.reactor.send(conn, &[0; 1]).expect_err("gone"), io::ErrorKind::NotFound));
    drop(rig);
    errors.push((poster.post(0, Token(0)).expect_err("gone"), io::ErrorKind::BrokenPipe));
    for (error, kind) in errors {
        let text = error.to_string();
        let error = io::Error::from(error);
        assert_eq!((error.kind(), error.to_string()), (kind, text));
    }
}

/// The peers of a listener are reported by their IP addresses, and a Unix socket's have none.
#[cfg(target_os = "linux")]
#[test]
fn p16_a_unix_listener_is_refused_and_keeps_its_clients() {
    use std::os::fd::OwnedFd;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let name = format!("dolmen-p16-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bind");
    let client = UnixStream::connect_addr(&address).expect("connect");
    let as_tcp = || TcpListener::from(OwnedFd::from(listener.try_clone().expect("clone")));
    for readiness in [false, true] {
        let refused = if readiness {
            rig.reactor.listen_readiness(as_tcp(), Token(0)).map(drop)
        } else {
            rig.reactor.listen(as_tcp(), Token(0)).map(drop)
        };
        assert_eq!(refused.expect_err("it is no IP listener").error.kind(), ErrorKind::InvalidHandle);
    }
    drop(rig);
    let (_accepted, _) = listener.accept().expect("the client waits");
    drop(client);
}
