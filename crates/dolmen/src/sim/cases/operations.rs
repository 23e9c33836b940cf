//! Operations and their memory: completions early, late, immediate, cancelled, and packets that are not ours.

use super::*;

#[test]
pub(super) fn hc01_a_pending_receive_keeps_its_memory_through_the_removal() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
        let lent = fixture.stats().buffers_out;
        assert_eq!(lent, usize::from(style == Style::Completion));
        // The kernel continues to write into the memory that it was lent, and takes its time.
        fixture.faults(|faults| (faults.early_write, faults.delay, faults.late_success) = (100, 100, 100));
        assert!(fixture.engine.remove(conn));
        fixture.peer_sends(link, b"for the one who has left");
        fixture.engine.flush();
        assert_eq!(fixture.stats().operations_in_flight, 1, "the kernel still has it");
        assert_eq!(fixture.stats().buffers_out, lent, "and its buffer");
        // New connections get other memory meanwhile.
        let (newcomer, other) = fixture.connect();
        fixture.peer_sends(other, b"for the newcomer");
        let seen = fixture.settle();
        assert_eq!(bytes_of(&seen, newcomer), b"for the newcomer");
        assert!(seen.iter().all(|seen| matches!(seen, Seen::Received(of, _) if *of == newcomer)), "{seen:?}");
        fixture.engine.remove(newcomer);
        fixture.settle();
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc01_a_pending_send_keeps_its_bytes_through_the_abort() {
    let mut fixture = Fixture::new(Style::Completion);
    let (conn, link) = fixture.connect_with(10);
    fixture.engine.send(conn, &pattern(100)).expect("send");
    assert!(fixture.turn().is_empty());
    fixture.faults(|faults| (faults.delay, faults.late_success) = (100, 100));
    fixture.engine.abort(conn).expect("abort");
    fixture.engine.flush();
    // Other queues are filled while the kernel reads from this one.
    let (other, other_link) = fixture.connect();
    fixture.engine.send(other, &[0; 100]).expect("send");
    let read = fixture.peer_reads(link, 10);
    let seen = fixture.settle();
    assert_eq!(closed(&seen, conn), Some(CloseReason::Aborted));
    assert_eq!(read, pattern(10));
    assert_eq!(fixture.peer_reads(other_link, 200), [0; 100]);
}

/// Every kind of submission, once, on a machine whose faults the caller chooses.
fn one_of_each(style: Style, sync: u8, in_submit: u8) {
    let mut fixture = Fixture::new(style);
    fixture.faults(|faults| (faults.sync, faults.in_submit) = (sync, in_submit));
    let (listener, number) = fixture.listen();
    let (watch, handle) = fixture.watch();
    let (conn, link) = fixture.connect();
    fixture.connect_peer(number);
    fixture.signal(handle, true);
    fixture.peer_sends(link, &pattern(200));
    fixture.peer_finishes(link);
    fixture.engine.send(conn, &pattern(300)).expect("send");
    let (mut seen, mut ready) = (Vec::new(), 0);
    // Immediately or in several turns: a buffer holds 64 bytes.
    for _ in 0..12 {
        for event in fixture.turn() {
            if matches!(event, Seen::Ready(of) if of == watch) {
                ready += 1;
                fixture.signal(handle, false);
            } else {
                seen.push(event);
            }
        }
    }
    // One that was submitted while the handle was signalled may still have seen it.
    assert!((1..=2).contains(&ready), "{ready} times ready");
    assert_eq!(fixture.peer_reads(link, 1_000), pattern(300));
    assert_eq!(bytes_of(&seen, conn), pattern(200));
    let ends = seen.iter().filter(|seen| matches!(seen, Seen::EndOfStream(of) if *of == conn)).count();
    assert_eq!(ends, 1, "{seen:?}");
    let accepted = seen.iter().filter(|seen| matches!(seen, Seen::Accepted(of, _) if *of == listener));
    assert_eq!(accepted.count(), 1, "{seen:?}");
}

#[test]
pub(super) fn hc02_an_operation_may_complete_before_the_submitting_call_returns() {
    for style in Style::BOTH {
        let before = hits(Mark::CompletedInSubmit);
        one_of_each(style, 0, 100);
        assert!(hits(Mark::CompletedInSubmit) >= before + 4, "one of each kind has");
    }
}

#[test]
pub(super) fn hc03_a_removal_ends_what_is_pending_although_nobody_else_stirs() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, _) = fixture.connect();
        let (stuck, _) = fixture.connect_with(1);
        let (listener, _) = fixture.listen();
        let (watch, _) = fixture.watch();
        fixture.engine.send(stuck, &pattern(100)).expect("send");
        assert!(fixture.turn().is_empty());
        assert!(fixture.stats().operations_in_flight >= 5);
        assert!(fixture.engine.remove(conn));
        assert!(fixture.engine.remove(stuck));
        assert!(fixture.engine.remove_listener(listener));
        assert!(fixture.engine.remove_watch(watch));
        assert!(fixture.turn().is_empty());
        assert!(fixture.turn().is_empty());
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc04_a_completion_that_wins_against_the_cancel_does_no_harm() {
    for style in Style::BOTH {
        for (late_success, in_submit) in [(0, 0), (100, 0), (0, 100), (100, 100)] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| (faults.late_success, faults.in_submit) = (late_success, in_submit));
            let (removed, first) = fixture.connect();
            let (aborted, second) = fixture.connect();
            let (closed_in_order, third) = fixture.connect();
            assert!(fixture.turn().is_empty());
            for link in [first, second, third] {
                fixture.peer_sends(link, b"too late");
            }
            assert!(fixture.engine.remove(removed));
            fixture.engine.abort(aborted).expect("abort");
            fixture.engine.close(closed_in_order).expect("close");
            fixture.peer_finishes(third);
            let seen = fixture.settle();
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert_eq!(closed(&seen, aborted), Some(CloseReason::Aborted));
            assert_eq!(closed(&seen, closed_in_order), Some(CloseReason::Finished));
            fixture.assert_empty();
        }
    }
}

#[test]
pub(super) fn hc05_a_late_packet_does_not_reach_the_next_holder_of_the_descriptor() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let link = world::connect(&fixture.world, 1_000);
        let stream = crate::kernel::sim::world::SimStream::open(&fixture.world, link);
        let descriptor = stream.fd;
        let first = fixture.add(stream);
        assert!(fixture.turn().is_empty());
        fixture.faults(|faults| (faults.delay, faults.late_success) = (100, 100));
        fixture.peer_sends(link, b"late");
        assert!(fixture.engine.remove(first));
        fixture.engine.flush();
        // Not closed yet, because an operation is pending: its value is not reused.
        let other = crate::kernel::sim::world::connect(&fixture.world, 1_000);
        let stream = crate::kernel::sim::world::SimStream::open(&fixture.world, other);
        assert_ne!(stream.fd, descriptor, "the descriptor was closed under a pending operation");
        drop(stream);
        assert!(fixture.settle().is_empty());
        // Now it is closed, and the next one gets it immediately.
        let link = world::connect(&fixture.world, 1_000);
        let stream = crate::kernel::sim::world::SimStream::open(&fixture.world, link);
        assert!(stream.fd <= descriptor + 1);
        let second = fixture.add(stream);
        assert_ne!(first, second);
        fixture.peer_sends(link, b"mine");
        let seen = fixture.settle();
        assert_eq!(bytes_of(&seen, second), b"mine");
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(fixture.engine.send(first, b"?").expect_err("it is gone").kind(), ErrorKind::NotFound);
        assert!(!fixture.engine.remove(first), "an old id names no connection");
        assert_eq!(fixture.stats().connections, 1);
    }
}

#[test]
pub(super) fn hc11_success_at_once_counts_once_with_a_packet_and_without() {
    for style in Style::BOTH {
        for (sync, in_submit) in [(0, 0), (100, 0), (0, 100), (50, 50)] {
            one_of_each(style, sync, in_submit);
        }
    }
}

#[test]
pub(super) fn hc11_failure_at_once_ends_the_connection_once() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| faults.sync = sync);
            let (conn, link) = fixture.connect();
            fixture.link(link, |link| link.peer_reset(false));
            fixture.engine.send(conn, b"?").expect("it is queued");
            let seen = fixture.settle();
            assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Reset)] if of == conn), "{seen:?}");
            fixture.assert_empty();
        }
    }
}

#[test]
pub(super) fn hc32_dropped_with_everything_in_flight_everything_comes_back() {
    let times = if cfg!(miri) { 20 } else { 1_000 };
    for n in 0..times {
        let style = Style::BOTH[n % 2];
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| {
            let rate = |shift: usize| if n >> shift & 1 == 1 { 40 } else { 0 };
            faults.early_write = 100;
            (faults.delay, faults.late_success, faults.in_submit) = (rate(1), rate(2), rate(3));
            (faults.reorder, faults.partial, faults.spurious) = (rate(4), rate(5), rate(6));
        });
        let (_, number) = fixture.listen();
        let (_, waiting) = fixture.listen_readiness();
        let (_, handle) = fixture.watch();
        for at in 0..4 {
            let (conn, link) = fixture.connect_with(16);
            fixture.engine.send(conn, &pattern(100)).expect("send");
            if at % 2 == 0 {
                fixture.peer_sends(link, b"in between");
            }
        }
        fixture.engine.add_timer(Duration::from_secs(1), Token(0));
        for _ in 0..n % 3 {
            drop(fixture.turn());
        }
        fixture.engine.flush();
        assert!(fixture.stats().operations_in_flight >= 4);
        if n % 5 == 0 {
            fixture.connect_peer(number);
            fixture.connect_peer(waiting);
            fixture.signal(handle, true);
        }
        let Fixture { engine, mut events, world } = fixture;
        drop(engine);
        events.clear();
        drop(events);
        assert_eq!(world.borrow().open_descriptors(), 0, "run {n}");
    }
}

/// The packet of the failed submission comes when the memory may belong to another operation.
#[test]
pub(super) fn hc40_a_submission_that_fails_with_a_warning_keeps_its_memory_until_its_packet() {
    let mut fixture = Fixture::new(Style::Completion);
    let before = hits(Mark::WarningWithPacket);
    let (broken, link) = fixture.connect();
    fixture.link(link, |link| link.peer_reset(false));
    fixture.faults(|faults| (faults.sync, faults.warning) = (100, 100));
    fixture.engine.flush();
    assert_eq!(hits(Mark::WarningWithPacket), before + 1);
    fixture.faults(|faults| (faults.sync, faults.warning) = (0, 0));
    let (conn, other) = fixture.connect();
    fixture.engine.flush();
    let mut seen = fixture.settle();
    fixture.peer_sends(other, b"still here");
    seen.extend(fixture.settle());
    assert_eq!(closed(&seen, broken), Some(CloseReason::Reset), "{seen:?}");
    assert_eq!(closed(&seen, conn), None, "the packet was another's: {seen:?}");
    assert_eq!(bytes_of(&seen, conn), b"still here");
    fixture.engine.remove(conn);
    fixture.settle();
    fixture.assert_empty();
}

#[test]
pub(super) fn hc41_packets_that_are_not_ours_are_counted_and_dropped() {
    let mut fixture = Fixture::new(Style::Completion);
    let marks = [Mark::ForeignCompletion, Mark::UnknownPacket, Mark::StalePacket];
    let before = marks.map(hits);
    let (conn, link) = fixture.connect();
    // More than will be needed at a time, so that some have ended and are free.
    let gone: Vec<_> = (0..4).map(|_| fixture.connect().0).collect();
    assert!(fixture.turn().is_empty());
    assert!(gone.into_iter().all(|conn| fixture.engine.remove(conn)));
    assert!(fixture.settle().is_empty());
    fixture.faults(|faults| faults.foreign = 100);
    let sent = pattern(2_000);
    let mut received = Vec::new();
    for part in sent.chunks(20) {
        fixture.peer_sends(link, part);
        for seen in fixture.turn() {
            let Seen::Received(of, data) = seen else { panic!("{seen:?}") };
            assert_eq!(of, conn);
            fixture.engine.send(conn, &data).expect("send");
            received.extend(data);
        }
    }
    fixture.heal();
    received.extend(bytes_of(&fixture.settle(), conn));
    assert_eq!(received, sent);
    for (mark, before) in marks.into_iter().zip(before) {
        assert!(hits(mark) > before, "{mark:?}");
    }
    let stats = fixture.stats();
    let strays = stats.foreign_completions + stats.unknown_completions;
    assert!(stats.foreign_completions >= 10 && stats.unknown_completions >= 10, "{stats:?}");
    assert!(strays <= stats.kernel_waits, "each is counted once: {stats:?}");
    fixture.engine.remove(conn);
    fixture.settle();
    fixture.assert_empty();
}

#[test]
fn packets_of_others_are_reported_to_a_caller_that_asks_for_them() {
    let mut fixture = Fixture::new(Style::Completion);
    fixture.faults(|faults| faults.foreign = 100);
    for _ in 0..100 {
        assert!(fixture.turn().is_empty());
    }
    let unreported = fixture.stats().foreign_completions;
    assert!(unreported > 0);
    fixture.engine.report_foreign();
    let mut reported = 0;
    for _ in 0..100 {
        for seen in fixture.turn() {
            let Seen::Foreign(key, bytes) = seen else { panic!("{seen:?}") };
            // The simulated kernel sends the same number as both.
            assert_eq!(key, bytes as usize);
            reported += 1;
        }
    }
    assert!(reported > 0);
    assert_eq!(fixture.stats().foreign_completions, unreported + reported);
    fixture.heal();
    fixture.settle();
    fixture.assert_empty();
}
