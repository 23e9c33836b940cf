//! Timers and timeouts, on clocks that tick slowly and in waits that return early.

use super::*;

#[test]
pub(super) fn hc21_a_timer_of_300_microseconds_costs_at_most_two_polls() {
    let mut fixture = Fixture::new(Style::Readiness);
    let before = fixture.stats().kernel_waits;
    let start_ns = fixture.now_ns();
    let timer = fixture.engine.add_timer(Duration::from_micros(300), Token(0));
    let seen = fixture.wait(Duration::from_secs(1));
    assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
    let polls = fixture.stats().kernel_waits - before;
    assert!(polls <= 2, "{polls} polls");
    assert!((300_000..310_000).contains(&(fixture.now_ns() - start_ns)));
}

/// The port's time-out follows a tick of 15.6 ms.
#[test]
pub(super) fn hc21_short_timers_and_waits_are_exact_on_a_machine_whose_clock_ticks_slowly() {
    let mut fixture = Fixture::new(Style::Completion);
    fixture.world.borrow_mut().coarse = true;
    let (conn, link) = fixture.connect();
    for us in [300, 1_000, 3_000, 10_000, 14_000, 999_000] {
        let after = Duration::from_micros(us);
        let exactly = |fixture: &Fixture, start_ns: u64| {
            let taken_ns = fixture.now_ns() - start_ns;
            assert!((us * 1_000..us * 1_000 + 10_000).contains(&taken_ns), "{taken_ns} ns for {us} us");
        };
        let start_ns = fixture.now_ns();
        let timer = fixture.engine.add_timer(after, Token(0));
        let seen = fixture.wait(Duration::from_secs(3_600));
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
        exactly(&fixture, start_ns);
        let start_ns = fixture.now_ns();
        assert!(fixture.wait(after).is_empty());
        exactly(&fixture, start_ns);
    }
    // For longer ones the timer is not worth its cost; and an event meanwhile ends a wait as always.
    let start_ns = fixture.now_ns();
    assert!(fixture.wait(Duration::from_millis(1_100)).is_empty());
    assert!(fixture.now_ns() - start_ns < 1_116_000_000);
    fixture.peer_sends(link, b"here");
    let seen = fixture.wait(10 * MS);
    assert_eq!(bytes_of(&seen, conn), b"here");
}

#[test]
pub(super) fn hc22_waits_that_return_early_make_no_timer_early() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| (faults.early_return, faults.spurious) = (90, 50));
        for ms in 1..50_u32 {
            let start_ns = fixture.now_ns();
            let timer = fixture.engine.add_timer(ms * MS, Token(0));
            let seen = fixture.wait(Duration::from_secs(3_600));
            assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
            let taken_ns = fixture.now_ns() - start_ns;
            let due_ns = u64::from(ms) * 1_000_000;
            assert!(taken_ns >= due_ns, "{taken_ns} ns instead of {ms} ms");
            assert!(taken_ns < due_ns + 1_000_000, "{taken_ns} ns instead of {ms} ms");
            // The same for a wait without events.
            let start_ns = fixture.now_ns();
            assert!(fixture.wait(ms * MS).is_empty());
            assert!(fixture.now_ns() - start_ns >= due_ns);
        }
    }
}

#[test]
pub(super) fn hc23_a_timer_in_fifty_days_goes_off_in_fifty_days() {
    let fifty_days = Duration::from_secs(50 * 24 * 3600);
    for after in [fifty_days, Duration::from_millis(5_000_000_000)] {
        let mut fixture = Fixture::new(Style::Readiness);
        let timer = fixture.engine.add_timer(after, Token(0));
        assert!(fixture.wait(after - MS).is_empty(), "too early");
        let seen = fixture.wait(Duration::MAX);
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
        let late_ns = u128::from(fixture.now_ns()) - after.as_nanos();
        assert!(late_ns < 1_000_000, "{late_ns} ns late");
    }
}

#[test]
pub(super) fn hc23_a_timer_that_never_comes_is_no_timer_of_now() {
    let mut fixture = Fixture::new(Style::Readiness);
    fixture.engine.add_timer(Duration::MAX, Token(0));
    fixture.engine.add_timer(Duration::from_millis(u64::MAX), Token(0));
    assert!(fixture.wait(Duration::from_secs(1_000_000)).is_empty());
    Waker::new(fixture.engine.mailbox()).wake();
    let seen = fixture.wait(Duration::MAX);
    assert!(matches!(seen[..], [Seen::Woken]), "{seen:?}");
}

#[test]
fn p13_a_timer_that_is_set_anew_goes_off_at_the_new_time_only() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let timer = fixture.engine.add_timer(10 * MS, Token(0));
        for after in [100 * MS, 30 * MS] {
            assert!(fixture.wait(9 * MS).is_empty());
            assert!(fixture.engine.set_timer(timer, after));
        }
        let start_ns = fixture.now_ns();
        let seen = fixture.wait(Duration::from_secs(1));
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
        assert!((30_000_000..31_000_000).contains(&(fixture.now_ns() - start_ns)));
        assert!(!fixture.engine.set_timer(timer, MS), "it has gone off");
        assert!(fixture.wait(Duration::from_secs(1)).is_empty());
    }
}

#[test]
fn p13_an_interval_that_is_set_anew_keeps_its_period() {
    let mut fixture = Fixture::new(Style::Readiness);
    let interval = fixture.engine.add_interval(10 * MS, Token(0));
    assert_eq!(fixture.wait(Duration::from_secs(1)).len(), 1);
    assert!(fixture.engine.set_timer(interval, 3 * MS));
    for ms in [3, 10, 10] {
        let start_ns = fixture.now_ns();
        assert_eq!(fixture.wait(Duration::from_secs(1)).len(), 1);
        let taken_ns = fixture.now_ns() - start_ns;
        assert!((ms * 1_000_000 - 100_000..ms * 1_000_000 + 100_000).contains(&taken_ns), "{taken_ns} ns");
    }
}

/// Its event is still in the outbox: a post has taken the only place in the caller's events.
#[test]
fn p13_a_timer_that_has_gone_off_cannot_be_set_and_can_still_be_taken_back() {
    for take_back in [false, true] {
        let mut fixture = Fixture::new(Style::Readiness);
        fixture.events = Batch::with_capacity(1);
        let timer = fixture.engine.add_timer(Duration::ZERO, Token(0));
        Poster::new(fixture.engine.mailbox()).post(1, Token(0)).expect("post");
        let seen = fixture.turn();
        assert!(matches!(seen[..], [Seen::Posted(1)]), "{seen:?}");
        assert!(!fixture.engine.set_timer(timer, Duration::from_secs(60)));
        if take_back {
            fixture.engine.remove_timer(timer);
        }
        let seen = fixture.settle();
        assert_eq!(seen.len(), usize::from(!take_back), "{seen:?}");
    }
}

#[test]
pub(super) fn hc25_waits_of_no_time_ask_the_kernel_each_time() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| faults.delay = 100);
        let (conn, link) = fixture.connect();
        fixture.peer_sends(link, b"echo");
        let mut echoed = Vec::new();
        for _ in 0..20_000 {
            let before = fixture.stats().kernel_waits;
            for seen in fixture.turn() {
                let Seen::Received(_, data) = seen else { panic!("{seen:?}") };
                fixture.engine.send(conn, &data).expect("send");
            }
            assert_eq!(fixture.stats().kernel_waits, before + 1);
            echoed.extend(fixture.peer_reads(link, 100));
            if echoed == b"echo" {
                break;
            }
        }
        assert_eq!(echoed, b"echo");
    }
}

/// The C library's requirement on POSIX: a handler has run, which the kernel shows by returning without an event.
#[test]
pub(super) fn hc49_a_wait_that_blocks_once_returns_when_the_kernel_does() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let once = |fixture: &mut Fixture, timeout| {
            fixture.world.borrow_mut().waits = 0;
            fixture.engine.wait_once(&mut fixture.events, timeout).expect("wait");
            let seen: Vec<Seen> = fixture.events.drain().map(Seen::from).collect();
            (seen, fixture.world.borrow().waits)
        };
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        // Undisturbed it waits for the whole timeout.
        let (seen, polls) = once(&mut fixture, Some(10 * MS));
        assert!(seen.is_empty() && fixture.now_ns() >= 10_000_000, "{seen:?} at {}", fixture.now_ns());
        assert_eq!(polls, 1);
        // The kernel returns without a reason.
        fixture.faults(|faults| faults.spurious = 100);
        let start_ns = fixture.now_ns();
        for timeout in [None, Some(Duration::from_secs(3_600))] {
            let (seen, polls) = once(&mut fixture, timeout);
            assert_eq!((seen.len(), polls), (0, 1), "{seen:?}");
        }
        assert!(fixture.now_ns() < start_ns + 1_000_000, "it waited for the rest");
        // And the plain wait does wait for it.
        assert!(fixture.wait(10 * MS).is_empty());
        assert!(fixture.now_ns() >= start_ns + 10_000_000);
        // What is ready is returned, and a wait of no time polls once.
        fixture.peer_sends(link, b"here");
        let (seen, _) = once(&mut fixture, Some(Duration::ZERO));
        assert_eq!(bytes_of(&seen, conn), b"here");
        let (seen, polls) = once(&mut fixture, Some(Duration::ZERO));
        assert_eq!((seen.len(), polls), (0, 1), "{seen:?}");
        fixture.heal();
        // A timer that the caller set is an event like others.
        let timer = fixture.engine.add_timer(MS, Token(0));
        let (seen, _) = once(&mut fixture, None);
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
    }
}
