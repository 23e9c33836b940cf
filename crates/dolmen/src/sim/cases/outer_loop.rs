//! Another event loop around the reactor, which blocks for as long as the engine says.

use super::*;

/// Blocks on the kernel's handle as an outer loop does, and returns what a wait of no time then finds.
fn block(fixture: &mut Fixture) -> Vec<Seen> {
    fixture.engine.flush();
    let ready_ns = fixture.engine.kernel().ready_from_ns();
    let now_ns = fixture.now_ns();
    let until_ns = fixture.engine.next_timeout_ns().map(|ns| now_ns.saturating_add(ns));
    let until_ns = [ready_ns, until_ns].into_iter().flatten().min().expect("it blocks indefinitely");
    fixture.world.borrow_mut().now_ns = now_ns.max(until_ns);
    fixture.turn()
}

#[test]
pub(super) fn p02_an_outer_loop_that_blocks_for_the_next_timeout_misses_nothing() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.events = Batch::with_capacity(1);
        let connections: Vec<_> = (0..5).map(|_| fixture.connect()).collect();
        assert!(fixture.turn().is_empty());
        fixture.engine.flush();
        assert_eq!(fixture.engine.next_timeout_ns(), None);
        assert_eq!(fixture.engine.kernel().ready_from_ns(), None);
        // All at the same time, in room for one event: first with packets of the kernel, then without.
        for packets in [true, false] {
            for &(_, link) in connections.iter().filter(|_| packets) {
                fixture.peer_sends(link, b"here");
            }
            let poster = Poster::new(fixture.engine.mailbox());
            (0..5).for_each(|value| poster.post(value, Token(0)).expect("post"));
            Waker::new(fixture.engine.mailbox()).wake();
            fixture.engine.add_timer(Duration::ZERO, Token(0));
            let start_ns = fixture.now_ns();
            let all = if packets { 12 } else { 7 };
            let seen: Vec<Seen> = (0..all).flat_map(|_| block(&mut fixture)).collect();
            assert_eq!(seen.len(), all, "{seen:?}");
            assert!(fixture.now_ns() < start_ns + 1_000_000, "it has blocked");
        }
        // A timer ends the block at its time, and it is the only one.
        let later = fixture.engine.add_timer(50 * MS, Token(0));
        let start_ns = fixture.now_ns();
        let mut blocks = 0;
        let seen = loop {
            blocks += 1;
            let seen = block(&mut fixture);
            if !seen.is_empty() {
                break seen;
            }
        };
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == later), "{seen:?}");
        assert!((50_000_000..51_000_000).contains(&(fixture.now_ns() - start_ns)));
        assert!(blocks <= 3, "{blocks} blocks for one timer");
    }
}
