//! Promise 11: listeners survive any failure of a connecting peer, and of the process.

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use common::{DEADLINE, Rig, Seen, listener, reset, watchdog};
use dolmen::{ConnId, Event, Token};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
    stream
}

#[test]
fn p11_a_burst_is_accepted_to_the_last() {
    // More than one turn's accepts, and no more than the backlog takes.
    const EACH: usize = 30;
    let _watchdog = watchdog();
    // With room for few and for many events at a time.
    for capacity in [1, 128] {
        let mut rig = Rig::new().capacity(capacity);
        let (listening, address) = listener();
        let id = rig.reactor.listen(listening, Token(11)).expect("listen");
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(move || (0..EACH).map(|_| connect(address)).collect::<Vec<_>>()))
            .collect();
        let mut accepted = HashSet::new();
        let mut streams = Vec::new();
        rig.until("all of the burst", |_, event| {
            let Event::Accepted { listener, token, stream, peer, .. } = event else { panic!("{event:?}") };
            assert_eq!((listener, token), (id, Token(11)));
            assert_eq!(stream.peer_addr().expect("it is connected"), peer);
            assert_eq!(stream.local_addr().expect("it is connected"), address);
            assert!(accepted.insert(peer), "{peer} twice");
            streams.push(stream);
            accepted.len() == 4 * EACH
        });
        let clients = threads.into_iter().flat_map(|thread| thread.join().expect("clients"));
        let clients: Vec<TcpStream> = clients.collect();
        assert!(clients.iter().all(|client| accepted.contains(&client.local_addr().expect("address"))));
        assert_eq!(rig.reactor.stats().accepted, 4 * EACH as u64);
        rig.silent();
    }
}

#[test]
fn p11_an_accepted_stream_blocks_and_works_without_the_reactor_and_with_it() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    rig.reactor.listen(listening, Token(0)).expect("listen");
    let mut client = connect(address);
    let mut accepted = None;
    rig.until("accepted", |_, event| {
        let Event::Accepted { stream, .. } = event else { panic!("{event:?}") };
        accepted = Some(stream);
        true
    });
    let mut stream = accepted.expect("just accepted");
    common::assert_blocking(&mut stream);
    client.write_all(b"first").expect("write");
    let mut read = [0; 5];
    stream.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"first");
    // This does not concern the listener.
    rig.silent();

    let conn = rig.reactor.add(stream, Token(1)).expect("add");
    client.write_all(b"second").expect("write");
    assert_eq!(rig.receive(conn, 6), b"second");
    rig.reactor.send(conn, b"third").expect("send");
    rig.reactor.flush();
    client.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"third");
}

#[test]
fn p11_hc10_those_who_were_gone_before_they_were_accepted_do_no_harm() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    let mut good = Vec::new();
    for n in 0..30 {
        let client = connect(address);
        match n % 3 {
            0 => reset(client),
            1 => drop(client),
            _ => good.push(client),
        }
    }
    rig.reactor.listen(listening, Token(0)).expect("listen");
    let expected: HashSet<SocketAddr> =
        good.iter().map(|client| client.local_addr().expect("address")).collect();
    let mut conns: HashMap<ConnId, SocketAddr> = HashMap::new();
    rig.until("those who are still there", |reactor, event| {
        match event {
            Event::Accepted { stream, peer, .. } => {
                conns.insert(reactor.add(stream, Token(0)).expect("add"), peer);
            }
            Event::EndOfStream { conn, .. } => reactor.close(conn).expect("close"),
            Event::Closed { conn, .. } => {
                let peer = conns.remove(&conn).expect("once");
                assert!(!expected.contains(&peer), "{peer} was still there");
            }
            other => panic!("{other:?}"),
        }
        conns.len() == expected.len() && conns.values().all(|peer| expected.contains(peer))
    });
    // The listener works as before.
    let late = connect(address);
    rig.until("a late one", |_, event| match event {
        Event::Accepted { peer, .. } => peer == late.local_addr().expect("address"),
        _ => false,
    });
}

#[test]
fn p11_several_listeners_and_each_its_own() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let listeners: Vec<_> = (0..5)
        .map(|n| {
            let (listening, address) = listener();
            (rig.reactor.listen(listening, Token(n)).expect("listen"), address)
        })
        .collect();
    assert_eq!(rig.reactor.stats().listeners, 5);
    for (id, address) in &listeners {
        let client = connect(*address);
        let seen = rig.seen_until("accepted", |_| true);
        assert_eq!(seen, [Seen::Accepted(*id, client.local_addr().expect("address"))]);
    }
    // One closes, the others stay.
    assert!(rig.reactor.remove_listener(listeners[2].0));
    rig.until_stats("end of the listener", |stats| stats.listeners == 4);
    assert!(TcpStream::connect(listeners[2].1).is_err(), "the port is closed");
    let client = connect(listeners[3].1);
    let seen = rig.seen_until("accepted", |_| true);
    assert_eq!(seen, [Seen::Accepted(listeners[3].0, client.local_addr().expect("address"))]);
}

#[test]
fn p11_ipv6_peers_have_their_addresses() {
    let _watchdog = watchdog();
    let listening = match TcpListener::bind("[::1]:0") {
        Ok(listening) => listening,
        // The rest depends on the system. The checks above cover everything else.
        Err(error) => return println!("no IPv6 here: {error}"),
    };
    let mut rig = Rig::new();
    let address = listening.local_addr().expect("address");
    let id = rig.reactor.listen(listening, Token(0)).expect("listen");
    let client = connect(address);
    let seen = rig.seen_until("accepted", |_| true);
    assert_eq!(seen, [Seen::Accepted(id, client.local_addr().expect("address"))]);
}

/// A process that runs out of file descriptors.
#[cfg(target_os = "linux")]
mod exhausted {
    use std::time::{Duration, Instant};

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;
    use common::{Signal, in_child, is_child};
    use dolmen::{ErrorKind, Reactor};

    /// Leaves `more` descriptors to this process.
    fn leave(more: usize) {
        // SAFETY: only queries a number, whatever it is.
        let is_free = |number: &i32| unsafe { libc::fcntl(*number, libc::F_GETFD) } == -1;
        // New descriptors get the lowest free numbers.
        let first_forbidden = (0..).filter(is_free).nth(more).map(|number| number as u64);
        let limit = Rlimit { current: first_forbidden, maximum: getrlimit(Resource::Nofile).maximum };
        setrlimit(Resource::Nofile, limit).expect("setrlimit");
    }

    #[test]
    fn p11_hc10_without_descriptors_the_listener_says_so_once_and_goes_on_when_it_can() {
        const CLIENTS: usize = 40;
        const FREE: usize = 10;
        let _watchdog = watchdog();
        if !is_child() {
            return in_child();
        }
        let mut rig = Rig::new();
        let (listening, address) = listener();
        let id = rig.reactor.listen(listening, Token(0)).expect("listen");
        let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(address)).collect();
        leave(FREE);

        let mut accepted = Vec::new();
        let mut failures = 0;
        let mut peers = HashSet::new();
        let mut take = |event: Event<'_>, accepted: &mut Vec<TcpStream>, failures: &mut usize| match event {
            Event::Accepted { stream, peer, .. } => {
                assert!(peers.insert(peer), "{peer} twice");
                accepted.push(stream);
            }
            Event::AcceptFailed { listener, token, error, .. } => {
                assert_eq!((listener, token), (id, Token(0)));
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                *failures += 1;
            }
            other => panic!("{other:?}"),
        };
        rig.until("failure", |_, event| {
            take(event, &mut accepted, &mut failures);
            failures > 0
        });
        assert_eq!(accepted.len(), FREE);

        // Half a second without descriptors: reported once, and tried again with growing pauses.
        let before = rig.reactor.stats();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(500) {
            rig.reactor.wait(&mut rig.events, Some(Duration::from_millis(50))).expect("wait");
            rig.events.drain().for_each(|event| take(event, &mut accepted, &mut failures));
        }
        assert_eq!((accepted.len(), failures), (FREE, 1), "the failure is reported once");
        let stats = rig.reactor.stats();
        let polls = stats.kernel_waits - before.kernel_waits;
        // Pauses of 10, 20, 40, 80 … ms, and the test's waits of 50.
        assert!(polls <= 40, "it spins: {polls} polls in half a second");
        assert!(stats.kernel_calls - before.kernel_calls <= 80);

        // Every closed connection makes room for another, without a call to the listener.
        let mut handled = 0;
        while handled + accepted.len() < CLIENTS {
            handled += accepted.len();
            accepted.clear();
            let count = handled;
            rig.until("more", |_, event| {
                take(event, &mut accepted, &mut failures);
                count + accepted.len() == CLIENTS || accepted.len() == FREE
            });
        }
        let addresses: HashSet<SocketAddr> =
            clients.iter().map(|client| client.local_addr().expect("address")).collect();
        assert_eq!(peers, addresses, "a peer was lost");
        // One for each time that an accept succeeded and then failed again.
        assert!(failures <= CLIENTS / FREE, "{failures} failures were reported");
        accepted.clear();
        let seen = rig.seen_for(Duration::from_millis(100));
        assert!(seen.len() <= 1 && seen.iter().all(|seen| *seen == Seen::AcceptFailed(id)), "{seen:?}");
    }

    #[test]
    fn p11_without_descriptors_everything_else_says_exhausted() {
        let _watchdog = watchdog();
        if !is_child() {
            return in_child();
        }
        let mut rig = Rig::new();
        let (listening, address) = listener();
        let watch = rig.reactor.listen_readiness(listening, Token(0)).expect("listen");
        let (conn, mut peer) = rig.connect(Token(0));
        let signal = Signal::new();
        let client = connect(address);
        leave(0);

        let error = Reactor::new().expect_err("there is no descriptor for it");
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        assert!(error.to_string().contains("create the reactor"), "{error}");
        let error =
            signal.try_watch(&mut rig.reactor, Token(0)).expect_err("there is no descriptor for a copy");
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
        let error = rig.reactor.accept(watch).expect_err("there is no descriptor for it");
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        assert!(error.to_string().contains(&format!("readiness listener {watch}")), "{error}");
        // Open connections keep working.
        peer.write_all(b"look").expect("write");
        rig.until("line", |_, event| matches!(event, Event::Received { conn: of, .. } if of == conn));

        leave(1);
        let (_stream, from) =
            rig.reactor.accept(watch).expect("now there is one").expect("a connection waits");
        assert_eq!(from, client.local_addr().expect("address"));
    }
}

/// Its accepts have been taken back when the next event is there, so that a caller who answers that event by listening
/// at the address anew is not refused by the own old socket.
#[cfg(target_os = "linux")]
#[test]
fn p11_the_address_of_a_removed_listener_is_free_with_the_next_event() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (listening, address) = listener();
    let id = rig.reactor.listen(listening, Token(11)).expect("listen");
    // The accepts are posted.
    rig.silent();
    assert!(rig.reactor.remove_listener(id));
    rig.reactor.poster().post(1, Token(12)).expect("there is room");
    rig.until("the post", |_, event| matches!(event, Event::Posted { .. }));
    TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).expect("the address is free");
}
