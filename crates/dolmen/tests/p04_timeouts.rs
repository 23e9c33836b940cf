//! Promise 4: timeouts never fire early and never spin; zero asks every source once.

mod common;

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, SILENCE, Seen, listener, watchdog};
use dolmen::{Event, Token};

const TIMES: [Duration; 7] = [
    Duration::from_nanos(1),
    Duration::from_micros(1),
    Duration::from_micros(300),
    Duration::from_micros(999),
    Duration::from_millis(1),
    Duration::from_micros(1_500),
    Duration::from_millis(20),
];

/// Values that some of the arithmetic may not hold: nanoseconds in 64 bits, milliseconds in 32, either of them signed,
/// and INFINITE of Windows.
const HUGE: [Duration; 8] = [
    Duration::MAX,
    Duration::from_secs(u64::MAX),
    Duration::from_millis(u64::MAX),
    Duration::from_nanos(u64::MAX),
    Duration::from_nanos(i64::MAX as u64),
    Duration::from_millis(5_000_000_000),
    Duration::from_millis(u32::MAX as u64),
    Duration::from_millis(i32::MAX as u64),
];

#[test]
fn p04_a_wait_without_events_takes_its_time() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let _idle = rig.connect(Token(0));
    for time in TIMES.repeat(10) {
        let started = Instant::now();
        assert_eq!(rig.reactor.wait(&mut rig.events, Some(time)).expect("wait"), 0);
        let taken = started.elapsed();
        assert!(taken >= time, "{time:?} were over after {taken:?}");
    }
}

#[test]
fn p04_hc22_timers_do_not_go_off_early() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    for time in TIMES.repeat(10) {
        let set = Instant::now();
        let timer = rig.reactor.add_timer(time, Token(0));
        rig.until("timer", |_, event| Seen::from(event) == Seen::Timer(timer, 0));
        let taken = set.elapsed();
        assert!(taken >= time, "a timer of {time:?} went off after {taken:?}");
    }
}

/// How many calls of the kernel a short wait costs, on average. Windows waits in milliseconds of another clock.
const POLLS_OF_A_SHORT_WAIT: u64 = if cfg!(windows) { 4 } else { 2 };
const SHORT_WAITS: u64 = 50;

#[test]
fn p04_hc21_a_timer_of_300_microseconds_costs_at_most_two_waits() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    for _ in 0..SHORT_WAITS {
        rig.reactor.add_timer(Duration::from_micros(300), Token(0));
        assert_eq!(rig.reactor.wait(&mut rig.events, None).expect("wait"), 1);
        assert!(matches!(rig.events.drain().next(), Some(Event::Timer { .. })));
    }
    let polls = rig.reactor.stats().kernel_waits;
    assert!(polls <= SHORT_WAITS * POLLS_OF_A_SHORT_WAIT, "{polls} polls");
}

#[test]
fn p04_a_wait_of_300_microseconds_does_not_spin() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    for _ in 0..SHORT_WAITS {
        assert_eq!(rig.reactor.wait(&mut rig.events, Some(Duration::from_micros(300))).expect("wait"), 0);
    }
    let polls = rig.reactor.stats().kernel_waits;
    assert!(polls <= SHORT_WAITS * POLLS_OF_A_SHORT_WAIT, "{polls} polls");
}

#[test]
fn p04_hc23_a_huge_timeout_is_neither_now_nor_never() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    for time in HUGE {
        let (waker, polls) = (rig.reactor.waker(), rig.reactor.stats().kernel_waits);
        // The wait must not be over before another thread ends it, which takes a moment.
        let started = Instant::now();
        let ender = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            waker.wake();
        });
        assert_eq!(rig.reactor.wait(&mut rig.events, Some(time)).expect("wait"), 1, "{time:?}");
        assert_eq!(rig.events.drain().map(Seen::from).collect::<Vec<_>>(), [Seen::Woken]);
        assert!(started.elapsed() >= Duration::from_millis(10), "{time:?}");
        rig.did_not_spin_since(polls);
        ender.join().expect("the waker's thread");
    }
}

#[test]
fn p04_hc23_a_timer_in_the_far_future_neither_goes_off_nor_wakes() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let timers = HUGE.map(|time| rig.reactor.add_timer(time, Token(0)));
    let intervals = HUGE.map(|time| rig.reactor.add_interval(time, Token(1)));
    rig.rests();
    for timer in timers.into_iter().chain(intervals) {
        assert!(rig.reactor.remove_timer(timer), "it was still set");
    }
    assert_eq!(rig.reactor.stats().timers, 0);
}

#[test]
fn p04_hc25_a_zero_timeout_asks_the_system() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    peer.write_all(b"look\n").expect("write");
    let deadline = Instant::now() + DEADLINE;
    let seen = loop {
        let polls = rig.reactor.stats().kernel_waits;
        let count = rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(rig.reactor.stats().kernel_waits, polls + 1, "once");
        if count > 0 {
            break rig.events.drain().map(Seen::from).collect::<Vec<_>>();
        }
        assert!(Instant::now() < deadline, "the line does not come");
    };
    assert_eq!(seen, [Seen::Received(conn, b"look\n".to_vec())]);
}

#[test]
fn p04_a_zero_timeout_asks_every_source() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    let (listening, address) = listener();
    let listener = rig.reactor.listen(listening, Token(0)).expect("listen");
    let timer = rig.reactor.add_timer(Duration::ZERO, Token(0));
    rig.reactor.poster().post(7, Token(0)).expect("post");
    rig.reactor.waker().wake();
    peer.write_all(b"look\n").expect("write");
    let client = std::net::TcpStream::connect(address).expect("connect");

    let deadline = Instant::now() + DEADLINE;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        assert!(Instant::now() < deadline, "only {seen:?}");
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        seen.extend(rig.events.drain().map(Seen::from));
    }
    for expected in [
        Seen::Received(conn, b"look\n".to_vec()),
        Seen::Accepted(listener, client.local_addr().expect("address")),
        Seen::Timer(timer, 0),
        Seen::Posted(Token(0), 7),
        Seen::Woken,
    ] {
        assert!(seen.contains(&expected), "no {expected:?} in {seen:?}");
    }
}

#[test]
fn p04_a_timeout_longer_than_the_next_timer_does_not_end_the_wait_twice() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let timer = rig.reactor.add_timer(SILENCE / 2, Token(0));
    let started = Instant::now();
    assert_eq!(rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait"), 1);
    assert_eq!(rig.events.drain().map(Seen::from).collect::<Vec<_>>(), [Seen::Timer(timer, 0)]);
    assert!(started.elapsed() < DEADLINE, "the timer ends the wait, not the timeout");
    rig.silent();
}

/// A timer of the kernel interrupts this thread every millisecond.
#[cfg(target_os = "linux")]
#[test]
fn p04_hc24_signals_neither_end_nor_lengthen_a_wait() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_signal: libc::c_int) {
        INTERRUPTED.fetch_add(1, Ordering::Relaxed);
    }

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut timer: libc::timer_t = std::ptr::null_mut();
    // SAFETY: all structures are plain data for which zero is a valid value and live for the length of the calls, and
    // the handler does nothing but count. Without SA_RESTART, so that calls are interrupted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()), 0);
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        event.sigev_notify_thread_id = libc::gettid();
        assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
        let millisecond = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let every = libc::itimerspec { it_interval: millisecond, it_value: millisecond };
        assert_eq!(libc::timer_settime(timer, 0, &every, std::ptr::null_mut()), 0);
    }

    // On a busy machine several of its signals are merged into one.
    while INTERRUPTED.load(Ordering::Relaxed) < 50 {
        let time = Duration::from_millis(20);
        let started = Instant::now();
        assert_eq!(rig.reactor.wait(&mut rig.events, Some(time)).expect("wait"), 0);
        let waited = started.elapsed();

        let set = Instant::now();
        rig.reactor.add_timer(time, Token(0));
        assert_eq!(rig.reactor.wait(&mut rig.events, None).expect("wait"), 1);
        let went_off = set.elapsed();
        for taken in [waited, went_off] {
            // If each interruption restarted the wait, it would never end, and the watchdog would end the test.
            assert!(taken >= time, "{taken:?} instead of {time:?}");
        }
    }
    // SAFETY: the timer is the one made above.
    unsafe { assert_eq!(libc::timer_delete(timer), 0) };
}
