//! A process forks: either of the two may go on with the reactor, the other one drops its copy, without an effect on
//! the first.
#![cfg(target_os = "linux")]

mod common;

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

/// Wakes from threads of its own, each of which has to arrive.
fn wakes_itself(rig: &mut Rig, rounds: usize) {
    for _ in 0..rounds {
        let waker = rig.reactor.waker();
        let thread = thread::spawn(move || waker.wake());
        rig.seen_until("wake", |seen| *seen == Seen::Woken);
        thread.join().expect("the waker");
    }
}

#[test]
fn hc47_both_processes_wake_themselves_and_not_each_other() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.silent();
    let waker = rig.reactor.waker();
    let (mut gate, gate_peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let forked = fork(|| {
        // Before the first verb, and by a waker from before the fork.
        waker.wake();
        rig.seen_until("wake", |seen| *seen == Seen::Woken);
        wakes_itself(&mut rig, 200);
        let mut gate_peer = &gate_peer;
        gate_peer.write_all(b"x").expect("write");
        wakes_itself(&mut rig, 200);
        rig.silent();
    });
    // None of the first two hundred arrives here.
    let polls = rig.reactor.stats().kernel_waits;
    let mut byte = [0];
    gate.read_exact(&mut byte).expect("the child is half-way");
    rig.reactor.wait(&mut rig.events, Some(common::SILENCE)).expect("wait");
    assert_eq!((rig.events.len(), rig.reactor.stats().kernel_waits - polls), (0, 1));
    wakes_itself(&mut rig, 200);
    forked.ends_well();
    rig.silent();
}

/// A thread of the parent posts and wakes while the parent forks children that drop their copies.
#[test]
fn hc47_no_wake_and_no_post_is_lost_to_children_that_drop_their_copies() {
    let _watchdog = watchdog();
    const ROUNDS: usize = 200;
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    let (poster, waker) = (rig.reactor.poster(), rig.reactor.waker());
    let stop = Arc::clone(&over);
    let thread = thread::spawn(move || {
        let mut posted = 0;
        while !stop.load(Ordering::Relaxed) {
            match poster.post(posted, Token(0)) {
                Ok(()) => posted += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::PostsFull),
            }
            waker.wake();
        }
        posted
    });
    let mut next = 0;
    for round in 0..=ROUNDS {
        if round < ROUNDS {
            let Rig { reactor, events } = rig;
            let mut reactor = Some(reactor);
            // Every other child uses its copy first.
            fork(|| {
                let mut reactor = reactor.take().expect("it is there");
                if round % 2 == 1 {
                    reactor.wait(&mut dolmen::Events::with_capacity(8), Some(Duration::ZERO)).expect("wait");
                }
                drop(reactor);
            })
            .ends_well();
            rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        } else {
            over.store(true, Ordering::Relaxed);
            break;
        }
        rig.until("post", |_, event| match event {
            Event::Posted { value, .. } => {
                assert_eq!(value, next, "in order, and none left out");
                next += 1;
                true
            }
            other => {
                assert!(matches!(other, Event::Woken), "{other:?}");
                false
            }
        });
    }
    let posted = thread.join().expect("the poster");
    while next < posted {
        rig.until("rest of the posts", |_, event| {
            if let Event::Posted { value, .. } = event {
                assert_eq!(value, next, "in order, and none left out");
                next += 1;
            }
            next == posted
        });
    }
}

/// Another thread posts all the time, with `around` around each post. A child receives only its own posts.
fn posts_at_forks(rounds: usize, around: impl Fn(&mut dyn FnMut()) + Send + 'static) {
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    let (poster, own_poster) = (rig.reactor.poster(), rig.reactor.poster());
    let stop = Arc::clone(&over);
    let thread = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            around(&mut || drop(poster.post(1, Token(0))));
        }
    });
    for round in 0..rounds {
        let Rig { reactor, events } = rig;
        let mut reactor = Some(reactor);
        fork(|| {
            let mut rig = Rig {
                reactor: reactor.take().expect("it is there"),
                events: dolmen::Events::with_capacity(8),
            };
            if round % 3 == 1 {
                rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
                assert!(rig.events.is_empty(), "that was for the parent");
            }
            if round % 3 == 2 {
                own_poster.post(2, Token(1)).expect("post");
                rig.until("post", |_, event| {
                    assert!(matches!(event, Event::Posted { token: Token(1), value: 2, .. }), "{event:?}");
                    true
                });
            }
            drop(rig);
            let error = own_poster.post(3, Token(1)).expect_err("it has gone");
            assert_eq!(error.kind(), ErrorKind::ReactorGone);
        })
        .ends_well();
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        rig.until("post", |_, event| matches!(event, Event::Posted { token: Token(0), .. }));
    }
    over.store(true, Ordering::Relaxed);
    thread.join().expect("the poster");
}

#[test]
fn hc47_a_child_gets_its_own_posts_whatever_a_thread_of_the_parent_was_posting() {
    let _watchdog = watchdog();
    posts_at_forks(300, |post| post());
}

/// A post that the parent has collected and not delivered, because its events were full, is the parent's as well.
#[test]
fn hc47_a_post_that_was_collected_before_the_fork_stays_with_the_parent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(1);
    let (conn, mut peer) = rig.connect(Token(0));
    rig.silent();
    peer.write_all(b"first").expect("write");
    rig.reactor.poster().post(1, Token(1)).expect("post");
    // Of one turn, received bytes come before posts.
    assert_eq!(rig.receive(conn, 5), b"first");
    let Rig { reactor, events } = rig;
    let mut reactor = Some(reactor);
    fork(|| {
        let mut reactor = reactor.take().expect("it is there");
        let mut events = dolmen::Events::with_capacity(8);
        reactor.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        assert!(events.is_empty(), "that was for the parent");
    })
    .ends_well();
    let mut rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
    assert_eq!(rig.seen_until("post", |_| true), [Seen::Posted(Token(1), 1)]);
}

/// Another thread sends all the time. A child begins with an empty inbox, whatever was reported in the parent, and its own
/// values arrive; the parent loses none of its own.
#[test]
fn hc47_a_child_gets_its_own_values_whatever_a_thread_of_the_parent_was_sending() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    let (sender, mut inbox) = rig.reactor.channel::<String>(64, Token(0));
    let (own, stop) = (sender.clone(), Arc::clone(&over));
    let thread = thread::spawn(move || {
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            match sender.send(sent.to_string()) {
                Ok(()) => sent += 1,
                Err(refused) => assert_eq!(refused.error.kind(), ErrorKind::PostsFull),
            }
        }
        sent
    });
    let mut next = 0;
    for round in 0..300 {
        let Rig { reactor, mut events } = rig;
        let mut reactor = Some(reactor);
        fork(|| {
            let mut rig = Rig {
                reactor: reactor.take().expect("it is there"),
                events: dolmen::Events::with_capacity(8),
            };
            assert_eq!(
                events.drain().count(),
                0,
                "an event that the parent was given is for the parent's values"
            );
            assert!(inbox.is_empty());
            if round % 3 == 1 {
                rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
                assert!(rig.events.is_empty(), "that was for the parent");
            }
            if round % 3 == 2 {
                own.send("of the child".to_owned()).expect("send");
                rig.until("value", |_, event| matches!(event, Event::Inbox { token: Token(0), .. }));
                assert_eq!(inbox.drain().collect::<Vec<_>>(), ["of the child"]);
                own.send("and another".to_owned()).expect("send");
            }
            drop(rig);
            let refused = own.send(String::new()).expect_err("it has gone");
            assert_eq!(refused.error.kind(), ErrorKind::ReactorGone);
            assert_eq!(inbox.drain().count(), usize::from(round % 3 == 2));
        })
        .ends_well();
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        // Drained whether or not an event has come; every other time one is left in the events for the next child.
        if rig.events.drain().count() == 0 {
            rig.until("value", |_, event| matches!(event, Event::Inbox { token: Token(0), .. }));
        }
        for value in inbox.drain() {
            assert_eq!(value, next.to_string(), "in order, and none left out");
            next += 1;
        }
        if round % 2 == 0 {
            assert_eq!(rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait"), 1);
        }
    }
    over.store(true, Ordering::Relaxed);
    let sent = thread.join().expect("the sender");
    for value in inbox.drain() {
        assert_eq!(value, next.to_string(), "in order, and none left out");
        next += 1;
    }
    assert_eq!(next, sent);
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

/// The program's lock, which its own handlers take and release around each fork: granted in the order of requests, so
/// that the poster does not keep it.
static TICKETS: AtomicU32 = AtomicU32::new(0);
static SERVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn lock() {
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    while SERVED.load(Ordering::Acquire) != ticket {
        thread::yield_now();
    }
}

extern "C" fn unlock() {
    SERVED.fetch_add(1, Ordering::Release);
}

/// In a process of its own, because of its handlers. They are older than the library's, and so run after those.
#[test]
fn hc47_a_poster_may_hold_a_lock_that_the_program_takes_at_a_fork() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    // SAFETY: the handlers use only atomics, and yield.
    assert_eq!(unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) }, 0);
    posts_at_forks(300, |post| {
        lock();
        post();
        unlock();
    });
}

/// The reactor was dropped before the fork.
#[test]
fn hc47_a_copy_of_a_reactor_that_has_gone_refuses_posts() {
    let _watchdog = watchdog();
    let rig = Rig::new();
    let poster = rig.reactor.poster();
    drop(rig);
    fork(|| {
        let error = poster.post(1, Token(0)).expect_err("it has gone");
        assert_eq!(error.kind(), ErrorKind::ReactorGone);
    })
    .ends_well();
}

/// A signal to this process arrives at the reactor, which has registered for it with token 7.
fn terminated(rig: &mut Rig) {
    // SAFETY: sends a signal to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    rig.until("SIGTERM", |_, event| match event {
        Event::Console { token: Token(7), input: ConsoleInput::Shutdown { reason, .. }, .. } => {
            assert_eq!(reason, ShutdownReason::Terminate);
            true
        }
        other => panic!("{other:?}"),
    });
}

/// In a process of its own, because signals belong to the process.
#[test]
fn each_process_gets_its_own_signals() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.add_signals(Token(7)).expect("signals");
    rig.silent();
    fork(|| {
        // Before the first verb, and after it.
        terminated(&mut rig);
        terminated(&mut rig);
        rig.silent();
    })
    .ends_well();
    rig.silent();
    terminated(&mut rig);
    // Another thread may still be in the handler of that signal.
    for _ in 0..50 {
        let Rig { reactor, events } = rig;
        let mut reactor = Some(reactor);
        fork(|| {
            drop(reactor.take());
            let mut rig = Rig::new();
            rig.reactor.add_signals(Token(7)).expect("signals");
            terminated(&mut rig);
        })
        .ends_well();
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        terminated(&mut rig);
    }
}

fn standard_numbers_are_free() -> bool {
    // SAFETY: asks about numbers, whatever they stand for.
    (0..3).all(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } == -1)
}

/// A daemon closes its standard streams, and may open others or print at any time.
///
/// In a process of its own, because signals belong to the process.
#[test]
fn no_descriptor_of_the_library_takes_the_number_of_a_closed_standard_stream() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    fork(|| {
        // SAFETY: this process does not use them from here on. A panic can print nothing, and the exit status shows it.
        (0..3).for_each(|number| assert_eq!(unsafe { libc::close(number) }, 0));
        let mut rig = Rig::new();
        rig.reactor.add_signals(Token(7)).expect("signals");
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        assert!(standard_numbers_are_free());
        let copy = fork(|| {
            // The first call of a copy makes everything anew.
            rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
            assert!(standard_numbers_are_free());
        });
        copy.ends_well();
    })
    .ends_well();
}

/// From here on this process opens no descriptor, or may open them again.
fn may_open(may: bool) {
    // SAFETY: all zeroes is a valid value, and the pointers are to it.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = if may { limit.rlim_max.min(1024) } else { 3 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// In a process of its own, because signals belong to the process.
#[test]
fn signals_come_in_a_child_that_had_no_descriptors_for_them_at_first() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.add_signals(Token(7)).expect("signals");
    rig.silent();
    fork(|| {
        may_open(false);
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect_err("it needs descriptors");
        may_open(true);
        terminated(&mut rig);
        rig.silent();
    })
    .ends_well();
}

/// In a process of its own, because of its standard input. Threads read and write its console, and a forked process
/// does not have them.
#[test]
fn the_console_stays_with_the_process_that_has_registered_it() {
    let _watchdog = watchdog();
    if !is_child() {
        let file = std::env::temp_dir().join(format!("dolmen-fork-{}", std::process::id()));
        std::fs::write(&file, "line\n".repeat(10_000)).expect("a file");
        let program = std::env::current_exe().expect("this program");
        let name = thread::current().name().expect("a test has its name").to_owned();
        let output = std::process::Command::new(program)
            .args([&name, "--exact", "--test-threads=2", "--nocapture"])
            .env("DOLMEN_TEST_CHILD", "1")
            .stdin(std::fs::File::open(&file).expect("the file"))
            .output()
            .expect("the child runs");
        std::fs::remove_file(file).expect("remove");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let mut rig = Rig::new();
    rig.reactor.add_console(ConsoleMode::Line, Token(0)).expect("a console");
    let mut lines = 0;
    let mut read = |rig: &mut Rig, until: usize| {
        if lines >= until {
            return;
        }
        rig.until("lines", |_, event| {
            lines += usize::from(matches!(event, Event::Console { input: ConsoleInput::Line("line"), .. }));
            lines >= until
        });
    };
    read(&mut rig, 100);
    for round in 0..20 {
        let Rig { reactor, events } = rig;
        let mut reactor = Some(reactor);
        let start = Instant::now();
        fork(|| {
            let mut reactor = reactor.take().expect("it is there");
            if round % 2 == 1 {
                let error = reactor.console().expect_err("it is not ours");
                assert_eq!(error.kind(), ErrorKind::NotFound);
                let mut events = dolmen::Events::with_capacity(8);
                assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO)).expect("wait"), 0);
                assert!(!reactor.remove_console());
            }
            drop(reactor);
        })
        .ends_well();
        assert!(start.elapsed() < Duration::from_secs(1), "no thread is waited for");
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        read(&mut rig, 400 + 400 * round);
    }
    read(&mut rig, 10_000);
    // A forked process may have its own console.
    fork(|| {
        assert!(!rig.reactor.remove_console());
        rig.reactor.add_console(ConsoleMode::Line, Token(0)).expect("a console");
        rig.until("end", |_, event| matches!(event, Event::Console { input: ConsoleInput::EndOfInput, .. }));
    })
    .ends_well();
}

/// A resolver that hangs in the process that has made it, until it is released.
struct HangsInParent {
    parent: u32,
    released: AtomicBool,
}

impl dolmen::internal::Resolver for HangsInParent {
    fn addresses(&self, _: &str, port: u16) -> std::io::Result<Vec<std::net::SocketAddr>> {
        while std::process::id() == self.parent && !self.released.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(vec![([192, 0, 2, 7], port).into()])
    }

    fn name(&self, _: std::net::IpAddr) -> std::io::Result<String> {
        unreachable!("no name is looked up")
    }
}

#[test]
fn hc47_look_ups_in_progress_end_once_in_each_process() {
    let _watchdog = watchdog();
    let resolver = Arc::new(HangsInParent { parent: std::process::id(), released: AtomicBool::new(false) });
    let mut rig = Rig::with(&dolmen::Reactor::builder().resolver(resolver.clone()));
    // Two in threads, one behind them, and one that is reported with the next wait.
    let mut lookups = Vec::new();
    for host in ["a", "b", "c", "192.0.2.7"] {
        lookups.push(rig.reactor.resolve(host, 23, Token(0)).expect("resolve"));
    }
    let all_end = |rig: &mut Rig, mut left: Vec<dolmen::LookupId>| {
        rig.until("end of each look-up", |_, event| {
            let Event::Resolved { lookup, result: Ok(_), .. } = event else { panic!("{event:?}") };
            let at = left.iter().position(|&other| other == lookup).expect("each ends once");
            left.remove(at);
            left.is_empty()
        });
        assert_eq!(rig.reactor.stats().lookups, 0);
    };
    // One process only drops its copy, the other one goes on with it.
    fork(|| drop(std::mem::replace(&mut rig, Rig::new()))).ends_well();
    fork(|| {
        let mut left = lookups.clone();
        assert!(rig.reactor.cancel_lookup(left.remove(0)));
        left.push(rig.reactor.resolve("d", 23, Token(0)).expect("resolve"));
        all_end(&mut rig, left);
        drop(std::mem::replace(&mut rig, Rig::new()));
    })
    .ends_well();
    resolver.released.store(true, Ordering::Relaxed);
    all_end(&mut rig, lookups);
}

/// Reads and writes in progress end in the parent. In the child, which has no threads, each has failed, and new ones work.
#[test]
fn hc47_operations_on_files_end_once_in_each_process() {
    let _watchdog = watchdog();
    let path = std::env::temp_dir().join(format!("dolmen-fork-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    std::fs::remove_file(&path).expect("remove");
    let file = Arc::new(file.expect("a temporary file"));
    let mut rig = Rig::new();
    let mut ops = Vec::new();
    for at in 0..40 {
        let bytes = vec![at as u8; 500_000];
        ops.push(rig.reactor.write_file(file.clone(), at * 500_000, bytes, Token(0)).expect("write"));
    }
    let all_end = |rig: &mut Rig, mut left: Vec<dolmen::FileOpId>, is_child: bool| {
        rig.until("end of each operation", |_, event| {
            let Event::FileWritten { op, result, .. } = event else { panic!("{event:?}") };
            let at = left.iter().position(|&other| other == op).expect("each ends once");
            left.remove(at);
            if let Err(error) = result {
                assert!(is_child && error.kind() == std::io::ErrorKind::Interrupted, "{error}");
            }
            left.is_empty()
        });
        assert_eq!(rig.reactor.stats().file_operations, 0);
    };
    // One process only drops its copy, the other one goes on with it.
    fork(|| drop(std::mem::replace(&mut rig, Rig::new()))).ends_well();
    fork(|| {
        let mut left = ops.clone();
        // It may have ended before the fork; then its event is taken back.
        rig.reactor.cancel_file(left.remove(0));
        left.push(rig.reactor.write_file(file.clone(), 1 << 30, vec![7], Token(0)).expect("write"));
        all_end(&mut rig, left, true);
        drop(std::mem::replace(&mut rig, Rig::new()));
    })
    .ends_well();
    all_end(&mut rig, ops, false);
}
