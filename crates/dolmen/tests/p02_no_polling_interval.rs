//! Promise 2: no polling interval. With any mix of sources, the reactor delivers an event as soon as the system has it,
//! and until then nothing happens at all.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, listener, watchdog};
use dolmen::{ConnId, Event, Token, Waker};

const CONNECTIONS: usize = 1_000;

/// A reactor in a thread of its own, with a thousand idle connections, eight readiness listeners, a listener, a watch
/// and no timer. It echoes, and a wake ends it; then it reports how often it has asked the kernel in the meantime.
struct Quiet {
    thread: thread::JoinHandle<u64>,
    waker: Waker,
    peers: Vec<TcpStream>,
    /// The thread's number. Linux reports whether it has run.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    task: i32,
}

fn start() -> Quiet {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("reactor".to_owned());
    let thread = thread.spawn(move || {
        let mut rig = Rig::new();
        for n in 0..8 {
            rig.reactor.listen_readiness(listener().0, Token(n)).expect("listen");
        }
        rig.reactor.listen(listener().0, Token(8)).expect("listen");
        let _never = watch_something(&mut rig);
        let mut peers: Vec<(ConnId, TcpStream)> = (0..CONNECTIONS).map(|n| rig.connect(Token(n))).collect();
        // One line through each, so that everything has been used before it becomes idle.
        for (conn, peer) in &mut peers {
            peer.write_all(b"first\n").expect("write");
            rig.receive(*conn, 6);
        }
        rig.silent();
        let polls = rig.reactor.stats().kernel_waits;
        let peers = peers.into_iter().map(|(_, peer)| peer).collect();
        sender.send((rig.reactor.waker(), peers, this_task())).expect("the test waits");
        loop {
            rig.reactor.wait(&mut rig.events, None).expect("wait");
            for event in rig.events.drain() {
                match event {
                    Event::Received { conn, data, .. } => rig.reactor.send(conn, data).expect("send"),
                    Event::Woken => return rig.reactor.stats().kernel_waits - polls,
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    let thread = thread.expect("a thread");
    let (waker, peers, task) = receiver.recv_timeout(DEADLINE).expect("the reactor is ready");
    Quiet { thread, waker, peers, task }
}

fn this_task() -> i32 {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid().as_raw_nonzero().get();
    #[cfg(not(target_os = "linux"))]
    return 0;
}

/// Watches a handle that is never signalled; returns the objects that must be kept.
#[cfg(target_os = "linux")]
fn watch_something(rig: &mut Rig) -> impl Drop + use<> {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    rig.reactor.watch(&reader, Token(9)).expect("watch");
    writer
}

#[cfg(windows)]
fn watch_something(rig: &mut Rig) -> std::os::windows::io::OwnedHandle {
    let event = common::windows::event(common::windows::Reset::Manual);
    rig.reactor.watch(&event, Token(9)).expect("watch");
    event
}

/// A thread that does nothing but read a line and write it: as fast as this machine currently wakes threads.
fn blocking_echo() -> (TcpStream, thread::JoinHandle<()>) {
    let (mut ours, peer) = common::pair();
    let echo = thread::spawn(move || {
        let mut line = [0; 5];
        while ours.read_exact(&mut line).is_ok() {
            ours.write_all(&line).expect("write");
        }
    });
    (peer, echo)
}

fn time_to_answer(peer: &mut TcpStream) -> Duration {
    let sent = Instant::now();
    peer.write_all(b"look\n").expect("write");
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"look\n");
    sent.elapsed()
}

#[test]
fn p02_a_line_is_answered_at_once_beside_a_thousand_idle_connections() {
    const LINES: u64 = 21;
    let _watchdog = watchdog();
    let mut quiet = start();
    let (mut blocking, ender) = blocking_echo();
    let (mut times, mut of_the_system) = (Vec::new(), Vec::new());
    for n in 0..LINES as usize {
        times.push(time_to_answer(&mut quiet.peers[n * 40]));
        of_the_system.push(time_to_answer(&mut blocking));
    }
    quiet.waker.wake();
    let polls = quiet.thread.join().expect("the reactor");
    drop(blocking);
    ender.join().expect("the other echo");
    let [median, of_the_system] = [times, of_the_system].map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    println!(
        "answers in {median:?}, of a blocking read in {of_the_system:?}; {polls} polls for {LINES} lines"
    );
    // How long a thread waits for a processor depends on the scheduler. A polling interval would add to that.
    assert!(median <= of_the_system * 10 + Duration::from_millis(10), "{median:?} beside {of_the_system:?}");
    // Each line is one poll, or two where a send reports its completion; the wake is one.
    assert!(polls <= 2 * LINES + 1, "{polls} polls for {LINES} lines");
}

#[test]
fn p02_idle_with_a_thousand_connections_nothing_wakes_up() {
    let _watchdog = watchdog();
    let quiet = start();
    #[cfg(target_os = "linux")]
    let before = linux::settled(quiet.task);
    // A measurement: during this time nothing must happen.
    thread::sleep(Duration::from_secs(5));
    #[cfg(target_os = "linux")]
    assert_eq!(linux::context_switches(quiet.task), before, "the waiting thread has run");
    quiet.waker.wake();
    let polls = quiet.thread.join().expect("the reactor");
    // On Windows the timer of the earlier silence may fire late on a busy machine, which ends a wait once.
    let late_rings = u64::from(cfg!(windows));
    assert!((1..=1 + late_rings).contains(&polls), "{polls} polls, one of which the wake ended");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::common::DEADLINE;

    fn status(task: i32) -> String {
        fs::read_to_string(format!("/proc/self/task/{task}/status")).expect("the reactor's thread is there")
    }

    /// Waits until the thread sleeps, and not just for a moment before it enters the wait. Returns how often it has run
    /// by then.
    pub fn settled(task: i32) -> u64 {
        let deadline = Instant::now() + DEADLINE;
        let mut before = u64::MAX;
        loop {
            let now = context_switches(task);
            if now == before && is_asleep(task) {
                return now;
            }
            before = now;
            assert!(Instant::now() < deadline, "the reactor does not wait");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn is_asleep(task: i32) -> bool {
        status(task).lines().any(|line| line.starts_with("State:") && line.contains('S'))
    }

    /// How often the thread was taken off a processor, voluntarily or not: once for each time that it ran.
    pub fn context_switches(task: i32) -> u64 {
        let status = status(task);
        let counts = status.lines().filter(|line| line.contains("ctxt_switches:"));
        let counts: Vec<u64> = counts
            .map(|line| line.rsplit('\t').next().expect("a value").parse().expect("a number"))
            .collect();
        assert_eq!(counts.len(), 2, "{status}");
        counts.iter().sum()
    }
}
