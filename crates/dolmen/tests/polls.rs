//! Borrowed sockets on Linux, as the C library uses them: a report of a wait is true at that time, and every ready
//! socket is reported within a bounded number of waits, however few events a wait has room for.
#![cfg(all(target_os = "linux", feature = "c-api"))]

mod common;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Random, watchdog};
use dolmen::raw::{Batch, BorrowedSocket, PollId, ReactorApi, Readiness, Record};
use dolmen::{Reactor, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{OFlags, fcntl_setfl};

/// The result of poll(2) for a descriptor, in the reactor's terms, for an interest.
fn oracle(fd: RawFd, interest: Readiness) -> Readiness {
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::IN, interest.contains(Readiness::READABLE));
    wanted.set(PollFlags::OUT, interest.contains(Readiness::WRITABLE));
    // SAFETY: only a query; a number that stands for nothing is reported as such.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    let mut ready = Readiness::NONE;
    for (flag, bit) in [
        (PollFlags::IN, Readiness::READABLE),
        (PollFlags::OUT, Readiness::WRITABLE),
        (PollFlags::HUP, Readiness::HANGUP),
        (PollFlags::ERR, Readiness::ERROR),
    ] {
        if fds[0].revents().contains(flag) {
            ready |= bit;
        }
    }
    ready
}

fn ready(reactor: &mut Reactor, events: &mut Batch<TcpStream>, timeout: Duration) -> Vec<(usize, Readiness)> {
    ReactorApi::wait(reactor, events, Some(timeout)).expect("wait");
    events
        .drain()
        .map(|record| match *record {
            Record::Polled { token, ready, .. } => (token.0, ready),
            _ => panic!("{record:?}"),
        })
        .collect()
}

fn borrow(fd: &impl AsFd) -> BorrowedSocket {
    // SAFETY: the tests keep registered sockets open, or say where they do not.
    unsafe { BorrowedSocket::from_raw(fd.as_fd().as_raw_fd()) }
}

#[test]
fn a_wait_for_one_event_reports_no_socket_that_was_read_meanwhile() {
    let _watchdog = watchdog();
    let mut reactor = Reactor::new().expect("a reactor");
    let mut events = Batch::with_capacity(1);
    let mut pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().expect("a pair")).collect();
    for (n, (ours, peer)) in pairs.iter_mut().enumerate() {
        reactor.add_poll(borrow(ours), Readiness::READABLE, false, Token(n)).expect("add");
        peer.write_all(b"x").expect("write");
    }
    for _ in 0..100 {
        assert_eq!(ready(&mut reactor, &mut events, Duration::ZERO).len(), 1);
        // All of them are read, also those that were not reported yet.
        for (ours, _) in &mut pairs {
            ours.read_exact(&mut [0]).expect("read");
        }
        for _ in 0..4 {
            assert_eq!(ready(&mut reactor, &mut events, Duration::ZERO), [], "nothing is there");
        }
        let polls = reactor.stats().kernel_waits;
        assert_eq!(ready(&mut reactor, &mut events, Duration::from_millis(1)), []);
        assert!(reactor.stats().kernel_waits - polls <= 3, "it does not block");
        for (_, peer) in &mut pairs {
            peer.write_all(b"x").expect("write");
        }
    }
}

#[test]
fn a_wait_for_one_event_reports_every_ready_socket_in_turn() {
    let _watchdog = watchdog();
    const SOCKETS: usize = 5;
    for room in 1..=3 {
        let mut reactor = Reactor::new().expect("a reactor");
        let mut events = Batch::with_capacity(room);
        let pairs: Vec<_> = (0..SOCKETS).map(|_| UnixStream::pair().expect("a pair")).collect();
        let files: Vec<_> = (0..2).map(|_| File::open("/dev/null").expect("open")).collect();
        for (n, (ours, _)) in pairs.iter().enumerate() {
            let both = Readiness::READABLE | Readiness::WRITABLE;
            reactor.add_poll(borrow(ours), both, false, Token(n)).expect("add");
        }
        for (n, file) in files.iter().enumerate() {
            let token = Token(SOCKETS + n);
            reactor.add_poll(borrow(file), Readiness::READABLE, false, token).expect("add");
        }
        let all = SOCKETS + files.len();
        let mut last = vec![0; all];
        for wait in 1..=500 {
            if wait % 3 == 0 {
                reactor.waker().wake();
            }
            ReactorApi::wait(&mut reactor, &mut events, Some(Duration::ZERO)).expect("wait");
            for record in events.drain() {
                match *record {
                    Record::Polled { token, .. } => last[token.0] = wait,
                    Record::Woken => {}
                    _ => panic!("{record:?}"),
                }
            }
            for (n, &last) in last.iter().enumerate() {
                assert!(
                    wait - last <= 4 * all,
                    "room for {room}: source {n} was reported in wait {last}, not since"
                );
            }
        }
    }
}

/// A descriptor of the test, its peer, and its registration.
struct Source {
    fd: OwnedFd,
    peer: Option<Peer>,
    kind: &'static str,
    registered: Option<(PollId, Readiness)>,
    token: usize,
    /// In how many consecutive waits it was ready and not reported.
    missed: usize,
}

enum Peer {
    Socket(OwnedFd),
    Listener(std::net::SocketAddr, Vec<TcpStream>),
}

fn make_source(random: &mut Random, token: usize) -> Source {
    let (fd, peer, kind) = match random.below(6) {
        0 => {
            let (ours, peer) = UnixStream::pair().expect("a pair");
            (ours.into(), Some(Peer::Socket(peer.into())), "unix stream")
        }
        1 => {
            let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
            (reader, Some(Peer::Socket(writer)), "read end of a pipe")
        }
        2 => {
            let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
            (writer, Some(Peer::Socket(reader)), "write end of a pipe")
        }
        3 => {
            let (ours, peer) = common::pair();
            (ours.into(), Some(Peer::Socket(peer.into())), "TCP stream")
        }
        4 => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            (listener.into(), Some(Peer::Listener(address, Vec::new())), "listener")
        }
        _ => (File::open("/dev/null").expect("open").into(), None, "/dev/null"),
    };
    let other = peer.as_ref().and_then(|peer| if let Peer::Socket(fd) = peer { Some(fd) } else { None });
    for fd in [Some(&fd), other].into_iter().flatten() {
        let flags = rustix::fs::fcntl_getfl(fd).expect("flags");
        fcntl_setfl(fd, OFlags::NONBLOCK | flags).expect("non-blocking");
    }
    Source { fd, peer, kind, registered: None, token, missed: 0 }
}

fn some_interest(random: &mut Random) -> Readiness {
    [Readiness::NONE, Readiness::READABLE, Readiness::WRITABLE, Readiness::READABLE | Readiness::WRITABLE]
        [random.below(4)]
}

/// One random program. This thread performs every action on a source, so the result of poll(2) right after a wait is
/// the state at the time of the wait, except for TCP's own timers: those only add to it.
struct Program {
    random: Random,
    reactor: Reactor,
    events: Batch<TcpStream>,
    sources: Vec<Source>,
    /// Descriptors that were closed here while another descriptor keeps the file open, so that epoll still reports it.
    elsewhere: Vec<OwnedFd>,
    next_token: usize,
    room: usize,
    log: Vec<String>,
}

impl Program {
    fn new(seed: u64) -> Program {
        let mut random = Random::new(seed);
        let room = 1 + random.below(4);
        Program {
            random,
            reactor: Reactor::new().expect("a reactor"),
            events: Batch::with_capacity(room),
            sources: Vec::new(),
            elsewhere: Vec::new(),
            next_token: 0,
            room,
            log: Vec::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..40 {
            self.step();
        }
        // In the end every ready source is reported.
        for _ in 0..self.bound() + 1 {
            self.wait();
        }
    }

    fn log(&mut self, what: &str, source: Option<usize>) {
        let of = source.map(|at| {
            let source = &self.sources[at];
            format!(" {} {} (fd {})", source.kind, source.token, source.fd.as_raw_fd())
        });
        self.log.push(format!("{what}{}", of.unwrap_or_default()));
    }

    fn step(&mut self) {
        let choice = self.random.below(16);
        if self.sources.is_empty() || (choice == 0 && self.sources.len() < 8) {
            let source = make_source(&mut self.random, self.next_token);
            self.next_token += 1;
            self.sources.push(source);
            return self.log("make", Some(self.sources.len() - 1));
        }
        let at = self.random.below(self.sources.len());
        match choice {
            0..=2 => self.add_or_modify(at),
            3 => self.remove(at),
            4 => self.close(at),
            5..=6 => self.read_ours(at),
            7 => self.write_ours(at),
            8..=9 => self.write_peer(at),
            10 => self.read_peer(at),
            11 => self.end_peer(at),
            _ => self.wait(),
        }
    }

    fn add_or_modify(&mut self, at: usize) {
        let interest = some_interest(&mut self.random);
        self.log(&format!("interest {interest:?} in"), Some(at));
        let source = &mut self.sources[at];
        match &mut source.registered {
            Some((poll, registered)) => {
                self.reactor.set_interest(*poll, interest).expect("modify");
                *registered = interest;
            }
            None => {
                let poll = self.reactor.add_poll(borrow(&source.fd), interest, false, Token(source.token));
                source.registered = Some((poll.expect("add"), interest));
            }
        }
        source.missed = 0;
    }

    fn remove(&mut self, at: usize) {
        self.log("remove", Some(at));
        if let Some((poll, _)) = self.sources[at].registered.take() {
            assert!(self.reactor.remove_poll(poll));
        }
    }

    /// Closed before it is removed, or after, with a duplicate or without; and its number is reused immediately.
    fn close(&mut self, at: usize) {
        let (unremoved, duplicated) = (self.random.below(2) == 0, self.random.below(2) == 0);
        self.log(
            &format!(
                "close{}{}",
                if unremoved { " unremoved" } else { "" },
                if duplicated { ", open elsewhere," } else { "" }
            ),
            Some(at),
        );
        if duplicated {
            self.elsewhere.push(self.sources[at].fd.try_clone().expect("dup"));
        }
        if !unremoved {
            self.remove(at);
        }
        let Source { registered, fd, .. } = self.sources.swap_remove(at);
        drop(fd);
        let source = make_source(&mut self.random, self.next_token);
        self.next_token += 1;
        // The caller finds out late that the number belongs to another file, as the C library does when it adds that
        // one.
        if let Some((poll, _)) = registered {
            assert!(self.reactor.remove_poll(poll));
        }
        self.sources.push(source);
        self.log("make", Some(self.sources.len() - 1));
        self.add_or_modify(self.sources.len() - 1);
    }

    fn read_ours(&mut self, at: usize) {
        self.log("read", Some(at));
        let source = &self.sources[at];
        if source.kind == "listener" {
            let _ = rustix::net::accept(&source.fd);
        } else {
            let mut bytes = vec![0; 1 << self.random.below(18)];
            let _ = rustix::io::read(&source.fd, &mut bytes);
        }
    }

    fn write_ours(&mut self, at: usize) {
        self.log("write", Some(at));
        let bytes = vec![0; 1 << self.random.below(18)];
        let source = &self.sources[at];
        if source.kind != "listener" {
            let _ = rustix::io::write(&source.fd, &bytes);
        }
    }

    fn write_peer(&mut self, at: usize) {
        self.log("peer writes to", Some(at));
        let bytes = vec![0; 1 << self.random.below(10)];
        match &mut self.sources[at].peer {
            Some(Peer::Socket(peer)) => {
                let _ = rustix::io::write(peer, &bytes);
            }
            Some(Peer::Listener(address, clients)) => {
                clients.push(TcpStream::connect(*address).expect("connect"))
            }
            None => {}
        }
    }

    fn read_peer(&mut self, at: usize) {
        self.log("peer reads from", Some(at));
        if let Some(Peer::Socket(peer)) = &self.sources[at].peer {
            let mut bytes = vec![0; 1 << 18];
            while rustix::io::read(peer, &mut bytes).is_ok_and(|count| count > 0) {}
        }
    }

    fn end_peer(&mut self, at: usize) {
        let shut = self.random.below(2) == 0;
        self.log(if shut { "peer shuts down" } else { "peer closes" }, Some(at));
        let source = &mut self.sources[at];
        match &mut source.peer {
            Some(Peer::Socket(peer)) if shut => {
                let _ = rustix::net::shutdown(peer, rustix::net::Shutdown::Write);
            }
            Some(Peer::Socket(_)) => source.peer = None,
            Some(Peer::Listener(_, clients)) => clients.clear(),
            None => {}
        }
    }

    /// Within how many waits every ready source has to be reported.
    fn bound(&self) -> usize {
        4 * self.sources.len().div_ceil(self.room) + 4
    }

    fn wait(&mut self) {
        let before: HashMap<usize, Readiness> = self.sources.iter().filter_map(expected).collect();
        let reported = ready(&mut self.reactor, &mut self.events, Duration::ZERO);
        let bound = self.bound();
        self.log(&format!("wait: {reported:?} of {before:?}"), None);
        for source in &mut self.sources {
            let found: Vec<_> = reported.iter().filter(|(token, _)| *token == source.token).collect();
            let now = expected(source).map(|(_, ready)| ready);
            let before = before.get(&source.token).copied().unwrap_or(Readiness::NONE);
            let (kind, token) = (source.kind, source.token);
            assert!(found.len() <= 1, "{kind} {token} twice");
            if let Some((_, ready)) = found.first() {
                source.missed = 0;
                let possible = now.unwrap_or(Readiness::NONE) | before;
                assert!(
                    !ready.is_empty() && possible.contains(*ready),
                    "{kind} {token}: {ready:?} of {possible:?}"
                );
                continue;
            }
            // Ready before the wait and after it, so in between too.
            source.missed =
                if (before & now.unwrap_or(Readiness::NONE)).is_empty() { 0 } else { source.missed + 1 };
            assert!(source.missed <= bound, "{kind} {token}: {before:?} was not reported in {bound} waits");
        }
        let unknown =
            |(token, _): &&(usize, Readiness)| self.sources.iter().all(|source| source.token != *token);
        assert_eq!(reported.iter().find(unknown), None, "of an unknown socket");
    }
}

/// The expected report of a source. An end is not reported while there are bytes before it, if reading is of interest.
fn expected(source: &Source) -> Option<(usize, Readiness)> {
    let (_, interest) = source.registered?;
    if interest.is_empty() {
        return None;
    }
    let mut ready = oracle(source.fd.as_raw_fd(), interest);
    let ends = Readiness::HANGUP | Readiness::ERROR;
    let bytes = rustix::io::ioctl_fionread(&source.fd).unwrap_or(0);
    if !(ready & ends).is_empty() && bytes > 0 && ready.contains(Readiness::READABLE) {
        ready = ready & (Readiness::READABLE | Readiness::WRITABLE);
    }
    (!ready.is_empty()).then_some((source.token, ready))
}

/// Ten thousand of them by `DOLMEN_POLL_PROGRAMS=10000`; `DOLMEN_POLL_SEED` is the first one.
#[test]
fn epoll_agrees_with_poll_in_random_programs() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (first, programs) = (number("DOLMEN_POLL_SEED", 0), number("DOLMEN_POLL_PROGRAMS", 1_000));
    let start = Instant::now();
    for seed in first..first + programs {
        let mut program = Program::new(seed);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| program.run()));
        if ran.is_err() {
            panic!(
                "DOLMEN_POLL_SEED={seed} DOLMEN_POLL_PROGRAMS=1, room for {}:\n{}",
                program.room,
                program.log.join("\n")
            );
        }
    }
    println!("{programs} programs in {:?}", start.elapsed());
}
