//! Names: look-ups of addresses and of names, on threads of their own.

mod common;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, watchdog};
use dolmen::internal::Resolver;
use dolmen::{ErrorKind, Event, LookupId, Reactor, Token};

const MUD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// What the threads of a reactor do with a name.
#[derive(Default)]
struct Stub {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Look-ups of "hangs" return.
    released: bool,
    hanging: usize,
    /// How many look-ups each thread has made.
    threads: HashMap<ThreadId, usize>,
    in_progress: usize,
    most_in_progress: usize,
}

impl Stub {
    fn rig(self: &Arc<Stub>) -> Rig {
        let resolver: Arc<dyn Resolver> = self.clone();
        Rig::with(&Reactor::builder().resolver(resolver))
    }

    /// Waits until that many look-ups hang.
    fn until_hanging(&self, count: usize) {
        let state = self.state.lock().expect("the state");
        drop(self.changed.wait_while(state, |state| state.hanging < count).expect("the state"));
    }

    fn release(&self) {
        self.state.lock().expect("the state").released = true;
        self.changed.notify_all();
    }
}

impl Resolver for Stub {
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut state = self.state.lock().expect("the state");
        *state.threads.entry(thread::current().id()).or_default() += 1;
        state.in_progress += 1;
        state.most_in_progress = state.most_in_progress.max(state.in_progress);
        if host == "hangs" {
            state.hanging += 1;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |state| !state.released).expect("the state");
            state.hanging -= 1;
        }
        state.in_progress -= 1;
        drop(state);
        match host {
            "panics" => panic!("a test's own"),
            "nothing" => Ok(Vec::new()),
            "unknown" => Err(io::Error::other("no such host")),
            _ => Ok(vec![(MUD, port).into(), (IpAddr::from([192, 0, 2, 8]), port).into()]),
        }
    }

    fn name(&self, ip: IpAddr) -> io::Result<String> {
        match ip {
            MUD => Ok("mud.example".to_owned()),
            // Recorded by a stranger.
            _ => Ok("bank.example".to_owned()),
        }
    }
}

/// The end of a look-up, as text.
type End = (LookupId, Token, Result<String, String>);

fn end_of(event: Event<'_>) -> End {
    match event {
        Event::Resolved { lookup, token, result, .. } => {
            let text = |addresses: Vec<SocketAddr>| {
                addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
            };
            (lookup, token, result.map(text).map_err(|error| error.to_string()))
        }
        Event::Named { lookup, token, result, .. } => {
            (lookup, token, result.map_err(|error| error.to_string()))
        }
        other => panic!("{other:?}"),
    }
}

/// Waits for the ends of that many look-ups.
#[track_caller]
fn ends(rig: &mut Rig, count: usize) -> Vec<End> {
    let mut ends = Vec::new();
    rig.until("end of a look-up", |_, event| {
        ends.push(end_of(event));
        ends.len() == count
    });
    ends
}

/// Checks that no event comes.
#[track_caller]
fn silent(rig: &mut Rig) {
    rig.reactor.wait(&mut rig.events, Some(common::SILENCE)).expect("wait");
    assert_eq!(rig.events.drain().map(|event| format!("{event:?}")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn an_address_in_text_is_reported_by_the_next_wait_and_no_thread_looks_it_up() {
    let _watchdog = watchdog();
    let stub = Arc::new(Stub::default());
    let mut rig = stub.rig();
    let texts = [
        ("192.0.2.7", "192.0.2.7:4000"),
        ("2001:db8::7", "[2001:db8::7]:4000"),
        ("[2001:db8::7]", "[2001:db8::7]:4000"),
        ("fe80::1%2", "[fe80::1%2]:4000"),
    ];
    let lookups = texts.map(|(text, _)| rig.reactor.resolve(text, 4000, Token(3)).expect("resolve"));
    assert_eq!(rig.reactor.stats().lookups, 4);
    assert_eq!(rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait"), 4);
    let ends: Vec<End> = rig.events.drain().map(end_of).collect();
    let expected: Vec<End> = std::iter::zip(lookups, texts)
        .map(|(lookup, (_, address))| (lookup, Token(3), Ok(address.to_owned())))
        .collect();
    assert_eq!(ends, expected);
    assert_eq!(rig.reactor.stats().lookups, 0);
    assert!(stub.state.lock().expect("the state").threads.is_empty());
}

#[test]
fn each_look_up_ends_once_with_its_token_in_success_and_in_failure() {
    let _watchdog = watchdog();
    let stub = Arc::new(Stub::default());
    let mut rig = stub.rig();
    let both = Ok("192.0.2.7:23 192.0.2.8:23".to_owned());
    let hosts = [
        ("mud.example", both.clone()),
        ("unknown", Err("no such host".to_owned())),
        ("nothing", Err("the host has no address".to_owned())),
        ("panics", Err("the resolver has panicked".to_owned())),
        ("mud.example", both),
    ];
    let begin = |(at, (host, result)): (usize, (&str, Result<String, String>))| {
        (rig.reactor.resolve(host, 23, Token(at)).expect("resolve"), Token(at), result)
    };
    let mut expected: Vec<End> = hosts.into_iter().enumerate().map(begin).collect();
    let named = rig.reactor.lookup_name(MUD, Token(8)).expect("look up");
    let stranger = rig.reactor.lookup_name([192, 0, 2, 66].into(), Token(9)).expect("look up");
    expected.push((named, Token(8), Ok("mud.example".to_owned())));
    expected.push((stranger, Token(9), Err("the name of the address does not lead back to it".to_owned())));
    let mut found = ends(&mut rig, expected.len());
    found.sort_by_key(|&(_, token, _)| token);
    assert_eq!(found, expected);
    silent(&mut rig);
}

#[test]
fn what_cannot_be_a_name_is_refused() {
    let mut rig = Rig::new();
    for host in ["", " localhost", "localhost\n", "local\0host", "[localhost]", &"x".repeat(254)] {
        let error = rig.reactor.resolve(host, 23, Token(0)).expect_err(host);
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{host:?}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    }
    silent(&mut rig);
}

/// Two names whose servers do not answer: only names wait for them.
#[test]
fn hc63_names_that_hang_in_both_threads_delay_nothing_else() {
    let _watchdog = watchdog();
    let stub = Arc::new(Stub::default());
    let mut rig = stub.rig();
    let hanging = [0, 1].map(|at| rig.reactor.resolve("hangs", 23, Token(at)).expect("resolve"));
    stub.until_hanging(2);
    let behind = rig.reactor.resolve("mud.example", 23, Token(2)).expect("resolve");
    // Everything else works.
    let start = Instant::now();
    let (conn, mut peer) = rig.connect(Token(3));
    let poster = rig.reactor.poster();
    let (sender, mut inbox) = rig.reactor.channel::<u8>(4, Token(4));
    // More than is read without a thread.
    let program = std::env::current_exe().and_then(std::fs::File::open).map(Arc::new).expect("this program");
    for round in 0..20 {
        let buffer = Vec::with_capacity(1 << 20);
        rig.reactor.read_file(program.clone(), 0, buffer, Token(8)).expect("read");
        io::Write::write_all(&mut peer, b"north\n").expect("write");
        poster.post(round, Token(5)).expect("post");
        sender.send(7).expect("send");
        rig.reactor.resolve("192.0.2.7", 23, Token(6)).expect("resolve");
        let timer = rig.reactor.add_timer(Duration::from_millis(1), Token(7));
        let mut left = vec![3, 4, 5, 6, 7, 8];
        rig.until("event of each source", |_, event| {
            let token = event.token().expect("no wake").0;
            left.retain(|&other| other != token);
            match event {
                Event::Received { conn: of, data: b"north\n", .. } if of == conn => {}
                Event::Inbox { .. } => assert_eq!(inbox.drain().count(), 1),
                Event::Posted { value, .. } => assert_eq!(value, round),
                Event::Resolved { result: Ok(_), .. } => {}
                Event::FileRead { result: Ok(count), .. } => assert!(count > 0),
                Event::Timer { timer: of, .. } => assert_eq!(of, timer),
                other => panic!("{other:?}"),
            }
            left.is_empty()
        });
    }
    let took = start.elapsed();
    assert!(took < DEADLINE / 2, "twenty rounds took {took:?}");
    assert_eq!(rig.reactor.stats().lookups, 3);
    // Forgotten, they occupy their threads until they return, and are never reported.
    for lookup in hanging {
        assert!(rig.reactor.cancel_lookup(lookup));
        assert!(!rig.reactor.cancel_lookup(lookup));
    }
    silent(&mut rig);
    stub.release();
    assert_eq!(ends(&mut rig, 1)[0].0, behind);
    silent(&mut rig);
}

#[test]
fn two_threads_at_most_look_names_up_and_1_024_look_ups_wait() {
    let _watchdog = watchdog();
    let stub = Arc::new(Stub::default());
    let mut rig = stub.rig();
    for at in 0..2 {
        rig.reactor.resolve("hangs", 23, Token(at)).expect("resolve");
    }
    for at in 2..1_024 {
        // The same name any number of times; addresses in text count as well.
        let host = if at % 8 == 0 { "192.0.2.7" } else { "mud.example" };
        rig.reactor.resolve(host, 23, Token(at)).expect("resolve");
    }
    for host in ["mud.example", "192.0.2.7"] {
        let error = rig.reactor.resolve(host, 23, Token(0)).expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::LookupsFull);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::WouldBlock);
    }
    assert_eq!(rig.reactor.lookup_name(MUD, Token(0)).expect_err("full").kind(), ErrorKind::LookupsFull);
    assert_eq!(rig.reactor.stats().lookups, 1_024);
    stub.until_hanging(2);
    stub.release();
    let mut tokens: Vec<usize> = ends(&mut rig, 1_024).iter().map(|(_, token, _)| token.0).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..1_024).collect::<Vec<_>>());
    let state = stub.state.lock().expect("the state");
    assert_eq!((state.threads.len(), state.most_in_progress), (2, 2));
    drop(state);
    rig.reactor.resolve("mud.example", 23, Token(0)).expect("there is room again");
    assert_eq!(ends(&mut rig, 1).len(), 1);
}

#[test]
fn p07_a_cancelled_look_up_is_silent_wherever_it_is() {
    let _watchdog = watchdog();
    let stub = Arc::new(Stub::default());
    let mut rig = stub.rig().capacity(1);
    // In the events already.
    let first = rig.reactor.resolve("mud.example", 23, Token(0)).expect("resolve");
    while rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait") == 0 {}
    assert!(!rig.reactor.cancel_lookup(first), "it has ended");
    assert_eq!(rig.events.drain().count(), 0);
    // Found, and not in the events yet.
    let [shown, hidden] = [1, 2].map(|at| rig.reactor.resolve("192.0.2.7", 23, Token(at)).expect("resolve"));
    assert_eq!(rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait"), 1);
    assert!(!rig.reactor.cancel_lookup(hidden), "it has ended");
    assert_eq!(rig.events.drain().map(|event| end_of(event).0).collect::<Vec<_>>(), [shown]);
    silent(&mut rig);
    // In a thread, and behind it.
    let [a, b, c] = [3, 4, 5].map(|at| rig.reactor.resolve("hangs", 23, Token(at)).expect("resolve"));
    stub.until_hanging(2);
    assert!([a, b, c].into_iter().all(|lookup| rig.reactor.cancel_lookup(lookup)));
    // The slots have other holders when the answers come.
    let next = [6, 7, 8].map(|at| rig.reactor.resolve("mud.example", 24, Token(at)).expect("resolve"));
    stub.release();
    let mut found = ends(&mut rig, 3);
    found.sort_by_key(|&(_, token, _)| token);
    let both = || Ok("192.0.2.7:24 192.0.2.8:24".to_owned());
    assert_eq!(found, [6, 7, 8].map(|at| (next[at - 6], Token(at), both())));
    silent(&mut rig);
    assert_eq!(rig.reactor.stats().lookups, 0);
}

/// Counts the threads that have ended.
struct OnExit(Arc<AtomicUsize>);

impl Drop for OnExit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static ON_EXIT: std::cell::RefCell<Option<OnExit>> = const { std::cell::RefCell::new(None) };
}

/// Notes the ends of the threads that it runs on.
struct Counting(Arc<AtomicUsize>, Arc<Stub>);

impl Resolver for Counting {
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        ON_EXIT.with(|exit| {
            exit.borrow_mut().get_or_insert_with(|| OnExit(Arc::clone(&self.0))).0.load(Ordering::SeqCst)
        });
        self.1.addresses(host, port)
    }

    fn name(&self, ip: IpAddr) -> io::Result<String> {
        self.1.name(ip)
    }
}

#[test]
fn p14_a_drop_ends_idle_threads_and_leaves_those_behind_that_hang() {
    let _watchdog = watchdog();
    let (stub, ended) = (Arc::new(Stub::default()), Arc::new(AtomicUsize::new(0)));
    let resolver = || Reactor::builder().resolver(Arc::new(Counting(Arc::clone(&ended), Arc::clone(&stub))));
    // Idle.
    let mut rig = Rig::with(&resolver());
    rig.reactor.resolve("mud.example", 23, Token(0)).expect("resolve");
    ends(&mut rig, 1);
    drop(rig);
    assert_eq!(ended.load(Ordering::SeqCst), 1, "the thread has ended with the reactor");
    // One hangs, and look-ups wait.
    let mut rig = Rig::with(&resolver());
    for at in 0..5 {
        rig.reactor.resolve("hangs", 23, Token(at)).expect("resolve");
    }
    stub.until_hanging(2);
    let start = Instant::now();
    drop(rig);
    assert!(start.elapsed() < DEADLINE / 2, "the drop took {:?}", start.elapsed());
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    stub.release();
    let deadline = Instant::now() + DEADLINE;
    while ended.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < deadline, "the threads did not end with their look-ups");
        thread::yield_now();
    }
    // The three that waited were not looked up any more.
    let state = stub.state.lock().expect("the state");
    assert_eq!(state.threads.values().sum::<usize>(), 3);
}

#[test]
fn the_system_knows_localhost() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.resolve("localhost", 23, Token(0)).expect("resolve");
    rig.until("end of the look-up", |_, event| {
        let Event::Resolved { result, .. } = event else { panic!("{event:?}") };
        let addresses = result.expect("localhost has an address");
        assert!(!addresses.is_empty());
        assert!(
            addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 23),
            "{addresses:?}"
        );
        true
    });
    for ip in ["127.0.0.1", "::1"] {
        rig.reactor.lookup_name(ip.parse().expect("an address"), Token(1)).expect("look up");
        let (_, token, name) = ends(&mut rig, 1).remove(0);
        assert_eq!(token, Token(1));
        // Not every system has a name for both.
        assert!(
            name.as_ref().is_ok_and(|name| !name.contains("::") && name != "127.0.0.1") || name.is_err(),
            "{name:?}"
        );
    }
}
