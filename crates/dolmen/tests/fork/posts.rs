//! Wakes, posts and the values of channels: each process gets its own.

use super::*;

/// Wakes from threads of its own, each of which has to arrive.
fn wakes_itself(rig: &mut Rig, rounds: usize) {
    for _ in 0..rounds {
        let waker = rig.reactor.waker();
        let thread = thread::spawn(move || waker.wake());
        rig.seen_until("wake", |seen| *seen == Seen::Woken);
        thread.join().expect("the waker");
    }
}

#[test]
fn hc47_both_processes_wake_themselves_and_not_each_other() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.silent();
    let waker = rig.reactor.waker();
    let (mut gate, gate_peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let forked = fork(|| {
        // Before the first verb, and by a waker from before the fork.
        waker.wake();
        rig.seen_until("wake", |seen| *seen == Seen::Woken);
        wakes_itself(&mut rig, 200);
        let mut gate_peer = &gate_peer;
        gate_peer.write_all(b"x").expect("write");
        wakes_itself(&mut rig, 200);
        rig.silent();
    });
    // None of the first two hundred arrives here.
    let polls = rig.reactor.stats().kernel_waits;
    let mut byte = [0];
    gate.read_exact(&mut byte).expect("the child is half-way");
    rig.reactor.wait(&mut rig.events, Some(common::SILENCE)).expect("wait");
    assert_eq!((rig.events.len(), rig.reactor.stats().kernel_waits - polls), (0, 1));
    wakes_itself(&mut rig, 200);
    forked.ends_well();
    rig.silent();
}

/// A thread of the parent posts and wakes while the parent forks children that drop their copies.
#[test]
fn hc47_no_wake_and_no_post_is_lost_to_children_that_drop_their_copies() {
    let _watchdog = watchdog();
    const ROUNDS: usize = 200;
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    let (poster, waker) = (rig.reactor.poster(), rig.reactor.waker());
    let stop = Arc::clone(&over);
    let thread = thread::spawn(move || {
        let mut posted = 0;
        while !stop.load(Ordering::Relaxed) {
            match poster.post(posted, Token(0)) {
                Ok(()) => posted += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::PostsFull),
            }
            waker.wake();
        }
        posted
    });
    let mut next = 0;
    for round in 0..=ROUNDS {
        if round < ROUNDS {
            let Rig { reactor, events } = rig;
            let mut reactor = Some(reactor);
            // Every other child uses its copy first.
            fork(|| {
                let mut reactor = reactor.take().expect("it is there");
                if round % 2 == 1 {
                    reactor.wait(&mut dolmen::Events::with_capacity(8), Some(Duration::ZERO)).expect("wait");
                }
                drop(reactor);
            })
            .ends_well();
            rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        } else {
            over.store(true, Ordering::Relaxed);
            break;
        }
        rig.until("post", |_, event| match event {
            Event::Posted { value, .. } => {
                assert_eq!(value, next, "in order, and none left out");
                next += 1;
                true
            }
            other => {
                assert!(matches!(other, Event::Woken), "{other:?}");
                false
            }
        });
    }
    let posted = thread.join().expect("the poster");
    while next < posted {
        rig.until("rest of the posts", |_, event| {
            if let Event::Posted { value, .. } = event {
                assert_eq!(value, next, "in order, and none left out");
                next += 1;
            }
            next == posted
        });
    }
}

/// Another thread posts all the time, with `around` around each post. A child receives only its own posts.
fn posts_at_forks(rounds: usize, around: impl Fn(&mut dyn FnMut()) + Send + 'static) {
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    let (poster, own_poster) = (rig.reactor.poster(), rig.reactor.poster());
    let stop = Arc::clone(&over);
    let thread = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            around(&mut || drop(poster.post(1, Token(0))));
        }
    });
    for round in 0..rounds {
        let Rig { reactor, events } = rig;
        let mut reactor = Some(reactor);
        fork(|| {
            let mut rig = Rig {
                reactor: reactor.take().expect("it is there"),
                events: dolmen::Events::with_capacity(8),
            };
            if round % 3 == 1 {
                rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
                assert!(rig.events.is_empty(), "that was for the parent");
            }
            if round % 3 == 2 {
                own_poster.post(2, Token(1)).expect("post");
                rig.until("post", |_, event| {
                    assert!(matches!(event, Event::Posted { token: Token(1), value: 2, .. }), "{event:?}");
                    true
                });
            }
            drop(rig);
            let error = own_poster.post(3, Token(1)).expect_err("it has gone");
            assert_eq!(error.kind(), ErrorKind::ReactorGone);
        })
        .ends_well();
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        rig.until("post", |_, event| matches!(event, Event::Posted { token: Token(0), .. }));
    }
    over.store(true, Ordering::Relaxed);
    thread.join().expect("the poster");
}

#[test]
fn hc47_a_child_gets_its_own_posts_whatever_a_thread_of_the_parent_was_posting() {
    let _watchdog = watchdog();
    posts_at_forks(300, |post| post());
}

/// A post that the parent has collected and not delivered, because its events were full, is the parent's as well.
#[test]
fn hc47_a_post_that_was_collected_before_the_fork_stays_with_the_parent() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(1);
    let (conn, mut peer) = rig.connect(Token(0));
    rig.silent();
    peer.write_all(b"first").expect("write");
    rig.reactor.poster().post(1, Token(1)).expect("post");
    // Of one turn, received bytes come before posts.
    assert_eq!(rig.receive(conn, 5), b"first");
    let Rig { reactor, events } = rig;
    let mut reactor = Some(reactor);
    fork(|| {
        let mut reactor = reactor.take().expect("it is there");
        let mut events = dolmen::Events::with_capacity(8);
        reactor.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        assert!(events.is_empty(), "that was for the parent");
    })
    .ends_well();
    let mut rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
    assert_eq!(rig.seen_until("post", |_| true), [Seen::Posted(Token(1), 1)]);
}

/// Another thread sends all the time. A child begins with an empty inbox, whatever was reported in the parent, and its own
/// values arrive; the parent loses none of its own.
#[test]
fn hc47_a_child_gets_its_own_values_whatever_a_thread_of_the_parent_was_sending() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    let (sender, mut inbox) = rig.reactor.channel::<String>(64, Token(0));
    let (own, stop) = (sender.clone(), Arc::clone(&over));
    let thread = thread::spawn(move || {
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            match sender.send(sent.to_string()) {
                Ok(()) => sent += 1,
                Err(refused) => assert_eq!(refused.error.kind(), ErrorKind::PostsFull),
            }
        }
        sent
    });
    let mut next = 0;
    for round in 0..300 {
        let Rig { reactor, mut events } = rig;
        let mut reactor = Some(reactor);
        fork(|| {
            let mut rig = Rig {
                reactor: reactor.take().expect("it is there"),
                events: dolmen::Events::with_capacity(8),
            };
            assert_eq!(
                events.drain().count(),
                0,
                "an event that the parent was given is for the parent's values"
            );
            assert!(inbox.is_empty());
            if round % 3 == 1 {
                rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
                assert!(rig.events.is_empty(), "that was for the parent");
            }
            if round % 3 == 2 {
                own.send("of the child".to_owned()).expect("send");
                rig.until("value", |_, event| matches!(event, Event::Inbox { token: Token(0), .. }));
                assert_eq!(inbox.drain().collect::<Vec<_>>(), ["of the child"]);
                own.send("and another".to_owned()).expect("send");
            }
            drop(rig);
            let refused = own.send(String::new()).expect_err("it has gone");
            assert_eq!(refused.error.kind(), ErrorKind::ReactorGone);
            assert_eq!(inbox.drain().count(), usize::from(round % 3 == 2));
        })
        .ends_well();
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        // Drained whether or not an event has come; every other time one is left in the events for the next child.
        if rig.events.drain().count() == 0 {
            rig.until("value", |_, event| matches!(event, Event::Inbox { token: Token(0), .. }));
        }
        for value in inbox.drain() {
            assert_eq!(value, next.to_string(), "in order, and none left out");
            next += 1;
        }
        if round % 2 == 0 {
            assert_eq!(rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait"), 1);
        }
    }
    over.store(true, Ordering::Relaxed);
    let sent = thread.join().expect("the sender");
    for value in inbox.drain() {
        assert_eq!(value, next.to_string(), "in order, and none left out");
        next += 1;
    }
    assert_eq!(next, sent);
}

/// The program's lock, which its own handlers take and release around each fork: granted in the order of requests, so
/// that the poster does not keep it.
static TICKETS: AtomicU32 = AtomicU32::new(0);
static SERVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn lock() {
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    while SERVED.load(Ordering::Acquire) != ticket {
        thread::yield_now();
    }
}

extern "C" fn unlock() {
    SERVED.fetch_add(1, Ordering::Release);
}

/// In a process of its own, because of its handlers. They are older than the library's, and so run after those.
#[test]
fn hc47_a_poster_may_hold_a_lock_that_the_program_takes_at_a_fork() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    // SAFETY: the handlers use only atomics, and yield.
    assert_eq!(unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) }, 0);
    posts_at_forks(300, |post| {
        lock();
        post();
        unlock();
    });
}

/// The reactor was dropped before the fork.
#[test]
fn hc47_a_copy_of_a_reactor_that_has_gone_refuses_posts() {
    let _watchdog = watchdog();
    let rig = Rig::new();
    let poster = rig.reactor.poster();
    drop(rig);
    fork(|| {
        let error = poster.post(1, Token(0)).expect_err("it has gone");
        assert_eq!(error.kind(), ErrorKind::ReactorGone);
    })
    .ends_well();
}
