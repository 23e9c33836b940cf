//! A game with a crew: its rounds with a deadline, and a codec of lines that does what a line says.
#![allow(dead_code)] // Each test program uses a different part of it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use dolmen::{
    Codec, Crew, CrewBuilder, CrewEvent, Event, LeaveReason, Link, LinkId, MemberStats, Reactor, Token,
};

use crate::common::{DEADLINE, Rig, SILENCE, note_progress, pair};

/// Panics without the panic hook, which would print a message.
pub fn fail(text: &str) -> ! {
    resume_unwind(Box::new(text.to_owned()))
}

/// One wait, whose events are handed over. Returns whether there were some.
#[track_caller]
pub fn wait<C: Codec>(rig: &mut Rig, crew: &mut Crew<C>, timeout: Duration) -> bool {
    let Rig { reactor, events } = rig;
    let found = reactor.wait(events, Some(timeout)).expect("wait");
    note_progress(found);
    for event in events.drain() {
        if let Some(other) = crew.handle(reactor, event) {
            assert!(matches!(other, Event::Woken), "{other:?} is not the crew's");
        }
    }
    found > 0
}

/// One round, which waits as long as this for its first event.
#[track_caller]
pub fn round<C: Codec>(rig: &mut Rig, crew: &mut Crew<C>, timeout: Duration) -> Vec<CrewEvent<C>> {
    wait(rig, crew, timeout);
    std::iter::from_fn(|| crew.next_event(&mut rig.reactor)).collect()
}

/// Events of one round after another, up to one like `last`, and to the end of its round.
#[track_caller]
pub fn until<C: Codec>(
    rig: &mut Rig,
    crew: &mut Crew<C>,
    mut last: impl FnMut(&CrewEvent<C>) -> bool,
) -> Vec<CrewEvent<C>> {
    let (mut all, end) = (Vec::new(), Instant::now() + DEADLINE);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "only these after {DEADLINE:?}: {all:?}");
        let before = all.len();
        all.extend(round(rig, crew, left));
        if all[before..].iter().any(&mut last) {
            return all;
        }
    }
}

/// Rounds without an event, until this is so.
#[track_caller]
pub fn until_true<C: Codec>(rig: &mut Rig, crew: &mut Crew<C>, mut is_so: impl FnMut(&Crew<C>) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so(crew) {
        assert!(Instant::now() < end, "it is not so after {DEADLINE:?}");
        let events = round(rig, crew, Duration::from_millis(1));
        assert!(events.is_empty(), "{events:?}");
    }
}

/// Nothing may happen for a while.
#[track_caller]
pub fn silent<C: Codec>(rig: &mut Rig, crew: &mut Crew<C>) {
    let end = Instant::now() + SILENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let events = round(rig, crew, left);
        assert!(events.is_empty(), "nothing was to happen: {events:?}");
        if left.is_zero() {
            return;
        }
    }
}

/// The token of the crew.
pub const CREW: Token = Token(1);

/// The token of the connections.
pub const LINKS: Token = Token(2);

/// How many threads a crew may have: none, one, and several.
pub const THREADS: [usize; 3] = [0, 1, 2];

/// Delivers the lines of its peer, and sends the game's. Some lines are orders for the codec itself:
///
/// * `panic` panics, with the line as its text,
/// * `close` and `abort` end the connection from the codec's side,
/// * `work`, from the peer or the game, takes 100 ms, as in an expensive codec,
/// * `expire N` sets a deadline in N ms, which is delivered as `expired`,
/// * `held`, from the game, is sent by the flush,
/// * `fuse`, from the game, has the flush panic,
/// * `overdue` sets a deadline that stays over.
pub struct Lines {
    unfinished: Vec<u8>,
    deadline: Option<Instant>,
    overdue: bool,
    held: Vec<u8>,
    /// Counts the codecs that exist.
    _alive: Arc<()>,
}

impl Lines {
    pub fn new(alive: &Arc<()>) -> Lines {
        Lines {
            unfinished: Vec::new(),
            deadline: None,
            overdue: false,
            held: Vec::new(),
            _alive: Arc::clone(alive),
        }
    }

    fn run_command(&mut self, line: &str, link: &mut Link<'_, Lines>) {
        let milliseconds = line.strip_prefix("expire ").and_then(|rest| rest.parse().ok());
        match line {
            "panic" => fail(line),
            "work" => thread::sleep(Duration::from_millis(100)),
            "close" => link.close(),
            "abort" => link.abort(),
            "overdue" => (self.deadline, self.overdue) = (Some(link.now()), true),
            _ => {
                self.deadline =
                    milliseconds.map(|time| link.now() + Duration::from_millis(time)).or(self.deadline)
            }
        }
    }
}

impl Codec for Lines {
    type Message = Said;
    type Reply = Vec<u8>;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            let end = piece.strip_suffix(b"\n");
            self.unfinished.extend_from_slice(end.unwrap_or(piece));
            if end.is_some() {
                let line = String::from_utf8(std::mem::take(&mut self.unfinished)).expect("text");
                link.deliver(Said::new(&line));
                self.run_command(&line, link);
                if ["close", "abort"].contains(&line.as_str()) {
                    return;
                }
            }
        }
    }

    fn send(&mut self, reply: Vec<u8>, link: &mut Link<'_, Self>) {
        match &*reply {
            b"held\n" | b"fuse\n" => return self.held = reply,
            b"work\n" => self.run_command("work", link),
            _ => {}
        }
        link.send(&reply);
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        if self.held == b"fuse\n" {
            fail("fuse");
        }
        link.send(&std::mem::take(&mut self.held));
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expired(&mut self, link: &mut Link<'_, Self>) {
        if !self.overdue {
            self.deadline = None;
        }
        link.deliver(Said::new("expired"));
    }
}

/// A line, and where the codec was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub line: String,
    pub thread: ThreadId,
}

impl Said {
    fn new(line: &str) -> Said {
        Said { line: line.to_owned(), thread: thread::current().id() }
    }
}

/// An event that outlives its round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Said(LinkId, String),
    Drained(LinkId),
    /// And the reason as its text.
    Left(LinkId, String),
    Failed(usize, String),
}

impl Seen {
    pub fn link(&self) -> Option<LinkId> {
        match self {
            Seen::Said(link, _) | Seen::Drained(link) | Seen::Left(link, _) => Some(*link),
            Seen::Failed(..) => None,
        }
    }
}

impl From<CrewEvent<Lines>> for Seen {
    fn from(event: CrewEvent<Lines>) -> Seen {
        match event {
            CrewEvent::Message { link, token: LINKS, message } => Seen::Said(link, message.line),
            CrewEvent::Drained { link, token: LINKS } => Seen::Drained(link),
            CrewEvent::Left { link, token: LINKS, reason } => Seen::Left(link, short(&reason)),
            CrewEvent::MemberFailed { member, cause } => Seen::Failed(member, cause),
            other => panic!("an event that the tests do not know: {other:?}"),
        }
    }
}

/// The reason without its details.
fn short(reason: &LeaveReason) -> String {
    match reason {
        LeaveReason::Closed(reason) => format!("{reason:?}").split(' ').next().expect("a word").to_owned(),
        LeaveReason::Refused(error) => format!("Refused {:?}", error.kind()),
        LeaveReason::MemberFailed => "MemberFailed".to_owned(),
        other => panic!("a reason that the tests do not know: {other:?}"),
    }
}

/// The game: a reactor and its crew.
pub struct Game {
    pub rig: Rig,
    pub crew: Crew<Lines>,
    alive: Arc<()>,
}

impl Game {
    pub fn new(threads: usize) -> Game {
        Game::with(&CrewBuilder::new(CREW).threads(threads), Rig::new())
    }

    pub fn with(settings: &CrewBuilder, rig: Rig) -> Game {
        let crew = settings.build(&rig.reactor).expect("a crew");
        Game { rig, crew, alive: Arc::default() }
    }

    /// Drops the crew. Returns how many of its codecs are left.
    pub fn drop_crew(self) -> (Rig, usize) {
        let Game { rig, crew, alive } = self;
        drop(crew);
        (rig, Arc::strong_count(&alive) - 1)
    }

    /// The same, with an end that reaches those on the game's thread.
    pub fn end_crew(self) -> (Rig, usize) {
        let Game { mut rig, crew, alive } = self;
        crew.end(&mut rig.reactor);
        (rig, Arc::strong_count(&alive) - 1)
    }

    /// A connection of the crew, and its peer.
    pub fn connect(&mut self) -> (LinkId, TcpStream) {
        let (ours, peer) = pair();
        (self.add(ours), peer)
    }

    pub fn add(&mut self, stream: TcpStream) -> LinkId {
        let codec = Lines::new(&self.alive);
        self.crew.add(&mut self.rig.reactor, stream, codec, LINKS)
    }

    /// One round, which waits as long as this for its first event.
    pub fn round(&mut self, timeout: Duration, mut handle: impl FnMut(&mut Self, CrewEvent<Lines>)) {
        let Rig { reactor, events } = &mut self.rig;
        let count = reactor.wait(events, Some(timeout)).expect("wait");
        note_progress(count);
        for event in events.drain() {
            if let Some(other) = self.crew.handle(reactor, event) {
                assert!(matches!(other, Event::Woken), "{other:?} is not the crew's");
            }
        }
        while let Some(event) = self.crew.next_event(&mut self.rig.reactor) {
            handle(self, event);
        }
    }

    /// Rounds until `handle` has returned true, and then to the end of that round. `what` names the expectation.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut handle: impl FnMut(&mut Self, CrewEvent<Lines>) -> bool) {
        let mut deadline = Instant::now() + DEADLINE;
        let mut over = false;
        while !over {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} after {DEADLINE:?}: {:?}", self.members());
            self.round(left, |game, event| {
                deadline = Instant::now() + DEADLINE;
                over |= handle(game, event);
            });
        }
    }

    /// All events up to one like `last`, and to the end of its round.
    #[track_caller]
    pub fn seen_until(&mut self, what: &str, mut last: impl FnMut(&Seen) -> bool) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.until(what, |_, event| {
            seen.push(Seen::from(event));
            last(seen.last().expect("just pushed"))
        });
        seen
    }

    /// All events up to the end of these connections.
    #[track_caller]
    pub fn seen_until_left(&mut self, links: &[LinkId]) -> Vec<Seen> {
        let mut left = 0;
        self.seen_until("end of the connections", |seen| {
            left += usize::from(matches!(seen, Seen::Left(link, _) if links.contains(link)));
            left == links.len()
        })
    }

    /// Nothing more may happen.
    #[track_caller]
    pub fn silent(&mut self) {
        let end = Instant::now() + SILENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.round(left, |_, event| panic!("nothing was to happen any more: {event:?}"));
            if left.is_zero() {
                return;
            }
        }
    }

    /// The peer says this line, and the game answers it: the connection works. Returns the thread of its codec.
    #[track_caller]
    pub fn echo(&mut self, link: LinkId, peer: &mut TcpStream, line: &str) -> ThreadId {
        peer.write_all(format!("{line}\n").as_bytes()).expect("write");
        let mut said = None;
        self.until("line", |game, event| {
            let CrewEvent::Message { link: from, message, .. } = event else { panic!("{event:?}") };
            assert_eq!((from, message.line.as_str()), (link, line));
            game.send(link, line);
            said = Some(message.thread);
            true
        });
        assert_eq!(self.read(peer, line.len() + 1), format!("{line}\n").as_bytes());
        said.expect("it was said")
    }

    /// Reads so many bytes. A codec on the game's thread sends them in the meantime.
    #[track_caller]
    pub fn read(&mut self, peer: &mut TcpStream, count: usize) -> Vec<u8> {
        self.rig.reactor.flush();
        let mut bytes = vec![0; count];
        peer.read_exact(&mut bytes).expect("the peer reads");
        bytes
    }

    /// Sends a line, for which there must be room.
    #[track_caller]
    pub fn send(&mut self, link: LinkId, line: &str) {
        let line = format!("{line}\n").into_bytes();
        self.crew.send(&mut self.rig.reactor, link, line).expect("there is room");
    }

    #[track_caller]
    pub fn close(&mut self, link: LinkId) {
        self.crew.close(&mut self.rig.reactor, link).expect("it is there");
    }

    #[track_caller]
    pub fn abort(&mut self, link: LinkId) {
        self.crew.abort(&mut self.rig.reactor, link).expect("it is there");
    }

    #[track_caller]
    pub fn set_threads(&mut self, count: usize) {
        self.crew.set_threads(&self.rig.reactor, count).expect("threads");
    }

    pub fn members(&self) -> Vec<MemberStats> {
        self.crew.members().collect()
    }

    pub fn reactor(&mut self) -> &mut Reactor {
        &mut self.rig.reactor
    }
}

/// The lines that a connection has said.
pub fn lines_of(seen: &[Seen], link: LinkId) -> Vec<&str> {
    let said = seen.iter().filter_map(|seen| match seen {
        Seen::Said(from, line) if *from == link => Some(line.as_str()),
        _ => None,
    });
    said.collect()
}

/// `Left` comes once for each connection, and nothing of it later.
#[track_caller]
pub fn assert_left_once_and_last(seen: &[Seen], links: &[LinkId]) {
    for &link in links {
        let of_link: Vec<_> = seen.iter().filter(|seen| seen.link() == Some(link)).collect();
        let ends = of_link.iter().filter(|seen| matches!(seen, Seen::Left(..))).count();
        assert_eq!(ends, 1, "ends of {link}: {of_link:?}");
        assert!(matches!(of_link.last(), Some(Seen::Left(..))), "after the end of {link}: {of_link:?}");
    }
}

/// Writes to a stream in non-blocking mode as much as the system takes. In pieces, as Windows takes any piece whole while there
/// is room for a byte.
pub fn write_what_fits(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..bytes.len().min(written + 4096)]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error} after {written} bytes"),
        }
    }
    written
}

/// `line N` for each number below this.
pub fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
}

/// Reads lines to the end of the stream, in a thread. They have to be `line 0`, `line 1`, …; returns how many there were.
pub fn count_numbered(peer: TcpStream) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let lines = BufReader::new(peer).lines().map(|line| line.expect("an orderly end"));
        lines.enumerate().inspect(|(number, line)| assert_eq!(*line, format!("line {number}"))).count()
    })
}

/// The other side has ended the connection, in whatever way.
#[track_caller]
pub fn assert_ended(mut peer: &TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let reset = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted);
                return assert!(reset, "{error}");
            }
        }
    }
}
