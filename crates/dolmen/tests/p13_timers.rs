//! Promise 13: timers, one-shot and periodic without drift; inserting and cancelling is cheap; equal deadlines fire in
//! the order of insertion.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Random, Rig, Seen, watchdog};
use dolmen::{Event, TimerId, Token};

#[test]
fn p13_a_timer_goes_off_once_with_its_token() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let timer = rig.reactor.add_timer(Duration::from_millis(1), Token(13));
    assert_eq!(rig.reactor.stats().timers, 1);
    rig.until("timer", |reactor, event| {
        let Event::Timer { timer: of, token, missed, .. } = event else { panic!("{event:?}") };
        assert_eq!((of, token, missed), (timer, Token(13), 0));
        assert!(!reactor.remove_timer(timer), "it is gone");
        true
    });
    rig.silent();
    assert_eq!(rig.reactor.stats().timers, 0);
}

#[test]
fn p13_timers_set_for_the_same_time_go_off_in_order() {
    let _watchdog = watchdog();
    for after in [Duration::ZERO, Duration::from_millis(5)] {
        let mut rig = Rig::new().capacity(10);
        let timers: Vec<TimerId> = (0..1_000).map(|_| rig.reactor.add_timer(after, Token(0))).collect();
        let mut seen = Vec::new();
        rig.until("timers", |_, event| {
            let Event::Timer { timer, .. } = event else { panic!("{event:?}") };
            seen.push(timer);
            seen.len() == 1_000
        });
        assert_eq!(seen, timers);
    }
}

#[test]
fn p13_many_timers_go_off_each_once_in_time_and_in_order() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut random = Random::new(13);
    let set = Instant::now();
    let mut due: HashMap<TimerId, Duration> = (0..10_000)
        .map(|n| {
            let after = Duration::from_micros(random.below(200_000) as u64);
            (rig.reactor.add_timer(after, Token(n)), set.elapsed() + after)
        })
        .collect();
    // The reactor reads its clock between the two readings of the test, so a deadline can be off by that much.
    let slack = set.elapsed();
    for timer in due.keys().copied().filter(|_| random.below(2) == 0).collect::<Vec<_>>() {
        assert!(rig.reactor.remove_timer(timer));
        assert!(!rig.reactor.remove_timer(timer), "a second time");
        due.remove(&timer);
    }
    assert_eq!(rig.reactor.stats().timers, due.len());
    let mut last = Duration::ZERO;
    rig.until("timers", |_, event| {
        let Event::Timer { timer, missed: 0, .. } = event else { panic!("{event:?}") };
        let due_at = due.remove(&timer).expect("not cancelled, and not before");
        assert!(set.elapsed() + slack >= due_at, "early");
        assert!(due_at + slack >= last, "out of order");
        last = last.max(due_at);
        due.is_empty()
    });
    rig.silent();
}

#[test]
fn p13_a_periodic_timer_does_not_drift() {
    const PERIOD: Duration = Duration::from_millis(5);
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let before = Instant::now();
    rig.reactor.add_interval(PERIOD, Token(0));
    let after = Instant::now();
    let mut ticks = 0;
    let mut events = 0;
    while events < 60 {
        // Work that takes a while. Setting the timer again after it would delay the ticks by as much each time.
        thread::sleep(PERIOD / 3);
        let due_before_the_wait = after.elapsed().as_nanos() / PERIOD.as_nanos();
        rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
        for event in rig.events.drain() {
            let Event::Timer { missed, .. } = event else { panic!("{event:?}") };
            events += 1;
            ticks += 1 + u128::from(missed);
            // A busy machine makes ticks late. They are still counted, and none is counted twice.
            assert!(ticks >= due_before_the_wait, "{ticks} ticks of {due_before_the_wait}: it drifts");
            let due = before.elapsed().as_nanos() / PERIOD.as_nanos();
            assert!(ticks <= due, "{ticks} ticks of {due}: it is early");
        }
    }
}

#[test]
fn p13_ticks_that_nobody_waited_for_are_counted() {
    const PERIOD: Duration = Duration::from_millis(2);
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let before = Instant::now();
    let timer = rig.reactor.add_interval(PERIOD, Token(0));
    let mut ticks = 0;
    for _ in 0..5 {
        // No wait runs.
        thread::sleep(PERIOD * 10);
        let seen = rig.seen_until("tick", |_| true);
        let [Seen::Timer(of, missed)] = seen[..] else { panic!("{seen:?}") };
        assert_eq!(of, timer);
        assert!(missed >= 8, "{missed} of ten ticks were missed");
        ticks += 1 + missed;
        let passed = (before.elapsed().as_nanos() / PERIOD.as_nanos()) as u64;
        assert!(ticks <= passed, "{ticks} ticks in the time of {passed}");
    }
    assert!(ticks >= 49, "{ticks} ticks");
    assert!(rig.reactor.remove_timer(timer));
    rig.silent();
}

#[test]
fn p13_a_cancelled_timer_is_silent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let timer = rig.reactor.add_timer(Duration::ZERO, Token(0));
    let interval = rig.reactor.add_interval(Duration::from_millis(1), Token(0));
    assert!(rig.reactor.remove_timer(timer));
    assert!(rig.reactor.remove_timer(interval));
    assert!(!rig.reactor.remove_timer(timer));
    assert!(!rig.reactor.remove_timer(interval));
    rig.silent();
    // Another timer takes its slot, which the old id does not name.
    let other = rig.reactor.add_timer(Duration::from_millis(1), Token(1));
    assert_ne!(other, timer);
    assert!(!rig.reactor.remove_timer(timer));
    assert_eq!(rig.seen_until("the other", |_| true), [Seen::Timer(other, 0)]);
}

#[test]
fn p13_inserting_and_cancelling_among_many_is_cheap() {
    const MANY: usize = 200_000;
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut random = Random::new(131);
    let mut timers: Vec<TimerId> = (0..MANY)
        .map(|n| rig.reactor.add_timer(Duration::from_secs(60 + random.next() % 100_000), Token(n)))
        .collect();
    while !timers.is_empty() {
        let timer = timers.swap_remove(random.below(timers.len()));
        assert!(rig.reactor.remove_timer(timer));
    }
    assert_eq!(rig.reactor.stats().timers, 0);
    // Fractions of a second. Searching all of them for each would take 10^10 steps, and the watchdog would end that.
}

/// Where waits are coarse a timer of the system makes them exact. It has to be set for each tick, and for nothing else.
#[test]
fn p13_an_interval_adds_no_call_to_an_echoed_message_except_when_it_goes_off() {
    const MESSAGES: u64 = 500;

    /// The kernel calls of all messages, and the ticks.
    fn echo(rig: &mut Rig) -> (u64, u64) {
        let (conn, mut peer) = rig.connect(Token(0));
        let (mut ticks, mut calls) = (0, 0);
        for n in 0..=MESSAGES {
            if n == 1 {
                // The first message makes everything that is made once.
                (ticks, calls) = (0, rig.reactor.stats().kernel_calls);
            }
            peer.write_all(b"look").expect("write");
            let mut received = 0;
            rig.until("message", |reactor, event| {
                match event {
                    Event::Received { data, .. } => {
                        received += data.len();
                        reactor.send(conn, data).expect("send");
                    }
                    Event::Timer { missed, .. } => ticks += 1 + missed,
                    other => panic!("{other:?}"),
                }
                received == 4
            });
            rig.reactor.flush();
            peer.read_exact(&mut [0; 4]).expect("read");
        }
        (rig.reactor.stats().kernel_calls - calls, ticks)
    }

    let _watchdog = watchdog();
    let (plain, _) = echo(&mut Rig::new());
    let mut rig = Rig::new();
    rig.reactor.add_interval(Duration::from_millis(10), Token(1));
    let (calls, ticks) = echo(&mut rig);
    println!("{MESSAGES} messages: {plain} calls; with an interval {calls}, {ticks} ticks");
    // A dequeue that brings the tick, one that brings the timer's packet, the setting, and one to spare.
    assert!(
        calls <= plain + 4 * (ticks + 1) + MESSAGES / 20,
        "{calls} calls, {plain} without, {ticks} ticks"
    );
}

/// The lateness is printed and not tested: the machine may be busy.
#[test]
fn p13_an_interval_of_ten_milliseconds_is_never_early() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let period = Duration::from_millis(10);
    let before = Instant::now();
    rig.reactor.add_interval(period, Token(0));
    let slack = before.elapsed();
    let (mut count, mut lateness) = (0, Vec::new());
    rig.until("50 ticks", |_, event| {
        let Event::Timer { missed, .. } = event else { panic!("{event:?}") };
        count += 1 + missed as u32;
        let late = (before.elapsed() + Duration::from_micros(1)).checked_sub(period * count);
        lateness.push(late.unwrap_or_else(|| panic!("tick {count} after {:?}", before.elapsed())));
        count >= 50
    });
    lateness.sort_unstable();
    let (median, longest) = (lateness[lateness.len() / 2], lateness[lateness.len() - 1]);
    println!("late by {median:?} (median), {longest:?} (longest), read within {slack:?}");
}
