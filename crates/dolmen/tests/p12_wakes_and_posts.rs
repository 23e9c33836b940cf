//! Promise 12: wakes are sticky and coalesced; every post is delivered, in order, and posts are bounded.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, Seen, watchdog};
use dolmen::{ErrorKind, Event, Reactor, Token};

#[test]
fn p12_a_wake_before_the_wait_is_not_lost() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.waker().wake();
    assert_eq!(rig.reactor.wait(&mut rig.events, None).expect("wait"), 1);
    assert_eq!(rig.events.drain().map(Seen::from).collect::<Vec<_>>(), [Seen::Woken]);
    rig.silent();
}

#[test]
fn p12_a_thousand_wakes_are_one() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let waker = rig.reactor.waker();
    for _ in 0..3 {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let waker = waker.clone();
                thread::spawn(move || (0..250).for_each(|_| waker.wake()))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a waker"));
        assert_eq!(rig.seen_until("wake", |_| true), [Seen::Woken]);
        rig.silent();
    }
}

/// Each wake happens at any moment between two waits, or in one.
#[test]
fn p12_no_wake_of_many_is_lost() {
    let _watchdog = watchdog();
    let rounds = if cfg!(windows) { 2_000 } else { 20_000 };
    let mut rig = Rig::new();
    let waker = rig.reactor.waker();
    let (asked, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let asker = {
        let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
        thread::spawn(move || {
            for round in 1..=rounds {
                asked.store(round, Ordering::Release);
                waker.wake();
                while answered.load(Ordering::Acquire) < round {
                    thread::yield_now();
                }
            }
        })
    };
    while answered.load(Ordering::Relaxed) < rounds {
        let count = rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait");
        assert_eq!(count, 1, "the wake of round {} was lost", asked.load(Ordering::Acquire));
        answered.store(asked.load(Ordering::Acquire), Ordering::Release);
    }
    asker.join().expect("the asker");
}

#[test]
fn p12_hc38_ten_thousand_posts_from_four_threads_arrive_once_and_in_order() {
    const EACH: u64 = 2_500;
    let _watchdog = watchdog();
    // One at a time and many at a time.
    for capacity in [1, 7, 128] {
        let mut rig = Rig::new().capacity(capacity);
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let poster = rig.reactor.poster();
                thread::spawn(move || (0..EACH).for_each(|value| poster.post(value, Token(n)).expect("post")))
            })
            .collect();
        let mut next = [0; 4];
        rig.until("posts", |_, event| {
            let Event::Posted { token: Token(n), value, .. } = event else { panic!("{event:?}") };
            assert_eq!(value, next[n], "a post of thread {n}");
            next[n] += 1;
            next == [EACH; 4]
        });
        threads.into_iter().for_each(|thread| thread.join().expect("a poster"));
        rig.silent();
    }
}

#[test]
fn p12_posts_are_bounded_and_a_refused_one_is_not_taken() {
    let _watchdog = watchdog();
    let mut rig = Rig::with(&Reactor::builder().post_capacity(10));
    let poster = rig.reactor.poster();
    for round in 0..3 {
        for value in 0..10 {
            poster.post(value, Token(round)).expect("post");
        }
        for _ in 0..5 {
            let error = poster.clone().post(99, Token(round)).expect_err("it is full");
            assert_eq!(error.kind(), ErrorKind::PostsFull);
        }
        let seen = rig.seen_until("posts", |seen| *seen == Seen::Posted(Token(round), 9));
        let expected: Vec<Seen> = (0..10).map(|value| Seen::Posted(Token(round), value)).collect();
        assert_eq!(seen, expected);
        rig.silent();
    }
}

#[test]
fn p12_posts_and_wakes_of_a_handler_come_with_the_next_wait() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (waker, poster) = (rig.reactor.waker(), rig.reactor.poster());
    poster.post(0, Token(0)).expect("post");
    let (mut last, mut woken) = (0, 0);
    rig.until("a hundred posts", |_, event| {
        match event {
            Event::Posted { value, .. } => {
                last = value;
                poster.post(value + 1, Token(0)).expect("post");
                waker.wake();
            }
            Event::Woken => woken += 1,
            other => panic!("{other:?}"),
        }
        last == 100
    });
    assert!((99..=100).contains(&woken), "{woken} wakes");
}

#[test]
fn p12_wakers_and_posters_outlive_the_reactor() {
    let _watchdog = watchdog();
    let rig = Rig::new();
    let (waker, poster) = (rig.reactor.waker(), rig.reactor.poster());
    poster.post(1, Token(0)).expect("post");
    drop(rig);
    waker.wake();
    let error = poster.post(2, Token(0)).expect_err("the reactor was dropped");
    assert_eq!(error.kind(), ErrorKind::ReactorGone);
    assert_eq!(
        poster.clone().post(3, Token(0)).expect_err("the reactor was dropped").kind(),
        ErrorKind::ReactorGone
    );
}

/// Posts stay queued while the waiter is busy, and a blocked waiter is woken for each batch.
#[test]
fn p12_a_post_ends_a_wait() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let poster = rig.reactor.poster();
    let thread = thread::spawn(move || {
        // The wait must not end before the post, which follows a moment later.
        thread::sleep(Duration::from_millis(10));
        poster.post(4, Token(3)).expect("post");
    });
    let started = Instant::now();
    assert_eq!(rig.reactor.wait(&mut rig.events, None).expect("wait"), 1);
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(rig.events.drain().map(Seen::from).collect::<Vec<_>>(), [Seen::Posted(Token(3), 4)]);
    thread.join().expect("the poster");
}
