//! Outgoing connections.

use std::net::SocketAddr;

use super::*;
use crate::address::Address;
use crate::kernel::sim::world::{Answer, REFUSED, TIMED_OUT, UNREACHABLE};

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 1, 1)), 4000);
const MS: u64 = 1_000_000;

fn connect(fixture: &mut Fixture, answer: Answer) -> (ConnId, usize) {
    fixture.world.borrow_mut().answers.insert(PEER, answer);
    let link = fixture.world.borrow().links.len();
    (fixture.engine.connect(Address::Ip(PEER), None, None, Token(0)).expect("it begins"), link)
}

fn failed(seen: &[Seen], conn: ConnId) -> Option<i32> {
    match closed(seen, conn) {
        Some(CloseReason::Failed { code }) => Some(code),
        _ => None,
    }
}

#[test]
pub(super) fn hc59_each_end_of_a_connect_is_reported_once_and_told_apart() {
    for style in Style::BOTH {
        for sync in [0, 100] {
            let table = [
                (Answer::Refuses { after_ns: 0 }, REFUSED.code),
                (Answer::Refuses { after_ns: 5 * MS }, REFUSED.code),
                (Answer::Unreachable, UNREACHABLE.code),
                (Answer::Silent, TIMED_OUT.code),
                (Answer::Accepts { after_ns: 30_000 * MS }, TIMED_OUT.code),
            ];
            for (answer, code) in table {
                let mut fixture = Fixture::new(style);
                fixture.faults(|faults| faults.sync = sync);
                let (conn, _) = connect(&mut fixture, answer);
                let mut seen = Vec::new();
                // The longest of them takes the time for connecting, which is twenty seconds.
                (0..25).for_each(|_| seen.extend(fixture.wait(Duration::from_secs(1))));
                assert_eq!((seen.len(), failed(&seen, conn)), (1, Some(code)), "{answer:?}: {seen:?}");
                fixture.assert_empty();
            }
        }
    }
}

#[test]
pub(super) fn hc59_a_socket_that_is_connected_to_itself_counts_as_refused() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, _) = connect(&mut fixture, Answer::Itself);
        let seen = fixture.settle();
        assert_eq!((seen.len(), failed(&seen, conn)), (1, Some(REFUSED.code)), "{seen:?}");
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn hc59_a_full_backlog_is_tried_again() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, _) = connect(&mut fixture, Answer::Busy { attempts: 5 });
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Connected(of, PEER)] if of == conn), "{seen:?}");
        // 10, 20, 40, 80 and 160 ms.
        let took_ns = fixture.now_ns();
        assert!((310 * MS..1_400 * MS).contains(&took_ns), "{took_ns}");
    }
}

#[test]
pub(super) fn hc60_a_stream_is_complete_before_anything_is_done_with_it() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = connect(&mut fixture, Answer::Accepts { after_ns: 3 * MS });
        let early = fixture.engine.peer_addr(conn).map_err(|error| error.kind());
        assert_eq!(early, Err(ErrorKind::NotConnected));
        fixture.engine.send(conn, b"hello").expect("it is queued");
        fixture.engine.shutdown_write(conn).expect("it follows");
        fixture.peer_sends(link, b"welcome");
        let seen = fixture.settle();
        assert!(matches!(seen[0], Seen::Connected(of, PEER) if of == conn), "{seen:?}");
        assert_eq!(bytes_of(&seen, conn), b"welcome");
        assert!(fixture.engine.peer_addr(conn).is_ok());
        assert_eq!(fixture.peer_reads(link, 100), b"hello");
        assert!(fixture.link(link, |link| link.outbound.fin));
    }
}

#[test]
pub(super) fn p07_a_connect_that_is_cancelled_leaves_nothing() {
    for style in Style::BOTH {
        for late_success in [0, 100] {
            for answer in [Answer::Silent, Answer::Accepts { after_ns: 2 * MS }] {
                let mut fixture = Fixture::new(style);
                fixture.faults(|faults| faults.late_success = late_success);
                let (conn, link) = connect(&mut fixture, answer);
                fixture.engine.send(conn, b"never").expect("it is queued");
                assert!(fixture.turn().is_empty());
                assert!(fixture.engine.remove(conn));
                assert!(fixture.settle().is_empty(), "no event after the removal");
                assert!(fixture.peer_reads(link, 100).is_empty());
                fixture.assert_empty();
            }
        }
    }
}

#[test]
pub(super) fn a_close_while_connecting_sends_what_is_queued_or_ends_in_the_linger_time() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = connect(&mut fixture, Answer::Accepts { after_ns: 20 * MS });
        fixture.engine.send(conn, b"goodbye").expect("it is queued");
        fixture.engine.close(conn).expect("it is open");
        assert!(fixture.wait(Duration::from_millis(500)).is_empty(), "the peer has not closed");
        assert_eq!(fixture.peer_reads(link, 100), b"goodbye");
        fixture.peer_finishes(link);
        assert_eq!(closed(&fixture.settle(), conn), Some(CloseReason::Finished));

        let (conn, _) = connect(&mut fixture, Answer::Silent);
        fixture.engine.send(conn, b"goodbye").expect("it is queued");
        fixture.engine.close(conn).expect("it is open");
        let seen = fixture.wait(2 * Fixture::CONFIG.linger);
        assert_eq!(closed(&seen, conn), Some(CloseReason::LingerExpired { unsent: 7 }), "{seen:?}");
        fixture.assert_empty();
    }
}

#[test]
pub(super) fn a_stream_is_released_once_it_is_connected() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let prepared = SimStream::open_unconnected(&fixture.world);
        let link = prepared.link();
        fixture.world.borrow_mut().answers.insert(PEER, Answer::Accepts { after_ns: MS });
        let connected = fixture.engine.connect(Address::Ip(PEER), Some(prepared), None, Token(0));
        let conn = connected.expect("it begins");
        fixture.engine.release(conn).expect("it is open");
        let seen = fixture.settle();
        let [Seen::Connected(..), Seen::Released(of, stream)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((*of, stream.link()), (conn, link));
    }
}
