//! Connections to hosts: a look-up, and its addresses in turn.

mod common;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::{Rig, Seen, listener, watchdog};
use dolmen::internal::Resolver;
use dolmen::{CloseReason, ErrorKind, Event, Reactor, Token};

/// How long one address is tried alone.
const ATTEMPT: Duration = Duration::from_millis(250);

/// One host, whose addresses are these. "hangs" is another one, until it is released.
#[derive(Default)]
struct Host {
    addresses: Vec<SocketAddr>,
    released: Mutex<bool>,
    changed: Condvar,
}

impl Host {
    fn new(addresses: Vec<SocketAddr>) -> Arc<Host> {
        Arc::new(Host { addresses, ..Host::default() })
    }

    fn release(&self) {
        *self.released.lock().expect("the lock") = true;
        self.changed.notify_all();
    }

    fn rig(self: &Arc<Host>, timeout: Duration) -> Rig {
        let resolver: Arc<dyn Resolver> = self.clone();
        Rig::with(
            &Reactor::builder().resolver(resolver).connect_timeout(timeout).linger(Duration::from_millis(50)),
        )
    }
}

impl Resolver for Host {
    fn addresses(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        if host == "hangs" {
            let released = self.released.lock().expect("the lock");
            drop(self.changed.wait_while(released, |released| !*released).expect("the lock"));
        }
        match host {
            "fails" => Err(io::Error::new(io::ErrorKind::TimedOut, FAILURE)),
            _ => Ok(self.addresses.clone()),
        }
    }

    fn name(&self, _: IpAddr) -> io::Result<String> {
        unreachable!("no name is looked up")
    }
}

const FAILURE: &str = "the name server is silent";

const LONG: Duration = Duration::from_secs(20);

/// An address on which nothing listens.
fn dead(ip: IpAddr) -> SocketAddr {
    let port =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind").local_addr().expect("an address").port();
    (ip, port).into()
}

/// Waits for `Connected`, and returns the peer's address.
#[track_caller]
fn connected(rig: &mut Rig) -> SocketAddr {
    let mut found = None;
    rig.until("connection", |_, event| {
        let Event::Connected { peer, token: Token(4), .. } = event else { panic!("{event:?}") };
        found = peer.ip();
        true
    });
    found.expect("a TCP address")
}

#[test]
fn a_dead_address_costs_one_attempt_and_what_was_sent_before_arrives() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    let host = Host::new(vec![dead(Ipv6Addr::LOCALHOST.into()), address]);
    let mut rig = host.rig(LONG);
    let start = Instant::now();
    let conn = rig.reactor.connect_host("mud.example", 23, Token(4)).expect("it begins");
    assert_eq!(rig.reactor.peer_addr(conn).expect_err("not yet").kind(), ErrorKind::NotConnected);
    rig.reactor.send(conn, b"hello").expect("it is queued");
    assert_eq!(connected(&mut rig), address);
    // Refused: the next address is tried immediately. Windows tries a refusing peer again for two seconds by itself.
    assert!(start.elapsed() < 8 * ATTEMPT, "{:?}", start.elapsed());
    let (mut stream, _) = server.accept().expect("accept");
    rig.reactor.flush();
    let mut read = [0; 5];
    io::Read::read_exact(&mut stream, &mut read).expect("read");
    assert_eq!(&read, b"hello");
    assert_eq!(rig.reactor.stats().lookups, 0);
}

/// A listener whose backlog is full: the system answers no further request.
#[cfg(target_os = "linux")]
#[test]
fn an_address_that_does_not_answer_is_tried_alone_for_250_milliseconds() {
    let _watchdog = watchdog();
    use socket2::{Domain, Socket, Type};

    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    silent.listen(0).expect("listen");
    let address = silent.local_addr().expect("an address").as_socket().expect("IP");
    let _fill: Vec<_> =
        (0..2).map_while(|_| std::net::TcpStream::connect_timeout(&address, common::SILENCE).ok()).collect();
    let (_server, live) = listener();
    let host = Host::new(vec![address, live]);
    let mut rig = host.rig(LONG);
    let start = Instant::now();
    rig.reactor.connect_host("mud.example", 23, Token(4)).expect("it begins");
    assert_eq!(connected(&mut rig), live);
    let took = start.elapsed();
    assert!((ATTEMPT..8 * ATTEMPT).contains(&took), "{took:?}");
    // The attempt that was given up leaves nothing.
    rig.silent();
    assert_eq!(rig.reactor.stats().connections, 1);
}

#[test]
fn if_no_address_accepts_the_last_reason_is_reported_once() {
    let _watchdog = watchdog();
    let local = Ipv4Addr::LOCALHOST.into();
    let host = Host::new(vec![dead(local), dead(local), dead(Ipv6Addr::LOCALHOST.into())]);
    let mut rig = host.rig(LONG);
    let conn = rig.reactor.connect_host("mud.example", 23, Token(4)).expect("it begins");
    let seen = rig.seen_until("the end", |seen| matches!(seen, Seen::Closed(..)));
    let [Seen::Closed(of, reason)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*of, reason.to_io().expect("an error").kind()), (conn, io::ErrorKind::ConnectionRefused));
    rig.silent();
    assert_eq!(rig.reactor.stats().connections, 0);
}

#[test]
fn a_host_without_an_address_is_unresolved_and_one_that_hangs_times_out() {
    let _watchdog = watchdog();
    let host = Host::new(Vec::new());
    let mut rig = host.rig(Duration::from_millis(50));
    let conn = rig.reactor.connect_host("nowhere", 23, Token(4)).expect("it begins");
    rig.reactor.send(conn, b"never").expect("it is queued");
    let seen = rig.seen_until("the end", |_| true);
    let [Seen::Closed(of, CloseReason::Unresolved { error })] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*of, error.kind()), (conn, io::ErrorKind::NotFound));
    // The cause, where the look-up has failed: the one that `resolve` reports.
    let conn = rig.reactor.connect_host("fails", 23, Token(4)).expect("it begins");
    let seen = rig.seen_until("the end", |_| true);
    let [Seen::Closed(of, reason)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*of, conn);
    let error = reason.to_io().expect("an error");
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, FAILURE));
    assert!(reason.to_string().ends_with(FAILURE), "{reason}");
    let conn = rig.reactor.connect_host("hangs", 23, Token(4)).expect("it begins");
    let seen = rig.seen_until("the end", |_| true);
    let [Seen::Closed(of, reason)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*of, reason.to_io().expect("an error").kind()), (conn, io::ErrorKind::TimedOut));
    // The look-up is forgotten with the connection.
    assert_eq!((rig.reactor.stats().lookups, rig.reactor.stats().connections), (0, 0));
    host.release();
    rig.silent();
}

#[test]
fn p07_a_removed_connection_forgets_its_look_up() {
    let _watchdog = watchdog();
    let (server, address) = listener();
    let host = Host::new(vec![address]);
    let mut rig = host.rig(LONG);
    for end in 0..3 {
        let conn = rig.reactor.connect_host("hangs", 23, Token(4)).expect("it begins");
        match end {
            0 => assert!(rig.reactor.remove(conn)),
            1 => rig.reactor.abort(conn).expect("it is open"),
            _ => drop(rig.reactor.close(conn)),
        }
        if end > 0 {
            let seen = rig.seen_until("the end", |_| true);
            assert!(matches!(seen[..], [Seen::Closed(of, _)] if of == conn), "{seen:?}");
        }
        rig.silent();
        assert_eq!((rig.reactor.stats().lookups, rig.reactor.stats().connections), (0, 0));
    }
    host.release();
    rig.silent();
    server.set_nonblocking(true).expect("non-blocking");
    assert!(server.accept().is_err(), "no connection was made");
}

#[test]
fn an_address_in_text_needs_no_look_up_and_what_is_no_name_is_refused() {
    let _watchdog = watchdog();
    let (_server, address) = listener();
    let host = Host::new(Vec::new());
    let mut rig = host.rig(LONG);
    rig.reactor.connect_host("127.0.0.1", address.port(), Token(4)).expect("it begins");
    assert_eq!(connected(&mut rig), address);
    let error = rig.reactor.connect_host(" ", 23, Token(4)).expect_err("it is blank");
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    let text = error.to_string();
    assert!(text.starts_with("cannot connect to \" \": not a valid host name or address: "), "{text}");
    let mut none = Rig::with(&Reactor::builder().max_connections(0));
    let error = none.reactor.connect_host("localhost", 23, Token(4)).expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::TableFull);
    assert_eq!(none.reactor.stats().lookups, 0);
}
