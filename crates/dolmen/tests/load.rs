//! Full load: thousands of connections at the same time, each of which gets its own echo, and afterwards nothing is
//! left.

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use common::{DEADLINE, Random, Rig, Seen, handle_count, listener, reset, watchdog};
use dolmen::{CloseReason, ConnId, Event, Poster, Reactor, Stats, Token};

const CONNECTIONS: usize = if cfg!(windows) { 1_000 } else { 5_000 };
const THREADS: usize = 8;
const LINES: usize = 20;
/// The longest line. A line in flight fits into the system's buffers, so that no side waits for the other.
const LONGEST: usize = 500;

/// The posts of a client thread.
const CONNECTED: Token = Token(1);
const GONE: Token = Token(2);
/// All clients of the thread have their first line back. The token of each later line is one higher.
const ECHOED: Token = Token(3);

/// One thread's clients: each one sends its lines in pieces and checks its echo. When all have reached this point, a
/// random half resets and the others end in order. Returns which client did which.
fn clients(thread: usize, address: SocketAddr, poster: &Poster, leave: &Barrier) -> Vec<(SocketAddr, bool)> {
    let mut random = Random::new(thread as u64);
    let mut streams: Vec<TcpStream> = Vec::new();
    while streams.len() < CONNECTIONS / THREADS {
        // No more at a time than the backlog takes: a client that finds it full tries again after a second.
        let first = streams.len();
        for _ in 0..(CONNECTIONS / THREADS - first).min(100 / THREADS) {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream.set_nodelay(true).expect("nodelay");
            stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
            stream.write_all(b"!").expect("write");
            streams.push(stream);
        }
        streams[first..].iter_mut().for_each(|stream| stream.read_exact(&mut [0]).expect("read"));
    }
    poster.post(thread as u64, CONNECTED).expect("post");
    for number in 0..LINES {
        let lines: Vec<Vec<u8>> = (0..streams.len())
            .map(|client| {
                let mut text = format!("{thread}/{client} line {number} ").into_bytes();
                let length = random.below(LONGEST);
                text.extend(random.bytes(length));
                text.push(b'\n');
                text
            })
            .collect();
        // The first pieces of all clients, then the rest, if any.
        let mut sent = vec![0; streams.len()];
        for last in [false, true] {
            for ((stream, line), sent) in streams.iter_mut().zip(&lines).zip(&mut sent) {
                let left = line.len() - *sent;
                // Wine is slow; there it is a part of the lines.
                let whole = last || (cfg!(windows) && random.below(4) > 0);
                let piece = if whole { left } else { random.below(left + 1) };
                stream.write_all(&line[*sent..*sent + piece]).expect("write");
                *sent += piece;
            }
        }
        for (stream, line) in streams.iter_mut().zip(&lines) {
            let mut echo = vec![0; line.len()];
            stream.read_exact(&mut echo).expect("read");
            assert!(echo == *line, "{:?} came back as {:?}", line.escape_ascii(), echo.escape_ascii());
        }
        poster.post(thread as u64, Token(ECHOED.0 + number)).expect("post");
    }
    leave.wait();
    let mut ends = Vec::new();
    for stream in streams {
        let resets = random.below(2) == 0;
        ends.push((stream.local_addr().expect("address"), resets));
        if resets { reset(stream) } else { drop(stream) }
    }
    poster.post(thread as u64, GONE).expect("post");
    ends
}

/// The counters that must be as before.
fn held(stats: &Stats) -> [usize; 7] {
    let Stats {
        connections,
        listeners,
        watches,
        timers,
        operations_in_flight,
        buffers_out,
        queued_bytes,
        ..
    } = *stats;
    [connections, listeners, watches, timers, operations_in_flight, buffers_out, queued_bytes]
}

#[test]
fn a_full_house_gets_its_own_echo_and_leaves_nothing_behind() {
    let mut _watchdog = watchdog();
    #[cfg(target_os = "linux")]
    common::allow_descriptors(2 * CONNECTIONS as u64 + 100);
    let started = Instant::now();
    let mut rig = Rig::with(&Reactor::builder().max_connections(CONNECTIONS));
    let (listening, address) = listener();
    rig.reactor.listen(listening, Token(0)).expect("listen");
    rig.silent();
    let (baseline, handles) = (held(&rig.reactor.stats()), handle_count());

    let leave = Arc::new(Barrier::new(THREADS + 1));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (poster, leave) = (rig.reactor.poster(), Arc::clone(&leave));
            thread::spawn(move || clients(thread, address, &poster, &leave))
        })
        .collect();
    let mut house = House::default();
    let mut at: HashMap<Token, usize> = HashMap::new();
    let line = |n: usize| Token(ECHOED.0 + n);
    for stage in std::iter::once(CONNECTED).chain((0..LINES).map(line)) {
        while at.get(&stage) != Some(&THREADS) {
            // Each batch of events has its own deadline, as all of them together take long on a busy machine.
            _watchdog = watchdog();
            let mut handled = 0;
            rig.until("end of this stage", |reactor, event| {
                let token = house.handle(reactor, event);
                token.into_iter().for_each(|token| *at.entry(token).or_default() += 1);
                handled += 1;
                handled == 500 || at.get(&stage) == Some(&THREADS)
            });
        }
    }
    println!("all is echoed after {:?}", started.elapsed());
    assert_eq!(house.present.len(), CONNECTIONS);

    // The test removes some connections, whatever their state.
    let mut random = Random::new(5_000);
    let all: Vec<ConnId> = house.present.keys().copied().collect();
    for conn in all.into_iter().filter(|_| random.below(10) == 0) {
        assert!(rig.reactor.remove(conn));
        house.present.remove(&conn);
        house.removed.insert(conn);
    }
    _watchdog = watchdog();
    leave.wait();
    let mut gone = 0;
    rig.until("end of all", |reactor, event| {
        gone += usize::from(house.handle(reactor, event) == Some(GONE));
        gone == THREADS && house.present.is_empty()
    });
    let ends: HashMap<SocketAddr, bool> =
        threads.into_iter().flat_map(|thread| thread.join().expect("the clients")).collect();
    assert_eq!(house.ended.len() + house.removed.len(), CONNECTIONS);
    for (peer, end) in &house.ended {
        // The way in which the client ended decides which events its end causes.
        let expected = if ends[peer] { (false, CloseReason::Reset) } else { (true, CloseReason::Finished) };
        assert_eq!(*end, expected, "the end of {peer}");
    }

    rig.silent();
    rig.events.clear();
    assert_eq!(held(&rig.reactor.stats()), baseline, "connections, …, operations, buffers, queued bytes");
    assert_eq!(handle_count(), handles);
    println!("over after {:?}", started.elapsed());
}

/// The open connections, and the outcome of the others.
#[derive(Default)]
struct House {
    /// And whether their end of stream was delivered.
    present: HashMap<ConnId, (SocketAddr, bool)>,
    removed: HashSet<ConnId>,
    ended: HashMap<SocketAddr, (bool, CloseReason)>,
}

impl House {
    /// Returns the token of a post.
    fn handle(&mut self, reactor: &mut Reactor, event: Event<'_>) -> Option<Token> {
        match event {
            Event::Accepted { stream, peer, .. } => {
                stream.set_nodelay(true).expect("nodelay");
                let conn = reactor.add(stream, Token(0)).expect("add");
                self.present.insert(conn, (peer, false));
            }
            Event::Received { conn, data, .. } => {
                assert!(self.present.contains_key(&conn), "bytes of {conn}, which is gone");
                reactor.send(conn, data).expect("send");
            }
            Event::EndOfStream { conn, .. } => {
                self.present.get_mut(&conn).expect("it is there").1 = true;
                reactor.close(conn).expect("close");
            }
            Event::Closed { conn, reason, .. } => {
                let (peer, end_of_stream) = self.present.remove(&conn).expect("it is there");
                self.ended.insert(peer, (end_of_stream, reason));
            }
            Event::Posted { token, .. } => return Some(token),
            other => panic!("{:?}", Seen::from(other)),
        }
        None
    }
}
