//! Sends: in parts, refused, and in flight when their socket is released.

use super::*;
use crate::engine::Engine;
use crate::error::Error;
use crate::kernel::sim::Sim;

#[test]
pub(super) fn hc17_sending_nothing_starts_nothing() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        assert!(fixture.turn().is_empty());
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
pub(super) fn hc18_partial_sends_lose_nothing_and_send_nothing_twice() {
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
            fixture.turn();
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
pub(super) fn hc18_a_posted_send_is_reported_once_and_not_before_all_of_it_is_through() {
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
pub(super) fn hc18_a_socket_that_was_released_with_a_send_in_flight_is_not_adopted_again() {
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
        assert!(fixture.turn().is_empty());
        assert!(fixture.engine.remove_adopted(conn));
        assert_refused(&mut fixture, &socket);
        fixture.heal();
        // And one that ends by itself.
        let link = world::connect(&fixture.world, 10);
        let socket = SimStream::open(&fixture.world, link);
        let conn = fixture.adopt(&socket, false);
        fixture.engine.post_send(conn, &pattern(100)).expect("send");
        assert!(fixture.turn().is_empty());
        fixture.link(link, |link| link.peer_reset(false));
        let seen = fixture.settle();
        assert_eq!(closed(&seen, conn), Some(CloseReason::Reset), "{seen:?}");
        assert_refused(&mut fixture, &socket);
        assert!(fixture.settle().is_empty());
    }
}

#[test]
pub(super) fn hc35_a_full_queue_refuses_takes_nothing_and_reports_room_once() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(10);
        let all = pattern(4096);
        fixture.engine.send(conn, &all).expect("just as much as fits");
        assert!(fixture.turn().is_empty());
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
                fixture.turn().iter().filter(|seen| matches!(seen, Seen::Drained(of) if *of == conn)).count();
        }
        assert_eq!(read, all);
        assert_eq!(drained, 1);
    }
}

/// A caller that sends again what was refused gets no `Drained` event once every send is refused.
#[test]
fn hc35_no_room_is_reported_once_the_sending_side_is_closed() {
    for style in Style::BOTH {
        for release in [true, false] {
            let mut fixture = Fixture::new(style);
            let (conn, link) = fixture.connect_with(10);
            fixture.engine.send(conn, &pattern(4096)).expect("just as much as fits");
            let error = fixture.engine.send(conn, &[7; 4096]).expect_err("full");
            assert_eq!(error.kind(), ErrorKind::QueueFull);
            if release {
                fixture.engine.release(conn).expect("release");
            } else {
                fixture.engine.shutdown_write(conn).expect("shut down");
            }
            let (mut read, mut seen) = (Vec::new(), Vec::new());
            while read.len() < 4096 {
                read.extend(fixture.peer_reads(link, 10));
                seen.extend(fixture.turn());
            }
            seen.extend(fixture.settle());
            assert!(!seen.iter().any(|seen| matches!(seen, Seen::Drained(_))), "{seen:?}");
        }
    }
}

/// A connection with a refused send and a queue that the system has taken since, all before the next wait.
fn with_room_to_report(fixture: &mut Fixture) -> ConnId {
    fixture.faults(|faults| faults.sync = 100);
    let (conn, _) = fixture.connect();
    refuse_one(fixture, conn);
    assert_eq!(fixture.engine.queued_bytes(conn).expect("queued"), 0, "the system has taken everything");
    conn
}

fn refuse_one(fixture: &mut Fixture, conn: ConnId) {
    fixture.engine.send(conn, &pattern(4096)).expect("just as much as fits");
    assert_eq!(fixture.engine.send(conn, &[7; 4096]).expect_err("full").kind(), ErrorKind::QueueFull);
    fixture.engine.flush();
}

type Verb = fn(&mut Engine<Sim>, ConnId) -> Result<(), Error>;

/// The three ways to close the sending side.
const CLOSES: [Verb; 3] = [Engine::shutdown_write, Engine::release, Engine::close];

#[test]
pub(super) fn hc35_room_that_is_to_be_reported_is_forgotten_when_the_sending_side_is_closed() {
    for style in Style::BOTH {
        for close in CLOSES {
            let mut fixture = Fixture::new(style);
            let conn = with_room_to_report(&mut fixture);
            close(&mut fixture.engine, conn).expect("it is open");
            let seen = fixture.settle();
            assert!(!seen.iter().any(|seen| matches!(seen, Seen::Drained(_))), "{seen:?}");
            // The handler of an earlier event closes it.
            let mut fixture = Fixture::new(style);
            let conns = [(); 2].map(|()| with_room_to_report(&mut fixture));
            let count = fixture.engine.wait(&mut fixture.events, Some(Duration::ZERO)).expect("wait");
            assert_eq!(count, 2, "both in one batch");
            let mut reported = Vec::new();
            for event in fixture.events.drain() {
                reported.push(Seen::from(event));
                if let [Seen::Drained(conn)] = reported[..] {
                    let other = if conn == conns[0] { conns[1] } else { conns[0] };
                    close(&mut fixture.engine, other).expect("it is open");
                }
            }
            assert_eq!(reported.len(), 1, "{reported:?}");
        }
    }
}

#[test]
pub(super) fn hc35_room_is_reported_once_for_all_that_was_refused_before_a_wait() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let conn = with_room_to_report(&mut fixture);
        for _ in 0..10 {
            refuse_one(&mut fixture, conn);
        }
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Drained(of)] if of == conn), "{seen:?}");
    }
}

/// There was room, and it has been used since.
#[test]
pub(super) fn hc35_what_was_refused_fits_when_room_is_reported() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| faults.sync = 100);
        let (conn, link) = fixture.connect_with(4096);
        refuse_one(&mut fixture, conn);
        refuse_one(&mut fixture, conn);
        assert!(fixture.turn().is_empty(), "the queue is full");
        let mut seen = Vec::new();
        while seen.is_empty() {
            fixture.peer_reads(link, 1000);
            seen = fixture.turn();
        }
        assert!(matches!(seen[..], [Seen::Drained(of)] if of == conn), "{seen:?}");
        fixture.engine.send(conn, &[7; 4096]).expect("it fits");
    }
}

/// The bytes collected in a queue are sent in parts, so that the kernel need not lock all of them in memory.
#[test]
pub(super) fn hc45_one_send_hands_the_kernel_no_more_than_its_share() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        fixture.engine.send(conn, &pattern(4_096)).expect("send");
        assert!(fixture.settle().is_empty());
        assert_eq!(fixture.peer_reads(link, 10_000), pattern(4_096));
        assert_eq!(fixture.world.borrow().largest_send, Fixture::CONFIG.max_send_bytes);
    }
}
