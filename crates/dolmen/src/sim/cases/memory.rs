//! Sends and receives for which the system has no memory.

use super::*;

/// The system has no memory for a send or a receive: the reactor retries after pauses that grow, and nothing is lost.
#[test]
pub(super) fn hc45_no_memory_for_a_send_or_a_receive_is_a_pause_and_not_the_end() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            let (conn, link) = fixture.connect();
            fixture.faults(|faults| (faults.no_memory, faults.sync) = (100, sync));
            fixture.peer_sends(link, &pattern(100));
            fixture.engine.send(conn, &pattern(300)).expect("send");
            let before = fixture.stats().kernel_waits;
            assert!(fixture.wait(Duration::from_secs(10)).is_empty(), "nothing moves, and nothing ends");
            // 10, 20, 40 … 640 ms and then one a second.
            let polls = fixture.stats().kernel_waits - before;
            assert!((10..=60).contains(&polls), "{polls} polls in ten seconds");
            fixture.heal();
            let seen = fixture.settle();
            assert_eq!(bytes_of(&seen, conn), pattern(100));
            assert_eq!(fixture.peer_reads(link, 1_000), pattern(300));
            // After a success the first pause is a short one again.
            fixture.faults(|faults| faults.no_memory = 100);
            fixture.engine.send(conn, b"more").expect("send");
            assert!(fixture.wait(MS * 5).is_empty());
            fixture.heal();
            assert!(fixture.wait(MS * 10).is_empty());
            assert_eq!(fixture.peer_reads(link, 10), b"more");
            // And a connection that is closed during a pause is closed.
            fixture.faults(|faults| faults.no_memory = 100);
            fixture.engine.send(conn, b"lost").expect("send");
            assert!(fixture.turn().is_empty());
            fixture.engine.abort(conn).expect("abort");
            let seen = fixture.settle();
            assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Aborted)] if of == conn), "{seen:?}");
            fixture.assert_empty();
            assert_eq!(fixture.stats().timers, 0, "the pause ends with it");
        }
    }
}

/// Counts warnings.
struct Warnings(Arc<AtomicU64>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Each direction has its own pauses: successes in one do not shorten those of the other. And the log is short.
#[test]
pub(super) fn hc45_an_operation_without_memory_is_retried_with_growing_pauses_while_the_other_direction_continues()
 {
    for style in Style::BOTH {
        for kind in [OpKind::Send, OpKind::Receive] {
            let mut fixture = Fixture::new(style);
            let warnings = Arc::new(AtomicU64::new(0));
            let _until_the_end = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
            let (conn, link) = fixture.connect();
            assert!(fixture.settle().is_empty());
            fixture.faults(|faults| (faults.no_memory, faults.no_memory_for) = (100, Some(kind)));
            let before = hits(Mark::TransferRetried);
            if kind == OpKind::Send {
                fixture.engine.send(conn, b"sent late").expect("send");
            } else {
                fixture.peer_sends(link, b"received late");
            }
            for _ in 0..100 {
                if kind == OpKind::Send {
                    fixture.peer_sends(link, b"!");
                    assert_eq!(bytes_of(&fixture.wait(MS * 1), conn), b"!");
                } else {
                    fixture.engine.send(conn, b"!").expect("send");
                }
                assert!(fixture.wait(MS * 100).is_empty());
                if kind == OpKind::Receive {
                    assert_eq!(fixture.peer_reads(link, 10), b"!");
                }
            }
            // 10, 20, 40 … 640 ms and then one a second.
            let retries = hits(Mark::TransferRetried) - before;
            assert!((8..=20).contains(&retries), "{retries} attempts of {kind:?} in ten seconds");
            let warnings = warnings.load(Ordering::Relaxed);
            assert!((4..=5).contains(&warnings), "{warnings} warnings");
            fixture.heal();
            let seen = fixture.settle();
            match kind {
                OpKind::Send => assert_eq!(fixture.peer_reads(link, 100), b"sent late"),
                _ => assert_eq!(bytes_of(&seen, conn), b"received late"),
            }
        }
    }
}
