//! The same server in poll(2), in another reactor, in an edge-triggered epoll instance and in tokio. A loop that misses an
//! event blocks until the deadline, and the test fails.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use dolmen::{Event, Events, Poster, Reactor, Token};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::common::fork::fork;
use crate::common::{DEADLINE, Rig, Seen, listener, watchdog};

const CLIENTS: usize = 20;
const LINES: usize = 30;
const POSTS: u64 = 300;
const TICKS: u64 = 20;

/// Blocks until the reactor's handle is readable, or the time is up. Returns whether it was readable.
type Block<'a> = dyn FnMut(&Reactor, Duration) -> bool + 'a;

/// The loop that `Reactor` documents.
struct Loop<'a> {
    reactor: Reactor,
    events: Events,
    block: &'a mut Block<'a>,
    /// Waits that found no event.
    empty: usize,
    found: usize,
}

impl Loop<'_> {
    /// Runs until `handle` returns true.
    #[track_caller]
    fn until(&mut self, what: &str, mut handle: impl FnMut(&mut Reactor, Event<'_>) -> bool) {
        let mut over = false;
        while !over {
            self.reactor.wait(&mut self.events, Some(Duration::ZERO)).expect("wait");
            self.empty += usize::from(self.events.is_empty());
            self.found += self.events.len();
            for event in &mut self.events {
                over |= handle(&mut self.reactor, event);
            }
            self.reactor.flush();
            let timeout = self.reactor.next_timeout();
            if over || timeout == Some(Duration::ZERO) {
                continue;
            }
            let readable = (self.block)(&self.reactor, timeout.unwrap_or(DEADLINE));
            assert!(readable || timeout.is_some(), "no {what}: {:?}", self.reactor.stats());
        }
    }
}

/// Sends lines on many connections at the same time, and reads their echoes.
fn clients(address: SocketAddr) {
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).expect("connect")).collect();
    for n in 0..LINES {
        for client in &mut clients {
            client.write_all(format!("line {n:3}\n").as_bytes()).expect("write");
        }
        for client in &mut clients {
            client.set_read_timeout(Some(DEADLINE)).expect("timeout");
            let mut echo = [0; 9];
            client.read_exact(&mut echo).expect("read");
            assert_eq!(echo, format!("line {n:3}\n").as_bytes());
        }
    }
}

fn posts(poster: &Poster) {
    for value in 0..POSTS {
        while poster.post(value, Token(2)).is_err() {
            thread::yield_now();
        }
        if value % 7 == 0 {
            thread::yield_now();
        }
    }
}

/// An echo server, posts and timers, served by an outer loop.
fn serve_in(mut block: impl FnMut(&Reactor, Duration) -> bool, mut reactor: Reactor, capacity: usize) {
    let (listening, address) = listener();
    reactor.listen(listening, Token(0)).expect("listen");
    let poster = reactor.poster();
    let others = [thread::spawn(move || clients(address)), thread::spawn(move || posts(&poster))];
    let events = Events::with_capacity(capacity);
    let mut outer = Loop { reactor, events, block: &mut block, empty: 0, found: 0 };

    // Without a timer, which would hide an event that was missed.
    let (mut ended, mut next) = (0, 0);
    outer.until("event", |reactor, event| {
        match event {
            Event::Accepted { stream, .. } => drop(reactor.add(stream, Token(1)).expect("add")),
            Event::Received { conn, data, .. } => reactor.send(conn, data).expect("send"),
            Event::EndOfStream { conn, .. } => reactor.close(conn).expect("close"),
            Event::Closed { .. } => ended += 1,
            Event::Posted { value, .. } => {
                assert_eq!(value, next);
                next += 1;
            }
            other => panic!("{other:?}"),
        }
        ended == CLIENTS && next == POSTS
    });
    others.into_iter().for_each(|thread| thread.join().expect("the peers"));
    // A wait may only have sent, or taken an edge; and it brings a batch, while each event may have its own edge.
    let (empty, found) = (outer.empty, outer.found);
    assert!(empty <= 3 * found + 100, "{empty} waits without an event, beside {found} events");

    outer.reactor.add_interval(Duration::from_millis(3), Token(3));
    (outer.empty, outer.found) = (0, 0);
    let mut ticks = 0;
    outer.until("tick", |_, event| {
        let Event::Timer { missed, .. } = event else { panic!("{event:?}") };
        ticks += 1 + missed;
        ticks >= TICKS
    });
    assert!(outer.empty <= 3 * TICKS as usize, "{} waits in {ticks} ticks", outer.empty);
}

/// With room for many events, with room for one, and with a kernel that takes a few edges at a time.
fn serve<B: FnMut(&Reactor, Duration) -> bool>(block: impl Fn(&Reactor) -> B) {
    for (capacity, max_events) in [(128, 128), (1, 128), (3, 2)] {
        let reactor = Reactor::builder().max_events(max_events).build().expect("a reactor");
        serve_in(block(&reactor), reactor, capacity);
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec::try_from(time).expect("a short time")
}

fn is_readable(reactor: &Reactor, time: Duration) -> bool {
    poll(&mut [PollFd::new(reactor, PollFlags::IN)], Some(&timespec(time))).expect("poll") > 0
}

#[test]
fn native_handle_in_poll() {
    let _watchdog = watchdog();
    serve(|_| is_readable);
}

#[test]
fn native_handle_in_an_edge_triggered_epoll_instance() {
    let _watchdog = watchdog();
    serve(|reactor| {
        let outer = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&outer, reactor, epoll::EventData::new_u64(1), flags).expect("add");
        move |_: &Reactor, time| {
            let mut found = Vec::with_capacity(4);
            epoll::wait(&outer, rustix::buffer::spare_capacity(&mut found), Some(&timespec(time)))
                .expect("wait");
            !found.is_empty()
        }
    });
}

#[test]
fn native_handle_in_another_reactor() {
    let _watchdog = watchdog();
    serve(|reactor| {
        let mut outer = Rig::new();
        let handle = reactor.native_handle().try_clone_to_owned().expect("a duplicate");
        let watch = outer.reactor.watch(handle, Token(0)).expect("watch");
        move |_: &Reactor, time| {
            outer.reactor.wait(&mut outer.events, Some(time)).expect("wait");
            let seen: Vec<Seen> = outer.events.drain().map(Seen::from).collect();
            assert!(seen.iter().all(|seen| *seen == Seen::Ready(watch)), "{seen:?}");
            !seen.is_empty()
        }
    });
}

#[test]
fn native_handle_in_tokio() {
    let _watchdog = watchdog();
    serve(|reactor| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = reactor.native_handle().try_clone_to_owned().expect("a duplicate");
        let inside = runtime.enter();
        // SAFETY: the descriptor is the `AsyncFd`'s own.
        let handle =
            unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.expect("register");
        drop(inside);
        move |_: &Reactor, time| {
            runtime.block_on(async {
                let readable = tokio::time::timeout(time, handle.readable()).await;
                readable.map(|readable| readable.expect("readiness").clear_ready()).is_ok()
            })
        }
    });
}

#[test]
fn native_handle_a_wake_shows_once() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    rig.rests();
    for _ in 0..3 {
        assert!(!is_readable(&rig.reactor, Duration::ZERO));
        rig.reactor.waker().wake();
        assert!(is_readable(&rig.reactor, Duration::ZERO));
        assert_eq!(rig.seen_until("wake", |_| true), [Seen::Woken]);
        assert!(!is_readable(&rig.reactor, Duration::ZERO));
        assert_eq!(rig.reactor.next_timeout(), None);
        peer.write_all(b"x").expect("write");
        assert!(is_readable(&rig.reactor, DEADLINE));
        assert_eq!(rig.receive(conn, 1), b"x");
        rig.reactor.flush();
        assert!(!is_readable(&rig.reactor, Duration::ZERO));
        assert_eq!(rig.reactor.next_timeout(), None);
    }
    // Bytes that a paused connection does not receive show once.
    rig.reactor.pause(conn).expect("pause");
    peer.write_all(b"held").expect("write");
    assert!(is_readable(&rig.reactor, DEADLINE));
    rig.silent();
    assert!(!is_readable(&rig.reactor, Duration::ZERO));
    rig.reactor.resume(conn).expect("resume");
    assert_eq!(rig.reactor.next_timeout(), Some(Duration::ZERO));
    assert_eq!(rig.receive(conn, 4), b"held");
}

#[test]
fn native_handle_what_did_not_fit_is_served_without_blocking() {
    const MANY: usize = 10;
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(1);
    let mut peers: Vec<_> = (0..MANY).map(|n| rig.connect(Token(n)).1).collect();
    rig.rests();
    peers.iter_mut().for_each(|peer| peer.write_all(b"x").expect("write"));
    assert!(is_readable(&rig.reactor, DEADLINE));
    rig.reactor.waker().wake();
    let mut found = 0;
    // Loopback delivers before the write returns, so all of them are there.
    loop {
        found += rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        rig.reactor.flush();
        if rig.reactor.next_timeout().is_none() {
            break;
        }
    }
    assert_eq!(found, MANY + 1);
    assert!(!is_readable(&rig.reactor, Duration::ZERO));
}

#[test]
fn native_handle_is_another_one_in_a_forked_process() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    rig.rests();
    let before = rig.reactor.native_handle_generation();
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&outer, &rig.reactor, epoll::EventData::new_u64(1), epoll::EventFlags::IN).expect("add");
    fork(|| {
        assert_eq!(rig.reactor.next_timeout(), Some(Duration::ZERO), "it would block on the parent's");
        rig.silent();
        assert_ne!(rig.reactor.native_handle_generation(), before);
        assert_eq!(rig.reactor.next_timeout(), None);
        assert!(!is_readable(&rig.reactor, Duration::ZERO));
        rig.reactor.waker().wake();
        assert!(is_readable(&rig.reactor, Duration::ZERO));
        assert_eq!(rig.seen_until("wake", |_| true), [Seen::Woken]);
    })
    .ends_well();
    assert_eq!(rig.reactor.native_handle_generation(), before);
    assert_eq!(rig.reactor.next_timeout(), None);
    assert!(!is_readable(&rig.reactor, Duration::ZERO), "the child's wake is the child's");
    peer.write_all(b"x").expect("write");
    let mut found = Vec::with_capacity(4);
    epoll::wait(&outer, rustix::buffer::spare_capacity(&mut found), Some(&timespec(DEADLINE))).expect("wait");
    assert_eq!(found.len(), 1);
    assert_eq!(rig.receive(conn, 1), b"x");
}

/// The outer loop has had its edge, and the system makes no other one for what is still in the instance.
#[test]
fn native_handle_what_a_wait_has_left_in_the_system_is_served_without_another_edge() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().max_events(2));
    // Edges that bring no event: the wait takes a few of them at a time, and gives up.
    let mut paused: Vec<_> = (0..60).map(|n| rig.connect(Token(n))).collect();
    let (conn, mut peer) = rig.connect(Token(99));
    for (conn, _) in &paused {
        rig.reactor.pause(*conn).expect("pause");
    }
    rig.silent();
    paused.iter_mut().for_each(|(_, peer)| peer.write_all(b"held").expect("write"));
    peer.write_all(b"x").expect("write");
    assert!(is_readable(&rig.reactor, DEADLINE));
    let mut seen = Vec::new();
    loop {
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        seen.extend(rig.events.drain().map(Seen::from));
        rig.reactor.flush();
        if rig.reactor.next_timeout().is_none() {
            break;
        }
    }
    assert!(seen.contains(&Seen::Received(conn, b"x".to_vec())), "{seen:?}");
    assert!(!is_readable(&rig.reactor, Duration::ZERO));
}
