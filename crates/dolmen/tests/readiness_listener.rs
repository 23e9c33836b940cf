//! `Reactor::listen_readiness` and `accept`: the reactor reports waiting connections, and the caller accepts them.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use common::{DEADLINE, Rig, Seen, listener, watchdog};
use dolmen::{ErrorKind, Token, WatchId};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
    stream
}

fn listening(rig: &mut Rig, token: Token) -> (WatchId, SocketAddr) {
    let (listening, address) = listener();
    (rig.reactor.listen_readiness(listening, token).expect("listen"), address)
}

fn of_many(count: usize) {
    let mut rig = Rig::new();
    let listeners: Vec<_> = (0..count).map(|n| listening(&mut rig, Token(n))).collect();
    assert_eq!(rig.reactor.stats().watches, count);
    rig.silent();
    // From the last to the first: a listener beyond some limit must be reported as well.
    for (watch, address) in listeners.iter().rev() {
        let client = connect(*address);
        assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(*watch)]);
        let (_stream, peer) = rig.reactor.accept(*watch).expect("accept").expect("a connection waits");
        assert_eq!(peer, client.local_addr().expect("address"));
        assert!(rig.reactor.accept(*watch).expect("accept").is_none(), "no other connection waits");
    }
    rig.silent();
    assert_eq!(rig.reactor.stats().accepted, count as u64);
}

#[test]
fn readiness_of_eight_listeners() {
    let _watchdog = watchdog();
    of_many(8);
}

#[test]
fn readiness_hc20_of_more_listeners_than_a_wait_function_takes() {
    let _watchdog = watchdog();
    of_many(200);
}

#[test]
fn readiness_is_reported_until_no_connection_waits() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (watch, address) = listening(&mut rig, Token(0));
    assert!(rig.reactor.accept(watch).expect("accept").is_none(), "no connection waits yet");
    let clients: Vec<TcpStream> = (0..3).map(|_| connect(address)).collect();
    for left in (1..=3).rev() {
        // Repeatedly, while the caller does not accept.
        for _ in 0..3 {
            assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)], "{left} are waiting");
        }
        let accepted = rig.reactor.accept(watch).expect("accept");
        drop(accepted.expect("a connection waits"));
    }
    // At most one report may concern a connection that had been accepted by the time of the wait.
    let late = rig.seen_for(common::SILENCE);
    assert!(late.len() <= 1, "{late:?}");
    assert!(rig.reactor.accept(watch).expect("accept").is_none());
    drop(clients);
}

#[test]
fn readiness_is_reported_for_connections_made_before_the_listener_was_registered() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (waiting, address) = listener();
    let _client = connect(address);
    let watch = rig.reactor.listen_readiness(waiting, Token(0)).expect("listen");
    assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
}

#[test]
fn readiness_hc08_an_accepted_stream_inherits_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (watch, address) = listening(&mut rig, Token(0));
    let mut client = connect(address);
    rig.seen_until("readiness", |_| true);
    let (mut stream, _) = rig.reactor.accept(watch).expect("accept").expect("a connection waits");
    // Neither the non-blocking mode …
    common::assert_blocking(&mut stream);
    rig.seen_for(common::SILENCE);
    // … nor the listener's event, which a client's bytes would set.
    client.write_all(b"first").expect("write");
    rig.silent();
    let mut read = [0; 5];
    stream.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"first");
    stream.set_nonblocking(true).expect("its mode is its own");
    stream.set_nonblocking(false).expect("its mode is its own");

    let conn = rig.reactor.add(stream, Token(1)).expect("add");
    client.write_all(b"second").expect("write");
    assert_eq!(rig.receive(conn, 6), b"second");
    rig.reactor.send(conn, b"third").expect("send");
    rig.reactor.flush();
    client.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"third");
    rig.silent();
}

#[test]
fn readiness_ends_with_the_removal_of_the_watch() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (watch, address) = listening(&mut rig, Token(0));
    let (other, _) = listening(&mut rig, Token(1));
    let mut client = connect(address);
    rig.seen_until("readiness", |_| true);
    assert!(rig.reactor.remove_watch(watch));
    assert!(!rig.reactor.remove_watch(watch));
    assert_eq!(rig.reactor.accept(watch).expect_err("it is gone").kind(), ErrorKind::NotFound);
    rig.silent();
    assert_eq!(rig.reactor.stats().watches, 1);
    // The port is closed, and the waiting clients see it.
    assert!(TcpStream::connect(address).is_err());
    assert!(!matches!(client.read(&mut [0; 1]), Ok(1..)));
    assert!(rig.reactor.accept(other).expect("the other one is there").is_none());
}

/// Another listener of the same number, which must not be dropped.
fn same(listener: &TcpListener) -> TcpListener {
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
fn readiness_of_the_same_listener_twice_is_already_registered() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    let again = same(&listening);
    let watch = rig.reactor.listen_readiness(listening, Token(0)).expect("listen");
    let refused = rig.reactor.listen_readiness(again, Token(1)).expect_err("twice");
    assert_eq!(refused.error.kind(), ErrorKind::AlreadyRegistered, "{refused}");
    std::mem::forget(refused.source);
    let _client = connect(address);
    assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
}

/// A child process that has a connection keeps it open after we have closed it.
#[cfg(windows)]
#[test]
fn accepted_streams_are_not_inherited_by_child_processes() {
    use std::os::windows::io::AsRawSocket;
    use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE_FLAG_INHERIT};

    fn inherited(stream: &TcpStream) -> bool {
        let mut flags = 0;
        // SAFETY: the handle is open and `flags` writable.
        let known = unsafe { GetHandleInformation(stream.as_raw_socket() as _, &mut flags) };
        assert_ne!(known, 0, "{}", std::io::Error::last_os_error());
        flags & HANDLE_FLAG_INHERIT != 0
    }

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    let watch = rig.reactor.listen_readiness(listening, Token(0)).expect("listen");
    let _client = connect(address);
    rig.seen_until("readiness", |_| true);
    let (stream, _) = rig.reactor.accept(watch).expect("accept").expect("a connection waits");
    assert!(!inherited(&stream), "accepted by the caller");
    let (listening, address) = listener();
    rig.reactor.listen(listening, Token(1)).expect("listen");
    let _client = connect(address);
    let mut checked = false;
    rig.until("accepted", |_, event| {
        if let dolmen::Event::Accepted { stream, .. } = event {
            assert!(!inherited(&stream), "accepted by the reactor");
            checked = true;
        }
        checked
    });
}
