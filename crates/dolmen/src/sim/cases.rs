//! The hard cases that depend on timing, each as a scenario; see `docs/hard-cases.md` for the list of all.
//!
//! Built with `--cfg dolmen_mutants`, the last test here also shows that scenarios fail when the code that they test is
//! broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::fixture::{Fixture, Seen, Style, bytes_of};
use crate::close_reason::CloseReason;
use crate::engine::Config;
use crate::error::ErrorKind;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::Readiness;
use crate::kernel::sim::world::{self, Ended, SimStream};
use crate::marks::{Mark, counts};
use crate::record::Batch;
use crate::token::{ConnId, Token};
use crate::waker::{Poster, Waker};

const MS: Duration = Duration::from_millis(1);

fn hits(mark: Mark) -> u64 {
    counts::hits()[mark as usize].1
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn closed(seen: &[Seen], conn: ConnId) -> Option<CloseReason> {
    seen.iter().find_map(|seen| match seen {
        Seen::Closed(of, reason) if *of == conn => Some(*reason),
        _ => None,
    })
}

#[test]
fn hc01_a_pending_receive_keeps_its_memory_through_the_removal() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
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
fn hc01_a_pending_send_keeps_its_bytes_through_the_abort() {
    let mut fixture = Fixture::new(Style::Completion);
    let (conn, link) = fixture.connect_with(10);
    fixture.engine.send(conn, &pattern(100)).expect("send");
    assert!(fixture.poll().is_empty());
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
        for event in fixture.poll() {
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
fn hc02_an_operation_may_complete_before_the_submitting_call_returns() {
    for style in Style::BOTH {
        let before = hits(Mark::CompletedInSubmit);
        one_of_each(style, 0, 100);
        assert!(hits(Mark::CompletedInSubmit) >= before + 4, "one of each kind has");
    }
}

#[test]
fn hc03_a_removal_ends_what_is_pending_although_nobody_else_stirs() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, _) = fixture.connect();
        let (stuck, _) = fixture.connect_with(1);
        let (listener, _) = fixture.listen();
        let (watch, _) = fixture.watch();
        fixture.engine.send(stuck, &pattern(100)).expect("send");
        assert!(fixture.poll().is_empty());
        assert!(fixture.stats().operations_in_flight >= 5);
        assert!(fixture.engine.remove(conn));
        assert!(fixture.engine.remove(stuck));
        assert!(fixture.engine.remove_listener(listener));
        assert!(fixture.engine.remove_watch(watch));
        assert!(fixture.poll().is_empty());
        assert!(fixture.poll().is_empty());
        fixture.assert_empty();
    }
}

#[test]
fn hc04_a_completion_that_wins_against_the_cancel_does_no_harm() {
    for style in Style::BOTH {
        for (late_success, in_submit) in [(0, 0), (100, 0), (0, 100), (100, 100)] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| (faults.late_success, faults.in_submit) = (late_success, in_submit));
            let (removed, first) = fixture.connect();
            let (aborted, second) = fixture.connect();
            let (closed_in_order, third) = fixture.connect();
            assert!(fixture.poll().is_empty());
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
fn hc05_a_late_packet_does_not_reach_the_next_holder_of_the_descriptor() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let link = world::connect(&fixture.world, 1_000);
        let stream = crate::kernel::sim::world::SimStream::open(&fixture.world, link);
        let descriptor = stream.fd;
        let first = fixture.add(stream);
        assert!(fixture.poll().is_empty());
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
fn hc05_the_number_of_a_removed_poll_is_the_next_ones_at_once() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| (faults.delay, faults.late_success) = (100, 100));
        let (socket, link) = fixture.caller_socket();
        let old = fixture.poll_socket(&socket, Readiness::READABLE);
        assert!(fixture.poll().is_empty());
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
fn hc05_the_number_of_a_released_connection_is_the_next_ones_at_once() {
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
fn hc09_what_the_first_handler_of_a_batch_removes_the_second_does_not_see() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (first, first_number) = fixture.listen_readiness();
        let (second, second_number) = fixture.listen_readiness();
        assert!(fixture.poll().is_empty());
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
fn hc09_a_poll_that_an_earlier_handler_removes_is_silent() {
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
        let again = fixture.poll();
        assert_eq!(again.len(), 1, "the other one is still ready, and reported again: {again:?}");
    }
}

#[test]
fn hc10_a_listener_out_of_descriptors_says_so_once_pauses_and_goes_on() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (listener, number) = fixture.listen();
        fixture.world.borrow_mut().exhausted = true;
        let connected: Vec<usize> = (0..5).map(|_| fixture.connect_peer(number)).collect();
        let (mut failures, before) = (0, fixture.stats().polls);
        for waits in 1..=100 {
            let seen = fixture.wait(10 * MS);
            failures += seen.len();
            assert!(
                seen.iter().all(|seen| matches!(seen, Seen::AcceptFailed(of) if *of == listener)),
                "{seen:?}"
            );
            let polls = fixture.stats().polls - before;
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
fn hc10_peers_that_are_gone_before_they_are_accepted_are_passed_over() {
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
fn hc10_at_the_limit_of_descriptors_failures_are_reported_once_a_second() {
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
fn hc10_a_thousand_peers_that_are_gone_do_not_keep_the_reactor_busy() {
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
fn hc11_success_at_once_counts_once_with_a_packet_and_without() {
    for style in Style::BOTH {
        for (sync, in_submit) in [(0, 0), (100, 0), (0, 100), (50, 50)] {
            one_of_each(style, sync, in_submit);
        }
    }
}

#[test]
fn hc11_failure_at_once_ends_the_connection_once() {
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
fn hc12_a_receive_of_zero_bytes_that_completes_is_no_end() {
    // Without a pool no buffer can be lent, and every receive is posted without one.
    let mut fixture = Fixture::with(Style::Completion, Config { pool_size: 0, ..Fixture::CONFIG });
    let before = hits(Mark::ZeroByteReceive);
    let (conn, link) = fixture.connect();
    let (other, other_link) = fixture.connect();
    assert!(fixture.poll().is_empty());
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
fn hc13_pausing_and_resuming_while_handling_data_posts_one_receive() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        let sent = pattern(1_000);
        fixture.peer_sends(link, &sent);
        let mut received = Vec::new();
        while received.len() < sent.len() {
            for seen in fixture.poll() {
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

#[test]
fn hc13_what_arrives_between_a_pause_and_a_resume_is_kept() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
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
fn hc14_fin_reset_and_a_peer_that_is_gone_are_three_things() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let [(fin, fin_link), (reset, reset_link), (gone, gone_link)] =
            std::array::from_fn(|_| fixture.connect());
        assert!(fixture.poll().is_empty());
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
        assert!(fixture.poll().is_empty());
        fixture.engine.send(gone, b"second").expect("send");
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Reset)] if of == gone), "{seen:?}");
    }
}

/// Found by a seed: the linger time that limits the wait for such bytes ran out while the caller did not wait at all.
#[test]
fn hc14_what_came_before_a_reset_reaches_a_caller_who_was_away() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
        let data = pattern(600);
        fixture.peer_sends(link, &data);
        fixture.link(link, |link| link.peer_reset(true));
        fixture.engine.send(conn, b"into the void").expect("send");
        let mut seen = fixture.poll();
        fixture.world.borrow_mut().now_ns += 2 * Fixture::CONFIG.linger.as_nanos() as u64;
        seen.extend(fixture.settle());
        assert_eq!(bytes_of(&seen, conn), data);
        assert!(matches!(seen.last(), Some(Seen::Closed(of, CloseReason::Reset)) if *of == conn), "{seen:?}");
        fixture.assert_empty();
    }
}

#[test]
fn hc15_a_goodbye_arrives_whole_although_bytes_were_left_unread() {
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
fn hc15_a_goodbye_to_a_peer_that_never_finishes_is_bounded() {
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

#[test]
fn hc16_a_shutdown_does_not_end_a_receive_and_a_removal_does() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
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
fn hc17_sending_nothing_starts_nothing() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
        let before = fixture.stats();
        fixture.engine.send(conn, b"").expect("an empty slice is not a special case");
        fixture.engine.flush();
        assert_eq!(fixture.stats().kernel_calls, before.kernel_calls);
        fixture.engine.send(conn, b"something").expect("send");
        assert!(fixture.settle().is_empty());
        assert_eq!(fixture.peer_reads(link, 100), b"something");
    }
}

#[test]
fn hc18_partial_sends_lose_nothing_and_send_nothing_twice() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| (faults.partial, faults.sync) = (100, 30));
        let (conn, link) = fixture.connect_with(50);
        let (mut read, mut offered) = (Vec::new(), 0);
        let all = pattern(20_000);
        while read.len() < 5_000 {
            for part in all[offered..].chunks(700) {
                match fixture.engine.send(conn, part) {
                    Ok(()) => offered += part.len(),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::QueueFull);
                        break;
                    }
                }
            }
            fixture.poll();
            read.extend(fixture.peer_reads(link, 37));
        }
        assert_eq!(read, all[..read.len()]);
        // A send fails after a part of it has been sent.
        let before = hits(Mark::ErrorWithBytes);
        fixture.link(link, |link| link.peer_reset(true));
        let seen = fixture.settle();
        assert_eq!(closed(&seen, conn), Some(CloseReason::Reset), "{seen:?}");
        assert!(style == Style::Readiness || hits(Mark::ErrorWithBytes) > before);
        let rest = fixture.peer_reads(link, 1_000);
        assert_eq!(rest, all[read.len()..read.len() + rest.len()]);
        fixture.assert_empty();
    }
}

#[test]
fn hc18_a_posted_send_is_reported_once_and_not_before_all_of_it_is_through() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| faults.partial = 100);
        let link = world::connect(&fixture.world, 10);
        let socket = crate::kernel::sim::world::SimStream::open(&fixture.world, link);
        let conn = fixture.adopt(&socket, false);
        let lengths = [25, 1, 40];
        for (length, from) in lengths.into_iter().zip([0, 25, 26]) {
            fixture.engine.post_send(conn, &pattern(100)[from..from + length]).expect("send");
        }
        let (mut read, mut reported) = (Vec::new(), Vec::new());
        while read.len() < 66 {
            for seen in fixture.settle() {
                let Seen::Written(of, bytes) = seen else { panic!("{seen:?}") };
                assert_eq!(of, conn);
                reported.push(bytes);
                let sent = fixture.link(link, |link| link.outbound.total);
                assert!(reported.iter().sum::<usize>() as u64 <= sent, "{reported:?} after {sent} bytes");
            }
            read.extend(fixture.peer_reads(link, 7));
        }
        assert_eq!(read, pattern(66));
        assert_eq!(reported, lengths);
        assert!(fixture.engine.remove_adopted(conn));
        assert!(fixture.settle().is_empty());
    }
}

/// How many of the bytes in flight were sent is not known, so bytes sent later would follow a hole. Nor may there be
/// one if bytes only waited in the queue, or if the connection has ended by itself.
#[test]
fn hc18_a_socket_that_was_released_with_a_send_in_flight_is_not_adopted_again() {
    let assert_refused = |fixture: &mut Fixture, socket: &SimStream| {
        let refused = fixture.adopt_again(socket).expect_err("a hole");
        assert_eq!(refused.kind(), ErrorKind::StreamCut);
        assert!(
            refused.os_error().is_none() && refused.to_string().contains("close the socket"),
            "{refused}"
        );
    };
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let link = world::connect(&fixture.world, 10);
        let socket = SimStream::open(&fixture.world, link);
        // When all of it has been sent, or nothing was to be sent, it may be adopted.
        for text in [&b"whole"[..], b""] {
            let conn = fixture.adopt_again(&socket).expect("it is whole");
            if !text.is_empty() {
                fixture.engine.post_send(conn, text).expect("send");
                assert!(matches!(fixture.settle()[..], [Seen::Written(_, 5)]));
            }
            assert!(fixture.engine.remove_adopted(conn));
            assert!(fixture.settle().is_empty());
        }
        let conn = fixture.adopt_again(&socket).expect("it is whole");
        fixture.engine.post_send(conn, &pattern(100)).expect("send");
        assert!(fixture.engine.remove_adopted(conn));
        assert_refused(&mut fixture, &socket);
        assert!(fixture.settle().is_empty());
        assert_refused(&mut fixture, &socket);
        // The number refers to another socket now. There is no memory for its send, so nothing is in flight.
        let number = socket.fd;
        drop(socket);
        let (socket, _) = fixture.caller_socket();
        assert_eq!(socket.fd, number);
        let conn = fixture.adopt(&socket, false);
        fixture.faults(|faults| faults.no_memory = 100);
        fixture.engine.post_send(conn, b"queued").expect("send");
        assert!(fixture.poll().is_empty());
        assert!(fixture.engine.remove_adopted(conn));
        assert_refused(&mut fixture, &socket);
        fixture.heal();
        // And one that ends by itself.
        let link = world::connect(&fixture.world, 10);
        let socket = SimStream::open(&fixture.world, link);
        let conn = fixture.adopt(&socket, false);
        fixture.engine.post_send(conn, &pattern(100)).expect("send");
        assert!(fixture.poll().is_empty());
        fixture.link(link, |link| link.peer_reset(false));
        let seen = fixture.settle();
        assert_eq!(closed(&seen, conn), Some(CloseReason::Reset), "{seen:?}");
        assert_refused(&mut fixture, &socket);
        assert!(fixture.settle().is_empty());
    }
}

#[test]
fn hc19_a_source_that_is_always_ready_starves_nobody() {
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
                fixture.poll();
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
                for seen in fixture.poll() {
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
fn hc20_two_hundred_readiness_listeners_are_all_reported() {
    let count = if cfg!(miri) { 70 } else { 200 };
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let listeners: Vec<_> = (0..count).map(|_| fixture.listen_readiness()).collect();
        assert!(fixture.poll().is_empty());
        for &(watch, number) in listeners.iter().rev() {
            let link = fixture.connect_peer(number);
            let seen = fixture.poll();
            assert!(matches!(seen[..], [Seen::Ready(of)] if of == watch), "{seen:?}");
            let (stream, _) = fixture.engine.accept(watch).expect("accept").expect("a peer waits");
            assert_eq!(stream.link(), link);
        }
        assert!(fixture.poll().is_empty());
    }
}

#[test]
fn hc21_a_timer_of_300_microseconds_costs_at_most_two_polls() {
    let mut fixture = Fixture::new(Style::Readiness);
    let before = fixture.stats().polls;
    let start_ns = fixture.now_ns();
    let timer = fixture.engine.add_timer(Duration::from_micros(300), Token(0));
    let seen = fixture.wait(Duration::from_secs(1));
    assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
    let polls = fixture.stats().polls - before;
    assert!(polls <= 2, "{polls} polls");
    assert!((300_000..310_000).contains(&(fixture.now_ns() - start_ns)));
}

/// The port's time-out follows a tick of 15.6 ms.
#[test]
fn hc21_short_timers_and_waits_are_exact_on_a_machine_whose_clock_ticks_slowly() {
    let mut fixture = Fixture::new(Style::Completion);
    fixture.world.borrow_mut().coarse = true;
    let (conn, link) = fixture.connect();
    for us in [300, 1_000, 3_000, 10_000, 14_000, 999_000] {
        let after = Duration::from_micros(us);
        let exactly = |fixture: &Fixture, start_ns: u64| {
            let taken_ns = fixture.now_ns() - start_ns;
            assert!((us * 1_000..us * 1_000 + 10_000).contains(&taken_ns), "{taken_ns} ns for {us} us");
        };
        let start_ns = fixture.now_ns();
        let timer = fixture.engine.add_timer(after, Token(0));
        let seen = fixture.wait(Duration::from_secs(3_600));
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
        exactly(&fixture, start_ns);
        let start_ns = fixture.now_ns();
        assert!(fixture.wait(after).is_empty());
        exactly(&fixture, start_ns);
    }
    // For longer ones the timer is not worth its cost; and an event meanwhile ends a wait as always.
    let start_ns = fixture.now_ns();
    assert!(fixture.wait(Duration::from_millis(1_100)).is_empty());
    assert!(fixture.now_ns() - start_ns < 1_116_000_000);
    fixture.peer_sends(link, b"here");
    let seen = fixture.wait(10 * MS);
    assert_eq!(bytes_of(&seen, conn), b"here");
}

#[test]
fn hc22_waits_that_return_early_make_no_timer_early() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| (faults.early_return, faults.spurious) = (90, 50));
        for ms in 1..50_u32 {
            let start_ns = fixture.now_ns();
            let timer = fixture.engine.add_timer(ms * MS, Token(0));
            let seen = fixture.wait(Duration::from_secs(3_600));
            assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
            let taken_ns = fixture.now_ns() - start_ns;
            let due_ns = u64::from(ms) * 1_000_000;
            assert!(taken_ns >= due_ns, "{taken_ns} ns instead of {ms} ms");
            assert!(taken_ns < due_ns + 1_000_000, "{taken_ns} ns instead of {ms} ms");
            // The same for a wait without events.
            let start_ns = fixture.now_ns();
            assert!(fixture.wait(ms * MS).is_empty());
            assert!(fixture.now_ns() - start_ns >= due_ns);
        }
    }
}

#[test]
fn hc23_a_timer_in_fifty_days_goes_off_in_fifty_days() {
    let fifty_days = Duration::from_secs(50 * 24 * 3600);
    for after in [fifty_days, Duration::from_millis(5_000_000_000)] {
        let mut fixture = Fixture::new(Style::Readiness);
        let timer = fixture.engine.add_timer(after, Token(0));
        assert!(fixture.wait(after - MS).is_empty(), "too early");
        let seen = fixture.wait(Duration::MAX);
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
        let late_ns = u128::from(fixture.now_ns()) - after.as_nanos();
        assert!(late_ns < 1_000_000, "{late_ns} ns late");
    }
}

#[test]
fn hc23_a_timer_that_never_comes_is_no_timer_of_now() {
    let mut fixture = Fixture::new(Style::Readiness);
    fixture.engine.add_timer(Duration::MAX, Token(0));
    fixture.engine.add_timer(Duration::from_millis(u64::MAX), Token(0));
    assert!(fixture.wait(Duration::from_secs(1_000_000)).is_empty());
    Waker::new(fixture.engine.mailbox()).wake();
    let seen = fixture.wait(Duration::MAX);
    assert!(matches!(seen[..], [Seen::Woken]), "{seen:?}");
}

#[test]
fn p13_a_timer_that_is_set_anew_goes_off_at_the_new_time_only() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let timer = fixture.engine.add_timer(10 * MS, Token(0));
        for after in [100 * MS, 30 * MS] {
            assert!(fixture.wait(9 * MS).is_empty());
            assert!(fixture.engine.set_timer(timer, after));
        }
        let start_ns = fixture.now_ns();
        let seen = fixture.wait(Duration::from_secs(1));
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
        assert!((30_000_000..31_000_000).contains(&(fixture.now_ns() - start_ns)));
        assert!(!fixture.engine.set_timer(timer, MS), "it has gone off");
        assert!(fixture.wait(Duration::from_secs(1)).is_empty());
    }
}

#[test]
fn p13_an_interval_that_is_set_anew_keeps_its_period() {
    let mut fixture = Fixture::new(Style::Readiness);
    let interval = fixture.engine.add_interval(10 * MS, Token(0));
    assert_eq!(fixture.wait(Duration::from_secs(1)).len(), 1);
    assert!(fixture.engine.set_timer(interval, 3 * MS));
    for ms in [3, 10, 10] {
        let start_ns = fixture.now_ns();
        assert_eq!(fixture.wait(Duration::from_secs(1)).len(), 1);
        let taken_ns = fixture.now_ns() - start_ns;
        assert!((ms * 1_000_000 - 100_000..ms * 1_000_000 + 100_000).contains(&taken_ns), "{taken_ns} ns");
    }
}

/// Its event is still in the outbox: a post has taken the only place in the caller's events.
#[test]
fn p13_a_timer_that_has_gone_off_cannot_be_set_and_can_still_be_taken_back() {
    for take_back in [false, true] {
        let mut fixture = Fixture::new(Style::Readiness);
        fixture.events = Batch::with_capacity(1);
        let timer = fixture.engine.add_timer(Duration::ZERO, Token(0));
        Poster::new(fixture.engine.mailbox()).post(1, Token(0)).expect("post");
        let seen = fixture.poll();
        assert!(matches!(seen[..], [Seen::Posted(1)]), "{seen:?}");
        assert!(!fixture.engine.set_timer(timer, Duration::from_secs(60)));
        if take_back {
            fixture.engine.remove_timer(timer);
        }
        let seen = fixture.settle();
        assert_eq!(seen.len(), usize::from(!take_back), "{seen:?}");
    }
}

#[test]
fn hc25_waits_of_no_time_ask_the_kernel_each_time() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| faults.delay = 100);
        let (conn, link) = fixture.connect();
        fixture.peer_sends(link, b"echo");
        let mut echoed = Vec::new();
        for _ in 0..20_000 {
            let before = fixture.stats().polls;
            for seen in fixture.poll() {
                let Seen::Received(_, data) = seen else { panic!("{seen:?}") };
                fixture.engine.send(conn, &data).expect("send");
            }
            assert_eq!(fixture.stats().polls, before + 1);
            echoed.extend(fixture.peer_reads(link, 100));
            if echoed == b"echo" {
                break;
            }
        }
        assert_eq!(echoed, b"echo");
    }
}

#[test]
fn hc32_dropped_with_everything_in_flight_everything_comes_back() {
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
            drop(fixture.poll());
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

#[test]
fn hc33_a_second_receive_is_not_posted_and_the_order_is_kept() {
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

#[test]
fn hc35_a_full_queue_refuses_takes_nothing_and_reports_room_once() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(10);
        let all = pattern(4096);
        fixture.engine.send(conn, &all).expect("just as much as fits");
        assert!(fixture.poll().is_empty());
        let queued = fixture.engine.queued_bytes(conn).expect("queued");
        let more = vec![7; 4096 - queued + 1];
        for _ in 0..3 {
            let error = fixture.engine.send(conn, &more).expect_err("full");
            assert_eq!(error.kind(), ErrorKind::QueueFull);
        }
        assert_eq!(fixture.engine.queued_bytes(conn).expect("queued"), queued);
        assert_eq!(fixture.stats().sends_refused, 3);
        let mut read = Vec::new();
        let mut drained = 0;
        while read.len() < all.len() {
            read.extend(fixture.peer_reads(link, 10));
            drained +=
                fixture.poll().iter().filter(|seen| matches!(seen, Seen::Drained(of) if *of == conn)).count();
        }
        assert_eq!(read, all);
        assert_eq!(drained, 1);
    }
}

#[test]
fn hc37_five_thousand_connections_are_all_served() {
    let count = if cfg!(miri) { 100 } else { 5_000 };
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let conns: Vec<_> = (0..count).map(|_| fixture.connect()).collect();
        assert!(fixture.poll().is_empty());
        assert_eq!(fixture.stats().connections, count);
        for &(conn, link) in conns.iter().rev().step_by(97) {
            fixture.peer_sends(link, b"here");
            let seen = fixture.poll();
            assert!(
                matches!(&seen[..], [Seen::Received(of, data)] if *of == conn && data == b"here"),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn hc38_posts_that_are_waiting_are_neither_merged_nor_lost() {
    let mut fixture = Fixture::with(Style::Readiness, Config { max_events: 3, ..Fixture::CONFIG });
    let poster = Poster::new(fixture.engine.mailbox());
    let mut next = 0;
    for round in 0..100 {
        for value in 0..40 {
            poster.post(round * 40 + value, Token(0)).expect("post");
        }
        for seen in fixture.settle() {
            assert!(matches!(seen, Seen::Posted(value) if value == next), "{seen:?} instead of {next}");
            next += 1;
        }
        assert_eq!(next, round * 40 + 40);
    }
}

/// Another thread's signal fails once, during a wait. What it sent is refused, or delivered all the same, and what is
/// sent later ends the wait as always.
#[test]
fn hc42_a_signal_that_fails_does_not_suppress_a_later_one() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let poster = Poster::new(fixture.engine.mailbox());
        let waker = Waker::new(fixture.engine.mailbox());
        // A wake has no caller to report to, and signals again.
        fixture.world.borrow().signal.fail_in(1);
        fixture.world.borrow_mut().schedule(1_000_000, move |_| waker.wake());
        assert!(matches!(fixture.wait(Duration::from_secs(3_600))[..], [Seen::Woken]));
        assert!(fixture.now_ns() < 2_000_000, "the wake was seen at {} ns", fixture.now_ns());
        // A post reports the failure, and was not taken.
        fixture.world.borrow().signal.fail_in(1);
        let error = poster.post(1, Token(0)).expect_err("there is no signal for it");
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert_eq!(fixture.stats().signals_failed, 2);
        assert!(fixture.poll().is_empty(), "it was not taken");
        // During a wait as well, and the next one succeeds.
        fixture.world.borrow().signal.fail_in(1);
        let start_ns = fixture.now_ns();
        fixture.world.borrow_mut().schedule(start_ns + 1_000_000, move |_| {
            poster.post(2, Token(0)).expect_err("there is no signal for it");
            poster.post(3, Token(0)).expect("the next one succeeds");
        });
        let seen = fixture.wait(Duration::from_secs(3_600));
        assert!(matches!(seen[..], [Seen::Posted(3)]), "{seen:?}");
        assert!(fixture.now_ns() < start_ns + 2_000_000, "the post was seen at {} ns", fixture.now_ns());
    }
}

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
fn hc43_a_flood_after_a_failed_send_is_not_received() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
        flood_after_a_failed_send(&mut fixture, conn, link, |_| {});
        fixture.assert_empty();
    }
}

#[test]
fn hc43_a_pause_holds_after_a_failed_send_and_the_connection_ends_all_the_same() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
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
fn hc43_a_caller_that_resumes_in_time_receives_all_that_was_there_before_the_failed_send() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
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
fn hc43_an_adopted_connection_is_received_from_only_when_asked_to_also_after_a_failed_send() {
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

/// Room for one event and three sockets that are ready: the caller reads them all, and the other two are no longer
/// ready when their turn comes.
#[test]
fn events_that_did_not_fit_are_rechecked_before_they_are_delivered() {
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
            assert_eq!(fixture.poll().len(), 1);
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
                .flat_map(|_| fixture.poll())
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
fn what_was_removed_takes_no_room_from_what_is_ready() {
    for style in Style::BOTH {
        for gone in [1, 3, 20] {
            let mut fixture = Fixture::with(style, Config { max_events: 1, ..Fixture::CONFIG });
            for _ in 0..5 {
                let sockets: Vec<_> = (0..gone).map(|_| fixture.caller_socket().0).collect();
                let polls: Vec<_> =
                    sockets.iter().map(|socket| fixture.poll_socket(socket, Readiness::READABLE)).collect();
                let conns: Vec<_> = (0..gone).map(|_| fixture.connect().0).collect();
                let (conn, link) = fixture.connect();
                assert!(fixture.poll().is_empty());
                fixture.peer_sends(link, b"ready");
                assert!(conns.into_iter().all(|conn| fixture.engine.remove(conn)));
                assert!(polls.into_iter().all(|poll| fixture.engine.remove_poll(poll)));
                let seen = fixture.poll();
                assert_eq!(bytes_of(&seen, conn), b"ready", "{style:?}, {gone}");
                fixture.engine.remove(conn);
            }
            fixture.settle();
            fixture.assert_empty();
        }
    }
}

/// The peer resets, and the caller closes or half-closes before the reactor has seen it: it is a reset all the same.
#[test]
fn hc44_a_close_after_an_unreported_reset_is_a_reset() {
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

/// The system has no memory for a send or a receive: the reactor retries after pauses that grow, and nothing is lost.
#[test]
fn hc45_no_memory_for_a_send_or_a_receive_is_a_pause_and_not_the_end() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            let (conn, link) = fixture.connect();
            fixture.faults(|faults| (faults.no_memory, faults.sync) = (100, sync));
            fixture.peer_sends(link, &pattern(100));
            fixture.engine.send(conn, &pattern(300)).expect("send");
            let before = fixture.stats().polls;
            assert!(fixture.wait(Duration::from_secs(10)).is_empty(), "nothing moves, and nothing ends");
            // 10, 20, 40 … 640 ms and then one a second.
            let polls = fixture.stats().polls - before;
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
            assert!(fixture.poll().is_empty());
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
fn hc45_an_operation_without_memory_is_retried_with_growing_pauses_while_the_other_direction_continues() {
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

/// The bytes collected in a queue are sent in parts, so that the kernel need not lock all of them in memory.
#[test]
fn hc45_one_send_hands_the_kernel_no_more_than_its_share() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        fixture.engine.send(conn, &pattern(4_096)).expect("send");
        assert!(fixture.settle().is_empty());
        assert_eq!(fixture.peer_reads(link, 10_000), pattern(4_096));
        assert_eq!(fixture.world.borrow().largest_send, Fixture::CONFIG.max_send_bytes);
    }
}

/// The C library's requirement on POSIX: a handler has run, which the kernel shows by returning without an event.
#[test]
fn hc49_a_wait_that_blocks_once_returns_when_the_kernel_does() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let once = |fixture: &mut Fixture, timeout| {
            fixture.world.borrow_mut().polls = 0;
            fixture.engine.wait_once(&mut fixture.events, timeout).expect("wait");
            let seen: Vec<Seen> = fixture.events.drain().map(Seen::from).collect();
            (seen, fixture.world.borrow().polls)
        };
        let (conn, link) = fixture.connect();
        assert!(fixture.poll().is_empty());
        // Undisturbed it waits for the whole timeout.
        let (seen, polls) = once(&mut fixture, Some(10 * MS));
        assert!(seen.is_empty() && fixture.now_ns() >= 10_000_000, "{seen:?} at {}", fixture.now_ns());
        assert_eq!(polls, 1);
        // The kernel returns without a reason.
        fixture.faults(|faults| faults.spurious = 100);
        let start_ns = fixture.now_ns();
        for timeout in [None, Some(Duration::from_secs(3_600))] {
            let (seen, polls) = once(&mut fixture, timeout);
            assert_eq!((seen.len(), polls), (0, 1), "{seen:?}");
        }
        assert!(fixture.now_ns() < start_ns + 1_000_000, "it waited for the rest");
        // And the plain wait does wait for it.
        assert!(fixture.wait(10 * MS).is_empty());
        assert!(fixture.now_ns() >= start_ns + 10_000_000);
        // What is ready is returned, and a wait of no time polls once.
        fixture.peer_sends(link, b"here");
        let (seen, _) = once(&mut fixture, Some(Duration::ZERO));
        assert_eq!(bytes_of(&seen, conn), b"here");
        let (seen, polls) = once(&mut fixture, Some(Duration::ZERO));
        assert_eq!((seen.len(), polls), (0, 1), "{seen:?}");
        fixture.heal();
        // A timer that the caller set is an event like others.
        let timer = fixture.engine.add_timer(MS, Token(0));
        let (seen, _) = once(&mut fixture, None);
        assert!(matches!(seen[..], [Seen::Timer(of)] if of == timer), "{seen:?}");
    }
}

/// The packet of the failed submission comes when the memory may belong to another operation.
#[test]
fn hc40_a_submission_that_fails_with_a_warning_keeps_its_memory_until_its_packet() {
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
fn hc41_packets_that_are_not_ours_are_counted_and_dropped() {
    let mut fixture = Fixture::new(Style::Completion);
    let marks = [Mark::ForeignCompletion, Mark::UnknownPacket, Mark::StalePacket];
    let before = marks.map(hits);
    let (conn, link) = fixture.connect();
    // More than will be needed at a time, so that some have ended and are free.
    let gone: Vec<_> = (0..4).map(|_| fixture.connect().0).collect();
    assert!(fixture.poll().is_empty());
    assert!(gone.into_iter().all(|conn| fixture.engine.remove(conn)));
    assert!(fixture.settle().is_empty());
    fixture.faults(|faults| faults.foreign = 100);
    let sent = pattern(2_000);
    let mut received = Vec::new();
    for part in sent.chunks(20) {
        fixture.peer_sends(link, part);
        for seen in fixture.poll() {
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
    assert!(strays <= stats.polls, "each is counted once: {stats:?}");
    fixture.engine.remove(conn);
    fixture.settle();
    fixture.assert_empty();
}

/// A scenario that cannot fail shows nothing: with the bug that it must detect, it does fail.
#[cfg(dolmen_mutants)]
#[test]
fn each_scenario_fails_with_its_mutant() {
    use crate::kernel::sim::mutants::{Mutant, activate};
    use std::panic::catch_unwind;

    let scenarios: &[(fn(), Mutant)] = &[
        (hc03_a_removal_ends_what_is_pending_although_nobody_else_stirs, Mutant::CancelNothing),
        (hc03_a_removal_ends_what_is_pending_although_nobody_else_stirs, Mutant::DropFinalPacket),
        (hc05_a_late_packet_does_not_reach_the_next_holder_of_the_descriptor, Mutant::IgnoreGeneration),
        (hc09_what_the_first_handler_of_a_batch_removes_the_second_does_not_see, Mutant::ForgetRemoval),
        (hc10_a_listener_out_of_descriptors_says_so_once_pauses_and_goes_on, Mutant::NoAcceptPause),
        (hc10_at_the_limit_of_descriptors_failures_are_reported_once_a_second, Mutant::ReportEachFailure),
        (hc11_success_at_once_counts_once_with_a_packet_and_without, Mutant::DoubleSyncSuccess),
        (hc12_a_receive_of_zero_bytes_that_completes_is_no_end, Mutant::ZeroBytesIsEnd),
        (hc13_what_arrives_between_a_pause_and_a_resume_is_kept, Mutant::LoseHeldBytes),
        (hc13_what_arrives_between_a_pause_and_a_resume_is_kept, Mutant::ForgetResume),
        (hc14_fin_reset_and_a_peer_that_is_gone_are_three_things, Mutant::EndTwice),
        (hc15_a_goodbye_arrives_whole_although_bytes_were_left_unread, Mutant::NoLinger),
        (hc18_partial_sends_lose_nothing_and_send_nothing_twice, Mutant::ResendPartial),
        (hc18_a_posted_send_is_reported_once_and_not_before_all_of_it_is_through, Mutant::WrittenEarly),
        (hc18_a_posted_send_is_reported_once_and_not_before_all_of_it_is_through, Mutant::WrittenTwice),
        (hc18_a_socket_that_was_released_with_a_send_in_flight_is_not_adopted_again, Mutant::ForgetCut),
        (hc38_posts_that_are_waiting_are_neither_merged_nor_lost, Mutant::NewestFirst),
        (hc19_a_source_that_is_always_ready_starves_nobody, Mutant::ServeNewestFirst),
        (hc21_a_timer_of_300_microseconds_costs_at_most_two_polls, Mutant::TruncateTimeout),
        (hc21_short_timers_and_waits_are_exact_on_a_machine_whose_clock_ticks_slowly, Mutant::ForgetAlarm),
        (hc22_waits_that_return_early_make_no_timer_early, Mutant::EarlyTimer),
        (hc23_a_timer_that_never_comes_is_no_timer_of_now, Mutant::LoseWake),
        (hc05_the_number_of_a_released_connection_is_the_next_ones_at_once, Mutant::ReleaseLater),
        (hc09_a_poll_that_an_earlier_handler_removes_is_silent, Mutant::ForgetRemoval),
        (hc09_a_poll_that_an_earlier_handler_removes_is_silent, Mutant::ForgetPoll),
        (hc33_a_second_receive_is_not_posted_and_the_order_is_kept, Mutant::UngatedReceive),
        (hc35_a_full_queue_refuses_takes_nothing_and_reports_room_once, Mutant::UnboundedQueue),
        (hc35_a_full_queue_refuses_takes_nothing_and_reports_room_once, Mutant::ForgetDrained),
        (hc38_posts_that_are_waiting_are_neither_merged_nor_lost, Mutant::ForgetLeftPosts),
        (hc43_a_flood_after_a_failed_send_is_not_received, Mutant::EndlessAfterFailure),
        (hc43_a_pause_holds_after_a_failed_send_and_the_connection_ends_all_the_same, Mutant::ForgetPause),
        (
            hc43_an_adopted_connection_is_received_from_only_when_asked_to_also_after_a_failed_send,
            Mutant::UngatedReceive,
        ),
        (events_that_did_not_fit_are_rechecked_before_they_are_delivered, Mutant::TrustOldReadiness),
        (hc44_a_close_after_an_unreported_reset_is_a_reset, Mutant::ResetIsFailure),
        (hc45_no_memory_for_a_send_or_a_receive_is_a_pause_and_not_the_end, Mutant::GiveUpTransfer),
        (hc45_no_memory_for_a_send_or_a_receive_is_a_pause_and_not_the_end, Mutant::ForgetTransfer),
        (hc45_one_send_hands_the_kernel_no_more_than_its_share, Mutant::UncappedSend),
        (hc42_a_signal_that_fails_does_not_suppress_a_later_one, Mutant::TrustFailedSignal),
        (
            hc40_a_submission_that_fails_with_a_warning_keeps_its_memory_until_its_packet,
            Mutant::WarningIsFailure,
        ),
        (hc41_packets_that_are_not_ours_are_counted_and_dropped, Mutant::TrustEveryPacket),
    ];
    let mut undetected = Vec::new();
    for &(scenario, mutant) in scenarios {
        activate(Some(mutant));
        if catch_unwind(scenario).is_ok() {
            undetected.push(mutant);
        }
        activate(None);
        scenario();
    }
    assert_eq!(undetected, [], "bugs that their scenarios do not detect");
}

/// The two bugs that release memory that is lent. Miri must stop each of these tests; if it does not, they pass.
#[cfg(all(dolmen_mutants, miri))]
mod for_miri {
    use super::*;
    use crate::kernel::sim::mutants::{Mutant, activate};

    fn write_after_cancel(mutant: Mutant) {
        activate(Some(mutant));
        let mut fixture = Fixture::new(Style::Completion);
        let (conn, _) = fixture.connect();
        assert!(fixture.poll().is_empty());
        fixture.faults(|faults| (faults.early_write, faults.delay) = (100, 100));
        assert!(fixture.engine.remove(conn));
        // Cancels first. Then the kernel writes to the memory that it was lent.
        fixture.poll();
    }

    #[test]
    #[allow(non_snake_case)]
    fn FreeBufferAtCancel() {
        write_after_cancel(Mutant::FreeBufferAtCancel);
    }

    #[test]
    #[allow(non_snake_case)]
    fn RecycleAtCancel() {
        write_after_cancel(Mutant::RecycleAtCancel);
    }
}
