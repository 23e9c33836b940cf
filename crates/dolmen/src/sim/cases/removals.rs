//! Removals, by the caller and by handlers of the same batch, and results of earlier waits.

use super::*;

#[test]
pub(super) fn hc05_the_number_of_a_removed_poll_is_the_next_ones_at_once() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| (faults.delay, faults.late_success) = (100, 100));
        let (socket, link) = fixture.caller_socket();
        let old = fixture.poll_socket(&socket, Readiness::READABLE);
        assert!(fixture.turn().is_empty());
        fixture.peer_sends(link, b"too late");
        assert!(fixture.engine.remove_poll(old));
        let number = socket.fd;
        drop(socket);
        // The operation of the old one is still in flight.
        assert_eq!(fixture.stats().operations_in_flight, 1);
        let (socket, link) = fixture.caller_socket();
        assert_eq!(socket.fd, number);
        let new = fixture.poll_socket(&socket, Readiness::READABLE);
        assert!(fixture.settle().is_empty(), "the old one's readiness is not the new one's");
        fixture.peer_sends(link, b"mine");
        let seen = fixture.wait(MS * 10);
        assert!(matches!(seen[..], [Seen::Polled(of, Readiness::READABLE)] if of == new), "{seen:?}");
        assert!(fixture.engine.remove_poll(new));
        assert!(fixture.settle().is_empty());
        drop(socket);
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc05_the_number_of_a_released_connection_is_the_next_ones_at_once() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| (faults.delay, faults.late_success) = (100, 100));
        let (socket, link) = fixture.caller_socket();
        let old = fixture.adopt(&socket, true);
        fixture.peer_sends(link, b"for the one who has left");
        assert!(fixture.engine.remove_adopted(old));
        let number = socket.fd;
        drop(socket);
        assert_eq!(fixture.stats().operations_in_flight, 1);
        let (socket, link) = fixture.caller_socket();
        assert_eq!(socket.fd, number);
        let new = fixture.adopt(&socket, true);
        fixture.peer_sends(link, b"mine");
        let seen = fixture.settle();
        assert!(matches!(&seen[..], [Seen::Received(of, data)] if *of == new && data == b"mine"), "{seen:?}");
        assert!(fixture.engine.remove_adopted(new));
        assert!(fixture.settle().is_empty());
        assert_eq!(fixture.link(link, |link| link.ended), None, "only the caller closes it");
        drop(socket);
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc09_what_the_first_handler_of_a_batch_removes_the_second_does_not_see() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (first, first_number) = fixture.listen_readiness();
        let (second, second_number) = fixture.listen_readiness();
        assert!(fixture.turn().is_empty());
        fixture.connect_peer(first_number);
        fixture.connect_peer(second_number);
        let count = fixture.engine.wait(&mut fixture.events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(count, 2, "both in one batch");
        let mut reported = Vec::new();
        let engine = &mut fixture.engine;
        for event in fixture.events.drain() {
            reported.push(Seen::from(event));
            // The one that comes first removes the other one.
            if let [Seen::Ready(watch)] = reported[..] {
                let other = if watch == first { second } else { first };
                assert!(engine.remove_watch(other));
                assert_eq!(engine.accept(other).expect_err("removed").kind(), ErrorKind::NotFound);
            }
        }
        assert_eq!(reported.len(), 1, "{reported:?}");
    }
}

#[test]
pub(super) fn hc09_a_poll_that_an_earlier_handler_removes_is_silent() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let sockets = [fixture.caller_socket(), fixture.caller_socket()];
        let polls = [0, 1].map(|at: usize| fixture.poll_socket(&sockets[at].0, Readiness::READABLE));
        for (_, link) in &sockets {
            fixture.peer_sends(*link, b"both at once");
        }
        let count = fixture.engine.wait(&mut fixture.events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(count, 2, "both in one batch");
        let mut reported = Vec::new();
        let engine = &mut fixture.engine;
        for event in fixture.events.drain() {
            reported.push(Seen::from(event));
            if let [Seen::Polled(poll, _)] = reported[..] {
                assert!(engine.remove_poll(if poll == polls[0] { polls[1] } else { polls[0] }));
            }
        }
        assert_eq!(reported.len(), 1, "{reported:?}");
        let again = fixture.turn();
        assert_eq!(again.len(), 1, "the other one is still ready, and reported again: {again:?}");
    }
}

/// Room for one event and three sockets that are ready: the caller reads them all, and the other two are no longer
/// ready when their turn comes.
#[test]
pub(super) fn events_that_did_not_fit_are_rechecked_before_they_are_delivered() {
    for style in Style::BOTH {
        // Found immediately, before the kernel's packets, and in the kernel.
        for (sync, in_submit) in [(0, 0), (100, 0), (0, 100)] {
            let mut fixture = Fixture::with(style, Config { max_events: 1, ..Fixture::CONFIG });
            fixture.faults(|faults| (faults.sync, faults.in_submit) = (sync, in_submit));
            let sockets: Vec<_> = (0..3).map(|_| fixture.caller_socket()).collect();
            let mut ids = Vec::new();
            for (socket, link) in &sockets {
                ids.push(fixture.poll_socket(socket, Readiness::READABLE));
                fixture.peer_sends(*link, b"line");
            }
            assert_eq!(fixture.turn().len(), 1);
            for (_, link) in &sockets {
                fixture.link(*link, |link| link.inbound.bytes.clear());
            }
            let seen = fixture.settle();
            assert!(seen.is_empty(), "{style:?}, {sync}, {in_submit}: {seen:?}");
            // They are still waited for, and each has its turn.
            for (_, link) in &sockets {
                fixture.peer_sends(*link, b"more");
            }
            let mut polls: Vec<_> = (0..9)
                .flat_map(|_| fixture.turn())
                .map(|seen| match seen {
                    Seen::Polled(poll, Readiness::READABLE) => poll.0.slot,
                    other => panic!("{other:?}"),
                })
                .collect();
            polls.sort_unstable();
            polls.dedup();
            assert_eq!(polls, [0, 1, 2], "{style:?}, {sync}, {in_submit}");
            assert!(ids.into_iter().all(|poll| fixture.engine.remove_poll(poll)));
        }
    }
}

/// Operations that the kernel returns for removed registrations take no other's room, even in a wait of no time.
#[test]
pub(super) fn what_was_removed_takes_no_room_from_what_is_ready() {
    for style in Style::BOTH {
        for gone in [1, 3, 20] {
            let mut fixture = Fixture::with(style, Config { max_events: 1, ..Fixture::CONFIG });
            for _ in 0..5 {
                let sockets: Vec<_> = (0..gone).map(|_| fixture.caller_socket().0).collect();
                let polls: Vec<_> =
                    sockets.iter().map(|socket| fixture.poll_socket(socket, Readiness::READABLE)).collect();
                let conns: Vec<_> = (0..gone).map(|_| fixture.connect().0).collect();
                let (conn, link) = fixture.connect();
                assert!(fixture.turn().is_empty());
                fixture.peer_sends(link, b"ready");
                assert!(conns.into_iter().all(|conn| fixture.engine.remove(conn)));
                assert!(polls.into_iter().all(|poll| fixture.engine.remove_poll(poll)));
                let seen = fixture.turn();
                assert_eq!(bytes_of(&seen, conn), b"ready", "{style:?}, {gone}");
                fixture.engine.remove(conn);
            }
            fixture.settle();
            fixture.assert_empty();
        }
    }
}
