//! What is still received after a send has failed.

use super::*;

/// A connection whose send has failed although the peer has not reset: the caller has shut down the sending side
/// without the reactor. The peer sends whenever there is room.
fn flood_after_a_failed_send(
    fixture: &mut Fixture,
    conn: ConnId,
    link: usize,
    mut handle: impl FnMut(&mut Fixture),
) {
    let there = pattern(300);
    fixture.peer_sends(link, &there);
    fixture.link(link, |link| link.shut_by_caller = true);
    fixture.engine.send(conn, b"into the void").expect("it is queued");
    let start_ns = fixture.now_ns();
    let (mut received, mut end) = (0, None);
    for _ in 0..100_000 {
        for seen in fixture.wait(10 * MS) {
            match seen {
                Seen::Received(of, data) if of == conn => received += data.len(),
                Seen::Closed(of, reason) if of == conn => end = Some(reason),
                other => panic!("{other:?}"),
            }
            handle(fixture);
        }
        if end.is_some() {
            break;
        }
        let room = fixture.link(link, |link| link.inbound.room().min(1_000));
        fixture.peer_sends(link, &pattern(room));
    }
    assert_eq!(
        end,
        Some(CloseReason::Reset),
        "after {received} bytes and {} ns",
        fixture.now_ns() - start_ns
    );
    let buffer = Fixture::CONFIG.buffer_bytes;
    assert!(received <= there.len() + 2 * buffer, "{received} bytes, {} were there", there.len());
    let linger_ns = Fixture::CONFIG.linger.as_nanos() as u64;
    let taken_ns = fixture.now_ns() - start_ns;
    assert!(taken_ns <= linger_ns + 1_000_000_000, "{taken_ns} ns, and {linger_ns} is the linger time");
}

#[test]
pub(super) fn hc43_a_flood_after_a_failed_send_is_not_received() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        flood_after_a_failed_send(&mut fixture, conn, link, |_| {});
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc43_a_pause_holds_after_a_failed_send_and_the_connection_ends_all_the_same() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        let mut events = 0;
        flood_after_a_failed_send(&mut fixture, conn, link, |fixture| {
            // The event after the pause is `Closed`, and then there is no connection to be paused.
            let paused = fixture.engine.pause(conn).is_ok();
            events += 1;
            assert!(events <= 2 && paused == (events == 1), "an event of a paused connection");
        });
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc43_a_caller_that_resumes_in_time_receives_all_that_was_there_before_the_failed_send() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        fixture.engine.pause(conn).expect("pause");
        fixture.peer_sends(link, &pattern(600));
        fixture.link(link, |link| link.peer_reset(true));
        fixture.engine.send(conn, b"into the void").expect("it is queued");
        // For nearly the linger time.
        assert!(fixture.wait(Duration::from_millis(4_900)).is_empty());
        fixture.engine.resume(conn).expect("resume");
        let seen = fixture.settle();
        assert_eq!(bytes_of(&seen, conn), pattern(600));
        assert!(matches!(seen.last(), Some(Seen::Closed(of, CloseReason::Reset)) if *of == conn), "{seen:?}");
        fixture.assert_empty();
    }
}

/// The C library's connections: without further requests nothing is collected beyond the one requested receive.
#[test]
pub(super) fn hc43_an_adopted_connection_is_received_from_only_when_asked_to_also_after_a_failed_send() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (socket, link) = fixture.caller_socket();
        let conn = fixture.adopt(&socket, true);
        let mut events = 0;
        flood_after_a_failed_send(&mut fixture, conn, link, |fixture| {
            events += 1;
            assert!(events <= 2, "one receive was requested");
            assert!(fixture.stats().buffers_out <= 2, "{:?}", fixture.stats());
        });
        assert_eq!(events, 2, "the bytes, and the end");
        drop(socket);
        fixture.assert_empty();
    }
}
