//! Promise 3: all sources, fairly. Whatever floods the reactor, it delivers the events of other ready sources within a
//! bounded number of waits, also where a wait has room for one event.

mod common;

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, Seen, Signal, listener, watchdog};
use dolmen::{ConnId, ListenerId, Poster, Reactor, Token, WatchId};

/// A source that is ready before each wait.
enum Flood {
    Sockets(Vec<(ConnId, TcpStream)>),
    Posts(Poster),
    Timers,
    Watches(Vec<WatchId>, #[allow(dead_code)] Vec<Signal>),
    Accepts { listener: ListenerId, address: SocketAddr, clients: VecDeque<TcpStream>, accepted: usize },
}

const FLOOD: Token = Token(1_000);

/// How many posts, timers or watches at a time make up a flood.
const MANY: usize = 4;

impl Flood {
    fn socket(rig: &mut Rig) -> Flood {
        Flood::Sockets(vec![Flood::connect(rig)])
    }

    fn sockets(rig: &mut Rig) -> Flood {
        Flood::Sockets((0..MANY).map(|_| Flood::connect(rig)).collect())
    }

    fn connect(rig: &mut Rig) -> (ConnId, TcpStream) {
        let (conn, peer) = rig.connect(FLOOD);
        peer.set_nonblocking(true).expect("nonblocking");
        (conn, peer)
    }

    fn posts(rig: &mut Rig) -> Flood {
        Flood::Posts(rig.reactor.poster())
    }

    fn timers(rig: &mut Rig) -> Flood {
        for _ in 0..MANY {
            rig.reactor.add_interval(Duration::from_nanos(1), FLOOD);
        }
        Flood::Timers
    }

    fn watches(rig: &mut Rig) -> Flood {
        let signals: Vec<Signal> = (0..MANY).map(|_| Signal::new()).collect();
        signals.iter().for_each(Signal::set);
        let watches = signals.iter().map(|signal| signal.watch(&mut rig.reactor, FLOOD)).collect();
        Flood::Watches(watches, signals)
    }

    fn accepts(rig: &mut Rig) -> Flood {
        let (listener, address) = listener();
        let listener = rig.reactor.listen(listener, FLOOD).expect("listen");
        Flood::Accepts { listener, address, clients: VecDeque::new(), accepted: 0 }
    }

    /// Makes sure that the next wait finds something.
    fn top_up(&mut self) {
        match self {
            Flood::Sockets(sockets) => {
                for (_, peer) in sockets {
                    fill(peer);
                }
            }
            Flood::Posts(poster) => {
                // To the limit: the rig's reactor takes no more than this.
                while poster.post(0, FLOOD).is_ok() {}
            }
            Flood::Timers | Flood::Watches(..) => {}
            // A few connections wait at all times, and never more than the backlog takes.
            Flood::Accepts { address, clients, accepted, .. } => {
                clients.drain(..*accepted);
                *accepted = 0;
                while clients.len() < 20 {
                    clients.push_back(TcpStream::connect(*address).expect("connect"));
                }
            }
        }
    }

    /// Whether the flood caused it.
    fn has_caused(&mut self, seen: &Seen) -> bool {
        match (self, seen) {
            (Flood::Sockets(sockets), Seen::Received(of, _)) => sockets.iter().any(|(conn, _)| conn == of),
            (Flood::Posts(_), Seen::Posted(token, _)) => *token == FLOOD,
            (Flood::Timers, Seen::Timer(..)) => true,
            (Flood::Watches(watches, _), Seen::Ready(of)) => watches.contains(of),
            (Flood::Accepts { listener, accepted, .. }, Seen::Accepted(of, _)) if listener == of => {
                *accepted += 1;
                true
            }
            _ => false,
        }
    }
}

/// Sends until no more fits.
fn fill(mut peer: &TcpStream) {
    loop {
        match peer.write(&[b'!'; 64 * 1024]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// An event that the test causes once.
enum Probe {
    Line(ConnId, TcpStream),
    Post(Poster),
    Timer,
    Watch(WatchId, Signal),
    Accept(ListenerId, SocketAddr),
    Wake,
}

impl Probe {
    fn all(rig: &mut Rig) -> Vec<(&'static str, Probe)> {
        let (conn, peer) = rig.connect(Token(0));
        let signal = Signal::new();
        let watch = signal.watch(&mut rig.reactor, Token(0));
        let (listener, address) = listener();
        let listener = rig.reactor.listen(listener, Token(0)).expect("listen");
        vec![
            ("line", Probe::Line(conn, peer)),
            ("post", Probe::Post(rig.reactor.poster())),
            ("timer", Probe::Timer),
            ("watch", Probe::Watch(watch, signal)),
            ("accept", Probe::Accept(listener, address)),
            ("wake", Probe::Wake),
        ]
    }

    fn happen(&mut self, reactor: &mut Reactor) {
        match self {
            Probe::Line(_, peer) => peer.write_all(b"look\n").expect("write"),
            Probe::Post(poster) => poster.post(0, Token(0)).expect("post"),
            Probe::Timer => drop(reactor.add_timer(Duration::ZERO, Token(0))),
            Probe::Watch(_, signal) => signal.set(),
            Probe::Accept(_, address) => drop(TcpStream::connect(*address).expect("connect")),
            Probe::Wake => reactor.waker().wake(),
        }
    }

    fn has_caused(&self, seen: &Seen) -> bool {
        match (self, seen) {
            (Probe::Line(conn, _), Seen::Received(of, _)) => conn == of,
            (Probe::Post(_), Seen::Posted(Token(0), _)) | (Probe::Timer, Seen::Timer(..)) => true,
            (Probe::Watch(watch, _), Seen::Ready(of)) => watch == of,
            (Probe::Accept(listener, _), Seen::Accepted(of, _)) => listener == of,
            (Probe::Wake, Seen::Woken) => true,
            _ => false,
        }
    }

    fn over(&mut self) {
        if let Probe::Watch(_, signal) = self {
            signal.unset();
        }
    }
}

/// How many waits each probe takes with the flood present. On Linux it is the most of many, because the result of a
/// call is visible when the call returns. On Windows other threads do the work, in their own time, while the reactor
/// runs through its waits, and on a busy machine that takes any number of them: there it is the least of many. A flood
/// that delays does so each time.
fn delays(capacity: usize, flood: impl FnOnce(&mut Rig) -> Flood, skip: &str) -> Vec<(&'static str, usize)> {
    let mut rig = Rig::with(&Reactor::builder().post_capacity(MANY)).capacity(capacity);
    let mut probes = Probe::all(&mut rig);
    let mut flood = flood(&mut rig);
    probes.retain(|(name, _)| *name != skip);
    let mut flooded = 0;
    let mut waits = 0;
    let mut delays = Vec::new();
    for (name, mut probe) in probes {
        let mut takes = Vec::new();
        for _ in 0..if cfg!(windows) { 9 } else { 30 } {
            probe.happen(&mut rig.reactor);
            let happened = Instant::now();
            let mut taken = 0;
            loop {
                flood.top_up();
                taken += 1;
                rig.reactor.wait(&mut rig.events, None).expect("wait");
                waits += 1;
                let seen: Vec<Seen> = rig.events.drain().map(Seen::from).collect();
                assert!(!seen.is_empty() && seen.len() <= capacity);
                flooded += usize::from(seen.iter().filter(|seen| flood.has_caused(seen)).count() > 0);
                if seen.iter().any(|seen| probe.has_caused(seen)) {
                    break;
                }
                assert!(happened.elapsed() < DEADLINE, "{name} does not come in {taken} waits");
            }
            takes.push(taken);
            probe.over();
        }
        takes.sort_unstable();
        delays.push((name, if cfg!(windows) { takes[0] } else { takes[takes.len() - 1] }));
    }
    assert!(flooded * 4 >= waits, "that was no flood: it had something in {flooded} of {waits} waits");
    delays
}

fn check(flood: fn(&mut Rig) -> Flood, skip: &str) {
    let _watchdog = watchdog();
    for capacity in [1, 2, 128] {
        let delays = delays(capacity, flood, skip);
        println!("capacity {capacity}: {delays:?}");
        // One at a time, each source of a flood has its turn first. On Windows, a listener has sixteen accepts, which
        // complete together.
        let bound = match (cfg!(windows), capacity) {
            (false, 1) => 2 * MANY,
            (false, _) => MANY,
            (true, 1) => 16 + 4 * MANY,
            (true, _) => 8 + 4 * MANY,
        };
        for (name, waits) in delays {
            assert!(waits <= bound, "a {name} takes {waits} waits with events for {capacity}");
        }
    }
}

#[test]
fn p03_hc19_a_flooding_socket_delays_nobody() {
    check(Flood::socket, "");
}

#[test]
fn p03_hc19_several_flooding_sockets_delay_nobody() {
    check(Flood::sockets, "");
}

#[test]
fn p03_hc19_a_flood_of_posts_delays_nobody() {
    check(Flood::posts, "post");
}

#[test]
fn p03_hc19_a_flood_of_timers_delays_nobody() {
    check(Flood::timers, "");
}

#[test]
fn p03_hc19_a_flood_of_watches_delays_nobody() {
    check(Flood::watches, "");
}

#[test]
fn p03_hc19_a_flood_of_accepts_delays_nobody() {
    check(Flood::accepts, "");
}
