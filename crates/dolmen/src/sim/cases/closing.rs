//! Closes that keep the last output, and those after a reset.

use super::*;

#[test]
pub(super) fn hc15_a_goodbye_arrives_whole_although_bytes_were_left_unread() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(100);
        assert!(fixture.poll().is_empty());
        let goodbye = pattern(2_000);
        fixture.engine.send(conn, &goodbye).expect("send");
        fixture.peer_sends(link, b"unread");
        fixture.engine.close(conn).expect("close");
        let mut read = Vec::new();
        for _ in 0..200 {
            // The peer also continues to send.
            fixture.peer_sends(link, b"and more");
            assert!(fixture.poll().is_empty(), "the peer has not finished");
            read.extend(fixture.peer_reads(link, 30));
        }
        assert_eq!(read, goodbye);
        assert!(
            fixture.link(link, |link| link.outbound.fin && link.ended.is_none()),
            "FIN, and not closed yet"
        );
        fixture.peer_finishes(link);
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Finished)] if of == conn), "{seen:?}");
        assert_eq!(fixture.link(link, |link| link.ended), Some(Ended::Orderly));
        assert!(fixture.now_ns() < 5_000_000_000, "the linger time was not needed");
    }
}

#[test]
pub(super) fn hc15_a_goodbye_to_a_peer_that_never_finishes_is_bounded() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, _) = fixture.connect_with(10);
        fixture.engine.send(conn, &pattern(100)).expect("send");
        fixture.engine.close(conn).expect("close");
        let seen = fixture.wait(Duration::from_secs(60));
        let expired =
            matches!(seen[..], [Seen::Closed(_, CloseReason::LingerExpired { unsent })] if unsent > 0);
        assert!(expired, "{seen:?}");
        let seconds = fixture.now_ns() / 1_000_000_000;
        assert_eq!(seconds, 5, "the linger time");
    }
}

/// The peer resets, and the caller closes or half-closes before the reactor has seen it: it is a reset all the same.
#[test]
pub(super) fn hc44_a_close_after_an_unreported_reset_is_a_reset() {
    for style in Style::BOTH {
        for half in [false, true] {
            let mut fixture = Fixture::new(style);
            let (conn, link) = fixture.connect();
            assert!(fixture.poll().is_empty());
            fixture.link(link, |link| link.peer_reset(false));
            if half {
                fixture.engine.shutdown_write(conn).expect("shut down");
            } else {
                fixture.engine.close(conn).expect("close");
            }
            let seen = fixture.settle();
            assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Reset)] if of == conn), "{seen:?}");
            fixture.assert_empty();
        }
    }
}
