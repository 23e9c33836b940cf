//! Promise 13: timers, one-shot and periodic without drift; inserting and cancelling is cheap; ties come in the order of
//! insertion.

mod common;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Random, Rig, Seen, watchdog};
use dolmen::{Event, TimerId, Token};

#[test]
fn p13_a_timer_goes_off_once_with_its_token() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let timer = rig.reactor.timer(Token(13), Duration::from_millis(1));
    assert_eq!(rig.reactor.stats().timers, 1);
    rig.until("timer", |reactor, event| {
        let Event::Timer { timer: of, token, missed } = event else { panic!("{event:?}") };
        assert_eq!((of, token, missed), (timer, Token(13), 0));
        assert!(!reactor.cancel_timer(timer), "it is gone");
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
        let timers: Vec<TimerId> = (0..1_000).map(|_| rig.reactor.timer(Token(0), after)).collect();
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
            (rig.reactor.timer(Token(n), after), set.elapsed() + after)
        })
        .collect();
    // The reactor's clock is read between the two of ours, so what is due can be off by that much.
    let slack = set.elapsed();
    for timer in due.keys().copied().filter(|_| random.below(2) == 0).collect::<Vec<_>>() {
        assert!(rig.reactor.cancel_timer(timer));
        assert!(!rig.reactor.cancel_timer(timer), "a second time");
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
    rig.reactor.interval(Token(0), PERIOD);
    let after = Instant::now();
    let mut ticks = 0;
    let mut events = 0;
    while events < 60 {
        // Work that takes a while. Setting the timer anew after it would put the ticks off by as much each time.
        thread::sleep(PERIOD / 3);
        let due_before_the_wait = after.elapsed().as_nanos() / PERIOD.as_nanos();
        rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
        for event in rig.events.drain() {
            let Event::Timer { missed, .. } = event else { panic!("{event:?}") };
            events += 1;
            ticks += 1 + u128::from(missed);
            // Late is what a busy machine makes a tick. It is counted all the same, and none is counted twice.
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
    let timer = rig.reactor.interval(Token(0), PERIOD);
    let mut ticks = 0;
    for _ in 0..5 {
        // Nobody waits.
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
    assert!(rig.reactor.cancel_timer(timer));
    rig.silent();
}

#[test]
fn p13_a_cancelled_timer_is_silent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let timer = rig.reactor.timer(Token(0), Duration::ZERO);
    let interval = rig.reactor.interval(Token(0), Duration::from_millis(1));
    assert!(rig.reactor.cancel_timer(timer));
    assert!(rig.reactor.cancel_timer(interval));
    assert!(!rig.reactor.cancel_timer(timer));
    assert!(!rig.reactor.cancel_timer(interval));
    rig.silent();
    // Its place is taken by another, which the old id does not name.
    let other = rig.reactor.timer(Token(1), Duration::from_millis(1));
    assert_ne!(other, timer);
    assert!(!rig.reactor.cancel_timer(timer));
    assert_eq!(rig.seen_until("the other", |_| true), [Seen::Timer(other, 0)]);
}

#[test]
fn p13_inserting_and_cancelling_among_many_is_cheap() {
    const MANY: usize = 200_000;
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut random = Random::new(131);
    let mut timers: Vec<TimerId> = (0..MANY)
        .map(|n| rig.reactor.timer(Token(n), Duration::from_secs(60 + random.next() % 100_000)))
        .collect();
    while !timers.is_empty() {
        let timer = timers.swap_remove(random.below(timers.len()));
        assert!(rig.reactor.cancel_timer(timer));
    }
    assert_eq!(rig.reactor.stats().timers, 0);
    // Fractions of a second. Looking through all of them for each would take 10^10 steps, and the watchdog ends that.
}
