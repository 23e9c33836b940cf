//! Sockets and handles whose fate the caller shares with the reactor.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::OwnedHandle;
use std::thread;
use std::time::{Duration, Instant};

use dolmen::{Event, Events, Reactor, Token};
use io_reactor::EVENT_READ;
use socket2::SockRef;

use crate::c_library::CReactor;
use crate::case::{Check, Outcome, Result, fail};
use crate::sys;

const DEADLINE: Duration = Duration::from_secs(10);

/// Two streams that are connected to each other.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let peer = TcpStream::connect(listener.local_addr()?)?;
    peer.set_read_timeout(Some(DEADLINE))?;
    Ok((listener.accept()?.0, peer))
}

/// Connects, also while the listener's backlog is full: Windows refuses those for whom there is no room.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let end = Instant::now() + DEADLINE;
    loop {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < end => {}
            result => return result,
        }
    }
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

pub fn listener_under_resets(check: &Check) -> Result {
    let rounds = if check.quick { 50 } else { 500 };
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(128);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    reactor.listen(listener, Token(0))?;
    // For each peer that stays, four that reset immediately, some of them before they are accepted.
    let peers = thread::spawn(move || -> io::Result<Vec<TcpStream>> {
        let mut stay = Vec::new();
        for _ in 0..rounds {
            for _ in 0..4 {
                reset(connect(address)?)?;
            }
            stay.push(connect(address)?);
        }
        Ok(stay)
    });
    let (mut accepted, mut failures) = (HashSet::<SocketAddr>::new(), 0);
    let mut expected: Option<HashSet<SocketAddr>> = None;
    let mut peers = Some(peers);
    let mut _stay = Vec::new();
    let end = Instant::now() + DEADLINE * 5;
    while expected.as_ref().is_none_or(|expected| !expected.is_subset(&accepted)) {
        if Instant::now() > end {
            let (of, count) = (expected.map_or(0, |expected| expected.len()), accepted.len());
            fail!("{count} were accepted, and not all of the {of} that stay; {failures} accepts failed");
        }
        reactor.wait(&mut events, Some(Duration::from_millis(10)))?;
        for event in &mut events {
            match event {
                Event::Accepted { peer, .. } => drop(accepted.insert(peer)),
                Event::AcceptFailed { .. } => failures += 1,
                other => fail!("{other:?}"),
            }
        }
        if let Some(thread) = peers.take_if(|thread| thread.is_finished()) {
            _stay = thread.join().map_err(|_| "the peers panicked")??;
            expected = Some(_stay.iter().map(TcpStream::local_addr).collect::<io::Result<_>>()?);
        }
    }
    Ok(Outcome::Pass(format!(
        "{} reset and {rounds} stayed; all that stayed were accepted, of {} in all; {failures} accepts failed",
        4 * rounds,
        accepted.len()
    )))
}

/// Windows reports a closed port as a reset of the socket, and a datagram that was cut as a warning, both of one that
/// arrives during a receive and of those that waited for it.
pub fn closed_ports(check: &Check) -> Result {
    const CUT_BEFORE: u8 = 3;
    let rounds = if check.quick { 50 } else { 500 };
    for skip in [true, false] {
        let mut reactor = Reactor::builder().skip_on_success(skip).buffer_size(100).build()?;
        let mut events = Events::with_capacity(16);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let before = UdpSocket::bind("127.0.0.1:0")?;
        for byte in 1..=CUT_BEFORE {
            before.send_to(&[byte; 101], address)?;
        }
        let udp = reactor.udp(socket, Token(0))?;
        let mut cut = 0;
        while cut < CUT_BEFORE {
            if reactor.wait(&mut events, Some(DEADLINE))? == 0 {
                fail!("{cut} of {CUT_BEFORE} datagrams came that were cut in the call, skip {skip}");
            }
            for event in &mut events {
                cut += 1;
                match event {
                    Event::Datagram { data, truncated: true, .. } if data == [cut; 100] => {}
                    other => fail!("{other:?} instead of cut datagram {cut}, skip {skip}"),
                }
            }
        }
        for round in 0..rounds {
            let peer = UdpSocket::bind("127.0.0.1:0")?;
            let size = [5, 0, 100, 101, 1_000][round % 5];
            peer.send_to(&[7; 1_000][..size], address)?;
            drop(peer);
            if reactor.wait(&mut events, Some(DEADLINE))? == 0 {
                fail!("nothing came in round {round}, skip {skip}");
            }
            for event in &mut events {
                match event {
                    Event::Datagram { data, truncated, from, .. }
                        if data.len() == size.min(100) && truncated == (size > 100) =>
                    {
                        reactor.send_to(udp, data, from)?;
                    }
                    other => fail!("{other:?} in round {round}, skip {skip}"),
                }
            }
            reactor.flush();
        }
        let unknown = reactor.stats().unknown_completions;
        if unknown > 0 {
            fail!("{unknown} packets too many, skip {skip}");
        }
    }
    Ok(Outcome::Pass(format!(
        "{rounds} peers, each gone before its answer, with and without skip-on-success"
    )))
}

pub fn add_again_with_a_receive(check: &Check) -> Result {
    let rounds = if check.quick { 50 } else { 500 };
    let reactor = CReactor::new()?;
    let (ours, mut peer) = pair()?;
    for round in 1..=rounds {
        reactor.add(&ours, round)?;
        reactor.wait(Duration::ZERO)?;
        if reactor.stats()?.operations_in_flight == 0 {
            fail!("round {round}: no receive is in flight");
        }
        reactor.remove(&ours)?;
        // With the packet of the receive that was cancelled still in the port, or with the receive still in flight.
        reactor.add(&ours, round + rounds)?;
        peer.write_all(b"hello")?;
        let mut received = Vec::new();
        let end = Instant::now() + DEADLINE;
        while received.len() < 5 {
            if Instant::now() > end {
                fail!("round {round}: {} of 5 bytes were received", received.len());
            }
            for event in reactor.wait(Duration::from_millis(100))? {
                if event.context != round + rounds || event.flags != EVENT_READ {
                    fail!("round {round}: {event:?}");
                }
                received.extend(event.bytes);
            }
            if received.len() < 5 {
                reactor.post_read(&ours)?;
            }
        }
        if received != b"hello" {
            fail!("round {round}: received {:?}", String::from_utf8_lossy(&received));
        }
        reactor.remove(&ours)?;
    }
    Ok(Outcome::Pass(format!("{rounds} times, and no byte is missing")))
}

pub fn add_again_with_a_send(check: &Check) -> Result {
    const PIECE: usize = 1 << 20;
    const MOST_PIECES: usize = 256;
    let rounds = if check.quick { 2 } else { 10 };
    let reactor = CReactor::new()?;
    let piece = vec![b'x'; PIECE];
    let mut reused = 0;
    for round in 0..rounds {
        let (ours, mut peer) = pair()?;
        reactor.add(&ours, 1)?;
        let is_full = |posted: &mut usize| -> Result<bool> {
            for _ in 0..MOST_PIECES {
                reactor.post_write(&ours, &piece)?;
                *posted += PIECE;
                // The peer reads nothing: once the system has taken what it takes, the rest stays.
                reactor.wait(Duration::from_millis(100))?;
                if reactor.stats()?.queued_bytes > 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let mut posted = 0;
        if !is_full(&mut posted)? {
            return Ok(Outcome::Skip(format!("the system takes {posted} bytes that no one reads")));
        }
        reactor.remove(&ours)?;
        if reactor.add(&ours, 2).is_ok() {
            fail!("round {round}: a stream with a hole was accepted again");
        }
        let number = std::os::windows::io::AsRawSocket::as_raw_socket(&ours);
        // The peer gets the beginning of what was posted, and then the end of the stream or a reset.
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            let _end_or_reset = peer.read_to_end(&mut got);
            got
        });
        drop(ours);
        let (ours, mut peer) = pair()?;
        reused += usize::from(std::os::windows::io::AsRawSocket::as_raw_socket(&ours) == number);
        reactor.add(&ours, 3)?;
        peer.write_all(b"next")?;
        let end = Instant::now() + DEADLINE;
        let mut received = Vec::new();
        while received.len() < 4 {
            if Instant::now() > end {
                fail!("round {round}: the next socket receives nothing");
            }
            let events = reactor.wait(Duration::from_millis(100))?;
            if let Some(event) = events.iter().find(|event| event.context != 3) {
                fail!("round {round}: {event:?}");
            }
            events.into_iter().for_each(|event| received.extend(event.bytes));
            if received.len() < 4 {
                reactor.post_read(&ours)?;
            }
        }
        if received != b"next" {
            fail!("round {round}: the next socket received {:?}", String::from_utf8_lossy(&received));
        }
        reactor.remove(&ours)?;
        let got = reader.join().map_err(|_| "the reader panicked")?;
        if got.len() > posted || got.iter().any(|&byte| byte != b'x') {
            fail!("round {round}: the peer got {} bytes of {posted}, and not all are right", got.len());
        }
    }
    Ok(Outcome::Pass(format!("{rounds} times; {reused} times the next socket had the same number")))
}

pub fn own_overlapped_call(_: &Check) -> Result {
    let mut figures = Vec::new();
    // A call that succeeds immediately sends a packet only in the second.
    for skips in [true, false] {
        match own_overlapped_calls(skips)? {
            Outcome::Pass(packets) => figures.push(packets),
            outcome => return Ok(outcome),
        }
    }
    Ok(Outcome::Pass(format!(
        "packets that came to the reactor's port, and were dropped: {}",
        figures.join("; ")
    )))
}

fn own_overlapped_calls(skips: bool) -> Result {
    const CALLS: usize = 100;
    let mut reactor = Reactor::builder().skip_on_success(skips).build()?;
    let mut events = Events::with_capacity(16);
    let (ours, mut peer) = pair()?;
    // A duplicate is the same socket to the system, and so its calls complete on the reactor's port.
    let duplicate = ours.try_clone()?;
    let conn = reactor.add(ours, Token(1))?;
    let mut peer_received = [0; 4];
    for n in 0..CALLS {
        if sys::send_overlapped(&duplicate, b"mine")? != 4 {
            fail!("call {n} sent less than all");
        }
        peer.read_exact(&mut peer_received)?;
        if &peer_received != b"mine" {
            fail!("call {n}: the peer received {peer_received:?}");
        }
        // The reactor still receives and sends.
        peer.write_all(b"ours")?;
        let end = Instant::now() + DEADLINE;
        let mut received = 0;
        while received < 4 {
            if Instant::now() > end {
                fail!("call {n}: the reactor receives nothing any more");
            }
            reactor.wait(&mut events, Some(Duration::from_millis(100)))?;
            for event in &mut events {
                match event {
                    Event::Received { data, .. } => received += data.len(),
                    other => fail!("call {n}: {other:?}"),
                }
            }
        }
        reactor.send(conn, b"echo")?;
        reactor.flush();
        peer.read_exact(&mut peer_received)?;
        if &peer_received != b"echo" {
            fail!("call {n}: the peer received {peer_received:?}");
        }
    }
    let stats = reactor.stats();
    let dropped = stats.unknown_completions + stats.foreign_completions;
    let how = if skips { "with" } else { "without" };
    Ok(Outcome::Pass(format!("{dropped} of {CALLS} {how} skip-on-success")))
}

pub fn watches(_: &Check) -> Result {
    const COUNT: usize = 300;
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(COUNT);
    let handles = (0..COUNT).map(|_| sys::event()).collect::<io::Result<Vec<OwnedHandle>>>()?;
    for (n, handle) in handles.iter().enumerate() {
        reactor.watch(handle, Token(n))?;
    }
    let mut waits = 0;
    let mut slowest = Duration::ZERO;
    // All of them together, and then each by itself, from the last to the first.
    let together: Vec<usize> = (0..COUNT).collect();
    for due in std::iter::once(together).chain((0..COUNT).rev().map(|n| vec![n])) {
        let mut missing: HashSet<usize> = due.iter().copied().collect();
        let start = Instant::now();
        due.iter().try_for_each(|&n| sys::set(&handles[n]))?;
        while !missing.is_empty() {
            if start.elapsed() > DEADLINE {
                fail!("{} of {} watches were not reported", missing.len(), due.len());
            }
            reactor.wait(&mut events, Some(Duration::from_millis(100)))?;
            waits += 1;
            for event in &mut events {
                let Event::Ready { token: Token(n), .. } = event else { fail!("{event:?}") };
                if !missing.remove(&n) {
                    fail!("watch {n} was reported, and its event was not set");
                }
            }
        }
        if due.len() == 1 {
            slowest = slowest.max(start.elapsed());
        }
    }
    Ok(Outcome::Pass(format!(
        "{COUNT} together and each by itself, in {waits} waits; the slowest took {:.2} ms",
        slowest.as_secs_f64() * 1000.0
    )))
}
