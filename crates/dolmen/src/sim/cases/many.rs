//! Many sources: each gets its turn.

use super::*;

#[test]
pub(super) fn hc19_a_source_that_is_always_ready_starves_nobody() {
    for style in Style::BOTH {
        for (sync, capacity) in [(0, 1), (100, 1), (100, 3)] {
            let mut fixture = Fixture::with(style, Config { max_events: capacity, ..Fixture::CONFIG });
            fixture.faults(|faults| faults.sync = sync);
            let (flood, flooding) = fixture.connect();
            let (conn, link) = fixture.connect();
            let (_, number) = fixture.listen();
            let (_, handle) = fixture.watch();
            let poster = Poster::new(fixture.engine.mailbox());
            fixture.peer_sends(flooding, &pattern(1_000));
            for _ in 0..5 {
                fixture.turn();
            }
            fixture.peer_sends(link, b"look");
            fixture.connect_peer(number);
            fixture.signal(handle, true);
            fixture.engine.add_timer(Duration::ZERO, Token(0));
            poster.post(1, Token(0)).expect("post");
            Waker::new(fixture.engine.mailbox()).wake();
            let (mut line, mut accept, mut ready, mut timer, mut post, mut wake) = Default::default();
            for turn in 1..=16 {
                fixture.peer_sends(flooding, &pattern(200));
                for seen in fixture.turn() {
                    let first = match seen {
                        Seen::Received(of, _) if of == flood => continue,
                        Seen::Received(of, _) if of == conn => &mut line,
                        Seen::Accepted(..) => &mut accept,
                        Seen::Ready(_) => &mut ready,
                        Seen::Timer(_) => &mut timer,
                        Seen::Posted(_) => &mut post,
                        Seen::Woken => &mut wake,
                        other => panic!("{other:?}"),
                    };
                    *first = (*first as i32).max(turn);
                }
            }
            let all = [line, accept, ready, timer, post, wake];
            assert!(all.iter().all(|&turn| turn > 0), "{style:?}, {sync}, {capacity}: {all:?}");
        }
    }
}

#[test]
pub(super) fn hc37_five_thousand_connections_are_all_served() {
    let count = if cfg!(miri) { 100 } else { 5_000 };
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let conns: Vec<_> = (0..count).map(|_| fixture.connect()).collect();
        assert!(fixture.turn().is_empty());
        assert_eq!(fixture.stats().connections, count);
        for &(conn, link) in conns.iter().rev().step_by(97) {
            fixture.peer_sends(link, b"here");
            let seen = fixture.turn();
            assert!(
                matches!(&seen[..], [Seen::Received(of, data)] if *of == conn && data == b"here"),
                "{seen:?}"
            );
        }
    }
}
