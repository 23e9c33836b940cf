//! Hard cases in which the operating system decides, as far as no promise's test covers them already;
//! `docs/hard-cases.md` lists all of them.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{Random, Rig, Seen, finish, watchdog};
use dolmen::{CloseReason, ConnId, Reactor, Token};

/// With receives that have a lent buffer, and with receives that have none.
fn both_pools(scenario: impl Fn(Rig)) {
    for pool_size in [256, 0] {
        scenario(Rig::with(&Reactor::builder().pool_size(pool_size)));
    }
}

#[test]
fn hc01_what_was_pending_at_a_removal_does_not_reach_the_next_ones_memory() {
    let _watchdog = watchdog();
    both_pools(|mut rig| {
        let mut random = Random::new(1);
        for _ in 0..if cfg!(windows) { 20 } else { 100 } {
            let (conn, mut peer) = rig.connect(Token(0));
            rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
            assert!(rig.reactor.stats().operations_in_flight >= 1, "a receive is pending");
            assert!(rig.reactor.remove(conn));
            // The peer may have received the close already; then its write fails.
            let _ = peer.write_all(&[b'x'; 4096]);
            let (newcomer, mut other) = rig.connect(Token(1));
            let line = random.bytes(4096);
            other.write_all(&line).expect("write");
            assert_eq!(rig.receive(newcomer, line.len()), line);
            assert!(rig.reactor.remove(newcomer));
        }
        rig.until_stats("the end of all", |stats| stats.connections == 0 && stats.buffers_out == 0);
    });
}

/// `CancelIo` cancels the operations of the calling thread only, and returns success. Only `CancelIoEx` is right.
#[test]
fn hc03_no_source_calls_the_cancel_that_is_for_one_thread_only() {
    fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push((path.display().to_string(), text));
            }
        }
    }
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut right = 0;
    for (name, text) in files {
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().expect("at least one part");
            for (at, call) in code.match_indices("CancelIo") {
                let rest = &code[at + call.len()..];
                right += usize::from(rest.starts_with("Ex"));
                let whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                assert!(
                    !whole,
                    "{name}:{number}: CancelIo cancels the operations of the calling thread only"
                );
            }
        }
    }
    assert!(right >= 2, "an import and a call of CancelIoEx were to be found");
}

#[test]
fn hc03_a_removal_ends_what_is_pending_although_the_peer_is_silent() {
    let _watchdog = watchdog();
    both_pools(|mut rig| {
        let conns: Vec<(ConnId, TcpStream)> = (0..20).map(|n| rig.connect(Token(n))).collect();
        let (listening, _) = common::listener();
        let listener = rig.reactor.listen(listening, Token(0)).expect("listen");
        rig.silent();
        assert!(rig.reactor.stats().operations_in_flight > 20);
        for (conn, _) in &conns {
            assert!(rig.reactor.remove(*conn));
        }
        assert!(rig.reactor.remove_listener(listener));
        rig.until_stats("the end of all operations", |stats| {
            (stats.connections, stats.listeners, stats.operations_in_flight) == (0, 0, 0)
        });
    });
}

/// A status that is queried from the socket comes too late: the socket is closed, and the result is "not a socket".
#[test]
fn hc06_the_end_of_a_connection_with_a_receive_pending_has_its_own_reason() {
    let _watchdog = watchdog();
    both_pools(|mut rig| {
        for _ in 0..10 {
            let (aborted, _peer) = rig.connect(Token(0));
            let (closed, other) = rig.connect(Token(1));
            let (reset, third) = rig.connect(Token(2));
            rig.silent();
            rig.reactor.abort(aborted).expect("abort");
            rig.reactor.close(closed).expect("close");
            finish(&other);
            common::reset(third);
            let mut reasons = Vec::new();
            rig.until("three ends", |_, event| {
                match Seen::from(event) {
                    Seen::Closed(conn, reason) => reasons.push((conn, reason)),
                    other => panic!("{other:?}"),
                }
                reasons.len() == 3
            });
            for (conn, reason) in [
                (aborted, CloseReason::Aborted),
                (closed, CloseReason::Finished),
                (reset, CloseReason::Reset),
            ] {
                assert!(reasons.contains(&(conn, reason)), "{reasons:?}");
            }
        }
    });
}

#[test]
fn hc16_a_shutdown_leaves_the_receive_alone_and_a_removal_ends_it() {
    let _watchdog = watchdog();
    both_pools(|mut rig| {
        let (conn, mut peer) = rig.connect(Token(0));
        rig.silent();
        rig.reactor.shutdown_write(conn).expect("shutdown");
        rig.silent();
        assert_eq!(rig.reactor.stats().operations_in_flight, 1, "the receive goes on");
        peer.write_all(b"still talking").expect("write");
        assert_eq!(rig.receive(conn, 13), b"still talking");
        rig.silent();
        assert_eq!(rig.reactor.stats().operations_in_flight, 1, "the next receive");
        assert!(rig.reactor.remove(conn));
        rig.until_stats("the end of the receive", |stats| {
            (stats.connections, stats.operations_in_flight) == (0, 0)
        });
    });
}

#[test]
fn hc37_as_many_connections_as_no_table_of_4096_holds() {
    let _watchdog = watchdog();
    // Wine takes a few milliseconds for a connection. The code above the system is the same there, and on the simulated
    // kernel the test has 5,000 too.
    let count = if cfg!(windows) { 1_500 } else { 5_000 };
    #[cfg(target_os = "linux")]
    allow_descriptors(2 * count as u64 + 200);
    let mut rig = Rig::with(&Reactor::builder().max_connections(count));
    let mut peers: Vec<(ConnId, TcpStream)> = (0..count).map(|n| rig.connect(Token(n))).collect();
    rig.silent();
    let stats = rig.reactor.stats();
    assert_eq!((stats.connections, stats.operations_in_flight), (count, count));
    let refused = rig.reactor.add(common::pair().0, Token(0));
    assert_eq!(refused.expect_err("one too many").error.kind(), dolmen::ErrorKind::TableFull);
    // From the last to the first, so that the connections beyond some limit come first.
    for (conn, peer) in peers.iter_mut().rev().step_by(61) {
        peer.write_all(b"here").expect("write");
        assert_eq!(rig.receive(*conn, 4), b"here");
    }
    drop(peers);
    let mut ended = 0;
    rig.until("the ends of all", |reactor, event| {
        if let dolmen::Event::EndOfStream { conn, .. } = event {
            assert!(reactor.remove(conn));
            ended += 1;
        }
        ended == count
    });
}

/// Both ends of the connections are in this process.
#[cfg(target_os = "linux")]
fn allow_descriptors(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return;
    }
    let allowed = limit.maximum.is_none_or(|maximum| maximum >= count);
    assert!(allowed, "this test needs {count} file descriptors and may have {limit:?}; see `ulimit -Hn`");
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit }).expect("setrlimit");
}

/// An overlapped call of the caller on a socket completes to the reactor's port, with the reactor's key.
#[cfg(windows)]
#[test]
fn hc41_an_overlapped_call_of_the_callers_own_on_a_registered_socket_is_no_operation() {
    use std::io::Read;
    use std::os::windows::io::AsRawSocket;
    use std::ptr::null_mut;
    use windows_sys::Win32::Networking::WinSock::{SOCKET, WSABUF, WSARecv, WSASend};
    use windows_sys::Win32::System::IO::OVERLAPPED;

    /// Behind the OVERLAPPED lie bytes that would be a jump to an invalid address if they were taken for an operation.
    #[repr(C)]
    struct Call {
        overlapped: OVERLAPPED,
        around: [u64; 32],
        bytes: [u8; 16],
    }

    let _watchdog = watchdog();
    for (skip, pool_size) in [(true, 256), (false, 256), (true, 0), (false, 0)] {
        let mut rig = Rig::with(&Reactor::builder().skip_on_success(skip).pool_size(pool_size));
        let (ours, mut peer) = common::pair();
        let duplicate = ours.try_clone().expect("duplicate");
        let socket = duplicate.as_raw_socket() as SOCKET;
        let conn = rig.reactor.add(ours, Token(0)).expect("add");
        let call = || {
            let (overlapped, around) = (OVERLAPPED::default(), [u64::MAX / 3 * 2; 32]);
            Box::into_raw(Box::new(Call { overlapped, around, bytes: *b"a line of my own" }))
        };
        // One operation that is pending: the caller gets the first bytes. And one that completes immediately.
        let (receive, send) = (call(), call());
        // SAFETY: both stay in place until their completions have arrived, for which the test waits.
        unsafe {
            let buffer = WSABUF { len: 4, buf: (&raw mut (*receive).bytes).cast() };
            WSARecv(socket, &buffer, 1, null_mut(), &mut 0, (&raw mut (*receive).overlapped).cast(), None);
            let buffer = WSABUF { len: 16, buf: (&raw mut (*send).bytes).cast() };
            WSASend(socket, &buffer, 1, null_mut(), 0, (&raw mut (*send).overlapped).cast(), None);
        }
        rig.silent();
        peer.write_all(b"mine").expect("write");
        // Where immediate success sends no packet, the send has sent none.
        let strays = 1 + u64::from(!skip);
        rig.until_stats("the caller's own completions", |stats| stats.unknown_completions == strays);
        // SAFETY: both operations have completed.
        let received = unsafe {
            drop(Box::from_raw(send));
            Box::from_raw(receive).bytes
        };
        assert_eq!(&received[..4], b"mine");
        let mut line = [0; 16];
        peer.read_exact(&mut line).expect("read");
        assert_eq!(&line, b"a line of my own");
        // The connection is not affected.
        peer.write_all(b"yours").expect("write");
        assert_eq!(rig.receive(conn, 5), b"yours");
        rig.reactor.send(conn, b"and back").expect("send");
        rig.reactor.flush();
        peer.read_exact(&mut line[..8]).expect("read");
        assert_eq!(&line[..8], b"and back");
        assert_eq!(rig.reactor.stats().unknown_completions, strays);
    }
}
