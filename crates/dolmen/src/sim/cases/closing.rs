//! Closes that keep the last output, and those after a reset.

use super::*;

#[test]
pub(super) fn hc15_a_goodbye_arrives_whole_although_bytes_were_left_unread() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(100);
        assert!(fixture.turn().is_empty());
        let goodbye = pattern(2_000);
        fixture.engine.send(conn, &goodbye).expect("send");
        fixture.peer_sends(link, b"unread");
        fixture.engine.close(conn).expect("close");
        let mut read = Vec::new();
        for _ in 0..200 {
            // The peer also continues to send.
            fixture.peer_sends(link, b"and more");
            assert!(fixture.turn().is_empty(), "the peer has not finished");
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
            assert!(fixture.turn().is_empty());
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

#[test]
pub(super) fn p06_a_release_sends_and_delivers_first_and_leaves_the_rest_in_the_stream() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(100);
        assert!(fixture.turn().is_empty());
        let last_words = pattern(500);
        fixture.engine.send(conn, &last_words).expect("send");
        fixture.engine.pause(conn).expect("pause");
        fixture.peer_sends(link, b"received");
        assert!(fixture.turn().is_empty());
        fixture.engine.release(conn).expect("release");
        let refused = fixture.engine.send(conn, b"more").expect_err("it is leaving");
        assert_eq!((refused.kind(), fixture.engine.capacity(conn).ok()), (ErrorKind::SendClosed, Some(0)));
        let mut read = Vec::new();
        for _ in 0..20 {
            assert!(fixture.turn().is_empty(), "paused, or not all is sent");
            read.extend(fixture.peer_reads(link, 50));
        }
        assert_eq!(read, last_words);
        fixture.engine.resume(conn).expect("resume");
        let seen = fixture.settle();
        let [.., Seen::Released(of, stream)] = &seen[..] else { panic!("{seen:?}") };
        // A readiness kernel that had not read yet leaves everything to the caller.
        let received = bytes_of(&seen, conn);
        let left = fixture.link(link, |link| link.inbound.bytes.iter().copied().collect::<Vec<u8>>());
        assert_eq!([received, left].concat(), b"received");
        assert_eq!((*of, stream.link()), (conn, link));
        assert!(fixture.engine.release(conn).is_err() && !fixture.engine.remove(conn), "it is gone");
        assert_eq!(fixture.link(link, |link| link.ended), None, "still open");
        drop(seen);
        fixture.assert_empty();
    }
}

/// The receive that was withdrawn does not end the connection: the close goes on as always.
#[test]
pub(super) fn p06_a_close_after_a_release_is_a_close() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| faults.delay = 100);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        fixture.engine.release(conn).expect("release");
        fixture.engine.flush();
        fixture.engine.close(conn).expect("close");
        fixture.peer_finishes(link);
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Finished)] if of == conn), "{seen:?}");
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn p06_a_reset_before_the_release_closes_the_connection() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(10);
        fixture.engine.send(conn, &pattern(100)).expect("send");
        fixture.engine.release(conn).expect("release");
        assert!(fixture.turn().is_empty());
        fixture.link(link, |link| link.reset = Some(false));
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Reset)] if of == conn), "{seen:?}");
        fixture.assert_empty();
    }
}
