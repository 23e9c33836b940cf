//! Accepts that fail, and many listeners.

use super::*;

#[test]
pub(super) fn hc10_a_listener_out_of_descriptors_says_so_once_pauses_and_goes_on() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (listener, number) = fixture.listen();
        fixture.world.borrow_mut().exhausted = true;
        let connected: Vec<usize> = (0..5).map(|_| fixture.connect_peer(number)).collect();
        let (mut failures, before) = (0, fixture.stats().kernel_waits);
        for waits in 1..=100 {
            let seen = fixture.wait(10 * MS);
            failures += seen.len();
            assert!(
                seen.iter().all(|seen| matches!(seen, Seen::AcceptFailed(of) if *of == listener)),
                "{seen:?}"
            );
            let polls = fixture.stats().kernel_waits - before;
            assert!(polls <= 10 + 2 * waits, "{polls} polls in {waits} waits: it spins");
        }
        assert_eq!(failures, 1, "reported once");
        fixture.world.borrow_mut().exhausted = false;
        let accepted = fixture.settle();
        let found: Vec<usize> = accepted
            .iter()
            .map(|seen| match seen {
                Seen::Accepted(of, stream) if *of == listener => stream.link(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, connected);
    }
}

#[test]
pub(super) fn hc10_peers_that_are_gone_before_they_are_accepted_are_passed_over() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (_, number) = fixture.listen();
        fixture.faults(|faults| faults.accept_transient = 100);
        for _ in 0..20 {
            fixture.connect_peer(number);
        }
        assert!(fixture.settle().is_empty(), "no peer was there, and that is not a failure");
        fixture.heal();
        fixture.connect_peer(number);
        assert_eq!(fixture.settle().len(), 1);
    }
}

/// One closes, one is accepted, and the next fails: the same failure each time.
#[test]
pub(super) fn hc10_at_the_limit_of_descriptors_failures_are_reported_once_a_second() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (_, number) = fixture.listen();
        let start_ns = fixture.now_ns();
        let (mut accepted, mut failures, mut connected) = (0, 0, 0);
        while fixture.now_ns() - start_ns < 10_000_000_000 {
            for exhausted in [true, false] {
                fixture.world.borrow_mut().exhausted = exhausted;
                fixture.connect_peer(number);
                connected += 1;
                for seen in fixture.wait(50 * MS) {
                    match seen {
                        Seen::Accepted(..) => accepted += 1,
                        Seen::AcceptFailed(_) => failures += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        fixture.world.borrow_mut().exhausted = false;
        accepted += fixture.settle().len();
        assert_eq!(accepted, connected, "and none was forgotten");
        assert!((5..=11).contains(&failures), "{failures} reports in ten seconds");
        // A failure that lasts is reported, if a little later.
        fixture.world.borrow_mut().exhausted = true;
        fixture.connect_peer(number);
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::AcceptFailed(_)]), "{seen:?}");
    }
}

#[test]
pub(super) fn hc10_a_thousand_peers_that_are_gone_do_not_keep_the_reactor_busy() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (_, number) = fixture.listen();
        fixture.faults(|faults| faults.accept_transient = 100);
        for _ in 0..1_000 {
            fixture.connect_peer(number);
        }
        let start_ns = fixture.now_ns();
        while !fixture.world.borrow().listeners[number].backlog.is_empty() {
            assert!(fixture.wait(MS).is_empty(), "no peer was there, and that is not a failure");
        }
        let pauses = (fixture.now_ns() - start_ns + 5_000_000) / 10_000_000;
        assert!((14..=16).contains(&pauses), "{pauses} pauses");
        fixture.heal();
        fixture.connect_peer(number);
        assert_eq!(fixture.settle().len(), 1);
    }
}

#[test]
pub(super) fn hc20_two_hundred_readiness_listeners_are_all_reported() {
    let count = if cfg!(miri) { 70 } else { 200 };
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let listeners: Vec<_> = (0..count).map(|_| fixture.listen_readiness()).collect();
        assert!(fixture.turn().is_empty());
        for &(watch, number) in listeners.iter().rev() {
            let link = fixture.connect_peer(number);
            let seen = fixture.turn();
            assert!(matches!(seen[..], [Seen::Ready(of)] if of == watch), "{seen:?}");
            let (stream, _) = fixture.engine.accept(watch).expect("accept").expect("a peer waits");
            assert_eq!(stream.link(), link);
        }
        assert!(fixture.turn().is_empty());
    }
}
