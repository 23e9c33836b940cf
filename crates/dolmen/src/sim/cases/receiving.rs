//! Receives: pauses, the three ends of a stream, and the order of its bytes.

use super::*;

#[test]
pub(super) fn hc12_a_receive_of_zero_bytes_that_completes_is_no_end() {
    // Without a pool no buffer can be lent, and every receive is posted without one.
    let mut fixture = Fixture::with(Style::Completion, Config { pool_size: 0, ..Fixture::CONFIG });
    let before = hits(Mark::ZeroByteReceive);
    let (conn, link) = fixture.connect();
    let (other, other_link) = fixture.connect();
    assert!(fixture.turn().is_empty());
    assert_eq!(fixture.stats().buffers_out, 0);
    fixture.peer_sends(link, b"data");
    let seen = fixture.settle();
    assert!(matches!(&seen[..], [Seen::Received(of, data)] if *of == conn && data == b"data"), "{seen:?}");
    assert!(hits(Mark::ZeroByteReceive) > before);
    fixture.peer_finishes(link);
    let seen = fixture.settle();
    assert!(matches!(seen[..], [Seen::EndOfStream(of)] if of == conn), "{seen:?}");
    fixture.link(other_link, |link| link.peer_reset(false));
    let seen = fixture.settle();
    assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Reset)] if of == other), "{seen:?}");
}

#[test]
pub(super) fn hc13_pausing_and_resuming_while_handling_data_posts_one_receive() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        let sent = pattern(1_000);
        fixture.peer_sends(link, &sent);
        let mut received = Vec::new();
        while received.len() < sent.len() {
            for seen in fixture.turn() {
                let Seen::Received(_, data) = seen else { panic!("{seen:?}") };
                received.extend(data);
                fixture.engine.pause(conn).expect("pause");
                fixture.engine.resume(conn).expect("resume");
                fixture.engine.flush();
                fixture.engine.pause(conn).expect("pause");
                fixture.engine.resume(conn).expect("resume");
                fixture.engine.flush();
            }
            assert!(fixture.stats().operations_in_flight <= 1, "one receive at a time");
        }
        assert_eq!(received, sent);
    }
}

/// Whatever happens between two turns: without a request, with one, and while bytes wait for delivery.
#[test]
pub(super) fn hc33_a_connection_has_one_receive_pending_and_the_order_is_kept() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        let sent = pattern(2_000);
        let mut received = Vec::new();
        for part in sent.chunks(40) {
            fixture.peer_sends(link, part);
            (0..3).for_each(|_| fixture.engine.flush());
            assert!(fixture.stats().operations_in_flight <= 1, "one receive at a time");
            received.extend(bytes_of(&fixture.turn(), conn));
        }
        received.extend(bytes_of(&fixture.settle(), conn));
        assert_eq!(received, sent);
    }
}

#[test]
pub(super) fn hc13_what_arrives_between_a_pause_and_a_resume_is_kept() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        let sent = pattern(300);
        let mut received = Vec::new();
        for part in sent.chunks(50) {
            fixture.engine.pause(conn).expect("pause");
            fixture.peer_sends(link, part);
            assert!(fixture.settle().is_empty(), "it is paused");
            fixture.engine.resume(conn).expect("resume");
            received.extend(bytes_of(&fixture.settle(), conn));
        }
        assert_eq!(received, sent);
    }
}

#[test]
pub(super) fn hc14_fin_reset_and_a_peer_that_is_gone_are_three_things() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let [(fin, fin_link), (reset, reset_link), (gone, gone_link)] =
            std::array::from_fn(|_| fixture.connect());
        assert!(fixture.turn().is_empty());
        fixture.peer_finishes(fin_link);
        fixture.link(reset_link, |link| link.peer_reset(true));
        fixture.link(gone_link, |link| (link.inbound.fin, link.gone) = (true, true));
        let seen = fixture.settle();
        assert_eq!(closed(&seen, reset), Some(CloseReason::Reset));
        let ended: Vec<ConnId> = seen
            .iter()
            .filter_map(|seen| if let Seen::EndOfStream(of) = seen { Some(*of) } else { None })
            .collect();
        assert_eq!((ended.len(), ended.contains(&fin), ended.contains(&gone)), (2, true, true), "{seen:?}");
        // After FIN a reply is still sent.
        fixture.engine.send(fin, &pattern(500)).expect("half-closed");
        assert!(fixture.settle().is_empty());
        assert_eq!(fixture.peer_reads(fin_link, 1_000), pattern(500));
        // To a peer that is gone the first send succeeds. The second finds the reset.
        fixture.engine.send(gone, b"first").expect("send");
        assert!(fixture.turn().is_empty());
        fixture.engine.send(gone, b"second").expect("send");
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Reset)] if of == gone), "{seen:?}");
    }
}

/// Found by a seed: the linger time that limits the wait for such bytes ran out while the caller did not wait at all.
#[test]
pub(super) fn hc14_what_came_before_a_reset_reaches_a_caller_who_was_away() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        let data = pattern(600);
        fixture.peer_sends(link, &data);
        fixture.link(link, |link| link.peer_reset(true));
        fixture.engine.send(conn, b"into the void").expect("send");
        let mut seen = fixture.turn();
        fixture.world.borrow_mut().now_ns += 2 * Fixture::CONFIG.linger.as_nanos() as u64;
        seen.extend(fixture.settle());
        assert_eq!(bytes_of(&seen, conn), data);
        assert!(matches!(seen.last(), Some(Seen::Closed(of, CloseReason::Reset)) if *of == conn), "{seen:?}");
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc16_a_shutdown_does_not_end_a_receive_and_a_removal_does() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        fixture.engine.shutdown_write(conn).expect("shutdown");
        assert!(fixture.settle().is_empty());
        assert!(fixture.link(link, |link| link.outbound.fin));
        assert_eq!(fixture.stats().operations_in_flight, 1, "the receive continues");
        fixture.peer_sends(link, b"still talking");
        assert_eq!(bytes_of(&fixture.settle(), conn), b"still talking");
        assert!(fixture.engine.remove(conn));
        assert!(fixture.settle().is_empty());
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc33_a_second_receive_is_not_posted_and_the_order_is_kept() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| (faults.sync, faults.reorder) = (sync, 100));
            let (socket, link) = fixture.caller_socket();
            let conn = fixture.adopt(&socket, true);
            let sent = pattern(500);
            let mut received: Vec<u8> = Vec::new();
            while received.len() < sent.len() {
                for _ in 0..3 {
                    fixture.engine.post_receive(conn).expect("it may be requested any number of times");
                    assert!(fixture.stats().operations_in_flight <= 1, "one receive at a time");
                }
                if received.is_empty() {
                    fixture.peer_sends(link, &sent);
                }
                let seen = fixture.settle();
                let [Seen::Received(_, data)] = &seen[..] else { panic!("one for all requests: {seen:?}") };
                received.extend(data);
            }
            assert_eq!(received, sent);
            assert!(fixture.engine.remove_adopted(conn));
            assert!(fixture.settle().is_empty());
        }
    }
}
