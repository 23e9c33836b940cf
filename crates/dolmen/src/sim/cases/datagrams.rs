//! Datagram sockets: buffers in advance, failures that end nothing, bounds.

use std::net::SocketAddr;

use super::*;
use crate::engine::MOST_DATAGRAMS;
use crate::token::UdpId;

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// The data of all datagrams of a socket, and whether each was truncated.
fn datagrams_of(seen: &[Seen], udp: UdpId) -> Vec<(Vec<u8>, bool)> {
    let datagrams = seen.iter().filter_map(|seen| match seen {
        Seen::Datagram(of, _, data, truncated) if *of == udp => Some((data.clone(), *truncated)),
        _ => None,
    });
    datagrams.collect()
}

fn failures_of(seen: &[Seen], udp: UdpId) -> usize {
    seen.iter().filter(|seen| matches!(seen, Seen::UdpFailed(of) if *of == udp)).count()
}

/// A pool that has nothing to spare makes receives on streams wait without a buffer, and those on datagram sockets not.
#[test]
pub(super) fn hc61_a_receive_of_datagrams_has_a_buffer_even_when_the_pool_has_none_to_spare() {
    for sync in [0, 100] {
        let mut fixture = Fixture::with(Style::Completion, Config { pool_size: 0, ..Fixture::CONFIG });
        fixture.faults(|faults| faults.sync = sync);
        let (udp, port) = fixture.udp();
        assert!(fixture.turn().is_empty());
        assert!(fixture.stats().buffers_out > 0, "the receives that are posted have theirs");
        for len in [0, 3, 64, 65, 200] {
            fixture.carry(port, peer(1), &pattern(len));
            let expected = (pattern(len.min(64)), len > 64);
            assert_eq!(datagrams_of(&fixture.settle(), udp), [expected]);
        }
        assert!(fixture.engine.remove_udp(udp));
        assert!(fixture.settle().is_empty());
        fixture.assert_empty();
    }
}

/// The failure of an earlier datagram comes out of a receive: it is reported, and the datagrams behind it are delivered.
#[test]
pub(super) fn hc62_a_failure_that_the_network_reports_ends_no_receive() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| faults.sync = sync);
            let (udp, port) = fixture.udp();
            for round in 0..20 {
                fixture.port(port, |port| port.unreachable = 5);
                fixture.carry(port, peer(2), b"behind it");
                let seen = fixture.settle();
                assert_eq!(datagrams_of(&seen, udp), [(b"behind it".to_vec(), false)], "{round}");
                assert!((1..=5).contains(&failures_of(&seen, udp)), "{seen:?}");
            }
            assert_eq!(fixture.stats().timers, 0, "no pause");
        }
    }
}

/// A send may collect the failure of an earlier one, and then it has sent nothing.
#[test]
pub(super) fn hc62_a_send_that_collects_the_failure_of_an_earlier_one_is_made_again() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| faults.sync = sync);
            let (udp, port) = fixture.udp();
            assert!(fixture.turn().is_empty());
            let sent: Vec<Vec<u8>> = (0..10).map(|at| pattern(at * 7)).collect();
            for data in &sent {
                fixture.engine.send_to(udp, data, peer(3)).expect("there is room");
            }
            fixture.port(port, |port| port.unreachable = 1);
            let seen = fixture.settle();
            assert_eq!(failures_of(&seen, udp), 1);
            let arrived: Vec<Vec<u8>> =
                fixture.port(port, |port| port.outbound.drain(..).map(|(_, data)| data).collect());
            assert_eq!(arrived, sent);
            assert_eq!(fixture.stats().queued_bytes, 0);
        }
    }
}

/// A datagram that the system refuses is tried twice, and those behind it are sent.
#[test]
pub(super) fn a_datagram_that_is_refused_is_dropped_and_the_queue_continues() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| (faults.sync, faults.network.refused) = (sync, 50));
            let (udp, port) = fixture.udp();
            // 37 and 74 percent.
            for (host, data) in [(2, "one"), (1, "refused"), (2, "two"), (1, ""), (2, "three")] {
                let to = SocketAddr::from(([10, 0, 0, host], 9));
                fixture.engine.send_to(udp, data.as_bytes(), to).expect("there is room");
            }
            let seen = fixture.settle();
            assert!((1..=4).contains(&failures_of(&seen, udp)), "{seen:?}");
            let arrived: Vec<Vec<u8>> =
                fixture.port(port, |port| port.outbound.drain(..).map(|(_, data)| data).collect());
            assert_eq!(arrived, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
            assert_eq!(fixture.port(port, |port| port.failed_sends), 4);
            assert_eq!(fixture.stats().queued_bytes, 0);
        }
    }
}

/// A receive that fails each time is made again after pauses that grow, and starves no other source.
#[test]
pub(super) fn hc62_a_socket_that_fails_again_and_again_pauses_and_recovers() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| faults.sync = sync);
            let (udp, port) = fixture.udp();
            fixture.port(port, |port| port.broken = true);
            let (mut failures, before) = (0, fixture.stats().kernel_waits);
            let end_ns = fixture.now_ns() + 10_000_000_000;
            while fixture.now_ns() < end_ns {
                failures += failures_of(&fixture.wait(Duration::from_secs(1)), udp);
            }
            // 10, 20, 40 … 640 ms and then one a second.
            let polls = fixture.stats().kernel_waits - before;
            assert!((10..=25).contains(&failures), "{failures} failures in ten seconds");
            assert!(polls <= 100, "{polls} polls in ten seconds: it spins");
            fixture.port(port, |port| port.broken = false);
            fixture.carry(port, peer(4), b"recovered");
            assert_eq!(datagrams_of(&fixture.settle(), udp), [(b"recovered".to_vec(), false)]);
            assert!(fixture.engine.remove_udp(udp));
            assert!(fixture.settle().is_empty());
            fixture.assert_empty();
        }
    }
}

/// Failures of datagrams that never end, without a single success, are reported in many waits and cost few.
#[test]
pub(super) fn hc62_many_failures_in_a_row_make_a_short_pause() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        fixture.faults(|faults| faults.sync = 100);
        let (udp, port) = fixture.udp();
        fixture.port(port, |port| port.unreachable = 100_000);
        let start_ns = fixture.now_ns();
        let mut failures = 0;
        while fixture.port(port, |port| port.unreachable) > 98_000 {
            failures += failures_of(&fixture.wait(Duration::from_secs(1)), udp);
        }
        assert!(failures > 10);
        // 2,000 failures are 31 times 64.
        assert!(fixture.now_ns() - start_ns > 30 * 10_000_000, "it spins");
    }
}

#[test]
pub(super) fn an_empty_datagram_is_delivered_and_sent() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (udp, port) = fixture.udp();
        fixture.carry(port, peer(5), b"");
        fixture.engine.send_to(udp, b"", peer(6)).expect("there is room");
        let seen = fixture.settle();
        let [Seen::Datagram(of, from, data, false)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((*of, *from, data.len()), (udp, peer(5), 0));
        assert_eq!(fixture.port(port, |port| port.outbound.clone()), [(peer(6), Vec::new())]);
    }
}

#[test]
pub(super) fn one_wait_delivers_at_most_sixteen_datagrams_of_a_socket() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.faults(|faults| faults.sync = sync);
            let (udp, port) = fixture.udp();
            let (conn, link) = fixture.connect();
            assert!(fixture.turn().is_empty());
            let mut delivered = 0;
            for _ in 0..100 {
                (0..32).for_each(|_| fixture.carry(port, peer(7), b"flood"));
                fixture.peer_sends(link, b"a line");
                let (mut line, mut waits) = (Vec::new(), 0);
                while line.is_empty() {
                    let seen = fixture.turn();
                    let count = datagrams_of(&seen, udp).len();
                    assert!(count <= MOST_DATAGRAMS, "{count} in one wait");
                    line = bytes_of(&seen, conn);
                    (delivered, waits) = (delivered + count, waits + 1);
                }
                assert!(waits <= 2, "{waits} waits for a line beside a flood");
            }
            assert!(delivered >= 100, "the flood is delivered as well: {delivered}");
        }
    }
}

/// With events for one of them, the rest of a flood waits in the system, and not in the reactor.
#[test]
pub(super) fn a_flood_of_datagrams_takes_a_bounded_number_of_buffers() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            fixture.events.set_capacity(1);
            fixture.faults(|faults| faults.sync = sync);
            let (_, port) = fixture.udp();
            (0..500).for_each(|_| fixture.carry(port, peer(9), b"flood"));
            for _ in 0..50 {
                fixture.turn();
                let buffers = fixture.stats().buffers_out;
                assert!(buffers <= MOST_DATAGRAMS + 1, "{buffers} buffers, with that of the event");
            }
        }
    }
}

/// Out of memory is neither reported nor a reason to drop a datagram.
#[test]
pub(super) fn hc45_no_memory_for_a_datagram_is_a_pause_and_not_a_loss() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let mut fixture = Fixture::new(style);
            let (udp, port) = fixture.udp();
            fixture.faults(|faults| (faults.no_memory, faults.sync) = (100, sync));
            fixture.carry(port, peer(8), b"in");
            fixture.engine.send_to(udp, b"out", peer(8)).expect("there is room");
            let before = fixture.stats().kernel_waits;
            assert!(fixture.wait(Duration::from_secs(10)).is_empty());
            let polls = fixture.stats().kernel_waits - before;
            assert!((10..=80).contains(&polls), "{polls} polls in ten seconds");
            fixture.heal();
            assert_eq!(datagrams_of(&fixture.settle(), udp), [(b"in".to_vec(), false)]);
            assert_eq!(fixture.port(port, |port| port.outbound.clone()), [(peer(8), b"out".to_vec())]);
        }
    }
}
